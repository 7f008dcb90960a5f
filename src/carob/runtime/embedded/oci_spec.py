"""What crun is told about a container: image config, container config and sandbox become one config.json.

Pure: everything that must be looked up on the machine comes in `Facts`. Source: the OCI runtime specification 1.0.2;
containerd's CRI service (container_create_linux.go) for what Kubernetes users are used to.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct, field

from carob.host.cgroup_v2 import weight
from carob.runtime.embedded.seccomp import BPF_ANNOTATION, UNCONFINED, Filter
from carob.runtime.embedded.selinux import Labels
from carob.runtime.embedded.users import User
from carob.runtime.types import ContainerConfig, Mount, MountPropagation, Resources, UserNamespace

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

# Source: moby's and containerd's defaults.
MASKED_PATHS = [
    "/proc/asound",
    "/proc/acpi",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
]
READONLY_PATHS = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"]

# /dev/null, zero, full, tty, random, urandom, console, pts/*, ptmx
_ALLOWED_DEVICES = ((1, 3), (1, 5), (1, 7), (5, 0), (1, 8), (1, 9), (5, 1), (136, None), (5, 2))


class DeviceNode(Struct, frozen=True):
    """A device of the machine as the container shall see it."""

    path: str
    kind: str
    """`c` or `b`."""
    major: int
    minor: int
    permissions: str = "rwm"
    mode: int = 0o666
    uid: int = 0
    gid: int = 0


class Facts(Struct, kw_only=True):
    """What was looked up: paths, the user, rights, and what this machine can do."""

    rootfs: str
    cgroup: str
    hostname: str
    shm: str
    user: User = field(default_factory=User)
    image: Mapping[str, Any] = field(default_factory=dict)
    namespaces: Mapping[str, str] = field(default_factory=dict)
    """OCI type to path; empty for a new one; a type that is missing stays the machine's."""
    users: UserNamespace | None = None
    """Whose map the user namespace in `namespaces` has."""
    capabilities: Sequence[str] = ()
    filter: Filter = UNCONFINED
    files: Mapping[str, str] = field(default_factory=dict)
    """Files of the sandbox by their place in the container: `/etc/hostname`, `/etc/resolv.conf`."""
    devices: Sequence[DeviceNode] = ()
    oom_score_adj: int = 0
    device_rules: bool = True
    """False where crun may not load the device filter of cgroup v2."""
    swap_accounting: bool = False
    cgroup2: bool = False
    """Whether groups are those of cgroup v2 alone."""
    huge_pages: bool = False
    """Whether the kernel counts them by group."""
    apparmor: str = ""
    """Name of the profile of AppArmor; empty: none."""
    labels: Labels = Labels()
    """Those of SELinux."""


class NoCommand(Exception):
    """Neither the image nor the Pod says what to run; the words are upstream's."""


def build(config: ContainerConfig, facts: Facts) -> dict[str, Any]:
    """The whole config.json. Raises: NoCommand."""
    privileged = config.security.privileged
    linux: dict[str, Any] = {
        "resources": _resources(config, facts),
        "cgroupsPath": facts.cgroup,
        "namespaces": [{"type": t, "path": p} if p else {"type": t} for t, p in facts.namespaces.items()],
    }
    if facts.users is not None:
        mapping = {"containerID": 0, "hostID": facts.users.first_id, "size": facts.users.count}
        linux["uidMappings"] = linux["gidMappings"] = [mapping]
    if facts.devices:
        linux["devices"] = [_device(node) for node in facts.devices]
    if not privileged and not config.security.unmasked_proc:
        linux["maskedPaths"] = MASKED_PATHS
        linux["readonlyPaths"] = READONLY_PATHS
    if facts.filter.profile is not None:
        linux["seccomp"] = facts.filter.profile
    if facts.labels.files:
        linux["mountLabel"] = facts.labels.files
    propagation = _root_propagation(config.mounts)
    if propagation:
        linux["rootfsPropagation"] = propagation
    return {
        "ociVersion": "1.0.2",
        "process": process(config, facts),
        "root": {"path": facts.rootfs, "readonly": config.security.readonly_rootfs},
        "mounts": mounts(config, facts),
        "linux": linux,
        "annotations": {BPF_ANNOTATION: facts.filter.bpf} if facts.filter.bpf else {},
    }


