"""The runtime's seam, in the vocabulary of the CRI (`runtime.v1`): sandboxes, containers, images, streams.

The kubelet drives it; the embedded runtime and the client of a CRI socket implement it. What a Pod is, the runtime
does not know: it sees a sandbox with names and labels. Contract: `tests/contracts/test_runtime.py`.

Rules that every implementation keeps:

- Every verb is idempotent where the CRI says so: stopping what has stopped and removing what is gone succeed.
- What was acknowledged survives kill -9 of the agent: sandboxes and containers, their exit codes and times, their logs.
- A failure leaves nothing behind, or raises `RuntimeFailure` whose `cleanup` names what could not be removed.
- `subscribe` tells of every exit that happens while subscribed; after a restart the caller lists and compares.

Units: bytes, seconds since 1970 as float, millicores where named so, CPU nanoseconds for usage.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from enum import StrEnum
from typing import Any, Protocol

from msgspec import Struct, field

from carob.host.pressure import Pressure


class RuntimeFailure(Exception):
    """The runtime could not do it.

    `reason` is one of the words that upstream users know where there is one (`ErrImagePull`, `InvalidImageName`,
    `RunContainerError`, `CreateContainerError`, `ErrImageNeverPull`, `RegistryUnavailable`), else empty.
    """

    def __init__(self, message: str, reason: str = "", cleanup: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.reason = reason
        self.cleanup = tuple(cleanup)


class NotFound(RuntimeFailure):
    """No such sandbox, container or image."""


class ContainerState(StrEnum):
    CREATED = "created"
    RUNNING = "running"
    EXITED = "exited"
    UNKNOWN = "unknown"


class SandboxState(StrEnum):
    READY = "ready"
    NOT_READY = "not-ready"


class NamespaceMode(StrEnum):
    """Whose namespace a container joins."""

    POD = "pod"
    CONTAINER = "container"
    NODE = "node"
    TARGET = "target"


class MountPropagation(StrEnum):
    PRIVATE = "private"
    HOST_TO_CONTAINER = "host-to-container"
    BIDIRECTIONAL = "bidirectional"


class PortMapping(Struct, frozen=True):
    protocol: str
    """`TCP`, `UDP` or `SCTP`."""
    container_port: int
    host_port: int
    host_ip: str = ""


class DnsConfig(Struct):
    servers: list[str] = field(default_factory=list)
    searches: list[str] = field(default_factory=list)
    options: list[str] = field(default_factory=list)


class Resources(Struct, kw_only=True, omit_defaults=True):
    """Limits as the kernel takes them; 0 or None: not set.

    `cpu_quota` and `cpu_period` are microseconds. `memory_limit` and `swap_limit` are bytes.
    """

    cpu_shares: int = 0
    cpu_quota: int = 0
    cpu_period: int = 100_000
    cpuset_cpus: str = ""
    memory_limit: int = 0
    memory_swap_limit: int | None = None
    pids_limit: int = 0
    oom_score_adj: int = 0
    hugepage_limits: dict[str, int] = field(default_factory=dict)
    unified: dict[str, str] = field(default_factory=dict)
    """Files of a group of cgroup v2 and what to write there, such as `memory.oom.group`; v1 has none of them."""


class UserNamespace(Struct, frozen=True):
    """The ids from 0 to `count` in a Pod are the machine's from `first_id` on."""

    first_id: int
    count: int = 65536


class SELinuxOptions(Struct, kw_only=True, frozen=True):
    """Parts of a label; an empty one is the policy's choice."""

    user: str = ""
    role: str = ""
    type: str = ""
    level: str = ""


