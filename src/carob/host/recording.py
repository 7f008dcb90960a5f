"""Doubles of the host: one over files in memory that records every call, one that makes the nth call of another fail.

They keep the promises of `Host` that callers lean on (what exists, what raises which error); a test that needs the
kernel's own behaviour uses the real host.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

from carob.host.types import MNT_DETACH, Host, Identity, Redirect

Call = tuple[str, tuple[object, ...]]


class FakeHost:
    """A machine in memory.

    `files` are its files at the start; folders above them exist. `born(path)` names the files that the kernel puts
    into a new folder (a control group's), by name. `calls` holds what changed the machine, in order; reads are left out.
    """

    def __init__(self, files: Mapping[str, str], born: Callable[[str], Mapping[str, str]] = lambda _: {}) -> None:
        self.files: dict[str, str] = {}
        self.folder_paths: set[str] = {"/"}
        self.mounted: dict[str, str] = {}
        self.processes: dict[int, int] = {}
        """Pid to start ticks."""
        self.calls: list[Call] = []
        self._born = born
        self._next_pid = 1000
        for path, text in files.items():
            self._put(path, text)

    def _put(self, path: str, text: str) -> None:
        self.files[path] = text
        parent = os.path.dirname(path)
        while parent not in self.folder_paths:
            self.folder_paths.add(parent)
            parent = os.path.dirname(parent)

    def _record(self, verb: str, *arguments: object) -> None:
        self.calls.append((verb, arguments))

    def read(self, path: str) -> str:
        if path not in self.files:
            raise FileNotFoundError(errno.ENOENT, "No such file or directory", path)
        return self.files[path]

    def write(self, path: str, text: str) -> None:
        self._record("write", path, text)
        self.read(path)
        self.files[path] = text

    def write_atomic(self, path: str, data: bytes, *, mode: int = 0o600, sync: bool = False) -> None:
        self._record("write_atomic", path, data)
        self._in_folder(path)
        self.files[path] = data.decode()

    def create(self, path: str, data: bytes = b"", *, mode: int = 0o600) -> None:
        self._record("create", path, data)
        self._in_folder(path)
        self.files[path] = data.decode()

    def overwrite(self, path: str, data: bytes) -> None:
        self._record("overwrite", path, data)
        self.files[path] = data.decode().ljust(len(self.read(path)))

    def _in_folder(self, path: str) -> None:
        if os.path.dirname(path) not in self.folder_paths:
            raise FileNotFoundError(errno.ENOENT, "No such file or directory", path)

    def exists(self, path: str) -> bool:
        return path in self.files or path in self.folder_paths

    def listdir(self, path: str) -> list[str]:
        if path not in self.folder_paths:
            raise FileNotFoundError(errno.ENOENT, "No such file or directory", path)
        return sorted(os.path.basename(p) for p in (*self.files, *self.folder_paths) if _inside(p, path))

    def folders(self, path: str) -> list[str]:
        return [name for name in self.listdir(path) if os.path.join(path, name) in self.folder_paths]

    def mkdir(self, path: str, mode: int = 0o755, *, parents: bool = True) -> bool:
        self._record("mkdir", path)
        if path in self.folder_paths:
            return False
        parent = os.path.dirname(path)
        if parent not in self.folder_paths:
            if not parents:
                raise FileNotFoundError(errno.ENOENT, "No such file or directory", path)
            self.mkdir(parent)
        self.folder_paths.add(path)
        for name, text in self._born(path).items():
            self.files[f"{path}/{name}"] = text
        return True

    def rmdir(self, path: str) -> None:
        self._record("rmdir", path)
        if path not in self.folder_paths:
            raise FileNotFoundError(errno.ENOENT, "No such file or directory", path)
        if self.folders(path):
            raise OSError(errno.ENOTEMPTY, "Directory not empty", path)
        if self.files.get(f"{path}/cgroup.procs", "").strip():
            raise OSError(errno.EBUSY, "Device or resource busy", path)
        self._drop(path)

    def symlink(self, target: str, path: str) -> None:
        self._record("symlink", target, path)
        self._in_folder(path)
        self.files[path] = target

    def unlink(self, path: str) -> None:
        self._record("unlink", path)
        self.files.pop(path, None)

    def rmtree(self, path: str) -> None:
        self._record("rmtree", path)
        self._drop(path)

    def _drop(self, path: str) -> None:
        self.folder_paths = {p for p in self.folder_paths if p != path and not p.startswith(path + "/")}
        self.files = {p: text for p, text in self.files.items() if not p.startswith(path + "/")}

    def mount(self, source: str, target: str, fstype: str = "none", flags: int = 0, data: str = "") -> None:
        self._record("mount", source, target, fstype, flags, data)
        self.mounted[target] = fstype

    def mount_idmapped(self, source: str, target: str, users: str, *, recursive: bool = False) -> None:
        self._record("mount_idmapped", source, target, users, recursive)
        self.mounted[target] = "idmapped"

    def chown(self, path: str, uid: int, gid: int) -> None:
        self._record("chown", path, uid, gid)

    def relabel(self, path: str, label: str) -> None:
        self._record("relabel", path, label)

    def umount(self, target: str, flags: int = MNT_DETACH) -> None:
        self._record("umount", target)
        self.mounted.pop(target, None)

    def chdir(self, path: str) -> None:
        self._record("chdir", path)

    def unshare(self, flags: int) -> None:
        self._record("unshare", flags)

    def setns(self, path: str, kind: int = 0) -> None:
        self._record("setns", path, kind)

    def sethostname(self, name: str) -> None:
        self._record("sethostname", name)

    def loopback_up(self) -> None:
        self._record("loopback_up")

    def spawn(
        self,
        argv: Sequence[str],
        env: Mapping[str, str],
        redirects: Sequence[Redirect] = (),
        *,
        session: bool = False,
        program: str = "",
    ) -> int:
        self._record("spawn", tuple(argv))
        self._next_pid += 1
        self.processes[self._next_pid] = self._next_pid * 10
        return self._next_pid

    def identity(self, pid: int) -> Identity | None:
        ticks = self.processes.get(pid)
        return None if ticks is None else Identity(pid, ticks)

    def pidfd_open(self, pid: int) -> int:
        raise ProcessLookupError(errno.ESRCH, "a fake process has no descriptor")

    def kill(self, process: Identity, signal: int) -> bool:
        self._record("kill", process.pid, signal)
        return self.processes.pop(process.pid, None) == process.start_ticks


class FaultyHost:
    """Another host of which one call fails: the `nth` (from 1) that `matches`, with `error`.

    Counts only calls that change something, so that a test can walk through all of them until none is left to fail:
    then `failed` is empty. Use as `Host` by `faulty(...)`.
    """

    _READS = frozenset({"read", "exists", "listdir", "folders", "identity", "pidfd_open", "kill"})

    def __init__(
        self, inner: Host, nth: int, matches: Callable[[str, tuple[object, ...]], bool], error: int = errno.EIO
    ) -> None:
        self._inner = inner
        self._error = error
        self._left = nth
        self._matches = matches
        self.failed = ""

    def __getattr__(self, verb: str) -> Any:
        method = getattr(self._inner, verb)
        if verb in self._READS:
            return method

        def call(*arguments: object, **options: object) -> object:
            if self._matches(verb, arguments):
                self._left -= 1
                if self._left == 0:
                    self.failed = f"{verb}{arguments}"
                    raise OSError(self._error, f"{os.strerror(self._error)} (by the test)", str(arguments[:1]))
            return method(*arguments, **options)

        return call


def faulty(
    inner: Host,
    nth: int,
    matches: Callable[[str, tuple[object, ...]], bool] = lambda *_: True,
    error: int = errno.EIO,
) -> tuple[Host, FaultyHost]:
    """The host to use, and the same again to ask which call has failed."""
    made = FaultyHost(inner, nth, matches, error)
    return cast("Host", made), made


def _inside(path: str, folder: str) -> bool:
    return path != folder and os.path.dirname(path) == folder
