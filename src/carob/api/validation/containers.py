"""Rules of containers: regular, init and ephemeral ones.

Pure. Source: `pkg/apis/core/validation` (validateContainerCommon and around it).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from msgspec import Struct

from carob.api.types import core_v1
from carob.api.validation import field, meta, names, paths, resources
from carob.api.validation.downward import ENV_FIELD_PATHS, field_selector, resource_selector
from carob.api.validation.probes import lifecycle, liveness, readiness, startup
from carob.api.validation.security import container_context
from carob.api.validation.volumes import pull_policy

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from carob.api.validation.field import Cause

Container: TypeAlias = "core_v1.Container | core_v1.EphemeralContainer"

PROTOCOLS = ("SCTP", "TCP", "UDP")
RESTART_POLICIES = ("Always", "Never", "OnFailure")
MAX_RESTART_RULES = 20
MAX_EXIT_CODES = 255
_ONLY_FOR_SIDECARS = "may not be set for init containers without restartPolicy=Always"
_NOT_EPHEMERAL = "cannot be set for an Ephemeral Container"


class Surroundings(Struct, frozen=True):
    """What of the Pod its containers are judged by."""

    volumes: Mapping[str, core_v1.Volume]
    claims: Collection[str]
    grace_period_seconds: int | None
    restart_policy: str
    host_users: bool


def common(out: list[Cause], path: str, container: Container, around: Surroundings) -> None:
    """The rules of every container."""
    if not container.name:
        out.append(field.required(f"{path}.name"))
    elif wrong := names.dns_label(container.name):
        meta.wrong_name(out, f"{path}.name", container.name, wrong)
    if not container.image:
        out.append(field.required(f"{path}.image"))
    policy = container.termination_message_policy
    if policy not in ("File", "FallbackToLogsOnError"):
        here = f"{path}.terminationMessagePolicy"
        supported = ("File", "FallbackToLogsOnError")
        out.append(field.not_supported(here, policy, supported) if policy else field.required(here))
    if container.ports:
        _ports(out, f"{path}.ports", container.ports)
    if container.env:
        _environment(out, f"{path}.env", container.env, around.volumes)
    if container.env_from:
        _environment_from(out, f"{path}.envFrom", container.env_from)
    if container.volume_mounts:
        _mounts(out, f"{path}.volumeMounts", container, around)
    if container.volume_devices:
        _devices(out, f"{path}.volumeDevices", container, around)
    pull_policy(out, f"{path}.imagePullPolicy", container.image_pull_policy)
    wanted = container.resources
    if wanted.limits or wanted.requests or wanted.claims:
        resources.requirements(out, f"{path}.resources", wanted, around.claims)
    if container.resize_policy:
        _resize_policy(out, f"{path}.resizePolicy", container.resize_policy, around.restart_policy)
    if container.security_context is not None:
        container_context(out, f"{path}.securityContext", container.security_context, around.host_users)


def _ports(out: list[Cause], path: str, ports: Sequence[core_v1.ContainerPort]) -> None:
    taken: set[str] = set()
    for i, port in enumerate(ports):
        here = f"{path}[{i}]"
        if port.name:
            wrong = names.port_name(port.name)
            if wrong:
                meta.wrong_name(out, f"{here}.name", port.name, wrong)
            elif port.name in taken:
                out.append(field.duplicate(f"{here}.name", port.name))
            taken.add(port.name)
        if port.container_port == 0:
            out.append(field.required(f"{here}.containerPort"))
        else:
            port_number(out, f"{here}.containerPort", port.container_port)
        if port.host_port:
            port_number(out, f"{here}.hostPort", port.host_port)
        if port.protocol not in PROTOCOLS:
            shown = f"{here}.protocol"
            missing = not port.protocol
            out.append(field.required(shown) if missing else field.not_supported(shown, port.protocol, PROTOCOLS))


def port_number(out: list[Cause], path: str, value: int) -> None:
    """A port that can be listened on."""
    for why in names.port_number(value):
        out.append(field.invalid(path, value, why))


def _environment(
    out: list[Cause], path: str, variables: Sequence[core_v1.EnvVar], volumes: Mapping[str, core_v1.Volume]
) -> None:
    for i, variable in enumerate(variables):
        if not variable.name:
            out.append(field.required(f"{path}[{i}].name"))
        else:
            meta.wrong_name(out, f"{path}[{i}].name", variable.name, names.env_name(variable.name))
        if variable.value_from is not None:
            _value_from(out, f"{path}[{i}].valueFrom", variable, variable.value_from)
            if variable.value_from.file_key_ref is not None:
                _file_key(out, f"{path}[{i}].valueFrom.fileKeyRef", variable.value_from.file_key_ref, volumes)


def _value_from(out: list[Cause], path: str, variable: core_v1.EnvVar, source: core_v1.EnvVarSource) -> None:
    count = 0
    if source.field_ref is not None:
        count += 1
        field_selector(out, f"{path}.fieldRef", source.field_ref, ENV_FIELD_PATHS)
    if source.resource_field_ref is not None:
        count += 1
        resource_selector(out, f"{path}.resourceFieldRef", source.resource_field_ref, in_volume=False)
    for name, reference in (("configMapKeyRef", source.config_map_key_ref), ("secretKeyRef", source.secret_key_ref)):
        if reference is not None:
            count += 1
            meta.wrong_name(out, f"{path}.{name}.name", reference.name, names.dns_subdomain(reference.name))
            if not reference.key:
                out.append(field.required(f"{path}.{name}.key"))
            else:
                meta.wrong_name(out, f"{path}.{name}.key", reference.key, names.config_key(reference.key))
    if source.file_key_ref is not None:
        count += 1
    if not count:
        words = "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`"
        out.append(field.invalid(path, "", words))
    elif variable.value:
        out.append(field.invalid(path, "", "may not be specified when `value` is not empty"))
    elif count > 1:
        out.append(field.invalid(path, "", "may not have more than one field specified at a time"))


def _file_key(
    out: list[Cause], path: str, reference: core_v1.FileKeySelector, volumes: Mapping[str, core_v1.Volume]
) -> None:
    volume = volumes.get(reference.volume_name)
    if reference.volume_name and volume is None:
        out.append(field.not_found(f"{path}.volumeName", reference.volume_name))
    elif volume is not None and volume.empty_dir is None:
        words = "referenced volume must be of type emptyDir"
        out.append(field.invalid(f"{path}.volumeName", reference.volume_name, words))
    for name, value in (("volumeName", reference.volume_name), ("path", reference.path), ("key", reference.key)):
        if not value:
            out.append(field.required(f"{path}.{name}"))
    paths.local_unreserved(out, f"{path}.path", reference.path)


def _environment_from(out: list[Cause], path: str, sources: Sequence[core_v1.EnvFromSource]) -> None:
    for i, source in enumerate(sources):
        here = f"{path}[{i}]"
        if source.prefix:
            meta.wrong_name(out, f"{here}.prefix", source.prefix, names.env_name(source.prefix))
        count = 0
        for name, reference in (("configMapRef", source.config_map_ref), ("secretRef", source.secret_ref)):
            if reference is not None:
                count += 1
                if not reference.name:
                    out.append(field.required(f"{here}.{name}.name"))
                else:
                    wrong = names.dns_subdomain(names.masked(reference.name))
                    meta.wrong_name(out, f"{here}.{name}.name", reference.name, wrong)
        if not count:
            out.append(field.invalid(path, "", "must specify one of: `configMapRef` or `secretRef`"))
        elif count > 1:
            out.append(field.invalid(path, "", "may not have more than one field specified at a time"))


def _mounts(out: list[Cause], path: str, container: Container, around: Surroundings) -> None:
    devices = {device.name: device.device_path for device in container.volume_devices}
    taken: set[str] = set()
    for i, mount in enumerate(container.volume_mounts):
        here = f"{path}[{i}]"
        volume = around.volumes.get(mount.name)
        if not mount.name:
            out.append(field.required(f"{here}.name"))
        if volume is None:
            out.append(field.not_found(f"{here}.name", mount.name))
        if not mount.mount_path:
            out.append(field.required(f"{here}.mountPath"))
        if mount.mount_path in taken:
            out.append(field.invalid(f"{here}.mountPath", mount.mount_path, "must be unique"))
        taken.add(mount.mount_path)
        if devices:
            if mount.name in devices:
                out.append(field.invalid(f"{here}.name", mount.name, "must not already exist in volumeDevices"))
            if mount.mount_path in devices.values():
                words = "must not already exist as a path in volumeDevices"
                out.append(field.invalid(f"{here}.mountPath", mount.mount_path, words))
        if mount.sub_path or mount.sub_path_expr:
            _sub_paths(out, path, here, mount, volume)
        if mount.mount_propagation is not None:
            _propagation(out, f"{path}.mountPropagation", mount.mount_propagation, container)
        if mount.recursive_read_only is not None:
            _recursive_read_only(out, f"{path}.recursiveReadOnly", mount)


def _sub_paths(
    out: list[Cause], path: str, here: str, mount: core_v1.VolumeMount, volume: core_v1.Volume | None
) -> None:
    if volume is not None and volume.image is not None and mount.sub_path_expr:
        words = "not allowed in image volume sources"
        out.append(field.invalid(f"{here}.subPathExpr", mount.sub_path_expr, words))
    if mount.sub_path:
        paths.local_descending(out, f"{path}.subPath", mount.sub_path)
    if mount.sub_path_expr:
        if mount.sub_path:
            words = "subPathExpr and subPath are mutually exclusive"
            out.append(field.invalid(f"{here}.subPathExpr", mount.sub_path_expr, words))
        paths.local_descending(out, f"{path}.subPathExpr", mount.sub_path_expr)


def _propagation(out: list[Cause], path: str, mode: str, container: Container) -> None:
    supported = ("Bidirectional", "HostToContainer", "None")
    if mode not in supported:
        out.append(field.not_supported(path, mode, supported))
    privileged = container.security_context is not None and container.security_context.privileged
    if mode == "Bidirectional" and not privileged:
        words = "Bidirectional mount propagation is available only to privileged containers"
        out.append(field.forbidden(path, words))


def _recursive_read_only(out: list[Cause], path: str, mount: core_v1.VolumeMount) -> None:
    mode = mount.recursive_read_only or ""
    if mode in ("Enabled", "IfPossible"):
        if not mount.read_only:
            out.append(field.forbidden(path, "may only be specified when readOnly is true"))
        if mount.mount_propagation is not None and mount.mount_propagation != "None":
            words = "may only be specified when mountPropagation is None or not specified"
            out.append(field.forbidden(path, words))
    elif mode != "Disabled":
        out.append(field.not_supported(path, mode, ("Disabled", "Enabled", "IfPossible")))


def _devices(out: list[Cause], path: str, container: Container, around: Surroundings) -> None:
    mounts = {mount.name: mount.mount_path for mount in container.volume_mounts}
    taken_paths: set[str] = set()
    taken_names: set[str] = set()
    for i, device in enumerate(container.volume_devices):
        here = f"{path}[{i}]"
        name, place = device.name, device.device_path
        volume = around.volumes.get(name)
        if not name:
            out.append(field.required(f"{here}.name"))
        if name in taken_names:
            out.append(field.invalid(f"{here}.name", name, "must be unique"))
        if volume is None:
            out.append(field.not_found(f"{here}.name", name))
        elif volume.persistent_volume_claim is None and volume.ephemeral is None:
            words = "can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode"
            out.append(field.invalid(f"{here}.name", name, words))
        if not place:
            out.append(field.required(f"{here}.devicePath"))
        if place in taken_paths:
            out.append(field.invalid(f"{here}.devicePath", place, "must be unique"))
        if ".." in place.split("/"):
            out.append(field.invalid(f"{here}.devicePath", place, "can not contain backsteps ('..')"))
        else:
            taken_paths.add(place)
        if name in mounts:
            out.append(field.invalid(f"{here}.name", name, "must not already exist in volumeMounts"))
        if place in mounts.values():
            out.append(field.invalid(f"{here}.devicePath", place, "must not already exist as a path in volumeMounts"))
        if name:
            taken_names.add(name)


def _resize_policy(
    out: list[Cause], path: str, policies: Sequence[core_v1.ContainerResizePolicy], restart_policy: str
) -> None:
    seen: set[str] = set()
    for i, policy in enumerate(policies):
        if policy.resource_name in seen:
            out.append(field.duplicate(f"{path}[{i}]", policy.resource_name))
        seen.add(policy.resource_name)
        for value, supported in (
            (policy.resource_name, ("cpu", "memory")),
            (policy.restart_policy, ("NotRequired", "RestartContainer")),
        ):
            if value not in supported:
                out.append(field.not_supported(path, value, supported) if value else field.required(path))
        if restart_policy == "Never" and policy.restart_policy != "NotRequired":
            words = "must be 'NotRequired' when `restartPolicy` is 'Never'"
            out.append(field.invalid(path, policy.restart_policy, words))


def regular(out: list[Cause], path: str, found: Sequence[core_v1.Container], around: Surroundings) -> None:
    """The containers that run for the Pod's life."""
    if not found:
        out.append(field.required(path))
        return
    taken: set[str] = set()
    for i, container in enumerate(found):
        here = f"{path}[{i}]"
        common(out, here, container, around)
        if container.name in taken:
            out.append(field.duplicate(f"{here}.name", container.name))
        taken.add(container.name)
        _handlers(out, here, container, around)
        if container.restart_policy is not None or container.restart_policy_rules:
            _restart_rules(out, here, container, RESTART_POLICIES)
    host_port_conflicts(out, path, found)


