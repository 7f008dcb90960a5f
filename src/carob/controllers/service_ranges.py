"""ServiceCIDRs: a range that Services have addresses of cannot go, and says so.

`conditions_of` and `blocked` are pure.
Source: kube-controller-manager `pkg/controller/servicecidrs` (KEP-1880).
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Any

from carob.api.status import ApiError
from carob.api.types import networking_v1
from carob.base.clock import parse_rfc3339, rfc3339
from carob.client.workqueue import WorkQueue

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from carob.base.clock import Clock
    from carob.client.informer import Informer
    from carob.client.rest import Client

FINALIZER = "networking.k8s.io/service-cidr-finalizer"
MANAGER_LABEL, MANAGER = "ipaddress.kubernetes.io/managed-by", "ipallocator.k8s.io"
GRACE_SECONDS = 10.0
"""How long a range that nobody uses still stays: another server may just be giving out an address of it."""
READY = ("True", "", "Kubernetes Service CIDR is ready")
IN_USE = (
    "False",
    "Terminating",
    "There are still IPAddresses referencing the ServiceCIDR, please remove them or create a new ServiceCIDR",
)

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def networks_of(one: networking_v1.ServiceCIDR) -> list[Network]:
    """Its ranges."""
    return [ipaddress.ip_network(text) for text in one.spec.cidrs]


def blocked(
    one: networking_v1.ServiceCIDR, others: Iterable[networking_v1.ServiceCIDR], addresses: Iterable[str]
) -> bool:
    """Whether an address in use would be in no range without this one; `addresses` are those of Services."""
    left = [network for other in others for network in networks_of(other)]
    mine = [network for network in networks_of(one) if not any(_contains(other, network) for other in left)]
    if not mine:
        return False
    return any(
        any(address in network for network in mine) and not any(address in network for network in left)
        for address in map(ipaddress.ip_address, addresses)
    )


def _contains(outer: Network, inner: Network) -> bool:
    if isinstance(outer, ipaddress.IPv4Network) and isinstance(inner, ipaddress.IPv4Network):
        return inner.subnet_of(outer)
    if isinstance(outer, ipaddress.IPv6Network) and isinstance(inner, ipaddress.IPv6Network):
        return inner.subnet_of(outer)
    return False


def conditions_of(
    one: networking_v1.ServiceCIDR, wanted: tuple[str, str, str], now: float
) -> list[dict[str, Any]] | None:
    """The conditions with `Ready` as wanted; None if they are so. Others' conditions stay."""
    status, reason, message = wanted
    present = next((c for c in one.status.conditions if c.type == "Ready"), None)
    if present is not None and (present.status, present.reason, present.message) == wanted:
        return None
    since = present.last_transition_time if present is not None and present.status == status else rfc3339(now)
    return [{"type": "Ready", "status": status, "reason": reason, "message": message, "lastTransitionTime": since}]


class ServiceRangeController:
    """Keys are names of ServiceCIDRs."""

    def __init__(
        self,
        client: Client,
        ranges: Informer[networking_v1.ServiceCIDR],
        addresses: Informer[networking_v1.IPAddress],
        clock: Clock,
    ) -> None:
        self._client = client
        self._ranges = ranges
        self._addresses = addresses
        self._clock = clock
        self._queue = WorkQueue(clock)

    async def run(self) -> None:
        """Until cancelled."""
        await self._ranges.wait_synced()
        await self._addresses.wait_synced()
        self._ranges.subscribe(
            lambda key, old, new: self._all() if old is None or new is None else self._queue.add(key)
        )
        self._addresses.subscribe(lambda key, old, new: self._deleting() if old is None or new is None else None)
        await self._queue.work(self._sync, 1, "service ranges")

    def _all(self) -> None:
        for one in self._ranges.items():
            self._queue.add(one.metadata.name)

    def _deleting(self) -> None:
        for one in self._ranges.items():
            if one.metadata.deletion_timestamp is not None:
                self._queue.add(one.metadata.name)

    def _used(self) -> Sequence[str]:
        return [a.metadata.name for a in self._addresses.items() if a.metadata.labels.get(MANAGER_LABEL) == MANAGER]

    async def _sync(self, key: str) -> None:
        one = self._ranges.get(key)
        if one is None:
            return
        finalizers, deleted = one.metadata.finalizers, one.metadata.deletion_timestamp
        try:
            if deleted is None:
                if FINALIZER not in finalizers:
                    await self._patch(one, {"metadata": {"finalizers": [*finalizers, FINALIZER]}})
                await self._condition(one, READY)
            elif blocked(one, [o for o in self._ranges.items() if o is not one], self._used()):
                await self._condition(one, IN_USE)
            elif FINALIZER in finalizers:
                left = GRACE_SECONDS - (self._clock.now() - parse_rfc3339(deleted))
                if left > 0:
                    self._queue.add_after(key, left)
                    return
                kept = [name for name in finalizers if name != FINALIZER]
                version = one.metadata.resource_version
                await self._patch(one, {"metadata": {"finalizers": kept or None, "resourceVersion": version}})
        except ApiError as error:
            # whoever changed it meanwhile has woken us again
            if error.reason not in ("NotFound", "Conflict"):
                raise

    async def _patch(self, one: networking_v1.ServiceCIDR, patch: dict[str, Any], subresource: str = "") -> None:
        metadata = {"uid": one.metadata.uid} | patch.get("metadata", {})
        await self._client.patch(
            networking_v1.ServiceCIDR,
            one.metadata.name,
            patch=patch | {"metadata": metadata},
            patch_type="strategic" if subresource else "merge",
            subresource=subresource,
        )

    async def _condition(self, one: networking_v1.ServiceCIDR, wanted: tuple[str, str, str]) -> None:
        conditions = conditions_of(one, wanted, self._clock.now())
        if conditions is not None:
            await self._patch(one, {"status": {"conditions": conditions}}, "status")
