"""The parts of Pods that the controllers here look at, decoded straight from the API's answers.

A whole Pod costs 11 KB as a Struct, and the controllers keep every Pod of the cluster. So they keep these, in one
informer for all of them, and `compact` lets equal parts of different Pods be one object.
"""

from __future__ import annotations

from sys import intern
from typing import TYPE_CHECKING, Any

from msgspec import Struct, field
from msgspec.structs import astuple

from carob.api.resources import add_view
from carob.api.selectors import EQUALS, IN
from carob.api.types import core_v1
from carob.base.clock import parse_rfc3339
from carob.controllers.ownership import BY_OWNER, Owned, OwnedMeta, owners_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from carob.api.selectors import LabelSelector
    from carob.client.informer import Informer

MAX_SHARED = 4096


class WorkloadMeta(OwnedMeta, kw_only=True, gc=False):
    """Metadata with what selectors and annotations need."""

    labels: dict[str, str] = field(default_factory=dict)
    annotations: dict[str, str] = field(default_factory=dict)
    creation_timestamp: str | None = field(default=None, name="creationTimestamp")
    deletion_grace_period_seconds: int | None = field(default=None, name="deletionGracePeriodSeconds")


class PodPortView(Struct, kw_only=True, frozen=True, gc=False):
    name: str = ""
    container_port: int = field(default=0, name="containerPort")
    protocol: str = ""


class PodContainerView(Struct, kw_only=True, frozen=True, gc=False):
    name: str = ""
    ports: tuple[PodPortView, ...] = ()
    restart_policy: str | None = field(default=None, name="restartPolicy")


class FieldTermView(Struct, kw_only=True, frozen=True, gc=False):
    key: str = ""
    operator: str = ""
    values: tuple[str, ...] = ()


class NodeTermView(Struct, kw_only=True, frozen=True, gc=False):
    match_fields: tuple[FieldTermView, ...] = field(default=(), name="matchFields")


class RequiredView(Struct, kw_only=True, frozen=True, gc=False):
    terms: tuple[NodeTermView, ...] = field(default=(), name="nodeSelectorTerms")


class NodeAffinityView(Struct, kw_only=True, frozen=True, gc=False):
    required: RequiredView | None = field(default=None, name="requiredDuringSchedulingIgnoredDuringExecution")


class AffinityView(Struct, kw_only=True, frozen=True, gc=False):
    node: NodeAffinityView | None = field(default=None, name="nodeAffinity")


class PodClaimView(Struct, kw_only=True, frozen=True, gc=False):
    claim_name: str = field(default="", name="claimName")


class NoteView(Struct, kw_only=True, frozen=True, gc=False):
    """Something of which it counts only that it is there."""


class PodVolumeView(Struct, kw_only=True, frozen=True, gc=False):
    name: str = ""
    persistent_volume_claim: PodClaimView | None = field(default=None, name="persistentVolumeClaim")
    ephemeral: NoteView | None = None


class PodResourceClaimView(Struct, kw_only=True, frozen=True, gc=False):
    name: str = ""
    resource_claim_name: str | None = field(default=None, name="resourceClaimName")
    resource_claim_template_name: str | None = field(default=None, name="resourceClaimTemplateName")


class ExtendedClaimView(Struct, kw_only=True, frozen=True, gc=False):
    resource_claim_name: str = field(default="", name="resourceClaimName")


class PodSpecView(Struct, kw_only=True, gc=False):
    node_name: str = field(default="", name="nodeName")
    hostname: str = ""
    subdomain: str = ""
    restart_policy: str = field(default="", name="restartPolicy")
    affinity: AffinityView | None = None
    tolerations: tuple[core_v1.Toleration, ...] = ()
    containers: tuple[PodContainerView, ...] = ()
    init_containers: tuple[PodContainerView, ...] = field(default=(), name="initContainers")
    volumes: tuple[PodVolumeView, ...] = ()
    """After `compact` only those that are claims."""
    resource_claims: tuple[PodResourceClaimView, ...] = field(default=(), name="resourceClaims")


class PodConditionView(Struct, kw_only=True, frozen=True, gc=False):
    type: str = ""
    status: str = ""
    last_transition_time: str | None = field(default=None, name="lastTransitionTime")


