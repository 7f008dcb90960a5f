"""Messages of the CRI about sandboxes: what a Pod shares. The numbers are the wire's; enums are named below.

Source: kubernetes/cri-api `pkg/apis/runtime/v1/api.proto`, v1.36. What is for Windows alone is left out.
"""

from __future__ import annotations

from typing import Annotated

from carob.runtime.cri.codec import UNSIGNED, Message

PROTOCOLS = ("TCP", "UDP", "SCTP")
SANDBOX_READY, SANDBOX_NOT_READY = 0, 1
NAMESPACE_POD, NAMESPACE_CONTAINER, NAMESPACE_NODE, NAMESPACE_TARGET = range(4)
PROFILE_RUNTIME_DEFAULT, PROFILE_UNCONFINED, PROFILE_LOCALHOST = range(3)
GROUPS_MERGE, GROUPS_STRICT = 0, 1


class Int64Value(Message):
    value: Annotated[int, 1] = 0


class UInt64Value(Message):
    value: Annotated[int, 1, UNSIGNED] = 0


class DNSConfig(Message):
    servers: Annotated[list[str], 1] = []
    searches: Annotated[list[str], 2] = []
    options: Annotated[list[str], 3] = []


class PortMapping(Message):
    protocol: Annotated[int, 1] = 0
    container_port: Annotated[int, 2] = 0
    host_port: Annotated[int, 3] = 0
    host_ip: Annotated[str, 4] = ""


class IDMapping(Message):
    host_id: Annotated[int, 1] = 0
    container_id: Annotated[int, 2] = 0
    length: Annotated[int, 3] = 0


class UserNamespace(Message):
    mode: Annotated[int, 1] = 0
    uids: Annotated[list[IDMapping], 2] = []
    gids: Annotated[list[IDMapping], 3] = []


class NamespaceOption(Message):
    network: Annotated[int, 1] = 0
    pid: Annotated[int, 2] = 0
    ipc: Annotated[int, 3] = 0
    target_id: Annotated[str, 4] = ""
    userns_options: Annotated[UserNamespace | None, 5] = None


class SELinuxOption(Message):
    user: Annotated[str, 1] = ""
    role: Annotated[str, 2] = ""
    type: Annotated[str, 3] = ""
    level: Annotated[str, 4] = ""


class SecurityProfile(Message):
    profile_type: Annotated[int, 1] = 0
    localhost_ref: Annotated[str, 2] = ""


class LinuxSandboxSecurityContext(Message):
    namespace_options: Annotated[NamespaceOption | None, 1] = None
    selinux_options: Annotated[SELinuxOption | None, 2] = None
    run_as_user: Annotated[Int64Value | None, 3] = None
    readonly_rootfs: Annotated[bool, 4] = False
    supplemental_groups: Annotated[list[int], 5] = []
    privileged: Annotated[bool, 6] = False
    seccomp_profile_path: Annotated[str, 7] = ""
    run_as_group: Annotated[Int64Value | None, 8] = None
    seccomp: Annotated[SecurityProfile | None, 9] = None
    apparmor: Annotated[SecurityProfile | None, 10] = None
    supplemental_groups_policy: Annotated[int, 11] = 0


class HugepageLimit(Message):
    page_size: Annotated[str, 1] = ""
    limit: Annotated[int, 2, UNSIGNED] = 0


class LinuxContainerResources(Message):
    cpu_period: Annotated[int, 1] = 0
    cpu_quota: Annotated[int, 2] = 0
    cpu_shares: Annotated[int, 3] = 0
    memory_limit_in_bytes: Annotated[int, 4] = 0
    oom_score_adj: Annotated[int, 5] = 0
    cpuset_cpus: Annotated[str, 6] = ""
    cpuset_mems: Annotated[str, 7] = ""
    hugepage_limits: Annotated[list[HugepageLimit], 8] = []
    unified: Annotated[dict[str, str], 9] = {}
    memory_swap_limit_in_bytes: Annotated[int, 10] = 0