def process(config: ContainerConfig, facts: Facts) -> dict[str, Any]:
    """The `process` object; exec takes it too, with other arguments."""
    capabilities = list(facts.capabilities)
    # without root the permitted set is lost at exec anyway, and no ambient set is asked for
    effective = capabilities if facts.user.uid == 0 else []
    made: dict[str, Any] = {
        "terminal": config.tty,
        "user": {"uid": facts.user.uid, "gid": facts.user.gid, "additionalGids": list(facts.user.groups)},
        "args": arguments(config, facts.image),
        "env": environment(config, facts),
        "cwd": config.working_dir or str(facts.image.get("WorkingDir") or "") or "/",
        "capabilities": {"bounding": capabilities, "effective": effective, "permitted": effective},
        "noNewPrivileges": config.security.no_new_privileges,
        "oomScoreAdj": facts.oom_score_adj,
    }
    if facts.apparmor:
        made["apparmorProfile"] = facts.apparmor
    if facts.labels.process:
        made["selinuxLabel"] = facts.labels.process
    return made


def arguments(config: ContainerConfig, image: Mapping[str, Any]) -> list[str]:
    """ENTRYPOINT and CMD as the Pod changes them: a command makes the image's CMD void.

    Source: kubernetes.io, "Define a Command and Arguments for a Container". Raises: NoCommand.
    """
    command, args = list(config.command or ()), list(config.args or ())
    if not command:
        command = list(image.get("Entrypoint") or ())
        args = args or list(image.get("Cmd") or ())
    if not command and not args:
        raise NoCommand("no command specified")
    return command + args


def environment(config: ContainerConfig, facts: Facts) -> list[str]:
    """The image's variables, then the Pod's; a later one of the same name replaces the earlier in its place."""
    merged = {"PATH": DEFAULT_PATH, "HOSTNAME": facts.hostname}
    if config.tty:
        merged["TERM"] = "xterm"
    for line in facts.image.get("Env") or ():
        name, _, value = str(line).partition("=")
        merged[name] = value
    for name, value in config.env:
        merged[name] = value
    merged.setdefault("HOME", facts.user.home)
    return [f"{name}={value}" for name, value in merged.items()]


def mounts(config: ContainerConfig, facts: Facts) -> list[dict[str, Any]]:
    """The kernel's file systems, the sandbox's files, then the Pod's volumes, outer before inner."""
    writable = config.security.privileged
    access = "rw" if writable else "ro"
    made = [
        _special("/proc", "proc", "proc", "nosuid", "noexec", "nodev"),
        _special("/dev", "tmpfs", "tmpfs", "nosuid", "strictatime", "mode=755", "size=65536k"),
        _special(
            "/dev/pts", "devpts", "devpts", "nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"
        ),
        _special("/dev/mqueue", "mqueue", "mqueue", "nosuid", "noexec", "nodev"),
        _special("/sys", "sysfs", "sysfs", "nosuid", "noexec", "nodev", access),
        _special("/sys/fs/cgroup", "cgroup", "cgroup", "nosuid", "noexec", "nodev", "relatime", access),
        _special("/dev/shm", "bind", facts.shm, "bind", "rw", "nosuid", "noexec", "nodev"),
    ]
    root_access = "ro" if config.security.readonly_rootfs else "rw"
    for place, source in facts.files.items():
        made.append(_special(place, "bind", source, "bind", "rprivate", root_access))
    asked = {mount.container_path.rstrip("/") for mount in config.mounts}
    made = [mount for mount in made if mount["destination"] not in asked]
    if config.security.readonly_rootfs:
        made += _image_volumes(facts, asked)
    ordered = sorted(config.mounts, key=lambda mount: mount.container_path.rstrip("/").count("/"))
    return made + [_volume(mount) for mount in ordered]


def _special(destination: str, kind: str, source: str, *options: str) -> dict[str, Any]:
    return {"destination": destination, "type": kind, "source": source, "options": list(options)}


