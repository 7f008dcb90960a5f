"""A Pod as the scheduler reckons with it: what filters and scores need, worked out once.

Pure. Invariant: what was worked out never changes; `view` may be replaced by one that would give the same.
"""

from __future__ import annotations

from sys import intern
from typing import TYPE_CHECKING, NamedTuple

from carob.api import codec
from carob.api.claims import claim_name
from carob.scheduler.pod_terms import NO_TERMS, terms_of
from carob.scheduler.requests import pod_size

if TYPE_CHECKING:
    from carob.scheduler.devices.pod_devices import PodDevices
    from carob.scheduler.pod_volumes import PodVolumes
    from carob.scheduler.views import PodView

ANY_ADDRESS = "0.0.0.0"

Group = tuple[str, frozenset[tuple[str, str]]]


class UsedPort(NamedTuple):
    """A port of the node. `address` is `0.0.0.0` for every address."""

    address: str
    protocol: str
    port: int

    def conflicts(self, other: UsedPort) -> bool:
        """Whether both cannot be on one node."""
        return (
            self.port == other.port
            and self.protocol == other.protocol
            and (self.address == other.address or ANY_ADDRESS in (self.address, other.address))
        )


class PodInfo:
    """One Pod. `key` is `namespace/name`; `group` its namespace and labels."""

    __slots__ = (
        "_fit_key",
        "claims",
        "deleting",
        "devices",
        "group",
        "key",
        "namespace",
        "ports",
        "priority",
        "requests",
        "scored_cpu",
        "scored_memory",
        "started",
        "terms",
        "view",
        "volumes",
    )

    def __init__(self, view: PodView) -> None:
        self.view = view
        metadata, spec = view.metadata, view.spec
        self.namespace = metadata.namespace
        self.key = intern(f"{metadata.namespace}/{metadata.name}")
        self.priority = spec.priority or 0
        self.requests, self.scored_cpu, self.scored_memory = pod_size(view)
        self.ports = _used_ports(view)
        self.group = _group(view)
        self.started = intern(view.status.start_time or "")
        """When the kubelet took it up, as RFC 3339; empty before."""
        self.deleting = metadata.deletion_timestamp is not None
        self.terms = terms_of(view)
        self.claims = _claims(view)
        """Keys of the claims that it uses, and whether each is an ephemeral volume's."""
        self._fit_key = b""
        self.volumes: PodVolumes | None = None
        """The newest look at its claims; None if it has none."""
        self.devices: PodDevices | None = None
        """The newest look at its claims of devices; None if it has none."""

    @property
    def labels(self) -> dict[str, str]:
        return self.view.metadata.labels

    @property
    def uid(self) -> str:
        return self.view.metadata.uid

    @property
    def node_name(self) -> str:
        return self.view.spec.node_name

    def renewed_by(self, view: PodView) -> bool:
        """Take over a newer view that changes nothing of what was worked out; False if it may change something.

        Cheap on purpose: most changes of a Pod are of its status, and there are very many.
        """
        old, new = self.view.metadata, view.metadata
        if (
            new.uid != old.uid
            or new.generation != old.generation
            or new.deletion_timestamp != old.deletion_timestamp
            or new.labels != old.labels
            or view.status.resources is not None
            or any(status.allocated_resources or status.resources for status in view.status.container_statuses)
        ):
            return False
        if view.status.start_time:
            self.started = intern(view.status.start_time)
        self.view = view
        return True

    def fit_key(self) -> bytes:
        """Equal for Pods that fit on the same nodes; worked out once, when somebody asks."""
        if not self._fit_key:
            self._fit_key = self._make_fit_key()
        return self._fit_key

    def _make_fit_key(self) -> bytes:
        spec = self.view.spec
        asked = (self.requests, self.ports, self.node_name, spec.tolerations, spec.node_selector, spec.affinity)
        parts = (spec.scheduler_name, asked)
        more: tuple[object, ...] = (self.claims,) if self.claims else ()
        if spec.resource_claims:
            more = (*more, self.namespace, spec.resource_claims, self.view.status.resource_claim_statuses)
        if self.terms is not NO_TERMS or spec.topology_spread_constraints:
            more = (*more, self.namespace, self.labels, spec.topology_spread_constraints)
        return codec.encode((parts, more))

    def alike_key(self) -> bytes:
        """Equal for Pods of which local filters and scores say the same on every node."""
        spec = self.view.spec
        affinity = spec.affinity.node_affinity if spec.affinity is not None else None
        images = [container.image for container in (*spec.init_containers, *spec.containers)]
        scored = (self.scored_cpu, self.scored_memory)
        asked = (self.requests, scored, self.ports, self.node_name, spec.tolerations, spec.node_selector, affinity)
        backed = sorted(self.devices.extended) if self.devices is not None else []
        return codec.encode((spec.scheduler_name, asked, images, backed))

    def counts_as(self, other: PodInfo) -> bool:
        """Whether both take the same of a node, so that one may stand for the other there."""
        return (
            self.uid == other.uid
            and self.requests == other.requests
            and self.scored_cpu == other.scored_cpu
            and self.scored_memory == other.scored_memory
            and self.ports == other.ports
            and self.deleting == other.deleting
            and self.labels == other.labels
            and self.terms == other.terms
            and self.priority == other.priority
        )


_groups: dict[Group, Group] = {}
MAX_SHARED = 4096


def _used_ports(view: PodView) -> tuple[UsedPort, ...]:
    found = [
        UsedPort(port.host_ip or ANY_ADDRESS, port.protocol or "TCP", port.host_port)
        for container in view.spec.containers
        for port in container.ports
        if port.host_port > 0
    ]
    # a sidecar keeps its ports for as long as the Pod lives
    found += [
        UsedPort(port.host_ip or ANY_ADDRESS, port.protocol or "TCP", port.host_port)
        for container in view.spec.init_containers
        if container.restart_policy == "Always"
        for port in container.ports
        if port.host_port > 0
    ]
    return tuple(found)


def _claims(view: PodView) -> tuple[tuple[str, bool], ...]:
    metadata = view.metadata
    named = ((claim_name(metadata.name, one), one.ephemeral is not None) for one in view.spec.volumes)
    return tuple(dict.fromkeys((f"{metadata.namespace}/{name}", ephemeral) for name, ephemeral in named if name))


def _group(view: PodView) -> Group:
    metadata = view.metadata
    group = (metadata.namespace, frozenset(metadata.labels.items()))
    if len(_groups) >= MAX_SHARED:
        _groups.clear()
    return _groups.setdefault(group, group)
