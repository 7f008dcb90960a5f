"""Who has which Pod address: a small file per sandbox, so that a killed agent finds all of it again.

May touch: its folder. Invariants: an address has at most one sandbox; a freed address rests before it is given away
again, because its old route lives until the kernel has reaped the namespace. Used from several threads.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from typing import TYPE_CHECKING

import msgspec

from carob.base.log import get_logger
from carob.network.layout import NetworkFailure

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from carob.base.clock import Clock
    from carob.network.layout import NetworkLayout

COOL_DOWN_SECONDS = 3.0

_log = get_logger("network")


class HostPort(msgspec.Struct, frozen=True, order=True):
    """A port of the node that leads to a port of the Pod. `protocol` is `TCP`, `UDP` or `SCTP`; no `host_ip`: every
    address of the node."""

    protocol: str
    host_port: int
    container_port: int
    host_ip: str = ""


class Lease(msgspec.Struct, frozen=True):
    """What a sandbox holds."""

    sandbox_id: str
    address: str
    host_ports: tuple[HostPort, ...] = ()


class AddressBook:
    """The addresses of one node's range, persisted in `folder`."""

    def __init__(self, folder: Path, layout: NetworkLayout, clock: Clock) -> None:
        self._folder = folder
        self._clock = clock
        self._lock = threading.Lock()
        self._leases: dict[str, Lease] = {}
        self._resting: deque[tuple[float, str]] = deque()
        self._range = layout.pod_range
        folder.mkdir(parents=True, exist_ok=True)
        newest = self._load()
        taken = {lease.address for lease in self._leases.values()} | {layout.inside_address}
        addresses = [str(address) for address in layout.pod_network.hosts()]
        # begin behind the youngest lease, for what was freed just before a restart must rest too
        start = addresses.index(newest) + 1 if newest in addresses else 0
        self._free = deque(a for a in addresses[start:] + addresses[:start] if a not in taken)

    def _load(self) -> str:
        newest, newest_time = "", 0.0
        for path in self._folder.iterdir():
            if path.name.startswith("."):
                path.unlink(missing_ok=True)
                continue
            try:
                lease = msgspec.json.decode(path.read_bytes(), type=Lease)
            except (msgspec.DecodeError, OSError) as error:
                _log.error("dropped unreadable record %s: %s", path, error)
                path.unlink(missing_ok=True)
                continue
            self._leases[lease.sandbox_id] = lease
            written = path.stat().st_mtime
            if written > newest_time:
                newest, newest_time = lease.address, written
        return newest

    def leases(self) -> list[Lease]:
        """Everything that is held now."""
        with self._lock:
            return list(self._leases.values())

    def get(self, sandbox_id: str) -> Lease | None:
        """What a sandbox holds."""
        with self._lock:
            return self._leases.get(sandbox_id)

    def allocate(self, sandbox_id: str, host_ports: Sequence[HostPort]) -> Lease:
        """An address for a sandbox, on disk when this returns; the same again for one that has one.

        Raises: NetworkFailure when the range is used up, OSError when it cannot be written down.
        """
        with self._lock:
            known = self._leases.get(sandbox_id)
            if known is not None:
                return known
            self._wake_rested()
            if not self._free:
                raise NetworkFailure(f"no free Pod address in {self._range}: {len(self._leases)} in use")
            lease = Lease(sandbox_id, self._free[0], tuple(host_ports))
            self._write(lease)
            self._free.popleft()
            self._leases[sandbox_id] = lease
            return lease

    def release(self, sandbox_id: str) -> Lease | None:
        """Take back what a sandbox holds; None when it held nothing."""
        with self._lock:
            lease = self._leases.pop(sandbox_id, None)
            if lease is None:
                return None
            (self._folder / sandbox_id).unlink(missing_ok=True)
            self._resting.append((self._clock.monotonic() + COOL_DOWN_SECONDS, lease.address))
            return lease

    def _wake_rested(self) -> None:
        now = self._clock.monotonic()
        while self._resting and self._resting[0][0] <= now:
            self._free.append(self._resting.popleft()[1])

    def _write(self, lease: Lease) -> None:
        temporary = self._folder / f".{lease.sandbox_id}"
        temporary.write_bytes(msgspec.json.encode(lease))
        os.replace(temporary, self._folder / lease.sandbox_id)
