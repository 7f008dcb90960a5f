"""Room that is reckoned is room that is found by trying; what is kept of it is what would be found now."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from worlds import node_view, pod, pod_view, snapshot

from carob.api.selectors import from_dict
from carob.scheduler.budgets import Budget
from carob.scheduler.decision import Unschedulable, decide
from carob.scheduler.fitting import rejection_of
from carob.scheduler.nodes import NodeInfo
from carob.scheduler.pods import PodInfo
from carob.scheduler.room import Nomination, by_trying, room_maker
from carob.scheduler.snapshot import Snapshot

TAINTS = [{"key": "old", "effect": "NoSchedule"}]
sizes = st.integers(0, 3)
pods = st.tuples(sizes, sizes, st.integers(0, 3), st.sampled_from([0, 0, 80, 81]), st.integers(0, 2))


def of(name: str, cpu: int, memory: int, priority: int, port: int = 0) -> PodInfo:
    ports = [{"hostPort": port, "containerPort": 1}] if port else []
    requests = {"cpu": str(cpu), "memory": f"{memory}Gi"}
    made: PodInfo = pod(name, requests, priority=priority, ports=ports, labels={"app": "ab"[cpu % 2]})
    return made


def comparable(made: Nomination | tuple[str, ...]) -> object:
    if not isinstance(made, Nomination):
        return made
    return made.node, {victim.key for victim in made.victims}, made.rank, made.started


def filled(there: list[tuple[int, int, int, int, int]]) -> Snapshot:
    world: Snapshot = snapshot(
        *(node_view(f"node-{i}", cpu="5", memory="5Gi", pods="3", taints=TAINTS if i == 2 else []) for i in range(3))
    )
    for number, (cpu, memory, priority, port, spot) in enumerate(there):
        one = of(f"p{number}", cpu, memory, priority, port)
        if rejection_of(one, world.nodes()[spot], world) is None:
            world.assume(one, f"node-{spot}")
    return world


@given(st.lists(pods, max_size=14), pods, st.lists(pods, max_size=2), st.integers(0, 2))
@settings(max_examples=300, deadline=None)
def test_reckoning_finds_what_trying_finds(
    there: list[tuple[int, int, int, int, int]],
    asked: tuple[int, int, int, int, int],
    promised: list[tuple[int, int, int, int, int]],
    allowed: int,
) -> None:
    world = filled(there)
    world.budgets = (Budget("default", from_dict({"app": "a"}), allowed),) if allowed < 2 else ()
    for number, (cpu, memory, priority, port, spot) in enumerate(promised):
        world.nominations.promise(of(f"n{number}", cpu, memory, priority, port), f"node-{spot}")
    new = of("new", *asked[:4])
    make, keepable = room_maker(new, world)
    assert keepable
    before = [(node.version, sorted(node.pods)) for node in world.nodes()]
    for node in world.nodes():
        assert comparable(make(node)) == comparable(by_trying(new, node, world))
    assert before == [(node.version, sorted(node.pods)) for node in world.nodes()]


@given(st.lists(st.tuples(pods, st.sampled_from(["come", "come", "want", "go", "budget"])), max_size=20))
@settings(max_examples=100, deadline=None)
def test_what_is_kept_of_rooms_is_true(happened: list[tuple[tuple[int, int, int, int, int], str]]) -> None:
    """Two equal worlds; one forgets all that it keeps before every decision: both decide the same."""
    keeps, forgets = filled([]), filled([])
    for number, (size, what) in enumerate(happened):
        for world in (keeps, forgets):
            if what == "go":
                world.remove_pod(f"default/p{number // 2}")
            elif what == "budget":
                world.budgets = (Budget("default", from_dict({"app": "a"}), size[0]),)
        if what not in ("come", "want"):
            continue
        answers: list[object] = []
        for world in (keeps, forgets):
            if world is forgets:
                world._begin_epoch()
            # a sort of Pods that comes again and again
            new = of(f"p{number}", *(size[:4] if what == "come" else (2, 1, size[2], 0)))
            found = decide(new, world)
            if isinstance(found, NodeInfo):
                world.assume(new, found.name)
                answers.append(found.name)
                continue
            assert isinstance(found, Unschedulable)
            nomination = found.nomination
            answers.append((found.message, nomination and comparable(nomination)))
            if nomination is not None and number % 3:
                world.nominations.promise(new, nomination.node)
                for victim in nomination.victims:
                    world.remove_pod(victim.key)
        assert answers[0] == answers[1]


def test_who_begins_meanwhile_is_seen() -> None:
    world: Snapshot = snapshot(node_view("a", cpu="1"), node_view("b", cpu="1"))
    for name in "ab":
        world.assume(of(f"low-{name}", 1, 0, 0), name)
    for day, chosen in ((1, "b"), (3, "a")):
        for name, begun in (("a", day), ("b", 2)):
            newer = pod_view(f"low-{name}", labels={"app": "b"}, status={"startTime": f"2026-01-0{begun}T00:00:00Z"})
            newer.spec.node_name = name
            assert world.confirm(f"default/low-{name}", newer)
        # the second of its sort is the first of which anything is kept
        for number in range(3):
            found = decide(of(f"new-{day}-{number}", 1, 0, 1), world)
            assert isinstance(found, Unschedulable)
            assert found.nomination is not None
            assert found.nomination.node == chosen
