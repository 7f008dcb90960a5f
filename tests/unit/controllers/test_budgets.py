"""A budget holds, in whatever order evictions, Pods and the controller's late looks come."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from carob.api import codec
from carob.api.status import ApiError
from carob.api.types import policy_v1
from carob.apiserver.handlers.eviction import decrement
from carob.base.clock import rfc3339
from carob.controllers.disruption_budget import reconcile
from carob.controllers.ownership import OwnerReference
from carob.controllers.views import PodView
from tests.unit.controllers.workload_objects import NOW, pod

OWNER = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web", "uid": "uid-web", "controller": True}


class World:
    """A budget over the Pods of one set. What the controller sees may be old; what evictions see is not."""

    def __init__(self, replicas: int, spec: dict[str, Any]) -> None:
        self.replicas = replicas
        tree = {"metadata": {"name": "web", "namespace": "default", "generation": 1}, "spec": spec}
        self.budget = codec.from_tree(policy_v1.PodDisruptionBudget, tree)
        self.version = 0
        self.pods: dict[str, PodView] = {}
        self.made = 0
        self.now = NOW
        self.look: tuple[int, policy_v1.PodDisruptionBudget, list[PodView]] | None = None
        self.past: list[list[PodView]] = []
        self.seen = 0
        """Which of them the controller has looked at last."""
        for _ in range(replicas):
            self.replace(0)
            self.ready(0)
        self.see(0)
        self.write(0)

    def replace(self, which: int) -> None:
        """The set makes a Pod that is missing."""
        if sum(not one.is_ending for one in self.pods.values()) < self.replicas:
            name = f"web-{self.made}"
            self.made += 1
            self.pods[name] = pod(name, metadata={"ownerReferences": [OWNER]})

    def ready(self, which: int) -> None:
        waiting = [name for name, one in self.pods.items() if not one.is_ready and not one.is_ending]
        if waiting:
            name = waiting[which % len(waiting)]
            self.pods[name] = pod(name, ready=True, metadata={"ownerReferences": [OWNER]})

    def gone(self, which: int) -> None:
        ending = [name for name, one in self.pods.items() if one.is_ending]
        if ending:
            del self.pods[ending[which % len(ending)]]

    def see(self, which: int) -> None:
        """The controller looks: at the budget as it is, at Pods as its informer knows them, late by some changes."""
        pods = list(self.pods.values())
        if self.past:
            # an informer may be late, but it never goes back in time
            late = min(which % len(self.past), len(self.past) - 1 - self.seen)
            self.seen = len(self.past) - 1 - late
            pods = self.past[self.seen]
        self.look = (self.version, copy.deepcopy(self.budget), pods)

    def write(self, which: int) -> None:
        """The controller writes what it made of its look, unless somebody was faster."""
        if self.look is None:
            return
        version, budget, pods = self.look
        self.look = None
        plan = reconcile(budget, pods, self._scale_of, self.now)
        if version == self.version:
            self.budget.status = plan.status
            self.version += 1

    def evict(self, which: int) -> None:
        working = [name for name, one in self.pods.items() if one.is_ready and not one.is_ending]
        if not working:
            return
        name = working[which % len(working)]
        spent = copy.deepcopy(self.budget)
        try:
            decrement(spent, name, rfc3339(self.now))
        except ApiError as refusal:
            if refusal.code != 429:
                raise
            return
        self.budget, self.version = spent, self.version + 1
        self.pods[name].metadata.deletion_timestamp = rfc3339(self.now)
        assert self.working() >= self.least()

    def happen(self, what: int, which: int) -> None:
        actions = (self.replace, self.ready, self.gone, self.see, self.write, self.evict)
        actions[what](which)
        self.past.append([copy.deepcopy(one) for one in self.pods.values()])
        if len(self.past) > 5:
            del self.past[0]
            self.seen = max(self.seen - 1, 0)

    def working(self) -> int:
        return sum(one.is_ready and not one.is_ending for one in self.pods.values())

    def least(self) -> int:
        """How many have to work, by the words of the spec."""
        spec = self.budget.spec
        if spec.min_available is not None:
            return _share(spec.min_available, self.replicas)
        return max(self.replicas - _share(spec.max_unavailable, self.replicas), 0)

    def _scale_of(self, namespace: str, reference: OwnerReference) -> tuple[str, int]:
        return reference.uid, self.replicas


def _share(amount: Any, whole: int) -> int:
    """Percentages are rounded up."""
    return amount if isinstance(amount, int) else -(-int(amount.rstrip("%")) * whole // 100)


amounts = st.one_of(st.integers(0, 6), st.sampled_from(["0%", "20%", "50%", "90%", "100%"]))
kinds = st.sampled_from(["minAvailable", "maxUnavailable"])
events = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 10)), min_size=10, max_size=120)


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
# the controller sees the budget after an eviction, and the Pods as they were before it
@example(3, "minAvailable", 2, [(2, 0), (5, 0), (3, 1), (4, 0), (5, 0)])
@given(st.integers(1, 7), kinds, amounts, events)
def test_evictions_never_break_a_budget(
    replicas: int, kind: str, amount: int | str, order: list[tuple[int, int]]
) -> None:
    world = World(replicas, {kind: amount})
    for what, which in order:
        world.happen(what, which)
    # and it is no budget that lets nobody go: at rest it allows what the spec does
    for _ in range(2 * replicas):
        world.gone(0)
        world.replace(0)
        world.ready(0)
    world.now += 121
    world.past, world.seen = [], 0
    world.see(0)
    world.write(0)
    assert world.budget.status.disruptions_allowed == max(replicas - world.least(), 0)
