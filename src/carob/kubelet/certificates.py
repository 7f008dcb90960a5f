"""A node's certificates, kept in a file each and renewed before they end, with a new key every time.

A file holds the certificate and its key, so both change at once; it is 0600. A certificate is renewed when between seven
and nine tenths of its life are over, drawn anew each time, so that nodes that joined together do not ask together.

Touches its files and the clock; how a request becomes a certificate is an argument.
Source: client-go `util/certificate` (certificate_manager.go, certificate_store.go).
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from carob.api.status import ApiError
from carob.api.x509 import pem_to_der, validity
from carob.base.log import get_logger, pairs
from carob.client.signing import SigningRefused

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from carob.base.clock import Clock
    from carob.base.ids import Randomness
    from carob.client.signing import Wanted

RENEW_FROM, RENEW_WITHIN = 0.7, 0.2
FIRST_RETRY_SECONDS = 2.0
LONGEST_RETRY_SECONDS = 128.0
_NAMES_MARK = b"# "

_log = get_logger("kubelet.certificates")


class KeptCertificate:
    """One of them. `certify` asks for a new one; `wanted` says what it shall say, which may change with the node."""

    def __init__(
        self,
        file: Path,
        wanted: Callable[[], Wanted],
        certify: Callable[[Wanted], Awaitable[bytes]],
        clock: Clock,
        randomness: Randomness,
    ) -> None:
        self.file = file
        self._wanted = wanted
        self._certify = certify
        self._clock = clock
        self._randomness = randomness

    def good(self) -> bool:
        """Whether the file has a certificate that is valid now and says what is wanted."""
        try:
            content = self.file.read_bytes()
            begin, end = validity(pem_to_der(content))
        except (OSError, ValueError):
            return False
        return begin <= self._clock.now() < end and content.startswith(_mark(self._wanted()))

    async def ensure(self) -> bool:
        """Get one if there is no good one; whether there is a new one. Raises: what `certify` raises, OSError."""
        if self.good():
            return False
        await self.renew()
        return True

    async def renew(self) -> None:
        """Get a new one and put it in the place of the old one. Raises: what `certify` raises, OSError."""
        wanted = self._wanted()
        content = _mark(wanted) + await self._certify(wanted)
        self.file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        beside = self.file.with_name(f".{self.file.name}.new")
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(self.file)

    def due(self) -> float:
        """When it is to be renewed, in seconds since 1970; now, where there is none."""
        try:
            begin, end = validity(pem_to_der(self.file.read_bytes()))
        except (OSError, ValueError):
            return self._clock.now()
        drawn = int.from_bytes(self._randomness.token(4), "big") / (1 << 32)
        return begin + (end - begin) * (RENEW_FROM + RENEW_WITHIN * drawn)

    async def keep(self, renewed: Callable[[], None]) -> None:
        """Renew it in time, until cancelled; `renewed` is called after each. What fails is tried again, later and later."""
        wait = max(0.0, self.due() - self._clock.now())
        retry = FIRST_RETRY_SECONDS
        while True:
            await self._clock.sleep(wait)
            try:
                await self.renew()
            except (ApiError, SigningRefused, OSError) as error:
                _log.warning("not renewed %s", pairs(certificate=self.file.name, error=error))
                wait, retry = retry, min(retry * 2, LONGEST_RETRY_SECONDS)
                continue
            _log.info("renewed %s", pairs(certificate=self.file.name))
            renewed()
            wait, retry = max(FIRST_RETRY_SECONDS, self.due() - self._clock.now()), FIRST_RETRY_SECONDS


def _mark(wanted: Wanted) -> bytes:
    """The file's first line: what the certificate was to say. PEM readers pass over it."""
    return _NAMES_MARK + " ".join((wanted.common_name, *wanted.organizations, *wanted.names)).encode() + b"\n"
