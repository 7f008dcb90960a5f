"""Leave the machine as it was: every process, mount, namespace pin and control group of one cluster, found by name.

Works without the agent, also after kill -9 of everything, from inside or outside of the agent's mount namespace, and
may be called again and again. Files in the state folder stay: whoever asked decides about data.

Found by: cgroups `/carob-<name>`, monitors whose command line names the cluster's folders, mounts below them.
"""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Iterable
from contextlib import suppress

from carob.host import apparmor
from carob.host.apart import apart
from carob.host.cgroup import Cgroups, Layout, claim_hybrid, claimed_point, detect, unmounted
from carob.host.types import CLONE_NEWNS, MNT_DETACH, MS_REC, MS_SLAVE, Host, Identity
from carob.runtime.embedded.apparmor import NAME as DEFAULT_PROFILE

_ROUNDS = 20
_ROUND_SECONDS = 1.0
_GIVE_BACK_ROUNDS = 5
_GIVE_BACK_LOOKS = 20
_GIVE_BACK_SECONDS = 0.01


def remove_everything(host: Host, cluster_name: str, state_dir: str, run_dir: str) -> list[str]:
    """End and remove all that the cluster's runtime made on this machine; what could not be removed. Blocking.

    `state_dir` and `run_dir` are the cluster's folders; `run_dir` is removed, `state_dir` only freed of mounts.
    """
    folders = (state_dir, run_dir)
    left: list[str] = []
    cgroup = f"/carob-{cluster_name}"
    # in a mount namespace of our own every hierarchy can be seen, also those that only the agent had mounted
    apart(lambda: left.extend(_remove_cgroup(host, cgroup)), "carob-cleanup")
    left += _end_monitors(host, folders)
    _unmount_below(host, folders)
    with suppress(OSError):
        _give_back(host)
    try:
        host.rmtree(run_dir)
    except OSError as error:
        left.append(f"{run_dir}: {error}")
    return left


def _remove_cgroup(host: Host, path: str) -> list[str]:
    host.unshare(CLONE_NEWNS)
    host.mount("none", "/", flags=MS_REC | MS_SLAVE)
    with suppress(OSError):
        claim_hybrid(host, live=False)
    cgroups = Cgroups(host)
    for _ in range(_ROUNDS):
        inside = cgroups.pids(path)
        cgroups.kill(path)
        cgroups.kill_each(path)
        _wait_gone(host, inside)
        try:
            cgroups.remove(path)
        except OSError:
            continue
        if not [name for name in cgroups.children("") if name.startswith("carob-")]:
            # this was the last cluster
            with suppress(OSError):
                cgroups.take_back()
            with suppress(OSError):
                apparmor.forget(host, DEFAULT_PROFILE)
        return []
    return [f"control group {path}: processes {cgroups.pids(path)} do not end"]


def _end_monitors(host: Host, folders: Iterable[str]) -> list[str]:
    """conmon lives outside of the containers' groups; without its container it ends soon, with SIGKILL at once."""
    left: list[str] = []
    monitors = list(_monitors(host, folders))
    for monitor in monitors:
        host.kill(monitor, signal.SIGKILL)
    _wait_gone(host, [monitor.pid for monitor in monitors])
    left += [f"monitor process {m.pid}" for m in monitors if host.identity(m.pid) == m]
    return left


def _monitors(host: Host, folders: Iterable[str]) -> Iterable[Identity]:
    prefixes = tuple(f"{folder}/" for folder in folders)
    for name in host.listdir("/proc"):
        if not name.isdigit():
            continue
        with suppress(OSError):
            words = host.read(f"/proc/{name}/cmdline").split("\0")
            program = os.path.basename(words[0])
            # monitors, pause processes that no group holds yet, crun at work for an exec
            if program not in ("conmon", "crun", "pause") or not any(
                prefix in word for word in words for prefix in prefixes
            ):
                continue
            found = host.identity(int(name))
            if found is not None:
                yield found


def _wait_gone(host: Host, pids: Iterable[int]) -> None:
    """At most a second for all of them."""
    deadline = time.monotonic() + _ROUND_SECONDS
    for pid in pids:
        try:
            descriptor = host.pidfd_open(pid)
        except OSError:
            continue
        try:
            waiter = select.poll()
            waiter.register(descriptor, select.POLLIN)
            waiter.poll(max(0.0, deadline - time.monotonic()) * 1000)
            with suppress(ChildProcessError):  # only where the agent lived in this very process
                os.waitpid(pid, os.WNOHANG)
        finally:
            os.close(descriptor)


def _unmount_below(host: Host, folders: Iterable[str]) -> None:
    """Innermost first. Letting go of the pinned mount namespace frees all that was mounted in it."""
    prefixes = tuple(f"{folder}/" for folder in folders)
    for _ in range(_ROUNDS):
        points = [line.split(" ")[4] for line in host.read("/proc/thread-self/mountinfo").splitlines()]
        ours = [point for point in points if point.startswith(prefixes)]
        if not ours:
            return
        for point in reversed(ours):
            with suppress(OSError):
                host.umount(point, MNT_DETACH)


def _give_back(host: Host) -> None:
    """Let hierarchies that were claimed from cgroup2 go back to it, and remove the folders they were mounted on.

    The kernel gives one back some time after its last mount has gone, unless it still remembered a removed group then:
    in that case it is mounted and let go once more. Too early, that would claim it anew.
    """
    layout = detect(host)
    if layout.mode != "hybrid":
        return
    for _ in range(_GIVE_BACK_ROUNDS):
        lonely = _still_unmounted(host, layout)
        if not lonely or not _alone(host, layout, lonely):
            break
    for name in host.read(f"{layout.unified}/cgroup.controllers").split():
        if name not in layout.v1:
            with suppress(OSError):
                host.rmdir(claimed_point(layout, name))


def _still_unmounted(host: Host, layout: Layout) -> list[str]:
    """After giving the kernel time to take them back; it has no event for that."""
    lonely: list[str] = []
    for _ in range(_GIVE_BACK_LOOKS):
        lonely = unmounted(host, layout)
        if not lonely:
            break
        time.sleep(_GIVE_BACK_SECONDS)
    return lonely


def _alone(host: Host, layout: Layout, names: list[str]) -> bool:
    """Mount and let go; whether no other cluster has groups there."""
    children: list[str] = []

    def look() -> None:
        host.unshare(CLONE_NEWNS)
        host.mount("none", "/", flags=MS_REC | MS_SLAVE)
        claim_hybrid(host, live=False)
        for name in names:
            point = claimed_point(layout, name)
            children.extend(host.folders(point))

    apart(look, "carob-cleanup")
    return not children
