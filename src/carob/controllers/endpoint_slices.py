"""EndpointSlices: which Pods stand behind a Service, in slices of at most a hundred, for each of its families.

`endpoints_of` and `plan` are pure; `EndpointSliceController` carries the plan out.
Source: kube-controller-manager `endpointslice`, staging `k8s.io/endpointslice` (reconciler.go, utils.go).
Differs: slices are filled in one pass, so a few more may exist than upstream would keep.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec import Struct, field

from carob.api.scalars import Int32
from carob.api.selectors import from_dict
from carob.api.status import ApiError
from carob.api.types import core_v1, discovery_v1, meta_v1
from carob.base.clock import rfc3339
from carob.client.informer import key_of
from carob.client.workqueue import WorkQueue
from carob.controllers.references import controller_reference
from carob.controllers.selected import BY_LABEL, BY_SELECTION, label_for, may_select, places_of, pods_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from carob.base.clock import Clock
    from carob.client.informer import Informer
    from carob.client.rest import Client
    from carob.controllers.views import PodView

MAX_ENDPOINTS = 100
WORKERS = 4
BY_SERVICE = "service"
SERVICE_LABEL = "kubernetes.io/service-name"
MANAGED_BY_LABEL = "endpointslice.kubernetes.io/managed-by"
CONTROLLER = "endpointslice-controller.k8s.io"
HEADLESS_LABEL = "service.kubernetes.io/headless"
TRIGGER_ANNOTATION = "endpoints.kubernetes.io/last-change-trigger-time"
ZONE_LABEL = "topology.kubernetes.io/zone"
_RESERVED = frozenset({SERVICE_LABEL, MANAGED_BY_LABEL, HEADLESS_LABEL})

Ports = tuple[tuple[str, str, int, str], ...]
"""The ports of a slice, sorted: name, protocol, number, application protocol."""


def is_headless(service: core_v1.Service) -> bool:
    """Whether the Service has no address of its own."""
    return service.spec.cluster_ip == "None"


def serves(service: core_v1.Service) -> bool:
    """Whether its endpoints are found for it: it selects Pods, and is not a mere name."""
    return bool(service.spec.selector) and service.spec.type != "ExternalName"


def ports_of(service: core_v1.Service, pod: PodView) -> Ports:
    """Where the Pod listens for the Service; a named port that it does not have is left out."""
    found = []
    for port in service.spec.ports:
        protocol = port.protocol or "TCP"
        number = target_port(pod, port.target_port or port.port, protocol)
        if number:
            found.append((port.name, protocol, number, port.app_protocol or ""))
    return tuple(sorted(found))


def target_port(pod: PodView, target: int | str, protocol: str) -> int:
    """The number of a target port; 0 if the Pod has none of this name. Source: `FindPort`."""
    if isinstance(target, int):
        return target
    sidecars = (c for c in pod.spec.init_containers if c.restart_policy == "Always")
    for container in (*pod.spec.containers, *sidecars):
        for port in container.ports:
            if port.name == target and (port.protocol or "TCP") == protocol:
                return port.container_port
    return 0


def families_of(service: core_v1.Service) -> list[str]:
    """`IPv4`, `IPv6`: those of its addresses, the first one first."""
    return service.spec.ip_families or ["IPv4"]


def belongs(pod: PodView, family: str, *, also_ending: bool) -> bool:
    """Whether the Pod can be an endpoint: it has an address of the family and has not ended."""
    return bool(address_of(pod, family)) and not pod.has_ended and (also_ending or not pod.is_ending)


def address_of(pod: PodView, family: str) -> str:
    """The Pod's address of a family; empty: it has none."""
    found = [one.ip for one in pod.status.pod_ips] or [pod.status.pod_ip]
    return next((ip for ip in found if ip and (":" in ip) == (family == "IPv6")), "")


def endpoint_of(service: core_v1.Service, pod: PodView, zone: str, family: str) -> discovery_v1.Endpoint:
    """The Pod as an endpoint of the Service. Shape: `zone` is its node's, or empty."""
    metadata, spec = pod.metadata, pod.spec
    endpoint = discovery_v1.Endpoint(
        addresses=[address_of(pod, family)],
        conditions=discovery_v1.EndpointConditions(
            ready=service.spec.publish_not_ready_addresses or (pod.is_ready and not pod.is_ending),
            serving=pod.is_ready,
            terminating=pod.is_ending,
        ),
        target_ref=core_v1.ObjectReference(
            kind="Pod", namespace=metadata.namespace, name=metadata.name, uid=metadata.uid
        ),
        node_name=spec.node_name or None,
        zone=zone or None,
        hints=_hints(service, spec.node_name, zone),
    )
    if spec.hostname and spec.subdomain == service.metadata.name:
        endpoint.hostname = spec.hostname
    return endpoint


