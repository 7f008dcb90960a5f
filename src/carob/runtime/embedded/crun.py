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


_NOT_FOUND = re.compile(r"executable file [`'\"](?P<name>[^`'\"]*)[`'\"] not found in \$PATH")
_OPEN = re.compile(r"open executable|exec(?:v|ve|utable)?\b")


def explain(said: str, command: Sequence[str]) -> tuple[int, str]:
    """Exit code (126 cannot be executed, 127 not found, else 128) and upstream's words for what crun said.

    Source: runc's libcontainer, whose words users meet in events and from `kubectl exec`.
    """
    name = command[0] if command else ""
    if _NOT_FOUND.search(said):
        return 127, f'exec: "{name}": executable file not found in $PATH: unknown'
    lowered = said.lower()
    about_command = name in said or _OPEN.search(lowered) is not None
    if about_command and "permission denied" in lowered:
        return 126, f'exec: "{name}": permission denied: unknown'
    if about_command and "is a directory" in lowered:
        return 126, f'exec: "{name}": is a directory: unknown'
    if about_command and "exec format error" in lowered:
        return 126, f"exec {name}: exec format error: unknown"
    if about_command and "no such file or directory" in lowered and "/" in name:
        return 127, f'exec: "{name}": stat {name}: no such file or directory: unknown'
    return 128, said
