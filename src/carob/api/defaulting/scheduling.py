"""Defaults of PriorityClasses. Source: `pkg/apis/scheduling/v1/defaults.go`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from carob.api.types import scheduling_v1

if TYPE_CHECKING:
    from collections.abc import Callable


def _priority_class(obj: scheduling_v1.PriorityClass) -> None:
    if obj.preemption_policy is None:
        obj.preemption_policy = "PreemptLowerPriority"


DEFAULTS: dict[type[Any], Callable[[Any], None]] = {scheduling_v1.PriorityClass: _priority_class}
