"""Extended resources that a DeviceClass stands for: on nodes that do not offer them themselves, a Pod's request becomes a
claim of its own.

Pure. Source: scheduler plugin DynamicResources (`extendeddynamicresources.go`, `extended/util.go`), KEP-5004.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from carob.api import quantity
from carob.api.types import core_v1, meta_v1, resource_v1

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from carob.scheduler.pods import PodInfo
    from carob.scheduler.views import ContainerView

BY_CLASS_NAME = "deviceclass.resource.kubernetes.io/"
"""With a class's name behind it a resource that it stands for without saying so."""
ANNOTATION = "resource.kubernetes.io/extended-resource-claim"
NOT_YET = "<extended-resources>"
"""The name of such a claim before it is written: none that a claim could have."""

Mapped = core_v1.ContainerExtendedResourceRequest


def backed_by(classes: Iterable[resource_v1.DeviceClass]) -> dict[str, str]:
    """Classes by the resources that they stand for; of two that name the same one the newer counts."""
    found: dict[str, str] = {}
    named = sorted(classes, key=lambda one: one.metadata.name)
    for one in sorted(named, key=lambda one: one.metadata.creation_timestamp or "", reverse=True):
        if one.spec.extended_resource_name:
            found.setdefault(one.spec.extended_resource_name, one.metadata.name)
    for one in named:
        found[BY_CLASS_NAME + one.metadata.name] = one.metadata.name
    return found


def claim_for(pod: PodInfo, names: Mapping[str, str]) -> tuple[resource_v1.ResourceClaim, list[Mapped]]:
    """The claim that a Pod needs where the node has none of `names` (classes by resource), and which container gets
    which of its requests."""
    requests, mappings = _requests(pod.view.spec.init_containers, pod.view.spec.containers, names)
    metadata = pod.view.metadata
    owner = meta_v1.OwnerReference(api_version="v1", kind="Pod", name=metadata.name, uid=metadata.uid, controller=True)
    claim = resource_v1.ResourceClaim(
        metadata=meta_v1.ObjectMeta(
            name=NOT_YET,
            namespace=metadata.namespace,
            # nobody else's: it counts as taken before it is written
            uid=f"{NOT_YET}{metadata.uid}",
            generate_name=f"{metadata.name}-extended-resources-",
            owner_references=[owner],
            annotations={ANNOTATION: "true"},
        ),
        spec=resource_v1.ResourceClaimSpec(devices=resource_v1.DeviceClaim(requests=requests)),
    )
    return claim, mappings


def _requests(
    init_containers: Sequence[ContainerView], containers: Sequence[ContainerView], names: Mapping[str, str]
) -> tuple[list[resource_v1.DeviceRequest], list[Mapped]]:
    """Containers that live on have requests of their own; init containers, one after another, use what later ones will
    have, and beyond that share one request, as large as the largest needs."""
    every = [*init_containers, *containers]
    brief = [i for i, one in enumerate(init_containers) if one.restart_policy != "Always"]
    requests: list[resource_v1.DeviceRequest] = []
    mappings: list[Mapped] = []
    for resource in sorted(names):
        lasting: list[resource_v1.DeviceRequest | None] = [None] * len(every)
        for i, one in enumerate(every):
            if i in brief:
                continue
            lasting[i], mapped = _request(i, one, resource, names[resource], [])
            mappings += mapped
        largest: resource_v1.DeviceRequest | None = None
        shared: list[Mapped] = []
        own: set[str] = set()
        for i in brief:
            made, mapped = _request(i, every[i], resource, names[resource], lasting[i:])
            shared += mapped
            if made is None:
                continue
            own.add(made.name)
            if largest is None or _count(largest) < _count(made):
                largest = made
        if largest is not None:
            for mapping in shared:
                if mapping.request_name in own:
                    mapping.request_name = largest.name
            requests.append(largest)
        requests += [one for one in lasting if one is not None]
        mappings += shared
    return sorted(requests, key=lambda one: one.name), mappings


def _count(request: resource_v1.DeviceRequest) -> int:
    return request.exactly.count if request.exactly is not None else 0


def _request(
    number: int,
    container: ContainerView,
    resource: str,
    class_name: str,
    reusable: Sequence[resource_v1.DeviceRequest | None],
) -> tuple[resource_v1.DeviceRequest | None, list[Mapped]]:
    """What a container needs beyond `reusable`, and all requests that it uses."""
    asked = container.resources.requests if container.resources is not None else {}
    wanted = quantity.whole(asked.get(resource, "0"))
    mappings: list[Mapped] = []
    if not wanted:
        return None, mappings

    def use(name: str) -> None:
        mappings.append(Mapped(container_name=container.name, resource_name=resource, request_name=name))

    there = 0
    for one in reusable:
        if one is not None:
            there += _count(one)
            use(one.name)
            if there >= wanted:
                return None, mappings
    name = f"container-{number}-request-{sorted(asked).index(resource)}"
    use(name)
    exactly = resource_v1.ExactDeviceRequest(
        device_class_name=class_name, allocation_mode="ExactCount", count=wanted - there
    )
    return resource_v1.DeviceRequest(name=name, exactly=exactly), mappings
