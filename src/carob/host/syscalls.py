"""System calls that Python 3.11 lacks, by ctypes. Each raises OSError with the path it was about.

Only `carob.host` calls these; the numbers of system calls here are the same on x86-64 and arm64.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

_libc = ctypes.CDLL(None, use_errno=True)

_NR_OPEN_TREE = 428
_NR_MOVE_MOUNT = 429
_NR_OPENAT2 = 437
_NR_MOUNT_SETATTR = 442
_OPEN_TREE_CLONE = 1
_AT_FDCWD = -100
_AT_EMPTY_PATH = 0x1000
_AT_RECURSIVE = 0x8000
_MOVE_MOUNT_F_EMPTY_PATH = 4
_MOUNT_ATTR_IDMAP = 0x100000
_RESOLVE_IN_ROOT = 0x10

# <spawn.h>
_SPAWN_SETSIGDEF = 0x04
_SPAWN_SETSIGMASK = 0x08
_SPAWN_SETSID = 0x80
_SPAWN_BYTES = 1024
"""More than any C library's posix_spawnattr_t, posix_spawn_file_actions_t and sigset_t."""

IN_MODIFY = 0x2
IN_CLOSE_WRITE = 0x8
IN_MOVED_FROM = 0x40
IN_MOVED_TO = 0x80
IN_CREATE = 0x100
IN_DELETE = 0x200
IN_Q_OVERFLOW = 0x4000
IN_ONLYDIR = 0x01000000
_IN_NONBLOCK = os.O_NONBLOCK
_IN_CLOEXEC = os.O_CLOEXEC


def _checked(result: int, path: str = "") -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), path or None)
    return int(result)


class Opened(NamedTuple):
    """What a new process finds open at `target`, with `mode` if it is made."""

    target: int
    path: str
    flags: int
    mode: int


class Handed(NamedTuple):
    """What a new process finds open at `target`: our `source`."""

    target: int
    source: int


def posix_spawn(
    program: str,
    argv: Sequence[str],
    env: Mapping[str, str],
    files: Sequence[Opened | Handed],
    default_signals: Sequence[int],
    *,
    session: bool,
) -> int:
    """posix_spawn(3) with no signal blocked: the pid.

    Unlike Python's own it lets other threads run until the new program does, which takes a while on a busy machine.
    """
    actions, attributes, signals = (ctypes.create_string_buffer(_SPAWN_BYTES) for _ in range(3))
    pid = ctypes.c_int()
    _succeeded(_libc.posix_spawn_file_actions_init(actions))
    _succeeded(_libc.posix_spawnattr_init(attributes))
    try:
        for file in files:
            if isinstance(file, Opened):
                path = os.fsencode(file.path)
                made = _libc.posix_spawn_file_actions_addopen(actions, file.target, path, file.flags, file.mode)
            else:
                # onto itself: it stays open (since glibc 2.29)
                made = _libc.posix_spawn_file_actions_adddup2(actions, file.source, file.target)
            _succeeded(made)
        flags = _SPAWN_SETSIGDEF | _SPAWN_SETSIGMASK | (_SPAWN_SETSID if session else 0)
        _succeeded(_libc.posix_spawnattr_setflags(attributes, ctypes.c_short(flags)))
        _libc.sigemptyset(signals)
        _succeeded(_libc.posix_spawnattr_setsigmask(attributes, signals))
        for number in default_signals:
            _libc.sigaddset(signals, number)
        _succeeded(_libc.posix_spawnattr_setsigdefault(attributes, signals))
        words = _strings(os.fsencode(word) for word in argv)
        variables = _strings(os.fsencode(f"{name}={value}") for name, value in env.items())
        path = os.fsencode(program)
        _succeeded(_libc.posix_spawn(ctypes.byref(pid), path, actions, attributes, words, variables), program)
    finally:
        _libc.posix_spawn_file_actions_destroy(actions)
        _libc.posix_spawnattr_destroy(attributes)
    return pid.value


def _strings(texts: Iterable[bytes]) -> ctypes.Array[ctypes.c_char_p]:
    """As C has them: with a null pointer at the end."""
    every = [*texts, None]
    return (ctypes.c_char_p * len(every))(*every)


