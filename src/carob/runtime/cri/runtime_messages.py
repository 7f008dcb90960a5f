"""Messages of the CRI about the runtime itself: version, conditions, configuration; and what containers use.

Source: kubernetes/cri-api `pkg/apis/runtime/v1/api.proto`, v1.36. What is for Windows alone is left out.
"""

from __future__ import annotations

from typing import Annotated

from carob.runtime.cri.codec import UNSIGNED, Message
from carob.runtime.cri.container_messages import ContainerMetadata
from carob.runtime.cri.image_messages import FilesystemUsage
from carob.runtime.cri.sandbox_messages import PodSandboxMetadata, UInt64Value

DRIVER_SYSTEMD, DRIVER_CGROUPFS = 0, 1
RUNTIME_READY, NETWORK_READY = "RuntimeReady", "NetworkReady"


class VersionRequest(Message):
    version: Annotated[str, 1] = ""


class VersionResponse(Message):
    version: Annotated[str, 1] = ""
    runtime_name: Annotated[str, 2] = ""
    runtime_version: Annotated[str, 3] = ""
    runtime_api_version: Annotated[str, 4] = ""


class RuntimeCondition(Message):
    type: Annotated[str, 1] = ""
    status: Annotated[bool, 2] = False
    reason: Annotated[str, 3] = ""
    message: Annotated[str, 4] = ""


class RuntimeStatus(Message):
    conditions: Annotated[list[RuntimeCondition], 1] = []


class StatusRequest(Message):
    verbose: Annotated[bool, 1] = False


class RuntimeHandlerFeatures(Message):
    recursive_read_only_mounts: Annotated[bool, 1] = False
    user_namespaces: Annotated[bool, 2] = False


class RuntimeHandler(Message):
    name: Annotated[str, 1] = ""
    features: Annotated[RuntimeHandlerFeatures | None, 2] = None


class RuntimeFeatures(Message):
    supplemental_groups_policy: Annotated[bool, 1] = False
    user_namespaces_host_network: Annotated[bool, 2] = False


class StatusResponse(Message):
    status: Annotated[RuntimeStatus | None, 1] = None
    info: Annotated[dict[str, str], 2] = {}
    runtime_handlers: Annotated[list[RuntimeHandler], 3] = []
    features: Annotated[RuntimeFeatures | None, 4] = None


class NetworkConfig(Message):
    pod_cidr: Annotated[str, 1] = ""


class RuntimeConfig(Message):
    network_config: Annotated[NetworkConfig | None, 1] = None


class UpdateRuntimeConfigRequest(Message):
    runtime_config: Annotated[RuntimeConfig | None, 1] = None


class LinuxRuntimeConfiguration(Message):
    cgroup_driver: Annotated[int, 1] = 0


class RuntimeConfigResponse(Message):
    linux: Annotated[LinuxRuntimeConfiguration | None, 1] = None


class CheckpointContainerRequest(Message):
    container_id: Annotated[str, 1] = ""
    location: Annotated[str, 2] = ""
    timeout: Annotated[int, 3] = 0


class ContainerAttributes(Message):
    id: Annotated[str, 1] = ""
    metadata: Annotated[ContainerMetadata | None, 2] = None
    labels: Annotated[dict[str, str], 3] = {}
    annotations: Annotated[dict[str, str], 4] = {}


class PsiData(Message):
    """Units: `total` in nanoseconds, the averages in percent."""

    total: Annotated[int, 1, UNSIGNED] = 0
    avg10: Annotated[float, 2] = 0.0
    avg60: Annotated[float, 3] = 0.0
    avg300: Annotated[float, 4] = 0.0


class PsiStats(Message):
    full: Annotated[PsiData | None, 1] = None
    some: Annotated[PsiData | None, 2] = None


class CpuUsage(Message):
    timestamp: Annotated[int, 1] = 0
    usage_core_nano_seconds: Annotated[UInt64Value | None, 2] = None
    usage_nano_cores: Annotated[UInt64Value | None, 3] = None
    psi: Annotated[PsiStats | None, 4] = None


class MemoryUsage(Message):
    timestamp: Annotated[int, 1] = 0
    working_set_bytes: Annotated[UInt64Value | None, 2] = None
    available_bytes: Annotated[UInt64Value | None, 3] = None
    usage_bytes: Annotated[UInt64Value | None, 4] = None
    rss_bytes: Annotated[UInt64Value | None, 5] = None
    page_faults: Annotated[UInt64Value | None, 6] = None
    major_page_faults: Annotated[UInt64Value | None, 7] = None
    psi: Annotated[PsiStats | None, 8] = None


class IoUsage(Message):
    timestamp: Annotated[int, 1] = 0
    psi: Annotated[PsiStats | None, 2] = None


