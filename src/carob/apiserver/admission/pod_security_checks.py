"""The Pod Security Standards as checks: what a Pod must not do at the levels `baseline` and `restricted`. Pure.

A check answers with a reason and a detail, in upstream's words, or with None. Checks that `restricted` sharpens replace
their `baseline` form there.

Source: kubernetes `staging/…/pod-security-admission/policy`; the Pod Security Standards.
"""

from __future__ import annotations

from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from carob.api.types.core_v1 import Pod

PRIVILEGED, BASELINE, RESTRICTED = "privileged", "baseline", "restricted"
LEVELS = (PRIVILEGED, BASELINE, RESTRICTED)

_BASELINE_CAPABILITIES = frozenset(
    (
        "AUDIT_WRITE",
        "CHOWN",
        "DAC_OVERRIDE",
        "FOWNER",
        "FSETID",
        "KILL",
        "MKNOD",
        "NET_BIND_SERVICE",
        "SETFCAP",
        "SETGID",
        "SETPCAP",
        "SETUID",
        "SYS_CHROOT",
    )
)
_SYSCTLS = frozenset(
    (
        "kernel.shm_rmid_forced",
        "net.ipv4.ip_local_port_range",
        "net.ipv4.ip_unprivileged_port_start",
        "net.ipv4.ping_group_range",
        "net.ipv4.tcp_syncookies",
    )
)
_SYSCTLS_27 = _SYSCTLS | {"net.ipv4.ip_local_reserved_ports"}
_SYSCTLS_29 = _SYSCTLS_27 | {
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
    "net.ipv4.tcp_keepalive_time",
}
_SYSCTLS_32 = _SYSCTLS_29 | {"net.ipv4.tcp_rmem", "net.ipv4.tcp_wmem"}
_SYSCTLS_SINCE = ((0, _SYSCTLS), (27, _SYSCTLS_27), (29, _SYSCTLS_29), (32, _SYSCTLS_32))
_VOLUMES = frozenset(
    (
        "config_map",
        "csi",
        "downward_api",
        "empty_dir",
        "ephemeral",
        "image",
        "persistent_volume_claim",
        "projected",
        "secret",
    )
)
_SE_LINUX_TYPES = frozenset(("", "container_t", "container_init_t", "container_kvm_t", "container_engine_t"))
_PROFILES = frozenset(("RuntimeDefault", "Localhost"))
_OWN_HOSTS = frozenset(("", "127.0.0.1", "::1"))
_SECCOMP_ANNOTATIONS = (
    "seccomp.security.alpha.kubernetes.io/pod",
    "container.seccomp.security.alpha.kubernetes.io/",
)
_APP_ARMOR_ANNOTATION = "container.apparmor.security.beta.kubernetes.io/"


class Violation(NamedTuple):
    """What is forbidden, and who does it."""

    reason: str
    detail: str


def quoted(names: Iterable[str]) -> str:
    """`"a", "b"`."""
    return ", ".join(f'"{name}"' for name in names)


def _containers(pod: Pod) -> list[Any]:
    spec = pod.spec
    return [*spec.init_containers, *spec.containers, *spec.ephemeral_containers]


def _named(kind: str, names: list[str]) -> str:
    return f"{kind if len(names) == 1 else kind + 's'} {quoted(names)}"


def _where(pod: Pod, bad: Callable[[Any], bool]) -> list[str]:
    """The names of containers whose security context (None: none) is bad."""
    return [container.name for container in _containers(pod) if bad(container.security_context)]


def _windows(pod: Pod) -> bool:
    return pod.spec.os is not None and pod.spec.os.name == "windows"


def _privilege_escalation(spares_windows: bool, pod: Pod) -> Violation | None:
    names = _where(pod, lambda context: context is None or context.allow_privilege_escalation is not False)
    if not names or (spares_windows and _windows(pod)):
        return None
    detail = f"{_named('container', names)} must set securityContext.allowPrivilegeEscalation=false"
    return Violation("allowPrivilegeEscalation != false", detail)


