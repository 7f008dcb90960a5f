"""The kubelet's numbers over HTTP: `/stats/summary`, `/metrics`, `/metrics/resource`, `/metrics/cadvisor`, `/metrics/probes`.

Everything is read when somebody asks and at no other time.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import orjson

from carob.kubelet import cadvisor_metrics, resource_metrics, statistics
from carob.kubelet.disk_use import log_use, volumes_in_use
from carob.kubelet.machine import read_usage
from carob.kubelet.statistics import Disks
from carob.kubelet.usage import Usage
from carob.transport.http import Response

if TYPE_CHECKING:
    from collections.abc import Mapping

    from carob.kubelet.machine import Machine
    from carob.kubelet.pod_record import PodRecord
    from carob.kubelet.tools import Tools

TEXT = "text/plain; version=0.0.4; charset=utf-8; escaping=underscores"


class Metrics:
    """Answers; `pages` are the paths in Prometheus' text form."""

    pages = frozenset(("metrics", "metrics/resource", "metrics/cadvisor", "metrics/probes"))

    def __init__(self, tools: Tools, records: Mapping[str, PodRecord], machine: Machine) -> None:
        self._tools = tools
        self._records = records
        self._machine = machine
        self.usage = Usage(tools.runtime, tools.clock, records)

    async def summary(self, query: Mapping[str, list[str]]) -> Response:
        """`/stats/summary`; `only_cpu_and_memory=true` spares the disk."""
        light = query.get("only_cpu_and_memory", [""])[0] in ("true", "1", "t", "T", "True", "TRUE")
        tools = self._tools
        look = await self.usage.look(disk=not light)
        disks = None if light else await self._disks()
        tree = statistics.summary(look, self._machine, tools.options.node_name, disks)
        return Response(200, orjson.dumps(tree) + b"\n")

    async def _disks(self) -> Disks:
        options = self._tools.options
        images = await self._tools.runtime.image_filesystem()
        running = [record for record in self._records.values() if record.running()]
        pods = [(r.pod, r.prepared.volumes if r.prepared is not None else {}) for r in running]
        return await asyncio.to_thread(
            lambda: Disks(
                read_usage(options.root),
                images,
                {pod.metadata.uid: log_use(options.log_root, pod) for pod, _ in pods},
                {pod.metadata.uid: volumes_in_use(pod, volumes) for pod, volumes in pods},
            )
        )

    async def page(self, path: str) -> Response:
        """One of `pages`."""
        if path == "metrics/probes":
            text = self._tools.probes.counts.text()
        elif path == "metrics":
            text = resource_metrics.kubelet_page(self._records.values())
        elif path == "metrics/resource":
            text = resource_metrics.page(await self.usage.look(disk=False))
        else:
            text = cadvisor_metrics.page(await self.usage.look(disk=True), self._machine)
        return Response(200, text.encode(), content_type=TEXT)