class SwapUsage(Message):
    timestamp: Annotated[int, 1] = 0
    swap_available_bytes: Annotated[UInt64Value | None, 2] = None
    swap_usage_bytes: Annotated[UInt64Value | None, 3] = None


class ContainerStats(Message):
    attributes: Annotated[ContainerAttributes | None, 1] = None
    cpu: Annotated[CpuUsage | None, 2] = None
    memory: Annotated[MemoryUsage | None, 3] = None
    writable_layer: Annotated[FilesystemUsage | None, 4] = None
    swap: Annotated[SwapUsage | None, 5] = None
    io: Annotated[IoUsage | None, 6] = None


class ContainerStatsFilter(Message):
    id: Annotated[str, 1] = ""
    pod_sandbox_id: Annotated[str, 2] = ""
    label_selector: Annotated[dict[str, str], 3] = {}


class ContainerStatsResponse(Message):
    stats: Annotated[ContainerStats | None, 1] = None


class ListContainerStatsRequest(Message):
    """Also what asks for a stream of them."""

    filter: Annotated[ContainerStatsFilter | None, 1] = None


class ManyContainerStats(Message):
    """The answer to a list, and one message of the stream."""

    stats: Annotated[list[ContainerStats], 1] = []


class ProcessUsage(Message):
    timestamp: Annotated[int, 1] = 0
    process_count: Annotated[UInt64Value | None, 2] = None


class PodSandboxAttributes(Message):
    id: Annotated[str, 1] = ""
    metadata: Annotated[PodSandboxMetadata | None, 2] = None
    labels: Annotated[dict[str, str], 3] = {}
    annotations: Annotated[dict[str, str], 4] = {}


class NetworkInterfaceUsage(Message):
    name: Annotated[str, 1] = ""
    rx_bytes: Annotated[UInt64Value | None, 2] = None
    rx_errors: Annotated[UInt64Value | None, 3] = None
    tx_bytes: Annotated[UInt64Value | None, 4] = None
    tx_errors: Annotated[UInt64Value | None, 5] = None


class NetworkUsage(Message):
    timestamp: Annotated[int, 1] = 0
    default_interface: Annotated[NetworkInterfaceUsage | None, 2] = None
    interfaces: Annotated[list[NetworkInterfaceUsage], 3] = []


class LinuxPodSandboxStats(Message):
    cpu: Annotated[CpuUsage | None, 1] = None
    memory: Annotated[MemoryUsage | None, 2] = None
    network: Annotated[NetworkUsage | None, 3] = None
    process: Annotated[ProcessUsage | None, 4] = None
    containers: Annotated[list[ContainerStats], 5] = []
    io: Annotated[IoUsage | None, 6] = None


class PodSandboxStats(Message):
    attributes: Annotated[PodSandboxAttributes | None, 1] = None
    linux: Annotated[LinuxPodSandboxStats | None, 2] = None


class PodSandboxStatsFilter(Message):
    id: Annotated[str, 1] = ""
    label_selector: Annotated[dict[str, str], 2] = {}


class PodSandboxStatsResponse(Message):
    stats: Annotated[PodSandboxStats | None, 1] = None


class ListPodSandboxStatsRequest(Message):
    """Also what asks for a stream of them."""

    filter: Annotated[PodSandboxStatsFilter | None, 1] = None


class ManyPodSandboxStats(Message):
    """The answer to a list, and one message of the stream."""

    stats: Annotated[list[PodSandboxStats], 1] = []


class MetricDescriptor(Message):
    name: Annotated[str, 1] = ""
    help: Annotated[str, 2] = ""
    label_keys: Annotated[list[str], 3] = []


class ListMetricDescriptorsResponse(Message):
    descriptors: Annotated[list[MetricDescriptor], 1] = []


class Metric(Message):
    """`label_values` are in the order of the descriptor's keys. `timestamp` 0: gathered when it was asked for."""

    name: Annotated[str, 1] = ""
    timestamp: Annotated[int, 2] = 0
    metric_type: Annotated[int, 3] = 0
    label_values: Annotated[list[str], 4] = []
    value: Annotated[UInt64Value | None, 5] = None


class ContainerMetrics(Message):
    container_id: Annotated[str, 1] = ""
    metrics: Annotated[list[Metric], 2] = []


class PodSandboxMetrics(Message):
    pod_sandbox_id: Annotated[str, 1] = ""
    metrics: Annotated[list[Metric], 2] = []
    container_metrics: Annotated[list[ContainerMetrics], 3] = []


class ManyPodSandboxMetrics(Message):
    """The answer to a list, and one message of the stream."""

    pod_metrics: Annotated[list[PodSandboxMetrics], 1] = []
