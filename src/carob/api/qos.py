"""What a Pod needs and in which quality-of-service class that puts it.

Pure. Source: `pkg/apis/core/v1/helper/qos` and `component-helpers/resource` (sidecars count as containers, KEP-753;
pod-level resources, KEP-2837).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from carob.api import quantity

if TYPE_CHECKING:
    from collections.abc import Mapping

    from carob.api.scalars import Quantity
    from carob.api.types import core_v1

GUARANTEED, BURSTABLE, BEST_EFFORT = "Guaranteed", "Burstable", "BestEffort"
_COUNTED = ("cpu", "memory")


def qos_class(pod: core_v1.Pod) -> str:
    """The class that the Pod's own resources, or else its containers', give it."""
    spec = pod.spec
    if spec.resources is not None and (_positive(spec.resources.requests) or _positive(spec.resources.limits)):
        return _class_of([spec.resources])
    return _class_of([c.resources for c in (*spec.containers, *spec.init_containers)])


def _positive(resources: Mapping[str, Quantity]) -> dict[str, int]:
    found = {}
    for name in _COUNTED:
        if name in resources and (amount := quantity.nano(resources[name])) > 0:
            found[name] = amount
    return found


def _class_of(parts: list[core_v1.ResourceRequirements]) -> str:
    requests: dict[str, int] = {}
    limits: dict[str, int] = {}
    guaranteed = True
    for part in parts:
        if not part.requests and not part.limits:
            guaranteed = False
            continue
        for name, value in _positive(part.requests).items():
            requests[name] = requests.get(name, 0) + value
        limited = _positive(part.limits)
        for name, value in limited.items():
            limits[name] = limits.get(name, 0) + value
        guaranteed = guaranteed and len(limited) == len(_COUNTED)
    if not requests and not limits:
        return BEST_EFFORT
    if guaranteed and requests == limits:
        return GUARANTEED
    return BURSTABLE


def is_sidecar(container: core_v1.Container) -> bool:
    """True for an init container that keeps running beside the others."""
    return container.restart_policy == "Always"


def aggregate_requests(spec: core_v1.PodSpec) -> dict[str, Quantity]:
    """What all containers together ask for: the running ones summed, or the largest init step if that is more."""
    return _aggregate(spec, "requests")


def aggregate_limits(spec: core_v1.PodSpec) -> dict[str, Quantity]:
    """As `aggregate_requests`, of the limits."""
    return _aggregate(spec, "limits")


def _aggregate(spec: core_v1.PodSpec, which: str) -> dict[str, Quantity]:
    total: dict[str, Quantity] = {}
    for container in spec.containers:
        _add(total, getattr(container.resources, which))
    sidecars: dict[str, Quantity] = {}
    peak: dict[str, Quantity] = {}
    for container in spec.init_containers:
        wanted: dict[str, Quantity] = getattr(container.resources, which)
        if is_sidecar(container):
            _add(total, wanted)
            _add(sidecars, wanted)
            _raise(peak, sidecars)
        else:
            step = dict(wanted)
            _add(step, sidecars)
            _raise(peak, step)
    _raise(total, peak)
    return total


def _add(total: dict[str, Quantity], more: Mapping[str, Quantity]) -> None:
    for name, value in more.items():
        total[name] = quantity.add(total[name], value) if name in total else value


def _raise(total: dict[str, Quantity], other: Mapping[str, Quantity]) -> None:
    for name, value in other.items():
        if name not in total or quantity.compare(value, total[name]) > 0:
            total[name] = value


def pod_requests(pod: core_v1.Pod) -> dict[str, Quantity]:
    """What a node must have free for the Pod: pod-level requests win over the containers', overhead comes on top."""
    total = aggregate_requests(pod.spec)
    if pod.spec.resources is not None:
        total.update(pod.spec.resources.requests)
    _add(total, pod.spec.overhead)
    return total
