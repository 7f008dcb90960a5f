"""Defaults of FlowSchemas and PriorityLevelConfigurations. Source: `pkg/apis/flowcontrol/v1/defaults.go`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from carob.api.types import flowcontrol_v1

if TYPE_CHECKING:
    from collections.abc import Callable


def _flow_schema(obj: flowcontrol_v1.FlowSchema) -> None:
    obj.spec.matching_precedence = obj.spec.matching_precedence or 1000


def _priority_level(obj: flowcontrol_v1.PriorityLevelConfiguration) -> None:
    for part, shares in ((obj.spec.limited, 30), (obj.spec.exempt, 0)):
        if part is not None:
            if part.nominal_concurrency_shares is None:
                part.nominal_concurrency_shares = shares
            if part.lendable_percent is None:
                part.lendable_percent = 0
    queuing = obj.spec.limited.limit_response.queuing if obj.spec.limited is not None else None
    if queuing is not None:
        queuing.hand_size = queuing.hand_size or 8
        queuing.queues = queuing.queues or 64
        queuing.queue_length_limit = queuing.queue_length_limit or 50


DEFAULTS: dict[type[Any], Callable[[Any], None]] = {
    flowcontrol_v1.FlowSchema: _flow_schema,
    flowcontrol_v1.PriorityLevelConfiguration: _priority_level,
}
