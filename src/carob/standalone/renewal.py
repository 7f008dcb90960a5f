"""Certificates that lie in files are looked at twice a day: what has been renewed is shown from then on.

The server makes them anew, long before they end; its own process and the nodes of its machine only have to notice.
Touches the files and the clock.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from carob.base.log import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from carob.base.clock import Clock

LOOK_SECONDS = 12 * 3600.0
_log = get_logger("certificates")


class Renewal:
    """`ensure` makes what is about to end, in a thread; `show` says what to do when a file has changed."""

    def __init__(self, clock: Clock, ensure: Callable[[], object] | None = None) -> None:
        self._clock = clock
        self._ensure = ensure
        self._shown: dict[Path, tuple[bytes, Callable[[], None]]] = {}

    def show(self, certificate: Path, show: Callable[[], None]) -> None:
        """Call `show` when the file, which is in use now, has another content."""
        self._shown[certificate] = certificate.read_bytes(), show

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self._clock.sleep(LOOK_SECONDS)
            try:
                await self.look()
            except OSError as error:
                # a full disk, say: there are months until it matters
                _log.warning("certificates were not renewed: %s", error)

    async def look(self) -> None:
        """Renew what is due, and show what is new. Raises: OSError, ssl.SSLError."""
        if self._ensure is not None:
            await asyncio.to_thread(self._ensure)
        for certificate, (before, show) in list(self._shown.items()):
            now = certificate.read_bytes()
            if now != before:
                show()
                self._shown[certificate] = now, show
                _log.info("%s is shown from now on", certificate.name)
