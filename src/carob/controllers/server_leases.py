"""Leases by which API servers told that they live, and which nobody has renewed in time: removed.

`expires` is pure. Nodes' leases need no such part: each has its Node as owner, and goes with it.
Source: kube-apiserver `controlplane/controller/apiserverleasegc`. Differs: a lease is looked at when it ends, not once
an hour.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from carob.api.status import ApiError
from carob.api.types import coordination_v1
from carob.base.clock import parse_rfc3339
from carob.client.informer import Informer, split_key
from carob.client.workqueue import WorkQueue

if TYPE_CHECKING:
    from carob.base.clock import Clock
    from carob.client.rest import Client

NAMESPACE = "kube-system"
SELECTOR = "apiserver.kubernetes.io/identity=kube-apiserver"
PATIENCE_SECONDS = 60.0
"""Beyond a lease's end: its server may be about to wake."""


def expires(lease: coordination_v1.Lease) -> float:
    """When it ends, seconds since 1970; what does not say when it was renewed and for how long has ended."""
    spec = lease.spec
    if not spec.renew_time or spec.lease_duration_seconds is None:
        return 0.0
    return parse_rfc3339(spec.renew_time) + spec.lease_duration_seconds


class ServerLeaseCollector:
    """Keys are those of the leases."""

    def __init__(self, client: Client, clock: Clock) -> None:
        self._client = client
        self._clock = clock
        self._leases = Informer(
            client,
            coordination_v1.Lease,
            clock,
            namespace=NAMESPACE,
            label_selector=SELECTOR,
            name="server leases",
        )
        self._queue = WorkQueue(clock)
        self.informers: list[Informer[Any]] = [self._leases]

    async def run(self) -> None:
        """Until cancelled."""
        await self._leases.wait_synced()
        self._leases.subscribe(lambda key, old, new: self._queue.add(key))
        await self._queue.work(self._sync, 1, "server leases")

    async def _sync(self, key: str) -> None:
        lease = self._leases.get(key)
        if lease is None:
            return
        left = expires(lease) + PATIENCE_SECONDS - self._clock.now()
        if left > 0:
            self._queue.add_after(key, left)
            return
        namespace, name = split_key(key)
        metadata = lease.metadata
        try:
            # whoever renews it meanwhile keeps it
            await self._client.delete(
                coordination_v1.Lease, name, namespace, uid=metadata.uid, resource_version=metadata.resource_version
            )
        except ApiError as error:
            if error.reason not in ("NotFound", "Conflict"):
                raise