class SandboxConfig(Struct, kw_only=True):
    """What a Pod shares: name, host name, network, cgroup parent, sysctls."""

    name: str
    namespace: str
    uid: str
    attempt: int = 0
    hostname: str = ""
    log_directory: str = ""
    dns: DnsConfig | None = None
    port_mappings: list[PortMapping] = field(default_factory=list)
    labels: dict[str, str] = field(default_factory=dict)
    annotations: dict[str, str] = field(default_factory=dict)
    cgroup_parent: str = ""
    """Path below every hierarchy, such as `/carob-default/kubepods/burstable/pod<uid>`; made with `resources`."""
    resources: Resources = field(default_factory=Resources)
    """Limits of the whole Pod."""
    sysctls: dict[str, str] = field(default_factory=dict)
    network: NamespaceMode = NamespaceMode.POD
    pid: NamespaceMode = NamespaceMode.CONTAINER
    ipc: NamespaceMode = NamespaceMode.POD
    shm_size: int = 64 << 20
    runtime_handler: str = ""
    """Which of several OCI runtimes; empty: the usual one."""
    users: UserNamespace | None = None
    """The user namespace of all its containers; None: the machine's own users."""
    selinux: SELinuxOptions | None = None
    """What labels the Pod's containers get unless they name others; None: none."""


class SandboxStatus(Struct, kw_only=True):
    id: str
    config: SandboxConfig
    state: SandboxState
    created_at: float
    ips: list[str] = field(default_factory=list)
    pause_pid: int = 0
    netns_path: str = ""


class Mount(Struct, kw_only=True):
    container_path: str
    host_path: str
    readonly: bool = False
    recursive_readonly: bool = False
    propagation: MountPropagation = MountPropagation.PRIVATE
    relabel: bool = False
    """Whether its files get the container's label of SELinux, where that has one."""
    image: str = ""
    """Id of an image whose files are mounted in place of `host_path`: read-only, and nothing in it can be run."""
    image_sub_path: str = ""
    """A part of that image, relative to its root."""


class Device(Struct, kw_only=True):
    container_path: str
    host_path: str
    permissions: str = "rwm"


class SeccompProfile(Struct, kw_only=True):
    kind: str = "RuntimeDefault"
    """`RuntimeDefault`, `Unconfined` or `Localhost`."""
    localhost_path: str = ""


class SecurityContext(Struct, kw_only=True):
    """`run_as_user` None: the image's user decides."""

    add_capabilities: list[str] = field(default_factory=list)
    drop_capabilities: list[str] = field(default_factory=list)
    privileged: bool = False
    run_as_user: int | None = None
    run_as_username: str = ""
    """In place of a number: the image's /etc/passwd knows it."""
    run_as_group: int | None = None
    supplemental_groups: list[int] = field(default_factory=list)
    strict_groups: bool = False
    """The groups that the image's own /etc/group gives its user do not count."""
    readonly_rootfs: bool = False
    no_new_privileges: bool = False
    seccomp: SeccompProfile = field(default_factory=SeccompProfile)
    apparmor_profile: str = ""
    selinux: SELinuxOptions | None = None
    """None: no label of its own."""
    unmasked_proc: bool = False
    pid: NamespaceMode = NamespaceMode.CONTAINER
    target_container_id: str = ""


class ContainerConfig(Struct, kw_only=True):
    """`command` and `args` replace the image's ENTRYPOINT and CMD by Kubernetes' rules; None: not given."""

    name: str
    attempt: int = 0
    image: str
    """An image id or name that `image_status` knows."""
    image_spec: str = ""
    """The name as the user wrote it."""
    command: list[str] | None = None
    args: list[str] | None = None
    working_dir: str = ""
    env: list[tuple[str, str]] = field(default_factory=list)
    mounts: list[Mount] = field(default_factory=list)
    devices: list[Device] = field(default_factory=list)
    cdi_devices: list[str] = field(default_factory=list)
    """Devices by their vendor's names, `vendor.com/class=name`: what they need is in the machine's CDI files."""
    labels: dict[str, str] = field(default_factory=dict)
    annotations: dict[str, str] = field(default_factory=dict)
    log_path: str = ""
    """Relative to the sandbox's log directory: `<container>/<attempt>.log`, in the CRI format."""
    stdin: bool = False
    stdin_once: bool = False
    tty: bool = False
    stop_signal: str = ""
    resources: Resources = field(default_factory=Resources)
    security: SecurityContext = field(default_factory=SecurityContext)


class LinuxUser(Struct, kw_only=True):
    """Who the container's first process is: `groups` are all that it is in."""

    uid: int
    gid: int
    groups: list[int]


