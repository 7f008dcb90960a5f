"""How fast and how far a size may go: stabilization windows, policies, bounds. Pure.

Source: kube-controller-manager `podautoscaler/horizontal.go` (normalizeDesiredReplicas and its WithBehaviors).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Sequence

    from carob.api.types import autoscaling_v2 as v2

DOWN_WINDOW_SECONDS = 300.0
UP_FACTOR, UP_MINIMUM = 2.0, 4.0
MAX_REMEMBERED = 4096

_WITHIN = ("DesiredWithinRange", "the desired count is within the acceptable range")
_TOO_FEW = ("TooFewReplicas", "the desired replica count is less than the minimum replica count")
_TOO_MANY = ("TooManyReplicas", "the desired replica count is more than the maximum replica count")
_UP = ("ScaleUpLimit", "the desired replica count is increasing faster than the maximum scale rate")
_DOWN = ("ScaleDownLimit", "the desired replica count is decreasing faster than the maximum scale rate")
_READY = ("ReadyForNewScale", "recommended size matches current size")
_HELD_UP = (
    "ScaleUpStabilized",
    "recent recommendations were lower than current one, applying the lowest recent recommendation",
)
_HELD_DOWN = (
    "ScaleDownStabilized",
    "recent recommendations were higher than current one, applying the highest recent recommendation",
)


class Change(NamedTuple):
    """A size at a time, or by how much it changed. Units: seconds since 1970."""

    time: float
    replicas: int


class Memory(Struct, frozen=True):
    """What the past says. A server that starts anew forgets it, as upstream's does."""

    recommendations: tuple[Change, ...] = ()
    ups: tuple[Change, ...] = ()
    downs: tuple[Change, ...] = ()


class Limited(Struct, frozen=True):
    """`able` and `limited` are reason and message of AbleToScale and ScalingLimited; `is_limited` is the latter's status."""

    replicas: int
    able: tuple[str, str]
    is_limited: bool
    limited: tuple[str, str]
    recommendations: tuple[Change, ...] = ()


def limit(spec: v2.HorizontalPodAutoscalerSpec, current: int, wanted: int, memory: Memory, now: float) -> Limited:
    """What comes of a wish.

    Shape: the result lies within the bounds of `spec` whenever `current` does.
    """
    low, high = min_replicas(spec), spec.max_replicas
    if spec.behavior is None:
        held, able = _stabilized_down(wanted, memory.recommendations, now)
        size, why = _bounded(current, held, low, high)
    else:
        held, able = _stabilized(spec.behavior, current, wanted, memory.recommendations, now)
        size, why = _paced(spec.behavior, current, held, low, high, memory, now)
    kept = remembered(spec, memory.recommendations, now)
    return Limited(size, able, size != held, why, (*kept, Change(now, wanted)))


def min_replicas(spec: v2.HorizontalPodAutoscalerSpec) -> int:
    """The lower bound."""
    return 1 if spec.min_replicas is None else spec.min_replicas


def _stabilized_down(wanted: int, recent: Sequence[Change], now: float) -> tuple[int, tuple[str, str]]:
    cutoff = now - DOWN_WINDOW_SECONDS
    held = max([wanted, *(r.replicas for r in recent if r.time > cutoff)])
    return held, _READY if held == wanted else _HELD_DOWN


def _bounded(current: int, wanted: int, low: int, high: int) -> tuple[int, tuple[str, str]]:
    """Without a behaviour: at most twice as many, or four."""
    fast = int(max(UP_FACTOR * current, UP_MINIMUM))
    most, why = (fast, _UP) if high > fast else (high, _TOO_MANY)
    if wanted < low:
        return low, _TOO_FEW
    return (most, why) if wanted > most else (wanted, _WITHIN)


def down_window(behavior: v2.HorizontalPodAutoscalerBehavior) -> float:
    """Of scaling down, in seconds."""
    rules = behavior.scale_down
    if rules is None or rules.stabilization_window_seconds is None:
        return DOWN_WINDOW_SECONDS
    return float(rules.stabilization_window_seconds)


def up_window(behavior: v2.HorizontalPodAutoscalerBehavior) -> float:
    """Of scaling up, in seconds."""
    rules = behavior.scale_up
    return float((rules.stabilization_window_seconds if rules is not None else 0) or 0)


