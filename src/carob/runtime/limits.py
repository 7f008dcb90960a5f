"""Limits of the seam in the host's words. Pure."""

from __future__ import annotations

from msgspec import structs

from carob.host.cgroup import CgroupLimits
from carob.runtime.types import Resources


def limits(resources: Resources) -> CgroupLimits:
    """The runtime's resources in the host's words."""
    return CgroupLimits(
        cpu_shares=resources.cpu_shares,
        cpu_quota=resources.cpu_quota,
        cpu_period=resources.cpu_period,
        cpuset_cpus=resources.cpuset_cpus,
        memory_limit=resources.memory_limit,
        memory_swap_limit=resources.memory_swap_limit,
        pids_limit=resources.pids_limit,
        hugepage_limits=resources.hugepage_limits,
    )


def merged(present: Resources, asked: Resources) -> Resources:
    """An update names only what it changes; the zero value leaves things as they are."""
    untouched = Resources()
    changes = {f: getattr(asked, f) for f in Resources.__struct_fields__ if getattr(asked, f) != getattr(untouched, f)}
    return structs.replace(present, **changes)
