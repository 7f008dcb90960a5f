"""What a starting agent does with what an earlier one left: go on where it runs, finish what was half done.

The truth is the records, held against the kernel: pids with their start times, exit files, crun's start pipe. What no
record speaks of was never acknowledged and is removed.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from carob.base.log import get_logger, pairs
from carob.runtime.embedded import overlay
from carob.runtime.embedded.endings import Endings
from carob.runtime.embedded.launch import Launcher
from carob.runtime.embedded.parts import Parts
from carob.runtime.embedded.records import ContainerRecord, Phase, SandboxRecord
from carob.runtime.embedded.sandboxes import PINS
from carob.runtime.embedded.state import Container, Sandbox

_log = get_logger("runtime.takeover")
_HALF_DONE = (Phase.MAKING, Phase.REMOVING)


async def take_over(parts: Parts, launcher: Launcher, endings: Endings, watch_pause: Callable[[Sandbox], None]) -> None:
    """Fill the inventory. Failures to clear away are logged; the next start tries again."""
    sandboxes = parts.sandbox_records.load()
    containers = parts.container_records.load()
    _forget_processes(parts, sandboxes, containers)
    alive = {record.id for record in sandboxes if record.phase not in _HALF_DONE}
    for container in containers:
        if container.phase in _HALF_DONE or container.sandbox_id not in alive:
            await _clear_container(parts, launcher, container)
        else:
            _adopt(parts, container)
    for sandbox in sandboxes:
        if sandbox.phase in _HALF_DONE:
            await _clear_sandbox(parts, sandbox)
        else:
            parts.inventory.sandboxes[sandbox.id] = Sandbox(sandbox)
    await parts.threads.run(lambda: _sweep(parts, {r.id for r in sandboxes}, {r.id for r in containers}))
    for held in parts.inventory.sandboxes.values():
        if held.record.phase is Phase.RUNNING:
            watch_pause(held)
    for kept in list(parts.inventory.containers.values()):
        refused = kept.record.phase is Phase.CREATED and kept.record.message
        if not kept.ended.is_set() and not refused:
            endings.follow(kept)


def _forget_processes(parts: Parts, sandboxes: list[SandboxRecord], containers: list[ContainerRecord]) -> None:
    """Numbers of processes from before the machine was started anew belong to others now."""
    for sandbox in sandboxes:
        if sandbox.boot_id != parts.boot_id:
            sandbox.pause, sandbox.boot_id = None, parts.boot_id
    for container in containers:
        if container.boot_id != parts.boot_id:
            container.process, container.monitor, container.boot_id = None, None, parts.boot_id


def _adopt(parts: Parts, record: ContainerRecord) -> None:
    begun = not parts.host.exists(f"{parts.places.crun_root}/{record.id}/exec.fifo")
    if record.phase is Phase.CREATED and record.process is not None and begun:
        # the agent was killed between letting it begin and writing so
        record.phase = Phase.RUNNING
        record.started_at = parts.clock.now()
        parts.container_records.save(record)
    parts.inventory.containers[record.id] = Container(record)


async def _clear_container(parts: Parts, launcher: Launcher, record: ContainerRecord) -> None:
    try:
        await parts.threads.run(lambda: launcher.clear(record))
    except OSError as error:
        _log.warning("half-made container cannot be removed: %s", pairs(container=record.id, error=error))


async def _clear_sandbox(parts: Parts, record: SandboxRecord) -> None:
    record.network = record.network or record.phase is Phase.MAKING
    left = await parts.threads.run(lambda: parts.sandboxes.stop(record) + parts.sandboxes.remove(record))
    if left:
        _log.warning("half-made sandbox cannot be removed: %s", pairs(sandbox=record.id, left="; ".join(left)))
    else:
        parts.sandbox_records.delete(record.id)


def _sweep(parts: Parts, sandboxes: set[str], containers: set[str]) -> None:
    """Remove files and mounts that no record speaks of. Blocking."""
    host, places = parts.host, parts.places
    for name in set(host.listdir(places.containers)) - containers:
        with suppress(OSError):
            overlay.unmount(host, places.bundle(name))
    for name in set(host.listdir(places.writable_layers)) - containers:
        with suppress(OSError):
            host.rmtree(places.writable(name))
    for name in set(host.listdir(places.crun_root)) - containers:
        with suppress(OSError):
            host.rmtree(f"{places.crun_root}/{name}")
    for name in set(host.listdir(places.exits)) - containers:
        with suppress(OSError):
            host.unlink(f"{places.exits}/{name}")
    for name in set(host.listdir(places.sandboxes)) - sandboxes:
        with suppress(OSError):
            for kind in PINS:
                host.umount(places.namespace(name, kind))
            host.umount(f"{places.sandbox(name)}/shm")
            host.rmtree(places.sandbox(name))
    for name in host.listdir(places.streams):
        with suppress(OSError):
            host.unlink(f"{places.streams}/{name}")
