"""Deployments: single steps as tables, and whole rollouts in any order of what can happen."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from carob.api import codec
from carob.api.types import apps_v1
from carob.controllers import deployment_sets as sizes
from carob.controllers import replicaset
from carob.controllers.deployment import reconcile, surplus
from carob.controllers.views import PodView
from carob.controllers.workload_views import DeploymentView, ReplicaSetView
from tests.unit.controllers.workload_objects import NOW, deployment, pod, replica_set, template


class Simulation:
    """A Deployment, its sets and Pods; every method is one thing that can happen."""

    def __init__(self, replicas: int, surge: int | str, unavailable: int | str, kind: str = "RollingUpdate") -> None:
        rolling = {"maxSurge": surge, "maxUnavailable": unavailable}
        strategy: dict[str, Any] = {"type": kind}
        if kind == "RollingUpdate":
            strategy["rollingUpdate"] = rolling
        self.deployment: DeploymentView = deployment(replicas, spec={"strategy": strategy})
        self.sets: dict[str, ReplicaSetView] = {}
        self.pods: dict[str, list[PodView]] = {}
        self.now = NOW

    def change_template(self, version: str) -> None:
        spec = msgspec.structs.replace(self.deployment.spec, template=msgspec.Raw(codec.encode(template(version))))
        metadata = msgspec.structs.replace(self.deployment.metadata, generation=self.deployment.metadata.generation + 1)
        self.deployment = msgspec.structs.replace(self.deployment, spec=spec, metadata=metadata)

    def scale(self, replicas: int) -> None:
        self.deployment.spec.replicas = replicas
        self.deployment.metadata.generation += 1

    def sync(self) -> bool:
        """The Deployment's controller looks once; True if it acted."""
        self.now += 1
        everything = [p for found in self.pods.values() for p in found]
        plan = reconcile(self.deployment, list(self.sets.values()), everything, self.now)
        if plan.create is not None:
            name = f"web-{len(self.sets)}"
            made = replica_set(
                name,
                plan.create,
                spec={"template": msgspec.json.decode(self.deployment.spec.template)},
                metadata={
                    "annotations": plan.create_annotations,
                    "creationTimestamp": f"2026-01-01T00:00:{len(self.sets):02}Z",
                },
            )
            self.sets[name] = made
            self.pods[made.metadata.uid] = []
        for change in plan.changes:
            one = self.sets[change.set.metadata.name]
            one.metadata.annotations = {**one.metadata.annotations, **change.annotations}
            if change.replicas is not None:
                assert change.replicas >= 0
                one.spec.replicas = change.replicas
                one.metadata.generation += 1
        for one in plan.delete:
            del self.sets[one.metadata.name]
        changed = codec.to_tree(self.deployment.status) != codec.to_tree(plan.status)
        self.deployment.status = plan.status
        return plan.acts or changed

    def sync_set(self, one: ReplicaSetView) -> bool:
        """The sets' controller looks once at one set."""
        pods = self.pods[one.metadata.uid]
        plan = replicaset.reconcile(one, pods, {}, self.now)
        for _ in range(plan.create):
            reference = {"kind": "ReplicaSet", "name": one.metadata.name, "uid": one.metadata.uid, "controller": True}
            pods.append(pod(phase="Pending", metadata={"ownerReferences": [reference]}))
        for doomed in plan.delete:
            doomed.metadata.deletion_timestamp = "2026-01-01T00:00:00Z"
        status = replicaset.status_of(one, pods, None, self.now)
        changed = codec.to_tree(status) != codec.to_tree(one.status)
        one.status = status
        return bool(plan.create or plan.delete) or changed

    def start(self, which: int) -> None:
        """A Pod becomes ready."""
        waiting = [
            (s, i) for s, found in self.pods.items() for i, p in enumerate(found) if p.is_active and not p.is_ready
        ]
        if waiting:
            uid, index = waiting[which % len(waiting)]
            old = self.pods[uid][index]
            fresh = pod(old.metadata.name, ready=self.now)
            fresh.metadata = old.metadata
            self.pods[uid][index] = fresh

    def end(self, which: int) -> None:
        """A Pod that ends is gone."""
        ending = [(s, p) for s, found in self.pods.items() for p in found if p.is_ending]
        if ending:
            uid, gone = ending[which % len(ending)]
            self.pods[uid].remove(gone)

    def alive(self) -> list[PodView]:
        return [p for found in self.pods.values() for p in found if p.is_active]

    def ready(self) -> int:
        return sum(p.is_ready for p in self.alive())

    def settle(self) -> None:
        """Let everything happen until nothing does."""
        for _ in range(400):
            acted = self.sync()
            for one in list(self.sets.values()):
                acted = self.sync_set(one) or acted
            before = (len(self.alive()), self.ready(), sum(map(len, self.pods.values())))
            self.start(0)
            self.end(0)
            after = (len(self.alive()), self.ready(), sum(map(len, self.pods.values())))
            if not acted and before == after:
                return
        raise AssertionError("it does not come to rest")


def happen(world: Simulation, what: int, which: int) -> None:
    if what == 0:
        world.sync()
    elif what == 1:
        found = list(world.sets.values())
        if found:
            world.sync_set(found[which % len(found)])
    elif what == 2:
        world.start(which)
    else:
        world.end(which)


