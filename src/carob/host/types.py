"""The one door to the kernel: what the runtime and the network ask of the machine below them.

Verbs carry the kernel's names and raise OSError as the kernel does, with the path in it. They block; whoever runs on
the event loop calls the slow ones (mount, umount, rmtree) in a thread of its own. `RealHost` does it, `FakeHost`
records it over files in memory, `FaultyHost` makes the nth call of any host fail.

Invariant: nothing above this room makes a system call that changes the machine except through a `Host`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

MS_RDONLY = 1
MS_NOSUID = 2
MS_NODEV = 4
MS_NOEXEC = 8
MS_REMOUNT = 32
MS_BIND = 4096
MS_REC = 16384
MS_PRIVATE = 1 << 18
MS_SLAVE = 1 << 19
MS_SHARED = 1 << 20
MNT_DETACH = 2

CLONE_FS = 0x200
CLONE_NEWNS = 0x20000
CLONE_NEWCGROUP = 0x2000000
CLONE_NEWUTS = 0x4000000
CLONE_NEWIPC = 0x8000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000


class Identity(NamedTuple):
    """A process that can be told from a later one with the same number.

    `start_ticks` is field 22 of `/proc/<pid>/stat`: clock ticks since the machine started.
    """

    pid: int
    start_ticks: int


class Redirect(NamedTuple):
    """`target` of the new process is our `source`, or the file at `path` opened with `flags`."""

    target: int
    source: int = -1
    path: str = ""
    flags: int = 0


class Host(Protocol):
    """Files, mounts, namespaces and processes of one machine."""

    def read(self, path: str) -> str:
        """The text of a small file."""
        ...

    def write(self, path: str, text: str) -> None:
        """Into an existing file, in one write, as files of the kernel want it."""
        ...

    def write_atomic(self, path: str, data: bytes, *, mode: int = 0o600, sync: bool = False) -> None:
        """All or nothing: a reader sees the old bytes or the new; with `sync` also after a power cut."""
        ...

    def create(self, path: str, data: bytes = b"", *, mode: int = 0o600) -> None:
        """A file that nobody reads before it is whole; an old one is replaced in place."""
        ...

    def overwrite(self, path: str, data: bytes) -> None:
        """An existing file of text, from its start, in one write; blanks follow where the old text was longer.

        Killed at any time, the old text or the new stands there; ten times cheaper than `write_atomic`, which makes
        ext4 write the old file out.
        """
        ...

    def exists(self, path: str) -> bool: ...

    def listdir(self, path: str) -> list[str]: ...

    def folders(self, path: str) -> list[str]:
        """Names of the folders in it."""
        ...

    def mkdir(self, path: str, mode: int = 0o755, *, parents: bool = True) -> bool:
        """Make the folder and those above it; False when it was there."""
        ...

    def rmdir(self, path: str) -> None: ...

    def symlink(self, target: str, path: str) -> None: ...

    def unlink(self, path: str) -> None:
        """Succeeds when there is no such file."""
        ...

    def rmtree(self, path: str) -> None:
        """The folder and all in it, never crossing into another file system; succeeds when there is none."""
        ...

    def mount(self, source: str, target: str, fstype: str = "none", flags: int = 0, data: str = "") -> None: ...

    def mount_idmapped(self, source: str, target: str, users: str, *, recursive: bool = False) -> None:
        """`source` seen at `target` with its owners mapped as the user namespace of the file `users` does.

        Raises: OSError (EINVAL) where a file system of the kernel cannot. Source: mount_setattr(2), since Linux 5.12.
        """
        ...

    def chown(self, path: str, uid: int, gid: int) -> None: ...

    def relabel(self, path: str, label: str) -> None:
        """Give a file, or a folder and all in it, this label of SELinux. See `carob.host.selinux.relabel`."""
        ...

    def umount(self, target: str, flags: int = MNT_DETACH) -> None:
        """Succeeds when nothing is mounted there."""
        ...

    def chdir(self, path: str) -> None:
        """Only in a thread that has unshared CLONE_FS."""
        ...

    def unshare(self, flags: int) -> None:
        """Of the calling thread."""
        ...

    def setns(self, path: str, kind: int = 0) -> None:
        """The calling thread joins the namespace that the file stands for."""
        ...

    def sethostname(self, name: str) -> None: ...

    def loopback_up(self) -> None:
        """`lo` of the calling thread's network namespace."""
        ...

    def spawn(
        self,
        argv: Sequence[str],
        env: Mapping[str, str],
        redirects: Sequence[Redirect] = (),
        *,
        session: bool = False,
        program: str = "",
    ) -> int:
        """The pid of a new child; descriptors 0, 1, 2 are /dev/null unless redirected.

        `program` is the file to execute where `argv[0]` is only the name to show. `session` makes it the leader of a new session, so that signals to our terminal pass it by.
        """
        ...

    def identity(self, pid: int) -> Identity | None:
        """None when there is no such process, or only its remains (a zombie)."""
        ...

    def pidfd_open(self, pid: int) -> int: ...

    def kill(self, process: Identity, signal: int) -> bool:
        """Signal exactly this process, never a later one with its number; False when it is gone."""
        ...
