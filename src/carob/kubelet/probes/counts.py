"""How often probes were tried and what came of it: `/metrics/probes`. One number per probe and result; gone with the container.

Source: kubelet `prober/prober_manager.go` (ProberResults).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from carob.kubelet.exposition import Family, text
from carob.kubelet.probes.outcome import Outcome

if TYPE_CHECKING:
    from carob.api.types import core_v1

_RESULTS = {Outcome.SUCCESS: "successful", Outcome.FAILURE: "failed", Outcome.ERROR: "unknown"}


class Counts:
    """By container id, then by probe and result."""

    def __init__(self) -> None:
        self._labels: dict[str, dict[str, str]] = {}
        self._counts: dict[str, dict[tuple[str, str], int]] = {}

    def add(self, container_id: str, pod: core_v1.Pod, container: str, kind: str, outcome: Outcome) -> None:
        """One try."""
        of_container = self._counts.get(container_id)
        if of_container is None:
            of_container = self._counts[container_id] = {}
            metadata = pod.metadata
            self._labels[container_id] = {
                "container": container,
                "namespace": metadata.namespace,
                "pod": metadata.name,
                "pod_uid": metadata.uid,
            }
        key = (kind, _RESULTS[outcome])
        of_container[key] = of_container.get(key, 0) + 1

    def forget(self, container_id: str) -> None:
        """The container has ended."""
        self._counts.pop(container_id, None)
        self._labels.pop(container_id, None)

    def text(self) -> str:
        """The page."""
        words = "[BETA] Cumulative number of a liveness, readiness or startup probe for a container by result."
        family = Family("prober_probe_total", "counter", words)
        for container_id, counts in self._counts.items():
            labels = self._labels[container_id]
            for (kind, result), count in counts.items():
                family.add({**labels, "probe_type": kind, "result": result}, count)
        return text([family])
