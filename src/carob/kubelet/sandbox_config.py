"""One Pod's sandbox as the runtime is asked to make it. Pure.

Source: kubelet `kuberuntime_sandbox.go` (generatePodSandboxConfig).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from carob.kubelet import labels
from carob.kubelet.etc_files import kernel_hostname
from carob.kubelet.resources import cgroup_parent, pod_resources
from carob.kubelet.security import selinux_options
from carob.runtime.types import DnsConfig, NamespaceMode, PortMapping, SandboxConfig

if TYPE_CHECKING:
    from collections.abc import Iterable

    from carob.api.types import core_v1
    from carob.kubelet.options import KubeletOptions
    from carob.runtime.types import UserNamespace


def sandbox_config(
    pod: core_v1.Pod,
    options: KubeletOptions,
    attempt: int,
    dns: DnsConfig,
    node_hostname: str,
    handler: str = "",
    users: UserNamespace | None = None,
    page_sizes: Iterable[str] = (),
) -> SandboxConfig:
    """The runtime's order; `page_sizes` of huge pages, as resources are named after them. Raises: ValueError for a host name that is too long."""
    spec = pod.spec
    sysctls = spec.security_context.sysctls if spec.security_context is not None else []
    return SandboxConfig(
        name=pod.metadata.name,
        namespace=pod.metadata.namespace,
        uid=pod.metadata.uid,
        attempt=attempt,
        hostname=node_hostname if spec.host_network else kernel_hostname(pod, options.cluster_domain),
        log_directory=log_directory(options.log_root, pod),
        dns=dns,
        port_mappings=[] if spec.host_network else host_ports(pod),
        labels=labels.sandbox_labels(pod),
        annotations=dict(pod.metadata.annotations),
        cgroup_parent=cgroup_parent(options.cgroup_root, pod),
        resources=msgspec.structs.replace(pod_resources(pod, page_sizes), pids_limit=options.pod_pids_limit),
        sysctls={sysctl.name: sysctl.value for sysctl in sysctls},
        network=NamespaceMode.NODE if spec.host_network else NamespaceMode.POD,
        pid=_pid(pod),
        ipc=NamespaceMode.NODE if spec.host_ipc else NamespaceMode.POD,
        runtime_handler=handler,
        users=users,
        selinux=selinux_options(spec.security_context.se_linux_options if spec.security_context is not None else None),
    )


def log_directory(root: str, pod: core_v1.Pod) -> str:
    """`<namespace>_<name>_<uid>` below the node's logs."""
    return f"{root}/{pod.metadata.namespace}_{pod.metadata.name}_{pod.metadata.uid}"


def host_ports(pod: core_v1.Pod) -> list[PortMapping]:
    """The ports of the node that this Pod wants."""
    return [
        PortMapping(port.protocol or "TCP", port.container_port, port.host_port, port.host_ip)
        for container in [*pod.spec.init_containers, *pod.spec.containers]
        for port in container.ports
        if port.host_port
    ]


def _pid(pod: core_v1.Pod) -> NamespaceMode:
    if pod.spec.host_pid:
        return NamespaceMode.NODE
    return NamespaceMode.POD if pod.spec.share_process_namespace else NamespaceMode.CONTAINER
