"""Resize step: bring running containers and their Pod's cgroup to the sizes that the node has allocated.

What grows, grows from the outside in; what shrinks, from the inside out: a container never has more than its Pod.
Source: kubelet `kuberuntime_manager.go` (doPodResizeAction).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from carob.kubelet import resize
from carob.kubelet.actions import Kill
from carob.kubelet.pod_record import find_container
from carob.kubelet.resources import container_resources, pod_resources
from carob.runtime.types import ContainerState, Resources, RuntimeFailure

if TYPE_CHECKING:
    from collections.abc import Iterable

    from carob.kubelet.pod_record import PodRecord
    from carob.kubelet.tools import Tools

RETRY_SECONDS = 5.0
UNLIMITED = -1


def due(record: PodRecord) -> list[str]:
    """Names of running containers whose size is not the allocated one; the empty name for the Pod itself."""
    if record.allocated is None:
        return []
    out = []
    for name, wanted in record.allocated.items():
        if name == resize.WHOLE:
            if name in record.actuated and not resize.same(wanted, record.actuated[name]):
                out.append(name)
            continue
        latest = record.latest(name)
        actuated = record.actuated.get(name)
        if latest is None or latest.state is not ContainerState.RUNNING or actuated is None:
            continue
        if latest.id not in record.resize_kills and not resize.same(wanted, actuated):
            out.append(name)
    return out


async def resize_pod(tools: Tools, record: PodRecord) -> None:
    """Do what is due; a failure is remembered in the record and tried again later."""
    names = due(record)
    sandbox = record.ready_sandbox
    if not names or sandbox is None or record.allocated is None:
        return
    pod = record.sized_pod
    whole = pod_resources(pod)
    before = record.pod_size or sandbox.config.resources
    try:
        await tools.runtime.update_sandbox_resources(sandbox.id, _greater(whole, before))
        await _check_whole(tools, record, whole, before)
        for name in names:
            if name != resize.WHOLE:
                await _one(tools, record, name)
        if resize.WHOLE in names:
            await _inheriting(tools, record, names)
        await tools.runtime.update_sandbox_resources(sandbox.id, _explicit(whole))
    except RuntimeFailure as error:
        if record.resize_error != str(error):
            words = resize.message("error", pod, record.resizing, str(error))
            tools.events(record).warning("ResizeError", words)
        record.resize_error = str(error)
        record.resize_retry_at = tools.clock.monotonic() + RETRY_SECONDS
        return
    if resize.WHOLE in names:
        record.actuated[resize.WHOLE] = record.allocated[resize.WHOLE]
    record.pod_size = whole
    record.resize_error = ""


async def _one(tools: Tools, record: PodRecord, name: str) -> None:
    assert record.allocated is not None
    container, latest = find_container(record.sized_pod, name), record.latest(name)
    if container is None or latest is None:
        return
    wanted, actuated = record.allocated[name], record.actuated[name]
    if resize.must_restart(container, wanted, actuated):
        record.resize_kills[latest.id] = Kill("Resize", f"Container {name} resize requires restart", None)
        return
    new = container_resources(record.sized_pod, container, tools.node().groups)
    await _check_use(tools, latest.id, new, latest.resources)
    await tools.runtime.update_resources(latest.id, _explicit(new))
    record.actuated[name] = wanted
    record.dirty.add(latest.id)


async def _inheriting(tools: Tools, record: PodRecord, done: Iterable[str]) -> None:
    """Containers whose limits are the whole Pod's."""
    pod = record.sized_pod
    for latest in record.running():
        container = find_container(pod, latest.name)
        if container is None or latest.name in done or {"cpu", "memory"} <= container.resources.limits.keys():
            continue
        await tools.runtime.update_resources(
            latest.id, _explicit(container_resources(pod, container, tools.node().groups))
        )


async def _check_whole(tools: Tools, record: PodRecord, new: Resources, old: Resources) -> None:
    """As `_check_use`, of all containers together. Raises: RuntimeFailure."""
    if new.memory_limit <= 0 or (0 < old.memory_limit <= new.memory_limit):
        return
    own = {status.id for status in record.running()}
    used = sum(s.memory_usage_bytes for s in await tools.runtime.container_stats(disk=False) if s.id in own)
    if used > new.memory_limit:
        raise RuntimeFailure(f"attempting to set pod memory limit ({new.memory_limit}) below current usage ({used})")


async def _check_use(tools: Tools, container_id: str, new: Resources, old: Resources) -> None:
    """The kernel would kill a container whose limit falls below what it uses. Raises: RuntimeFailure."""
    if new.memory_limit <= 0 or (0 < old.memory_limit <= new.memory_limit):
        return
    for stats in await tools.runtime.container_stats(disk=False):
        if stats.id == container_id and stats.memory_usage_bytes > new.memory_limit:
            raise RuntimeFailure(
                f"attempting to set container memory limit ({new.memory_limit}) "
                f"below current usage ({stats.memory_usage_bytes})"
            )


def _explicit(resources: Resources) -> Resources:
    """As an update: what is not limited is said to be so."""
    return Resources(
        cpu_shares=resources.cpu_shares,
        cpu_quota=resources.cpu_quota or UNLIMITED,
        cpu_period=resources.cpu_period,
        memory_limit=resources.memory_limit or UNLIMITED,
        memory_swap_limit=resources.memory_swap_limit,
    )


def _greater(new: Resources, old: Resources) -> Resources:
    """Both fit below it."""
    return Resources(
        cpu_shares=max(new.cpu_shares, old.cpu_shares),
        cpu_quota=_either(new.cpu_quota, old.cpu_quota),
        cpu_period=new.cpu_period,
        memory_limit=_either(new.memory_limit, old.memory_limit),
    )


def _either(one: int, other: int) -> int:
    return UNLIMITED if one <= 0 or other <= 0 else max(one, other)
