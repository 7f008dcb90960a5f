"""What is kept for Pods that are alike is what asking every node anew would give, whatever happens."""

from __future__ import annotations

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st
from worlds import node_view, pod, snapshot

from carob.scheduler.alike import Alike
from carob.scheduler.decision import decide
from carob.scheduler.nodes import NodeInfo
from carob.scheduler.snapshot import Snapshot

IMAGES = [{"names": ["web:latest"], "sizeBytes": 900 << 20}]
TAINTS = [{"key": "old", "effect": "PreferNoSchedule"}]


def world_of(nodes: int) -> Snapshot:
    made: Snapshot = snapshot(*(node_view(f"node-{i}", pods="4") for i in range(nodes)))
    return made


events = st.lists(
    st.tuples(
        st.sampled_from(["place", "place", "small", "leave", "taint", "cordon", "grow", "image", "go"]),
        st.integers(0, 3),
    ),
    max_size=25,
)


@given(events)
@settings(max_examples=80, deadline=None)
def test_what_is_kept_is_what_asking_anew_gives(happened: list[tuple[str, int]]) -> None:
    world = world_of(4)
    sorts = [pod("a", {"cpu": "500m"}), pod("b", {"cpu": "1", "memory": "1Gi"}, image="web")]
    for number, (what, which) in enumerate(happened):
        name = f"node-{which}"
        if what in ("place", "small"):
            new = pod(f"pod-{number}", {"cpu": "1" if what == "place" else "10m"})
            found = decide(new, world)
            if isinstance(found, NodeInfo):
                world.assume(new, found.name)
        elif what == "leave":
            world.remove_pod(f"default/pod-{number // 2}")
        elif what == "go":
            world.remove_node(name)
        else:
            world.set_node(
                node_view(
                    name,
                    cpu="8" if what == "grow" else "4",
                    pods="4",
                    taints=TAINTS if what == "taint" else [],
                    unschedulable=what == "cordon",
                    images=IMAGES if what == "image" else [],
                )
            )
        if not world.nodes():
            continue
        for one in sorts:
            kept = world.alike.of(one, world)
            if kept is None:
                continue
            fresh = Alike(one, world)
            fresh.refresh()
            assert (kept.totals, kept.rejections, kept.raw) == (fresh.totals, fresh.rejections, fresh.raw)
            assert (kept.sums, kept.unequal, kept.counts) == (fresh.sums, fresh.unequal, fresh.counts)
            assert kept.sums == Counter(kept.totals)
            assert kept.unequal == sum(value != 0 for values, _, _ in kept.raw for value in values)


def test_equal_nodes_are_filled_in_turn() -> None:
    world = world_of(4)
    for i in range(16):
        new = pod(f"pod-{i}")
        found = decide(new, world)
        assert isinstance(found, NodeInfo)
        world.assume(new, found.name)
        counts = sorted(len(node.pods) for node in world.nodes())
        assert counts[-1] - counts[0] <= 1
