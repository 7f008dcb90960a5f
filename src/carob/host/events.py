"""What the kernel tells an event loop: ends of processes by pidfd, new files by inotify, descriptors over sockets."""

from __future__ import annotations

import array
import asyncio
import fcntl
import os
import socket
import struct
import termios
from collections.abc import Callable, Sequence

from carob.host import syscalls
from carob.host.types import Host, Identity

_EVENT_HEAD = struct.Struct("iIII")
_EVENT_BYTES = 64 << 10


async def wait_readable(*descriptors: int) -> None:
    """Return when one of them has something to read, or has ended; they stay the caller's.

    For a pidfd: when its process has ended. At most one waiter a descriptor.
    """
    await Waits().readable(*descriptors)


class Waits:
    """Waits on descriptors that may be closed under the waiter: `abandon` first, then close them.

    Whoever waits then wakes up, and looks at the state itself.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._pending: dict[asyncio.Future[None], Callable[[], None]] = {}

    async def readable(self, *descriptors: int) -> None:
        """Return when one has something to read or has ended, or at `abandon`. At most one waiter a descriptor."""
        await self._wait(descriptors, self._loop.add_reader, self._loop.remove_reader)

    async def writable(self, descriptor: int) -> None:
        """Return when it takes more bytes or its reader has gone, or at `abandon`."""
        await self._wait((descriptor,), self._loop.add_writer, self._loop.remove_writer)

    def wake(self) -> None:
        """All who wait look again."""
        for ready in self._pending:
            if not ready.done():
                ready.set_result(None)

    def abandon(self) -> None:
        """No descriptor is watched any more when this returns."""
        for stop in self._pending.values():
            stop()
        self.wake()

    async def _wait(
        self,
        descriptors: Sequence[int],
        add: Callable[[int, Callable[[], None]], object],
        remove: Callable[[int], object],
    ) -> None:
        ready: asyncio.Future[None] = self._loop.create_future()
        watched = list(descriptors)

        def settle() -> None:
            if not ready.done():
                ready.set_result(None)

        def stop() -> None:
            while watched:
                remove(watched.pop())

        for descriptor in descriptors:
            add(descriptor, settle)
        self._pending[ready] = stop
        try:
            await ready
        finally:
            stop()
            del self._pending[ready]


async def wait_child(pid: int) -> int:
    """Reap a child: its exit code, or minus the number of the signal that ended it."""
    descriptor = os.pidfd_open(pid)
    try:
        await wait_readable(descriptor)
    finally:
        os.close(descriptor)
    # it has ended: this does not block
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])  # noqa: ASYNC222


def pidfd_of(host: Host, process: Identity | None) -> int | None:
    """A descriptor of exactly this process, never of a later one with its number; None when it is gone."""
    if process is None:
        return None
    try:
        descriptor = host.pidfd_open(process.pid)
    except OSError:
        return None
    # opened first, compared then: the number cannot go to another process while we hold the descriptor
    if host.identity(process.pid) == process:
        return descriptor
    os.close(descriptor)
    return None


def watch_end(descriptor: int, ended: Callable[[], None]) -> Callable[[], None]:
    """Call `ended` once on the running loop when the process of the pidfd has ended; the answer stops the watch.

    The descriptor is closed either way.
    """
    loop = asyncio.get_running_loop()
    open_ = [descriptor]

    def stop() -> None:
        if open_:
            loop.remove_reader(open_[0])
            os.close(open_.pop())

    def readable() -> None:
        stop()
        ended()

    loop.add_reader(descriptor, readable)
    return stop


class FolderWatch:
    """Calls `happened` on the running loop with what inotify tells of a folder, packed as the kernel packs it."""

    def __init__(self, folder: str, mask: int, happened: Callable[[bytes], None]) -> None:
        self._happened = happened
        self._descriptor = syscalls.inotify_init()
        try:
            syscalls.inotify_add_watch(self._descriptor, folder, mask)
        except OSError:
            os.close(self._descriptor)
            raise
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._descriptor, self._readable)

    def close(self) -> None:
        """No call after this; idempotent."""
        if self._descriptor >= 0:
            self._loop.remove_reader(self._descriptor)
            os.close(self._descriptor)
            self._descriptor = -1

    def _readable(self) -> None:
        try:
            data = os.read(self._descriptor, _EVENT_BYTES)
        except BlockingIOError:
            return
        self._happened(data)


def watch_change(folder: str, mask: int, changed: Callable[[], None]) -> FolderWatch:
    """Call `changed` when something in the folder changes in a way that `mask` names: who looks finds out what it was."""
    return FolderWatch(folder, mask, lambda _: changed())


def watch_arrivals(folder: str, arrived: Callable[[str], None], overflowed: Callable[[], None]) -> FolderWatch:
    """Tell of files that appear in a folder under their final name (written elsewhere and renamed).

    `arrived` gets the name; `overflowed` is called when the kernel dropped events, and the folder must be listed.
    """

    def happened(data: bytes) -> None:
        position = 0
        while position < len(data):
            _, mask, _, length = _EVENT_HEAD.unpack_from(data, position)
            position += _EVENT_HEAD.size
            name = os.fsdecode(data[position : position + length].rstrip(b"\0"))
            position += length
            if mask & syscalls.IN_Q_OVERFLOW:
                overflowed()
            elif name:
                arrived(name)

    return FolderWatch(folder, syscalls.IN_MOVED_TO | syscalls.IN_ONLYDIR, happened)


def receive_descriptor(connection: socket.socket) -> int:
    """The descriptor in the next message (SCM_RIGHTS), such as a terminal from an OCI console socket.

    Raises: OSError when the peer hung up or sent none.
    """
    _, ancillary, _, _ = connection.recvmsg(256, socket.CMSG_SPACE(4), socket.MSG_CMSG_CLOEXEC)
    for level, kind, payload in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            received = array.array("i")
            received.frombytes(payload[:4])
            return received[0]
    raise ConnectionError("no descriptor came over the socket")


def set_window_size(terminal: int, width: int, height: int) -> None:
    """Tell a terminal its size in characters; whoever runs on it gets SIGWINCH."""
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))