amounts = st.one_of(st.integers(0, 4), st.sampled_from(["0%", "25%", "50%", "100%"]))
events = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 20)), max_size=120)


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
# the sets' controller has not yet looked at a set that was made smaller, and there is a new version again
@example(2, 1, 1, [*[(0, 0)] * 17, (1, 0)])
@given(st.integers(1, 9), amounts, amounts, events)
def test_a_rolling_update_keeps_its_promises(
    replicas: int, surge: int | str, unavailable: int | str, order: list[tuple[int, int]]
) -> None:
    world = Simulation(replicas, surge, unavailable)
    world.settle()
    assert world.ready() == replicas
    most, fewest = (
        replicas + sizes.limits(world.deployment)[0],
        replicas - sizes.max_unavailable(world.deployment),
    )
    for version, part in (("v2", order[::2]), ("v3", order[1::2])):
        world.change_template(version)
        for what, which in part:
            happen(world, what, which)
            assert len(world.alive()) <= most
            assert world.ready() >= fewest
    world.settle()
    assert world.ready() == len(world.alive()) == replicas
    (new,) = [s for s in world.sets.values() if s.spec.replicas]
    assert new is sizes.new_set(world.deployment, world.sets.values())
    assert any(c.reason == "NewReplicaSetAvailable" for c in world.deployment.status.conditions)


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(st.integers(0, 9), events)
def test_recreate_never_mixes(replicas: int, order: list[tuple[int, int]]) -> None:
    world = Simulation(replicas, 0, 0, "Recreate")
    world.settle()
    world.change_template("v2")
    for what, which in order:
        happen(world, what, which)
        assert sum(bool(found) for found in world.pods.values()) <= 1
    world.settle()
    assert world.ready() == replicas


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(st.integers(1, 9), st.integers(0, 12), amounts, events)
def test_scaling_in_the_middle_comes_to_the_new_size(
    replicas: int, later: int, surge: int | str, order: list[tuple[int, int]]
) -> None:
    world = Simulation(replicas, surge, 1)
    world.settle()
    world.change_template("v2")
    for what, which in order[::2]:
        happen(world, what, which)
    world.scale(later)
    for what, which in order[1::2]:
        happen(world, what, which)
    world.settle()
    assert world.ready() == len(world.alive()) == later


def with_sets(*counts: int) -> list[ReplicaSetView]:
    """Sets of these sizes, all available, oldest first, as a Deployment of 10 with maxSurge 3 left them."""
    return [
        replica_set(
            f"web-{i}",
            count,
            metadata={
                "creationTimestamp": f"2026-01-01T00:00:0{i}Z",
                "annotations": {sizes.DESIRED: "10", sizes.MAX_REPLICAS: "13"},
            },
            status={"replicas": count, "availableReplicas": count},
        )
        for i, count in enumerate(counts)
    ]


@pytest.mark.parametrize(
    ("counts", "desired", "after"),
    [
        ((8, 5), 15, [11, 7]),
        ((5, 5, 3), 15, [7, 7, 4]),
        ((5, 8), 5, [3, 5]),
        ((5, 5), 0, [0, 0]),
    ],
)
def test_proportional_scaling(counts: tuple[int, ...], desired: int, after: list[int]) -> None:
    strategy = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 3, "maxUnavailable": 2}}
    found = sizes.proportions(deployment(desired, spec={"strategy": strategy}), with_sets(*counts))
    assert sum(found.values()) == (desired + 3 if desired else 0)
    assert [found[f"uid-web-{i}"] for i in range(len(counts))] == after


@pytest.mark.parametrize(
    ("surge", "unavailable", "replicas", "limits"),
    [
        ("25%", "25%", 4, (1, 1)),
        ("25%", "25%", 3, (1, 0)),
        (0, "10%", 3, (0, 1)),
        (0, 0, 3, (0, 1)),
        ("100%", 0, 3, (3, 0)),
    ],
)
def test_limits(surge: int | str, unavailable: int | str, replicas: int, limits: tuple[int, int]) -> None:
    strategy = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable}}
    assert sizes.limits(deployment(replicas, spec={"strategy": strategy})) == limits


def test_history_is_limited_and_keeps_what_still_has_pods() -> None:
    olds = [
        replica_set(f"web-{i}", 0, metadata={"annotations": {sizes.REVISION: str(i)}}, status={"observedGeneration": 1})
        for i in range(5)
    ]
    olds[1].status.replicas = 1
    found = surplus(deployment(spec={"revisionHistoryLimit": 2}), olds)
    assert [one.metadata.name for one in found] == ["web-0", "web-2"]
    assert surplus(deployment(spec={"revisionHistoryLimit": 2**31 - 1}), olds) == []


def test_the_same_revision_is_told_once() -> None:
    assert sizes.history("", "1") == "1"
    assert sizes.history("1", "3") == "1,3"
    assert sizes.history("1,3", "3") == "1,3"
    assert len(sizes.history(",".join(str(i) for i in range(1000)), "1000")) <= sizes.MAX_HISTORY_CHARACTERS


def test_slow_progress_is_told_after_the_deadline() -> None:
    world = Simulation(3, 1, 0)
    world.settle()
    world.change_template("v2")
    world.sync()
    for one in world.sets.values():
        world.sync_set(one)
    world.sync()
    world.now += 599
    world.sync()
    assert _reason(world.deployment.status) == "ReplicaSetUpdated"
    world.now += 10
    world.sync()
    assert _reason(world.deployment.status) == "ProgressDeadlineExceeded"
    world.settle()
    assert _reason(world.deployment.status) == "NewReplicaSetAvailable"


def _reason(status: apps_v1.DeploymentStatus) -> str:
    return next(c.reason for c in status.conditions if c.type == "Progressing")
