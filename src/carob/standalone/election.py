"""Which of several servers works: a part of a server that runs only while this server holds the part's lease.

Source: kube-scheduler and kube-controller-manager `--leader-elect`: the leases' names, and holders called
`<hostname>_<uuid>`. Differs: a lost lease ends the part's work and the part competes again; upstream ends the process.
"""

from __future__ import annotations

import math
import socket
from typing import TYPE_CHECKING

from msgspec import Struct

from carob.base.ids import new_uid
from carob.client.leader import LEASE_SECONDS, RENEW_SECONDS, RETRY_SECONDS, LeaderElector

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from carob.base.clock import Clock
    from carob.base.ids import Randomness
    from carob.client.rest import Client


class Terms(Struct, frozen=True):
    """Seconds: how long a lease lasts, how long its holder tries to renew it, how often."""

    lease_seconds: float = LEASE_SECONDS
    renew_seconds: float = RENEW_SECONDS
    retry_seconds: float = RETRY_SECONDS


class Election:
    """Gives parts their electors; all of them compete under one name."""

    def __init__(self, clock: Clock, randomness: Randomness, terms: Terms) -> None:
        self._clock = clock
        self._terms = terms
        self._identity = f"{socket.gethostname()}_{new_uid(randomness)}"

    def only_leading(
        self, client: Client, lease: str, work: Callable[[], Awaitable[None]]
    ) -> Callable[[], Awaitable[None]]:
        """`work` as a part that runs only while `lease` is ours."""
        terms = self._terms

        async def run() -> None:
            elector = LeaderElector(
                client,
                self._clock,
                name=lease,
                identity=self._identity,
                lease_seconds=math.ceil(terms.lease_seconds),
                renew_seconds=terms.renew_seconds,
                retry_seconds=terms.retry_seconds,
            )
            await elector.run(work)

        return run
