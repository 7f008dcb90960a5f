"""One of several does the work: election by a Lease, so that another takes over when the leader falls silent.

Never trusts clocks of other machines: a lease counts as expired when *we* have seen it unchanged for its whole
duration. The leader stops its work (it is cancelled) before the others may begin: the time in which it must renew is
shorter than the lease, and is counted from before the last renewal was sent, so that no slow answer stretches it.

Source: client-go `tools/leaderelection`, resource lock `leases`.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import msgspec

from carob.api.status import ApiError
from carob.api.types import coordination_v1, meta_v1
from carob.base.clock import rfc3339_micro
from carob.base.log import get_logger
from carob.base.tasks import TaskGroup

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from carob.base.clock import Clock
    from carob.client.rest import Client

_log = get_logger("leader")

# Source: the defaults of kube-scheduler and kube-controller-manager.
LEASE_SECONDS = 15
RENEW_SECONDS = 10.0
RETRY_SECONDS = 2.0


class LeaderElector:
    """Competes for one Lease as `identity`, which must differ between all that compete."""

    def __init__(
        self,
        client: Client,
        clock: Clock,
        *,
        name: str,
        identity: str,
        namespace: str = "kube-system",
        lease_seconds: int = LEASE_SECONDS,
        renew_seconds: float = RENEW_SECONDS,
        retry_seconds: float = RETRY_SECONDS,
    ) -> None:
        if not lease_seconds > renew_seconds > retry_seconds:
            raise ValueError("a lease must outlast the time to renew it, and that the time between two tries")
        self._client = client
        self._clock = clock
        self._name = name
        self._namespace = namespace
        self._identity = identity
        self._lease_seconds = lease_seconds
        self._renew_seconds = renew_seconds
        self._retry_seconds = retry_seconds
        self._seen: coordination_v1.Lease | None = None
        self._seen_at = 0.0
        self._renewed_at = 0.0
        self._leading = False

    @property
    def leading(self) -> bool:
        """Whether it is us."""
        return self._leading

    @property
    def leader(self) -> str:
        """The identity of whoever holds the lease, as far as we have seen; empty if nobody does."""
        return (self._seen.spec.holder_identity or "") if self._seen is not None else ""

    async def run(self, lead: Callable[[], Awaitable[None]]) -> None:
        """Run `lead` whenever it is our turn and cancel it when it no longer is, until cancelled.

        Gives the lease up at the end, so that the next one need not wait for it. What `lead` raises is raised.
        """
        while True:
            while not await self._try(self._renew_seconds / 2):
                await self._clock.sleep(self._retry_seconds)
            _log.info("%s: %s leads", self._name, self._identity)
            self._leading = True
            try:
                await self._lead(lead)
            finally:
                self._leading = False
                _log.warning("%s: %s no longer leads", self._name, self._identity)
                await self._release()

    async def _lead(self, lead: Callable[[], Awaitable[None]]) -> None:
        """Returns when the lease is lost."""

        async def work() -> None:
            await lead()
            raise RuntimeError(f"{self._name}: the leader's work ended by itself")

        async with TaskGroup() as group:
            group.spawn(work(), f"{self._name} leader")
            await self._renew()
            group.cancel()

    async def _renew(self) -> None:
        """Renew again and again; returns when that has failed for too long."""
        while True:
            await self._clock.sleep(min(self._retry_seconds, self._left))
            if self._left <= 0 or (not await self._try(self._left) and self.leader != self._identity):
                return

    @property
    def _left(self) -> float:
        """For how long we still may work without renewing."""
        return self._renewed_at + self._renew_seconds - self._clock.monotonic()

    async def _try(self, seconds: float) -> bool:
        """Take the lease or renew it; False if somebody else holds it or nobody answers in time."""
        started = self._clock.monotonic()
        try:
            if await self._in_time(seconds):
                self._renewed_at = started
                return True
        except ApiError as error:
            if error.reason not in ("Conflict", "AlreadyExists"):
                _log.warning("%s: %s", self._name, error.message)
        except OSError as error:
            _log.warning("%s: %s", self._name, str(error) or "no answer")
        return False

    async def _in_time(self, seconds: float) -> bool:
        loop = asyncio.get_running_loop()
        taking = loop.create_task(self._take(), name=f"{self._name} lease")
        late = loop.create_task(self._clock.sleep(seconds), name=f"{self._name} patience")
        try:
            await asyncio.wait((taking, late), return_when=asyncio.FIRST_COMPLETED)
            if not taking.done():
                raise TimeoutError
            return taking.result()
        finally:
            taking.cancel()
            late.cancel()
            await asyncio.wait((taking, late))

    async def _take(self) -> bool:
        now = rfc3339_micro(self._clock.now())
        spec = coordination_v1.LeaseSpec(
            holder_identity=self._identity,
            lease_duration_seconds=self._lease_seconds,
            acquire_time=now,
            renew_time=now,
            lease_transitions=0,
        )
        lease = await self._get()
        if lease is None:
            metadata = meta_v1.ObjectMeta(name=self._name, namespace=self._namespace)
            self._observe(await self._client.create(coordination_v1.Lease(metadata=metadata, spec=spec)))
            return True
        self._observe(lease)
        holder = lease.spec.holder_identity or ""
        if holder and holder != self._identity and not self._expired(lease):
            return False
        transitions = lease.spec.lease_transitions or 0
        if holder == self._identity:
            spec.acquire_time, spec.lease_transitions = lease.spec.acquire_time, transitions
        else:
            spec.lease_transitions = transitions + 1
        self._observe(await self._client.update(msgspec.structs.replace(lease, spec=spec)))
        return True

    async def _get(self) -> coordination_v1.Lease | None:
        try:
            return await self._client.get(coordination_v1.Lease, self._name, self._namespace)
        except ApiError as error:
            if error.reason == "NotFound":
                return None
            raise

    def _observe(self, lease: coordination_v1.Lease) -> None:
        seen = self._seen
        if seen is None or seen.metadata.resource_version != lease.metadata.resource_version or seen.spec != lease.spec:
            self._seen, self._seen_at = lease, self._clock.monotonic()

    def _expired(self, lease: coordination_v1.Lease) -> bool:
        duration = lease.spec.lease_duration_seconds or self._lease_seconds
        return self._clock.monotonic() >= self._seen_at + duration

    async def _release(self) -> None:
        """Let the next one begin at once; if that fails, it begins when the lease has expired."""
        lease = self._seen
        if lease is None or lease.spec.holder_identity != self._identity:
            return
        now = rfc3339_micro(self._clock.now())
        spec = msgspec.structs.replace(
            lease.spec, holder_identity="", lease_duration_seconds=1, renew_time=now, acquire_time=now
        )
        try:
            async with asyncio.timeout(self._retry_seconds):
                self._observe(await self._client.update(msgspec.structs.replace(lease, spec=spec)))
        except (ApiError, OSError) as error:
            _log.info("%s: the lease could not be given up: %r", self._name, error)
