"""Makes room: tells the victims of a preemption why they go, deletes them, and says so.

Touches the API through `client`. Source: scheduler `framework/preemption/executor.go`.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from carob.api.status import ApiError
from carob.api.types import core_v1
from carob.base.clock import rfc3339

if TYPE_CHECKING:
    from collections.abc import Callable

    from carob.base.clock import Clock
    from carob.client.rest import Client
    from carob.scheduler.pods import PodInfo
    from carob.scheduler.room import Nomination

    Tell = Callable[[PodInfo, str, str, str], None]

PREEMPTED = "PreemptionByScheduler"


async def evict(client: Client, clock: Clock, name: str, pod: PodInfo, nomination: Nomination, tell: Tell) -> None:
    """Every victim of the nomination is on its way out when this returns; they are told at once, as upstream does.

    Raises: ApiError, ConnectionError, when the others have been told too.
    """
    told = await asyncio.gather(
        *(_evict(client, clock, name, victim) for victim in nomination.victims), return_exceptions=True
    )
    for victim, outcome in zip(nomination.victims, told, strict=True):
        if isinstance(outcome, BaseException):
            # gone, or replaced by another Pod of its name: it no longer takes anything
            if not isinstance(outcome, ApiError) or outcome.reason not in ("NotFound", "Conflict"):
                raise outcome
            continue
        tell(victim, "Normal", "Preempted", f"Preempted by pod {pod.uid} on node {nomination.node}")


async def _evict(client: Client, clock: Clock, name: str, victim: PodInfo) -> None:
    metadata = victim.view.metadata
    condition: dict[str, Any] = {
        "type": "DisruptionTarget",
        "status": "True",
        "reason": PREEMPTED,
        "message": f"{name}: preempting to accommodate a higher priority pod",
        "lastTransitionTime": rfc3339(clock.now()),
    }
    await client.patch(
        core_v1.Pod,
        metadata.name,
        metadata.namespace,
        patch={"metadata": {"uid": metadata.uid}, "status": {"conditions": [condition]}},
        patch_type="strategic",
        subresource="status",
    )
    await client.delete(core_v1.Pod, metadata.name, metadata.namespace, uid=metadata.uid)
