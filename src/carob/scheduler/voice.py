"""What the scheduler says: events of Pods, and the words and promises in their status.

Touches the API through `client`. Nothing here is needed to be right: what cannot be written is logged.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from carob.api.status import ApiError
from carob.api.types import core_v1
from carob.base.log import get_logger
from carob.client.events import QUIET_SECONDS, EventRecorder

if TYPE_CHECKING:
    from collections.abc import Iterable

    from carob.base.clock import Clock
    from carob.base.ids import Randomness
    from carob.client.rest import Client
    from carob.scheduler.pods import PodInfo

MAX_MESSAGE = 1024

_log = get_logger("scheduler")


class Voice:
    """Speaks in the name of each of the profiles; run its `recorders`."""

    def __init__(self, client: Client, clock: Clock, randomness: Randomness, profiles: Iterable[str]) -> None:
        self._client = client
        self.recorders = {
            name: EventRecorder(client, name, clock, randomness, quiet_seconds=QUIET_SECONDS) for name in profiles
        }

    def event(self, pod: PodInfo, kind: str, reason: str, message: str, name: str = "") -> None:
        """An event of the Pod, in the name of its own profile or of another."""
        metadata = pod.view.metadata
        regarding = core_v1.ObjectReference(
            kind="Pod",
            api_version="v1",
            namespace=metadata.namespace,
            name=metadata.name,
            uid=metadata.uid,
            resource_version=metadata.resource_version,
        )
        shortened = message if len(message) <= MAX_MESSAGE else message[: MAX_MESSAGE - 4] + " ..."
        self.recorders[name or pod.view.spec.scheduler_name].event(regarding, kind, reason, shortened)

    def tell_victim(self, preemptor: PodInfo, pod: PodInfo, kind: str, reason: str, message: str) -> None:
        """An event of a Pod that has to go, in the name of who made it go."""
        self.event(pod, kind, reason, message, preemptor.view.spec.scheduler_name)

    async def expect(self, pod: PodInfo, node_name: str) -> None:
        """Say where the Pod will be, before what it still needs is done. Source: KEP-5278, on since v1.35."""
        await self.patch(pod, {"status": {"nominatedNodeName": node_name}})

    async def patch(self, pod: PodInfo, patch: dict[str, Any]) -> None:
        """Write into the Pod's status."""
        metadata = pod.view.metadata
        try:
            await self._client.patch(
                core_v1.Pod,
                metadata.name,
                metadata.namespace,
                patch=patch,
                patch_type="strategic",
                subresource="status",
            )
        except (ApiError, ConnectionError) as error:
            level = _log.debug if isinstance(error, ApiError) and error.code == 404 else _log.warning
            level("cannot write the status of %s: %s", pod.key, error)
