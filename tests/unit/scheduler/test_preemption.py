"""Who must go: as few, as unimportant, as harmless as can be; never somebody of equal or higher priority."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from worlds import node_view, pod, snapshot

from carob.api.selectors import from_dict
from carob.scheduler.budgets import Budget
from carob.scheduler.decision import Unschedulable, decide
from carob.scheduler.fitting import rejection_of
from carob.scheduler.nodes import NodeInfo
from carob.scheduler.pods import PodInfo
from carob.scheduler.room import Nomination
from carob.scheduler.snapshot import Snapshot


def of(name: str, cpu: str, priority: int = 0, **spec: object) -> PodInfo:
    made: PodInfo = pod(name, {"cpu": cpu}, priority=priority, **spec)
    return made


def nominated(wanted: PodInfo, world: Snapshot) -> tuple[str, list[str]]:
    found = decide(wanted, world)
    assert isinstance(found, Unschedulable), found
    assert found.nomination is not None, found.message
    return found.nomination.node, [victim.view.metadata.name for victim in found.nomination.victims]


def said(wanted: PodInfo, world: Snapshot) -> str:
    found = decide(wanted, world)
    assert isinstance(found, Unschedulable), found
    assert found.nomination is None
    return found.message.partition("preemption: ")[2]


def test_only_as_many_as_need_be_and_the_least_important() -> None:
    world = snapshot(node_view(cpu="4"))
    for i, priority in enumerate((0, 5, 1, 2)):
        world.assume(of(f"p{i}", "1", priority), "node-0")
    assert nominated(of("new", "2", 10), world) == ("node-0", ["p2", "p0"])
    assert nominated(of("new", "1", 1), world) == ("node-0", ["p0"])
    assert said(of("new", "1", 0), world) == (
        "0/1 nodes are available: 1 No preemption victims found for incoming pod."
    )
    assert said(of("new", "4", 5), world) == "0/1 nodes are available: 1 Insufficient cpu."
    assert said(of("new", "5", 9), world) == ("0/1 nodes are available: 1 Preemption is not helpful for scheduling.")
    assert said(of("new", "1", 9, preemptionPolicy="Never"), world) == "not eligible due to preemptionPolicy=Never."
    # nothing was changed by trying
    assert sorted(world.nodes()[0].pods) == ["default/p0", "default/p1", "default/p2", "default/p3"]
    assert world.nodes()[0].requested == {"cpu": 4000}


def test_a_nomination_says_only_what_the_filters_said() -> None:
    world = snapshot(node_view(cpu="1"))
    world.assume(of("low", "1"), "node-0")
    found = decide(of("new", "1", 1), world)
    assert isinstance(found, Unschedulable)
    assert found.message == "0/1 nodes are available: 1 Insufficient cpu."


def full(**nodes: list[PodInfo]) -> Snapshot:
    world: Snapshot = snapshot(*(node_view(name, cpu="2") for name in nodes))
    for name, pods in nodes.items():
        for one in pods:
            world.assume(one, name)
    return world


def test_the_node_with_the_least_harm() -> None:
    # no budget broken comes before everything else
    world = full(a=[of("a0", "2", 1, labels={"app": "kept"})], b=[of("b0", "2", 5)])
    world.budgets = (Budget("default", from_dict({"app": "kept"}), 0),)
    assert nominated(of("new", "2", 9), world) == ("b", ["b0"])
    # then the least important of the most important victims
    world = full(a=[of("a0", "2", 5)], b=[of("b0", "1", 4), of("b1", "1", 4)])
    assert nominated(of("new", "2", 9), world) == ("b", ["b0", "b1"])
    # then the smallest sum, then the fewest
    world = full(a=[of("a0", "1", 4), of("a1", "1", 3)], b=[of("b0", "1", 4), of("b1", "1", 2)])
    assert nominated(of("new", "2", 9), world)[0] == "b"
    world = full(a=[of("a0", "1", 4), of("a1", "1", 4)], b=[of("b0", "2", 4)])
    assert nominated(of("new", "2", 9), world) == ("b", ["b0"])
    # then whoever began last
    began = [{"startTime": f"2026-01-01T00:00:0{i}Z"} for i in range(2)]
    world = full(a=[of("a0", "2", 4, status=began[0])], b=[of("b0", "2", 4, status=began[1])])
    assert nominated(of("new", "2", 9), world) == ("b", ["b0"])


def test_a_budget_is_broken_only_when_nothing_else_helps() -> None:
    kept = {"app": "kept"}
    world = full(a=[of("a0", "1", 1, labels=kept), of("a1", "1", 3)])
    world.budgets = (Budget("default", from_dict(kept), 0),)
    assert nominated(of("new", "1", 9), world) == ("a", ["a1"])
    assert nominated(of("new", "2", 9), world) == ("a", ["a1", "a0"])
    world.budgets = (Budget("default", from_dict(kept), 1),)
    assert nominated(of("new", "1", 9), world) == ("a", ["a0"])


def test_room_that_was_made_is_kept_for_whom_it_was_made() -> None:
    world = full(a=[of("low", "2")])
    high = of("high", "2", 9)
    node, _ = nominated(high, world)
    world.nominations.promise(high, node)
    low = world.placed("default/low")
    assert low is not None
    world.leave(low)
    assert said(high, world) == "not eligible due to a terminating pod on the nominated node."
    world.remove_pod("default/low")
    assert isinstance(decide(of("equal", "2", 9), world), Unschedulable)
    assert isinstance(decide(of("small", "1", 1), world), Unschedulable)
    assert isinstance(decide(of("higher", "2", 10), world), NodeInfo)
    found = decide(high, world)
    assert isinstance(found, NodeInfo)
    world.assume(high, found.name)
    assert not world.nominations


def test_anti_affinity_is_resolved_by_going() -> None:
    apart = {
        "podAntiAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": [
                {"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"app": "db"}}}
            ]
        }
    }
    world = full(a=[of("db", "1", 1, labels={"app": "db"}), of("other", "1", 0)])
    assert nominated(of("new", "0", 9, affinity=apart), world) == ("a", ["db"])


pods = st.lists(st.tuples(st.integers(1, 4), st.integers(0, 3), st.integers(0, 2)), max_size=9)


@given(pods, st.integers(1, 5), st.integers(0, 4), st.integers(0, 2))
@settings(max_examples=150, deadline=None)
def test_victims_are_lower_needed_and_enough(
    there: list[tuple[int, int, int]], cpu: int, priority: int, allowed: int
) -> None:
    world = snapshot(*(node_view(f"node-{i}", cpu="4") for i in range(3)))
    for number, (size, rank, spot) in enumerate(there):
        one = of(f"p{number}", str(size), rank, labels={"app": "ab"[number % 2]})
        node = world.get(f"node-{spot}")
        assert node is not None
        if rejection_of(one, node, world) is None:
            world.assume(one, node.name)
    world.budgets = (Budget("default", from_dict({"app": "a"}), allowed),)
    new = of("new", str(cpu), priority)
    before = {node.name: sorted(node.pods) for node in world.nodes()}
    found = decide(new, world)
    assert {node.name: sorted(node.pods) for node in world.nodes()} == before
    if isinstance(found, NodeInfo):
        assert rejection_of(new, found, world) is None
        return
    made = found.nomination
    if made is None:
        # even without everybody less important it fits nowhere
        for node in world.nodes():
            held = sum(one.requests["cpu"] for one in node.pods.values() if one.priority >= priority)
            assert held + cpu * 1000 > 4000
        return
    assert isinstance(made, Nomination)
    assert all(victim.priority < priority for victim in made.victims)
    node = world.get(made.node)
    assert node is not None
    with world.trying():
        for victim in made.victims:
            world.lift(victim.key)
        assert rejection_of(new, node, world) is None
        for victim in made.victims:
            world.put(victim, node.name)
            assert rejection_of(new, node, world) is not None, "this victim could have stayed"
            world.lift(victim.key)


def test_whom_a_promise_keeps_away_is_no_matter_of_others_of_the_sort() -> None:
    wishes = [{"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"app": "loud"}}}]
    apart = {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": wishes}}
    world = full(a=[])
    world.nominations.promise(of("shy", "1", 9, affinity=apart), "a")
    for number in range(3):
        for app, fits in (("loud", False), ("quiet", True)):
            found = decide(of(f"{app}-{number}", "1", labels={"app": app}), world)
            assert isinstance(found, NodeInfo) is fits
