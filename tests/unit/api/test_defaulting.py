"""Defaults of every kind, against what a real API server answered to the same manifests."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import orjson
import pytest

sys.path.insert(0, str(Path(__file__).parent))
import recorded

from carob.api import codec, qos, resources
from carob.api.defaulting import default
from carob.api.images import default_pull_policy, tag_of
from carob.api.types import core_v1

RECORDED = recorded.load("defaulting")
TABLE = resources.ResourceTable()


@pytest.mark.parametrize("case", RECORDED["cases"], ids=lambda c: c["case"])
def test_defaults_are_upstreams(case: dict[str, Any]) -> None:
    sent = case["sent"]
    row = TABLE.by_kind(sent["apiVersion"], sent["kind"])
    assert row is not None
    obj = codec.decode(row.struct, orjson.dumps(sent))
    default(obj)
    if isinstance(obj, core_v1.Pod):
        obj.status.phase, obj.status.qos_class = "Pending", qos.qos_class(obj)
    answer = orjson.loads(codec.encode(obj))
    answer["metadata"].pop("namespace", None)
    for path in RECORDED["not_by_defaults"].get(sent["kind"], []):
        recorded.without(answer, path.split("."))
    for always in ("creationTimestamp", "generation", "uid", "resourceVersion"):
        answer["metadata"].pop(always, None)
    assert answer == case["answered"]


@pytest.mark.parametrize("case", RECORDED["cases"][:60], ids=lambda c: c["case"])
def test_defaulting_twice_changes_nothing(case: dict[str, Any]) -> None:
    row = TABLE.by_kind(case["sent"]["apiVersion"], case["sent"]["kind"])
    assert row is not None
    obj = codec.from_tree(row.struct, case["sent"])
    default(obj)
    once = codec.encode(obj)
    default(obj)
    assert codec.encode(obj) == once


@pytest.mark.parametrize(
    ("reference", "tag", "policy"),
    [
        ("nginx", "latest", "Always"),
        ("nginx:1.25", "1.25", "IfNotPresent"),
        ("localhost:5000/nginx", "latest", "Always"),
        ("localhost:5000/a/b:v1@sha256:00", "v1", "IfNotPresent"),
        ("nginx@sha256:00", "", "IfNotPresent"),
        ("", "", "IfNotPresent"),
    ],
)
def test_pull_policy_follows_the_tag(reference: str, tag: str, policy: str) -> None:
    assert tag_of(reference) == tag
    assert default_pull_policy(reference) == policy


def pod_with(*containers: dict[str, Any], init: tuple[dict[str, Any], ...] = ()) -> core_v1.Pod:
    spec = {"containers": [{"resources": c} for c in containers], "initContainers": list(init)}
    pod: core_v1.Pod = codec.from_tree(core_v1.Pod, {"spec": spec})
    return pod


@pytest.mark.parametrize(
    ("containers", "expected"),
    [
        ([{}], qos.BEST_EFFORT),
        ([{"requests": {"example.com/gpu": "1"}}], qos.BEST_EFFORT),
        ([{"requests": {"cpu": "0"}}], qos.BEST_EFFORT),
        ([{"requests": {"cpu": "1"}}], qos.BURSTABLE),
        ([{"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "1", "memory": "1Gi"}}], qos.GUARANTEED),
        ([{"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "1", "memory": "1Gi"}}, {}], qos.BURSTABLE),
        ([{"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "0.5", "memory": "1Gi"}}], qos.BURSTABLE),
    ],
)
def test_qos_class(containers: list[dict[str, Any]], expected: str) -> None:
    assert qos.qos_class(pod_with(*containers)) == expected


def test_requests_count_the_largest_init_step_and_sidecars() -> None:
    step = {"resources": {"requests": {"cpu": "3"}}}
    sidecar = {"restartPolicy": "Always", "resources": {"requests": {"cpu": "1"}}}
    pod = pod_with({"requests": {"cpu": "1"}}, {"requests": {"cpu": "500m"}}, init=(sidecar, step))
    assert qos.pod_requests(pod) == {"cpu": "4"}
    pod.spec.overhead = {"cpu": codec.from_tree(core_v1.ResourceRequirements, {"limits": {"cpu": "1"}}).limits["cpu"]}
    assert qos.pod_requests(pod) == {"cpu": "5"}
