"""Preemption against a real API server. Source: upstream's e2e SchedulerPreemption, PreemptionExecutionPath."""

from __future__ import annotations

import pytest

from carob.api import codec
from carob.api.status import ApiError
from carob.api.types import core_v1, policy_v1, scheduling_v1
from tests.api.test_scheduling import World, in_world, placed


async def classes(world: World) -> None:
    for name, value in (("low", 1), ("high", 100)):
        tree = {"metadata": {"name": name}, "value": value}
        await world.client.create(codec.from_tree(scheduling_v1.PriorityClass, tree))


def test_a_more_important_pod_gets_room_and_everybody_is_told() -> None:
    async def body(world: World) -> None:
        await classes(world)
        await world.node(cpu="1")
        finalizers = {"metadata": {"finalizers": ["example.com/slow"]}}
        await world.pod("low", cpu="800m", priorityClassName="low")
        await world.client.patch(core_v1.Pod, "low", "default", patch=finalizers)
        await world.until("low", placed)
        await world.pod("high", cpu="800m", priorityClassName="high")
        waiting = await world.until("high", lambda pod: bool(pod.status.nominated_node_name))
        assert waiting.status.nominated_node_name == "node-0"
        (condition,) = (c for c in waiting.status.conditions if c.type == "PodScheduled")
        assert condition.message == "0/1 nodes are available: 1 Insufficient cpu."
        going = await world.until("low", lambda pod: pod.metadata.deletion_timestamp is not None)
        (target,) = (c for c in going.status.conditions if c.type == "DisruptionTarget")
        assert (target.status, target.reason) == ("True", "PreemptionByScheduler")
        assert target.message == "default-scheduler: preempting to accommodate a higher priority pod"
        event = await world.event("Preempted")
        assert (event.type, event.involved_object.name) == ("Normal", "low")
        assert event.message == f"Preempted by pod {waiting.metadata.uid} on node node-0"
        # a Pod of less importance does not slip into the room that is being made
        await world.pod("late", cpu="800m", priorityClassName="low")
        await world.message("late")
        await world.client.delete(core_v1.Pod, "low", "default", grace_period_seconds=0)
        await world.client.patch(core_v1.Pod, "low", "default", patch={"metadata": {"finalizers": None}})
        high = await world.until("high", placed)
        assert not high.status.nominated_node_name
        assert not placed(await world.client.get(core_v1.Pod, "late", "default"))

    in_world(body)


def test_a_budget_turns_the_choice_to_another_node() -> None:
    async def body(world: World) -> None:
        await classes(world)
        await world.node("node-0", cpu="1")
        await world.node("node-1", cpu="1")
        for number in (0, 1):
            selector = {"kubernetes.io/hostname": f"node-{number}"}
            labels = {"metadata": {"labels": {"on": str(number)}}}
            await world.client.patch(core_v1.Node, f"node-{number}", patch={"metadata": {"labels": selector}})
            await world.pod(f"low-{number}", cpu="1", priorityClassName="low", nodeSelector=selector)
            await world.client.patch(core_v1.Pod, f"low-{number}", "default", patch=labels)
            await world.until(f"low-{number}", placed)
        tree = {
            "metadata": {"name": "kept", "namespace": "default"},
            "spec": {"minAvailable": 1, "selector": {"matchLabels": {"on": "0"}}},
        }
        await world.client.create(codec.from_tree(policy_v1.PodDisruptionBudget, tree))
        await world.pod("high", cpu="1", priorityClassName="high", terminationGracePeriodSeconds=0)
        await world.until("low-1", lambda pod: pod.metadata.deletion_timestamp is not None)
        with pytest.raises(ApiError):
            await world.client.delete(core_v1.Pod, "low-1", "default", grace_period_seconds=0)
            await world.client.get(core_v1.Pod, "low-1", "default")
        assert (await world.until("high", placed)).spec.node_name == "node-1"
        assert (await world.client.get(core_v1.Pod, "low-0", "default")).metadata.deletion_timestamp is None

    in_world(body)


def test_a_neighbour_that_arrives_wakes_who_waited_for_it() -> None:
    async def body(world: World) -> None:
        await world.node()
        selector = {"labelSelector": {"matchLabels": {"app": "db"}}, "topologyKey": "kubernetes.io/hostname"}
        await world.client.patch(
            core_v1.Node, "node-0", patch={"metadata": {"labels": {"kubernetes.io/hostname": "node-0"}}}
        )
        near = {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [selector]}}
        await world.pod("web", affinity=near)
        assert "1 node(s) didn't match pod affinity rules." in await world.message("web")
        tree = {
            "metadata": {"name": "db", "namespace": "default", "labels": {"app": "db"}},
            "spec": {"containers": [{"name": "main", "image": "db"}]},
        }
        await world.client.create(codec.from_tree(core_v1.Pod, tree))
        await world.until("web", placed)

    in_world(body)
