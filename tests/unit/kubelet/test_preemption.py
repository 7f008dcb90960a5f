"""Who makes way for a critical Pod. Source: kubelet `preemption/preemption_test.go`, test/e2e_node/critical_pod_test.go."""

from __future__ import annotations

from typing import Any

import pytest

from carob.api.types import core_v1, meta_v1
from carob.kubelet.steps.admission import DoesNotFit, admit
from carob.kubelet.steps.preemption import victims
from tests.unit.kubelet.pods import pod

NODE = core_v1.Node(metadata=meta_v1.ObjectMeta(name="n"))
ROOM = {"cpu": "1", "memory": "100Mi", "pods": "10"}


def one(name: str, cpu: str = "", memory: str = "", *, bound: bool = False, **spec: Any) -> core_v1.Pod:
    amounts = {key: value for key, value in (("cpu", cpu), ("memory", memory)) if value}
    resources = {"requests": amounts} | ({"limits": amounts} if bound else {})
    made = pod(containers=[{"name": "c", "image": "i", "resources": resources}], **spec)
    made.metadata.name = name
    return made


CRITICAL: dict[str, Any] = {"priority": 2_000_000_000, "priorityClassName": "system-cluster-critical"}


def go(wanted: core_v1.Pod, *others: core_v1.Pod) -> list[str]:
    with pytest.raises(DoesNotFit) as caught:
        admit(wanted, others, ROOM, NODE)
    return [chosen.metadata.name for chosen in victims(wanted, others, caught.value.shortfalls)]


def test_nobody_goes_for_a_usual_pod() -> None:
    assert go(one("p", "500m"), one("a", "800m")) == []


def test_as_few_as_can_be_and_those_that_were_promised_least() -> None:
    others = [
        one("small", "100m", "10Mi"),
        one("large", "400m", "40Mi"),
        one("guaranteed", "400m", "40Mi", bound=True),
        one("free"),
    ]
    assert go(one("p", "300m", "30Mi", **CRITICAL), *others) == ["large"]
    assert go(one("p", "200m", **CRITICAL), *others) == ["small"]
    assert go(one("p", "600m", **CRITICAL), *others) == ["large", "small"]
    assert go(one("p", "900m", **CRITICAL), *others) == ["large", "guaranteed"]


def test_places_count_too() -> None:
    others = [one(f"free-{number}") for number in range(9)] + [one("asks", "10m")]
    assert len(go(one("p", **CRITICAL), *others)) == 1
    assert "asks" not in go(one("p", **CRITICAL), *others)


def test_critical_pods_make_way_for_higher_ones_alone() -> None:
    other = one("system", "800m", **CRITICAL)
    assert go(one("p", "500m", **CRITICAL), other) == []
    higher: dict[str, Any] = {"priority": 2_000_001_000, "priorityClassName": "system-node-critical"}
    assert go(one("p", "500m", **higher), other) == ["system"]


def test_nobody_goes_in_vain() -> None:
    assert go(one("p", "2", **CRITICAL), one("a", "800m")) == []