def _stabilized(
    behavior: v2.HorizontalPodAutoscalerBehavior, current: int, wanted: int, recent: Sequence[Change], now: float
) -> tuple[int, tuple[str, str]]:
    """As low as anybody asked within the window for up, as high as anybody within the one for down."""
    lowest = min([wanted, *(r.replicas for r in recent if r.time > now - up_window(behavior))])
    highest = max([wanted, *(r.replicas for r in recent if r.time > now - down_window(behavior))])
    held = min(max(current, lowest), highest)
    if held == wanted:
        return held, _READY
    return held, _HELD_UP if wanted >= current else _HELD_DOWN


def _paced(
    behavior: v2.HorizontalPodAutoscalerBehavior,
    current: int,
    wanted: int,
    low: int,
    high: int,
    memory: Memory,
    now: float,
) -> tuple[int, tuple[str, str]]:
    if wanted > current:
        most = max(_up_limit(behavior.scale_up, current, memory, now), current)
        bound, why = (most, _UP) if high > most else (high, _TOO_MANY)
        return (bound, why) if wanted > bound else (wanted, _WITHIN)
    if wanted < current:
        least = min(_down_limit(behavior.scale_down, current, memory, now), current)
        bound, why = (least, _DOWN) if low < least else (low, _TOO_FEW)
        return (bound, why) if wanted < bound else (wanted, _WITHIN)
    return wanted, _WITHIN


def _up_limit(rules: v2.HPAScalingRules | None, current: int, memory: Memory, now: float) -> int:
    if rules is None or not rules.policies:
        return int(max(UP_FACTOR * current, UP_MINIMUM))
    if rules.select_policy == "Disabled":
        return current
    proposed = []
    for policy in rules.policies:
        before = _before(current, policy.period_seconds, memory, now)
        if policy.type == "Pods":
            proposed.append(before + policy.value)
        else:
            proposed.append(math.ceil(before * (100 + policy.value) / 100))
    return min(proposed) if rules.select_policy == "Min" else max(proposed)


def _down_limit(rules: v2.HPAScalingRules | None, current: int, memory: Memory, now: float) -> int:
    if rules is None or not rules.policies:
        return 0
    if rules.select_policy == "Disabled":
        return current
    proposed = []
    for policy in rules.policies:
        before = _before(current, policy.period_seconds, memory, now)
        if policy.type == "Pods":
            proposed.append(before - policy.value)
        else:
            proposed.append(before * (100 - policy.value) // 100)
    return max(proposed) if rules.select_policy == "Min" else min(proposed)


def _before(current: int, period_seconds: int, memory: Memory, now: float) -> int:
    """The size at the beginning of the period."""
    cutoff = now - period_seconds
    added = sum(change.replicas for change in memory.ups if change.time > cutoff)
    taken = sum(change.replicas for change in memory.downs if change.time > cutoff)
    return current - added + taken


def remembered(spec: v2.HorizontalPodAutoscalerSpec, changes: Sequence[Change], now: float) -> tuple[Change, ...]:
    """Those recommendations that any window can still ask for."""
    longest = DOWN_WINDOW_SECONDS
    if spec.behavior is not None:
        longest = max(down_window(spec.behavior), up_window(spec.behavior))
    return tuple(change for change in changes if change.time > now - longest)[-MAX_REMEMBERED:]


def after_change(
    spec: v2.HorizontalPodAutoscalerSpec, memory: Memory, before: int, after: int, now: float
) -> tuple[tuple[Change, ...], tuple[Change, ...]]:
    """Ups and downs once the size has changed; only behaviours need them."""
    if spec.behavior is None:
        return (), ()
    ups, downs = _recent(spec.behavior.scale_up, memory.ups, now), _recent(spec.behavior.scale_down, memory.downs, now)
    if after > before:
        ups = (*ups, Change(now, after - before))
    elif after < before:
        downs = (*downs, Change(now, before - after))
    return ups, downs


def _recent(rules: v2.HPAScalingRules | None, changes: Sequence[Change], now: float) -> tuple[Change, ...]:
    longest = max((policy.period_seconds for policy in rules.policies), default=0) if rules is not None else 0
    return tuple(change for change in changes if change.time > now - longest)[-MAX_REMEMBERED:]
