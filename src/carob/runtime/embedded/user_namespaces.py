"""User namespaces of sandboxes: root in the Pod is nobody on the machine. Blocking.

The namespace's ids 0 to `count` are the machine's `first_id` and up; network, host name, IPC and process ids of the
Pod belong to it, so that its root may use them as root does. Files keep the ids that they have on the disk: layers and
volumes are mounted with the same map (`mount_setattr(2)`, MOUNT_ATTR_IDMAP), nothing is changed owner.
Source: KEP-127; user_namespaces(7).
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from carob.host.types import Redirect
from carob.runtime.embedded import user_namespace_child
from carob.runtime.types import RuntimeFailure

if TYPE_CHECKING:
    from collections.abc import Callable

    from carob.host.types import Host, Identity
    from carob.runtime.types import UserNamespace

_MAX_WORDS_BYTES = 4096


def begin(
    host: Host, users: UserNamespace, flags: int, pause: str, name: str, attach: Callable[[int], None]
) -> Identity:
    """Start a pause process in namespaces of its own, a user namespace among them.

    `attach` is given the pid of the process that will be its parent, before it has children: they are born where it is.
    Raises: RuntimeFailure; OSError. Nothing is then left but what ends by itself.
    """
    program = user_namespace_child.__file__
    hear, their_say = os.pipe2(os.O_CLOEXEC)
    their_hear, say = os.pipe2(os.O_CLOEXEC)
    complaint, their_complaint = os.pipe2(os.O_CLOEXEC)
    pid = 0
    try:
        try:
            redirects = [Redirect(3, their_say), Redirect(4, their_hear), Redirect(2, their_complaint)]
            argv = [sys.executable, "-I", "-S", program, str(flags), pause, name]
            pid = host.spawn(argv, {}, redirects, session=True)
        finally:
            for descriptor in (their_say, their_hear, their_complaint):
                os.close(descriptor)
        _hear(hear, complaint)
        mapping = f"0 {users.first_id} {users.count}"
        host.write(f"/proc/{pid}/uid_map", mapping)
        host.write(f"/proc/{pid}/gid_map", mapping)
        attach(pid)
        os.write(say, b"m")
        found = host.identity(int(_hear(hear, complaint)))
    finally:
        for descriptor in (hear, say, complaint):
            os.close(descriptor)
        if pid:
            # without an answer from us it ends
            os.waitpid(pid, 0)
    if found is None:
        raise RuntimeFailure("the pause process ended at once")
    return found


def check_reach(path: str) -> None:
    """Who is root in such a namespace is nobody on the machine, and must get to its files. Raises: RuntimeFailure."""
    folder = path
    while folder != "/":
        if not os.stat(folder).st_mode & 0o001:
            raise RuntimeFailure(
                f"user namespaces need {folder}, where the Pod's files lie, to be open to others (o+x)"
            )
        folder = os.path.dirname(folder)


def _hear(descriptor: int, complaint: int) -> str:
    said = os.read(descriptor, _MAX_WORDS_BYTES).decode()
    if not said:
        why = os.read(complaint, _MAX_WORDS_BYTES).decode(errors="replace").strip()
        raise RuntimeFailure(f"failed to create a user namespace: {why}")
    return said
