"""The machine itself: every verb of `Host` as system calls."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import signal
import socket
import struct
from collections.abc import Mapping, Sequence

from carob.host import selinux, syscalls
from carob.host.syscalls import Handed, Opened
from carob.host.types import MNT_DETACH, Identity, Redirect

_SIOCGIFFLAGS = 0x8913
_SIOCSIFFLAGS = 0x8914
_IFF_UP = 1
_DEV_NULL = "/dev/null"
_DEFAULT_SIGNALS = (
    signal.SIGPIPE,
    signal.SIGXFSZ,
    signal.SIGINT,
    signal.SIGTERM,
    signal.SIGHUP,
    signal.SIGCHLD,
)
"""What Python, or a program that reads our terminal, may have set for us is not for those that we start."""


class RealHost:
    """Needs root for most verbs; keeps no state."""

    def read(self, path: str) -> str:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            return file.read()

    def write(self, path: str, text: str) -> None:
        descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC | os.O_TRUNC)
        try:
            os.write(descriptor, text.encode())
        except OSError as error:
            raise OSError(error.errno, error.strerror, path) from error
        finally:
            os.close(descriptor)

    def write_atomic(self, path: str, data: bytes, *, mode: int = 0o600, sync: bool = False) -> None:
        scratch = f"{path}.{os.getpid()}.tmp"
        descriptor = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
        try:
            try:
                written = 0
                while written < len(data):
                    written += os.write(descriptor, data[written:])
                if sync:
                    os.fsync(descriptor)
            finally:
                os.close(descriptor)
            os.rename(scratch, path)
        except OSError:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(scratch)
            raise
        if sync:
            _sync_folder(os.path.dirname(path))

    def create(self, path: str, data: bytes = b"", *, mode: int = 0o600) -> None:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
        try:
            written = 0
            while written < len(data):
                written += os.write(descriptor, data[written:])
        finally:
            os.close(descriptor)

    def overwrite(self, path: str, data: bytes) -> None:
        descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            padded = data.ljust(os.fstat(descriptor).st_size)
            if os.write(descriptor, padded) != len(padded):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)
        finally:
            os.close(descriptor)

    def exists(self, path: str) -> bool:
        return os.path.lexists(path)

    def listdir(self, path: str) -> list[str]:
        return os.listdir(path)

    def folders(self, path: str) -> list[str]:
        with os.scandir(path) as entries:
            return [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]

    def mkdir(self, path: str, mode: int = 0o755, *, parents: bool = True) -> bool:
        try:
            os.mkdir(path, mode)
        except FileExistsError:
            return False
        except FileNotFoundError:
            if not parents:
                raise
            os.makedirs(path, mode, exist_ok=True)
        return True

    def rmdir(self, path: str) -> None:
        os.rmdir(path)

    def symlink(self, target: str, path: str) -> None:
        os.symlink(target, path)

    def unlink(self, path: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)

    def rmtree(self, path: str) -> None:
        try:
            device = os.lstat(path).st_dev
        except FileNotFoundError:
            return
        _remove_tree(path, device)

    def mount(self, source: str, target: str, fstype: str = "none", flags: int = 0, data: str = "") -> None:
        syscalls.mount(source, target, fstype, flags, data)

    def mount_idmapped(self, source: str, target: str, users: str, *, recursive: bool = False) -> None:
        syscalls.mount_idmapped(source, target, users, recursive)

    def chown(self, path: str, uid: int, gid: int) -> None:
        os.chown(path, uid, gid, follow_symlinks=False)

    def relabel(self, path: str, label: str) -> None:
        selinux.relabel(path, label)

    def umount(self, target: str, flags: int = MNT_DETACH) -> None:
        try:
            syscalls.umount2(target, flags)
        except OSError as error:
            # EINVAL: no mount point
            if error.errno not in (errno.EINVAL, errno.ENOENT):
                raise

    def chdir(self, path: str) -> None:
        os.chdir(path)

    def unshare(self, flags: int) -> None:
        syscalls.unshare(flags)

    def setns(self, path: str, kind: int = 0) -> None:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            syscalls.setns(descriptor, kind)
        finally:
            os.close(descriptor)

    def sethostname(self, name: str) -> None:
        syscalls.sethostname(name)

    def loopback_up(self) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as control:
            request = fcntl.ioctl(control, _SIOCGIFFLAGS, struct.pack("16sh22x", b"lo", 0))
            flags = struct.unpack_from("16xh", request)[0]
            fcntl.ioctl(control, _SIOCSIFFLAGS, struct.pack("16sh22x", b"lo", flags | _IFF_UP))

    def spawn(
        self,
        argv: Sequence[str],
        env: Mapping[str, str],
        redirects: Sequence[Redirect] = (),
        *,
        session: bool = False,
        program: str = "",
    ) -> int:
        # posix_spawn, never fork: a fork copies the page tables of the whole agent (10 ms at 300 MB)
        redirected = {redirect.target for redirect in redirects}
        files: list[Opened | Handed] = [
            Opened(target, _DEV_NULL, os.O_RDWR, 0) for target in (0, 1, 2) if target not in redirected
        ]
        for redirect in redirects:
            if redirect.path:
                files.append(Opened(redirect.target, redirect.path, redirect.flags, 0o600))
            else:
                files.append(Handed(redirect.target, redirect.source))
        return syscalls.posix_spawn(program or argv[0], argv, env, files, _DEFAULT_SIGNALS, session=session)

    def identity(self, pid: int) -> Identity | None:
        try:
            text = self.read(f"/proc/{pid}/stat")
        except (FileNotFoundError, ProcessLookupError):
            return None
        # the command's name, in parentheses, may hold blanks and parentheses itself
        fields = text[text.rindex(")") + 2 :].split()
        return None if fields[0] in ("Z", "X") else Identity(pid, int(fields[19]))

    def pidfd_open(self, pid: int) -> int:
        return os.pidfd_open(pid)

    def kill(self, process: Identity, signal: int) -> bool:
        try:
            descriptor = os.pidfd_open(process.pid)
        except (ProcessLookupError, OSError):
            return False
        try:
            # compared after opening: the descriptor holds on to whoever it was at that time
            if self.identity(process.pid) != process:
                return False
            _pidfd_send_signal(descriptor, signal)
        except ProcessLookupError:
            return False
        finally:
            os.close(descriptor)
        return True


def _pidfd_send_signal(descriptor: int, number: int) -> None:
    signal.pidfd_send_signal(descriptor, number)


def _sync_folder(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove_tree(path: str, device: int) -> None:
    """Depth first with its own stack, so that a container cannot make it recurse without end."""
    folders = [path]
    found: list[str] = []
    while folders:
        folder = folders.pop()
        found.append(folder)
        with os.scandir(folder) as entries:
            for entry in entries:
                if not entry.is_dir(follow_symlinks=False):
                    os.unlink(entry.path)
                elif entry.stat(follow_symlinks=False).st_dev == device:
                    folders.append(entry.path)
    for folder in reversed(found):
        os.rmdir(folder)