def _hints(service: core_v1.Service, node: str, zone: str) -> discovery_v1.EndpointHints | None:
    wish = service.spec.traffic_distribution
    if wish not in ("PreferClose", "PreferSameZone", "PreferSameNode"):
        return None
    zones = [discovery_v1.ForZone(name=zone)] if zone else []
    nodes = [discovery_v1.ForNode(name=node)] if wish == "PreferSameNode" and node else []
    return discovery_v1.EndpointHints(for_zones=zones, for_nodes=nodes) if zones or nodes else None


def endpoints_of(
    service: core_v1.Service, pods: Iterable[PodView], zones: Mapping[str, str], family: str = "IPv4"
) -> dict[Ports, list[discovery_v1.Endpoint]]:
    """Every endpoint of the Service by the ports it listens on. Shape: `zones` by name of the node."""
    found: dict[Ports, list[discovery_v1.Endpoint]] = {}
    for pod in pods:
        if belongs(pod, family, also_ending=True):
            endpoint = endpoint_of(service, pod, zones.get(pod.spec.node_name, ""), family)
            found.setdefault(ports_of(service, pod), []).append(endpoint)
    return found


class Plan(Struct):
    """What is to be written."""

    create: list[discovery_v1.EndpointSlice] = field(default_factory=list)
    update: list[discovery_v1.EndpointSlice] = field(default_factory=list)
    delete: list[discovery_v1.EndpointSlice] = field(default_factory=list)


def plan(
    service: core_v1.Service,
    wanted: Mapping[Ports, list[discovery_v1.Endpoint]],
    slices: Iterable[discovery_v1.EndpointSlice],
    now: float,
    family: str = "IPv4",
) -> Plan:
    """How the slices of a family that exist become those that are wanted, with few writes.

    A Service without endpoints keeps one empty slice, so that watchers can tell "none" from "not yet known".
    """
    result = Plan()
    labels = labels_of(service)
    left = {ports: {_identity(e): e for e in endpoints} for ports, endpoints in wanted.items()}
    kept: list[tuple[discovery_v1.EndpointSlice, Ports, list[discovery_v1.Endpoint]]] = []
    for one in slices:
        ports = _ports_of_slice(one)
        mine = left.get(ports, {})
        stay = [mine.pop(_identity(e)) for e in one.endpoints or () if _identity(e) in mine]
        kept.append((one, ports, stay))
    _fill(kept, left)
    empty = [entry for entry in kept if not entry[2]]
    spare = empty[0] if empty and len(empty) == len(kept) and not any(left.values()) else None
    for entry in kept:
        one, ports, stay = entry
        if not stay and entry is not spare:
            result.delete.append(one)
        elif entry is spare:
            _update(result, one, service, labels, (), [], now)
        else:
            _update(result, one, service, labels, ports, stay, now)
    for ports, rest in left.items():
        endpoints = list(rest.values())
        for start in range(0, len(endpoints), MAX_ENDPOINTS):
            result.create.append(_fresh(service, labels, ports, endpoints[start : start + MAX_ENDPOINTS], now, family))
    if not result.create and len(result.delete) == len(kept):
        result.create.append(_fresh(service, labels, (), [], now, family))
    return result


def _fill(
    kept: list[tuple[discovery_v1.EndpointSlice, Ports, list[discovery_v1.Endpoint]]],
    left: dict[Ports, dict[Any, discovery_v1.Endpoint]],
) -> None:
    """New endpoints go first where a write is needed anyway, then where there is room."""

    def unchanged(entry: tuple[discovery_v1.EndpointSlice, Ports, list[discovery_v1.Endpoint]]) -> bool:
        return (entry[0].endpoints or []) == entry[2]

    for number, (one, ports, stay) in sorted(enumerate(kept), key=lambda pair: unchanged(pair[1])):
        if not one.endpoints and ports not in left and any(left.values()):
            # the empty slice of a Service that had no endpoints serves for the first ones
            ports = next(p for p, rest in left.items() if rest)
            kept[number] = (one, ports, stay)
        rest = left.get(ports, {})
        while rest and len(stay) < MAX_ENDPOINTS:
            stay.append(rest.pop(next(iter(rest))))


def _identity(endpoint: discovery_v1.Endpoint) -> Any:
    reference = endpoint.target_ref
    return (*endpoint.addresses, reference.uid if reference else "")


def _ports_of_slice(one: discovery_v1.EndpointSlice) -> Ports:
    return tuple(
        sorted((p.name or "", p.protocol or "TCP", p.port or 0, p.app_protocol or "") for p in one.ports or ())
    )


