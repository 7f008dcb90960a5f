"""Tells users what happened, as core/v1 Events; never in the way of the work itself.

Recording only puts into a bounded queue; `run` sends. Events of the same words are counted on one object, ten
different texts of one reason become one combined event, and one object cannot flood the cluster: `correlation.py`.
Source: client-go `tools/record` (EventRecorder, EventBroadcaster) and its names of Events.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct

from carob.api.resources import resource_of
from carob.api.status import ApiError
from carob.api.types import core_v1, meta_v1
from carob.base.clock import rfc3339
from carob.base.ids import new_uid
from carob.base.log import get_logger
from carob.base.tasks import Signal
from carob.client.correlation import Correlator

if TYPE_CHECKING:
    from carob.base.clock import Clock
    from carob.base.ids import Randomness
    from carob.client.rest import Client

_log = get_logger("events")

# Source: client-go `maxQueuedEvents`, `maxTriesPerEvent`.
MAX_QUEUED = 1000
MAX_TRIES = 12
FIRST_RETRY_SECONDS = 0.5
LONGEST_RETRY_SECONDS = 10.0
MAX_NAME_LENGTH = 253
# for those on whom a Pod's start waits: longer than a start takes
QUIET_SECONDS = 0.05
LONGEST_WAIT_SECONDS = 1.0


def object_reference(obj: Any) -> core_v1.ObjectReference:
    """A reference to one object, as Events and Endpoints carry it."""
    metadata = obj.metadata
    row = resource_of(type(obj))
    return core_v1.ObjectReference(
        kind=row.kind,
        api_version=row.api_version,
        namespace=metadata.namespace,
        name=metadata.name,
        uid=metadata.uid,
        resource_version=metadata.resource_version,
    )


class _Recorded(Struct):
    reference: core_v1.ObjectReference
    type: str
    reason: str
    message: str
    at: float


class EventRecorder:
    """Records for one component; `host` is the node's name where the component belongs to one.

    Whoever has more urgent work than telling of it says for how long nothing must be recorded before the first is sent.
    """

    def __init__(
        self,
        client: Client,
        component: str,
        clock: Clock,
        randomness: Randomness,
        host: str = "",
        *,
        quiet_seconds: float = 0.0,
    ) -> None:
        self._client = client
        self._source = core_v1.EventSource(component=component, host=host)
        self._clock = clock
        self._randomness = randomness
        self._queue: deque[_Recorded] = deque()
        self._recorded = Signal()
        self._correlator = Correlator()
        self._dropped = 0
        self._last_stamp = 0
        self._quiet_seconds = quiet_seconds

    def event(self, regarding: Any, event_type: str, reason: str, message: str, *, field_path: str = "") -> None:
        """Record that `reason` happened to `regarding` (a Struct of a kind, or an ObjectReference).

        `event_type` is `Normal` or `Warning`; `field_path` names a part, such as `spec.containers{web}`. Never blocks.
        """
        if len(self._queue) >= MAX_QUEUED:
            self._dropped += 1
            if self._dropped == 1:
                _log.warning("%s: %d events wait to be sent, dropping new ones", self._source.component, MAX_QUEUED)
            return
        if isinstance(regarding, core_v1.ObjectReference):
            reference = msgspec.structs.replace(regarding)
        else:
            reference = object_reference(regarding)
        if field_path:
            reference.field_path = field_path
        self._queue.append(_Recorded(reference, event_type, reason, message, self._clock.now()))
        self._recorded.set()

    async def run(self) -> None:
        """Send what is recorded, in order, until cancelled."""
        while True:
            await self._recorded.wait()
            if self._quiet_seconds:
                await self._let_pass()
            while self._queue:
                await self._deliver(self._queue.popleft())
            if self._dropped:
                _log.warning("%s: dropped %d events", self._source.component, self._dropped)
                self._dropped = 0

    async def _let_pass(self) -> None:
        """Wait until nothing was recorded for a moment, but not for long."""
        end = self._clock.monotonic() + LONGEST_WAIT_SECONDS
        known = 0
        while known < len(self._queue) < MAX_QUEUED // 2 and self._clock.monotonic() < end:
            known = len(self._queue)
            await self._clock.sleep(self._quiet_seconds)

    async def _deliver(self, recorded: _Recorded) -> None:
        decision = self._correlator.observe(self._new_event(recorded), self._clock.monotonic())
        if decision is None:
            return
        delay = FIRST_RETRY_SECONDS
        for attempt in range(MAX_TRIES):
            try:
                stored = await self._send(decision.event, decision.patch)
            except ApiError as error:
                # the server has judged: asking again would not change its mind
                _log.info("event %s %s refused: %s", recorded.reason, recorded.reference.name, error.message)
                return
            except OSError as error:
                if attempt == MAX_TRIES - 1:
                    _log.warning("event %s %s lost: %s", recorded.reason, recorded.reference.name, error)
                    return
                await self._clock.sleep(delay)
                delay = min(delay * 2, LONGEST_RETRY_SECONDS)
            else:
                self._correlator.sent(decision.key, stored)
                return

    async def _send(self, event: core_v1.Event, patch: dict[str, Any] | None) -> core_v1.Event:
        metadata = event.metadata
        if patch is not None:
            try:
                return await self._client.patch(
                    core_v1.Event, metadata.name, metadata.namespace, patch=patch, patch_type="strategic"
                )
            except ApiError as error:
                # the first one has expired meanwhile
                if error.reason != "NotFound":
                    raise
        return await self._client.create(event)

    def _new_event(self, recorded: _Recorded) -> core_v1.Event:
        stamp = rfc3339(recorded.at)
        reference = recorded.reference
        return core_v1.Event(
            metadata=meta_v1.ObjectMeta(
                name=self._name(reference.name, recorded.at), namespace=reference.namespace or "default"
            ),
            involved_object=reference,
            reason=recorded.reason,
            message=recorded.message,
            source=self._source,
            first_timestamp=stamp,
            last_timestamp=stamp,
            count=1,
            type=recorded.type,
            reporting_component=self._source.component,
            reporting_instance=self._source.host,
        )

    def _name(self, name: str, at: float) -> str:
        """`<object>.<nanoseconds in hex>`; a UUID where that would be no valid name."""
        self._last_stamp = max(self._last_stamp + 1, int(at * 1e9))
        full = f"{name}.{self._last_stamp:x}"
        if len(full) > MAX_NAME_LENGTH or full != full.lower() or not name.replace("-", "").replace(".", "").isalnum():
            return new_uid(self._randomness)
        return full
