"""Containers in the seam's words and in the wire's, either way. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import structs

from carob.runtime.cri import container_messages as wire
from carob.runtime.cri import sandbox_messages as shared
from carob.runtime.cri.image_messages import ImageSpec
from carob.runtime.cri.sandboxes import (
    from_wire_label,
    from_wire_resources,
    mode_number,
    mode_of,
    nanoseconds,
    seconds,
    to_wire_label,
    to_wire_resources,
)
from carob.runtime.types import (
    ContainerConfig,
    ContainerState,
    ContainerStatus,
    Device,
    Image,
    LinuxUser,
    Mount,
    MountPropagation,
    NamespaceMode,
    Resources,
    SandboxConfig,
    SeccompProfile,
    SecurityContext,
)

_STATES = (ContainerState.CREATED, ContainerState.RUNNING, ContainerState.EXITED, ContainerState.UNKNOWN)
_PROPAGATIONS = (MountPropagation.PRIVATE, MountPropagation.HOST_TO_CONTAINER, MountPropagation.BIDIRECTIONAL)
_PROFILES = ("RuntimeDefault", "Unconfined", "Localhost")
_LOCALHOST = "localhost/"


def state_number(state: ContainerState) -> int:
    """A container's state on the wire."""
    return _STATES.index(state)


def state_of(number: int) -> ContainerState:
    """A state that is not known is UNKNOWN."""
    return _STATES[number] if 0 <= number < len(_STATES) else ContainerState.UNKNOWN


def signal_number(name: str) -> int:
    """A signal's name, with or without SIG, on the wire; 0 (the runtime's choice) for one that the CRI lacks."""
    full = name if not name or name.startswith("SIG") else f"SIG{name}"
    return wire.SIGNALS.index(full) if full in wire.SIGNALS else 0


def signal_name(number: int) -> str:
    """Empty for the runtime's choice."""
    return wire.SIGNALS[number] if 0 <= number < len(wire.SIGNALS) else ""


# -- configs -----------------------------------------------------------------------------------------------------------


def to_wire_config(
    config: ContainerConfig, sandbox: SandboxConfig, masked: tuple[list[str], list[str]]
) -> wire.ContainerConfig:
    """`masked`: which paths are hidden and which read-only, unless the container may see its /proc whole."""
    return wire.ContainerConfig(
        metadata=wire.ContainerMetadata(name=config.name, attempt=config.attempt),
        image=ImageSpec(image=config.image, user_specified_image=config.image_spec),
        command=config.command or [],
        args=config.args or [],
        working_dir=config.working_dir,
        envs=[wire.KeyValue(key=key, value=value) for key, value in config.env],
        mounts=[_to_wire_mount(mount) for mount in config.mounts],
        devices=[
            wire.Device(container_path=d.container_path, host_path=d.host_path, permissions=d.permissions)
            for d in config.devices
        ],
        cdi_devices=[wire.CDIDevice(name=name) for name in config.cdi_devices],
        labels=config.labels,
        annotations=config.annotations,
        log_path=config.log_path,
        stdin=config.stdin,
        stdin_once=config.stdin_once,
        tty=config.tty,
        linux=wire.LinuxContainerConfig(
            resources=to_wire_resources(config.resources),
            security_context=_to_wire_security(config.security, sandbox, masked),
        ),
        stop_signal=signal_number(config.stop_signal),
    )


def _to_wire_mount(mount: Mount) -> wire.Mount:
    return wire.Mount(
        container_path=mount.container_path,
        host_path=mount.host_path,
        readonly=mount.readonly,
        selinux_relabel=mount.relabel,
        propagation=_PROPAGATIONS.index(mount.propagation),
        recursive_read_only=mount.recursive_readonly,
        image=ImageSpec(image=mount.image) if mount.image else None,
        image_sub_path=mount.image_sub_path,
    )


def of_image_user(asked: SecurityContext, image: Image) -> SecurityContext:
    """The same with the image's user, where the Pod names a group alone: the wire knows no group without a user.

    Source: kubelet `kuberuntime_container.go` (getImageUser): an image without a user has root.
    """
    if asked.run_as_group is None or asked.run_as_user is not None or asked.run_as_username:
        return asked
    if image.uid is None and image.username:
        return structs.replace(asked, run_as_username=image.username)
    return structs.replace(asked, run_as_user=image.uid or 0)


