"""Limits of the seam in the host's words. Pure."""

from __future__ import annotations

from msgspec import structs

from carob.host import cgroup_v2
from carob.host.cgroup import CgroupLimits
from carob.runtime.types import Resources


def limits(resources: Resources) -> CgroupLimits:
    """Of a group that the kubelet asked for: a Pod's, or one above the Pods'."""
    return CgroupLimits(
        cpu_shares=resources.cpu_shares,
        cpu_weight=cgroup_v2.group_weight(resources.cpu_shares) if resources.cpu_shares else 0,
        cpu_quota=resources.cpu_quota,
        cpu_period=resources.cpu_period,
        cpuset_cpus=resources.cpuset_cpus,
        memory_limit=resources.memory_limit,
        memory_swap_limit=resources.memory_swap_limit,
        pids_limit=resources.pids_limit,
        hugepage_limits=resources.hugepage_limits,
        unified=resources.unified,
    )


def container_limits(resources: Resources) -> CgroupLimits:
    """Of a container's group, as the OCI runtime made it."""
    weight = cgroup_v2.weight(resources.cpu_shares) if resources.cpu_shares else 0
    return structs.replace(limits(resources), cpu_weight=weight)


def merged(present: Resources, asked: Resources) -> Resources:
    """An update names only what it changes; the zero value leaves things as they are."""
    untouched = Resources()
    changes = {f: getattr(asked, f) for f in Resources.__struct_fields__ if getattr(asked, f) != getattr(untouched, f)}
    return structs.replace(present, **changes)
