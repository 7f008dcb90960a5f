"""What the runtime remembers of a sandbox and a container: one small JSON file each, replaced whole.

A record is written *before* anything is made, and again after each step that a restarted agent must know of. A kill
at any time leaves the old record or the new. Nothing is synced: what a record speaks of does not outlive the
machine's power either, and a record of an earlier boot says so itself (`boot_id`).

Invariant: what exists without a record was never acknowledged and may be removed.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Generic, TypeVar

import msgspec
from msgspec import Struct, field

from carob.base.log import get_logger, pairs
from carob.host.types import Host, Identity
from carob.runtime.types import ContainerConfig, LinuxUser, SandboxConfig

_log = get_logger("runtime.records")
_PAGE_BYTES = 4096


class Phase(StrEnum):
    """How far it has come. `MAKING` and `REMOVING` are never left by a healthy agent: a restart clears them away."""

    MAKING = "making"
    CREATED = "created"
    RUNNING = "running"
    ENDED = "ended"
    REMOVING = "removing"


class SandboxRecord(Struct, kw_only=True):
    id: str
    config: SandboxConfig
    boot_id: str
    created_at: float
    phase: Phase = Phase.MAKING
    ips: list[str] = field(default_factory=list)
    pause: tuple[int, int] | None = None
    """Pid and start ticks."""
    network: bool = False
    """An address may have been given: it must be taken back."""


class ContainerRecord(Struct, kw_only=True):
    id: str
    sandbox_id: str
    config: ContainerConfig
    boot_id: str
    created_at: float
    phase: Phase = Phase.MAKING
    image: str = ""
    """The image's own id, by which its layers are kept."""
    image_id: str = ""
    """What people see: with the name and digest where there is one."""
    log_path: str = ""
    cgroup: str = ""
    stop_signal: str = "SIGTERM"
    user: LinuxUser | None = None
    process: tuple[int, int] | None = None
    """Pid and start ticks of the container's first process."""
    monitor: tuple[int, int] | None = None
    """Those of conmon."""
    started_at: float = 0.0
    finished_at: float = 0.0
    exit_code: int = 0
    reason: str = ""
    message: str = ""


Record = TypeVar("Record", SandboxRecord, ContainerRecord)


class Records(Generic[Record]):
    """A folder of records of one type."""

    def __init__(self, host: Host, folder: str, kind: type[Record]) -> None:
        self._host = host
        self._folder = folder
        self._decoder: msgspec.json.Decoder[Record] = msgspec.json.Decoder(kind)

    def save(self, record: Record) -> None:
        """Blocking, for less than a tenth of a millisecond. Raises: OSError."""
        path, text = f"{self._folder}/{record.id}.json", msgspec.json.encode(record)
        if len(text) > _PAGE_BYTES:
            # a write of several pages may be cut between them
            self._host.write_atomic(path, text)
            return
        try:
            self._host.overwrite(path, text)
        except FileNotFoundError:
            # torn when killed here, and then removed: nothing was made yet
            self._host.create(path, text)

    def delete(self, record_id: str) -> None:
        """Idempotent."""
        self._host.unlink(f"{self._folder}/{record_id}.json")

    def load(self) -> list[Record]:
        """All that can be read; a torn or foreign file is reported, removed and forgotten."""
        found: list[Record] = []
        for name in sorted(self._host.listdir(self._folder)):
            path = f"{self._folder}/{name}"
            try:
                found.append(self._decoder.decode(self._host.read(path)))
            except (msgspec.MsgspecError, OSError) as error:
                if name.endswith(".json"):
                    _log.warning("record cannot be read: %s", pairs(path=path, error=error))
                self._host.unlink(path)
        return found


def identity(pair: tuple[int, int] | None) -> Identity | None:
    """The process a record speaks of."""
    return None if pair is None else Identity(*pair)


def boot_id(host: Host) -> str:
    """Another one after each start of the machine."""
    return host.read("/proc/sys/kernel/random/boot_id").strip()
