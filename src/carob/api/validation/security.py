"""Rules of security contexts of Pods and containers.

Pure. Source: `pkg/apis/core/validation` (ValidateSecurityContext, validatePodSpecSecurityContext, validateOS).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from carob.api.types import core_v1
from carob.api.validation import field, meta, names, paths

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from carob.api.validation.field import Cause

SYSCTL = r"([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?"
PROFILES = ("Localhost", "RuntimeDefault", "Unconfined")
_NOTHING_ASKED = core_v1.PodSecurityContext()
_sysctl = re.compile(SYSCTL, re.ASCII).fullmatch
_control = re.compile(r"[\x00-\x1f\x7f]").search
_net_bios = re.compile(r'[^\\/:*?"<>|.][^\\/:*?"<>|]{0,14}').fullmatch
_dns_part = r"[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?"
_domain = re.compile(rf"{_dns_part}(?:\.{_dns_part})*", re.ASCII).fullmatch
_bad_user = re.compile(r'["/\\:;|=,+*?<>@\[\]]').search
_NOT_ON_WINDOWS = "cannot be set for a windows pod"
_NOT_ON_LINUX = "windows options cannot be set for a linux pod"


def _id(out: list[Cause], path: str, value: int | None) -> None:
    if value is not None and (wrong := names.user_id(value)):
        out.append(field.invalid(path, value, wrong[0]))


def container_context(out: list[Cause], path: str, context: core_v1.SecurityContext, host_users: bool) -> None:
    """What a container may do. `host_users` is whether the Pod shares the node's user ids."""
    _id(out, f"{path}.runAsUser", context.run_as_user)
    _id(out, f"{path}.runAsGroup", context.run_as_group)
    if context.proc_mount is not None:
        if context.proc_mount not in ("Default", "Unmasked"):
            supported = ("Default", "Unmasked")
            out.append(field.not_supported(f"{path}.procMount", context.proc_mount, supported))
        if host_users and context.proc_mount == "Unmasked":
            words = "`hostUsers` must be false to use `Unmasked`"
            out.append(field.invalid(f"{path}.procMount", context.proc_mount, words))
    seccomp(out, f"{path}.seccompProfile", context.seccomp_profile)
    if context.allow_privilege_escalation is False:
        words = "cannot set `allowPrivilegeEscalation` to false and"
        if context.privileged:
            out.append(field.invalid(path, context, f"{words} `privileged` to true"))
        if context.capabilities is not None and "CAP_SYS_ADMIN" in context.capabilities.add:
            out.append(field.invalid(path, context, f"{words} `capabilities.Add` CAP_SYS_ADMIN"))
    if context.windows_options is not None:
        _windows_options(out, f"{path}.windowsOptions", context.windows_options)
    app_armor(out, f"{path}.appArmorProfile", context.app_armor_profile)


def seccomp(out: list[Cause], path: str, profile: core_v1.SeccompProfile | None) -> None:
    """Which system calls are allowed."""
    if profile is None:
        return
    if not profile.type:
        out.append(field.required(f"{path}.type", "type is required when seccompProfile is set"))
    elif profile.type not in PROFILES:
        out.append(field.not_supported(f"{path}.type", profile.type, PROFILES))
    here = f"{path}.localhostProfile"
    if profile.type == "Localhost":
        if profile.localhost_profile is None:
            out.append(field.required(here, "must be set when seccomp type is Localhost"))
        else:
            paths.local_descending(out, here, profile.localhost_profile)
    elif profile.localhost_profile is not None:
        out.append(field.invalid(here, profile, "can only be set when seccomp type is Localhost"))


def app_armor(out: list[Cause], path: str, profile: core_v1.AppArmorProfile | None) -> None:
    """Which AppArmor profile is used."""
    if profile is None:
        return
    here, local = f"{path}.localhostProfile", profile.localhost_profile
    if profile.type == "Localhost":
        if not local:
            out.append(field.required(here, "must be set when AppArmor type is Localhost"))
        elif local != local.strip():
            out.append(field.invalid(here, local, "must not be padded with whitespace"))
        if local is not None and len(local) > 4095:
            out.append(field.too_long(here, 4095))
    elif profile.type in PROFILES:
        if local is not None:
            out.append(field.invalid(here, local, "can only be set when AppArmor type is Localhost"))
    elif not profile.type:
        out.append(field.required(f"{path}.type", "type is required when appArmorProfile is set"))
    else:
        out.append(field.not_supported(f"{path}.type", profile.type, PROFILES))


