"""What is decided in the cases of `golden/decisions.yaml`: the node, every weighted score, the words, who has to go."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from worlds import node_view, pod, snapshot

from carob.scheduler.decision import Unschedulable, decide
from carob.scheduler.pods import PodInfo
from carob.scheduler.report import report
from carob.scheduler.snapshot import Snapshot

FILE = Path(__file__).parent / "golden" / "decisions.yaml"
CASES: list[dict[str, Any]] = yaml.safe_load(FILE.read_text())


def made(name: str, tree: dict[str, Any]) -> PodInfo:
    """A Pod of the file."""
    rest = dict(tree)
    rest.pop("node", None)
    requests = rest.pop("requests", {}) | {key: rest.pop(key) for key in ("cpu", "memory") if key in rest}
    if "started" in rest:
        rest["status"] = {"startTime": rest.pop("started")}
    found: PodInfo = pod(name, requests, **rest)
    return found


def world_of(case: dict[str, Any]) -> Snapshot:
    world: Snapshot = snapshot(*(node_view(name, **more) for name, more in case["nodes"].items()))
    world.set_namespace("default", {})
    for name, tree in case.get("there", {}).items():
        world.assume(made(name, tree), tree["node"])
    return world


def outcome(wanted: PodInfo, world: Snapshot) -> dict[str, Any]:
    """In the form of the file's `expect`."""
    told = report(wanted, world)
    scores = {one.node: dict(sorted(one.scores.items())) for one in told.nodes if not one.rejections}
    found = decide(wanted, world)
    if not isinstance(found, Unschedulable):
        return {"node": found.name, "scores": scores}
    if found.nomination is None:
        return {"message": found.message}
    victims = [victim.view.metadata.name for victim in found.nomination.victims]
    return {"message": found.message, "promised": found.nomination.node, "go": victims}


@pytest.mark.parametrize("case", CASES, ids=[one["case"] for one in CASES])
def test_decisions_are_the_golden_ones(case: dict[str, Any]) -> None:
    assert outcome(made("new", case["pod"]), world_of(case)) == case["expect"]


def test_no_case_is_there_twice() -> None:
    assert len({one["case"] for one in CASES}) == len(CASES) > 30