class TerminatedView(Struct, kw_only=True, frozen=True, gc=False):
    exit_code: int = field(default=0, name="exitCode")
    finished_at: str | None = field(default=None, name="finishedAt")


class ContainerStateView(Struct, kw_only=True, frozen=True, gc=False):
    terminated: TerminatedView | None = None


class ContainerStatusView(Struct, kw_only=True, frozen=True, gc=False):
    name: str = ""
    restart_count: int = field(default=0, name="restartCount")
    state: ContainerStateView = field(default_factory=ContainerStateView)


class PodIpView(Struct, kw_only=True, frozen=True, gc=False):
    ip: str = ""


class PodStatusView(Struct, kw_only=True, gc=False):
    phase: str = ""
    conditions: tuple[PodConditionView, ...] = ()
    pod_ip: str = field(default="", name="podIP")
    pod_ips: tuple[PodIpView, ...] = field(default=(), name="podIPs")
    """After `compact` only if they are several."""
    container_statuses: tuple[ContainerStatusView, ...] = field(default=(), name="containerStatuses")
    init_container_statuses: tuple[ContainerStatusView, ...] = field(default=(), name="initContainerStatuses")
    resource_claim_statuses: tuple[core_v1.PodResourceClaimStatus, ...] = field(
        default=(), name="resourceClaimStatuses"
    )
    extended_claim: ExtendedClaimView | None = field(default=None, name="extendedResourceClaimStatus")


class PodView(Owned, kw_only=True, gc=False):
    metadata: WorkloadMeta = field(default_factory=WorkloadMeta)
    spec: PodSpecView = field(default_factory=PodSpecView)
    status: PodStatusView = field(default_factory=PodStatusView)

    @property
    def is_ready(self) -> bool:
        """Whether its Ready condition says so."""
        for condition in self.status.conditions:
            if condition.type == "Ready":
                return condition.status == "True"
        return False

    @property
    def target_node(self) -> str:
        """Its node, or the only one that its affinity lets it have; empty for neither."""
        spec = self.spec
        if spec.node_name or spec.affinity is None or spec.affinity.node is None or spec.affinity.node.required is None:
            return spec.node_name
        for term in spec.affinity.node.required.terms:
            for one in term.match_fields:
                if one.key == "metadata.name" and one.operator == "In" and len(one.values) == 1:
                    return one.values[0]
        return ""

    @property
    def has_ended(self) -> bool:
        """Whether no container of it will run again."""
        return self.status.phase in ("Succeeded", "Failed")

    @property
    def is_active(self) -> bool:
        """Whether it counts as a replica: it has not ended and nobody asked for its end."""
        return not self.has_ended and self.metadata.deletion_timestamp is None

    @property
    def ready_since(self) -> float | None:
        """Seconds since 1970 of its becoming ready; None if it is not, 0.0 if nobody wrote when."""
        for condition in self.status.conditions:
            if condition.type == "Ready" and condition.status == "True":
                return parse_rfc3339(condition.last_transition_time) if condition.last_transition_time else 0.0
        return None

    def is_available(self, min_ready_seconds: int, now: float) -> bool:
        """Whether it has been ready for as long as its controller asks."""
        if not min_ready_seconds:
            return self.is_ready
        since = self.ready_since
        return since is not None and since > 0 and since + min_ready_seconds <= now


add_view(PodView, core_v1.Pod)

# what says nothing beyond Ready to any controller
_PASSING = frozenset({"PodScheduled", "Initialized", "ContainersReady", "PodReadyToStartContainers"})
_shared: dict[Any, Any] = {}


def _share(part: str, content: Any, value: Any) -> Any:
    """One object for all equal ones; `part` keeps the empty ones of different parts apart."""
    key = part, content
    if len(_shared) >= MAX_SHARED:
        _shared.clear()
    return _shared.setdefault(key, value)