def _app_armor(pod: Pod) -> Violation | None:
    setters, values = [], set()
    context = pod.spec.security_context
    if context is not None and context.app_armor_profile is not None:
        kind = context.app_armor_profile.type
        if kind not in _PROFILES:
            setters.append("pod")
            values.add(kind)
    names = []
    for container in _containers(pod):
        own = container.security_context
        if own is not None and own.app_armor_profile is not None and own.app_armor_profile.type not in _PROFILES:
            names.append(container.name)
            values.add(own.app_armor_profile.type)
    if names:
        setters.append(_named("container", names))
    details = []
    if setters:
        details.append(f"{' and '.join(setters)} must not set AppArmor profile type to {quoted(sorted(values))}")
    annotations = [
        f'"{key}"="{value}"'
        for key, value in sorted(pod.metadata.annotations.items())
        if key.startswith(_APP_ARMOR_ANNOTATION)
        and value not in ("", "runtime/default")
        and not value.startswith("localhost/")
    ]
    if annotations:
        words = "annotation" if len(annotations) == 1 else "annotations"
        details.append(f"{words} {', '.join(annotations)}")
    if not details:
        return None
    plural = len(values) + len(annotations) > 1
    return Violation("forbidden AppArmor profile" + ("s" if plural else ""), " and ".join(details))


def _added(pod: Pod, allowed: frozenset[str]) -> tuple[list[str], set[str]]:
    """Containers that add capabilities that are not allowed, and these capabilities."""
    names, capabilities = [], set()
    for container in _containers(pod):
        context = container.security_context
        if context is None or context.capabilities is None:
            continue
        bad = set(context.capabilities.add) - allowed
        if bad:
            names.append(container.name)
            capabilities |= bad
    return names, capabilities


def _default_capabilities(pod: Pod) -> Violation | None:
    names, capabilities = _added(pod, _BASELINE_CAPABILITIES)
    if not names:
        return None
    who = _named("container", names)
    detail = f"{who} must not include {quoted(sorted(capabilities))} in securityContext.capabilities.add"
    return Violation("non-default capabilities", detail)


def _no_capabilities(spares_windows: bool, pod: Pod) -> Violation | None:
    if spares_windows and _windows(pod):
        return None
    details = []
    keeping = _where(
        pod, lambda context: context is None or context.capabilities is None or "ALL" not in context.capabilities.drop
    )
    if keeping:
        details.append(f'{_named("container", keeping)} must set securityContext.capabilities.drop=["ALL"]')
    names, capabilities = _added(pod, frozenset(("NET_BIND_SERVICE",)))
    if names:
        who = _named("container", names)
        details.append(f"{who} must not include {quoted(sorted(capabilities))} in securityContext.capabilities.add")
    return Violation("unrestricted capabilities", "; ".join(details)) if details else None


def _host_namespaces(pod: Pod) -> Violation | None:
    spec = pod.spec
    flags = (("hostNetwork", spec.host_network), ("hostPID", spec.host_pid), ("hostIPC", spec.host_ipc))
    used = [f"{name}=true" for name, value in flags if value]
    return Violation("host namespaces", ", ".join(used)) if used else None


def _host_paths(pod: Pod) -> Violation | None:
    names = [volume.name for volume in pod.spec.volumes if volume.host_path is not None]
    return Violation("hostPath volumes", _named("volume", names)) if names else None


def _host_ports(pod: Pod) -> Violation | None:
    names, ports = [], set()
    for container in _containers(pod):
        bad = {port.host_port for port in container.ports if port.host_port}
        if bad:
            names.append(container.name)
            ports |= bad
    if not names:
        return None
    verb = "uses" if len(names) == 1 else "use"
    kind = "hostPort" if len(ports) == 1 else "hostPorts"
    listed = ", ".join(str(port) for port in sorted(ports))
    return Violation("hostPort", f"{_named('container', names)} {verb} {kind} {listed}")


def _hosts_of(container: Any) -> set[str]:
    lifecycle = container.lifecycle
    handlers = [container.liveness_probe, container.readiness_probe, container.startup_probe]
    if lifecycle is not None:
        handlers += [lifecycle.post_start, lifecycle.pre_stop]
    found = set()
    for handler in handlers:
        for action in (getattr(handler, "http_get", None), getattr(handler, "tcp_socket", None)):
            if action is not None and action.host not in _OWN_HOSTS:
                found.add(action.host)
    return found


def _probe_hosts(pod: Pod) -> Violation | None:
    names, hosts = [], set()
    for container in _containers(pod):
        bad = _hosts_of(container)
        if bad:
            names.append(container.name)
            hosts |= bad
    if not names:
        return None
    verb = "uses" if len(names) == 1 else "use"
    kind = "host" if len(hosts) == 1 else "hosts"
    detail = f"{_named('container', names)} {verb} probe or lifecycle {kind} {quoted(sorted(hosts))}"
    return Violation("probe or lifecycle host", detail)


def _privileged(pod: Pod) -> Violation | None:
    names = _where(pod, lambda context: context is not None and bool(context.privileged))
    detail = f"{_named('container', names)} must not set securityContext.privileged=true"
    return Violation("privileged", detail) if names else None