def _image_volumes(facts: Facts, asked: set[str]) -> list[dict[str, Any]]:
    """VOLUMEs of the image stay writable under a read-only root: the root's own folder, bound over itself."""
    places = [str(place).rstrip("/") for place in facts.image.get("Volumes") or ()]
    return [
        _special(place, "bind", facts.rootfs + place, "bind", "rprivate", "rw")
        for place in places
        if place and place not in asked
    ]


_PROPAGATION = {
    MountPropagation.PRIVATE: "rprivate",
    MountPropagation.HOST_TO_CONTAINER: "rslave",
    MountPropagation.BIDIRECTIONAL: "rshared",
}


def _volume(mount: Mount) -> dict[str, Any]:
    access = "rw" if not mount.readonly else "rro" if mount.recursive_readonly else "ro"
    options: tuple[str, ...] = ("rbind", _PROPAGATION[mount.propagation], access)
    if mount.image:
        options = ("bind", "rprivate", "ro", "noexec")
    return _special(mount.container_path, "bind", mount.host_path, *options)


def _root_propagation(asked: Sequence[Mount]) -> str:
    kinds = {mount.propagation for mount in asked}
    if MountPropagation.BIDIRECTIONAL in kinds:
        return "rshared"
    return "rslave" if MountPropagation.HOST_TO_CONTAINER in kinds else ""


def _resources(config: ContainerConfig, facts: Facts) -> dict[str, Any]:
    made = limits(config.resources, facts)
    if facts.device_rules:
        made["devices"] = _device_rules(config.security.privileged, facts.devices)
    return made


def limits(asked: Resources, facts: Facts) -> dict[str, Any]:
    """`linux.resources` without devices; what is not asked for is not named."""
    made: dict[str, Any] = {}
    cpu: dict[str, Any] = {}
    unified = dict(asked.unified) if facts.cgroup2 else {}
    if asked.cpu_shares and facts.cgroup2:
        # in our words: crun before 1.23 turns shares into other weights than those that an update writes
        unified.setdefault("cpu.weight", str(weight(asked.cpu_shares)))
    elif asked.cpu_shares:
        cpu["shares"] = asked.cpu_shares
    if asked.cpu_quota:
        cpu["quota"], cpu["period"] = asked.cpu_quota, asked.cpu_period
    if asked.cpuset_cpus:
        cpu["cpus"] = asked.cpuset_cpus
    if cpu:
        made["cpu"] = cpu
    if asked.memory_limit:
        made["memory"] = {"limit": asked.memory_limit}
        if asked.memory_swap_limit is not None and facts.swap_accounting:
            made["memory"]["swap"] = asked.memory_swap_limit
    if asked.pids_limit:
        made["pids"] = {"limit": asked.pids_limit}
    if asked.hugepage_limits and facts.huge_pages:
        made["hugepageLimits"] = [{"pageSize": size, "limit": n} for size, n in asked.hugepage_limits.items()]
        if facts.cgroup2:
            # crun limits what is used alone; what is promised, too, makes mmap fail where else a SIGBUS would follow
            unified |= {f"hugetlb.{size}.rsvd.max": str(n) for size, n in asked.hugepage_limits.items()}
    if unified:
        made["unified"] = unified
    return made


def _device_rules(privileged: bool, nodes: Sequence[DeviceNode]) -> list[dict[str, Any]]:
    if privileged:
        return [{"allow": True, "access": "rwm"}]
    rules: list[dict[str, Any]] = [{"allow": False, "access": "rwm"}]
    for major, minor in _ALLOWED_DEVICES:
        rule = {"allow": True, "type": "c", "major": major, "access": "rwm"}
        rules.append(rule if minor is None else {**rule, "minor": minor})
    for node in nodes:
        rule = {"allow": True, "type": node.kind, "major": node.major, "minor": node.minor, "access": node.permissions}
        rules.append(rule)
    return rules


def _device(node: DeviceNode) -> dict[str, Any]:
    return {
        "path": node.path,
        "type": node.kind,
        "major": node.major,
        "minor": node.minor,
        "fileMode": node.mode,
        "uid": node.uid,
        "gid": node.gid,
    }
