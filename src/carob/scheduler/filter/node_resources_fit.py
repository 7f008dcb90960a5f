"""NodeResourcesFit: the node has what the Pod asks for left over, and room for one more Pod."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from carob.scheduler.requests import PODS
from carob.scheduler.verdict import Rejection

if TYPE_CHECKING:
    from collections.abc import Mapping

    from carob.scheduler.nodes import NodeInfo
    from carob.scheduler.pods import PodInfo
    from carob.scheduler.profiles import Profile
    from carob.scheduler.snapshot import Snapshot
    from carob.scheduler.verdict import Check

NAME = "NodeResourcesFit"
_NOTHING: Mapping[str, str] = {}
TOO_MANY_PODS = "Too many pods"

# upstream names the resources in this order, then the extended ones
_ORDER = {"cpu": 0, "memory": 1, "ephemeral-storage": 2}


def prepare(pod: PodInfo, snapshot: Snapshot) -> Check | None:
    """Source: scheduler plugin NodeResourcesFit.

    Shape: `node.requested` already includes Pods that are assumed but not yet bound. Units: millicores, bytes, counts.
    """
    wanted = wanted_of(pod, snapshot.profile(pod))
    # a class of devices stands for these where the node does not have them itself
    backed = pod.devices.extended if pod.devices is not None else _NOTHING

    def check(node: NodeInfo) -> Rejection | None:
        allocatable, requested = node.allocatable, node.requested
        for name, value in wanted:
            if value + requested.get(name, 0) > allocatable.get(name, 0) and not (
                name in backed and not allocatable.get(name)
            ):
                own = [one for one in wanted if one[0] not in backed or allocatable.get(one[0])] if backed else wanted
                return _rejected(own, node)
        return _rejected(wanted, node) if len(node.pods) >= node.allowed_pods else None

    return check


def wanted_of(pod: PodInfo, profile: Profile) -> list[tuple[str, int]]:
    """What the Pod asks for, in the order in which upstream names it."""
    ignored, groups = profile.ignored_resources, profile.ignored_groups
    return sorted(
        (
            (name, value)
            for name, value in pod.requests.items()
            if value > 0
            and name != PODS
            and not ("/" in name and (name in ignored or name.partition("/")[0] in groups))
        ),
        key=lambda item: (_ORDER.get(item[0], 3), item[0]),
    )


def _rejected(wanted: list[tuple[str, int]], node: NodeInfo) -> Rejection:
    short = []
    resolvable = True
    if len(node.pods) >= node.allowed_pods:
        short.append(TOO_MANY_PODS)
    for name, value in wanted:
        offered = node.allocatable.get(name, 0)
        if value + node.requested.get(name, 0) > offered:
            short.append(f"Insufficient {name}")
            # more than the whole node has: no other Pod's going could help
            resolvable = resolvable and value <= offered
    return _rejection(tuple(short), resolvable)


@lru_cache(maxsize=256)
def _rejection(reasons: tuple[str, ...], resolvable: bool) -> Rejection:
    return Rejection(NAME, reasons, resolvable)
