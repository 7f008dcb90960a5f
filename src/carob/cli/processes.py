"""The background processes of a cluster: start one and wait until it is ready, find it again, end it.

A process is known by its record `<run_dir>/<part>.json`, written by whoever starts it: pid and start time, so that a
pid that was given to somebody else is never signalled. Readiness comes over a pipe: the child writes one line when it
is of use, so nobody polls.
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

from carob.base.description import Description
from carob.base.readiness import GO_FD_VARIABLE, STAGES_FD_VARIABLE
from carob.cli.errors import CommandError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

LOG_TAIL_LINES = 15


class Background(Description):
    """A process of a cluster that was started in the background."""

    part: str
    pid: int
    start_ticks: int

    def alive(self) -> bool:
        """Whether this very process still runs (zombies do not)."""
        return start_ticks(self.pid) == self.start_ticks

    def end(self, grace_seconds: float) -> None:
        """SIGTERM, wait, SIGKILL, wait; returns when it has gone. Gone already is fine."""
        try:
            fd = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return
        try:
            if not self.alive():
                return
            for number, wait_seconds in ((signal.SIGTERM, grace_seconds), (signal.SIGKILL, 10.0)):
                try:
                    signal.pidfd_send_signal(fd, number)
                except ProcessLookupError:
                    return
                if select.select([fd], [], [], wait_seconds)[0]:
                    return
            raise CommandError(f"error: {self.part} (pid {self.pid}) cannot be ended")
        finally:
            os.close(fd)


def start_ticks(pid: int) -> int:
    """When the process started, in clock ticks since boot; 0 if there is none or it is a zombie."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    fields = text.rpartition(")")[2].split()
    return 0 if fields[0] in ("Z", "X") else int(fields[19])


def find(run_dir: str, part: str) -> Background | None:
    """The running process of this part, or None."""
    try:
        tree = json.loads((Path(run_dir) / f"{part}.json").read_text())
        process = Background(part, int(tree["pid"]), int(tree["start_ticks"]))
    except (FileNotFoundError, ValueError, KeyError):
        return None
    return process if process.alive() else None


def strays(cluster_name: str) -> list[Background]:
    """Processes of a cluster that no record names (any more), found by their command lines."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            words = (entry / "cmdline").read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue
        for part in ("server", "node"):
            start = ["-m", "carob", part, "--name", cluster_name]
            if any(words[i : i + len(start)] == start for i in range(len(words))):
                pid = int(entry.name)
                found.append(Background(part, pid, start_ticks(pid)))
    return found


def record(run_dir: str, part: str, pid: int) -> None:
    """Write down that this process is the part, for `find`."""
    tree = {"part": part, "pid": pid, "start_ticks": start_ticks(pid)}
    temporary = Path(run_dir) / f"{part}.json.tmp"
    temporary.write_text(json.dumps(tree) + "\n")
    os.replace(temporary, Path(run_dir) / f"{part}.json")


class Starting:
    """A child that has been started, says how far it is, and may wait for a word from us."""

    def __init__(self, part: str, process: subprocess.Popen[bytes], stages_fd: int, go_fd: int, log_file: Path) -> None:
        self.part = part
        self._process = process
        self._stages_fd = stages_fd
        self._go_fd = go_fd
        self._log_file = log_file
        self._said = b""

    def go(self) -> None:
        """Tell the child that what it needs is there."""
        try:
            os.write(self._go_fd, b"go\n")
        except BrokenPipeError:
            return  # it has died, which `wait` tells of

    def wait(self, stage: str, deadline: float) -> None:
        """Return when the child has said `stage`. `deadline` is in seconds of the monotonic clock.

        Raises: CommandError with the end of its log when it died or did not get so far in time.
        """
        wanted = stage.encode() + b"\n"
        while wanted not in self._said:
            left = max(0.0, deadline - time.monotonic())
            if not select.select([self._stages_fd], [], [], left)[0]:
                raise CommandError(
                    f"error: {self.part} is not {stage} in time; its log is {self._log_file}\n{self._tail()}"
                )
            said = os.read(self._stages_fd, 256)
            if not said:
                raise CommandError(f"error: {self.part} could not start; its log is {self._log_file}\n{self._tail()}")
            self._said += said

    def let_live(self) -> None:
        """The child lives on without us: nobody shall wait for it."""
        os.close(self._stages_fd)
        os.close(self._go_fd)
        self._process.returncode = 0

    def _tail(self) -> str:
        lines = self._log_file.read_text(errors="replace").splitlines()[-LOG_TAIL_LINES:]
        if lines and lines[-1].startswith("error: ") and not any(line.startswith("Traceback") for line in lines):
            lines = lines[-1:]
        return "\n".join("  " + line for line in lines)


def start(
    part: str, arguments: list[str], run_dir: str, log_dir: str, environment: Mapping[str, str] | None = None
) -> Starting:
    """Start `python -m carob ARGUMENTS` in the background, in a session of its own, logging to `<log_dir>/<part>.log`."""
    Path(run_dir).mkdir(parents=True, exist_ok=True)
    Path(log_dir).mkdir(parents=True, exist_ok=True)
    log_file = Path(log_dir) / f"{part}.log"
    stages_reader, stages_writer = os.pipe2(os.O_CLOEXEC)
    go_reader, go_writer = os.pipe2(os.O_CLOEXEC)
    pipes = {STAGES_FD_VARIABLE: str(stages_writer), GO_FD_VARIABLE: str(go_reader)}
    with log_file.open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "carob", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd="/",
            env={**os.environ, **(environment or {}), **pipes},
            pass_fds=(stages_writer, go_reader),
            start_new_session=True,
        )
    os.close(stages_writer)
    os.close(go_reader)
    record(run_dir, part, process.pid)
    return Starting(part, process, stages_reader, go_writer, log_file)