def _proc_mount(pod: Pod) -> Violation | None:
    names, kinds = [], set()
    for container in _containers(pod):
        context = container.security_context
        if context is not None and context.proc_mount not in (None, "", "Default"):
            names.append(container.name)
            kinds.add(context.proc_mount)
    if not names:
        return None
    detail = f"{_named('container', names)} must not set securityContext.procMount to {quoted(sorted(kinds))}"
    return Violation("procMount", detail)


def _volume_kind(volume: Any) -> str:
    """`nfs`: the JSON name of a volume's source; empty where none is given (an emptyDir)."""
    for field, encoded in zip(volume.__struct_fields__, volume.__struct_encode_fields__, strict=True):
        if field != "name" and getattr(volume, field) is not None:
            return "" if field in _VOLUMES else str(encoded)
    return ""


def _volume_types(pod: Pod) -> Violation | None:
    bad = [(volume.name, kind) for volume in pod.spec.volumes if (kind := _volume_kind(volume))]
    if not bad:
        return None
    names, kinds = [name for name, _ in bad], sorted({kind for _, kind in bad})
    verb = "uses" if len(names) == 1 else "use"
    words = "type" if len(kinds) == 1 else "types"
    detail = f"{_named('volume', names)} {verb} restricted volume {words} {quoted(kinds)}"
    return Violation("restricted volume types", detail)


def _not_root(pod: Pod) -> Violation | None:
    context = pod.spec.security_context
    of_pod = context.run_as_non_root if context is not None else None
    setters = ["pod"] if of_pod is False else []
    explicit = _where(pod, lambda own: own is not None and own.run_as_non_root is False)
    if explicit:
        setters.append(_named("container", explicit))
    reason = "runAsNonRoot != true"
    if setters:
        return Violation(reason, f"{' and '.join(setters)} must not set securityContext.runAsNonRoot=false")
    silent = _where(pod, lambda own: own is None or own.run_as_non_root is None)
    if of_pod or not silent:
        return None
    return Violation(reason, f"pod or {_named('container', silent)} must set securityContext.runAsNonRoot=true")


def _user_zero(pod: Pod) -> Violation | None:
    context = pod.spec.security_context
    setters = ["pod"] if context is not None and context.run_as_user == 0 else []
    names = _where(pod, lambda own: own is not None and own.run_as_user == 0)
    if names:
        setters.append(_named("container", names))
    return Violation("runAsUser=0", f"{' and '.join(setters)} must not set runAsUser=0") if setters else None


def _se_linux(allowed: frozenset[str], pod: Pod) -> Violation | None:
    setters, kinds, user, role = [], set(), False, False
    names = []
    contexts = [("", pod.spec.security_context), *((c.name, c.security_context) for c in _containers(pod))]
    for name, context in contexts:
        options = context.se_linux_options if context is not None else None
        if options is None:
            continue
        bad_kind = options.type not in allowed
        if not (bad_kind or options.user or options.role):
            continue
        if bad_kind:
            kinds.add(options.type)
        user, role = user or bool(options.user), role or bool(options.role)
        if name:
            names.append(name)
        else:
            setters.append("pod")
    if names:
        setters.append(_named("container", names))
    if not setters:
        return None
    values = []
    if kinds:
        values.append(f"{'type' if len(kinds) == 1 else 'types'} {quoted(sorted(kinds))}")
    values += [f"{what} may not be set" for what, there in (("user", user), ("role", role)) if there]
    detail = f"{' and '.join(setters)} set forbidden securityContext.seLinuxOptions: {'; '.join(values)}"
    return Violation("seLinuxOptions", detail)


def _unconfined(pod: Pod) -> Violation | None:
    """Explicitly bad seccomp profiles, of the Pod and of containers."""
    setters, kinds, names = [], set(), []
    context = pod.spec.security_context
    if context is not None and context.seccomp_profile is not None and context.seccomp_profile.type not in _PROFILES:
        setters.append("pod")
        kinds.add(context.seccomp_profile.type)
    for container in _containers(pod):
        own = container.security_context
        if own is not None and own.seccomp_profile is not None and own.seccomp_profile.type not in _PROFILES:
            names.append(container.name)
            kinds.add(own.seccomp_profile.type)
    if names:
        setters.append(_named("container", names))
    if not setters:
        return None
    detail = f"{' and '.join(setters)} must not set securityContext.seccompProfile.type to {quoted(sorted(kinds))}"
    return Violation("seccompProfile", detail)


