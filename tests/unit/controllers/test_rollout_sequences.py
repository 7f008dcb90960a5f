"""The sizes that a Deployment's sets go through, step by step, as upstream documents them.

A row is what `kubectl describe` tells in its events: "Scaled up replica set web-1 from 0 to 1". Every Pod becomes ready,
and every Pod that is to end is gone, before the next look. Source: the Deployment page of upstream's documentation, and
the arithmetic of `deployment/rolling.go`.
"""

from __future__ import annotations

import pytest

from carob.controllers.workload_views import ReplicaSetView
from tests.unit.controllers.test_rollouts import Simulation

Step = tuple[int, int, int]


class Recorded(Simulation):
    """Notes each set that gets another size: (which set, from, to)."""

    def __init__(self, replicas: int, surge: int | str, unavailable: int | str, kind: str = "RollingUpdate") -> None:
        super().__init__(replicas, surge, unavailable, kind)
        self.steps: list[Step] = []

    def sync(self) -> bool:
        before = self._sizes()
        acted = super().sync()
        after = self._sizes()
        for number, size in sorted(after.items()):
            if size != before.get(number, 0):
                self.steps.append((number, before.get(number, 0), size))
        return acted

    def _sizes(self) -> dict[int, int]:
        return {_number(one): one.spec.replicas for one in self.sets.values()}

    def settle(self, *, broken: bool = False) -> None:
        """Every Pod starts (of a broken version: none does) and every ending Pod is gone, then the next look."""
        for _ in range(200):
            acted = self.sync()
            while self._sets_follow(broken=broken):
                acted = True
            if not acted:
                return
        raise AssertionError("it does not come to rest")

    def _sets_follow(self, *, broken: bool) -> bool:
        acted = False
        for one in list(self.sets.values()):
            acted = self.sync_set(one) or acted
        while not broken and self.ready() < len(self.alive()):
            self.start(0)
            acted = True
        while any(p.is_ending for found in self.pods.values() for p in found):
            self.end(0)
            acted = True
        return acted

    def taken(self) -> list[Step]:
        """The steps since the last question."""
        steps, self.steps = self.steps, []
        return steps


def _number(one: ReplicaSetView) -> int:
    return int(one.metadata.name.rpartition("-")[2])


UPDATES = {
    # three Pods of the documentation's first example: one more at a time, never one less
    (3, "25%", "25%"): [(1, 0, 1), (0, 3, 2), (1, 1, 2), (0, 2, 1), (1, 2, 3), (0, 1, 0)],
    # five may be there and three must work: so two go for the one that came, then three come for two
    (4, "25%", "25%"): [(1, 0, 1), (0, 4, 2), (1, 1, 3), (0, 2, 0), (1, 3, 4)],
    # nothing beyond the size: first one goes, then one comes
    (3, 0, 1): [(0, 3, 2), (1, 0, 1), (0, 2, 1), (1, 1, 2), (0, 1, 0), (1, 2, 3)],
    (2, "100%", 0): [(1, 0, 2), (0, 2, 0)],
    (10, 3, 2): [(1, 0, 3), (0, 10, 5), (1, 3, 8), (0, 5, 0), (1, 8, 10)],
    (1, "25%", "25%"): [(1, 0, 1), (0, 1, 0)],
}


@pytest.mark.parametrize(("replicas", "surge", "unavailable"), list(UPDATES))
def test_a_rolling_update(replicas: int, surge: int | str, unavailable: int | str) -> None:
    world = Recorded(replicas, surge, unavailable)
    world.settle()
    assert world.taken() == [(0, 0, replicas)]
    world.change_template("v2")
    world.settle()
    assert world.taken() == UPDATES[replicas, surge, unavailable]


def test_recreate_waits_for_the_last_pod() -> None:
    world = Recorded(3, 0, 0, "Recreate")
    world.settle()
    world.change_template("v2")
    world.settle()
    assert world.taken() == [(0, 0, 3), (0, 3, 0), (1, 0, 3)]


def test_a_rollback_uses_the_old_set_again() -> None:
    world = Recorded(3, 1, 0)
    world.settle()
    world.change_template("v2")
    world.settle()
    world.taken()
    world.change_template("v1")
    world.settle()
    assert world.taken() == [(0, 0, 1), (1, 3, 2), (0, 1, 2), (1, 2, 1), (0, 2, 3), (1, 1, 0)]
    assert len(world.sets) == 2


def test_a_version_that_never_starts_is_stuck_scaled_in_proportion_and_left_behind() -> None:
    """Ten Pods, three more, two fewer, and an image that cannot be pulled: 8 and 5; at 15 they are 11 and 7."""
    world = Recorded(10, 3, 2)
    world.settle()
    world.taken()
    world.change_template("broken")
    world.settle(broken=True)
    assert world.taken() == [(1, 0, 3), (0, 10, 8), (1, 3, 5)]
    world.scale(15)
    world.settle(broken=True)
    assert world.taken() == [(0, 8, 11), (1, 5, 7)]


def test_a_new_version_in_the_middle_rolls_over() -> None:
    """What the second version has is taken away at once, since it never became ready."""
    world = Recorded(5, 1, 1)
    world.settle()
    world.taken()
    world.change_template("v2")
    world.settle(broken=True)
    assert world.taken() == [(1, 0, 1), (0, 5, 4), (1, 1, 2)]
    world.change_template("v3")
    world.settle()
    steps = world.taken()
    assert (1, 2, 0) in steps
    assert [to for number, _, to in steps if number == 2][-1] == 5
    assert [to for number, _, to in steps if number == 0][-1] == 0