class ContainerStatus(Struct, kw_only=True):
    """`reason` is `OOMKilled`, `Completed`, `Error` or `ContainerStatusUnknown` after the exit."""

    id: str
    sandbox_id: str
    name: str
    attempt: int
    state: ContainerState
    created_at: float
    started_at: float = 0.0
    finished_at: float = 0.0
    exit_code: int = 0
    image: str = ""
    """The name as the user wrote it."""
    image_id: str = ""
    """`name@sha256:…` or `sha256:…`: what `status.containerStatuses[].imageID` shows."""
    reason: str = ""
    message: str = ""
    labels: dict[str, str] = field(default_factory=dict)
    annotations: dict[str, str] = field(default_factory=dict)
    log_path: str = ""
    """Absolute."""
    pid: int = 0
    stop_signal: str = ""
    resources: Resources = field(default_factory=Resources)
    user: LinuxUser | None = None
    """None while nobody knows."""
    runtime: str = "carob"
    """Whose container it is: the scheme of the `containerID` that people see."""


class ContainerStats(Struct, kw_only=True):
    id: str
    timestamp: float
    cpu_usage_nanoseconds: int = 0
    memory_usage_bytes: int = 0
    memory_working_set_bytes: int = 0
    memory_rss_bytes: int = 0
    page_faults: int = 0
    major_page_faults: int = 0
    process_count: int = 0
    oom_kills: int = 0
    cpu_periods: int = 0
    cpu_throttled_periods: int = 0
    cpu_throttled_nanoseconds: int = 0
    memory_cache_bytes: int = 0
    swap_usage_bytes: int = 0
    rootfs_used_bytes: int = 0
    rootfs_inodes_used: int = 0
    cpu_user_nanoseconds: int = 0
    cpu_system_nanoseconds: int = 0
    devices: list[DeviceStats] = field(default_factory=list)
    """Only where the disk was asked for."""
    pressure: dict[str, Pressure] = field(default_factory=dict)
    """By resource (cpu, memory, io), where the kernel tells of it."""


class DeviceStats(Struct, frozen=True):
    """What was read from and written to a block device."""

    major: int
    minor: int
    read_bytes: int = 0
    write_bytes: int = 0
    reads: int = 0
    writes: int = 0


class InterfaceStats(Struct, frozen=True):
    """A network interface as seen from inside: counters since it was made."""

    name: str
    receive_bytes: int = 0
    receive_packets: int = 0
    receive_errors: int = 0
    receive_dropped: int = 0
    transmit_bytes: int = 0
    transmit_packets: int = 0
    transmit_errors: int = 0
    transmit_dropped: int = 0


class SandboxStats(Struct, kw_only=True):
    """All that lives in it, the pause process and ended containers' leftovers in its group included."""

    id: str
    timestamp: float
    cpu_usage_nanoseconds: int = 0
    memory_usage_bytes: int = 0
    memory_working_set_bytes: int = 0
    memory_rss_bytes: int = 0
    page_faults: int = 0
    major_page_faults: int = 0
    process_count: int = 0
    interfaces: list[InterfaceStats] = field(default_factory=list)
    """Empty for a sandbox on the node's network."""
    pressure: dict[str, Pressure] = field(default_factory=dict)


class Image(Struct, kw_only=True):
    """`id` is `sha256:<config digest>`; `tags` and `digests` are full names (`docker.io/library/busybox:latest`)."""

    id: str
    tags: list[str] = field(default_factory=list)
    digests: list[str] = field(default_factory=list)
    size_bytes: int = 0
    uid: int | None = None
    username: str = ""
    pinned: bool = False
    config: dict[str, Any] = field(default_factory=dict)
    """The OCI image config's `config` object: Env, Cmd, Entrypoint, User, WorkingDir, StopSignal, Volumes …"""


class RegistryAuth(Struct, kw_only=True):
    username: str = ""
    password: str = ""
    identity_token: str = ""


