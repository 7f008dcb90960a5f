"""The first inhabitant of a user namespace, run as a program of its own: a process with threads cannot enter one.

    python user_namespace_child.py FLAGS PAUSE NAME

Unshares a user namespace, says so on descriptor 3, waits on descriptor 4 for a byte that tells that its ids are mapped,
becomes root in it, unshares the namespaces of FLAGS (which so belong to it), and leaves the pause process behind, whose
pid it says on descriptor 3. Imports as little as it can: a Pod waits for it.
"""

from __future__ import annotations

import ctypes
import os
import sys

_CLONE_NEWUSER = 0x10000000
_SAY, _HEAR = 3, 4


def _unshare(libc: ctypes.CDLL, flags: int) -> None:
    if libc.unshare(flags) != 0:
        number = ctypes.get_errno()
        sys.exit(f"unshare {flags:#x}: {os.strerror(number)}")


def main() -> None:
    """Ends with what went wrong on standard error."""
    flags, pause, name = int(sys.argv[1]), sys.argv[2], sys.argv[3]
    libc = ctypes.CDLL(None, use_errno=True)
    for descriptor in (_SAY, _HEAR):
        os.set_inheritable(descriptor, False)
    _unshare(libc, _CLONE_NEWUSER)
    os.write(_SAY, b"unshared\n")
    if os.read(_HEAR, 1) != b"m":
        sys.exit("nobody maps the ids")
    os.setgroups([])
    os.setresgid(0, 0, 0)
    os.setresuid(0, 0, 0)
    _unshare(libc, flags)
    # the first child is born in a new pid namespace; our own pid stays the machine's
    pid = os.fork()  # noqa: TID251 - a process of one thread that has nothing to copy
    if pid == 0:
        os.setsid()
        os.execv(pause, [name, "-P"])
    os.write(_SAY, f"{pid}\n".encode())


if __name__ == "__main__":
    main()
