"""Fan-out of committed events to the watches of their prefixes.

Pure: it calls what it was given, in order, and knows no loop. One batch of events is one call per watch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from carob.store.types import Deliver, Event


class Subscription:
    """A watch that has caught up with history and hears every commit."""

    __slots__ = ("_closed", "_watches", "deliver", "prefix")

    def __init__(self, watches: Watches, prefix: str, deliver: Deliver) -> None:
        self._watches = watches
        self._closed = False
        self.prefix = prefix
        self.deliver = deliver

    @property
    def closed(self) -> bool:
        """True once nothing more may be delivered."""
        return self._closed

    def close(self) -> None:
        """No event is delivered after this returns; idempotent."""
        if not self._closed:
            self._closed = True
            self._watches.remove(self)


class Watches:
    """Live watches by prefix.

    A key is looked up once per distinct length of prefix, which keeps hundreds of watches cheap: an API server's
    prefixes have a few dozen lengths.
    """

    def __init__(self) -> None:
        self._by_prefix: dict[str, list[Subscription]] = {}
        self._lengths: list[int] = []

    def add(self, prefix: str, deliver: Deliver) -> Subscription:
        """Deliver every event of `prefix` that is published from now on."""
        subscription = Subscription(self, prefix, deliver)
        self._by_prefix.setdefault(prefix, []).append(subscription)
        self._measure()
        return subscription

    def remove(self, subscription: Subscription) -> None:
        """Forget a subscription; its `close` calls this."""
        others = self._by_prefix[subscription.prefix]
        others.remove(subscription)
        if not others:
            del self._by_prefix[subscription.prefix]
            self._measure()

    def _measure(self) -> None:
        self._lengths = sorted({len(prefix) for prefix in self._by_prefix})

    def publish(self, events: Sequence[Event]) -> list[Exception]:
        """Tell every watch of its events, in order; return what deliveries raised although they must not.

        One watcher's fault is kept from the others and from the writers.
        """
        faults: list[Exception] = []
        for prefix, batch in self._sorted_out(events).items():
            for subscription in tuple(self._by_prefix.get(prefix, ())):
                if subscription.closed:
                    continue
                try:
                    subscription.deliver(batch)
                except Exception as fault:  # noqa: BLE001 - handed to the caller, who reports it as the bug that it is
                    faults.append(fault)
        return faults

    def _sorted_out(self, events: Sequence[Event]) -> dict[str, list[Event]]:
        batches: dict[str, list[Event]] = {}
        for event in events:
            for length in self._lengths:
                if length > len(event.key):
                    break
                prefix = event.key[:length]
                if prefix in self._by_prefix:
                    batches.setdefault(prefix, []).append(event)
        return batches
