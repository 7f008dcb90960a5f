"""The pump of exec and attach: this process's files on one side, the container's on the other, until the command ends.

One thread, one poll. What we have read but the server has not taken yet is limited: then stdin waits.
"""

from __future__ import annotations

import os
import select
import ssl
import time
from typing import TYPE_CHECKING

from carob.cli import terminal
from carob.cli.errors import CommandError
from carob.cli.upgrade import new_mask
from carob.wire.errors import ProtocolError
from carob.wire.remotecommand import STDERR, Finished, Left, Output, WebSocketClientSession, exit_code_of

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from carob.wire.remotecommand import Status

PROTOCOL = "v5.channel.k8s.io"
STDIN_BYTES = 32 * 1024
MAX_UNSENT_BYTES = 256 * 1024
PING_SECONDS = 5.0
SILENCE_SECONDS = 60.0

_NOT_NOW = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


class Pump:
    """Copies until the command ends. Files are numbers; None: that stream is not copied.

    `size` yields the terminal's width and height where the remote side has one; `first_sizes` go ahead.
    """

    def __init__(
        self,
        sock: socket.socket,
        early: bytes,
        *,
        stdin: int | None,
        stdout: int | None,
        stderr: int | None,
        size: Callable[[], tuple[int, int] | None] | None = None,
        first_sizes: tuple[tuple[int, int], ...] = (),
    ) -> None:
        self._socket = sock
        self._early = early
        self._stdin = stdin
        self._out = {1: stdout, STDERR: stderr}
        self._size = size
        self._session = WebSocketClientSession(PROTOCOL, new_mask)
        self._unsent = bytearray()
        self._status: Status | None = None
        self._left = False
        self._heard = time.monotonic()
        for width, height in first_sizes:
            self._session.resize(width, height)

    def run(self) -> Status:
        """How the command ended. Raises: CommandError when the connection was lost first."""
        self._socket.setblocking(False)
        signals = terminal.ResizeSignals() if self._size is not None else None
        try:
            self._resize()
            self._feed(self._early)
            while self._status is None and not self._left:
                self._turn(signals)
        finally:
            if signals is not None:
                signals.close()
            self._socket.close()
        if self._status is None:
            raise CommandError(
                "error: error reading from error stream: websocket: close 1006 (abnormal closure): unexpected EOF"
            )
        return self._status

    def _turn(self, signals: terminal.ResizeSignals | None) -> None:
        self._unsent += self._session.take()
        poll = select.poll()
        poll.register(self._socket, select.POLLIN | (select.POLLOUT if self._unsent else 0))
        if self._stdin is not None and len(self._unsent) < MAX_UNSENT_BYTES:
            poll.register(self._stdin, select.POLLIN)
        if signals is not None:
            poll.register(signals.fd, select.POLLIN)
        ready = {fd for fd, _ in poll.poll(PING_SECONDS * 1000)}
        if not ready:
            self._keep_alive()
        if self._unsent:
            self._send()
        if self._socket.fileno() in ready:
            self._receive()
        if self._stdin is not None and self._stdin in ready:
            self._read_stdin()
        if signals is not None and signals.fd in ready:
            signals.take()
            self._resize()

    def _keep_alive(self) -> None:
        if time.monotonic() - self._heard > SILENCE_SECONDS:
            raise CommandError("error: the server has been silent for a minute; the connection is given up")
        self._session.ping()

    def _send(self) -> None:
        try:
            sent = self._socket.send(self._unsent)
        except _NOT_NOW:
            return
        except OSError:
            # what the server said before it went is still to be read
            self._unsent.clear()
            return
        del self._unsent[:sent]

    def _receive(self) -> None:
        """All that is there: TLS may hold more than the poll can see."""
        while self._status is None and not self._left:
            try:
                data = self._socket.recv(256 * 1024)
            except _NOT_NOW:
                return
            except OSError:
                data = b""
            if not data:
                self._left = True
                return
            self._heard = time.monotonic()
            self._feed(data)

    def _feed(self, data: bytes) -> None:
        try:
            events = self._session.receive(data)
        except ProtocolError as error:
            raise CommandError(f"error: {error}") from error
        for event in events:
            if isinstance(event, Output):
                fd = self._out.get(event.stream)
                if fd is not None:
                    _write(fd, event.data)
            elif isinstance(event, Finished):
                self._status = event.status
            elif isinstance(event, Left):
                self._left = True

    def _read_stdin(self) -> None:
        assert self._stdin is not None
        try:
            data = os.read(self._stdin, STDIN_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if data:
            self._session.stdin(data)
        else:
            self._session.close_stdin()
            self._stdin = None

    def _resize(self) -> None:
        found = self._size() if self._size is not None else None
        if found is not None:
            self._session.resize(*found)


def _write(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(fd, view) :]
        except BlockingIOError:
            select.select([], [fd], [])


def exit_with(status: Status) -> int:
    """The exit code of a command that ended. Raises: CommandError with kubectl's words for the others."""
    code = exit_code_of(status)
    if code is None:
        raise CommandError(f"error: {status.get('message', 'unknown error')}")
    if code:
        raise CommandError(f"command terminated with exit code {code}", code)
    return 0
