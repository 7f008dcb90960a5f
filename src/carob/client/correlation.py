"""Decides what becomes of one more Event: a new object, a higher count on an old one, or nothing.

Pure: the time is an argument (monotonic seconds). Memory is bounded: the least recently used keys are forgotten.
Source: client-go `tools/record/events_cache.go` (EventSourceObjectSpamFilter, EventAggregator, eventLogger).
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import msgspec
from msgspec import Struct, field

if TYPE_CHECKING:
    from carob.api.types import core_v1

K = TypeVar("K")
V = TypeVar("V")

# Source: the defaults of client-go's CorrelatorOptions.
MAX_KEYS = 4096
SPAM_BURST = 25
SPAM_REFILL_PER_SECOND = 1 / 300
MAX_DIFFERENT_MESSAGES = 10
SIMILAR_WITHIN_SECONDS = 600.0
COMBINED = "(combined from similar events): "

Key = tuple[str, ...]


class Decision(Struct):
    """Send `event`: as `patch` to the object of its name if there is one, else as a new object.

    `key` is to be handed to `Correlator.sent` with what the server stored.
    """

    event: core_v1.Event
    patch: dict[str, Any] | None
    key: Key


class _Bucket(Struct):
    tokens: float
    at: float


class _Similar(Struct):
    at: float
    messages: set[str] = field(default_factory=set)


class _Logged(Struct):
    name: str
    first_timestamp: str | None
    count: int


class _Recent(Generic[K, V]):
    """The `MAX_KEYS` most recently used values."""

    def __init__(self) -> None:
        self._values: OrderedDict[K, V] = OrderedDict()

    def get(self, key: K) -> V | None:
        value = self._values.get(key)
        if value is not None:
            self._values.move_to_end(key)
        return value

    def put(self, key: K, value: V) -> None:
        self._values[key] = value
        self._values.move_to_end(key)
        if len(self._values) > MAX_KEYS:
            self._values.popitem(last=False)


class Correlator:
    """Remembers what was sent. One per recorder."""

    def __init__(self) -> None:
        self._buckets: _Recent[Key, _Bucket] = _Recent()
        self._similar: _Recent[Key, _Similar] = _Recent()
        self._logged: _Recent[Key, _Logged] = _Recent()

    def observe(self, event: core_v1.Event, now: float) -> Decision | None:
        """What to do with a new event at monotonic second `now`; None drops it."""
        key = self._combine(event, now)
        logged = self._logged.get(key)
        patch = None
        if logged is not None:
            event = msgspec.structs.replace(
                event,
                metadata=msgspec.structs.replace(event.metadata, name=logged.name),
                first_timestamp=logged.first_timestamp,
                count=logged.count + 1,
            )
            patch = {"count": event.count, "lastTimestamp": event.last_timestamp, "message": event.message}
        self._logged.put(key, _Logged(event.metadata.name, event.first_timestamp, event.count))
        return None if self._is_spam(event, now) else Decision(event, patch, key)

    def sent(self, key: Key, stored: core_v1.Event) -> None:
        """The server has it, under the name and with the count of `stored`."""
        self._logged.put(key, _Logged(stored.metadata.name, stored.first_timestamp, stored.count))

    def _combine(self, event: core_v1.Event, now: float) -> Key:
        """The key under which the event is counted; changes the message when too many similar ones came."""
        whole = (*_object_key(event), event.involved_object.field_path, event.type, event.reason, event.message)
        group = (*_object_key(event), event.type, event.reason, event.reporting_component, event.reporting_instance)
        similar = self._similar.get(group)
        if similar is None or now - similar.at > SIMILAR_WITHIN_SECONDS:
            similar = _Similar(now)
        similar.at = now
        if len(similar.messages) < MAX_DIFFERENT_MESSAGES:
            similar.messages.add(event.message)
        self._similar.put(group, similar)
        if len(similar.messages) < MAX_DIFFERENT_MESSAGES:
            return whole
        event.message = COMBINED + event.message
        return group

    def _is_spam(self, event: core_v1.Event, now: float) -> bool:
        key = _object_key(event)
        bucket = self._buckets.get(key)
        if bucket is None:
            bucket = _Bucket(SPAM_BURST, now)
        bucket.tokens = min(SPAM_BURST, bucket.tokens + (now - bucket.at) * SPAM_REFILL_PER_SECOND)
        bucket.at = now
        self._buckets.put(key, bucket)
        if bucket.tokens < 1:
            return True
        bucket.tokens -= 1
        return False


def _object_key(event: core_v1.Event) -> Key:
    regarding = event.involved_object
    return (
        event.source.component,
        event.source.host,
        regarding.kind,
        regarding.namespace,
        regarding.name,
        regarding.uid,
        regarding.api_version,
    )
