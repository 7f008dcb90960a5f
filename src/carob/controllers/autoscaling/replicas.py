"""How many replicas a metric asks for. Pure.

Source: kube-controller-manager `podautoscaler/replica_calculator.go`, `metrics/utilization.go`.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from msgspec import Struct, field

from carob.base.clock import parse_rfc3339
from carob.controllers.autoscaling.readings import milli

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from carob.api.types import core_v1
    from carob.controllers.autoscaling.readings import PodReading

CPU_INITIALIZATION_SECONDS = 300.0
INITIAL_READINESS_SECONDS = 30.0
DEFAULT_TOLERANCE = 0.1
_NO_PODS = "no pods returned by selector while calculating replica count"
_NO_METRICS = "did not receive metrics for targeted pods (pods might be unready)"


class CannotCalculateError(Exception):
    """The text is upstream's."""


class Tolerances(Struct, frozen=True):
    """How far from 1 a ratio may be before anything is done."""

    up: float = DEFAULT_TOLERANCE
    down: float = DEFAULT_TOLERANCE

    def hold(self, ratio: float) -> bool:
        return 1.0 - self.down <= ratio <= 1.0 + self.up


class Proposal(Struct, frozen=True):
    """`percent` is the utilization in percent of the requests, where that was the target; `milli` the average."""

    replicas: int
    milli: int
    percent: int | None = None


class _Groups(Struct):
    ready: int = 0
    unready: set[str] = field(default_factory=set)
    missing: set[str] = field(default_factory=set)
    ignored: set[str] = field(default_factory=set)


def by_utilization(
    current: int,
    target_percent: int,
    resource: str,
    container: str,
    readings: Mapping[str, PodReading],
    pods: Sequence[core_v1.Pod],
    tolerances: Tolerances,
    now: float,
) -> Proposal:
    """For a target in percent of what is requested. Raises: CannotCalculateError."""
    groups, used = _prepared(readings, pods, resource, now)
    requests = {pod.metadata.name: _request(pod, resource, container) for pod in pods}
    ratio, percent, average = _utilization(used, requests, target_percent)

    def again(values: Mapping[str, int]) -> float:
        return _utilization(values, requests, target_percent)[0]

    def missing(name: str) -> int:
        # on the way down a Pod without numbers counts as fully used
        return requests[name] * max(100, target_percent) // 100

    return Proposal(_sized(current, ratio, groups, used, again, missing, tolerances), average, percent)