def labels_of(service: core_v1.Service) -> dict[str, str]:
    """The labels of the Service's slices: its own and those that say whose they are."""
    labels = {key: value for key, value in service.metadata.labels.items() if key not in _RESERVED}
    if is_headless(service):
        labels[HEADLESS_LABEL] = ""
    return labels | {SERVICE_LABEL: service.metadata.name, MANAGED_BY_LABEL: CONTROLLER}


def _slice_ports(ports: Ports) -> list[discovery_v1.EndpointPort]:
    return [
        discovery_v1.EndpointPort(name=name, protocol=protocol, port=Int32(port), app_protocol=app or None)
        for name, protocol, port, app in ports
    ]


def _fresh(
    service: core_v1.Service,
    labels: dict[str, str],
    ports: Ports,
    endpoints: list[discovery_v1.Endpoint],
    now: float,
    family: str,
) -> discovery_v1.EndpointSlice:
    metadata = service.metadata
    return discovery_v1.EndpointSlice(
        metadata=meta_v1.ObjectMeta(
            generate_name=f"{metadata.name}-",
            namespace=metadata.namespace,
            labels=labels,
            annotations={TRIGGER_ANNOTATION: rfc3339(now)} if endpoints else {},
            owner_references=[controller_reference("Service", metadata)],
        ),
        address_type=family,
        endpoints=endpoints or None,
        ports=_slice_ports(ports) or None,
    )


def _update(
    result: Plan,
    one: discovery_v1.EndpointSlice,
    service: core_v1.Service,
    labels: dict[str, str],
    ports: Ports,
    endpoints: list[discovery_v1.Endpoint],
    now: float,
) -> None:
    if (one.endpoints or []) == endpoints and one.metadata.labels == labels and _ports_of_slice(one) == ports:
        return
    fresh = _fresh(service, labels, ports, endpoints, now, one.address_type)
    fresh.metadata.name = one.metadata.name
    fresh.metadata.generate_name = ""
    fresh.metadata.resource_version = one.metadata.resource_version
    fresh.metadata.annotations = one.metadata.annotations | fresh.metadata.annotations
    result.update.append(fresh)


def service_of(one: discovery_v1.EndpointSlice) -> tuple[str, ...]:
    """The value of the index `BY_SERVICE`: the key of the Service whose slice it is."""
    name = one.metadata.labels.get(SERVICE_LABEL)
    return (f"{one.metadata.namespace}/{name}",) if name else ()


class Selected:
    """Which Services a change of a Pod touches; shared by the controllers of slices and of Endpoints."""

    def __init__(
        self, services: Informer[core_v1.Service], pods: Informer[PodView], add: Callable[[str], None]
    ) -> None:
        self._services = services
        self._add = add
        services.subscribe(lambda key, old, new: add(key))
        pods.subscribe(self._pod_changed)

    def _pod_changed(self, key: str, old: PodView | None, new: PodView | None) -> None:
        if old is not None and new is not None and _same(old, new):
            return
        shown = [p.metadata.labels for p in (old, new) if p is not None]
        for service in may_select(old, new, self._services):
            wanted = service.spec.selector.items()
            if any(wanted <= labels.items() for labels in shown):
                self._add(key_of(service))


def _same(old: PodView, new: PodView) -> bool:
    return (
        old.metadata.labels == new.metadata.labels
        and old.status.pod_ip == new.status.pod_ip
        and old.status.pod_ips == new.status.pod_ips
        and old.is_ready == new.is_ready
        and old.is_ending == new.is_ending
        and old.has_ended == new.has_ended
        and old.spec.node_name == new.spec.node_name
    )


def selected(service: core_v1.Service, pods: Informer[PodView]) -> list[PodView]:
    """The Pods that the Service selects, in a stable order."""
    found = pods_of(from_dict(service.spec.selector), service.metadata.namespace, pods)
    return sorted(found, key=lambda pod: pod.metadata.name)


