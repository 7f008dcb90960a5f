"""Rules of what a Pod's status says of its containers: who they run as, and how their devices are.

Pure. Source: `pkg/apis/core/validation` (validateContainerStatusUsers, validateContainerStatusAllocatedResourcesStatus).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from carob.api.validation import field, names

if TYPE_CHECKING:
    from collections.abc import Sequence

    from carob.api.types import core_v1
    from carob.api.validation.field import Cause

HEALTHS = ("Healthy", "Unhealthy", "Unknown")
_NOT_REQUESTED = "must match one of the container's resource requests"
_NOT_CLAIMED = (
    "must match one of the container's resource claims in a format 'claim:<claimName>/<request>' or "
    "'claim:<claimName>' if request is empty"
)


def containers(out: list[Cause], pod: core_v1.Pod) -> None:
    """The statuses of all containers of a Pod."""
    spec, status = pod.spec, pod.status
    lists = (
        ("containerStatuses", status.container_statuses, spec.containers),
        ("initContainerStatuses", status.init_container_statuses, spec.init_containers),
        ("ephemeralContainerStatuses", status.ephemeral_container_statuses, None),
    )
    system = spec.os.name if spec.os is not None else "linux"
    for name, found, _ in lists:
        for i, one in enumerate(found):
            if one.user is not None and one.user.linux is not None:
                _user(out, f"status.{name}[{i}].linux", one.user.linux, system)
    for name, found, wanted in lists:
        for i, one in enumerate(found):
            here = f"status.{name}[{i}].allocatedResourcesStatus"
            if wanted is not None:
                _devices(out, here, one, wanted)
            elif one.allocated_resources_status:
                out.append(field.forbidden(here, "must not be specified in container status"))


def _user(out: list[Cause], path: str, user: core_v1.LinuxContainerUser, system: str) -> None:
    if system == "windows":
        out.append(field.forbidden(path, "cannot be set for a windows pod"))
    if system != "linux":
        return
    ids = [("uid", user.uid), ("gid", user.gid)]
    ids += [(f"supplementalGroups[{i}]", group) for i, group in enumerate(user.supplemental_groups)]
    for name, value in ids:
        out += [field.invalid(f"{path}.{name}", value, why) for why in names.user_id(value)]


def _devices(out: list[Cause], path: str, status: core_v1.ContainerStatus, wanted: Sequence[core_v1.Container]) -> None:
    container = next((one for one in wanted if one.name == status.name), None)
    for j, resource in enumerate(status.allocated_resources_status):
        here = f"{path}[{j}]"
        if container is not None:
            claimed = resource.name.startswith("claim:")
            known = _claimed(container) if claimed else set(container.resources.requests)
            if resource.name not in known:
                words = _NOT_CLAIMED if claimed else _NOT_REQUESTED
                out.append(field.invalid(f"{here}.name", resource.name, words))
        again = field.repeated(one.resource_id for one in resource.resources)
        for k, one in enumerate(resource.resources):
            there = f"{here}.resources[{k}]"
            if one.health not in HEALTHS:
                out.append(field.not_supported(f"{there}.health", one.health, HEALTHS))
            if again[k]:
                out.append(field.duplicate(f"{there}.resourceID", one.resource_id))


def _claimed(container: core_v1.Container) -> set[str]:
    return {f"claim:{c.name}/{c.request}" if c.request else f"claim:{c.name}" for c in container.resources.claims}
