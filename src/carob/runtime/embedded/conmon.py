"""The monitor of one container: conmon holds its terminal or pipes, writes its log, and keeps its exit code.

One conmon a container, in a session of its own, so that it outlives the agent. Source: conmon 2.1 (src/cli.c,
ctrl.c, ctr_exit.c); its log format k8s-file is the CRI's.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from contextlib import suppress
from typing import NamedTuple

import msgspec
from msgspec import Struct

from carob.host.events import wait_child, wait_readable
from carob.host.types import Host, Redirect
from carob.runtime.embedded.oci_spec import DEFAULT_PATH
from carob.runtime.embedded.places import Places
from carob.runtime.embedded.records import ContainerRecord

_MAX_ANSWER_BYTES = 256 * 1024
_SYNC_DESCRIPTOR = 3
CREATE_TIMEOUT_SECONDS = 120.0


class _Answer(Struct):
    """A line on the sync pipe: the container's pid, or a negative number and crun's words."""

    data: int
    message: str = ""


class Launched(NamedTuple):
    """A monitor that begins: our child, and our end of its sync pipe."""

    pid: int
    receive: int


class CreateRefused(Exception):
    """crun did not make the container; the text is crun's."""


class Conmon:
    """Starts monitors and talks to them through their files; keeps nothing."""

    def __init__(self, host: Host, places: Places, program: str, crun_options: Sequence[str]) -> None:
        self._host = host
        self._places = places
        self._program = program
        self._crun_options = crun_options

    def arguments(self, record: ContainerRecord) -> list[str]:
        """The command line; pure."""
        bundle = self._places.bundle(record.id)
        argv = [self._program, "--api-version", "1", "-c", record.id, "-u", record.id, "-n", record.config.name]
        argv += ["-b", bundle, "-p", f"{bundle}/pidfile", "-P", f"{bundle}/conmon.pid", "--persist-dir", bundle]
        argv += ["--exit-dir", self._places.exits, "-l", f"k8s-file:{record.log_path or '/dev/null'}"]
        argv += ["--full-attach", "--no-sync-log", "--log-level", "error", "-r", self._places.crun]
        for option in self._crun_options:
            argv += ["--runtime-arg", option]
        if record.config.tty:
            argv.append("-t")
        if record.config.stdin:
            argv.append("-i")
            if not record.config.stdin_once:
                argv.append("--leave-stdin-open")
        return argv

    def launch(self, record: ContainerRecord) -> Launched:
        """Start the monitor, which has crun make the container. Blocking, for a moment. Raises: OSError."""
        receive, send = os.pipe2(os.O_CLOEXEC)
        try:
            pid = self._host.spawn(
                self.arguments(record),
                {"PATH": DEFAULT_PATH, "_OCI_SYNCPIPE": str(_SYNC_DESCRIPTOR)},
                [Redirect(_SYNC_DESCRIPTOR, send)],
                session=True,
            )
        except OSError:
            os.close(receive)
            raise
        finally:
            os.close(send)
        return Launched(pid, receive)

    async def made(self, launched: Launched) -> int:
        """Wait until crun has made the container; the pid of its first process.

        Raises: CreateRefused; TimeoutError when crun hangs.
        """
        receive = launched.receive
        try:
            # the child is gone as soon as the monitor itself runs in the background
            ending = asyncio.get_running_loop().create_task(wait_child(launched.pid), name="conmon launcher")
            async with asyncio.timeout(CREATE_TIMEOUT_SECONDS):
                answer = await self._answer(receive)
                code = await ending
        finally:
            os.close(receive)
        if answer is None:
            raise CreateRefused(f"conmon ended with code {code} before the container was made")
        if answer.data < 0:
            raise CreateRefused(answer.message.strip() or f"crun failed with code {-answer.data}")
        return answer.data

    async def _answer(self, receive: int) -> _Answer | None:
        os.set_blocking(receive, False)
        data = b""
        while len(data) < _MAX_ANSWER_BYTES:
            await wait_readable(receive)
            piece = os.read(receive, 65536)
            data += piece
            with suppress(msgspec.DecodeError):
                return msgspec.json.decode(data, type=_Answer)
            if not piece:
                return None
        return None

    def monitor_pid(self, container_id: str) -> int:
        """The pid that the monitor wrote; 0 when there is none yet."""
        with suppress(OSError, ValueError):
            return int(self._host.read(f"{self._places.bundle(container_id)}/conmon.pid"))
        return 0

    def control(self, container_id: str, command: str) -> None:
        """A line for the monitor's control pipe. Raises: OSError when the monitor is gone."""
        descriptor = os.open(f"{self._places.bundle(container_id)}/ctl", os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            os.write(descriptor, command.encode())
        finally:
            os.close(descriptor)

    def reopen_log(self, container_id: str) -> None:
        """Go on in a new file of the same name; no line is lost."""
        self.control(container_id, "2 0 0\n")

    def resize(self, container_id: str, width: int, height: int) -> None:
        """The size of the container's terminal in characters."""
        self.control(container_id, f"1 {height} {width}\n")

    def out_of_memory(self, container_id: str) -> bool:
        """Whether the monitor heard of a kill for want of memory."""
        return self._host.exists(f"{self._places.bundle(container_id)}/oom")
