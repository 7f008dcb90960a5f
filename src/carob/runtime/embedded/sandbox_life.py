"""The async half of the sandbox verbs: records, the watch on the pause process, and the order of things.

Source: the CRI's RunPodSandbox, StopPodSandbox, RemovePodSandbox.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from contextlib import suppress

from carob.base.log import get_logger, pairs
from carob.host.events import pidfd_of, watch_end
from carob.runtime.embedded.endings import Endings
from carob.runtime.embedded.launch import Launcher
from carob.runtime.embedded.parts import Parts
from carob.runtime.embedded.records import Phase, SandboxRecord, identity
from carob.runtime.embedded.state import Sandbox
from carob.runtime.types import Exited, RuntimeFailure, SandboxConfig, SandboxStatus

_log = get_logger("runtime")

HANDLERS = ("", "crun")
"""The OCI runtimes by which a sandbox may be asked for."""


class SandboxLife:
    """Makes sandboxes, hears of their end, and takes them away."""

    def __init__(self, parts: Parts, endings: Endings, launcher: Launcher, new_id: Callable[[], str]) -> None:
        self._parts = parts
        self._endings = endings
        self._launcher = launcher
        self._new_id = new_id

    async def run(self, config: SandboxConfig) -> SandboxStatus:
        """Raises: RuntimeFailure, with nothing left or `cleanup` naming it."""
        parts = self._parts
        if not config.cgroup_parent.startswith("/"):
            raise RuntimeFailure(f'cgroup parent "{config.cgroup_parent}" is not an absolute path')
        if config.runtime_handler not in HANDLERS:
            name = config.runtime_handler
            raise RuntimeFailure(f'failed to get sandbox runtime: no runtime for "{name}" is configured')
        record = SandboxRecord(
            id=self._new_id(),
            config=config,
            boot_id=parts.boot_id,
            created_at=parts.clock.now(),
            phase=Phase.MAKING,
        )
        sandbox = Sandbox(record)
        try:
            parts.sandbox_records.save(record)
        except OSError as error:
            raise RuntimeFailure(f"sandbox cannot be recorded: {error}") from error
        parts.inventory.sandboxes[record.id] = sandbox
        try:
            await parts.threads.run_apart(lambda: parts.sandboxes.make(record))
            record.phase = Phase.RUNNING
            parts.sandbox_records.save(record)
        except (RuntimeFailure, OSError) as error:
            await self._undo(sandbox, error)
        self.watch(sandbox)
        return sandbox.status(parts.places)

    async def _undo(self, sandbox: Sandbox, error: RuntimeFailure | OSError) -> None:
        parts, record = self._parts, sandbox.record
        left = list(error.cleanup) if isinstance(error, RuntimeFailure) else []
        if not isinstance(error, RuntimeFailure):
            left = await parts.threads.run(lambda: parts.sandboxes.stop(record) + parts.sandboxes.remove(record))
        del parts.inventory.sandboxes[record.id]
        if not left:  # else the next start finds the record and tries again
            parts.sandbox_records.delete(record.id)
        if isinstance(error, RuntimeFailure):
            raise error
        raise RuntimeFailure(f"sandbox cannot be recorded: {error}", cleanup=left) from error

    def watch(self, sandbox: Sandbox) -> None:
        """Tell when the pause process ends; at once when it has ended already."""
        descriptor = pidfd_of(self._parts.host, identity(sandbox.record.pause))
        if descriptor is None:
            self._pause_ended(sandbox)
            return
        sandbox.unwatch = watch_end(descriptor, lambda: self._pause_ended(sandbox))

    def _pause_ended(self, sandbox: Sandbox) -> None:
        record = sandbox.record
        if record.pause is not None:
            # only when it is this agent's child, and nobody waited for it yet
            with suppress(ChildProcessError):
                os.waitpid(record.pause[0], os.WNOHANG)
        if record.phase is not Phase.RUNNING:
            return
        record.phase = Phase.ENDED
        try:
            self._parts.sandbox_records.save(record)
        except OSError as error:
            _log.warning("end of sandbox cannot be recorded: %s", pairs(sandbox=record.id, error=error))
        self._parts.notify(Exited(record.id, ""))

    async def stop(self, sandbox: Sandbox) -> None:
        """End all that runs in it and free what it shares. Raises: RuntimeFailure; call again."""
        parts, record = self._parts, sandbox.record
        async with sandbox.lock:
            if record.id not in parts.inventory.sandboxes:
                return  # removed while this call waited: its record must not come back
            held = parts.inventory.containers_of(record.id)
            await asyncio.gather(*(self._endings.stop(container, 0.0) for container in held))
            sandbox.unwatch()
            self._pause_ended(sandbox)
            left = await parts.threads.run(lambda: parts.sandboxes.stop(record))
            if left:
                raise RuntimeFailure(f'failed to stop sandbox "{record.id}": {"; ".join(left)}', cleanup=left)
            record.pause = None
            parts.sandbox_records.save(record)

    async def remove(self, sandbox: Sandbox) -> None:
        """Stop it and remove it with its containers; logs stay. Raises: RuntimeFailure; call again."""
        parts, record = self._parts, sandbox.record
        await self.stop(sandbox)
        async with sandbox.lock:
            if record.id not in parts.inventory.sandboxes:
                return
            held = parts.inventory.containers_of(record.id)
            await asyncio.gather(*(self._launcher.remove(container) for container in held))
            record.phase = Phase.REMOVING
            parts.sandbox_records.save(record)
            left = await parts.threads.run(lambda: parts.sandboxes.remove(record))
            if left:
                raise RuntimeFailure(f'failed to remove sandbox "{record.id}": {"; ".join(left)}', cleanup=left)
            parts.sandbox_records.delete(record.id)
            del parts.inventory.sandboxes[record.id]