def pod_context(out: list[Cause], path: str, spec: core_v1.PodSpec) -> None:
    """What the Pod as a whole may do."""
    context = spec.security_context
    if context is not None and context != _NOTHING_ASKED:
        _id(out, f"{path}.fsGroup", context.fs_group)
        _id(out, f"{path}.runAsUser", context.run_as_user)
        _id(out, f"{path}.runAsGroup", context.run_as_group)
        for i, group in enumerate(context.supplemental_groups):
            _id(out, f"{path}.supplementalGroups[{i}]", group)
    if spec.share_process_namespace and spec.host_pid:
        words = "ShareProcessNamespace and HostPID cannot both be enabled"
        out.append(field.invalid(f"{path}.shareProcessNamespace", True, words))
    if context is None or context == _NOTHING_ASKED:
        return
    if context.sysctls:
        _sysctls(out, f"{path}.sysctls", context.sysctls, spec)
    _one_of(out, f"{path}.fsGroupChangePolicy", context.fs_group_change_policy, ("Always", "OnRootMismatch"))
    seccomp(out, f"{path}.seccompProfile", context.seccomp_profile)
    if context.windows_options is not None:
        _windows_options(out, f"{path}.windowsOptions", context.windows_options)
    app_armor(out, f"{path}.appArmorProfile", context.app_armor_profile)
    _one_of(out, f"{path}.supplementalGroupsPolicy", context.supplemental_groups_policy, ("Merge", "Strict"))
    _one_of(out, f"{path}.seLinuxChangePolicy", context.se_linux_change_policy, ("MountOption", "Recursive"))


def _one_of(out: list[Cause], path: str, value: str | None, supported: Sequence[str]) -> None:
    if value is not None and value not in supported:
        out.append(field.not_supported(path, value, supported))


def _sysctls(out: list[Cause], path: str, sysctls: Sequence[core_v1.Sysctl], spec: core_v1.PodSpec) -> None:
    seen: set[str] = set()
    for i, sysctl in enumerate(sysctls):
        here, name = f"{path}[{i}].name", sysctl.name
        if not name:
            out.append(field.required(here))
        elif len(name) > 253 or not _sysctl(name):
            words = f"must have at most 253 characters and match regex ^{SYSCTL}$"
            out.append(field.invalid(here, name, words))
        elif name in seen:
            out.append(field.duplicate(here, name))
        dotted = name.replace("/", ".")
        if spec.host_network and dotted.startswith("net."):
            out.append(field.invalid(here, name, "may not be specified when 'hostNetwork' is true"))
        elif spec.host_ipc and dotted.startswith(("kernel.shm", "kernel.msg", "kernel.sem", "fs.mqueue.")):
            out.append(field.invalid(here, name, "may not be specified when 'hostIPC' is true"))
        seen.add(name)


def _windows_options(out: list[Cause], path: str, options: core_v1.WindowsSecurityContextOptions) -> None:
    name, content = options.gmsa_credential_spec_name, options.gmsa_credential_spec
    if name is not None:
        meta.wrong_name(out, f"{path}.gmsaCredentialSpecName", name, names.dns_subdomain(name))
    if content is not None:
        here = f"{path}.gmsaCredentialSpec"
        if not content:
            out.append(field.invalid(here, content, "gmsaCredentialSpec cannot be an empty string"))
        elif len(content) > 64 * 1024:
            out.append(field.invalid(here, content, "gmsaCredentialSpec size must be under 64 KiB"))
    if options.run_as_user_name is not None:
        for words in _windows_user_errors(options.run_as_user_name):
            out.append(field.invalid(f"{path}.runAsUserName", options.run_as_user_name, f"runAsUserName{words}"))


def _windows_user_errors(value: str) -> Iterator[str]:
    domain, backslash, user = value.rpartition("\\")
    if not value:
        yield " cannot be an empty string"
        return
    if _control(value):
        yield " cannot contain control characters"
        return
    if value.count("\\") > 1:
        yield " cannot contain more than one backslash"
        return
    if len(domain) >= 256:
        yield "'s Domain length must be under 256 characters"
    if backslash and not (_net_bios(domain) or _domain(domain)):
        yield "'s Domain doesn't match the NetBios nor the DNS format"
    if not user:
        yield "'s User cannot be empty"
    elif len(user) > 104:
        yield "'s User length must not be longer than 104 characters"
    if user and not user.strip(". "):
        yield "'s User cannot contain only periods or spaces"
    if _bad_user(user):
        yield "'s User cannot contain the following characters: \"/\\:;|=,+*?<>@[]"


def every_container(spec: core_v1.PodSpec, path: str) -> Iterator[tuple[str, Any]]:
    """Path and container of all, in upstream's order: init, regular, ephemeral."""
    for name, found in (
        ("initContainers", spec.init_containers),
        ("containers", spec.containers),
        ("ephemeralContainers", spec.ephemeral_containers),
    ):
        for i, container in enumerate(found):
            yield f"{path}.{name}[{i}]", container


