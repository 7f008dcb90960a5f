"""A command inside a running container: `crun exec` as our own child, with its pipes or its terminal.

Killing or closing our side leaves the command running, as with Kubernetes. A command that cannot be executed ends
with 126 or 127 and upstream's words on standard error.
"""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import socket
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import msgspec

from carob.host.events import Waits, receive_descriptor, set_window_size, wait_child, wait_readable
from carob.host.types import Redirect
from carob.runtime.embedded.crun import explain, looks_like_refusal
from carob.runtime.embedded.oci_spec import DEFAULT_PATH
from carob.runtime.embedded.parts import Parts
from carob.runtime.embedded.records import ContainerRecord, Phase
from carob.runtime.types import RuntimeFailure

_PIECE_BYTES = 32 * 1024
_STDOUT, _STDERR = 1, 2
_DRAIN_SECONDS = 2.0


class ExecProcess:
    """Implements `Process`. Its output is read only when asked for: a slow reader slows the command, nothing piles up."""

    def __init__(self, parts: Parts, command: Sequence[str], files: str) -> None:
        self._parts = parts
        self._command = list(command)
        self._files = files
        self._outputs: dict[int, int] = {}  # descriptor -> stream
        self._input = -1
        self._terminal = -1
        self._waits = Waits()
        self._closed = False
        self._ended = False
        self._exited: asyncio.Task[int] | None = None
        self._heard_anything = False
        self._refusal: tuple[int, str] | None = None
        self.refused = ""
        """Why the command could not be begun, once it has ended."""

    async def begin(self, process: dict[str, Any], container_id: str, *, stdin: bool, tty: bool) -> None:
        """Raises: RuntimeFailure, OSError."""
        host = self._parts.host
        host.create(f"{self._files}.json", msgspec.json.encode(process))
        words = [f"--log=file:{self._files}.log", "exec", "--process", f"{self._files}.json"]
        words += ["--pid-file", f"{self._files}.pid"]
        if tty:
            await self._begin_on_terminal(words, container_id)
        else:
            self._begin_on_pipes(words, container_id, stdin)

    def _spawn(self, words: Sequence[str], container_id: str, redirects: Sequence[Redirect]) -> None:
        argv = self._parts.crun.arguments(*words, container_id)
        pid = self._parts.host.spawn(argv, {"PATH": DEFAULT_PATH}, redirects, session=True)
        self._exited = asyncio.get_running_loop().create_task(self._reap(pid), name="exec")

    async def _reap(self, pid: int) -> int:
        code = await wait_child(pid)
        self._ended = True
        self._waits.wake()
        said = self._said()
        if said:
            self._refusal = explain(said, self._command)
            code = self._refusal[0]
            self.refused = self._refused(self._refusal[1]).decode().strip()
        for suffix in (".json", ".log", ".pid", ".sock"):
            self._parts.host.unlink(self._files + suffix)
        return 128 - code if code < 0 else code

    def _said(self) -> str:
        try:
            return self._parts.host.read(f"{self._files}.log").strip()
        except OSError:
            return ""

    def _begin_on_pipes(self, words: Sequence[str], container_id: str, stdin: bool) -> None:
        theirs: list[int] = []
        try:
            redirects = []
            if stdin:
                take, self._input = os.pipe2(os.O_CLOEXEC)
                theirs.append(take)
                redirects.append(Redirect(0, take))
                os.set_blocking(self._input, False)
            for stream in (_STDOUT, _STDERR):
                ours, give = os.pipe2(os.O_CLOEXEC)
                theirs.append(give)
                redirects.append(Redirect(stream, give))
                os.set_blocking(ours, False)
                self._outputs[ours] = stream
            self._spawn(words, container_id, redirects)
        except OSError:
            self._close_all()
            raise
        finally:
            for descriptor in theirs:
                os.close(descriptor)

    async def _begin_on_terminal(self, words: list[str], container_id: str) -> None:
        path = f"{self._files}.sock"
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as listener:
            listener.bind(path)
            listener.listen(1)
            listener.setblocking(False)
            self._spawn([*words, "--console-socket", path], container_id, [])
            assert self._exited is not None
            connecting = asyncio.get_running_loop().create_task(wait_readable(listener.fileno()))
            await asyncio.wait({connecting, self._exited}, return_when=asyncio.FIRST_COMPLETED)
            if not connecting.done():
                connecting.cancel()
                with suppress(asyncio.CancelledError):
                    await connecting
                return  # refused: there is no terminal, only crun's words
            connection, _ = listener.accept()
            with connection:
                connection.setblocking(False)
                await wait_readable(connection.fileno())
                try:
                    self._terminal = receive_descriptor(connection)
                except OSError:
                    return
        os.set_blocking(self._terminal, False)
        self._outputs[self._terminal] = _STDOUT
        self._input = self._terminal

    async def read(self) -> tuple[int, bytes] | None:
        """The next piece of output; None when both streams have ended."""
        assert self._exited is not None
        while self._outputs:
            piece = self._take()
            if piece is not None:
                return await self._first(piece) if not self._heard_anything else piece
            if not self._outputs:
                break
            if self._terminal >= 0 and self._ended:
                break  # whoever still holds the terminal was not asked for
            await self._waits.readable(*self._outputs)
        if self._closed:
            return None
        await asyncio.shield(self._exited)
        if self._refusal is not None:
            words, self._refusal = self._refusal[1], None
            return _STDERR, self._refused(words)
        return None

    def _refused(self, words: str) -> bytes:
        return f"OCI runtime exec failed: exec failed: unable to start container process: {words}\r\n".encode()

    async def _first(self, piece: tuple[int, bytes]) -> tuple[int, bytes] | None:
        """crun writes a refusal to the command's own standard error too: there it gives way to upstream's words."""
        assert self._exited is not None
        self._heard_anything = True
        if piece[0] == _STDERR and looks_like_refusal(piece[1]):
            await asyncio.wait({self._exited}, timeout=_DRAIN_SECONDS)
            if self._refusal is not None:
                return await self.read()
        return piece

    def _take(self) -> tuple[int, bytes] | None:
        for descriptor, stream in list(self._outputs.items()):
            try:
                data = os.read(descriptor, _PIECE_BYTES)
            except BlockingIOError:
                continue
            except OSError as error:
                if error.errno != errno.EIO:  # how a terminal ends
                    raise
                data = b""
            if data:
                return stream, data
            self._end_output(descriptor)
        return None

    def _end_output(self, descriptor: int) -> None:
        del self._outputs[descriptor]
        if descriptor != self._terminal:
            os.close(descriptor)

    async def write(self, data: bytes) -> None:
        """Waits while the command does not read; ignored once it has closed its input."""
        rest = memoryview(data)
        while rest and self._input >= 0:
            try:
                rest = rest[os.write(self._input, rest) :]
            except BlockingIOError:
                await self._waits.writable(self._input)
            except OSError as error:
                if error.errno not in (errno.EPIPE, errno.EIO):
                    raise
                return

    async def close_stdin(self) -> None:
        if self._terminal >= 0:
            if self._input >= 0:
                await self.write(b"\x04")  # a terminal has no half: end of file is a key
        elif self._input >= 0:
            os.close(self._input)
        self._input = -1

    def resize(self, width: int, height: int) -> None:
        if self._terminal >= 0:
            with suppress(OSError):
                set_window_size(self._terminal, width, height)

    async def wait(self) -> int:
        assert self._exited is not None
        return await asyncio.shield(self._exited)

    async def close(self) -> None:
        self._close_all()

    def _close_all(self) -> None:
        self._closed = True
        self._waits.abandon()
        for descriptor in {*self._outputs, self._input, self._terminal} - {-1}:
            os.close(descriptor)
        self._outputs.clear()
        self._input = self._terminal = -1

    async def kill(self) -> None:
        """End the command itself, when its time is up."""
        with suppress(OSError, ValueError):
            process = self._parts.host.identity(int(self._parts.host.read(f"{self._files}.pid")))
            if process is not None:
                self._parts.host.kill(process, signal.SIGKILL)


