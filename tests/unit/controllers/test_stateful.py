"""StatefulSets: any order of what can happen; and single rules."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from carob.api.types import meta_v1
from carob.controllers.revisions import HASH_LABEL
from carob.controllers.stateful_claims import owners
from carob.controllers.statefulset import ordinal_of, reconcile
from carob.controllers.views import PodView
from tests.unit.controllers.workload_objects import NOW, pod, stateful_set


class World:
    """A set and its Pods by name, as the server would have them."""

    def __init__(self, replicas: int, **spec: Any) -> None:
        self.owner = stateful_set(replicas, spec=spec)
        self.pods: dict[str, PodView] = {}
        self.update = "r1"

    def sync(self) -> bool:
        current = self.owner.status.current_revision or self.update
        plan = reconcile(self.owner, self.pods.values(), current, self.update, NOW)
        for new in plan.create:
            name = f"web-{new.ordinal}"
            assert name not in self.pods, "two Pods of one name"
            label = self.update if new.updated else current
            self.pods[name] = pod(name, phase="Pending", metadata={"labels": {HASH_LABEL: label}})
            if self.owner.spec.pod_management_policy != "Parallel":
                lower = [self.pods.get(f"web-{i}") for i in range(new.ordinal)]
                assert all(p is not None and p.is_ready for p in lower)
        for doomed in [*plan.delete, *plan.condemn]:
            assert not doomed.is_ending
            doomed.metadata.deletion_timestamp = "2026-01-01T00:00:00Z"
        changed = self.owner.status != plan.status
        self.owner.status = plan.status
        return plan.acts or changed

    def happen(self, what: int, which: int) -> None:
        names = sorted(self.pods)
        if what == 0:
            self.sync()
        elif names:
            name = names[which % len(names)]
            old = self.pods[name]
            if old.is_ending:
                if what == 2:
                    del self.pods[name]
            elif what == 1 and not old.has_ended:
                self.pods[name] = pod(name, ready=NOW - 10, metadata={"labels": old.metadata.labels})
            elif what == 3:
                old.status.phase, old.status.conditions = "Failed", ()

    def settle(self) -> None:
        for _ in range(300):
            acted = self.sync()
            before = {n: (p.is_ready, p.is_ending) for n, p in self.pods.items()}
            for i in range(len(self.pods)):
                self.happen(1, i)
            for i in reversed(range(len(self.pods))):
                self.happen(2, i)
            if not acted and before == {n: (p.is_ready, p.is_ending) for n, p in self.pods.items()}:
                return
        raise AssertionError("it does not come to rest")

    def labels(self) -> list[str]:
        return [self.pods[n].metadata.labels[HASH_LABEL] for n in sorted(self.pods)]


events = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 9)), max_size=80)


# two Pods that have ended, and the set is to become empty
BOTH_ENDED = [(0, 0)] * 16 + [(1, 0), *[(0, 0)] * 4, (3, 1), (3, 0)]


@settings(max_examples=80, deadline=None)
@example("OrderedReady", 2, 0, BOTH_ENDED)
@given(st.sampled_from(["OrderedReady", "Parallel"]), st.integers(0, 5), st.integers(0, 5), events)
def test_names_stay_single_and_the_set_comes_to_rest(
    policy: str, replicas: int, later: int, order: list[tuple[int, int]]
) -> None:
    world = World(replicas, podManagementPolicy=policy)
    for what, which in order[::2]:
        world.happen(what, which)
    world.update = "r2"
    world.owner.spec.replicas = later
    for what, which in order[1::2]:
        world.happen(what, which)
    world.settle()
    assert sorted(world.pods) == [f"web-{i}" for i in range(later)]
    assert world.labels() == ["r2"] * later
    assert world.owner.status.current_revision == "r2"


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 5), st.integers(1, 3), events)
def test_an_update_takes_no_more_away_than_it_may(replicas: int, most: int, order: list[tuple[int, int]]) -> None:
    rolling = {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": most}}
    world = World(replicas, podManagementPolicy="Parallel", updateStrategy=rolling)
    world.settle()
    world.update = "r2"
    for what, which in order:
        world.happen(what % 3, which)
        assert sum(p.is_ready and not p.is_ending for p in world.pods.values()) >= replicas - most
    world.settle()
    assert world.labels() == ["r2"] * replicas


@given(st.integers(0, 5))
def test_a_partition_keeps_the_lower_ones(partition: int) -> None:
    world = World(4, updateStrategy={"type": "RollingUpdate", "rollingUpdate": {"partition": partition}})
    world.settle()
    world.update = "r2"
    world.settle()
    assert world.labels() == ["r1" if i < partition else "r2" for i in range(4)]


def test_on_delete_waits_for_somebody_to_delete() -> None:
    world = World(3, updateStrategy={"type": "OnDelete"})
    world.settle()
    world.update = "r2"
    world.settle()
    assert world.labels() == ["r1"] * 3
    del world.pods["web-1"]
    world.settle()
    assert world.labels() == ["r1", "r2", "r1"]


def test_ordinals_may_start_elsewhere() -> None:
    world = World(2, ordinals={"start": 5})
    world.owner.spec.pod_management_policy = "Parallel"
    world.settle()
    assert sorted(world.pods) == ["web-5", "web-6"]


def test_only_its_own_names_have_ordinals() -> None:
    names = ["web-0", "web-12", "web", "web-x", "other-1", "web-1-1"]
    assert [ordinal_of("web", name) for name in names] == [0, 12, None, None, None, None]


SET = ("apps/v1", "StatefulSet", "web", "uid-web")
POD = ("v1", "Pod", "web-2", "uid-web-2")
OLD_SET, OLD_POD = (*SET[:3], "uid-gone"), (*POD[:3], "uid-gone")
OTHER = ("example.com/v1", "Backup", "nightly", "uid-nightly")


@pytest.mark.parametrize(
    ("policy", "stays", "held", "wanted"),
    [
        (("Retain", "Retain"), True, [], None),
        (("Retain", "Retain"), True, [SET], []),
        (("Retain", "Retain"), False, [OTHER, POD], [OTHER]),
        (("Delete", "Retain"), True, [], [SET]),
        (("Delete", "Retain"), True, [SET], None),
        (("Delete", "Retain"), False, [SET], None),
        (("Retain", "Delete"), True, [], None),
        (("Retain", "Delete"), True, [POD], []),
        (("Retain", "Delete"), False, [], [POD]),
        (("Delete", "Delete"), True, [POD], [SET]),
        (("Delete", "Delete"), False, [SET], [POD]),
        # an earlier set or Pod of the name, or somebody else, has it: hands off
        (("Delete", "Delete"), True, [OLD_SET], None),
        (("Delete", "Delete"), False, [OLD_POD], None),
        (("Delete", "Delete"), True, [OTHER], None),
        (("Delete", "Delete"), True, [OTHER, SET], [OTHER]),
    ],
)
def test_who_owns_a_claim(
    policy: tuple[str, str], stays: bool, held: list[tuple[str, ...]], wanted: list[tuple[str, ...]] | None
) -> None:
    retention = {"whenDeleted": policy[0], "whenScaled": policy[1]}
    owner = stateful_set(2, spec={"persistentVolumeClaimRetentionPolicy": retention})
    references = [meta_v1.OwnerReference(api_version=v, kind=k, name=n, uid=u, controller=True) for v, k, n, u in held]
    found = owners(references, owner, pod("web-2"), stays=stays)
    if wanted is None:
        assert found is None
    else:
        assert found is not None
        assert [(one["apiVersion"], one["kind"], one["name"], one["uid"]) for one in found] == wanted
