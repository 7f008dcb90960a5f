"""The agent's own mount namespace: made once per cluster, pinned, and entered again after a restart.

In it live all overlays, the pins of the Pods' namespaces, what need not outlive the machine's power (in memory), the
read-only bind of crun, and on hybrid machines the v1 hierarchies that crun asks for; the machine's own mount table stays as it was. It is a slave of the machine's
namespace (new mounts of the machine are seen) and shared within itself, so that Bidirectional volumes work between
Pods of this node but never reach the machine.

Invariant: entered before any thread that works for the runtime exists: threads and children inherit it, others do not.
"""

from __future__ import annotations

import errno
import os
import shutil
import threading

from carob.host.cgroup import claim_hybrid
from carob.host.types import (
    CLONE_FS,
    CLONE_NEWNS,
    MS_BIND,
    MS_NODEV,
    MS_NOEXEC,
    MS_NOSUID,
    MS_PRIVATE,
    MS_RDONLY,
    MS_REC,
    MS_REMOUNT,
    MS_SHARED,
    MS_SLAVE,
    Host,
)
from carob.runtime.embedded.places import Places
from carob.runtime.types import RuntimeFailure

_BIN = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def find_tool(name: str) -> str:
    """Where a program of the distribution is. Raises: RuntimeFailure that says which is missing."""
    path = shutil.which(name, path=os.environ.get("PATH", "") + ":" + _BIN)
    if path is None:
        raise RuntimeFailure(f"{name} is not installed; `carob doctor --fix` installs it")
    return os.path.realpath(path)


def enter(host: Host, places: Places) -> None:
    """Move the calling thread, and all that it starts later, into the cluster's mount namespace; made at the first time.

    A process calls it before it starts threads. Raises: RuntimeFailure when rights or tools are missing.
    """
    pin = places.mount_namespace
    folder = os.path.dirname(pin)
    # only the first time: a mount namespace cannot be seen from inside of itself, so the pin is found by its name
    host.mkdir(folder)
    try:
        if folder not in _mount_points(host):
            host.mount(folder, folder, flags=MS_BIND)
            host.mount("none", folder, flags=MS_PRIVATE)
        if pin not in _mount_points(host):
            _make(host, pin)
        host.unshare(CLONE_FS)
        host.setns(pin, CLONE_NEWNS)
    except OSError as error:
        raise RuntimeFailure(f"cannot enter the mount namespace {pin}: {error}") from error
    _prepare(host, places)


def _make(host: Host, pin: str) -> None:
    """A thread unshares, this one binds the new namespace's file: it cannot be bound from within.

    The kernel refuses (EINVAL) a namespace that looks older than the one it is bound in, and since Linux 6.18 each
    processor numbers namespaces on its own: so every processor is tried.
    """
    host.create(pin)
    processors: list[int | None] = [None, *sorted(os.sched_getaffinity(0))]
    for processor in processors:
        try:
            _make_on(host, pin, processor)
            return
        except OSError as error:
            if error.errno != errno.EINVAL or processor == processors[-1]:
                raise


def _make_on(host: Host, pin: str, processor: int | None) -> None:
    unshared, bound = threading.Event(), threading.Event()
    failures: list[OSError] = []
    thread_id = 0

    def body() -> None:
        nonlocal thread_id
        thread_id = threading.get_native_id()
        try:
            if processor is not None:
                os.sched_setaffinity(0, {processor})
            host.unshare(CLONE_NEWNS)
        except OSError as error:
            failures.append(error)
        unshared.set()
        bound.wait()

    thread = threading.Thread(target=body, name="carob-mount-namespace")
    thread.start()
    unshared.wait()
    try:
        if failures:
            raise failures[0]
        host.mount(f"/proc/self/task/{thread_id}/ns/mnt", pin, flags=MS_BIND)
    finally:
        bound.set()
        thread.join()


def _prepare(host: Host, places: Places) -> None:
    """Idempotent, so that a start that was cut short is made good by the next."""
    mounted = _mount_points(host)
    bin_folder = os.path.dirname(places.crun)
    for folder in places.folders():
        host.mkdir(folder, 0o711)
    host.mkdir(bin_folder)
    if bin_folder not in mounted:
        host.mount("none", "/", flags=MS_REC | MS_SLAVE)
        host.mount("none", "/", flags=MS_REC | MS_SHARED)
        for folder in places.in_memory():
            host.mount("tmpfs", folder, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=711")
            # where containers come and go nothing is shared: each mount would be copied into every namespace
            host.mount("none", folder, flags=MS_PRIVATE)
        _private_cgroups(host)
        host.mount("tmpfs", bin_folder, "tmpfs", 0, "mode=755,size=16k")
    claim_hybrid(host)
    if places.crun not in mounted:
        host.create(places.crun)
        host.mount(find_tool("crun"), places.crun, flags=MS_BIND)
        host.mount("none", places.crun, flags=MS_BIND | MS_REMOUNT | MS_RDONLY)


def _private_cgroups(host: Host) -> None:
    for point in _mount_points(host):
        if point == "/sys/fs/cgroup" or point.startswith("/sys/fs/cgroup/"):
            host.mount("none", point, flags=MS_PRIVATE)


def _mount_points(host: Host) -> list[str]:
    return [line.split(" ")[4] for line in host.read("/proc/thread-self/mountinfo").splitlines()]