def _handlers(out: list[Cause], path: str, container: core_v1.Container, around: Surroundings) -> None:
    grace = around.grace_period_seconds
    if container.lifecycle is not None:
        lifecycle(out, f"{path}.lifecycle", container.lifecycle, grace)
    if container.liveness_probe is not None:
        liveness(out, f"{path}.livenessProbe", container.liveness_probe, grace)
    if container.readiness_probe is not None:
        readiness(out, f"{path}.readinessProbe", container.readiness_probe, grace)
    if container.startup_probe is not None:
        startup(out, f"{path}.startupProbe", container.startup_probe, grace)


def _restart_rules(out: list[Cause], path: str, container: core_v1.Container, supported: Sequence[str]) -> None:
    """Source: KEP-5307, rules of container restarts."""
    policy, rules = container.restart_policy, container.restart_policy_rules
    if policy is not None and policy not in supported:
        out.append(field.not_supported(f"{path}.restartPolicy", policy, supported))
    if policy is None and rules:
        words = "must specify restartPolicy when restart rules are used"
        out.append(field.required(f"{path}.restartPolicy", words))
    if len(rules) > MAX_RESTART_RULES:
        out.append(field.too_long(f"{path}.restartPolicyRules", MAX_RESTART_RULES))
    for i, rule in enumerate(rules):
        here = f"{path}.restartPolicyRules[{i}]"
        if rule.action not in ("Restart", "RestartAllContainers"):
            out.append(field.not_supported(f"{here}.action", rule.action, ("Restart", "RestartAllContainers")))
        if rule.exit_codes is None:
            out.append(field.required(f"{here}.exitCodes", "must be specified"))
            continue
        if rule.exit_codes.operator not in ("In", "NotIn"):
            shown = f"{here}.exitCodes.operator"
            out.append(field.not_supported(shown, rule.exit_codes.operator, ("In", "NotIn")))
        if len(rule.exit_codes.values) > MAX_EXIT_CODES:
            out.append(field.too_long(f"{here}.exitCodes.values", MAX_EXIT_CODES))