def _to_wire_security(
    asked: SecurityContext, sandbox: SandboxConfig, masked: tuple[list[str], list[str]]
) -> wire.LinuxContainerSecurityContext:
    user, group, profile = asked.run_as_user, asked.run_as_group, asked.seccomp
    hidden, readonly = ([], []) if asked.unmasked_proc or asked.privileged else masked
    return wire.LinuxContainerSecurityContext(
        capabilities=wire.Capability(
            add_capabilities=asked.add_capabilities, drop_capabilities=asked.drop_capabilities
        ),
        privileged=asked.privileged,
        namespace_options=shared.NamespaceOption(
            network=mode_number(sandbox.network),
            pid=mode_number(asked.pid if asked.pid is NamespaceMode.TARGET else sandbox.pid),
            ipc=mode_number(sandbox.ipc),
            target_id=asked.target_container_id,
        ),
        run_as_user=None if user is None else shared.Int64Value(value=user),
        run_as_username=asked.run_as_username,
        # a group without a user is an error on the wire
        run_as_group=(
            None if group is None or (user is None and not asked.run_as_username) else shared.Int64Value(value=group)
        ),
        readonly_rootfs=asked.readonly_rootfs,
        supplemental_groups=asked.supplemental_groups,
        supplemental_groups_policy=shared.GROUPS_STRICT if asked.strict_groups else shared.GROUPS_MERGE,
        no_new_privs=asked.no_new_privileges,
        masked_paths=hidden,
        readonly_paths=readonly,
        seccomp=shared.SecurityProfile(
            profile_type=_PROFILES.index(profile.kind), localhost_ref=profile.localhost_path
        ),
        apparmor=_apparmor(asked.apparmor_profile),
        selinux_options=to_wire_label(asked.selinux),
    )


def _apparmor(name: str) -> shared.SecurityProfile | None:
    if not name:
        return None
    if name.startswith(_LOCALHOST):
        return shared.SecurityProfile(
            profile_type=shared.PROFILE_LOCALHOST, localhost_ref=name.removeprefix(_LOCALHOST)
        )
    unconfined = name == "unconfined"
    return shared.SecurityProfile(
        profile_type=shared.PROFILE_UNCONFINED if unconfined else shared.PROFILE_RUNTIME_DEFAULT
    )


def from_wire_config(config: wire.ContainerConfig) -> ContainerConfig:
    """Raises: ValueError for what cannot be asked for."""
    if config.metadata is None or not config.metadata.name:
        raise ValueError("container config must include metadata with a name")
    if config.image is None or not config.image.image:
        raise ValueError("container config must include an image")
    linux = config.linux or wire.LinuxContainerConfig()
    return ContainerConfig(
        name=config.metadata.name,
        attempt=config.metadata.attempt,
        image=config.image.image,
        image_spec=config.image.user_specified_image or config.image.image,
        command=config.command or None,
        args=config.args or None,
        working_dir=config.working_dir,
        env=[(one.key, one.value) for one in config.envs],
        mounts=[_from_wire_mount(mount) for mount in config.mounts],
        devices=[
            Device(container_path=d.container_path, host_path=d.host_path, permissions=d.permissions or "rwm")
            for d in config.devices
        ],
        cdi_devices=[one.name for one in config.cdi_devices],
        labels=config.labels,
        annotations=config.annotations,
        log_path=config.log_path,
        stdin=config.stdin,
        stdin_once=config.stdin_once,
        tty=config.tty,
        stop_signal=signal_name(config.stop_signal),
        resources=from_wire_resources(linux.resources),
        security=_from_wire_security(linux.security_context or wire.LinuxContainerSecurityContext()),
    )


def _from_wire_mount(mount: wire.Mount) -> Mount:
    if not 0 <= mount.propagation < len(_PROPAGATIONS):
        raise ValueError(f"mount propagation {mount.propagation} is not known")
    if mount.uid_mappings or mount.gid_mappings:
        raise ValueError("runtime does not support user namespaces")
    return Mount(
        container_path=mount.container_path,
        host_path=mount.host_path,
        readonly=mount.readonly,
        recursive_readonly=mount.recursive_read_only,
        relabel=mount.selinux_relabel,
        propagation=_PROPAGATIONS[mount.propagation],
        image=mount.image.image if mount.image is not None else "",
        image_sub_path=mount.image_sub_path,
    )


def _from_wire_security(asked: wire.LinuxContainerSecurityContext) -> SecurityContext:
    if asked.run_as_username and asked.run_as_user is not None:
        raise ValueError("user is specified by number and by name")
    if asked.run_as_group is not None and asked.run_as_user is None and not asked.run_as_username:
        raise ValueError("user group is specified without user")
    capabilities = asked.capabilities or wire.Capability()
    options = asked.namespace_options or shared.NamespaceOption()
    return SecurityContext(
        add_capabilities=[*capabilities.add_capabilities],
        drop_capabilities=capabilities.drop_capabilities,
        privileged=asked.privileged,
        run_as_user=None if asked.run_as_user is None else asked.run_as_user.value,
        run_as_username=asked.run_as_username,
        run_as_group=None if asked.run_as_group is None else asked.run_as_group.value,
        supplemental_groups=asked.supplemental_groups,
        strict_groups=asked.supplemental_groups_policy == shared.GROUPS_STRICT,
        readonly_rootfs=asked.readonly_rootfs,
        no_new_privileges=asked.no_new_privs,
        seccomp=_seccomp(asked),
        apparmor_profile=_apparmor_name(asked),
        selinux=from_wire_label(asked.selinux_options),
        pid=mode_of(options.pid),
        target_container_id=options.target_id,
    )


