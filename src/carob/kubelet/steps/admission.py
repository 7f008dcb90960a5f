"""Start step: whether this node can run the Pod at all. Pure.

The scheduler has checked the same, but a Pod may name its node itself and two schedulers may race.
Source: kubelet `lifecycle/predicate.go`, scheduler `noderesources`, `nodeports`, `nodeaffinity`; the messages are
upstream's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from carob.api import quantity
from carob.api.validation.resources import is_extended
from carob.kubelet.failures import Rejected
from carob.kubelet.resources import pod_requests

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from carob.api.types import core_v1

ANY_ADDRESS = "0.0.0.0"


def admit(
    pod: core_v1.Pod,
    others: Iterable[core_v1.Pod],
    allocatable: Mapping[str, str],
    node_labels: Mapping[str, str],
) -> None:
    """Raises: Rejected when the node cannot run `pod` beside `others`, the Pods that it already runs."""
    if pod.spec.os is not None and pod.spec.os.name not in ("", "linux"):
        raise Rejected("PodOSNotSupported", "Pod was rejected: Pod OS field does not match the node's OS")
    for key, value in pod.spec.node_selector.items():
        if node_labels.get(key) != value:
            raise Rejected(
                "NodeAffinity",
                "Pod was rejected: Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector",
            )
    running = list(others)
    _fits(pod, running, allocatable)
    taken = {port for other in running for port in _ports(other)}
    if any(_clash(port, other) for port in _ports(pod) for other in taken):
        raise Rejected(
            "NodePorts",
            "Pod was rejected: Predicate NodePorts failed: node(s) didn't have free ports for the requested pod ports",
        )


def _fits(pod: core_v1.Pod, others: list[core_v1.Pod], allocatable: Mapping[str, str]) -> None:
    capacity = quantity.whole(allocatable.get("pods", "110"))
    if len(others) + 1 > capacity:
        raise Rejected("OutOfpods", _text("pods", 1, len(others), capacity))
    extended = pod.status.extended_resource_claim_status
    claimed = {one.resource_name for one in extended.request_mappings} if extended is not None else set()
    for name, wanted in pod_requests(pod).items():
        if name in claimed and not quantity.whole(allocatable.get(name, "0")):
            # a claim of devices gives the Pod what the node does not offer by itself
            continue
        if name not in allocatable and is_extended(name):
            # somebody else added it to the Node: the scheduler counts it, this machine knows nothing of it
            continue
        unit = quantity.cpu_millicores if name == "cpu" else quantity.whole
        amount = unit(wanted)
        if amount == 0:
            continue
        used = sum(unit(pod_requests(other).get(name, "0")) for other in others)
        total = unit(allocatable.get(name, "0"))
        if used + amount > total:
            raise Rejected(f"OutOf{name}", _text(name, amount, used, total))


def _text(name: str, wanted: int, used: int, capacity: int) -> str:
    return (
        f"Pod was rejected: Node didn't have enough resource: {name}, "
        f"requested: {wanted}, used: {used}, capacity: {capacity}"
    )


def _ports(pod: core_v1.Pod) -> set[tuple[str, str, int]]:
    return {
        (port.host_ip or ANY_ADDRESS, port.protocol or "TCP", port.host_port)
        for container in [*pod.spec.init_containers, *pod.spec.containers]
        for port in container.ports
        if port.host_port > 0
    }


def _clash(one: tuple[str, str, int], other: tuple[str, str, int]) -> bool:
    return one[1:] == other[1:] and (one[0] == other[0] or ANY_ADDRESS in (one[0], other[0]))
