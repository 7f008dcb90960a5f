"""What simulated nodes look like, and how fast they are."""

from __future__ import annotations

from msgspec import Struct, field


class SimulatedOptions(Struct, frozen=True):
    """Units: seconds. `capacity` is every node's; `labels` too, beside those that every node has."""

    count: int
    prefix: str = "simulated"
    zones: int = 3
    capacity: dict[str, str] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
    taints: list[dict[str, str]] = field(default_factory=list)
    start_seconds: float = 0.0
    """From when a Pod is bound until it is Running and Ready."""
    job_seconds: float = 0.0
    """How long a Pod of a Job runs until it has succeeded."""

    @property
    def renew_seconds(self) -> float:
        """Between two renewals of a node's lease: seldom enough that a thousand nodes are no load, often enough to live."""
        return min(max(10.0, self.count / 100), 20.0)

    def name(self, number: int) -> str:
        """The name of the n-th node."""
        return f"{self.prefix}-{number}"

    def names(self) -> list[str]:
        """All names."""
        return [self.name(number) for number in range(self.count)]
