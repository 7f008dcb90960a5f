"""What is measured, in which unit, against which bar, and what upstream 1.36 needed on the reference machine."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Figure:
    """One line of the report. `at_least` tells on which side of the bar is good."""

    key: str
    title: str
    unit: str
    bar: float
    upstream: str
    at_least: bool = False

    def met(self, value: float) -> bool:
        """Whether the value is on the good side of the bar."""
        return value >= self.bar if self.at_least else value <= self.bar


FIGURES = (
    Figure("up_seconds", "carob up until a Pod can run, warm", "s", 1.5, "2.8 (API and etcd alone)"),
    Figure("idle_pss_mb", "idle memory, all processes, PSS", "MB", 120, "637 (k3s 515)"),
    Figure("idle_rss_mb", "idle memory, all processes, RSS", "MB", float("inf"), ""),
    Figure("idle_cpu_percent", "idle CPU, share of one core", "%", 0.5, "4.8 (k3s 3.9)"),
    Figure("ready_p50_ms", "POST to Ready, image present, p50", "ms", 70, "510-600"),
    Figure("ready_p99_ms", "POST to Ready, image present, p99", "ms", float("inf"), "551-772"),
    Figure("burst_seconds", "30 Pods at once, all Ready", "s", 1.0, "5.0-5.6"),
    Figure("gone_p50_ms", "DELETE to gone, process ends on SIGTERM, p50", "ms", 100, "2,400 beyond the grace"),
    Figure("creates_1", "creates per second, 1 client", "/s", 800, "313", at_least=True),
    Figure("creates_8", "creates per second, 8 clients", "/s", 1800, "627", at_least=True),
    Figure("creates_32", "creates per second, 32 clients", "/s", 3000, "956", at_least=True),
    Figure("gets_1", "GETs per second, 1 client", "/s", 0, "586", at_least=True),
    Figure("gets_8", "GETs per second, 8 clients", "/s", 6000, "1,384", at_least=True),
    Figure("gets_32", "GETs per second, 32 clients", "/s", 0, "1,672", at_least=True),
    Figure("list_5k_ms", "LIST of 5,000 Pods", "ms", float("inf"), "256"),
    Figure("list_30k_ms", "LIST of 30,000 Pods", "ms", 250, "1,690"),
    Figure("event_p50_ms", "create sent to event seen, p50", "ms", float("inf"), "4.8"),
    Figure("fanout", "fan-out to 100 watchers, events per second", "/s", 80_000, "33,000-38,000", at_least=True),
    Figure("memory_30k_mb", "server memory with 30,000 Pods, PSS", "MB", 250, "1,412 + 110"),
)
