"""Makes room: deletes the victims of a preemption, telling them why, and says so.

Touches the API through `client`. Source: scheduler `framework/preemption/executor.go`.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from carob.api.status import ApiError
from carob.api.types import core_v1

if TYPE_CHECKING:
    from collections.abc import Callable

    from carob.client.rest import Client
    from carob.scheduler.pods import PodInfo
    from carob.scheduler.room import Nomination

    Tell = Callable[[PodInfo, str, str, str], None]

PREEMPTED = "PreemptionByScheduler"


async def evict(client: Client, name: str, pod: PodInfo, nomination: Nomination, tell: Tell) -> None:
    """Every victim of the nomination is on its way out when this returns; who is already is not told again.

    Raises: ApiError, ConnectionError, when the others have been told too.
    """
    staying = [victim for victim in nomination.victims if not victim.deleting]
    told = await asyncio.gather(*(_evict(client, name, victim) for victim in staying), return_exceptions=True)
    failure: BaseException | None = None
    for victim, outcome in zip(staying, told, strict=True):
        if outcome is None:
            tell(victim, "Normal", "Preempted", f"Preempted by pod {pod.uid} on node {nomination.node}")
        elif not isinstance(outcome, ApiError) or outcome.reason not in ("NotFound", "Conflict"):
            failure = outcome
        # else it is gone, or replaced by another Pod of its name: it no longer takes anything
    if failure is not None:
        raise failure


async def _evict(client: Client, name: str, victim: PodInfo) -> None:
    metadata = victim.view.metadata
    why = (PREEMPTED, f"{name}: preempting to accommodate a higher priority pod")
    await client.delete(core_v1.Pod, metadata.name, metadata.namespace, uid=metadata.uid, disruption=why)
