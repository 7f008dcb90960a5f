"""What is measured, in which unit, against which bar and baseline, and what upstream 1.36 needed on the reference machine."""

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
    # what of `bench.baselines` it is a multiple of, and how much of it makes one (30 Pods are 30 times a namespace)
    baseline: str = ""
    per: float = 1.0

    def ratio(self, values: dict[str, float]) -> float | None:
        """How many times the baseline of the same run; None where there is none."""
        base = values.get(self.baseline, 0.0)
        return values[self.key] / (base * self.per) if base else None

    def met(self, value: float) -> bool:
        """Whether the value is on the good side of the bar."""
        return value >= self.bar if self.at_least else value <= self.bar


FIGURES = (
    Figure(
        "up_seconds",
        "carob up until a Pod can run, warm",
        "s",
        1.5,
        "2.8 (API and etcd alone)",
        baseline="base_python_ms",
        per=0.001,
    ),
    Figure("idle_pss_mb", "idle memory, all processes, PSS", "MB", 120, "637 (k3s 515)", baseline="base_python_mb"),
    Figure("idle_rss_mb", "idle memory, all processes, RSS", "MB", float("inf"), ""),
    Figure("idle_cpu_percent", "idle CPU, share of one core", "%", 0.5, "4.8 (k3s 3.9)"),
    Figure("ready_p50_ms", "POST to Ready, image present, p50", "ms", 70, "510-600", baseline="base_namespaces_ms"),
    Figure(
        "ready_p99_ms",
        "POST to Ready, image present, p99",
        "ms",
        float("inf"),
        "551-772",
        baseline="base_namespaces_ms",
    ),
    Figure("burst_seconds", "30 Pods at once, all Ready", "s", 1.0, "5.0-5.6", baseline="base_namespaces_ms", per=0.03),
    Figure("burst_p50_ms", "POST to Ready of 30 at once, p50", "ms", float("inf"), "", baseline="base_namespaces_ms"),
    Figure("burst_p99_ms", "POST to Ready of 30 at once, p99", "ms", float("inf"), "", baseline="base_namespaces_ms"),
    Figure(
        "gone_p50_ms",
        "DELETE to gone, process ends on SIGTERM, p50",
        "ms",
        100,
        "2,400 beyond the grace",
        baseline="base_namespaces_ms",
    ),
    Figure(
        "full_ready_p50_ms",
        "POST to Ready of two containers with three volumes each, p50",
        "ms",
        75,
        "",
        baseline="base_namespaces_ms",
    ),
    Figure("full_ready_p99_ms", "the same, p99", "ms", float("inf"), "", baseline="base_namespaces_ms"),
    Figure("exec_true_p50_ms", "exec of true, request to exit code, p50", "ms", 30, "", baseline="base_namespaces_ms"),
    Figure("idle_pod_mb", "an idle Pod of two, beyond its own processes, PSS", "MB", 1.5, ""),
    Figure("idle_pods_percent", "CPU with 100 idle Pods, of one core", "%", 2, ""),
    Figure("probes_percent", "httpGet probes of 500 containers every second, of one core", "%", 20, ""),
    Figure("creates_1", "creates per second, 1 client", "/s", 800, "313", at_least=True, baseline="base_syncs"),
    Figure("creates_8", "creates per second, 8 clients", "/s", 1800, "627", at_least=True, baseline="base_syncs"),
    Figure("creates_32", "creates per second, 32 clients", "/s", 3000, "956", at_least=True, baseline="base_syncs"),
    Figure("gets_1", "GETs per second, 1 client", "/s", 0, "586", at_least=True, baseline="base_wire_1"),
    Figure("gets_8", "GETs per second, 8 clients", "/s", 6000, "1,384", at_least=True, baseline="base_wire_8"),
    Figure("gets_32", "GETs per second, 32 clients", "/s", 0, "1,672", at_least=True, baseline="base_wire_32"),
    Figure("list_5k_ms", "LIST of 5,000 Pods", "ms", float("inf"), "256", baseline="base_json_5k_ms"),
    Figure("list_30k_ms", "LIST of 30,000 Pods", "ms", 250, "1,690", baseline="base_json_30k_ms"),
    Figure("event_p50_ms", "create sent to event seen, p50", "ms", float("inf"), "4.8", baseline="base_wire_1_ms"),
    Figure("fanout", "fan-out to 100 watchers, events per second", "/s", 80_000, "33,000-38,000", at_least=True),
    Figure("services_1000_ms", "1,000 services of 5 endpoints programmed", "ms", 300, ""),
    Figure("one_endpoint_ms", "one endpoint of them changed, p50", "ms", 10, ""),
    Figure("change_p50_ms", "change committed to first packet there, p50", "ms", 50, "", baseline="base_wire_1_ms"),
    Figure("change_p99_ms", "change committed to first packet there, p99", "ms", float("inf"), ""),
    Figure("pod_gbit", "TCP from Pod to Pod", "Gbit/s", 0, "", at_least=True, baseline="base_veth_gbit"),
    Figure("pod_throughput_percent", "TCP from Pod to Pod, share of a bare veth pair", "%", 90, "", at_least=True),
    Figure("dns_fresh_per_second", "DNS answers a second of one core, new questions", "/s", 0, "", at_least=True),
    Figure("dns_known_per_second", "DNS answers a second of one core, asked before", "/s", 0, "", at_least=True),
    Figure("step_command_ms", "five steps: the command", "ms", float("inf"), ""),
    Figure("step_api_ms", "five steps: the API answers", "ms", float("inf"), ""),
    Figure("step_kubernetes_ms", "five steps: the kubernetes Service", "ms", float("inf"), ""),
    Figure("step_dns_ms", "five steps: the DNS Service", "ms", float("inf"), ""),
    Figure("step_running_ms", "five steps: the application runs", "ms", float("inf"), ""),
    Figure("step_answers_ms", "five steps: it answers by its DNS name", "ms", float("inf"), ""),
    Figure("steps_seconds", "minikube's five steps, warm images", "s", 3, "", baseline="base_python_ms", per=0.001),
    Figure("memory_30k_mb", "server memory with 30,000 Pods, PSS", "MB", 250, "1,412 + 110"),
    Figure("deployment_seconds", "a Deployment of 1,000 replicas, available", "s", 3, ""),
    Figure("rollout_seconds", "its whole rollout", "s", 8, ""),
    Figure("jobs_seconds", "1,000 Jobs of one Pod, finished", "s", 10, ""),
    Figure("rest_30k_percent", "CPU at rest with 30,000 running Pods, of one core", "%", 0.5, ""),
    Figure("rest_30k_mb", "server memory with 30,000 running Pods, PSS", "MB", 250, ""),
    Figure("restart_30k_seconds", "kill -9 with 30,000 Pods until controllers act again", "s", 3, ""),
    Figure("restart_30k_running_seconds", "… until what they made runs", "s", float("inf"), ""),
    Figure("replacement_seconds", "a lost node's Pod runs elsewhere, beyond its toleration", "s", 1, ""),
)

# what the machine does by itself: shown below the figures
BASELINES = {
    "base_python_ms": ("python -c pass", "ms"),
    "base_python_mb": ("an idle interpreter with our libraries, PSS", "MB"),
    "base_namespaces_ms": ("true in new namespaces (unshare)", "ms"),
    "base_syncs": ("1.2 KB appended and synced, one after another", "/s"),
    "base_wire_1": ("constant answers over TLS, 1 client", "/s"),
    "base_wire_1_ms": ("a constant answer over TLS, p50", "ms"),
    "base_wire_8": ("constant answers over TLS, 8 clients", "/s"),
    "base_wire_32": ("constant answers over TLS, 32 clients", "/s"),
    "base_veth_gbit": ("TCP over a bare veth pair", "Gbit/s"),
    "base_json_5k_ms": ("5,000 Pods to JSON by orjson", "ms"),
    "base_json_30k_ms": ("30,000 Pods to JSON by orjson", "ms"),
}
