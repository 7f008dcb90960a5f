"""How the outcomes of one probe add up. Pure.

Source: kubelet `prober/worker.go`: thresholds count outcomes in a row; readiness begins as failed, liveness as well,
startup as unknown (which counts as failed).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from carob.kubelet.probes.outcome import Outcome

if TYPE_CHECKING:
    from carob.api.types import core_v1


class ProbeState(Struct):
    """`passing` is what the world is told; None until a startup probe has come to a result."""

    probe: core_v1.Probe
    passing: bool | None
    last: bool | None = None
    run: int = 0

    def take(self, outcome: Outcome) -> bool:
        """Count one outcome; True when what the world is told has changed."""
        if outcome is Outcome.ERROR:
            # could not be tried: says nothing about the container
            return False
        success = outcome is Outcome.SUCCESS
        self.run = self.run + 1 if success == self.last else 1
        self.last = success
        threshold = (self.probe.success_threshold if success else self.probe.failure_threshold) or (1 if success else 3)
        if self.run < threshold or self.passing == success:
            return False
        self.passing = success
        return True
