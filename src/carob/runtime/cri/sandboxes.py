"""Sandboxes in the seam's words and in the wire's, either way. Pure.

The wire has no place for some of what the seam knows (how many processes, the size of /dev/shm); those are lost here.
"""

from __future__ import annotations

from carob.runtime.cri import sandbox_messages as wire
from carob.runtime.types import (
    DnsConfig,
    NamespaceMode,
    PortMapping,
    Resources,
    SandboxConfig,
    SandboxState,
    SandboxStatus,
    SELinuxOptions,
    UserNamespace,
)

NANOSECONDS = 1_000_000_000
_MODES = (NamespaceMode.POD, NamespaceMode.CONTAINER, NamespaceMode.NODE, NamespaceMode.TARGET)
_NO_CPU_PERIOD = Resources().cpu_period


def nanoseconds(seconds: float) -> int:
    """A time of the seam as the wire has it."""
    return round(seconds * NANOSECONDS)


def seconds(nanoseconds: int) -> float:
    """A time of the wire as the seam has it."""
    return nanoseconds / NANOSECONDS


def mode_number(mode: NamespaceMode) -> int:
    """A namespace's mode on the wire."""
    return _MODES.index(mode)


def mode_of(number: int) -> NamespaceMode:
    """Raises: ValueError for a number that the CRI does not know."""
    if not 0 <= number < len(_MODES):
        raise ValueError(f"namespace mode {number} is not known")
    return _MODES[number]


def to_wire_resources(resources: Resources) -> wire.LinuxContainerResources:
    """What is not set is not said: a period without a quota means nothing."""
    return wire.LinuxContainerResources(
        cpu_period=resources.cpu_period if resources.cpu_quota else 0,
        cpu_quota=resources.cpu_quota,
        cpu_shares=resources.cpu_shares,
        memory_limit_in_bytes=resources.memory_limit,
        oom_score_adj=resources.oom_score_adj,
        cpuset_cpus=resources.cpuset_cpus,
        hugepage_limits=[
            wire.HugepageLimit(page_size=size, limit=limit) for size, limit in resources.hugepage_limits.items()
        ],
        unified=resources.unified,
        memory_swap_limit_in_bytes=resources.memory_swap_limit or 0,
    )


def from_wire_resources(resources: wire.LinuxContainerResources | None) -> Resources:
    """None: no limits."""
    if resources is None:
        return Resources()
    return Resources(
        cpu_shares=resources.cpu_shares,
        cpu_quota=resources.cpu_quota,
        cpu_period=resources.cpu_period or _NO_CPU_PERIOD,
        cpuset_cpus=resources.cpuset_cpus,
        memory_limit=resources.memory_limit_in_bytes,
        memory_swap_limit=resources.memory_swap_limit_in_bytes or None,
        oom_score_adj=resources.oom_score_adj,
        hugepage_limits={limit.page_size: limit.limit for limit in resources.hugepage_limits},
        unified=resources.unified,
    )


def to_wire_label(asked: SELinuxOptions | None) -> wire.SELinuxOption | None:
    """None: no label of its own."""
    if asked is None:
        return None
    return wire.SELinuxOption(user=asked.user, role=asked.role, type=asked.type, level=asked.level)


def from_wire_label(asked: wire.SELinuxOption | None) -> SELinuxOptions | None:
    """See `to_wire_label`."""
    if asked is None:
        return None
    return SELinuxOptions(user=asked.user, role=asked.role, type=asked.type, level=asked.level)


def to_wire_config(config: SandboxConfig, *, privileged: bool = False) -> wire.PodSandboxConfig:
    """`privileged`: a privileged container may follow."""
    dns = config.dns
    return wire.PodSandboxConfig(
        metadata=metadata(config),
        # the machine's own name is not the sandbox's to set
        hostname="" if config.network is NamespaceMode.NODE else config.hostname,
        log_directory=config.log_directory,
        dns_config=None
        if dns is None
        else wire.DNSConfig(servers=dns.servers, searches=dns.searches, options=dns.options),
        port_mappings=[
            wire.PortMapping(
                protocol=wire.PROTOCOLS.index(port.protocol),
                container_port=port.container_port,
                host_port=port.host_port,
                host_ip=port.host_ip,
            )
            for port in config.port_mappings
        ],
        labels=config.labels,
        annotations=config.annotations,
        linux=wire.LinuxPodSandboxConfig(
            cgroup_parent=config.cgroup_parent,
            security_context=wire.LinuxSandboxSecurityContext(
                namespace_options=_options(config),
                selinux_options=to_wire_label(config.selinux),
                privileged=privileged,
                seccomp=wire.SecurityProfile(profile_type=wire.PROFILE_RUNTIME_DEFAULT),
            ),
            sysctls=config.sysctls,
            resources=to_wire_resources(config.resources),
        ),
    )


