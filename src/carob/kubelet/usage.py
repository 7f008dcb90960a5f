"""One look at what the node and its containers use, and how fast they use the processors. Taken only when asked.

Counters come from the kernel; a rate needs two of them, so the look before is remembered, of what still runs. Touches
the runtime and /proc.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct, field

from carob.kubelet.machine import read_use

if TYPE_CHECKING:
    from collections.abc import Mapping

    from carob.base.clock import Clock
    from carob.kubelet.machine import NodeUse
    from carob.kubelet.pod_record import PodRecord
    from carob.runtime.types import ContainerStats, ContainerStatus, Runtime, SandboxStats, SandboxStatus

NODE = ""
# a rate over less than this is noise, over more than that is history
SHORTEST_WINDOW_SECONDS = 0.2
LONGEST_WINDOW_SECONDS = 300.0


class ContainerUse(Struct, frozen=True):
    """One running container: whose it is, its counters, its rate in billionths of a processor (None: not known yet)."""

    record: PodRecord
    status: ContainerStatus
    stats: ContainerStats
    nanocores: int | None


class SandboxUse(Struct, frozen=True):
    """A Pod's own counters, of its control group and its network, and its rate."""

    record: PodRecord
    sandbox: SandboxStatus
    stats: SandboxStats
    nanocores: int | None


class Look(Struct, frozen=True):
    """`time` is in seconds since 1970."""

    time: float
    node: NodeUse
    node_nanocores: int | None
    containers: list[ContainerUse]
    sandboxes: Mapping[str, SandboxUse] = field(default_factory=dict)
    """By the Pod's uid: of the sandbox that stands."""

    def by_pod(self) -> list[tuple[PodRecord, list[ContainerUse]]]:
        """Pods with their running containers, in the order of their first."""
        found: dict[str, tuple[PodRecord, list[ContainerUse]]] = {}
        for use in self.containers:
            found.setdefault(use.record.uid, (use.record, []))[1].append(use)
        return list(found.values())


class Rates:
    """From counters to rates. Pure but for what it remembers: one point for each thing that was in the last look."""

    def __init__(self) -> None:
        self._points: dict[str, tuple[float, int]] = {}
        self._rates: dict[str, int] = {}

    def take(self, time: float, counters: Mapping[str, tuple[float, int]]) -> Mapping[str, int]:
        """Nanocores of each whose rate is known. Shape: `counters` maps an id to (when it began, nanoseconds).

        What has begun since the last look is measured from its beginning.
        """
        points, rates = {}, {}
        for key, (began, used) in counters.items():
            before = self._points.get(key)
            if before is None and time - began <= LONGEST_WINDOW_SECONDS:
                before = (began, 0)
            if before is None or used < before[1] or time - before[0] > LONGEST_WINDOW_SECONDS:
                points[key] = (time, used)
                continue
            window = time - before[0]
            if window < SHORTEST_WINDOW_SECONDS:
                # asked again too soon: the last answer still holds
                points[key] = before
                if key in self._rates:
                    rates[key] = self._rates[key]
                continue
            points[key] = (time, used)
            rates[key] = int((used - before[1]) / window)
        self._points, self._rates = points, rates
        return rates


class Usage:
    """`look` is the only verb."""

    def __init__(self, runtime: Runtime, clock: Clock, records: Mapping[str, PodRecord]) -> None:
        self._runtime = runtime
        self._clock = clock
        self._records = records
        self._rates = Rates()

    async def look(self, *, disk: bool) -> Look:
        """What runs now and what it uses; without `disk` nobody walks the containers' layers."""
        by_id = {stats.id: stats for stats in await self._runtime.container_stats(disk=disk)}
        now, node = self._clock.now(), read_use()
        running = [
            (record, status, by_id[status.id])
            for record in self._records.values()
            for status in record.running()
            if status.id in by_id
        ]
        groups = {stats.id: stats for stats in await self._runtime.sandbox_stats()}
        standing = [
            (record, sandbox, groups[sandbox.id])
            for record in self._records.values()
            if (sandbox := record.ready_sandbox) is not None and sandbox.id in groups
        ]
        counters = {s.id: (status.started_at, s.cpu_usage_nanoseconds) for _, status, s in running}
        counters |= {s.id: (sandbox.created_at, s.cpu_usage_nanoseconds) for _, sandbox, s in standing}
        rates = self._rates.take(now, {NODE: (node.booted_at, node.cpu_nanoseconds), **counters})
        containers = [ContainerUse(record, status, s, rates.get(s.id)) for record, status, s in running]
        sandboxes = {r.uid: SandboxUse(r, sandbox, s, rates.get(s.id)) for r, sandbox, s in standing}
        return Look(now, node, rates.get(NODE), containers, sandboxes)