def initial(
    out: list[Cause],
    path: str,
    found: Sequence[core_v1.Container],
    regulars: Sequence[core_v1.Container],
    around: Surroundings,
) -> None:
    """The containers that run before the others, sidecars among them."""
    taken = {container.name for container in regulars}
    for i, container in enumerate(found):
        here = f"{path}[{i}]"
        common(out, here, container, around)
        sidecar = container.restart_policy == "Always"
        if container.restart_policy is not None or container.restart_policy_rules:
            _restart_rules(out, here, container, RESTART_POLICIES)
        if container.name in taken:
            out.append(field.duplicate(f"{here}.name", container.name))
        elif container.name:
            taken.add(container.name)
        host_port_conflicts(out, path, [container])
        if sidecar:
            _handlers(out, here, container, around)
            continue
        for name, value in (
            ("lifecycle", container.lifecycle),
            ("livenessProbe", container.liveness_probe),
            ("readinessProbe", container.readiness_probe),
            ("startupProbe", container.startup_probe),
        ):
            if value is not None:
                out.append(field.forbidden(f"{here}.{name}", _ONLY_FOR_SIDECARS))


def host_port_conflicts(out: list[Cause], path: str, found: Sequence[core_v1.Container]) -> None:
    """No port of the node may be taken twice."""
    taken: set[tuple[str, str, int]] = set()
    for i, container in enumerate(found):
        for j, port in enumerate(container.ports):
            if not port.host_port:
                continue
            key = (port.protocol, port.host_ip, port.host_port)
            if key in taken:
                shown = f"{port.protocol}/{port.host_ip}/{port.host_port}"
                out.append(field.duplicate(f"{path}[{i}].ports[{j}].hostPort", shown))
            taken.add(key)


