"""Messages of the CRI about containers. The numbers are the wire's.

Source: kubernetes/cri-api `pkg/apis/runtime/v1/api.proto`, v1.36. What is for Windows alone is left out.
"""

from __future__ import annotations

from typing import Annotated

from carob.runtime.cri.codec import Message
from carob.runtime.cri.image_messages import ImageSpec
from carob.runtime.cri.sandbox_messages import (
    IDMapping,
    Int64Value,
    LinuxContainerResources,
    NamespaceOption,
    PodSandboxConfig,
    PodSandboxStatus,
    SecurityProfile,
    SELinuxOption,
)

CONTAINER_CREATED, CONTAINER_RUNNING, CONTAINER_EXITED, CONTAINER_UNKNOWN = range(4)
PROPAGATION_PRIVATE, PROPAGATION_HOST_TO_CONTAINER, PROPAGATION_BIDIRECTIONAL = range(3)
CREATED_EVENT, STARTED_EVENT, STOPPED_EVENT, DELETED_EVENT = range(4)

_NAMES = "ABRT ALRM BUS CHLD CLD CONT FPE HUP ILL INT IO IOT KILL PIPE POLL PROF PWR QUIT SEGV STKFLT STOP SYS TERM"
_NAMES += " TRAP TSTP TTIN TTOU URG USR1 USR2 VTALRM WINCH XCPU XFSZ RTMIN"
SIGNALS = (
    "",
    *(f"SIG{name}" for name in _NAMES.split()),
    *(f"SIGRTMIN+{n}" for n in range(1, 16)),
    *(f"SIGRTMAX-{n}" for n in range(14, 0, -1)),
    "SIGRTMAX",
)
"""A signal's name by the wire's own number of it; the first: the runtime's choice."""


class Mount(Message):
    container_path: Annotated[str, 1] = ""
    host_path: Annotated[str, 2] = ""
    readonly: Annotated[bool, 3] = False
    selinux_relabel: Annotated[bool, 4] = False
    propagation: Annotated[int, 5] = 0
    uid_mappings: Annotated[list[IDMapping], 6] = []
    gid_mappings: Annotated[list[IDMapping], 7] = []
    recursive_read_only: Annotated[bool, 8] = False
    image: Annotated[ImageSpec | None, 9] = None
    image_sub_path: Annotated[str, 10] = ""


class KeyValue(Message):
    key: Annotated[str, 1] = ""
    value: Annotated[str, 2] = ""


class Capability(Message):
    add_capabilities: Annotated[list[str], 1] = []
    drop_capabilities: Annotated[list[str], 2] = []
    add_ambient_capabilities: Annotated[list[str], 3] = []


class LinuxContainerSecurityContext(Message):
    capabilities: Annotated[Capability | None, 1] = None
    privileged: Annotated[bool, 2] = False
    namespace_options: Annotated[NamespaceOption | None, 3] = None
    selinux_options: Annotated[SELinuxOption | None, 4] = None
    run_as_user: Annotated[Int64Value | None, 5] = None
    run_as_username: Annotated[str, 6] = ""
    readonly_rootfs: Annotated[bool, 7] = False
    supplemental_groups: Annotated[list[int], 8] = []
    apparmor_profile: Annotated[str, 9] = ""
    seccomp_profile_path: Annotated[str, 10] = ""
    no_new_privs: Annotated[bool, 11] = False
    run_as_group: Annotated[Int64Value | None, 12] = None
    masked_paths: Annotated[list[str], 13] = []
    readonly_paths: Annotated[list[str], 14] = []
    seccomp: Annotated[SecurityProfile | None, 15] = None
    apparmor: Annotated[SecurityProfile | None, 16] = None
    supplemental_groups_policy: Annotated[int, 17] = 0


class LinuxContainerConfig(Message):
    resources: Annotated[LinuxContainerResources | None, 1] = None
    security_context: Annotated[LinuxContainerSecurityContext | None, 2] = None


class LinuxContainerUser(Message):
    uid: Annotated[int, 1] = 0
    gid: Annotated[int, 2] = 0
    supplemental_groups: Annotated[list[int], 3] = []


class ContainerMetadata(Message):
    name: Annotated[str, 1] = ""
    attempt: Annotated[int, 2] = 0


class Device(Message):
    container_path: Annotated[str, 1] = ""
    host_path: Annotated[str, 2] = ""
    permissions: Annotated[str, 3] = ""


class CDIDevice(Message):
    name: Annotated[str, 1] = ""


class ContainerConfig(Message):
    metadata: Annotated[ContainerMetadata | None, 1] = None
    image: Annotated[ImageSpec | None, 2] = None
    command: Annotated[list[str], 3] = []
    args: Annotated[list[str], 4] = []
    working_dir: Annotated[str, 5] = ""
    envs: Annotated[list[KeyValue], 6] = []
    mounts: Annotated[list[Mount], 7] = []
    devices: Annotated[list[Device], 8] = []
    labels: Annotated[dict[str, str], 9] = {}
    annotations: Annotated[dict[str, str], 10] = {}
    log_path: Annotated[str, 11] = ""
    stdin: Annotated[bool, 12] = False
    stdin_once: Annotated[bool, 13] = False
    tty: Annotated[bool, 14] = False
    linux: Annotated[LinuxContainerConfig | None, 15] = None
    cdi_devices: Annotated[list[CDIDevice], 17] = []
    stop_signal: Annotated[int, 18] = 0


