"""Requests and limits as the kernel takes them."""

from __future__ import annotations

from typing import Any

import pytest

from carob.kubelet.resources import (
    GroupFacts,
    cgroup_parent,
    container_resources,
    oom_score_adj,
    pod_requests,
    pod_resources,
    qos_class,
    quota_microseconds,
    shares,
)
from tests.unit.kubelet.pods import pod

GIB = 1 << 30
V1 = GroupFacts(GIB)
V2 = GroupFacts(GIB, cgroup2=True, swap_limits=True, page_sizes=("1Gi", "2Mi"), single_process_oom_kill=False)


def with_resources(*containers: dict[str, Any], **spec: Any) -> Any:
    made = [{"name": f"c{i}", "image": "i", "resources": resources} for i, resources in enumerate(containers)]
    return pod(containers=made, **spec)


FULL = {"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "1", "memory": "1Gi"}}


@pytest.mark.parametrize(
    ("resources", "quality"),
    [
        ({}, "BestEffort"),
        (FULL, "Guaranteed"),
        ({"limits": FULL["limits"]}, "Guaranteed"),
        ({"requests": {"cpu": "1"}}, "Burstable"),
        ({"limits": {"cpu": "1"}}, "Burstable"),
    ],
)
def test_quality_of_service(resources: dict[str, Any], quality: str) -> None:
    given = with_resources(resources)
    assert qos_class(given) == quality
    assert cgroup_parent("/carob-x", given) == f"/carob-x/kubepods/{quality.lower()}/podu-1"


@pytest.mark.parametrize(("millicores", "wanted"), [(0, 2), (1, 2), (100, 102), (1000, 1024), (10_000_000, 262_144)])
def test_shares(millicores: int, wanted: int) -> None:
    assert shares(millicores) == wanted


@pytest.mark.parametrize(("millicores", "wanted"), [(0, 0), (1, 1000), (200, 20_000), (2500, 250_000)])
def test_quota(millicores: int, wanted: int) -> None:
    assert quota_microseconds(millicores) == wanted


def test_a_limit_counts_as_the_request() -> None:
    given = with_resources({"limits": {"cpu": "500m", "memory": "64Mi"}})
    made = container_resources(given, given.spec.containers[0], V1)
    assert (made.cpu_shares, made.cpu_quota, made.memory_limit) == (512, 50_000, 64 << 20)


def test_the_pod_is_limited_only_when_every_container_is() -> None:
    both = pod_resources(with_resources(FULL, FULL))
    assert (both.cpu_quota, both.memory_limit, both.cpu_shares) == (200_000, 2 * GIB, 2048)
    one = pod_resources(with_resources(FULL, {}))
    assert (one.cpu_quota, one.memory_limit) == (0, 0)
    assert pod_resources(with_resources({})).cpu_shares == 2


@pytest.mark.parametrize(
    ("resources", "wanted"),
    [({}, 1000), (FULL, -997), ({"requests": {"memory": "256Mi"}}, 750), ({"requests": {"cpu": "1"}}, 999)],
)
def test_whom_the_kernel_kills_first(resources: dict[str, Any], wanted: int) -> None:
    given = with_resources(resources)
    assert oom_score_adj(given, given.spec.containers[0], GIB) == wanted


def test_what_a_pod_needs_at_its_greediest() -> None:
    def asks(cpu: str) -> dict[str, Any]:
        return {"requests": {"cpu": cpu}}

    side = {"name": "s", "image": "i", "restartPolicy": "Always", "resources": asks("1")}
    init = {"name": "i", "image": "i", "resources": asks("5")}
    assert pod_requests(with_resources(asks("2"), asks("1")))["cpu"] == "3"
    assert pod_requests(with_resources(asks("2"), initContainers=[init]))["cpu"] == "5"
    # a sidecar that started before the greedy init container runs beside it
    assert pod_requests(with_resources(asks("2"), initContainers=[side, init]))["cpu"] == "6"
    assert pod_requests(with_resources(asks("2"), initContainers=[init, side]))["cpu"] == "5"
    assert pod_requests(with_resources(asks("2"), overhead={"cpu": "250m"}))["cpu"] == "2250m"


def test_huge_pages() -> None:
    given = with_resources({"limits": {"hugepages-2Mi": "4Mi", "hugepages-1Gi": "1Gi", "cpu": "1"}})
    assert container_resources(given, given.spec.containers[0], V1).hugepage_limits == {"2MB": 4 << 20, "1GB": GIB}


def test_huge_pages_of_the_node_are_for_those_that_ask() -> None:
    """Source: `GetHugepageLimitsFromResources`; the pages of the whole Pod are for each of its containers."""
    given = with_resources({}, {"limits": {"hugepages-2Mi": "4Mi"}})
    made = [container_resources(given, one, V2).hugepage_limits for one in given.spec.containers]
    assert made == [{"1GB": 0, "2MB": 0}, {"1GB": 0, "2MB": 4 << 20}]
    whole = with_resources({}, resources={"limits": {"hugepages-2Mi": "8Mi"}})
    assert container_resources(whole, whole.spec.containers[0], V2).hugepage_limits == {"1GB": 0, "2MB": 8 << 20}
    asked = {"limits": {"hugepages-2Mi": "4Mi", "cpu": "1", "memory": "1Mi"}}
    assert pod_resources(with_resources(asked, {}), V2.page_sizes).hugepage_limits == {"1GB": 0, "2MB": 4 << 20}
    assert pod_resources(with_resources({}), V2.page_sizes).hugepage_limits == {"1GB": 0, "2MB": 0}


def test_sidecars_and_critical_pods_before_the_kernel() -> None:
    """Source: `GetContainerOOMScoreAdjust`; KEP-753 for sidecars, KEP-2837 for requests of the whole Pod."""

    def asks(amount: str) -> dict[str, Any]:
        return {"requests": {"memory": amount}}

    side = {"name": "s", "image": "i", "restartPolicy": "Always"}
    given = with_resources(asks("512Mi"), asks("256Mi"), initContainers=[side])
    (sidecar,) = given.spec.init_containers
    assert oom_score_adj(given, sidecar, GIB) == 750, "as the least of those that it serves"
    greedy = with_resources(asks("256Mi"), initContainers=[side | {"resources": asks("512Mi")}])
    assert oom_score_adj(greedy, greedy.spec.init_containers[0], GIB) == 500
    whole = with_resources(asks("256Mi"), {}, resources=asks("768Mi"))
    assert [oom_score_adj(whole, one, GIB) for one in whole.spec.containers] == [500, 750]
    for name, score in (("system-node-critical", -997), ("system-cluster-critical", 1000)):
        critical = with_resources({}, priority=2_000_000_000, priorityClassName=name)
        assert oom_score_adj(critical, critical.spec.containers[0], GIB) == score


def test_a_container_without_limits_has_those_of_the_whole_pod() -> None:
    whole = {"limits": {"cpu": "2", "memory": "512Mi"}, "requests": {"cpu": "1", "memory": "512Mi"}}
    own = {"limits": {"memory": "128Mi"}, "requests": {"cpu": "250m"}}
    given = with_resources(own, {}, resources=whole)
    first, second = (container_resources(given, one, V1) for one in given.spec.containers)
    assert (first.cpu_shares, first.cpu_quota, first.memory_limit) == (256, 200_000, 128 << 20)
    assert (second.cpu_shares, second.cpu_quota, second.memory_limit) == (2048, 200_000, 512 << 20)


def test_no_container_is_swapped_and_memory_ends_all_of_it_where_the_kernel_can() -> None:
    given = with_resources({"limits": {"memory": "64Mi"}})
    container = given.spec.containers[0]
    version2 = container_resources(given, container, V2)
    assert version2.unified == {"memory.swap.max": "0", "memory.oom.group": "1"}
    assert version2.memory_swap_limit is None
    blind = GroupFacts(GIB, cgroup2=True, single_process_oom_kill=True)
    assert container_resources(given, container, blind).unified == {}
    version1 = container_resources(given, container, GroupFacts(GIB, swap_limits=True))
    assert (version1.memory_swap_limit, version1.unified) == (64 << 20, {})
    assert container_resources(given, container, V1).memory_swap_limit is None
    unlimited = with_resources({})
    found = container_resources(unlimited, unlimited.spec.containers[0], GroupFacts(GIB, swap_limits=True))
    assert found.memory_swap_limit is None