def _confined(spares_windows: bool, pod: Pod) -> Violation | None:
    bad = _unconfined(pod)
    if bad is not None or (spares_windows and _windows(pod)):
        return bad
    context = pod.spec.security_context
    if context is not None and context.seccomp_profile is not None:
        return None
    silent = _where(pod, lambda own: own is None or own.seccomp_profile is None)
    if not silent:
        return None
    who = f"pod or {_named('container', silent)}"
    detail = f'{who} must set securityContext.seccompProfile.type to "RuntimeDefault" or "Localhost"'
    return Violation("seccompProfile", detail)


def _unconfined_by_annotation(pod: Pod) -> Violation | None:
    """As `_unconfined`, when profiles were annotations."""
    keys = [_SECCOMP_ANNOTATIONS[0], *(_SECCOMP_ANNOTATIONS[1] + container.name for container in _containers(pod))]
    annotations = pod.metadata.annotations
    bad = sorted(
        f'{key}="{annotations[key]}"'
        for key in set(keys)
        if key in annotations
        and annotations[key] not in ("runtime/default", "docker/default")
        and not annotations[key].startswith("localhost/")
    )
    words = "annotation" if len(bad) == 1 else "annotations"
    return Violation("seccompProfile", f"forbidden {words} {', '.join(bad)}") if bad else None


def _sysctls(allowed: frozenset[str], pod: Pod) -> Violation | None:
    context = pod.spec.security_context
    names = sorted({s.name for s in context.sysctls} - allowed) if context is not None else []
    return Violation("forbidden sysctls", ", ".join(names)) if names else None


def _host_process(pod: Pod) -> Violation | None:
    def bad(context: Any) -> bool:
        return (
            context is not None and context.windows_options is not None and bool(context.windows_options.host_process)
        )

    setters = ["pod"] if bad(pod.spec.security_context) else []
    names = _where(pod, bad)
    if names:
        setters.append(_named("container", names))
    if not setters:
        return None
    detail = f"{' and '.join(setters)} must not set securityContext.windowsOptions.hostProcess=true"
    return Violation("hostProcess", detail)


# each check with the versions from which on its forms count (v1.N as N); a form counts until the next one
Forms = tuple[tuple[int, Any], ...]
_BASELINE: tuple[Forms, ...] = (
    ((0, _app_armor),),
    ((0, _default_capabilities),),
    ((0, _host_namespaces),),
    ((0, _host_paths),),
    ((0, _host_ports),),
    ((34, _probe_hosts),),
    ((0, _privileged),),
    ((0, _proc_mount),),
    ((0, partial(_se_linux, _SE_LINUX_TYPES - {"container_engine_t"})), (31, partial(_se_linux, _SE_LINUX_TYPES))),
    ((0, _unconfined_by_annotation), (19, _unconfined)),
    tuple((since, partial(_sysctls, allowed)) for since, allowed in _SYSCTLS_SINCE),
    ((0, _host_process),),
)
_RESTRICTED: tuple[Forms, ...] = (
    ((8, partial(_privilege_escalation, False)), (25, partial(_privilege_escalation, True))),
    ((22, partial(_no_capabilities, False)), (25, partial(_no_capabilities, True))),
    ((0, _volume_types),),
    ((0, _not_root),),
    ((23, _user_zero),),
    ((19, partial(_confined, False)), (25, partial(_confined, True))),
)
# what `restricted` sharpens, by the checks that do so
_REPLACED = {1: _BASELINE[1], 2: _BASELINE[3], 5: _BASELINE[9]}
LATEST = 1_000_000


def violations(level: str, pod: Pod, minor: int = LATEST) -> list[Violation]:
    """What the Pod does that the level forbids, in upstream's order. `minor`: 28 for the policy of v1.28."""
    if level == PRIVILEGED:
        return []
    return [found for check in _checks_of(level, minor) if (found := check(pod)) is not None]


@lru_cache(maxsize=128)
def _checks_of(level: str, minor: int) -> tuple[Any, ...]:
    strict = _RESTRICTED if level == RESTRICTED else ()
    sharpened = [_REPLACED[n] for n, forms in enumerate(strict) if n in _REPLACED and _form(forms, minor) is not None]
    mild = (forms for forms in _BASELINE if not any(forms is one for one in sharpened))
    chosen = (_form(forms, minor) for forms in (*mild, *strict))
    return tuple(check for check in chosen if check is not None)


def _form(forms: Forms, minor: int) -> Any:
    """The form of a check that counts in a version; None if there was none yet."""
    return next((check for since, check in reversed(forms) if since <= minor), None)