class LinuxPodSandboxConfig(Message):
    cgroup_parent: Annotated[str, 1] = ""
    security_context: Annotated[LinuxSandboxSecurityContext | None, 2] = None
    sysctls: Annotated[dict[str, str], 3] = {}
    overhead: Annotated[LinuxContainerResources | None, 4] = None
    resources: Annotated[LinuxContainerResources | None, 5] = None


class PodSandboxMetadata(Message):
    name: Annotated[str, 1] = ""
    uid: Annotated[str, 2] = ""
    namespace: Annotated[str, 3] = ""
    attempt: Annotated[int, 4] = 0


class PodSandboxConfig(Message):
    metadata: Annotated[PodSandboxMetadata | None, 1] = None
    hostname: Annotated[str, 2] = ""
    log_directory: Annotated[str, 3] = ""
    dns_config: Annotated[DNSConfig | None, 4] = None
    port_mappings: Annotated[list[PortMapping], 5] = []
    labels: Annotated[dict[str, str], 6] = {}
    annotations: Annotated[dict[str, str], 7] = {}
    linux: Annotated[LinuxPodSandboxConfig | None, 8] = None


class RunPodSandboxRequest(Message):
    config: Annotated[PodSandboxConfig | None, 1] = None
    runtime_handler: Annotated[str, 2] = ""


class PodSandboxId(Message):
    """Every message that is a sandbox's id alone, in either direction."""

    pod_sandbox_id: Annotated[str, 1] = ""


class PodSandboxStatusRequest(Message):
    pod_sandbox_id: Annotated[str, 1] = ""
    verbose: Annotated[bool, 2] = False


class PodIP(Message):
    ip: Annotated[str, 1] = ""


class PodSandboxNetworkStatus(Message):
    ip: Annotated[str, 1] = ""
    additional_ips: Annotated[list[PodIP], 2] = []


class Namespace(Message):
    options: Annotated[NamespaceOption | None, 2] = None


class LinuxPodSandboxStatus(Message):
    namespaces: Annotated[Namespace | None, 1] = None


class PodSandboxStatus(Message):
    id: Annotated[str, 1] = ""
    metadata: Annotated[PodSandboxMetadata | None, 2] = None
    state: Annotated[int, 3] = 0
    created_at: Annotated[int, 4] = 0
    network: Annotated[PodSandboxNetworkStatus | None, 5] = None
    linux: Annotated[LinuxPodSandboxStatus | None, 6] = None
    labels: Annotated[dict[str, str], 7] = {}
    annotations: Annotated[dict[str, str], 8] = {}
    runtime_handler: Annotated[str, 9] = ""


class PodSandboxStateValue(Message):
    state: Annotated[int, 1] = 0


class PodSandboxFilter(Message):
    id: Annotated[str, 1] = ""
    state: Annotated[PodSandboxStateValue | None, 2] = None
    label_selector: Annotated[dict[str, str], 3] = {}


class ListPodSandboxRequest(Message):
    """Also what asks for a stream of them."""

    filter: Annotated[PodSandboxFilter | None, 1] = None


class PodSandbox(Message):
    id: Annotated[str, 1] = ""
    metadata: Annotated[PodSandboxMetadata | None, 2] = None
    state: Annotated[int, 3] = 0
    created_at: Annotated[int, 4] = 0
    labels: Annotated[dict[str, str], 5] = {}
    annotations: Annotated[dict[str, str], 6] = {}
    runtime_handler: Annotated[str, 7] = ""


class PodSandboxes(Message):
    """The answer to a list, and one message of the stream."""

    items: Annotated[list[PodSandbox], 1] = []


class UpdatePodSandboxResourcesRequest(Message):
    pod_sandbox_id: Annotated[str, 1] = ""
    overhead: Annotated[LinuxContainerResources | None, 2] = None
    resources: Annotated[LinuxContainerResources | None, 3] = None


class PortForwardRequest(Message):
    pod_sandbox_id: Annotated[str, 1] = ""
    port: Annotated[list[int], 2] = []


class Empty(Message):
    """Every message without fields."""


class StreamUrl(Message):
    """Where exec, attach and port-forward are served."""

    url: Annotated[str, 1] = ""