def compact(key: str, old: PodView | None, new: PodView | None) -> None:
    """Handler of the Pods' informer, before all others: keep of the conditions only those that somebody looks at, of
    containers only what can differ, and one copy of equal parts."""
    if new is None:
        return
    spec, status, metadata = new.spec, new.status, new.metadata
    if status.conditions:
        kept = tuple(
            c for c in status.conditions if c.type not in _PASSING and (c.type != "Ready" or c.status == "True")
        )
        status.conditions = _share("conditions", kept, kept)
    statuses = (*status.container_statuses, *status.init_container_statuses)
    if statuses and not new.has_ended and not any(c.restart_count for c in statuses):
        status.container_statuses = status.init_container_statuses = ()
    if spec.tolerations:
        same = tuple([(t.key, t.operator, t.value, t.effect, t.toleration_seconds) for t in spec.tolerations])
        spec.tolerations = _share("tolerations", same, spec.tolerations)
    if spec.node_name:
        spec.affinity = None
    spec.volumes = tuple(v for v in spec.volumes if v.persistent_volume_claim is not None or v.ephemeral is not None)
    spec.containers = _share("containers", spec.containers, spec.containers)
    if spec.init_containers:
        spec.init_containers = _share("containers", spec.init_containers, spec.init_containers)
    metadata.labels = _share("labels", tuple(metadata.labels.items()), metadata.labels)
    metadata.annotations = _share("labels", tuple(metadata.annotations.items()), metadata.annotations)
    if metadata.owner_references:
        owners = tuple([(r.uid, r.controller, r.block_owner_deletion) for r in metadata.owner_references])
        metadata.owner_references = _share("owners", owners, metadata.owner_references)
    metadata.namespace, metadata.name, metadata.uid = map(intern, (metadata.namespace, metadata.name, metadata.uid))
    metadata.creation_timestamp = intern(metadata.creation_timestamp or "") or None
    spec.node_name, spec.restart_policy = intern(spec.node_name), intern(spec.restart_policy)
    status.phase, status.pod_ip = intern(status.phase), intern(status.pod_ip)
    if len(status.pod_ips) == 1 and status.pod_ips[0].ip == status.pod_ip:
        status.pod_ips = ()


def compact_node(key: str, old: core_v1.Node | None, new: core_v1.Node | None) -> None:
    """Handler of the Nodes' informer, before all others: one copy of what many nodes have in common."""
    if new is None:
        return
    status, metadata = new.status, new.metadata
    status.capacity = _share("amounts", tuple(status.capacity.items()), status.capacity)
    status.allocatable = _share("amounts", tuple(status.allocatable.items()), status.allocatable)
    said = tuple([astuple(one) for one in status.conditions])
    status.conditions = _share("node conditions", said, status.conditions)
    if status.node_info.swap is None:
        status.node_info = _share("node info", astuple(status.node_info), status.node_info)
    # the keys are the same words on every node
    metadata.labels = {intern(name): intern(value) for name, value in metadata.labels.items()}


BY_NODE = "node"
"""The index of Pods by the name of their node; the empty name for those without one."""


def node_of(pod: PodView) -> tuple[str]:
    """The value of the index `BY_NODE`."""
    return (pod.spec.node_name,)


BY_ORPHANAGE = "orphanage"
"""The index of what no controller owns, by namespace and by each label: what controllers may adopt."""


def orphanage_of(obj: Any) -> Iterable[str]:
    """The values of the index `BY_ORPHANAGE`: `namespace`, and `namespace/label=value` for each label."""
    metadata = obj.metadata
    if any(r.controller for r in metadata.owner_references):
        return ()
    return (metadata.namespace, *(f"{metadata.namespace}/{k}={v}" for k, v in metadata.labels.items()))


def orphanage_for(selector: LabelSelector, namespace: str) -> str:
    """The value of the index under which everything is found that the selector can select."""
    for requirement in selector.requirements:
        if requirement.operator in (EQUALS, IN) and len(requirement.values) == 1:
            return f"{namespace}/{requirement.key}={requirement.values[0]}"
    return namespace


def prepare(pods: Informer[PodView]) -> None:
    """What the informer needs before it runs."""
    pods.add_index(BY_NODE, node_of)
    pods.add_index(BY_OWNER, owners_of)
    pods.add_index(BY_ORPHANAGE, orphanage_of)
    pods.subscribe(compact)


def reference(pod: PodView) -> core_v1.ObjectReference:
    """What an event about this Pod refers to."""
    metadata = pod.metadata
    return core_v1.ObjectReference(
        kind="Pod",
        api_version="v1",
        namespace=metadata.namespace,
        name=metadata.name,
        uid=metadata.uid,
        resource_version=metadata.resource_version,
    )
