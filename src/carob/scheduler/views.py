"""The parts of Pods and Nodes that scheduling looks at, decoded straight from the API's answers.

A whole Pod costs 11 KB as a Struct; the scheduler keeps every Pod of the cluster, so it keeps these, and of those that
have a node only what `slim` leaves.
"""

from __future__ import annotations

from sys import intern

import msgspec
from msgspec import Struct, field

from carob.api.resources import add_view
from carob.api.scalars import Quantity
from carob.api.types import apps_v1, core_v1, meta_v1


class OwnerView(Struct, kw_only=True, gc=False):
    api_version: str = field(default="", name="apiVersion")
    kind: str = ""
    name: str = ""
    controller: bool | None = None


class MetaView(Struct, kw_only=True, gc=False):
    name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = field(default="", name="resourceVersion")
    deletion_timestamp: str | None = field(default=None, name="deletionTimestamp")
    generation: int = 0
    labels: dict[str, str] = field(default_factory=dict)
    owner_references: tuple[OwnerView, ...] = field(default=(), name="ownerReferences")
    managed_fields: msgspec.Raw = field(default_factory=lambda: msgspec.Raw(b"[]"), name="managedFields")
    """Never looked at; declared because informers empty it."""


class RequestsView(Struct, kw_only=True, gc=False):
    requests: dict[str, Quantity] = field(default_factory=dict)


class PortView(Struct, kw_only=True, gc=False):
    host_port: int = field(default=0, name="hostPort")
    protocol: str = ""
    host_ip: str = field(default="", name="hostIP")


class ContainerView(Struct, kw_only=True, gc=False):
    name: str = ""
    image: str = ""
    ports: tuple[PortView, ...] = ()
    resources: RequestsView | None = None
    restart_policy: str | None = field(default=None, name="restartPolicy")


class ClaimView(Struct, kw_only=True, gc=False):
    claim_name: str = field(default="", name="claimName")


class NoteView(Struct, kw_only=True, gc=False):
    """Something of which it counts only that it is there."""


class VolumeView(Struct, kw_only=True, gc=False):
    name: str = ""
    persistent_volume_claim: ClaimView | None = field(default=None, name="persistentVolumeClaim")
    ephemeral: NoteView | None = None


class GateView(Struct, kw_only=True, gc=False):
    name: str = ""


class PodSpecView(Struct, kw_only=True, gc=False):
    containers: tuple[ContainerView, ...] = ()
    init_containers: tuple[ContainerView, ...] = field(default=(), name="initContainers")
    node_name: str = field(default="", name="nodeName")
    node_selector: dict[str, str] = field(default_factory=dict, name="nodeSelector")
    affinity: core_v1.Affinity | None = None
    tolerations: tuple[core_v1.Toleration, ...] = ()
    scheduler_name: str = field(default="", name="schedulerName")
    scheduling_gates: tuple[GateView, ...] = field(default=(), name="schedulingGates")
    priority: int | None = None
    preemption_policy: str | None = field(default=None, name="preemptionPolicy")
    host_network: bool = field(default=False, name="hostNetwork")
    overhead: dict[str, Quantity] = field(default_factory=dict)
    resources: RequestsView | None = None
    volumes: tuple[VolumeView, ...] = ()
    resource_claims: tuple[core_v1.PodResourceClaim, ...] = field(default=(), name="resourceClaims")
    topology_spread_constraints: tuple[core_v1.TopologySpreadConstraint, ...] = field(
        default=(), name="topologySpreadConstraints"
    )


class ContainerStatusView(Struct, kw_only=True, gc=False):
    name: str = ""
    allocated_resources: dict[str, Quantity] = field(default_factory=dict, name="allocatedResources")
    resources: RequestsView | None = None


class ConditionView(Struct, kw_only=True, gc=False):
    type: str = ""
    status: str = ""
    reason: str = ""
    message: str = ""


class PodStatusView(Struct, kw_only=True, gc=False):
    phase: str = ""
    start_time: str | None = field(default=None, name="startTime")
    nominated_node_name: str = field(default="", name="nominatedNodeName")
    conditions: tuple[ConditionView, ...] = ()
    container_statuses: tuple[ContainerStatusView, ...] = field(default=(), name="containerStatuses")
    init_container_statuses: tuple[ContainerStatusView, ...] = field(default=(), name="initContainerStatuses")
    resource_claim_statuses: tuple[core_v1.PodResourceClaimStatus, ...] = field(
        default=(), name="resourceClaimStatuses"
    )
    allocated_resources: dict[str, Quantity] = field(default_factory=dict, name="allocatedResources")
    """Of the whole Pod, where its spec sizes it as a whole."""
    resources: RequestsView | None = None


