"""A process of exec without a container: what it reads and writes is up to the test."""

from __future__ import annotations

import asyncio


class FakeProcess:
    """Fits the streams' `Process`. `say` queues output, `end` lets it exit; input gathers in `stdin`."""

    def __init__(self) -> None:
        self.stdin = b""
        self.stdin_closed = asyncio.Event()
        self.sizes: list[tuple[int, int]] = []
        self.closed = asyncio.Event()
        self.may_read = asyncio.Event()
        self.may_read.set()
        self.changed = asyncio.Event()
        self._code: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._output: asyncio.Queue[tuple[int, bytes] | None] = asyncio.Queue(4)

    async def say(self, stream: int, data: bytes) -> None:
        """Write; waits while nobody reads."""
        await self._output.put((stream, data))

    async def end(self, code: int) -> None:
        """Exit."""
        await self._output.put(None)
        self._code.set_result(code)

    async def read(self) -> tuple[int, bytes] | None:
        return await self._output.get()

    async def write(self, data: bytes) -> None:
        await self.may_read.wait()
        self.stdin += data
        self.changed.set()

    async def close_stdin(self) -> None:
        self.stdin_closed.set()

    def resize(self, width: int, height: int) -> None:
        self.sizes.append((width, height))
        self.changed.set()

    async def wait(self) -> int:
        return await self._code

    async def close(self) -> None:
        self.closed.set()


class FakePort:
    """Fits the streams' `Duplex`: what the client sent gathers in `got`; `answer` is read by the client."""

    def __init__(self) -> None:
        self.got = b""
        self.eof = asyncio.Event()
        self.changed = asyncio.Event()
        self.closed = asyncio.Event()
        self.answers: asyncio.Queue[bytes] = asyncio.Queue()

    async def read(self) -> bytes:
        return await self.answers.get()

    async def write(self, data: bytes) -> None:
        self.got += data
        self.changed.set()

    async def write_eof(self) -> None:
        self.eof.set()

    async def close(self) -> None:
        self.closed.set()
