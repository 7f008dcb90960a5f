"""Renews the lease by which this server tells that it lives, and makes it anew if somebody took it away.

Differs: upstream renews every ten seconds; a quarter of the lease's hour suffices, and lets an idle server sleep.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from carob.api import codec
from carob.api.status import ApiError
from carob.apiserver.authn.service_accounts import row
from carob.apiserver.bootstrap.objects import IDENTITY_LEASE_SECONDS, identity, identity_lease
from carob.base.clock import parse_rfc3339, rfc3339_micro
from carob.base.ids import new_uid

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from carob.apiserver.bootstrap.run import Writer
    from carob.apiserver.options import ApiServerOptions
    from carob.base.clock import Clock
    from carob.base.ids import Randomness

LEASES = row("coordination.k8s.io", "v1", "leases")
_NAMESPACE = "kube-system"
_RENEW_SECONDS = IDENTITY_LEASE_SECONDS / 4


class IdentityLease:
    """The part that renews."""

    def __init__(self, writer: Writer, options: ApiServerOptions, clock: Clock, randomness: Randomness) -> None:
        self._writer = writer
        self._options = options
        self._name = identity(options.hostname)
        self._clock = clock
        self._randomness = randomness

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self._clock.sleep(await self._renew_if_due())

    async def _renew_if_due(self) -> float:
        """Renew if a quarter of the time has passed; the answer is when to look again, in seconds."""
        lease = self._writer.reader.get(LEASES, _NAMESPACE, self._name)
        now = self._clock.now()
        if lease is None:
            tree = identity_lease(self._options, new_uid(self._randomness), now)
            await self._try(self._writer.create_object(LEASES, codec.from_tree(LEASES.struct, tree), _NAMESPACE))
            return _RENEW_SECONDS
        age = now - parse_rfc3339(lease.spec.renew_time) if lease.spec.renew_time else _RENEW_SECONDS
        if 0 <= age < _RENEW_SECONDS:
            return _RENEW_SECONDS - age
        spec = msgspec.structs.replace(lease.spec, renew_time=rfc3339_micro(now))
        await self._try(self._writer.update_object(LEASES, msgspec.structs.replace(lease, spec=spec), _NAMESPACE))
        return _RENEW_SECONDS

    @staticmethod
    async def _try(write: Awaitable[Any]) -> None:
        try:
            await write
        except ApiError as error:
            if error.reason not in ("AlreadyExists", "Conflict", "NotFound"):
                raise
