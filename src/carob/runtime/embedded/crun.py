"""Driving crun: its commands, its start pipe, and what its words mean to a user of Kubernetes."""

from __future__ import annotations

import asyncio
import errno
import os
import re
from collections.abc import Sequence

from carob.host.events import wait_child
from carob.host.types import Host, Redirect
from carob.runtime.embedded.oci_spec import DEFAULT_PATH
from carob.runtime.embedded.places import Places

_MAX_OUTPUT_BYTES = 64 * 1024
COMMAND_TIMEOUT_SECONDS = 60.0


class Crun:
    """Commands of crun in one state folder."""

    def __init__(self, host: Host, places: Places) -> None:
        self._host = host
        self._places = places
        self.options = (f"--root={places.crun_root}", "--cgroup-manager=cgroupfs")

    def arguments(self, *words: str) -> list[str]:
        return [self._places.crun, *self.options, *words]

    async def run(self, words: Sequence[str]) -> tuple[int, str]:
        """Exit code and what it said. Raises: TimeoutError."""
        receive, send = os.pipe2(os.O_CLOEXEC)
        try:
            try:
                redirects = [Redirect(1, send), Redirect(2, send)]
                pid = self._host.spawn(self.arguments(*words), {"PATH": DEFAULT_PATH}, redirects)
            finally:
                os.close(send)
            async with asyncio.timeout(COMMAND_TIMEOUT_SECONDS):
                code = await wait_child(pid)
            os.set_blocking(receive, False)
            try:
                said = os.read(receive, _MAX_OUTPUT_BYTES)
            except BlockingIOError:
                said = b""
        finally:
            os.close(receive)
        return code, said.decode(errors="replace").strip()

    def release(self, container_id: str) -> bool:
        """Let a created container begin: what `crun start` does, without its 3 ms; False when that is needed after all."""
        fifo = f"{self._places.crun_root}/{container_id}/exec.fifo"
        try:
            descriptor = os.open(fifo, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            if error.errno in (errno.ENXIO, errno.ENOENT):
                return False
            raise
        try:
            self._host.unlink(fifo)
            os.write(descriptor, b"\0")
        finally:
            os.close(descriptor)
        return True

    def forget(self, container_id: str) -> None:
        """What `crun delete` does to its own files once the container has ended and its cgroups are removed."""
        self._host.rmtree(f"{self._places.crun_root}/{container_id}")

    def filter_file(self, container_id: str) -> str:
        """Where crun leaves the seccomp filter that it compiled."""
        return f"{self._places.crun_root}/{container_id}/seccomp.bpf"


_REFUSAL = re.compile(
    r"executable file [`'\"].*[`'\"] not found in \$PATH|open executable|chdir [`'\"]|exec[a-z]* [`'\"]"
)


def looks_like_refusal(said: bytes) -> bool:
    """Whether the beginning of an output may be crun's own words rather than the command's."""
    return _REFUSAL.match(said[:4096].decode(errors="replace")) is not None


def explain(said: str, command: Sequence[str]) -> tuple[int, str]:
    """Exit code (126 cannot be executed, 127 not found, else 128) and upstream's words for what crun said.

    Source: runc's libcontainer, whose words users meet in events and from `kubectl exec`.
    """
    name = command[0] if command else ""
    lowered = said.lower()
    if "not found in $path" in lowered:
        where = f"stat {name}: no such file or directory" if "/" in name else "executable file not found in $PATH"
        return 127, f'exec: "{name}": {where}: unknown'
    if "exec format error" in lowered:
        return 126, f"exec {name}: exec format error: unknown"
    if "open executable" in lowered:
        # crun says "not permitted" of what is no file
        why = "is a directory" if "not permitted" in lowered else "permission denied"
        return 126, f'exec: "{name}": {why}: unknown'
    return 128, said
