"""Laws of decisions that hold whatever comes: the same again, and spread within its bounds."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_reference import Chance, both
from worlds import node_view, pod, snapshot

from carob.api import codec
from carob.scheduler.decision import Unschedulable, decide
from carob.scheduler.nodes import NodeInfo
from carob.scheduler.pods import PodInfo
from carob.scheduler.views import PodView

ROOT = Path(__file__).resolve().parents[3]


def history(seed: int) -> list[str]:
    """What is decided of Pods of every sort, one after another."""
    chance = Chance(seed)
    _, world = both([chance.node(number) for number in range(4 + seed % 4)])
    told = []
    for number in range(30):
        found = decide(one := PodInfo(codec.from_tree(PodView, chance.pod(number))), world)
        if isinstance(found, NodeInfo):
            world.assume(one, found.name)
            told.append(found.name)
            continue
        going = [victim.key for victim in found.nomination.victims] if found.nomination is not None else []
        told.append(f"{found.message} {sorted(found.plugins)} {going}")
    return told


@pytest.mark.slow
def test_the_same_is_decided_of_the_same_in_every_process() -> None:
    """Also where sets and dictionaries are in another order."""
    program = "import json, test_laws; print(json.dumps([test_laws.history(seed) for seed in range(12)]))"
    paths = os.pathsep.join(map(str, (Path(__file__).parent, ROOT)))
    told = []
    for hash_seed in ("1", "2"):
        environment = os.environ | {"PYTHONHASHSEED": hash_seed, "PYTHONPATH": paths}
        done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, check=True)
        told.append(json.loads(done.stdout))
    assert told[0] == told[1]
    assert len({words for one in told[0] for words in one}) > 50


arrivals = st.lists(st.tuples(st.sampled_from("xy"), st.integers(0, 3)), max_size=30)


@given(arrivals, st.integers(1, 3), st.integers(0, 2))
@settings(max_examples=100, deadline=None)
def test_spread_stays_within_its_bounds(coming: list[tuple[str, int]], skew: int, full: int) -> None:
    """While nobody goes, no zone ever has more than the allowed number of Pods beyond the one with the fewest."""
    world = snapshot(*(node_view(f"n{i}", cpu="4", labels={"zone": "abc"[i % 3]}) for i in range(5)))
    if full:
        # a zone without room: it stays the one with the fewest
        world.assume(pod("big", {"cpu": "4"}), f"n{full}")
    zones: dict[str, Counter[str]] = {"x": Counter(a=0, b=0, c=0), "y": Counter(a=0, b=0, c=0)}
    for number, (app, cpu) in enumerate(coming):
        rule = {"topologyKey": "zone", "maxSkew": skew, "whenUnsatisfiable": "DoNotSchedule"}
        rule |= {"labelSelector": {"matchLabels": {"app": app}}}
        one = pod(f"p{number}", {"cpu": str(cpu)}, labels={"app": app}, topologySpreadConstraints=[rule])
        found = decide(one, world)
        if isinstance(found, Unschedulable):
            # it would break the law wherever there is room
            least = min(zones[app].values())
            for node in world.nodes():
                fits = node.allocatable["cpu"] - node.requested.get("cpu", 0) >= cpu * 1000
                assert not fits or zones[app][node.labels["zone"]] + 1 - least > skew
            continue
        world.assume(one, found.name)
        zones[app][found.labels["zone"]] += 1
        assert max(zones[app].values()) - min(zones[app].values()) <= skew
