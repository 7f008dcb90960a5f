"""Making and unmaking what the containers of a Pod share: namespaces, pause process, shared memory, control group.

Blocking. `make` runs in a throw-away thread, which itself becomes the first inhabitant of the new namespaces; what it
spawns is born in them. `stop` and `remove` may run in any thread and are idempotent.

Invariant: a failed `make` leaves nothing behind, or says what it could not remove.
"""

from __future__ import annotations

import os
import select
import signal
from collections.abc import Callable, Iterator
from contextlib import suppress

from carob.base.log import get_logger, pairs
from carob.host.cgroup import Cgroups
from carob.host.types import (
    CLONE_NEWIPC,
    CLONE_NEWNET,
    CLONE_NEWPID,
    CLONE_NEWUTS,
    MS_BIND,
    MS_NODEV,
    MS_NOEXEC,
    MS_NOSUID,
    Host,
    Identity,
)
from carob.runtime.embedded import user_namespaces
from carob.runtime.embedded.places import Places
from carob.runtime.embedded.records import Phase, SandboxRecord, identity
from carob.runtime.limits import limits
from carob.runtime.types import (
    DnsConfig,
    NamespaceMode,
    NetworkRequest,
    PodNetwork,
    RuntimeFailure,
    SandboxConfig,
    UserNamespace,
)

_log = get_logger("runtime")
PINS = ("net", "uts", "ipc", "pid", "user")
_END_TIMEOUT_SECONDS = 10.0
# Source: containerd's enable_unprivileged_ports and enable_unprivileged_icmp, both on by default.
_NETWORK_SYSCTLS = {"net.ipv4.ip_unprivileged_port_start": "0", "net.ipv4.ping_group_range": "0 2147483647"}


def own_namespaces(config: SandboxConfig) -> list[tuple[str, int]]:
    """Kinds (as in /proc/<pid>/ns) that the sandbox has for itself, with their clone flags.

    The host name goes with the network, as upstream: a Pod on the node's network has the node's name.
    """
    kinds = []
    if config.network is not NamespaceMode.NODE:
        kinds += [("net", CLONE_NEWNET), ("uts", CLONE_NEWUTS)]
    if config.ipc is not NamespaceMode.NODE:
        kinds.append(("ipc", CLONE_NEWIPC))
    return kinds


def resolv_conf(dns: DnsConfig) -> str:
    """The text of /etc/resolv.conf; resolv.conf(5)."""
    lines = [f"search {' '.join(dns.searches)}"] if dns.searches else []
    lines += [f"nameserver {server}" for server in dns.servers]
    if dns.options:
        lines.append(f"options {' '.join(dns.options)}")
    return "\n".join(lines) + "\n"