def by_average(
    current: int,
    target_milli: int,
    resource: str,
    readings: Mapping[str, PodReading],
    pods: Sequence[core_v1.Pod],
    tolerances: Tolerances,
    now: float,
) -> Proposal:
    """For a target average per Pod; `resource` is empty for metrics of the Pods' own. Raises: CannotCalculateError."""
    groups, used = _prepared(readings, pods, resource, now)

    def again(values: Mapping[str, int]) -> float:
        return (sum(values.values()) // len(values)) / target_milli

    ratio = again(used)
    average = sum(used.values()) // len(used)
    return Proposal(
        _sized(current, ratio, groups, used, again, lambda name: target_milli, tolerances),
        average,
    )


def by_value(
    current: int, target_milli: int, value_milli: int, pods: Sequence[core_v1.Pod], tolerances: Tolerances
) -> Proposal:
    """For one value against one target: the ready Pods share it."""
    ratio = value_milli / target_milli
    if current == 0:
        return Proposal(math.ceil(ratio), value_milli)
    if tolerances.hold(ratio):
        return Proposal(current, value_milli)
    ready = sum(_is_ready(pod) for pod in pods if pod.status.phase == "Running")
    return Proposal(math.ceil(ratio * ready), value_milli)


def by_value_per_pod(status_replicas: int, target_milli: int, value_milli: int, tolerances: Tolerances) -> Proposal:
    """For one value that is divided by the number of Pods there are."""
    replicas = status_replicas
    ratio = value_milli / (target_milli * replicas) if replicas else math.inf
    if not tolerances.hold(ratio):
        replicas = math.ceil(value_milli / target_milli)
    return Proposal(replicas, math.ceil(value_milli / status_replicas) if status_replicas else 0)


def _prepared(
    readings: Mapping[str, PodReading], pods: Sequence[core_v1.Pod], resource: str, now: float
) -> tuple[_Groups, dict[str, int]]:
    """Which Pods count how, and the values of those that count."""
    if not pods:
        raise CannotCalculateError(_NO_PODS)
    groups = _group(readings, pods, resource, now)
    without = groups.ignored | groups.unready
    used = {name: reading.milli for name, reading in readings.items() if name not in without}
    if not used:
        raise CannotCalculateError(_NO_METRICS)
    return groups, used


def _group(readings: Mapping[str, PodReading], pods: Sequence[core_v1.Pod], resource: str, now: float) -> _Groups:
    groups = _Groups()
    for pod in pods:
        name = pod.metadata.name
        if pod.metadata.deletion_timestamp is not None or pod.status.phase == "Failed":
            groups.ignored.add(name)
        elif pod.status.phase == "Pending":
            groups.unready.add(name)
        elif name not in readings:
            groups.missing.add(name)
        elif resource == "cpu" and _is_warming_up(pod, readings[name], now):
            groups.unready.add(name)
        else:
            groups.ready += 1
    return groups


def _is_warming_up(pod: core_v1.Pod, reading: PodReading, now: float) -> bool:
    """Whether its processor time says nothing yet, because it has only just begun."""
    ready = next((c for c in pod.status.conditions if c.type == "Ready"), None)
    if ready is None or not pod.status.start_time:
        return True
    start = parse_rfc3339(pod.status.start_time)
    changed = parse_rfc3339(ready.last_transition_time) if ready.last_transition_time else 0.0
    if start + CPU_INITIALIZATION_SECONDS > now:
        return ready.status == "False" or reading.time < changed + reading.window_seconds
    # it has never been ready since it began
    return ready.status == "False" and start + INITIAL_READINESS_SECONDS > changed


def _is_ready(pod: core_v1.Pod) -> bool:
    return any(c.type == "Ready" and c.status == "True" for c in pod.status.conditions)


def _request(pod: core_v1.Pod, resource: str, container: str) -> int:
    """Thousandths. Raises: CannotCalculateError when a container asks for nothing."""
    whole = pod.spec.resources.requests if pod.spec.resources is not None else {}
    if not container and resource in whole:
        return milli(whole[resource])
    sidecars = [c for c in pod.spec.init_containers if c.restart_policy == "Always"]
    total = 0
    for one in [*pod.spec.containers, *sidecars]:
        if container and one.name != container:
            continue
        if resource not in one.resources.requests:
            text = f"missing request for {resource} in container {one.name} of Pod {pod.metadata.name}"
            raise CannotCalculateError(text)
        total += milli(one.resources.requests[resource])
    return total


def _utilization(used: Mapping[str, int], requests: Mapping[str, int], target_percent: int) -> tuple[float, int, int]:
    """The ratio to the target, the percentage, the average. Values of unknown Pods do not count."""
    known = [name for name in used if name in requests]
    requested = sum(requests[name] for name in known)
    if not requested:
        raise CannotCalculateError("no metrics returned matched known pods")
    total = sum(used[name] for name in known)
    percent = total * 100 // requested
    return percent / target_percent, percent, total // len(known)


def _sized(
    current: int,
    ratio: float,
    groups: _Groups,
    used: dict[str, int],
    again: Callable[[Mapping[str, int]], float],
    missing_value: Callable[[str], int],
    tolerances: Tolerances,
) -> int:
    """The size for a ratio; Pods without numbers are taken to say whatever makes the change smaller."""
    up_with_unready = bool(groups.unready) and ratio > 1.0
    if not up_with_unready and not groups.missing:
        return current if tolerances.hold(ratio) else math.ceil(ratio * groups.ready)
    values = dict(used)
    if ratio < 1.0:
        values.update({name: missing_value(name) for name in groups.missing})
    elif ratio > 1.0:
        values.update(dict.fromkeys(groups.missing, 0))
    if up_with_unready:
        values.update(dict.fromkeys(groups.unready, 0))
    fresh = again(values)
    if tolerances.hold(fresh) or (ratio < 1.0 < fresh) or (fresh < 1.0 < ratio):
        return current
    size = math.ceil(fresh * len(values))
    if (fresh < 1.0 and size > current) or (fresh > 1.0 and size < current):
        # what was made up must not turn the direction
        return current
    return size
