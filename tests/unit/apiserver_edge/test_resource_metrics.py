"""From two summaries to rates: which are chosen, what is measured from its start, what is left out."""

from __future__ import annotations

from typing import Any

import pytest

from carob.api.durations import go_duration
from carob.apiserver.resource_metrics.rates import NODE, Sample, base_for, kept, sample, uses
from carob.base.clock import rfc3339_micro

BEGAN = "2026-01-01T00:00:00Z"
T0 = 1767225600.0
KEY = ("default", "p", "c")


def tree(second: float, nanoseconds: int, uid: str = "u", began: str = BEGAN) -> dict[str, Any]:
    def one(**fields: Any) -> dict[str, Any]:
        cpu = {"time": rfc3339_micro(T0 + second), "usageCoreNanoSeconds": nanoseconds}
        return {"cpu": cpu, "memory": {"workingSetBytes": 4096}, "startTime": began, **fields}

    pod = {"podRef": {"namespace": "default", "name": "p", "uid": uid}, "containers": [one(name="c")]}
    return {"node": one(), "pods": [pod]}


def test_a_rate_is_the_difference_of_two_looks() -> None:
    older, newer = sample(tree(1000, 10**9), 0), sample(tree(1010, 6 * 10**9), 10)
    found = uses(older, newer)
    assert found[KEY].cpu_nanocores == found[NODE].cpu_nanocores == 500_000_000
    assert (found[KEY].window_seconds, found[KEY].memory_bytes) == (10, 4096)


@pytest.mark.parametrize(
    ("older", "second", "nanocores"),
    [
        pytest.param(None, 10, 200_000_000, id="young: measured from its start"),
        pytest.param(None, 1000, None, id="old and never seen before"),
        pytest.param(sample(tree(5, 10**9, uid="other"), 0), 10, 200_000_000, id="another Pod of that name"),
        pytest.param(sample(tree(1, 10**9, began="2025-12-31T23:00:00Z"), 0), 10, 200_000_000, id="started anew"),
        pytest.param(sample(tree(999.9, 10**9), 0), 1000, None, id="too close"),
        pytest.param(sample(tree(900, 3 * 10**9), 0), 1000, None, id="a counter that went back"),
    ],
)
def test_what_is_measured(older: Sample | None, second: float, nanocores: int | None) -> None:
    found = uses(older, sample(tree(second, 2 * 10**9), 10)).get(KEY)
    assert (None if found is None else found.cpu_nanocores) == nanocores


@pytest.mark.parametrize(
    ("ages", "chosen"),
    [
        ([], None),
        ([0.1], None),
        ([1.0], 1.0),
        ([3.0, 1.0], 3.0),
        ([30.0, 6.0, 1.0], 6.0),
        ([500.0], None),
        ([500.0, 0.1], None),
    ],
)
def test_which_older_look_is_chosen(ages: list[float], chosen: float | None) -> None:
    found = base_for([Sample(1000.0 - age) for age in ages], 1000.0)
    assert (None if found is None else 1000.0 - found.taken) == chosen


def test_what_is_kept_has_a_bound() -> None:
    samples: list[Sample] = []
    for second in range(1000):
        now = second / 10
        samples = kept([*samples, Sample(now)], now)
        assert len(samples) <= 3
        if now >= 10:
            found = base_for(samples, now)
            assert found is not None
            assert 5 <= now - found.taken <= 15


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (0.5, "500ms"), (15.012, "15.012s"), (30, "30s"), (90, "1m30s"), (3600, "1h0m0s")],
)
def test_durations_as_go_writes_them(seconds: float, text: str) -> None:
    assert go_duration(seconds) == text