def from_wire_config(config: wire.PodSandboxConfig, handler: str) -> SandboxConfig:
    """Raises: ValueError for what cannot be asked for."""
    if config.metadata is None or not config.metadata.name:
        raise ValueError("sandbox config must include metadata with a name")
    linux = config.linux or wire.LinuxPodSandboxConfig()
    security = linux.security_context or wire.LinuxSandboxSecurityContext()
    # the wire's zero value: everything is the Pod's
    options = security.namespace_options or wire.NamespaceOption()
    dns = config.dns_config
    return SandboxConfig(
        name=config.metadata.name,
        namespace=config.metadata.namespace,
        uid=config.metadata.uid,
        attempt=config.metadata.attempt,
        hostname=config.hostname,
        log_directory=config.log_directory,
        dns=None if dns is None else DnsConfig(servers=dns.servers, searches=dns.searches, options=dns.options),
        port_mappings=[_port(port) for port in config.port_mappings if port.host_port],
        labels=config.labels,
        annotations=config.annotations,
        cgroup_parent=linux.cgroup_parent,
        resources=from_wire_resources(linux.resources),
        sysctls=linux.sysctls,
        network=mode_of(options.network),
        pid=mode_of(options.pid),
        ipc=mode_of(options.ipc),
        runtime_handler=handler,
        users=_users(options.userns_options),
        selinux=from_wire_label(security.selinux_options),
    )


def _users(options: wire.UserNamespace | None) -> UserNamespace | None:
    """Raises: ValueError for maps of several ranges, or different ones of users and groups."""
    if options is None or mode_of(options.mode) is NamespaceMode.NODE:
        return None
    if len(options.uids) != 1 or options.uids != options.gids or options.uids[0].container_id:
        raise ValueError("a user namespace needs one range of ids from 0 on, the same of users and groups")
    (only,) = options.uids
    return UserNamespace(only.host_id, only.length)


def _port(port: wire.PortMapping) -> PortMapping:
    if not 0 <= port.protocol < len(wire.PROTOCOLS):
        raise ValueError(f"protocol {port.protocol} is not known")
    return PortMapping(wire.PROTOCOLS[port.protocol], port.container_port, port.host_port, port.host_ip)


def _options(config: SandboxConfig) -> wire.NamespaceOption:
    users = None
    if config.users is not None:
        ids = [wire.IDMapping(host_id=config.users.first_id, length=config.users.count)]
        users = wire.UserNamespace(mode=mode_number(NamespaceMode.POD), uids=ids, gids=ids)
    return wire.NamespaceOption(
        network=mode_number(config.network),
        pid=mode_number(config.pid),
        ipc=mode_number(config.ipc),
        userns_options=users,
    )


def metadata(config: SandboxConfig) -> wire.PodSandboxMetadata:
    """Whose sandbox it is."""
    return wire.PodSandboxMetadata(name=config.name, uid=config.uid, namespace=config.namespace, attempt=config.attempt)


def _state(status: SandboxStatus) -> int:
    return wire.SANDBOX_READY if status.state is SandboxState.READY else wire.SANDBOX_NOT_READY


def to_wire_status(status: SandboxStatus) -> wire.PodSandboxStatus:
    """As PodSandboxStatus tells it."""
    config = status.config
    ips = status.ips or [""]
    return wire.PodSandboxStatus(
        id=status.id,
        metadata=metadata(config),
        state=_state(status),
        created_at=nanoseconds(status.created_at),
        network=wire.PodSandboxNetworkStatus(ip=ips[0], additional_ips=[wire.PodIP(ip=ip) for ip in ips[1:]]),
        linux=wire.LinuxPodSandboxStatus(namespaces=wire.Namespace(options=_options(config))),
        labels=config.labels,
        annotations=config.annotations,
        runtime_handler=config.runtime_handler,
    )


def to_wire_item(status: SandboxStatus) -> wire.PodSandbox:
    """As a list tells it."""
    config = status.config
    return wire.PodSandbox(
        id=status.id,
        metadata=metadata(config),
        state=_state(status),
        created_at=nanoseconds(status.created_at),
        labels=config.labels,
        annotations=config.annotations,
        runtime_handler=config.runtime_handler,
    )


def from_wire_status(status: wire.PodSandboxStatus, config: SandboxConfig | None) -> SandboxStatus:
    """`config`: what it was asked to be, where the caller knows; else what the status says of it."""
    named = status.metadata or wire.PodSandboxMetadata()
    namespaces = status.linux.namespaces if status.linux is not None else None
    options = (namespaces.options if namespaces is not None else None) or wire.NamespaceOption()
    network = status.network
    ips = [network.ip, *(one.ip for one in network.additional_ips)] if network is not None else []
    return SandboxStatus(
        id=status.id,
        config=config
        or SandboxConfig(
            name=named.name,
            namespace=named.namespace,
            uid=named.uid,
            attempt=named.attempt,
            labels=status.labels,
            annotations=status.annotations,
            network=mode_of(options.network),
            pid=mode_of(options.pid),
            ipc=mode_of(options.ipc),
            runtime_handler=status.runtime_handler,
        ),
        state=SandboxState.READY if status.state == wire.SANDBOX_READY else SandboxState.NOT_READY,
        created_at=seconds(status.created_at),
        ips=[ip for ip in ips if ip],
    )