def ephemeral(
    out: list[Cause],
    path: str,
    found: Sequence[core_v1.EphemeralContainer],
    others: Sequence[core_v1.Container],
    around: Surroundings,
) -> None:
    """Containers added to a running Pod for debugging."""
    targets = {container.name for container in others}
    taken = set(targets)
    for i, container in enumerate(found):
        here = f"{path}[{i}]"
        common(out, here, container, around)
        image_padding(out, here, container)
        if container.name in taken:
            out.append(field.duplicate(f"{here}.name", container.name))
        taken.add(container.name)
        if container.target_container_name and container.target_container_name not in targets:
            out.append(field.not_found(f"{here}.targetContainerName", container.target_container_name))
        _only_allowed(out, here, container)
        for j, mount in enumerate(container.volume_mounts):
            if mount.sub_path:
                out.append(field.forbidden(f"{here}.volumeMounts[{j}].subPath", _NOT_EPHEMERAL))
            if mount.sub_path_expr:
                out.append(field.forbidden(f"{here}.volumeMounts[{j}].subPathExpr", _NOT_EPHEMERAL))


def _only_allowed(out: list[Cause], path: str, container: core_v1.EphemeralContainer) -> None:
    wanted = container.resources
    for name, value in (
        ("ports", container.ports),
        ("resources", wanted.limits or wanted.requests or wanted.claims),
        ("resizePolicy", container.resize_policy),
        ("restartPolicy", container.restart_policy),
        ("restartPolicyRules", container.restart_policy_rules),
        ("livenessProbe", container.liveness_probe),
        ("readinessProbe", container.readiness_probe),
        ("startupProbe", container.startup_probe),
        ("lifecycle", container.lifecycle),
    ):
        if value:
            out.append(field.forbidden(f"{path}.{name}", _NOT_EPHEMERAL))


def image_padding(out: list[Cause], path: str, container: Container) -> None:
    """A Pod's images, unlike a template's, must not be padded."""
    if container.image != container.image.strip():
        words = "must not have leading or trailing whitespace"
        out.append(field.invalid(f"{path}.image", container.image, words))