async def execute(
    parts: Parts, record: ContainerRecord, command: Sequence[str], *, stdin: bool, tty: bool, name: str
) -> ExecProcess:
    """Start a command with the container's own user, rights and variables. Raises: RuntimeFailure."""
    if record.phase is not Phase.RUNNING:
        raise RuntimeFailure(f'container "{record.id}" is not running')
    if not command:
        raise RuntimeFailure("you must specify at least one command for the container")
    try:
        spec = msgspec.json.decode(parts.host.read(f"{parts.places.bundle(record.id)}/config.json"))
        process: dict[str, Any] = {**spec["process"], "args": list(command), "terminal": tty}
        if tty and not any(line.startswith("TERM=") for line in process["env"]):
            process["env"] = [*process["env"], "TERM=xterm"]
        made = ExecProcess(parts, command, f"{parts.places.streams}/{name}")
        await made.begin(process, record.id, stdin=stdin, tty=tty)
    except OSError as error:
        raise RuntimeFailure(f'failed to exec in container "{record.id}": {error}') from error
    return made


async def execute_sync(
    parts: Parts,
    record: ContainerRecord,
    command: Sequence[str],
    timeout_seconds: float,
    name: str,
    keep_bytes: int,
) -> tuple[int, bytes, bytes]:
    """Exit code and the first `keep_bytes` of each output. Raises: RuntimeFailure; TimeoutError, the command then killed."""
    process = await execute(parts, record, command, stdin=False, tty=False, name=name)
    kept = {_STDOUT: bytearray(), _STDERR: bytearray()}

    async def drain() -> None:
        while (piece := await process.read()) is not None:
            kept[piece[0]] += piece[1][: max(0, keep_bytes - len(kept[piece[0]]))]

    reading = asyncio.get_running_loop().create_task(drain(), name="exec output")
    try:
        try:
            async with asyncio.timeout(timeout_seconds if timeout_seconds > 0 else None):
                code = await process.wait()
        except TimeoutError:
            await process.kill()
            raise TimeoutError(f"command {list(command)!r} timed out after {timeout_seconds:g}s") from None
        # what the command left in the background may hold its output open
        await asyncio.wait({reading}, timeout=_DRAIN_SECONDS)
    finally:
        reading.cancel()
        with suppress(asyncio.CancelledError):
            await reading
        await process.close()
    if process.refused:
        raise RuntimeFailure(process.refused)
    return code, bytes(kept[_STDOUT]), bytes(kept[_STDERR])
