"""How much a Pod asks for (cases of component-helpers' PodRequests and of KEP-753)."""

from __future__ import annotations

from typing import Any

import pytest
from worlds import pod_view

from carob.scheduler.requests import pod_requests, pod_requests_for_scoring, pod_size


def container(cpu: str, memory: str = "", **more: Any) -> dict[str, Any]:
    requests = {"cpu": cpu} | ({"memory": memory} if memory else {})
    return {"name": more.pop("name", cpu), "resources": {"requests": requests}} | more


SIDECAR = {"restartPolicy": "Always"}


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({"containers": [container("2", "1G"), container("1", "1G")]}, {"cpu": 3000, "memory": 2 * 10**9}),
        (
            {
                "containers": [container("2", "1G"), container("1", "1G")],
                "initContainers": [container("2", "1G"), container("2", "3G")],
            },
            {"cpu": 3000, "memory": 3 * 10**9},
        ),
        ({"containers": [container("1")], "initContainers": [container("500m", **SIDECAR)]}, {"cpu": 1500}),
        (
            {"containers": [container("1")], "initContainers": [container("1", **SIDECAR), container("4")]},
            {"cpu": 5000},
        ),
        (
            {"containers": [container("1")], "initContainers": [container("4"), container("1", **SIDECAR)]},
            {"cpu": 4000},
        ),
        ({"containers": [container("1")], "overhead": {"cpu": "100m"}}, {"cpu": 1100}),
        (
            {"containers": [container("1")], "resources": {"requests": {"cpu": "3", "memory": "1Ki"}}},
            {"cpu": 3000, "memory": 1024},
        ),
        ({"containers": [container("0.0001", "1.5")]}, {"cpu": 1, "memory": 2}),
        ({"containers": [{"name": "a"}]}, {}),
    ],
)
def test_requests_of_a_pod(spec: dict[str, Any], expected: dict[str, int]) -> None:
    assert pod_requests(pod_view(**spec)) == expected
    scored = pod_requests_for_scoring(pod_view(**spec))
    for _ in "worked out", "remembered":
        assert pod_size(pod_view(**spec)) == (expected, scored["cpu"], scored["memory"])


def test_a_resize_under_way_takes_the_larger() -> None:
    status = {"containerStatuses": [{"name": "main", "allocatedResources": {"cpu": "3"}}]}
    assert pod_requests(pod_view(requests={"cpu": "1"}, status=status)) == {"cpu": 3000}
    assert pod_size(pod_view(requests={"cpu": "1"})).requests == {"cpu": 1000}
    assert pod_size(pod_view(requests={"cpu": "1"}, status=status)).requests == {"cpu": 3000}


@pytest.mark.parametrize(
    ("reason", "expected"), [("Deferred", {"cpu": 5000}), ("Infeasible", {"cpu": 2000}), ("", {"cpu": 5000})]
)
def test_a_size_that_the_node_can_never_give_does_not_count(reason: str, expected: dict[str, int]) -> None:
    told = {"allocatedResources": {"cpu": "1"}, "resources": {"requests": {"cpu": "2"}}}
    conditions = [{"type": "PodResizePending", "status": "True", "reason": reason}] if reason else []
    one = {"containerStatuses": [{"name": "main", **told}], "conditions": conditions}
    assert pod_requests(pod_view(requests={"cpu": "5"}, status=one)) == expected
    whole = pod_view(resources={"requests": {"cpu": "5"}}, status={**told, "conditions": conditions})
    assert pod_requests(whole) == expected


def test_pods_that_ask_for_nothing_count_when_nodes_are_compared() -> None:
    assert pod_requests_for_scoring(pod_view()) == {"cpu": 100, "memory": 200 << 20}
    assert pod_requests_for_scoring(pod_view(requests={"cpu": "1"})) == {"cpu": 1000, "memory": 200 << 20}
