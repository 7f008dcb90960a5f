"""Preemption against a real API server. Source: upstream's e2e SchedulerPreemption, PreemptionExecutionPath."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from carob.api import codec
from carob.api.status import ApiError
from carob.api.types import core_v1, policy_v1, rbac_v1, scheduling_v1
from carob.api.user import UserInfo
from carob.apiserver.options import ApiServerOptions
from carob.apiserver.server import ApiServer
from carob.base.clock import SystemClock
from carob.base.ids import SystemRandomness
from carob.client.rest import Client
from carob.store.memory import MemoryStore
from carob.transport.memory import MemoryTransport
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
        # the deletion that it came with is the next generation
        assert target.observed_generation == going.metadata.generation - 1
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


def test_a_pod_is_told_why_by_the_write_that_lets_it_go_and_only_by_who_may_write_its_status() -> None:
    async def main() -> None:
        api = ApiServer(MemoryStore(), ApiServerOptions(), SystemClock(), SystemRandomness())
        await api.start()
        admin = Client(MemoryTransport(api.handle, UserInfo("admin", ("system:masters", "system:authenticated"))))
        eve = Client(MemoryTransport(api.handle, UserInfo("eve", ("system:authenticated",))))
        metadata = {"name": "gardener", "namespace": "default"}
        rule = {"apiGroups": [""], "resources": ["pods"], "verbs": ["delete", "patch"]}
        subject = {"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": "eve"}
        role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "gardener"}
        roots: list[tuple[Any, dict[str, Any]]] = [
            (rbac_v1.Role, {"rules": [rule]}),
            (rbac_v1.RoleBinding, {"roleRef": role, "subjects": [subject]}),
            (core_v1.ServiceAccount, {"metadata": {"name": "default", "namespace": "default"}}),
        ]
        for kind, tree in roots:
            await admin.create(codec.from_tree(kind, {"metadata": metadata} | tree))
        for name in ("one", "two"):
            spec = {"containers": [{"name": "main", "image": "web"}], "nodeName": "somewhere"}
            pod = {"metadata": {"name": name, "namespace": "default"}, "spec": spec}
            await admin.create(codec.from_tree(core_v1.Pod, pod))
        try:
            why = ("Weeded", "there were too many")
            with pytest.raises(ApiError) as caught:
                await eve.delete(core_v1.Pod, "one", "default", disruption=why)
            assert caught.value.code == 403
            assert 'User "eve" cannot patch resource "pods/status"' in caught.value.message
            assert (await admin.get(core_v1.Pod, "one", "default")).metadata.deletion_timestamp is None
            await eve.delete(core_v1.Pod, "one", "default")
            seen = []
            async with admin.watch(core_v1.Pod, "default", field_selector="metadata.name=two") as events:
                await admin.delete(core_v1.Pod, "two", "default", disruption=why)
                # told again while it goes: nothing new, and then another reason
                await admin.delete(core_v1.Pod, "two", "default", disruption=why)
                await admin.delete(core_v1.Pod, "two", "default", disruption=("Late", ""))
                async with asyncio.timeout(30):
                    async for event in events:
                        if not isinstance(event.object, core_v1.Pod) or event.type != "MODIFIED":
                            continue
                        told = [
                            (c.reason, c.message)
                            for c in event.object.status.conditions
                            if c.type == "DisruptionTarget"
                        ]
                        seen.append((event.object.metadata.deletion_timestamp is not None, *told))
                        if told == [("Late", "")]:
                            break
            assert seen == [(True, why), (True, ("Late", ""))]
        finally:
            await api.close()

    asyncio.run(main())
