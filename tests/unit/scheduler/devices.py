"""Short words for claims, classes and slices in tests."""

from __future__ import annotations

from typing import Any

from carob.api import codec
from carob.api.types import resource_v1
from carob.scheduler.devices.pod_devices import DevicesView, PodDevices, look
from carob.scheduler.devices.pools import Offer, Pools
from carob.scheduler.devices.taken import Taken
from carob.scheduler.pods import PodInfo
from tests.unit.scheduler.worlds import pod

DRIVER = "gpu.example.com"


def exactly(name: str = "r", count: int = 1, **more: Any) -> dict[str, Any]:
    """A request; `where` is an expression."""
    where = more.pop("where", "")
    selectors = {"selectors": [{"cel": {"expression": where}}]} if where else {}
    wish = {"deviceClassName": "gpu", "allocationMode": "ExactCount", "count": count} | selectors | more
    if wish["allocationMode"] == "All":
        del wish["count"]
    return {"name": name, "exactly": wish}


def first_of(*alternatives: dict[str, Any], name: str = "r") -> dict[str, Any]:
    """A request of alternatives, each as `exactly` makes one."""
    return {"name": name, "firstAvailable": [{"name": one["name"]} | one["exactly"] for one in alternatives]}


def claim(name: str = "claim", *requests: dict[str, Any], **more: Any) -> resource_v1.ResourceClaim:
    devices = {"requests": list(requests) or [exactly()]}
    for field in ("constraints", "config"):
        if field in more:
            devices[field] = more.pop(field)
    metadata = {"name": name, "namespace": "default", "uid": f"uid-{name}"} | more.pop("metadata", {})
    tree = {"metadata": metadata, "spec": {"devices": devices}, "status": more}
    return codec.from_tree(resource_v1.ResourceClaim, tree)


def class_(name: str = "gpu", where: str = "", **spec: Any) -> resource_v1.DeviceClass:
    selectors = {"selectors": [{"cel": {"expression": where}}]} if where else {}
    return codec.from_tree(resource_v1.DeviceClass, {"metadata": {"name": name}, "spec": selectors | spec})


def device(name: str, **more: Any) -> dict[str, Any]:
    """Attributes as plain values: text, numbers, truths."""
    kinds = {str: "string", int: "int", bool: "bool"}
    plain = more.pop("attributes", {})
    attributes = {key: {kinds[type(value)]: value} for key, value in plain.items()}
    return {"name": name, "attributes": attributes} | more


def offer(*devices: dict[str, Any], node: str = "node-0", pool: str = "", name: str = "", **spec: Any) -> Offer:
    place = {} if {"allNodes", "nodeSelector", "perDeviceNodeSelection"} & set(spec) else {"nodeName": node}
    count, generation = spec.pop("count", 1), spec.pop("generation", 1)
    tree = {
        "metadata": {"name": name or f"slice-{pool or node}"},
        "spec": {
            "driver": spec.pop("driver", DRIVER),
            "pool": {"name": pool or node, "generation": generation, "resourceSliceCount": count},
            "devices": list(devices),
        }
        | place
        | spec,
    }
    return Offer(codec.from_tree(resource_v1.ResourceSlice, tree))


def allocated(*names: str, pool: str = "node-0", **more: Any) -> dict[str, Any]:
    """An allocation of whole devices, as a claim's status has it."""
    results = [{"request": "r", "driver": DRIVER, "pool": pool, "device": name} | more for name in names]
    return {"devices": {"results": results}}


def user(*claims: resource_v1.ResourceClaim, name: str = "pod", **spec: Any) -> PodInfo:
    wishes = [{"name": one.metadata.name, "resourceClaimName": one.metadata.name} for one in claims]
    return pod(name, **{"resourceClaims": wishes} | spec)


def seen(
    who: PodInfo,
    *claims: resource_v1.ResourceClaim,
    offers: list[Offer],
    classes: list[resource_v1.DeviceClass] | None = None,
    pending: tuple[str, ...] = (),
) -> PodDevices:
    """What the Pod's claims ask, in a cluster of these claims (their allocations count) and offers."""
    taken = Taken()
    for one in claims:
        if one.status.allocation is not None:
            taken.count(one.status.allocation, 1)
    known = {f"default/{one.metadata.name}": one for one in claims}
    view = DevicesView(
        claim_of=known.get,
        classes={one.metadata.name: one for one in classes or [class_()]},
        pools=Pools(offers),
        taken=taken,
        pending=frozenset(pending),
    )
    who.devices = look(who, view)
    return who.devices
