"""The cgroups above the Pods': each quality of service gets processor time as its Pods together asked for.

Without it one Pod that asked for nothing would weigh as much as all Guaranteed ones together. What the node keeps for
the system is kept from all Pods here, too.
Source: kubelet `cm/qos_container_manager_linux.go`, `cm/node_container_manager_linux.go`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from carob.api import quantity
from carob.base.log import get_logger, pairs
from carob.base.tasks import Signal
from carob.kubelet.node_status import (
    own_cpu_millicores,
    own_memory_bytes,
    reserved_cpu_millicores,
    reserved_memory_bytes,
)
from carob.kubelet.resources import (
    BEST_EFFORT,
    BURSTABLE,
    GUARANTEED,
    MIN_SHARES,
    pod_requests,
    qos_class,
    quota_microseconds,
    shares,
)
from carob.runtime.types import Resources, RuntimeFailure

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from carob.api.types import core_v1
    from carob.kubelet.machine import Machine
    from carob.kubelet.options import KubeletOptions
    from carob.kubelet.pod_record import PodRecord
    from carob.runtime.types import Runtime

_log = get_logger("kubelet.qos")


def group_sizes(pods: Iterable[core_v1.Pod]) -> dict[str, Resources]:
    """By the group's name below `kubepods`."""
    asked = {GUARANTEED: 0, BURSTABLE: 0}
    for pod in pods:
        quality = qos_class(pod)
        if quality != BEST_EFFORT:
            asked[quality] += quantity.cpu_millicores(pod_requests(pod).get("cpu", "0"))
    out = {quality.lower(): Resources(cpu_shares=shares(millicores)) for quality, millicores in asked.items()}
    return {**out, BEST_EFFORT.lower(): Resources(cpu_shares=MIN_SHARES)}


def all_pods_size(options: KubeletOptions, machine: Machine) -> Resources:
    """Of `kubepods`: what the reserves leave of the node's own. Eviction thresholds do not count, or nothing could ever cross them."""
    millicores = max(0, own_cpu_millicores(options, machine) - reserved_cpu_millicores(options))
    reserved = reserved_memory_bytes(options)
    memory = own_memory_bytes(options, machine)
    return Resources(
        cpu_shares=shares(millicores),
        cpu_quota=quota_microseconds(millicores) if options.cpu_millicores else 0,
        memory_limit=max(0, memory - reserved) if reserved or options.memory_bytes else 0,
        pids_limit=max(1, machine.max_processes - options.reserved_pids) if options.reserved_pids else 0,
    )


class QosGroups:
    """`changed` after every change of what Pods are allocated; `run` until cancelled."""

    def __init__(
        self,
        runtime: Runtime,
        options: KubeletOptions,
        machine: Machine,
        records: Mapping[str, PodRecord],
        enforced: Callable[[], None],
    ) -> None:
        self._runtime = runtime
        self._options = options
        self._machine = machine
        self._records = records
        self._enforced = enforced
        """Called once, when what the node keeps from its Pods is kept."""
        self._written: dict[str, Resources] = {}
        self._signal = Signal()

    def changed(self) -> None:
        """Look again, soon."""
        self._signal.set()

    async def run(self) -> None:
        """Until cancelled."""
        root = f"{self._options.cgroup_root}/kubepods"
        if await self._write(root, all_pods_size(self._options, self._machine)):
            self._enforced()
        while True:
            pods = [r.sized_pod for r in self._records.values() if r.admitted and not r.terminating]
            for name, size in group_sizes(pods).items():
                await self._write(f"{root}/{name}", size)
            await self._signal.wait()

    async def _write(self, path: str, size: Resources) -> bool:
        """Whether it was written now."""
        if self._written.get(path) == size:
            return False
        try:
            await self._runtime.set_group_resources(path, size)
        except RuntimeFailure as error:
            _log.warning("cannot size %s", pairs(cgroup=path, error=error))
            return False
        self._written[path] = size
        return True
