"""The CRI's rpcs about what containers and sandboxes use."""

from __future__ import annotations

from carob.runtime.cri import metrics
from carob.runtime.cri import runtime_messages as wire
from carob.runtime.cri.container_messages import ContainerId
from carob.runtime.cri.runtime_service import has_labels
from carob.runtime.cri.sandbox_messages import Empty, PodSandboxId
from carob.runtime.cri.usage import container_usage, sandbox_usage
from carob.runtime.types import ContainerStats, ContainerStatus, NotFound, Runtime, SandboxStats, SandboxStatus


class Rates:
    """Processor use of late: from a counter and what it was when somebody last asked."""

    def __init__(self) -> None:
        self._before: dict[str, tuple[float, int, int | None]] = {}

    def of(self, key: str, at: float, used: int) -> int | None:
        """Nanoseconds a second; None at the first look."""
        before = self._before.get(key)
        if before is None or used < before[1]:
            self._before[key] = (at, used, None)
            return None
        if at <= before[0]:
            return before[2]
        rate = round((used - before[1]) / (at - before[0]))
        self._before[key] = (at, used, rate)
        return rate

    def keep(self, keys: set[str]) -> None:
        """Forget the others."""
        self._before = {key: one for key, one in self._before.items() if key in keys}


class StatsService:
    """Counters of containers that run, and their sums."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._rates = Rates()

    async def container_stats(self, request: ContainerId) -> wire.ContainerStatsResponse:
        every = await self._of(wire.ContainerStatsFilter(id=request.container_id))
        if not request.container_id or not every:
            raise NotFound(f'an error occurred when try to find container "{request.container_id}": not found')
        return wire.ContainerStatsResponse(stats=every[0])

    async def list_container_stats(self, request: wire.ListContainerStatsRequest) -> wire.ManyContainerStats:
        return wire.ManyContainerStats(stats=await self._of(request.filter or wire.ContainerStatsFilter()))

    async def sandbox_stats(self, request: PodSandboxId) -> wire.PodSandboxStatsResponse:
        every = await self._of_sandboxes(wire.PodSandboxStatsFilter(id=request.pod_sandbox_id))
        if not request.pod_sandbox_id or not every:
            raise NotFound(f'an error occurred when try to find sandbox "{request.pod_sandbox_id}": not found')
        return wire.PodSandboxStatsResponse(stats=every[0])

    async def list_sandbox_stats(self, request: wire.ListPodSandboxStatsRequest) -> wire.ManyPodSandboxStats:
        return wire.ManyPodSandboxStats(stats=await self._of_sandboxes(request.filter or wire.PodSandboxStatsFilter()))

    async def metric_descriptors(self, request: Empty) -> wire.ListMetricDescriptorsResponse:
        return wire.ListMetricDescriptorsResponse(descriptors=metrics.descriptors())

    async def list_sandbox_metrics(self, request: Empty) -> wire.ManyPodSandboxMetrics:
        by_id = {one.id: one for one in await self._runtime.list_containers()}
        inside: dict[str, list[tuple[ContainerStatus, ContainerStats]]] = {}
        for used in await self._runtime.container_stats():
            if (status := by_id.get(used.id)) is not None:
                inside.setdefault(status.sandbox_id, []).append((status, used))
        sandboxes = {one.id: one for one in await self._runtime.list_sandboxes()}
        return wire.ManyPodSandboxMetrics(
            pod_metrics=[
                metrics.of_sandbox(sandboxes[one.id], one, inside.get(one.id, ()))
                for one in await self._runtime.sandbox_stats()
                if one.id in sandboxes
            ]
        )

    async def _of(self, wanted: wire.ContainerStatsFilter) -> list[wire.ContainerStats]:
        return [
            shown
            for status, shown in await self._measured()
            if status.id.startswith(wanted.id)
            and status.sandbox_id.startswith(wanted.pod_sandbox_id)
            and has_labels(status.labels, wanted.label_selector)
        ]

    async def _measured(self) -> list[tuple[ContainerStatus, wire.ContainerStats]]:
        by_id = {one.id: one for one in await self._runtime.list_containers()}
        mountpoint = (await self._runtime.image_filesystem()).mountpoint
        out = []
        for stats in await self._runtime.container_stats():
            status = by_id.get(stats.id)
            if status is not None:
                busy = self._rates.of(stats.id, stats.timestamp, stats.cpu_usage_nanoseconds)
                out.append((status, container_usage(status, stats, mountpoint, busy)))
        return out

    async def _of_sandboxes(self, wanted: wire.PodSandboxStatsFilter) -> list[wire.PodSandboxStats]:
        """Of those that stand."""
        every = await self._runtime.list_sandboxes()
        counted = {one.id: one for one in await self._runtime.sandbox_stats()}
        measured = await self._measured()
        self._rates.keep({s.id for s in every} | {status.id for status, _ in measured})
        return [
            self._sandbox(one, counted[one.id], [shown for status, shown in measured if status.sandbox_id == one.id])
            for one in every
            if one.id in counted
            and one.id.startswith(wanted.id)
            and has_labels(one.config.labels, wanted.label_selector)
        ]

    def _sandbox(
        self, sandbox: SandboxStatus, stats: SandboxStats, inside: list[wire.ContainerStats]
    ) -> wire.PodSandboxStats:
        busy = self._rates.of(sandbox.id, stats.timestamp, stats.cpu_usage_nanoseconds)
        return sandbox_usage(sandbox, stats, inside, busy)