def _seccomp(asked: wire.LinuxContainerSecurityContext) -> SeccompProfile:
    """A client that names none gets none: on the wire the default is unconfined."""
    profile = asked.seccomp
    if profile is None:
        old = asked.seccomp_profile_path
        if old.startswith(_LOCALHOST):
            return SeccompProfile(kind="Localhost", localhost_path=old.removeprefix(_LOCALHOST))
        return SeccompProfile(kind="RuntimeDefault" if old in ("runtime/default", "docker/default") else "Unconfined")
    if not 0 <= profile.profile_type < len(_PROFILES):
        raise ValueError(f"seccomp profile type {profile.profile_type} is not known")
    return SeccompProfile(kind=_PROFILES[profile.profile_type], localhost_path=profile.localhost_ref)


def _apparmor_name(asked: wire.LinuxContainerSecurityContext) -> str:
    profile = asked.apparmor
    if profile is None:
        return "" if asked.apparmor_profile in ("", "runtime/default") else asked.apparmor_profile
    if profile.profile_type == shared.PROFILE_LOCALHOST:
        return _LOCALHOST + profile.localhost_ref
    return "unconfined" if profile.profile_type == shared.PROFILE_UNCONFINED else ""


# -- statuses ----------------------------------------------------------------------------------------------------------


def to_wire_status(status: ContainerStatus, image_id: str) -> wire.ContainerStatus:
    """As ContainerStatus tells it; `image_id` is the image's own."""
    user = status.user
    return wire.ContainerStatus(
        id=status.id,
        metadata=wire.ContainerMetadata(name=status.name, attempt=status.attempt),
        state=state_number(status.state),
        created_at=nanoseconds(status.created_at),
        started_at=nanoseconds(status.started_at),
        finished_at=nanoseconds(status.finished_at),
        exit_code=status.exit_code,
        image=ImageSpec(image=status.image, user_specified_image=status.image),
        image_ref=status.image_id,
        reason=status.reason,
        message=status.message,
        labels=status.labels,
        annotations=status.annotations,
        log_path=status.log_path,
        resources=wire.ContainerResources(linux=to_wire_resources(status.resources)),
        image_id=image_id,
        user=None
        if user is None
        else wire.ContainerUser(
            linux=wire.LinuxContainerUser(uid=user.uid, gid=user.gid, supplemental_groups=user.groups)
        ),
        stop_signal=signal_number(status.stop_signal),
    )


def to_wire_item(status: ContainerStatus, image_id: str) -> wire.Container:
    """As a list tells it."""
    return wire.Container(
        id=status.id,
        pod_sandbox_id=status.sandbox_id,
        metadata=wire.ContainerMetadata(name=status.name, attempt=status.attempt),
        image=ImageSpec(image=status.image, user_specified_image=status.image),
        image_ref=status.image_id,
        state=state_number(status.state),
        created_at=nanoseconds(status.created_at),
        labels=status.labels,
        annotations=status.annotations,
        image_id=image_id,
    )


def from_wire_status(status: wire.ContainerStatus, sandbox_id: str, asked: Mapping[str, str]) -> ContainerStatus:
    """`asked`: what we wrote down of the order, where it was ours: the image's name as the user wrote it."""
    named = status.metadata or wire.ContainerMetadata()
    image = status.image or ImageSpec()
    user = status.user.linux if status.user is not None else None
    resources = status.resources.linux if status.resources is not None else None
    return ContainerStatus(
        id=status.id,
        sandbox_id=sandbox_id,
        name=named.name,
        attempt=named.attempt,
        state=state_of(status.state),
        created_at=seconds(status.created_at),
        started_at=seconds(status.started_at),
        finished_at=seconds(status.finished_at),
        exit_code=status.exit_code,
        image=asked.get("image", "") or image.user_specified_image or image.image,
        image_id=status.image_ref,
        reason=status.reason,
        message=status.message,
        labels=status.labels,
        annotations=status.annotations,
        log_path=status.log_path,
        stop_signal=signal_name(status.stop_signal),
        resources=from_wire_resources(resources) if resources is not None else Resources(),
        user=None if user is None else LinuxUser(uid=user.uid, gid=user.gid, groups=user.supplemental_groups),
    )
