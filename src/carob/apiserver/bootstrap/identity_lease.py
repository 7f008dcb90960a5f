"""Renews the lease by which this server tells that it lives.

Differs: upstream renews every ten seconds; a quarter of the lease's hour suffices, and lets an idle server sleep.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from carob.api.status import ApiError
from carob.apiserver.authn.service_accounts import row
from carob.apiserver.bootstrap.objects import IDENTITY_LEASE_SECONDS, identity
from carob.base.clock import parse_rfc3339, rfc3339_micro

if TYPE_CHECKING:
    from carob.apiserver.bootstrap.run import Writer
    from carob.base.clock import Clock

LEASES = row("coordination.k8s.io", "v1", "leases")
_NAMESPACE = "kube-system"
_RENEW_SECONDS = IDENTITY_LEASE_SECONDS / 4


class IdentityLease:
    """The part that renews."""

    def __init__(self, writer: Writer, hostname: str, clock: Clock) -> None:
        self._writer = writer
        self._name = identity(hostname)
        self._clock = clock

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self._clock.sleep(await self._renew_if_due())

    async def _renew_if_due(self) -> float:
        """Renew if a quarter of the time has passed; the answer is when to look again, in seconds."""
        lease = self._writer.reader.get(LEASES, _NAMESPACE, self._name)
        if lease is None:
            return _RENEW_SECONDS
        now = self._clock.now()
        age = now - parse_rfc3339(lease.spec.renew_time) if lease.spec.renew_time else _RENEW_SECONDS
        if 0 <= age < _RENEW_SECONDS:
            return _RENEW_SECONDS - age
        spec = msgspec.structs.replace(lease.spec, renew_time=rfc3339_micro(now))
        try:
            await self._writer.update_object(LEASES, msgspec.structs.replace(lease, spec=spec), _NAMESPACE)
        except ApiError as error:
            if error.reason not in ("Conflict", "NotFound"):
                raise
        return _RENEW_SECONDS