class CreateContainerRequest(Message):
    pod_sandbox_id: Annotated[str, 1] = ""
    config: Annotated[ContainerConfig | None, 2] = None
    sandbox_config: Annotated[PodSandboxConfig | None, 3] = None


class ContainerId(Message):
    """Every message that is a container's id alone, in either direction."""

    container_id: Annotated[str, 1] = ""


class StopContainerRequest(Message):
    container_id: Annotated[str, 1] = ""
    timeout: Annotated[int, 2] = 0


class ContainerStateValue(Message):
    state: Annotated[int, 1] = 0


class ContainerFilter(Message):
    id: Annotated[str, 1] = ""
    state: Annotated[ContainerStateValue | None, 2] = None
    pod_sandbox_id: Annotated[str, 3] = ""
    label_selector: Annotated[dict[str, str], 4] = {}


class ListContainersRequest(Message):
    """Also what asks for a stream of them."""

    filter: Annotated[ContainerFilter | None, 1] = None


class Container(Message):
    id: Annotated[str, 1] = ""
    pod_sandbox_id: Annotated[str, 2] = ""
    metadata: Annotated[ContainerMetadata | None, 3] = None
    image: Annotated[ImageSpec | None, 4] = None
    image_ref: Annotated[str, 5] = ""
    state: Annotated[int, 6] = 0
    created_at: Annotated[int, 7] = 0
    labels: Annotated[dict[str, str], 8] = {}
    annotations: Annotated[dict[str, str], 9] = {}
    image_id: Annotated[str, 10] = ""


class Containers(Message):
    """The answer to a list, and one message of the stream."""

    containers: Annotated[list[Container], 1] = []


class ContainerStatusRequest(Message):
    container_id: Annotated[str, 1] = ""
    verbose: Annotated[bool, 2] = False


class ContainerResources(Message):
    linux: Annotated[LinuxContainerResources | None, 1] = None


class ContainerUser(Message):
    linux: Annotated[LinuxContainerUser | None, 1] = None


class ContainerStatus(Message):
    id: Annotated[str, 1] = ""
    metadata: Annotated[ContainerMetadata | None, 2] = None
    state: Annotated[int, 3] = 0
    created_at: Annotated[int, 4] = 0
    started_at: Annotated[int, 5] = 0
    finished_at: Annotated[int, 6] = 0
    exit_code: Annotated[int, 7] = 0
    image: Annotated[ImageSpec | None, 8] = None
    image_ref: Annotated[str, 9] = ""
    reason: Annotated[str, 10] = ""
    message: Annotated[str, 11] = ""
    labels: Annotated[dict[str, str], 12] = {}
    annotations: Annotated[dict[str, str], 13] = {}
    mounts: Annotated[list[Mount], 14] = []
    log_path: Annotated[str, 15] = ""
    resources: Annotated[ContainerResources | None, 16] = None
    image_id: Annotated[str, 17] = ""
    user: Annotated[ContainerUser | None, 18] = None
    stop_signal: Annotated[int, 19] = 0


class ContainerStatusResponse(Message):
    status: Annotated[ContainerStatus | None, 1] = None
    info: Annotated[dict[str, str], 2] = {}


class PodSandboxStatusResponse(Message):
    status: Annotated[PodSandboxStatus | None, 1] = None
    info: Annotated[dict[str, str], 2] = {}
    containers_statuses: Annotated[list[ContainerStatus], 3] = []
    timestamp: Annotated[int, 4] = 0


class UpdateContainerResourcesRequest(Message):
    container_id: Annotated[str, 1] = ""
    linux: Annotated[LinuxContainerResources | None, 2] = None
    annotations: Annotated[dict[str, str], 4] = {}


class ExecSyncRequest(Message):
    container_id: Annotated[str, 1] = ""
    cmd: Annotated[list[str], 2] = []
    timeout: Annotated[int, 3] = 0


class ExecSyncResponse(Message):
    stdout: Annotated[bytes, 1] = b""
    stderr: Annotated[bytes, 2] = b""
    exit_code: Annotated[int, 3] = 0


class ExecRequest(Message):
    container_id: Annotated[str, 1] = ""
    cmd: Annotated[list[str], 2] = []
    tty: Annotated[bool, 3] = False
    stdin: Annotated[bool, 4] = False
    stdout: Annotated[bool, 5] = False
    stderr: Annotated[bool, 6] = False
    audit_request_id: Annotated[str, 7] = ""


class AttachRequest(Message):
    container_id: Annotated[str, 1] = ""
    stdin: Annotated[bool, 2] = False
    tty: Annotated[bool, 3] = False
    stdout: Annotated[bool, 4] = False
    stderr: Annotated[bool, 5] = False
    audit_request_id: Annotated[str, 6] = ""


class ContainerEventResponse(Message):
    container_id: Annotated[str, 1] = ""
    container_event_type: Annotated[int, 2] = 0
    created_at: Annotated[int, 3] = 0
    pod_sandbox_status: Annotated[PodSandboxStatus | None, 4] = None
    containers_statuses: Annotated[list[ContainerStatus], 5] = []