class Sandboxes:
    """The blocking half of the sandbox verbs."""

    def __init__(
        self,
        host: Host,
        places: Places,
        cgroups: Cgroups,
        network: PodNetwork,
        pause: str,
        later: Callable[[Callable[[], None]], None],
    ) -> None:
        self._host = host
        self._places = places
        self._cgroups = cgroups
        self._network = network
        self._pause = pause
        self._later = later

    def request(self, record: SandboxRecord) -> NetworkRequest:
        """What the Pod network is asked with, the same at attach and detach."""
        config = record.config
        return NetworkRequest(
            sandbox_id=record.id,
            namespace=config.namespace,
            name=config.name,
            uid=config.uid,
            port_mappings=tuple(config.port_mappings),
            annotations=config.annotations,
            netns_path=self._places.namespace(record.id, "net"),
        )

    def cgroup(self, record: SandboxRecord) -> str:
        """The pause process's group: the Pod's own, or where that may hold no process a leaf in it."""
        return self._cgroups.leaf(record.config.cgroup_parent, record.id)

    def make(self, record: SandboxRecord) -> None:
        """Fill `record.ips` and `record.pause`. Raises: RuntimeFailure, with nothing left or `cleanup` naming it."""
        try:
            self._make(record)
        except Exception as error:
            left = self.stop(record) + self.remove(record)
            reason = error.reason if isinstance(error, RuntimeFailure) else ""
            message = f"failed to create sandbox of Pod {record.config.namespace}/{record.config.name}: {error}"
            raise RuntimeFailure(message, reason, left) from error

    def _make(self, record: SandboxRecord) -> None:
        host, config = self._host, record.config
        self._cgroups.create(config.cgroup_parent, limits(config.resources))
        folder = self._places.sandbox(record.id)
        host.mkdir(f"{folder}/ns")
        self._write_files(folder, config)
        kinds = own_namespaces(config)
        if config.users is not None:
            self._begin_with_users(record, config.users, kinds)
        else:
            flags = 0
            for _, flag in kinds:
                flags |= flag
            host.unshare(flags)
            for kind, _ in kinds:
                self._pin(f"/proc/thread-self/ns/{kind}", record.id, kind)
            self._spawn_pause(record)
        if config.network is not NamespaceMode.NODE:
            host.sethostname(config.hostname or config.name)
            host.loopback_up()
        self._sysctls(config)
        if config.ipc is not NamespaceMode.NODE:
            host.mkdir(f"{folder}/shm")
            shared = MS_NOSUID | MS_NODEV | MS_NOEXEC
            owner = f",uid={config.users.first_id},gid={config.users.first_id}" if config.users is not None else ""
            host.mount("shm", f"{folder}/shm", "tmpfs", shared, f"mode=1777,size={config.shm_size}{owner}")
        if config.network is not NamespaceMode.NODE:
            record.network = True
            record.ips = list(self._network.attach(self.request(record)))

    def _write_files(self, folder: str, config: SandboxConfig) -> None:
        if config.network is not NamespaceMode.NODE:
            self._host.create(f"{folder}/hostname", f"{config.hostname or config.name}\n".encode(), mode=0o644)
        if config.dns is not None:
            self._host.create(f"{folder}/resolv.conf", resolv_conf(config.dns).encode(), mode=0o644)

    def _pin(self, source: str, sandbox_id: str, kind: str) -> None:
        target = self._places.namespace(sandbox_id, kind)
        self._host.create(target)
        self._host.mount(source, target, flags=MS_BIND)

    def _sysctls(self, config: SandboxConfig) -> None:
        wanted = dict(_NETWORK_SYSCTLS) if config.network is not NamespaceMode.NODE else {}
        wanted.update(config.sysctls)
        for name, value in wanted.items():
            path = "/proc/sys/" + name.replace(".", "/")
            if name in _NETWORK_SYSCTLS and name not in config.sysctls and not self._host.exists(path):
                continue
            self._host.write(path, value)

    def _begin_with_users(self, record: SandboxRecord, users: UserNamespace, kinds: list[tuple[str, int]]) -> None:
        """The pause process makes the namespaces, because they are to belong to its users; this thread joins them."""
        host, shared_pids = self._host, record.config.pid is NamespaceMode.POD
        user_namespaces.check_reach(self._places.containers)
        flags = CLONE_NEWPID if shared_pids else 0
        for _, flag in kinds:
            flags |= flag
        leaf = self.cgroup(record)
        if leaf != record.config.cgroup_parent:
            self._cgroups.create(leaf)
        found = user_namespaces.begin(
            host, users, flags, self._pause, self._pause_name(record), lambda pid: self._cgroups.attach(leaf, pid)
        )
        record.pause = (found.pid, found.start_ticks)
        for kind in ("user", *(kind for kind, _ in kinds), *(("pid",) if shared_pids else ())):
            self._pin(f"/proc/{found.pid}/ns/{kind}", record.id, kind)
        for kind, flag in kinds:
            host.setns(self._places.namespace(record.id, kind), flag)

    def _spawn_pause(self, record: SandboxRecord) -> None:
        shared_pids = record.config.pid is NamespaceMode.POD
        if shared_pids:
            self._host.unshare(CLONE_NEWPID)
        leaf = self.cgroup(record)
        if leaf != record.config.cgroup_parent:
            self._cgroups.create(leaf)
        # the name that it shows leads to the sandbox, so that it can be found without its record
        pid = self._host.spawn([self._pause_name(record), "-P"], {}, session=True, program=self._pause)
        found = self._host.identity(pid)
        if found is None:
            raise RuntimeFailure("the pause process ended at once")
        record.pause = (found.pid, found.start_ticks)
        # the first move between groups after a while waits 5 to 10 ms for the kernel; crun's own moves then need not
        self._later(lambda: self._attach(leaf, found))
        if shared_pids:
            self._pin(f"/proc/{pid}/ns/pid", record.id, "pid")
            self._host.setns("/proc/self/ns/pid", CLONE_NEWPID)  # what the network spawns is not the Pod's

    def _attach(self, leaf: str, pause: Identity) -> None:
        try:
            self._cgroups.attach(leaf, pause.pid)
        except OSError as error:
            if self._host.identity(pause.pid) == pause:
                _log.warning("pause process cannot be moved: %s", pairs(group=leaf, error=error))

    def stop(self, record: SandboxRecord) -> list[str]:
        """End the pause process and free namespaces, addresses and shared memory; what could not be freed."""
        folder = self._places.sandbox(record.id)
        steps: list[tuple[str, Callable[[], None]]] = [("pause process", lambda: self._end_pause(record))]
        if record.network:
            steps.append(("network", lambda: self._network.detach(self.request(record))))
        # the veth is never deleted by name (27 ms each): it goes with its namespace, many in one batch
        steps.append(("namespaces", lambda: self._unpin(record.id)))
        steps.append(("shared memory", lambda: self._unmount(f"{folder}/shm")))
        failed = list(_failures(steps))
        if not failed:
            record.network = False
        return failed

    def remove(self, record: SandboxRecord) -> list[str]:
        """Remove folder and control group of a stopped sandbox; what could not be removed."""
        steps: list[tuple[str, Callable[[], None]]] = [
            ("folder", lambda: self._host.rmtree(self._places.sandbox(record.id))),
            ("cgroup", lambda: self._remove_cgroup(record)),
        ]
        return list(_failures(steps))

    def _remove_cgroup(self, record: SandboxRecord) -> None:
        if self.cgroup(record) != record.config.cgroup_parent:
            self._cgroups.remove(self.cgroup(record))
        # a newer sandbox of the same Pod may live there already
        self._cgroups.remove_if_empty(record.config.cgroup_parent)

    def _unpin(self, sandbox_id: str) -> None:
        for kind in PINS:
            path = self._places.namespace(sandbox_id, kind)
            self._host.umount(path)
            self._host.unlink(path)

    def _unmount(self, path: str) -> None:
        self._host.umount(path)

    def _end_pause(self, record: SandboxRecord) -> None:
        pause = identity(record.pause) or self._unrecorded_pause(record)
        if pause is not None:
            end_process(self._host, pause)

    def _pause_name(self, record: SandboxRecord) -> str:
        return f"{self._places.sandbox(record.id)}/pause"

    def _unrecorded_pause(self, record: SandboxRecord) -> Identity | None:
        """Spawned by an agent that was killed before it could write so, or even before it was moved to its group."""
        pids = self._cgroups.pids(self.cgroup(record))
        if record.phase is Phase.MAKING:
            pids += [int(name) for name in self._host.listdir("/proc") if name.isdigit()]
        for pid in pids:
            with suppress(OSError):
                if self._host.read(f"/proc/{pid}/cmdline").startswith(self._pause_name(record) + "\0"):
                    return self._host.identity(pid)
        return None


def end_process(host: Host, process: Identity, patience_seconds: float = 0.0) -> None:
    """Give it time to end by itself, then SIGKILL, and wait until it is gone. Raises: TimeoutError."""
    try:
        descriptor = host.pidfd_open(process.pid)
    except OSError:
        return
    try:
        waiter = select.poll()
        waiter.register(descriptor, select.POLLIN)
        if host.identity(process.pid) != process:
            return
        if not waiter.poll(patience_seconds * 1000):
            host.kill(process, signal.SIGKILL)
        if not waiter.poll(_END_TIMEOUT_SECONDS * 1000):
            raise TimeoutError(f"process {process.pid} did not end after SIGKILL")
        # a child of this agent leaves a zombie, an earlier agent's child does not
        with suppress(ChildProcessError):
            os.waitpid(process.pid, os.WNOHANG)
    finally:
        os.close(descriptor)


def _failures(steps: list[tuple[str, Callable[[], None]]]) -> Iterator[str]:
    """Take every step, whatever became of those before; one line for each that failed."""
    for name, step in steps:
        try:
            step()
        except Exception as error:  # noqa: BLE001 - it is told, and the clean-up goes on
            yield f"{name}: {error}"