def host_process(out: list[Cause], path: str, spec: core_v1.PodSpec) -> None:
    """Windows containers that run on the node itself: all of a Pod or none."""
    context = spec.security_context
    own = context.windows_options.host_process if context and context.windows_options else None
    total = used = 0
    for here, container in every_container(spec, path):
        total += 1
        inner = container.security_context
        options = inner.windows_options if inner is not None else None
        theirs = options.host_process if options is not None else None
        if own is not None and theirs is not None and own != theirs:
            shown = "true" if own else "false"
            words = f"pod hostProcess value must be identical if both are specified, was {shown}"
            out.append(field.invalid(f"{here}.securityContext.windowsOptions.hostProcess", theirs, words))
        used += bool(own if theirs is None else theirs)
    if not used:
        return
    if used != total:
        words = "If pod contains any hostProcess containers then all containers must be HostProcess containers"
        out.append(field.invalid(path, "", words))
    if not spec.host_network:
        words = "hostNetwork must be true if pod contains any hostProcess containers"
        out.append(field.invalid(f"{path}.hostNetwork", False, words))


def host_users(out: list[Cause], path: str, spec: core_v1.PodSpec) -> None:
    """A Pod with user ids of its own cannot share the node's other namespaces."""
    if spec.host_users is not False:
        return
    for name, value in (("hostNetwork", spec.host_network), ("hostPID", spec.host_pid), ("hostIPC", spec.host_ipc)):
        if value:
            out.append(field.forbidden(f"{path}.{name}", "when `hostUsers` is false"))


def operating_system(out: list[Cause], path: str, spec: core_v1.PodSpec) -> None:
    """What does not go with the Pod's operating system."""
    assert spec.os is not None
    name = spec.os.name
    if not name:
        out.append(field.required(f"{path}.os.name", "cannot be empty"))
    elif name not in ("linux", "windows"):
        out.append(field.not_supported(f"{path}.os", name, ("linux", "windows")))
    elif name == "linux":
        if spec.security_context is not None and spec.security_context.windows_options is not None:
            out.append(field.forbidden(f"{path}.securityContext.windowsOptions", _NOT_ON_LINUX))
        for here, container in every_container(spec, path):
            context = container.security_context
            if context is not None and context.windows_options is not None:
                out.append(field.forbidden(f"{here}.securityContext.windowsOptions", _NOT_ON_LINUX))
    else:
        _windows(out, path, spec)


def _windows(out: list[Cause], path: str, spec: core_v1.PodSpec) -> None:
    context = spec.security_context
    inner: Mapping[str, Any] = {}
    if context is not None:
        inner = {
            "appArmorProfile": context.app_armor_profile,
            "seLinuxOptions": context.se_linux_options,
        }
    found: list[tuple[str, Any]] = [(f"{path}.securityContext.{k}", v) for k, v in inner.items()]
    found += [
        (f"{path}.hostUsers", spec.host_users),
        (f"{path}.hostPID", spec.host_pid or None),
        (f"{path}.hostIPC", spec.host_ipc or None),
    ]
    if context is not None:
        here = f"{path}.securityContext"
        found += [
            (f"{here}.seccompProfile", context.seccomp_profile),
            (f"{here}.fsGroup", context.fs_group),
            (f"{here}.fsGroupChangePolicy", context.fs_group_change_policy),
            (f"{here}.sysctls", context.sysctls or None),
            (f"{path}.shareProcessNamespace", spec.share_process_namespace),
            (f"{here}.runAsUser", context.run_as_user),
            (f"{here}.runAsGroup", context.run_as_group),
            (f"{here}.supplementalGroups", context.supplemental_groups or None),
            (f"{here}.supplementalGroupsPolicy", context.supplemental_groups_policy),
            (f"{here}.seLinuxChangePolicy", context.se_linux_change_policy),
        ]
    for place, container in every_container(spec, path):
        own = container.security_context
        if own is not None:
            here = f"{place}.securityContext"
            found += [
                (f"{here}.appArmorProfile", own.app_armor_profile),
                (f"{here}.seLinuxOptions", own.se_linux_options),
                (f"{here}.seccompProfile", own.seccomp_profile),
                (f"{here}.capabilities", own.capabilities),
                (f"{here}.readOnlyRootFilesystem", own.read_only_root_filesystem),
                (f"{here}.privileged", own.privileged),
                (f"{here}.allowPrivilegeEscalation", own.allow_privilege_escalation),
                (f"{here}.procMount", own.proc_mount),
                (f"{here}.runAsUser", own.run_as_user),
                (f"{here}.runAsGroup", own.run_as_group),
            ]
    for place, value in found:
        if value is not None:
            out.append(field.forbidden(place, _NOT_ON_WINDOWS))
