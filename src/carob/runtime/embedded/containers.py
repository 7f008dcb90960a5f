"""The files and mounts of one container: made before crun is called, removed after its end. Blocking.

Invariant: `remove` succeeds on anything `prepare` may have left, however far it came.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from carob.base.log import get_logger, pairs
from carob.host import syscalls
from carob.host.cgroup import Cgroups
from carob.host.types import Host
from carob.runtime.embedded import capabilities, cdi, devices, mount_points, oci_spec, overlay, users
from carob.runtime.embedded.apparmor import Profiles
from carob.runtime.embedded.crun import Crun
from carob.runtime.embedded.oci_spec import Facts
from carob.runtime.embedded.places import Places
from carob.runtime.embedded.records import ContainerRecord, SandboxRecord
from carob.runtime.embedded.seccomp import Filter
from carob.runtime.embedded.selinux import Labels, labels_of
from carob.runtime.types import LinuxUser, Mount, NamespaceMode, RuntimeFailure, SecurityContext

_log = get_logger("runtime")
_MAX_ACCOUNT_BYTES = 4 << 20
_NO_VOLUMES: Mapping[str, Sequence[str]] = {}
_KILL_ROUNDS = 50
HOST_SHM = "/dev/shm"


class Machine(Struct, kw_only=True, frozen=True):
    """What containers can be given here; found once at start."""

    capabilities: frozenset[str]
    oom_score_adj_floor: int
    """Lower needs CAP_SYS_RESOURCE, which this machine may lack."""
    cgroup2: bool
    """cgroup v2 alone: groups have namespaces there, and files of their own."""
    huge_pages: bool
    device_rules: bool
    swap_accounting: bool
    hostname: str


def survey(host: Host, cgroups: Cgroups) -> Machine:
    """Look at the machine and at what we ourselves may do on it."""
    possible = capabilities.bounding_set(host.read("/proc/self/status"))
    powerful = "CAP_SYS_RESOURCE" in possible
    floor = -1000 if powerful else int(host.read("/proc/self/oom_score_adj"))
    if floor > -1000:
        _log.warning("without CAP_SYS_RESOURCE no OOM score is lowered: %s", pairs(lowest=floor))
    memory = cgroups.layout.v1.get("memory")
    swap = host.exists(f"{memory}/memory.memsw.limit_in_bytes") if memory else bool(cgroups.layout.unified)
    return Machine(
        capabilities=possible,
        oom_score_adj_floor=floor,
        cgroup2=cgroups.layout.mode == "v2",
        huge_pages=cgroups.has("hugetlb"),
        # crun raises RLIMIT_MEMLOCK before it loads the device filter of cgroup v2
        device_rules=powerful or cgroups.layout.mode != "v2",
        swap_accounting=swap,
        hostname=os.uname().nodename,
    )


class Containers:
    """The blocking half of the container verbs."""

    def __init__(self, host: Host, places: Places, cgroups: Cgroups, machine: Machine, crun: Crun) -> None:
        self._host = host
        self._places = places
        self._cgroups = cgroups
        self._machine = machine
        self._crun = crun
        self.profiles = Profiles(host)

    def capabilities(self, record: ContainerRecord) -> list[str]:
        """What the container may hold, as far as this machine has it."""
        security = record.config.security
        return capabilities.chosen(
            security.add_capabilities, security.drop_capabilities, security.privileged, self._machine.capabilities
        )

    def prepare(
        self,
        record: ContainerRecord,
        sandbox: SandboxRecord,
        image: Mapping[str, Any],
        layers: Sequence[str],
        seccomp: Filter,
        target_pid: int = 0,
        volumes: Mapping[str, Sequence[str]] = _NO_VOLUMES,
    ) -> None:
        """Root file system, log folder, config.json. Raises: RuntimeFailure (CreateContainerError); OSError."""
        bundle, writable = self._places.bundle(record.id), self._places.writable(record.id)
        self._host.mkdir(bundle, 0o711)
        eyes = self._users(sandbox)
        files = self._files(sandbox)
        places = {*files, *(mount.container_path for mount in record.config.mounts)}
        stacked = [*layers, *mount_points.layers(self._places.mount_points, places)]
        labels = labels_of(self._host, record.config.security)
        rootfs = self._mapped(lambda: overlay.mount(self._host, bundle, writable, stacked, eyes, labels.files), eyes)
        if record.log_path:
            self._host.mkdir(os.path.dirname(record.log_path))
        mounts = [self._mounted(bundle, n, one, volumes, eyes) for n, one in enumerate(record.config.mounts)]
        facts = self._facts(record, sandbox, image, rootfs, files, seccomp, target_pid, labels)
        if labels.files:
            self._relabel(labels.files, sandbox, mounts, facts)
        try:
            spec = oci_spec.build(msgspec.structs.replace(record.config, mounts=mounts), facts)
            if record.config.cdi_devices:
                cdi.put_in(spec, cdi.edits_for(record.config.cdi_devices))
        except (oci_spec.NoCommand, cdi.Unresolvable) as error:
            raise RuntimeFailure(str(error), "CreateContainerError") from error
        self._host.create(f"{bundle}/config.json", msgspec.json.encode(spec))

    def _users(self, sandbox: SandboxRecord) -> overlay.Users | None:
        users = sandbox.config.users
        return None if users is None else overlay.Users(self._places.namespace(sandbox.id, "user"), users.first_id)

    def _mapped(self, mount: Callable[[], str], eyes: overlay.Users | None) -> str:
        try:
            return mount()
        except OSError as error:
            if eyes is None or error.errno != errno.EINVAL:
                raise
            text = f"failed to set MOUNT_ATTR_IDMAP on {error.filename}: invalid argument (the file system cannot map ids on this kernel)"
            raise RuntimeFailure(text, "CreateContainerError") from error

    def _mounted(
        self,
        bundle: str,
        number: int,
        mount: Mount,
        volumes: Mapping[str, Sequence[str]],
        eyes: overlay.Users | None,
    ) -> Mount:
        """The mount with the machine's path of what is mounted."""
        if not mount.image:
            # what a hostPath volume without a type means: missing folders are made
            if not os.path.exists(mount.host_path):
                self._host.mkdir(mount.host_path)
            if eyes is None:
                return mount
            source, users = mount.host_path, eyes
            path = self._mapped(lambda: overlay.mount_volume(self._host, bundle, number, source, users), eyes)
            return msgspec.structs.replace(mount, host_path=path)
        layers = list(volumes[mount.image])
        path = self._mapped(lambda: overlay.mount_image(self._host, bundle, number, layers, eyes), eyes)
        if mount.image_sub_path:
            path = _folder_in(path, mount.image_sub_path)
        return msgspec.structs.replace(mount, host_path=path)

    def _facts(
        self,
        record: ContainerRecord,
        sandbox: SandboxRecord,
        image: Mapping[str, Any],
        rootfs: str,
        files: Mapping[str, str],
        seccomp: Filter,
        target_pid: int,
        labels: Labels,
    ) -> Facts:
        config, machine = record.config, self._machine
        shared = sandbox.config
        own_network = shared.network is not NamespaceMode.NODE
        folder = self._places.sandbox(sandbox.id)
        return Facts(
            rootfs=rootfs,
            cgroup=record.cgroup,
            hostname=(shared.hostname or shared.name) if own_network else machine.hostname,
            shm=f"{folder}/shm" if shared.ipc is not NamespaceMode.NODE else HOST_SHM,
            user=self._user(record, image, rootfs),
            image=image,
            namespaces=self._namespaces(record, sandbox, target_pid),
            users=shared.users,
            capabilities=self.capabilities(record),
            filter=seccomp,
            files=files,
            devices=devices.wanted(config),
            oom_score_adj=max(config.resources.oom_score_adj, machine.oom_score_adj_floor),
            device_rules=machine.device_rules,
            swap_accounting=machine.swap_accounting,
            cgroup2=machine.cgroup2,
            huge_pages=machine.huge_pages,
            apparmor=self.profiles.of(config.security),
            labels=labels,
        )

    def _relabel(self, label: str, sandbox: SandboxRecord, mounts: Iterable[Mount], facts: Facts) -> None:
        """Let the container's processes touch what is mounted in it; what all containers share has the Pod's own label."""
        shared = labels_of(self._host, SecurityContext(selinux=sandbox.config.selinux)).files or label
        for path in facts.files.values():
            self._host.relabel(path, shared)
        if facts.shm != HOST_SHM:
            self._host.relabel(facts.shm, shared)
        for mount in mounts:
            if mount.relabel:
                self._host.relabel(mount.host_path, label)

    def _files(self, sandbox: SandboxRecord) -> dict[str, str]:
        """What the sandbox mounts in each of its containers, by the place in there."""
        shared, folder = sandbox.config, self._places.sandbox(sandbox.id)
        files = {}
        if shared.network is not NamespaceMode.NODE:
            files["/etc/hostname"] = f"{folder}/hostname"
        if shared.dns is not None:
            files["/etc/resolv.conf"] = f"{folder}/resolv.conf"
        return files

    def _namespaces(self, record: ContainerRecord, sandbox: SandboxRecord, target_pid: int) -> dict[str, str]:
        made = {"mount": ""}
        if sandbox.config.users is not None:
            made["user"] = self._places.namespace(sandbox.id, "user")
        mode = record.config.security.pid
        if mode is NamespaceMode.TARGET:
            made["pid"] = f"/proc/{target_pid}/ns/pid"
        elif mode is NamespaceMode.POD or sandbox.config.pid is NamespaceMode.POD:
            made["pid"] = self._places.namespace(sandbox.id, "pid")
        elif mode is not NamespaceMode.NODE and sandbox.config.pid is not NamespaceMode.NODE:
            made["pid"] = ""
        if sandbox.config.network is not NamespaceMode.NODE:
            made["network"] = self._places.namespace(sandbox.id, "net")
            made["uts"] = self._places.namespace(sandbox.id, "uts")
        if sandbox.config.ipc is not NamespaceMode.NODE:
            made["ipc"] = self._places.namespace(sandbox.id, "ipc")
        if self._machine.cgroup2:
            made["cgroup"] = ""
        return made

    def _user(self, record: ContainerRecord, image: Mapping[str, Any], rootfs: str) -> users.User:
        security = record.config.security
        try:
            user = users.resolve(
                _read_in_root(rootfs, "/etc/passwd"),
                _read_in_root(rootfs, "/etc/group"),
                image_user=security.run_as_username or str(image.get("User") or ""),
                run_as_user=security.run_as_user,
                run_as_group=security.run_as_group,
                supplemental_groups=security.supplemental_groups,
                strict=security.strict_groups,
            )
        except users.NoSuchUser as error:
            raise RuntimeFailure(str(error), "CreateContainerError") from error
        record.user = LinuxUser(uid=user.uid, gid=user.gid, groups=list(user.groups))
        return user

    def remove(self, record: ContainerRecord) -> None:
        """Everything but the log and the record, after the container has ended; idempotent. Raises: OSError."""
        self._empty_cgroup(record)
        self._crun.forget(record.id)
        self._host.unlink(f"{self._places.exits}/{record.id}")
        # every volume of a container with users of its own lies there too
        bundle = self._places.bundle(record.id)
        mounted = [n for n, mount in enumerate(record.config.mounts) if mount.image or mount.host_path]
        if not self._host.exists(f"{bundle}/volumes"):
            mounted = []
        overlay.unmount(self._host, bundle, mounted)
        self._host.rmtree(self._places.writable(record.id))

    def _empty_cgroup(self, record: ContainerRecord) -> None:
        """Processes that outlive the first one (a shared pid namespace) end here."""
        for last in (False,) * _KILL_ROUNDS + (True,):
            try:
                self._cgroups.remove(record.cgroup)
                return
            except OSError as error:
                if error.errno != errno.EBUSY or last:
                    raise
            self._end_all(record.cgroup)

    def _end_all(self, cgroup: str) -> None:
        for pid in self._cgroups.pids(cgroup):
            with contextlib.suppress(OSError):
                descriptor = self._host.pidfd_open(pid)
                try:
                    self._cgroups.kill_each(cgroup)
                    _wait_readable(descriptor, 1.0)
                finally:
                    os.close(descriptor)


def _folder_in(root: str, part: str) -> str:
    """The machine's path of a folder of an image, which no link in the image can lead out of.

    Raises: RuntimeFailure in the words of CRI runtimes.
    """
    try:
        descriptor = syscalls.open_in_root(root, part, os.O_PATH | os.O_DIRECTORY)
    except OSError as error:
        raise RuntimeFailure(f"failed to mount image volume subpath {part}: {error}", "CreateContainerError") from error
    try:
        return os.readlink(f"/proc/self/fd/{descriptor}")
    finally:
        os.close(descriptor)


def _wait_readable(descriptor: int, seconds: float) -> None:
    import select

    waiter = select.poll()
    waiter.register(descriptor, select.POLLIN)
    waiter.poll(seconds * 1000)


def _read_in_root(root: str, path: str) -> str:
    """A file of the image as the image's own processes would see it; empty when there is none."""
    try:
        descriptor = syscalls.open_in_root(root, path, os.O_RDONLY | os.O_NONBLOCK)
    except OSError:
        return ""
    with open(descriptor, "rb") as file:
        return file.read(_MAX_ACCOUNT_BYTES).decode("utf-8", "replace")
