"""What a kubelet is told when it is built: who it is, where its files live, what it may use. Plain data."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct, field

from carob.kubelet.eviction.image_gc import HIGH_PERCENT, LOW_PERCENT, MIN_AGE_SECONDS
from carob.kubelet.eviction.thresholds import DEFAULT_HARD, TRANSITION_SECONDS
from carob.kubelet.pull_records import PRELOADED

if TYPE_CHECKING:
    from collections.abc import Mapping


class KubeletOptions(Struct, frozen=True):
    """Everything that differs between one node agent and another.

    Units: bytes, seconds, millicores. Folders are absolute.
    """

    node_name: str
    root: str
    """State that outlives the agent: `pods/<uid>/` with volumes, hosts files and termination messages."""
    log_root: str
    """`<namespace>_<name>_<uid>/<container>/<attempt>.log` lie below."""
    cgroup_root: str = ""
    """Cgroup under which `kubepods` is made, such as `/carob-default`."""
    node_ip: str = "127.0.0.1"
    node_ip6: str = ""
    """Its second address, of a dual-stack cluster; empty: it has none."""
    server_port: int = 10250
    cluster_domain: str = "cluster.local"
    cluster_dns: tuple[str, ...] = ()
    resolv_conf: str = "/etc/resolv.conf"
    """The node's own resolver, for `dnsPolicy: Default`."""
    labels: dict[str, str] = field(default_factory=dict)
    annotations: dict[str, str] = field(default_factory=dict)
    taints: tuple[str, ...] = ()
    """`key=value:Effect` for the Node when it is registered."""
    register_node: bool = True
    pod_cidr: str = ""
    pod_cidr6: str = ""
    first_user_id: int = 0
    """Where the ids of Pods with users of their own begin, such as 16777216; 0: there are none."""
    cpu_millicores: int = 0
    memory_bytes: int = 0
    """How much of the machine the node has; 0: all."""
    max_pods: int = 110
    pods_per_core: int = 0
    """At most so many Pods for each processor; 0: only `max_pods` counts."""
    system_reserved_cpu_millicores: int = 0
    system_reserved_memory_bytes: int = 0
    system_reserved_disk_bytes: int = 0
    pod_pids_limit: int = 0
    """How many processes a Pod may have; 0: as many as the node."""
    kube_reserved_cpu_millicores: int = 0
    kube_reserved_memory_bytes: int = 0
    kube_reserved_disk_bytes: int = 0
    reserved_pids: int = 0
    """Process numbers that all Pods together leave to others."""
    eviction_hard: Mapping[str, str] = field(default_factory=lambda: dict(DEFAULT_HARD))
    """Signals and how much must be left of each: a quantity or a percentage."""
    eviction_soft: Mapping[str, str] = field(default_factory=dict)
    eviction_soft_grace_seconds: Mapping[str, float] = field(default_factory=dict)
    eviction_max_pod_grace_seconds: float = 0.0
    eviction_minimum_reclaim: Mapping[str, str] = field(default_factory=dict)
    """Signals, and how much more than the threshold is to be free once it was crossed."""
    eviction_transition_seconds: float = TRANSITION_SECONDS
    """How long a pressure's condition stays after its cause."""
    image_gc_high_percent: int = HIGH_PERCENT
    image_gc_low_percent: int = LOW_PERCENT
    image_gc_min_age_seconds: float = MIN_AGE_SECONDS
    image_verification: str = PRELOADED
    """Which Pods must show that they could have pulled an image that is on the node already."""
    image_verification_allowed: tuple[str, ...] = ()
    """With `NeverVerifyAllowlistedImages`: the repositories of whose images none must."""
    allowed_unsafe_sysctls: tuple[str, ...] = ()
    """Names with dots, or prefixes with a `*` behind, that Pods may set beside the safe ones."""
    static_folder: str = ""
    """Files of Pods that run here without the API; empty: there are none."""
    api_patience_seconds: float = 5.0
    """How long these wait for the API, which remembers how they fared before."""
    lease_seconds: int = 40
    lease_renew_seconds: float = 10.0
    status_report_seconds: float = 300.0
    status_check_seconds: float = 10.0
    log_max_bytes: int = 10 << 20
    log_max_files: int = 5
    max_parallel_pulls: int = 3
    single_process_oom_kill: bool | None = None
    """Whether want of memory ends one process of a container and not all; None: not all where the kernel can end all."""
    seccomp_default: str = "RuntimeDefault"
    """The seccomp profile of containers that name none; `Unconfined` is what upstream does without a flag."""
    version: str = "v1.36.0+carob"

    @property
    def seccomp_root(self) -> str:
        """Where the seccomp profiles lie that Pods name (`localhostProfile`), as in upstream's /var/lib/kubelet."""
        return f"{self.root}/seccomp"

    @property
    def node_ips(self) -> tuple[str, ...]:
        """The node's addresses, IPv4 first."""
        return (self.node_ip, self.node_ip6) if self.node_ip6 else (self.node_ip,)
