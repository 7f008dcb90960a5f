"""In-place resize: what fits, what restarts, what an earlier agent told."""

from __future__ import annotations

from typing import Any

import pytest

from carob.api import codec
from carob.api.types import core_v1
from carob.kubelet import resize
from carob.runtime.types import Resources
from tests.unit.kubelet.pods import container, pod

NODE = {"cpu": "2", "memory": "1Gi", "pods": "10"}


def sized(cpu: str = "500m", memory: str = "100Mi", **limits: str) -> core_v1.Pod:
    asked = {"requests": {"cpu": cpu, "memory": memory}, "limits": limits}
    return pod(containers=[{"name": "web", "image": "web:1", "resources": asked}])


def requirements(requests: dict[str, str] | None = None, **limits: str) -> core_v1.ResourceRequirements:
    return codec.from_tree(core_v1.ResourceRequirements, {"requests": requests or {}, "limits": limits})


@pytest.mark.parametrize(
    ("wanted", "others", "reason", "message"),
    [
        (sized("1"), [sized("500m")], None, ""),
        (
            sized("1800m"),
            [sized("500m")],
            "Deferred",
            "Node didn't have enough resource: cpu, requested: 1800, used: 500, capacity: 2000",
        ),
        (
            sized("3"),
            [],
            "Infeasible",
            "Node didn't have enough capacity: cpu, requested: 3000, capacity: 2000",
        ),
        (
            sized("1800m", "2Gi"),
            [sized("500m")],
            "Infeasible",
            "Node didn't have enough capacity: memory, requested: 2147483648, capacity: 1073741824",
        ),
    ],
)
def test_what_fits(wanted: core_v1.Pod, others: list[core_v1.Pod], reason: str | None, message: str) -> None:
    found = resize.refusal(wanted, others, NODE)
    assert (None if found is None else found.reason) == reason
    if found is not None:
        assert found.message == message


@pytest.mark.parametrize(
    ("policy", "new", "restarts"),
    [
        ([], requirements({"cpu": "2"}), False),
        ([("cpu", "NotRequired"), ("memory", "RestartContainer")], requirements({"cpu": "2", "memory": "1Mi"}), False),
        ([("memory", "RestartContainer")], requirements({"cpu": "1", "memory": "2Mi"}), True),
        ([("memory", "RestartContainer")], requirements({"cpu": "1", "memory": "1024Ki"}), False),
        ([("cpu", "RestartContainer")], requirements({"cpu": "1", "memory": "1Mi"}, cpu="2"), True),
    ],
)
def test_what_restarts(policy: list[tuple[str, str]], new: core_v1.ResourceRequirements, restarts: bool) -> None:
    policies = [{"resourceName": name, "restartPolicy": how} for name, how in policy]
    old = requirements({"cpu": "1", "memory": "1Mi"})
    assert resize.must_restart(container(resizePolicy=policies), new, old) is restarts


def test_equal_amounts_are_the_same_size() -> None:
    assert resize.same(requirements({"cpu": "1"}, memory="1Gi"), requirements({"cpu": "1000m"}, memory="1024Mi"))
    assert not resize.same(requirements({"cpu": "1"}), requirements({"cpu": "1"}, cpu="1"))


def test_sizes_are_found_again_in_the_status() -> None:
    entry: dict[str, Any] = {
        "name": "web",
        "allocatedResources": {"cpu": "2"},
        "resources": {"requests": {"cpu": "1"}, "limits": {"cpu": "3"}},
    }
    told = resize.told_sizes(pod(status={"containerStatuses": [entry]}))
    assert told is not None
    assert told[0]["web"] == requirements({"cpu": "2"}, cpu="3")
    assert told[1]["web"] == requirements({"cpu": "1"}, cpu="3")
    assert resize.told_sizes(pod()) is None


def test_init_containers_other_than_sidecars_keep_their_size() -> None:
    inits = [{"name": "once", "image": "i"}, {"name": "beside", "image": "i", "restartPolicy": "Always"}]
    one = pod(initContainers=inits)
    assert list(resize.sizes_of(one)) == ["beside", "web"]
    new = resize.with_sizes(one, {"beside": requirements({"cpu": "1"}), "web": one.spec.containers[0].resources})
    assert [c.resources.requests for c in new.spec.init_containers] == [{}, {"cpu": "1"}]
    assert resize.with_sizes(one, resize.sizes_of(one)) is one


def test_a_pod_without_limit_is_said_to_have_none() -> None:
    from carob.kubelet.steps.resize import _explicit, _greater

    small, large = Resources(cpu_shares=100, cpu_quota=1000, memory_limit=50), Resources(cpu_shares=10, memory_limit=90)
    both = _greater(small, large)
    assert (both.cpu_shares, both.cpu_quota, both.memory_limit) == (100, -1, 90)
    assert _explicit(large).cpu_quota == -1
