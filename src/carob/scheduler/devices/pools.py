"""What drivers offer: pools of devices, put together from ResourceSlices, and what of them a node reaches.

Pure but for a memory of which devices expressions mean, kept with the slice that offers them.
Source: `k8s.io/dynamic-resource-allocation/structured` (GatherPools). A pool counts by its newest generation; one that
is not complete, or names a device twice, gives nobody anything.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from carob.api import quantity
from carob.api.device_selectors import SelectorError, selector
from carob.scheduler.node_terms import compile_terms

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from carob.api.types import core_v1, resource_v1
    from carob.scheduler.node_terms import Term
    from carob.scheduler.nodes import NodeInfo

MAX_EXPRESSIONS = 64
"""Expressions whose answers a slice remembers."""
Counters = dict[str, dict[str, int]]
"""By the names of set and counter, in billionths."""


class DeviceId(NamedTuple):
    """One device of the cluster."""

    driver: str
    pool: str
    device: str

    def __str__(self) -> str:
        return "/".join(self)


class PoolId(NamedTuple):
    """One pool of a driver."""

    driver: str
    pool: str

    def __str__(self) -> str:
        return "/".join(self)


class Offer:
    """A ResourceSlice made ready. `node_name` is the only node that reaches it; else `reaches` says who does."""

    __slots__ = ("_answers", "_places", "devices", "generation", "name", "node_name", "pool_id", "slice_count", "spec")

    def __init__(self, one: resource_v1.ResourceSlice) -> None:
        spec = one.spec
        self.name = one.metadata.name
        self.spec = spec
        self.pool_id = PoolId(spec.driver, spec.pool.name)
        self.generation = spec.pool.generation
        self.slice_count = spec.pool.resource_slice_count
        self.node_name = spec.node_name or ""
        self._answers: dict[str, dict[str, bool]] = {}
        self.devices = tuple(
            Device(DeviceId(spec.driver, spec.pool.name, device.name), device, self) for device in spec.devices
        )
        if spec.per_device_node_selection:
            self._places = {
                device.name: _Place(device.node_name, device.all_nodes, device.node_selector) for device in spec.devices
            }
        else:
            self._places = {"": _Place(spec.node_name, spec.all_nodes, spec.node_selector)}

    def on(self, node: NodeInfo) -> list[Device]:
        """The devices that the node reaches."""
        whole = self._places.get("")
        if whole is not None and not self.spec.per_device_node_selection:
            return list(self.devices) if whole.reaches(node) else []
        return [one for one in self.devices if self._places[one.id.device].reaches(node)]

    def means(self, expression: str, device: Device) -> bool:
        """Whether an expression means a device of this slice. Raises: SelectorError."""
        answers = self._answers.get(expression)
        if answers is None:
            if len(self._answers) >= MAX_EXPRESSIONS:
                self._answers.clear()
            answers = self._answers[expression] = {}
        answer = answers.get(device.id.device)
        if answer is None:
            answer = answers[device.id.device] = selector(expression).matches(self.pool_id.driver, device.device)
        return answer


class _Place:
    """Which nodes reach something."""

    __slots__ = ("_everywhere", "_name", "_terms")

    def __init__(self, name: str | None, everywhere: bool | None, chosen: core_v1.NodeSelector | None) -> None:
        self._name = name or ""
        self._everywhere = bool(everywhere)
        self._terms: list[Term] = compile_terms(chosen.node_selector_terms) if chosen is not None else []

    def reaches(self, node: NodeInfo) -> bool:
        if self._name:
            return node.name == self._name
        return self._everywhere or any(term(node) for term in self._terms)


class Device:
    """A device of an offer."""

    __slots__ = ("consumes", "device", "id", "offer", "shared")

    def __init__(self, device_id: DeviceId, device: resource_v1.Device, offer: Offer) -> None:
        self.id = device_id
        self.device = device
        self.offer = offer
        self.shared = bool(device.allow_multiple_allocations)
        self.consumes: Counters = {
            one.counter_set: {name: quantity.nano(counter.value) for name, counter in one.counters.items()}
            for one in device.consumes_counters
        }


class Pool:
    """A pool's newest generation. `invalid` says what is wrong with it; empty if nothing is."""

    def __init__(self, pool_id: PoolId, offers: list[Offer]) -> None:
        self.id = pool_id
        newest = max(one.generation for one in offers)
        self.offers = sorted((one for one in offers if one.generation == newest), key=lambda one: one.name)
        self.complete = len(self.offers) == self.offers[0].slice_count
        self.devices = {device.id.device: device for offer in self.offers for device in offer.devices}
        self.counters: Counters = {}
        for offer in self.offers:
            for one in offer.spec.shared_counters:
                self.counters[one.name] = {name: quantity.nano(c.value) for name, c in one.counters.items()}
        self.invalid = self._fault()
        self.usable = self.complete and not self.invalid
        self.waits = any(device.device.binding_conditions for device in self.devices.values())
        """Whether devices of it must be made ready: others are better."""

    def _fault(self) -> str:
        seen: set[str] = set()
        for offer in self.offers:
            for device in offer.devices:
                name = device.id.device
                if name in seen:
                    return f"duplicate device name {name}"
                seen.add(name)
                for wanted, counters in device.consumes.items():
                    if self.complete and wanted not in self.counters:
                        return f"counter set {wanted} not found"
                    for counter in counters:
                        if self.complete and counter not in self.counters[wanted]:
                            return f"counter {counter} not found in counter set {wanted}"
        return ""


class Reach:
    """What a node reaches: pools with those of their devices, first pools without anything to wait for, then by name."""

    __slots__ = ("broken", "candidates", "pools")

    def __init__(self, found: Mapping[Pool, list[Device]]) -> None:
        self.pools = sorted(found.items(), key=lambda one: (one[0].waits, one[0].id))
        self.candidates = [device for pool, devices in self.pools if pool.usable for device in devices]
        self.broken = any(pool.invalid and pool.complete for pool in found)


class Pools:
    """All pools."""

    def __init__(self, offers: Iterable[Offer] = ()) -> None:
        by_pool: dict[PoolId, list[Offer]] = {}
        for offer in offers:
            by_pool.setdefault(offer.pool_id, []).append(offer)
        self.pools = {pool_id: Pool(pool_id, found) for pool_id, found in by_pool.items()}
        self._local: dict[str, list[Offer]] = {}
        self._others: list[Offer] = []
        for pool in self.pools.values():
            for offer in pool.offers:
                if offer.node_name and not offer.spec.per_device_node_selection:
                    self._local.setdefault(offer.node_name, []).append(offer)
                else:
                    self._others.append(offer)
        self._reach: dict[str, Reach] = {}
        """By node, where only its name matters."""

    def on(self, node: NodeInfo) -> Reach:
        """What the node reaches."""
        known = self._reach.get(node.name)
        if known is not None:
            return known
        found: dict[Pool, list[Device]] = {}
        for offer in (*self._local.get(node.name, ()), *self._others):
            devices = offer.on(node)
            if devices:
                found.setdefault(self.pools[offer.pool_id], []).extend(devices)
        reach = Reach(found)
        if not self._others and found:
            self._reach[node.name] = reach
        return reach


__all__ = ["Counters", "Device", "DeviceId", "Offer", "Pool", "PoolId", "Pools", "Reach", "SelectorError"]
