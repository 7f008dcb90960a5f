"""Start step: whether the node has, and allows, what the Pod asks of its kernel. Pure.

Source: kubelet `sysctl/allowlist.go`, `security/apparmor/validate.go`; the words are upstream's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from carob.kubelet.configuration import allowed
from carob.kubelet.failures import Rejected

if TYPE_CHECKING:
    from collections.abc import Iterable

    from carob.api.types import core_v1

SAFE_SYSCTLS = frozenset(
    (
        "kernel.shm_rmid_forced",
        "net.ipv4.ip_local_port_range",
        "net.ipv4.ip_local_reserved_ports",
        "net.ipv4.ip_unprivileged_port_start",
        "net.ipv4.ping_group_range",
        "net.ipv4.tcp_fin_timeout",
        "net.ipv4.tcp_keepalive_intvl",
        "net.ipv4.tcp_keepalive_probes",
        "net.ipv4.tcp_keepalive_time",
        "net.ipv4.tcp_rmem",
        "net.ipv4.tcp_syncookies",
        "net.ipv4.tcp_wmem",
    )
)
_OF_THE_IPC_NAMESPACE = ("kernel.shm", "kernel.msg", "kernel.sem", "fs.mqueue.")


def check(pod: core_v1.Pod, *, apparmor: bool, unsafe_sysctls: Iterable[str] = ()) -> None:
    """Raises: Rejected. `unsafe_sysctls`: those that Pods may set beside the safe ones, as the options have them."""
    _sysctls(pod, unsafe_sysctls)
    if not apparmor and any(profile.type in ("Localhost", "RuntimeDefault") for profile in _apparmor_profiles(pod)):
        raise Rejected("AppArmor", "Pod was rejected: Cannot enforce AppArmor: AppArmor is not enabled on the host")


def _sysctls(pod: core_v1.Pod, unsafe: Iterable[str]) -> None:
    wanted = pod.spec.security_context.sysctls if pod.spec.security_context is not None else []
    for sysctl in wanted:
        name = sysctl.name.replace("/", ".")
        why = ""
        if name not in SAFE_SYSCTLS and not allowed(name, unsafe):
            why = "not allowlisted"
        elif pod.spec.host_network and name.startswith("net."):
            why = "not allowed with host net enabled"
        elif pod.spec.host_ipc and name.startswith(_OF_THE_IPC_NAMESPACE):
            why = "not allowed with host ipc enabled"
        if why:
            raise Rejected("SysctlForbidden", f'Pod was rejected: forbidden sysctl: "{sysctl.name}" {why}')


def _apparmor_profiles(pod: core_v1.Pod) -> Iterable[core_v1.AppArmorProfile]:
    of_pod = pod.spec.security_context
    if of_pod is not None and of_pod.app_armor_profile is not None:
        yield of_pod.app_armor_profile
    for one in (*pod.spec.init_containers, *pod.spec.containers):
        if one.security_context is not None and one.security_context.app_armor_profile is not None:
            yield one.security_context.app_armor_profile
