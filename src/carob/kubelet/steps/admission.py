"""Start step: whether this node can run the Pod at all. Pure.

The scheduler has checked the same, but a Pod may name its node itself and two schedulers may race.
Source: kubelet `lifecycle/predicate.go`, scheduler `noderesources`, `nodeports`, `nodeaffinity`; the messages are
upstream's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from carob.api import quantity
from carob.api.claims import node_matches
from carob.api.validation.resources import is_extended
from carob.kubelet.failures import Rejected
from carob.kubelet.resources import pod_requests
from carob.kubelet.static_pods import is_static

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from carob.api.types import core_v1

ANY_ADDRESS = "0.0.0.0"


class Shortfall(Struct, frozen=True):
    """A resource of which the node has too little left. Units: millicores, bytes or counts."""

    name: str
    requested: int
    used: int
    capacity: int

    @property
    def missing(self) -> int:
        return self.requested + self.used - self.capacity


class DoesNotFit(Rejected):
    """The node would run the Pod if others left it."""

    def __init__(self, shortfalls: list[Shortfall]) -> None:
        first = shortfalls[0]
        super().__init__(
            f"OutOf{first.name}",
            f"Pod was rejected: Node didn't have enough resource: {first.name}, "
            f"requested: {first.requested}, used: {first.used}, capacity: {first.capacity}",
        )
        self.shortfalls = shortfalls


def admit(
    pod: core_v1.Pod,
    others: Iterable[core_v1.Pod],
    allocatable: Mapping[str, str],
    node: core_v1.Node,
) -> None:
    """Raises: Rejected when the node cannot run `pod` beside `others`, the Pods that it already runs.

    DoesNotFit when that is all for want of room.
    """
    if pod.metadata.labels.get("kubernetes.io/os", "linux") != "linux":
        raise _refused(
            "PodOSSelectorNodeLabelDoesNotMatch",
            "Failed to admit pod as the `kubernetes.io/os` label doesn't match node label",
        )
    if pod.spec.os is not None and pod.spec.os.name not in ("", "linux"):
        raise _refused("PodOSNotSupported", "Failed to admit pod as the OS field doesn't match node OS")
    if not _wants(pod, node):
        raise _refused(
            "NodeAffinity", "Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector"
        )
    running = list(others)
    taken = {port for other in running for port in _ports(other)}
    if any(_clash(port, other) for port in _ports(pod) for other in taken):
        raise _refused(
            "NodePorts", "Predicate NodePorts failed: node(s) didn't have free ports for the requested pod ports"
        )
    if not is_static(pod) and not _tolerates(pod, node):
        raise _refused(
            "TaintToleration", "Predicate TaintToleration failed: node(s) had taints that the pod didn't tolerate"
        )
    shortfalls = list(_shortfalls(pod, running, allocatable))
    if shortfalls:
        raise DoesNotFit(shortfalls)


def _refused(reason: str, words: str) -> Rejected:
    return Rejected(reason, f"Pod was rejected: {words}")


def _wants(pod: core_v1.Pod, node: core_v1.Node) -> bool:
    """Whether the Pod's selector and its required affinity want this node."""
    labels = node.metadata.labels
    if any(labels.get(key) != value for key, value in pod.spec.node_selector.items()):
        return False
    affinity = pod.spec.affinity.node_affinity if pod.spec.affinity is not None else None
    required = affinity.required_during_scheduling_ignored_during_execution if affinity is not None else None
    return required is None or node_matches(required.node_selector_terms, labels, node.metadata.name)


def _tolerates(pod: core_v1.Pod, node: core_v1.Node) -> bool:
    """Whether the Pod may be where the node's taints let nobody stay."""
    return all(
        any(
            one.effect in ("", taint.effect)
            and one.key in ("", taint.key)
            and (one.operator == "Exists" or (one.key == taint.key and one.value == taint.value))
            for one in pod.spec.tolerations
        )
        for taint in node.spec.taints
        if taint.effect == "NoExecute"
    )


def _shortfalls(pod: core_v1.Pod, others: list[core_v1.Pod], allocatable: Mapping[str, str]) -> Iterator[Shortfall]:
    capacity = quantity.whole(allocatable.get("pods", "110"))
    if len(others) + 1 > capacity:
        yield Shortfall("pods", 1, len(others), capacity)
    extended = pod.status.extended_resource_claim_status
    claimed = {one.resource_name for one in extended.request_mappings} if extended is not None else set()
    for name, wanted in pod_requests(pod).items():
        if name in claimed and not quantity.whole(allocatable.get(name, "0")):
            # a claim of devices gives the Pod what the node does not offer by itself
            continue
        if name not in allocatable and is_extended(name):
            # somebody else added it to the Node: the scheduler counts it, this machine knows nothing of it
            continue
        amount = amount_of(name, wanted)
        if amount == 0:
            continue
        used = sum(amount_of(name, pod_requests(other).get(name, "0")) for other in others)
        total = amount_of(name, allocatable.get(name, "0"))
        if used + amount > total:
            yield Shortfall(name, amount, used, total)


def amount_of(name: str, text: str) -> int:
    """Of a resource, as this module counts it."""
    return quantity.cpu_millicores(text) if name == "cpu" else quantity.whole(text)


def _ports(pod: core_v1.Pod) -> set[tuple[str, str, int]]:
    return {
        (port.host_ip or ANY_ADDRESS, port.protocol or "TCP", port.host_port)
        for container in [*pod.spec.init_containers, *pod.spec.containers]
        for port in container.ports
        if port.host_port > 0
    }


def _clash(one: tuple[str, str, int], other: tuple[str, str, int]) -> bool:
    return one[1:] == other[1:] and (one[0] == other[0] or ANY_ADDRESS in (one[0], other[0]))