class RuntimeHandler(Struct, frozen=True):
    """One of several ways to run a sandbox: `SandboxConfig.runtime_handler`; the empty name is the usual one."""

    name: str
    recursive_readonly_mounts: bool = False
    user_namespaces: bool = False


class RuntimeStatus(Struct, kw_only=True):
    """Whether Pods can run, and what the runtime can. Problems are empty when all is well."""

    runtime_problem: str = ""
    network_problem: str = ""
    handlers: list[RuntimeHandler] = field(default_factory=list)
    supplemental_groups_policy: bool = False


class FilesystemUsage(Struct, kw_only=True):
    mountpoint: str
    used_bytes: int
    capacity_bytes: int
    available_bytes: int
    inodes_used: int = 0
    inodes: int = 0


class Exited(Struct, frozen=True):
    """A container, or a sandbox's pause process (`container_id` empty), has ended."""

    sandbox_id: str
    container_id: str


class Process(Protocol):
    """A running exec or attach: three streams, a window, an exit code."""

    async def read(self) -> tuple[int, bytes] | None:
        """The next piece of output: (1 stdout or 2 stderr, bytes); None when both have ended."""
        ...

    async def write(self, data: bytes) -> None:
        """To standard input; waits while the process does not read. Ignored when there is no stdin."""
        ...

    async def close_stdin(self) -> None:
        """End of standard input; idempotent."""
        ...

    def resize(self, width: int, height: int) -> None:
        """The terminal's size in characters; ignored without a terminal."""
        ...

    async def wait(self) -> int:
        """The exit code (128 + n for signal n); for attach, the container's own."""
        ...

    async def close(self) -> None:
        """Let go of the streams; a process of exec goes on, as with Kubernetes."""
        ...


class Duplex(Protocol):
    """A byte stream in both directions, such as a connection to a Pod's port."""

    async def read(self) -> bytes:
        """Some bytes; empty at the end."""
        ...

    async def write(self, data: bytes) -> None: ...

    async def write_eof(self) -> None: ...

    async def close(self) -> None: ...


class NetworkRequest(Struct, frozen=True, kw_only=True):
    """What the Pod network needs to know of a sandbox."""

    sandbox_id: str
    namespace: str
    name: str
    uid: str
    port_mappings: tuple[PortMapping, ...] = ()
    annotations: Mapping[str, str] = field(default_factory=dict)
    netns_path: str = ""


class PodNetwork(Protocol):
    """How sandboxes get addresses: given to the runtime as a constructor argument, as a CRI runtime is given CNI."""

    def attach(self, request: NetworkRequest) -> list[str]:
        """Give the sandbox its interface and return its addresses, IPv4 first.

        Blocking; called in the thread that *is inside* the new network namespace (with `lo` up), never on the loop.
        Idempotent per sandbox id. Raises: RuntimeFailure; then nothing is left.
        """
        ...

    def detach(self, request: NetworkRequest) -> None:
        """Take back the addresses and host ports. Blocking, called from any thread; the namespace may be gone already.
        Idempotent."""
        ...

    def status(self) -> str:
        """Empty when Pods can be attached, else why not (the node's NetworkUnavailable message)."""
        ...


class NodePorts(Protocol):
    """Ports of the node that lead to a sandbox, for a runtime whose own network does not know them."""

    def open(self, request: NetworkRequest, address: str) -> None:
        """Lead the request's host ports to this address. Blocking, called from any thread; idempotent per sandbox id.
        Raises: RuntimeFailure, when one of them is taken."""
        ...

    def close(self, request: NetworkRequest) -> None:
        """Take them back. Blocking; idempotent."""
        ...


