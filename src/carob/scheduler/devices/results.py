"""What is written on a claim: its devices, how they are to be set up, and which nodes reach them.

Pure. Source: `structured/internal/incubating` (Allocate, createNodeSelector).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from carob.api.types import core_v1, resource_v1
from carob.scheduler.devices.capacity import written

if TYPE_CHECKING:
    from collections.abc import Sequence

    from carob.scheduler.devices.search import Picked
    from carob.scheduler.devices.wishes import Wish

UNNAMED = ""
"""The share of a device that others may have too, before its claim is written."""


def allocation(
    claim: resource_v1.ResourceClaim, wishes: Sequence[Wish], picked: Sequence[Picked], node: str
) -> resource_v1.AllocationResult:
    """Shape: `wishes` is what each request of the claim got, its alternative where it has some."""
    return resource_v1.AllocationResult(
        devices=resource_v1.DeviceAllocationResult(
            results=[_result(one) for one in picked], config=_configuration(claim, wishes)
        ),
        node_selector=_node_selector(picked, node),
    )


def _result(one: Picked) -> resource_v1.DeviceRequestAllocationResult:
    device = one.device
    return resource_v1.DeviceRequestAllocationResult(
        request=one.wish.name,
        driver=device.id.driver,
        pool=device.id.pool,
        device=device.id.device,
        admin_access=True if one.wish.admin else None,
        tolerations=list(one.wish.tolerations),
        binding_conditions=list(device.device.binding_conditions),
        binding_failure_conditions=list(device.device.binding_failure_conditions),
        share_id=UNNAMED if one.amounts is not None else None,
        consumed_capacity=written(one.amounts) if one.amounts is not None else {},
    )


def _configuration(
    claim: resource_v1.ResourceClaim, wishes: Sequence[Wish]
) -> list[resource_v1.DeviceAllocationConfiguration]:
    """First the classes', each class once; then the claim's own that speak of what it got."""
    users: dict[str, list[Wish]] = {}
    for wish in wishes:
        users.setdefault(wish.class_.metadata.name, []).append(wish)
    found = [
        resource_v1.DeviceAllocationConfiguration(
            source="FromClass", requests=[wish.name for wish in same], opaque=config.opaque
        )
        for same in users.values()
        for config in same[0].class_.spec.config
    ]
    for own in claim.spec.devices.config:
        if own.requests and not any(wish.request in own.requests or wish.name in own.requests for wish in wishes):
            continue
        found.append(
            resource_v1.DeviceAllocationConfiguration(
                source="FromClaim", requests=list(own.requests), opaque=own.opaque
            )
        )
    for config in found:
        if len(config.requests) == len(wishes):
            # for all of them, which is what an empty list says
            config.requests = []
    return found


def _node_selector(picked: Sequence[Picked], node: str) -> core_v1.NodeSelector | None:
    """None: every node reaches the devices."""
    fields: list[core_v1.NodeSelectorRequirement] = []
    expressions: list[core_v1.NodeSelectorRequirement] = []
    for one in picked:
        device, spec = one.device.device, one.device.offer.spec
        place: resource_v1.Device | resource_v1.ResourceSliceSpec = device if spec.per_device_node_selection else spec
        name = node if device.binds_to_node else place.node_name
        if name:
            only = core_v1.NodeSelectorRequirement(key="metadata.name", operator="In", values=[name])
            return core_v1.NodeSelector(node_selector_terms=[core_v1.NodeSelectorTerm(match_fields=[only])])
        # slices have no more than one
        for term in place.node_selector.node_selector_terms if place.node_selector is not None else ():
            fields += [new for new in term.match_fields if new not in fields]
            expressions += [new for new in term.match_expressions if new not in expressions]
    if not fields and not expressions:
        return None
    return core_v1.NodeSelector(
        node_selector_terms=[core_v1.NodeSelectorTerm(match_fields=fields, match_expressions=expressions)]
    )
