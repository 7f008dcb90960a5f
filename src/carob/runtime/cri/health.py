"""Whether Pods can run and what the runtime can, in the seam's words and in the wire's, either way. Pure."""

from __future__ import annotations

from carob.runtime.cri import runtime_messages as wire
from carob.runtime.types import RuntimeHandler, RuntimeStatus


def to_wire(status: RuntimeStatus) -> wire.StatusResponse:
    """As Status tells it."""
    conditions = [
        _condition(wire.RUNTIME_READY, status.runtime_problem, "ContainerRuntimeNotReady"),
        _condition(wire.NETWORK_READY, status.network_problem, "NetworkPluginNotReady"),
    ]
    handlers = [
        wire.RuntimeHandler(
            name=handler.name,
            features=wire.RuntimeHandlerFeatures(
                recursive_read_only_mounts=handler.recursive_readonly_mounts, user_namespaces=handler.user_namespaces
            ),
        )
        for handler in status.handlers
    ]
    return wire.StatusResponse(
        status=wire.RuntimeStatus(conditions=conditions),
        runtime_handlers=handlers,
        features=wire.RuntimeFeatures(supplemental_groups_policy=status.supplemental_groups_policy),
    )


def _condition(kind: str, problem: str, reason: str) -> wire.RuntimeCondition:
    if not problem:
        return wire.RuntimeCondition(type=kind, status=True)
    return wire.RuntimeCondition(type=kind, reason=reason, message=problem.partition(" message:")[2] or problem)


def from_wire(answer: wire.StatusResponse) -> RuntimeStatus:
    """A condition that is not told does not hold. Source: kubelet `updateRuntimeUp`; its words for a condition."""
    told = {c.type: c for c in (answer.status.conditions if answer.status is not None else [])}

    def problem(kind: str) -> str:
        condition = told.get(kind, wire.RuntimeCondition(type=kind))
        if condition.status:
            return ""
        return f"{kind}=false reason:{condition.reason} message:{condition.message}"

    return RuntimeStatus(
        runtime_problem=problem(wire.RUNTIME_READY),
        network_problem=problem(wire.NETWORK_READY),
        handlers=[_handler(handler) for handler in answer.runtime_handlers],
        supplemental_groups_policy=answer.features is not None and answer.features.supplemental_groups_policy,
    )


def _handler(handler: wire.RuntimeHandler) -> RuntimeHandler:
    can = handler.features or wire.RuntimeHandlerFeatures()
    return RuntimeHandler(handler.name, can.recursive_read_only_mounts, can.user_namespaces)
