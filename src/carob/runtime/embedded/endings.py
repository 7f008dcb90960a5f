"""How containers end: by themselves, by a stop signal and patience, or because their monitor was killed.

Invariant: a container ends exactly once; its record says how before anybody is told.
"""

from __future__ import annotations

import asyncio
import signal

from carob.base.log import get_logger, pairs
from carob.runtime.embedded.exits import Exits
from carob.runtime.embedded.parts import Parts
from carob.runtime.embedded.records import ContainerRecord, Phase, identity
from carob.runtime.embedded.state import Container
from carob.runtime.types import Exited, NamespaceMode, RuntimeFailure

_log = get_logger("runtime")
KILL_TIMEOUT_SECONDS = 30.0
_KILLED = 128 + signal.SIGKILL
_NO_MEMORY_REASON = "OOMKilled"
_UNKNOWN_REASON = "ContainerStatusUnknown"


def signal_number(name: str) -> int:
    """`SIGTERM`, `term`, `15`, `SIGRTMIN+3` as a number; SIGTERM for what is none of these."""
    text = name.upper().removeprefix("SIG")
    if text.isdigit() and 0 < int(text) < signal.NSIG:
        return int(text)
    base, _, offset = text.partition("+")
    try:
        number = int(signal.Signals[f"SIG{base}"])
        return number + (int(offset) if offset else 0)
    except (KeyError, ValueError):
        return int(signal.SIGTERM)


class Endings:
    """Follows every running container to its end."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self.exits = Exits(parts.host, parts.places.exits, self._ended, self._lost)

    def follow(self, container: Container) -> None:
        """Tell of this container's end when it comes, or at once when it has come."""
        self.exits.follow(container.record.id, identity(container.record.monitor))

    async def stop(self, container: Container, grace_seconds: float) -> None:
        """Ask it to end, and make it end when patience is over; a shorter patience of a later call counts.

        Raises: RuntimeFailure when even SIGKILL does not end it (a process stuck in the kernel).
        """
        if container.ended.is_set():
            return
        record = container.record
        if record.process is None and record.monitor is None:
            self.finish(container, _KILLED, self._parts.clock.now(), "Error")
            return
        if record.phase is not Phase.RUNNING:
            grace_seconds = 0.0  # it has not begun: nobody is there to hear a signal
        self._patience(container, grace_seconds)
        if not container.signalled and grace_seconds > 0:
            container.signalled = True
            process = identity(record.process)
            if process is not None:
                self._parts.host.kill(process, signal_number(record.stop_signal))
        try:
            async with asyncio.timeout(grace_seconds + KILL_TIMEOUT_SECONDS):
                await container.ended.wait()
        except TimeoutError:
            raise RuntimeFailure(f'container "{record.id}" did not end after SIGKILL') from None

    def _patience(self, container: Container, grace_seconds: float) -> None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + grace_seconds
        timer = container.kill_timer
        if timer is not None:
            if timer.when() <= deadline:
                return
            timer.cancel()
        if grace_seconds <= 0:
            self.kill(container)
            return
        container.kill_timer = loop.call_at(deadline, self.kill, container)

    def kill(self, container: Container) -> None:
        """SIGKILL all of it, now."""
        self._parts.cgroups.kill(container.record.cgroup)
        process = identity(container.record.process)
        if process is not None:
            self._parts.host.kill(process, signal.SIGKILL)

    def finish(self, container: Container, code: int, finished_at: float, reason: str, message: str = "") -> None:
        """Remember how it ended and tell everybody; only the first call counts."""
        if container.ended.is_set():
            return
        record = container.record
        record.exit_code, record.finished_at = code, finished_at
        record.reason, record.message = reason, message
        told = record.phase in (Phase.CREATED, Phase.RUNNING)
        if told:
            record.phase = Phase.ENDED
            self._save(record)
        container.ended.set()
        if container.kill_timer is not None:
            container.kill_timer.cancel()
            container.kill_timer = None
        if told:
            self._parts.notify(Exited(record.sandbox_id, record.id))

    def _save(self, record: ContainerRecord) -> None:
        try:
            self._parts.container_records.save(record)
        except OSError as error:
            # a full disk: the exit file still says how it ended, and a restarted agent reads it again
            _log.warning("end of container cannot be recorded: %s", pairs(container=record.id, error=error))

    def _ended(self, container_id: str, code: int, finished_at: float) -> None:
        container = self._parts.inventory.containers.get(container_id)
        if container is None or container.ended.is_set():
            return
        record = container.record
        if record.config.security.pid is not NamespaceMode.CONTAINER or self._shares_pids(record):
            # its first process is not the parent of the others there: they are ended by their group
            self._parts.cgroups.kill(record.cgroup)
        if self._out_of_memory(record):
            reason = _NO_MEMORY_REASON
        else:
            reason = "Completed" if code == 0 else "Error"
        self.finish(container, code, finished_at, reason)

    def _shares_pids(self, record: ContainerRecord) -> bool:
        sandbox = self._parts.inventory.sandboxes.get(record.sandbox_id)
        return sandbox is not None and sandbox.record.config.pid is not NamespaceMode.CONTAINER

    def _out_of_memory(self, record: ContainerRecord) -> bool:
        """The kernel's own counter; conmon's word only where there is none (v1's event fires falsely at rmdir)."""
        counted = self._parts.cgroups.oom_kills(record.cgroup)
        return self._parts.conmon.out_of_memory(record.id) if counted is None else counted > 0

    def _lost(self, container_id: str) -> None:
        container = self._parts.inventory.containers.get(container_id)
        if container is None or container.ended.is_set():
            return
        self.kill(container)
        message = "The container's monitor ended before it could tell how the container ended"
        self.finish(container, _KILLED, self._parts.clock.now(), _UNKNOWN_REASON, message)
