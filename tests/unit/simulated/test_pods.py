"""What a simulated node does next, case by case."""

from __future__ import annotations

from typing import Any

import pytest

from carob.api import codec
from carob.simulated.behaviour import EXIT, READY, RUN, START, behaviour_of
from carob.simulated.nodes import host_address, node_tree, pod_address
from carob.simulated.options import SimulatedOptions
from carob.simulated.pods import NOTHING, Step, next_step
from carob.simulated.views import PodView

OPTIONS = SimulatedOptions(1, start_seconds=2.0, job_seconds=5.0)
NOW = "2026-01-01T00:00:00Z"


def pod(phase: Any = "Pending", policy: Any = "Always", job: Any = False, **notes: Any) -> PodView:
    owners = [{"kind": "Job", "controller": True}] if job else []
    tree = {
        "metadata": {"name": "web", "uid": "u", "annotations": notes, "ownerReferences": owners},
        "spec": {"containers": [{"name": "main", "image": "web"}], "restartPolicy": policy},
        "status": {"phase": phase, "conditions": [{"type": "Ready", "status": "True"}]},
    }
    return codec.from_tree(PodView, tree)


def step(one: PodView, age: float = 0.0) -> Step:
    return next_step(one, behaviour_of(one, OPTIONS), age, "100.64.0.2", "100.64.0.1", NOW)


def phase_of(one: Step) -> Any:
    return one.status and one.status.get("phase")


def test_a_pod_starts_after_its_time_and_then_stays() -> None:
    assert step(pod()) == Step(again_seconds=2.0)
    started = step(pod(), 2.0)
    assert started.status is not None
    assert started.again_seconds is None
    assert started.status["phase"] == "Running"
    assert started.status["podIP"] == "100.64.0.2"
    ready = {one["type"]: one["status"] for one in started.status["conditions"]}
    assert ready["Ready"] == ready["ContainersReady"] == ready["Initialized"] == "True"
    assert step(pod("Running"), 1e6) == NOTHING
    assert phase_of(step(pod(**{START: "0"}))) == "Running"


@pytest.mark.parametrize(
    ("policy", "notes", "job", "phase"),
    [
        ("Never", {}, True, "Succeeded"),
        ("OnFailure", {}, True, "Succeeded"),
        ("Never", {EXIT: "3"}, True, "Failed"),
        ("Never", {RUN: "4"}, False, "Succeeded"),
        ("Never", {RUN: "nonsense", EXIT: "1"}, True, "Failed"),
    ],
)
def test_pods_of_jobs_end_and_others_when_told(policy: str, notes: dict[str, str], job: bool, phase: str) -> None:
    one = pod("Running", policy, job, **notes)
    assert step(one, 1.0).again_seconds in (3.0, 4.0)
    assert phase_of(step(one, 5.0)) == phase


def test_what_shall_be_restarted_is() -> None:
    again = step(pod("Running", "OnFailure", True, **{EXIT: "1"}), 5.0)
    assert again.status is not None
    assert again.status["containerStatuses"][0]["restartCount"] == 1
    assert again.again_seconds == 5.0


def test_a_pod_can_be_kept_from_being_ready_and_let_be_so_later() -> None:
    said = step(pod("Running", **{READY: "false"}))
    assert said.status is not None
    assert {one["type"]: one["status"] for one in said.status["conditions"]}["Ready"] == "False"


def test_a_deleted_pod_goes_at_once_and_an_ended_one_stays() -> None:
    going = pod("Running")
    going.metadata.deletion_timestamp = NOW
    assert step(going) == Step(delete=True)
    assert step(pod("Succeeded"), 1e6) == NOTHING


def test_nodes_have_zones_capacity_and_addresses_of_their_own() -> None:
    options = SimulatedOptions(5, zones=2, capacity={"cpu": "8"}, labels={"disk": "ssd"})
    tree = node_tree(3, options, NOW)
    assert tree["metadata"]["labels"]["topology.kubernetes.io/zone"] == "zone-1"
    assert tree["metadata"]["labels"]["disk"] == "ssd"
    assert tree["status"]["allocatable"]["cpu"] == "8"
    assert tree["status"]["allocatable"]["pods"] == "110"
    assert len({host_address(n) for n in range(16_000)}) == 16_000
    assert len({pod_address(7, n) for n in range(250)} | {host_address(7)}) == 251