class Runtime(Protocol):
    """RuntimeService and ImageService of the CRI. All verbs run on one event loop."""

    async def start(self) -> None:
        """Take over what an earlier agent left running; call once before any other verb."""
        ...

    async def close(self) -> None:
        """Let go; containers run on."""
        ...

    def subscribe(self, exited: Callable[[Exited], None]) -> None:
        """Call `exited` on the loop for every end of a container or pause process."""
        ...

    async def version(self) -> tuple[str, str]:
        """Name and version: `("carob", "0.1.0")`."""
        ...

    async def status(self) -> RuntimeStatus:
        """Asked every few seconds; cheap. Raises: RuntimeFailure, TimeoutError when nobody answers."""
        ...

    async def run_sandbox(self, config: SandboxConfig) -> SandboxStatus: ...

    async def stop_sandbox(self, sandbox_id: str) -> None:
        """Kill what still runs in it, free its network; idempotent."""
        ...

    async def remove_sandbox(self, sandbox_id: str) -> None:
        """Stop it and remove its containers, logs stay; idempotent."""
        ...

    async def sandbox_status(self, sandbox_id: str) -> SandboxStatus: ...

    async def list_sandboxes(self) -> list[SandboxStatus]: ...

    async def create_container(self, sandbox_id: str, config: ContainerConfig) -> str:
        """The container's id; its process exists but has not begun. Raises: RuntimeFailure (CreateContainerError)."""
        ...

    async def start_container(self, container_id: str) -> None:
        """Raises: RuntimeFailure (`RunContainerError`)."""
        ...

    async def stop_container(self, container_id: str, grace_seconds: float) -> None:
        """Stop signal, wait at most the grace, SIGKILL; returns when it has ended. A second call with a shorter grace
        shortens the first."""
        ...

    async def remove_container(self, container_id: str) -> None: ...

    async def container_status(self, container_id: str) -> ContainerStatus: ...

    async def list_containers(self) -> list[ContainerStatus]: ...

    async def update_resources(self, container_id: str, resources: Resources) -> None: ...

    async def set_group_resources(self, path: str, resources: Resources) -> None:
        """Limits of a cgroup above Pods, which is made if need be. The CRI leaves these groups to its client."""
        ...

    async def update_sandbox_resources(self, sandbox_id: str, resources: Resources) -> None:
        """The same for the limits of the whole Pod."""
        ...

    async def reopen_log(self, container_id: str) -> None:
        """After the log file was renamed: go on in a new one, no line lost."""
        ...

    async def exec_sync(
        self, container_id: str, command: Sequence[str], timeout_seconds: float = 0.0, *, keep_bytes: int = 16 << 10
    ) -> tuple[int, bytes, bytes]:
        """Exit code, stdout, stderr (the first `keep_bytes` of each).

        Raises: TimeoutError, the process is then killed; RuntimeFailure where the command cannot be begun.
        """
        ...

    async def exec(self, container_id: str, command: Sequence[str], *, stdin: bool, tty: bool) -> Process:
        """Raises: RuntimeFailure when the container does not run."""
        ...

    async def attach(self, container_id: str) -> Process: ...

    async def port_forward(self, sandbox_id: str, port: int) -> Duplex:
        """A connection to `127.0.0.1:port` inside the sandbox. Raises: ConnectionError, or its first `read`
        does, where nobody listens."""
        ...

    async def container_stats(self, *, disk: bool = True) -> list[ContainerStats]:
        """Of every running container; without `disk` nobody walks its writable layer."""
        ...

    async def sandbox_stats(self) -> list[SandboxStats]:
        """Of every sandbox that stands."""
        ...

    async def image_status(self, name: str) -> Image | None:
        """By id, digest or any form of the name."""
        ...

    async def list_images(self) -> list[Image]: ...

    async def pull_image(
        self, name: str, auth: RegistryAuth | None = None, progress: Callable[[str], None] | None = None
    ) -> Image:
        """Raises: RuntimeFailure (ErrImagePull, InvalidImageName)."""
        ...

    async def remove_image(self, name: str) -> None: ...

    async def image_filesystem(self) -> FilesystemUsage: ...


class ImageSource(Protocol):
    """How `carob image` brings images to the node without a registry."""

    async def load(self, archive: str) -> list[Image]:
        """From a docker-archive or OCI tar."""
        ...

    async def build(self, root: str, tag: str, config: Mapping[str, Any]) -> Image:
        """One layer made of the folder `root`, with the OCI config given."""
        ...

    def layers(self, image_id: str) -> AsyncIterator[str]:
        """Folders of the unpacked layers, topmost first, as overlay's `lowerdir` wants them."""
        ...