class PodView(Struct, kw_only=True, gc=False):
    metadata: MetaView = field(default_factory=MetaView)
    spec: PodSpecView = field(default_factory=PodSpecView)
    status: PodStatusView = field(default_factory=PodStatusView)


class NodeSpecView(Struct, kw_only=True, gc=False):
    unschedulable: bool = False
    taints: list[core_v1.Taint] = field(default_factory=list)


class NodeStatusView(Struct, kw_only=True, gc=False):
    allocatable: dict[str, Quantity] = field(default_factory=dict)
    images: list[core_v1.ContainerImage] = field(default_factory=list)


class NodeView(Struct, kw_only=True, gc=False):
    metadata: MetaView = field(default_factory=MetaView)
    spec: NodeSpecView = field(default_factory=NodeSpecView)
    status: NodeStatusView = field(default_factory=NodeStatusView)


class SelectedByLabels(Struct, kw_only=True, gc=False):
    selector: dict[str, str] = field(default_factory=dict)


class SelectedBySelector(Struct, kw_only=True, gc=False):
    selector: meta_v1.LabelSelector | None = None


class ServiceView(Struct, kw_only=True, gc=False):
    metadata: MetaView = field(default_factory=MetaView)
    spec: SelectedByLabels = field(default_factory=SelectedByLabels)


class ReplicationControllerView(Struct, kw_only=True, gc=False):
    metadata: MetaView = field(default_factory=MetaView)
    spec: SelectedByLabels = field(default_factory=SelectedByLabels)


class ReplicaSetView(Struct, kw_only=True, gc=False):
    metadata: MetaView = field(default_factory=MetaView)
    spec: SelectedBySelector = field(default_factory=SelectedBySelector)


class StatefulSetView(Struct, kw_only=True, gc=False):
    metadata: MetaView = field(default_factory=MetaView)
    spec: SelectedBySelector = field(default_factory=SelectedBySelector)


class NamespaceView(Struct, kw_only=True, gc=False):
    metadata: MetaView = field(default_factory=MetaView)


_NO_STATUS = PodStatusView()
_specs: dict[tuple[str, str, int | None], PodSpecView] = {}
_labels: dict[tuple[tuple[str, str], ...], dict[str, str]] = {}
MAX_SPECS = 16_384


def slim(pod: PodView) -> None:
    """Forget what does not count (any more) of a Pod that is on a node, once its PodInfo was made, or that somebody else
    will place: there may be very many. What is left is kept once for all that are alike, or that others keep too."""
    spec, metadata = pod.spec, pod.metadata
    place = spec.node_name, spec.scheduler_name, spec.priority
    small = _specs.get(place)
    if small is None:
        if len(_specs) >= MAX_SPECS:
            _specs.clear()
        name, scheduler, priority = place
        small = _specs[place] = PodSpecView(node_name=name, scheduler_name=scheduler, priority=priority)
    pod.spec, pod.status = small, _NO_STATUS
    metadata.owner_references = ()
    if len(_labels) >= MAX_SHARED:
        _labels.clear()
    metadata.labels = _labels.setdefault(tuple(metadata.labels.items()), metadata.labels)
    metadata.namespace, metadata.name, metadata.uid = map(intern, (metadata.namespace, metadata.name, metadata.uid))


_amounts: dict[tuple[tuple[str, str], ...], dict[str, Quantity]] = {}
MAX_SHARED = 1024


def compact(node: NodeView) -> None:
    """Keep once what many nodes have in common: what they offer, and the words of their labels."""
    offered = node.status.allocatable
    if len(_amounts) >= MAX_SHARED:
        _amounts.clear()
    node.status.allocatable = _amounts.setdefault(tuple(offered.items()), offered)
    node.metadata.labels = {intern(name): intern(value) for name, value in node.metadata.labels.items()}


add_view(PodView, core_v1.Pod)
add_view(NodeView, core_v1.Node)
add_view(NamespaceView, core_v1.Namespace)
add_view(ServiceView, core_v1.Service)
add_view(ReplicationControllerView, core_v1.ReplicationController)
add_view(ReplicaSetView, apps_v1.ReplicaSet)
add_view(StatefulSetView, apps_v1.StatefulSet)