class EndpointSliceController:
    """Keys are keys of Services. What was written and not yet shown by the informer is remembered, by slice."""

    def __init__(
        self,
        client: Client,
        services: Informer[core_v1.Service],
        slices: Informer[discovery_v1.EndpointSlice],
        pods: Informer[PodView],
        nodes: Informer[core_v1.Node],
        clock: Clock,
    ) -> None:
        self._client = client
        self._services = services
        self._slices = slices
        self._pods = pods
        self._nodes = nodes
        self._clock = clock
        self._queue = WorkQueue(clock)
        self._written: dict[str, dict[str, discovery_v1.EndpointSlice]] = {}
        """By service and slice; one whose deletion is not yet shown has no version."""

    async def run(self) -> None:
        """Until cancelled."""
        for informer in (self._services, self._slices, self._pods, self._nodes):
            await informer.wait_synced()
        Selected(self._services, self._pods, self._queue.add)
        self._slices.subscribe(self._slice_changed)
        self._nodes.subscribe(self._node_changed)
        await self._queue.work(self._sync, WORKERS, "endpoint slices")

    def _slice_changed(
        self, key: str, old: discovery_v1.EndpointSlice | None, new: discovery_v1.EndpointSlice | None
    ) -> None:
        shown = new or old
        assert shown is not None
        if shown.metadata.labels.get(MANAGED_BY_LABEL) != CONTROLLER and (
            old is None or old.metadata.labels.get(MANAGED_BY_LABEL) != CONTROLLER
        ):
            return
        for owner in {*service_of(shown), *(service_of(old) if old else ())}:
            written = self._written.get(owner, {})
            mine = written.get(shown.metadata.name)
            if mine is not None:
                if new is not None and (not mine.metadata.resource_version or _version(new) < _version(mine)):
                    return
                del written[shown.metadata.name]
                if new is not None and _version(new) == _version(mine):
                    return
            self._queue.add(owner)

    def _node_changed(self, key: str, old: core_v1.Node | None, new: core_v1.Node | None) -> None:
        zones = [node.metadata.labels.get(ZONE_LABEL) if node else None for node in (old, new)]
        if zones[0] != zones[1]:
            for service in self._services.items():
                if serves(service):
                    self._queue.add(key_of(service))

    def _known(self, key: str) -> list[discovery_v1.EndpointSlice]:
        known = {one.metadata.name: one for one in self._slices.by_index(BY_SERVICE, key)} | self._written.get(key, {})
        return [
            one
            for _, one in sorted(known.items())
            if one.metadata.labels.get(MANAGED_BY_LABEL) == CONTROLLER
            and one.metadata.resource_version
            and one.metadata.deletion_timestamp is None
        ]

    async def _sync(self, key: str) -> None:
        service = self._services.get(key)
        if service is None or service.metadata.deletion_timestamp is not None:
            # the garbage collector takes the slices with their owner
            self._written.pop(key, None)
            return
        if not serves(service):
            return
        pods, known, families = selected(service, self._pods), self._known(key), families_of(service)
        nodes = [self._nodes.get(name) for name in {pod.spec.node_name for pod in pods}]
        zones = {node.metadata.name: node.metadata.labels.get(ZONE_LABEL, "") for node in nodes if node is not None}
        written = self._written.setdefault(key, {})
        try:
            for family in families:
                wanted = endpoints_of(service, pods, zones, family)
                mine = [one for one in known if one.address_type == family]
                await self._carry_out(plan(service, wanted, mine, self._clock.now(), family), written)
            for one in known:
                # of a family that the Service has given up
                if one.address_type not in families:
                    await self._delete(written, one)
        except ApiError as error:
            if error.reason == "Forbidden" and "being terminated" in error.message:
                return
            raise
        finally:
            if not written:
                self._written.pop(key, None)

    async def _carry_out(self, todo: Plan, written: dict[str, discovery_v1.EndpointSlice]) -> None:
        for one in todo.update:
            self._note(written, await self._client.update(one))
        for one in todo.create:
            self._note(written, await self._client.create(one))
        for one in todo.delete:
            await self._delete(written, one)

    def _note(self, written: dict[str, discovery_v1.EndpointSlice], one: discovery_v1.EndpointSlice) -> None:
        shown = self._slices.get(key_of(one))
        if shown is None or _version(shown) < _version(one):
            written[one.metadata.name] = one

    async def _delete(self, written: dict[str, discovery_v1.EndpointSlice], one: discovery_v1.EndpointSlice) -> None:
        metadata = one.metadata
        try:
            await self._client.delete(discovery_v1.EndpointSlice, metadata.name, metadata.namespace, uid=metadata.uid)
        except ApiError as error:
            if error.reason not in ("NotFound", "Conflict"):
                raise
            return
        if self._slices.get(key_of(one)) is not None:
            gone = meta_v1.ObjectMeta(name=metadata.name, namespace=metadata.namespace, labels=metadata.labels)
            written[metadata.name] = discovery_v1.EndpointSlice(metadata=gone)


def _version(one: discovery_v1.EndpointSlice) -> int:
    return int(one.metadata.resource_version or 0)


def prepare_services(
    services: Informer[core_v1.Service], slices: Informer[discovery_v1.EndpointSlice], pods: Informer[PodView]
) -> None:
    """What the informers need before they run."""
    services.add_index(BY_SELECTION, _selection_of)
    pods.add_index(BY_LABEL, places_of)
    slices.add_index(BY_SERVICE, service_of)


def _selection_of(service: core_v1.Service) -> tuple[str, ...]:
    return (label_for(from_dict(service.spec.selector), service.metadata.namespace),) if serves(service) else ()
