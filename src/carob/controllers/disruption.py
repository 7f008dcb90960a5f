"""How a controller ends a Pod from outside: first the condition that says who and why, then the deletion."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from carob.api.status import ApiError
from carob.api.types import core_v1
from carob.base.clock import rfc3339

if TYPE_CHECKING:
    from carob.client.rest import Client
    from carob.controllers.views import PodView

TERMINAL = ("Succeeded", "Failed")


def disruption_patch(pod: PodView, reason: str, message: str, now: float, *, fail: bool) -> dict[str, Any]:
    """The strategic patch of the Pod's status: DisruptionTarget, and `fail`: the phase Failed unless it has ended."""
    condition: dict[str, Any] = {
        "type": "DisruptionTarget",
        "status": "True",
        "reason": reason,
        "message": message,
        "lastTransitionTime": rfc3339(now),
    }
    if pod.metadata.generation:
        condition["observedGeneration"] = pod.metadata.generation
    status: dict[str, Any] = {"conditions": [condition]}
    if fail and pod.status.phase not in TERMINAL:
        status["phase"] = "Failed"
    return {"metadata": {"uid": pod.metadata.uid}, "status": status}


async def end_pod(
    client: Client, pod: PodView, patch: dict[str, Any] | None, *, grace_period_seconds: int | None = None
) -> None:
    """Patch the Pod's status and delete it; a Pod that is gone, or another of its name, is no error."""
    metadata = pod.metadata
    try:
        if patch is not None:
            await client.patch(
                core_v1.Pod,
                metadata.name,
                metadata.namespace,
                patch=patch,
                patch_type="strategic",
                subresource="status",
            )
        await client.delete(
            core_v1.Pod,
            metadata.name,
            metadata.namespace,
            uid=metadata.uid,
            grace_period_seconds=grace_period_seconds,
        )
    except ApiError as error:
        if error.reason not in ("NotFound", "Conflict"):
            raise