def _succeeded(number: int, path: str = "") -> None:
    """For functions that answer with the error's number."""
    if number:
        raise OSError(number, os.strerror(number), path or None)


def mount(source: str, target: str, fstype: str, flags: int, data: str) -> None:
    """mount(2)."""
    payload = data.encode() or None
    answer = _libc.mount(os.fsencode(source), os.fsencode(target), fstype.encode(), ctypes.c_ulong(flags), payload)
    try:
        _checked(answer, target)
    except OSError as error:
        error.add_note(f"mount of {fstype} {source} with {data[:200]!r}")
        raise


def umount2(target: str, flags: int) -> None:
    """umount2(2)."""
    _checked(_libc.umount2(os.fsencode(target), flags), target)


def unshare(flags: int) -> None:
    """unshare(2) of the calling thread."""
    _checked(_libc.unshare(flags))


def setns(descriptor: int, kind: int) -> None:
    """setns(2) of the calling thread."""
    _checked(_libc.setns(descriptor, kind))


def sethostname(name: str) -> None:
    """sethostname(2) in the UTS namespace of the calling thread."""
    encoded = name.encode()
    _checked(_libc.sethostname(encoded, ctypes.c_size_t(len(encoded))))


def syncfs(descriptor: int) -> None:
    """syncfs(2): everything written to the file system of an open file is on the disk."""
    _checked(_libc.syncfs(descriptor))


def inotify_init() -> int:
    """A non-blocking inotify descriptor."""
    return _checked(_libc.inotify_init1(_IN_NONBLOCK | _IN_CLOEXEC))


def inotify_add_watch(descriptor: int, path: str, mask: int) -> int:
    """The number of the watch."""
    return _checked(_libc.inotify_add_watch(descriptor, os.fsencode(path), ctypes.c_uint32(mask)), path)


def _call(number: int, *arguments: int | bytes, path: str = "") -> int:
    words = [ctypes.c_char_p(a) if isinstance(a, bytes) else ctypes.c_long(a) for a in arguments]
    return _checked(_libc.syscall(ctypes.c_long(number), *words), path)


def mount_idmapped(source: str, target: str, users: str, recursive: bool) -> None:
    """Bind `source` onto `target` with the id map of a user namespace. Source: open_tree(2), mount_setattr(2)."""
    below = _AT_RECURSIVE if recursive else 0
    namespace = os.open(users, os.O_RDONLY | os.O_CLOEXEC)
    try:
        flags = _OPEN_TREE_CLONE | os.O_CLOEXEC | below
        tree = _call(_NR_OPEN_TREE, _AT_FDCWD, os.fsencode(source), flags, path=source)
        try:
            attributes = struct.pack("QQQQ", _MOUNT_ATTR_IDMAP, 0, 0, namespace)
            _call(_NR_MOUNT_SETATTR, tree, b"", _AT_EMPTY_PATH | below, attributes, len(attributes), path=source)
            _call(_NR_MOVE_MOUNT, tree, b"", _AT_FDCWD, os.fsencode(target), _MOVE_MOUNT_F_EMPTY_PATH, path=target)
        finally:
            os.close(tree)
    finally:
        os.close(namespace)


def open_in_root(root: str, path: str, flags: int = os.O_RDONLY) -> int:
    """Open `path` as a process whose root is `root` would: no link leads outside.

    Raises: OSError. Source: openat2(2), RESOLVE_IN_ROOT.
    """
    folder = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        how = struct.pack("QQQ", flags | os.O_CLOEXEC, 0, _RESOLVE_IN_ROOT)
        answer = -1
        for _ in range(8):  # the kernel says EAGAIN when something is renamed at the same time
            answer = _libc.syscall(
                ctypes.c_long(_NR_OPENAT2), folder, os.fsencode(path), ctypes.c_char_p(how), ctypes.c_size_t(len(how))
            )
            if answer >= 0 or ctypes.get_errno() != errno.EAGAIN:
                break
        return _checked(answer, path)
    finally:
        os.close(folder)
