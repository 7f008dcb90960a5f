"""The Pod's status as a function of what is observed."""

from __future__ import annotations

from typing import Any

import pytest

from carob.api.types import core_v1
from carob.kubelet.container_statuses import Observed
from carob.kubelet.status import PodView, pod_status
from tests.unit.kubelet.pods import exited, pod, running

NOW = 1_700_000_000.0
UP = Observed(latest=running(), ready=True, started=True)


def status_of(given: core_v1.Pod, *, over: bool = False, **containers: Observed) -> core_v1.PodStatus:
    view = PodView(
        containers=containers, sandbox_ready=not over, pod_ips=("10.42.0.9",), host_ips=("10.42.0.1",), over=over
    )
    return pod_status(given, view, NOW)


def conditions(status: core_v1.PodStatus) -> dict[str, tuple[str, str]]:
    return {c.type: (c.status, c.reason) for c in status.conditions}


def test_before_anything_runs() -> None:
    status = pod_status(pod(), PodView(start_time=NOW), NOW)
    assert status.phase == "Pending"
    assert status.container_statuses[0].state.waiting == core_v1.ContainerStateWaiting(reason="ContainerCreating")
    assert conditions(status) == {
        "PodReadyToStartContainers": ("False", ""),
        "Initialized": ("True", ""),
        "Ready": ("False", "ContainersNotReady"),
        "ContainersReady": ("False", "ContainersNotReady"),
        "PodScheduled": ("True", ""),
    }
    ready = next(c for c in status.conditions if c.type == "Ready")
    assert ready.message == "containers with unready status: [web]"
    assert status.start_time == "2023-11-14T22:13:20Z"


def test_running_and_ready() -> None:
    status = status_of(pod(), web=UP)
    assert status.phase == "Running"
    assert conditions(status)["Ready"] == ("True", "")
    entry = status.container_statuses[0]
    assert (entry.container_id, entry.ready, entry.started) == ("carob://web-0", True, True)
    assert (status.pod_ip, status.host_ip) == ("10.42.0.9", "10.42.0.1")


def test_times_of_conditions_change_only_with_their_status() -> None:
    first = status_of(pod(), web=Observed(latest=running(), ready=False, started=True))
    later = pod()
    later.status = first
    view = PodView(containers={"web": UP}, sandbox_ready=True)
    second = pod_status(later, view, NOW + 60)
    times = {c.type: c.last_transition_time for c in second.conditions}
    assert times["Ready"] == "2023-11-14T22:14:20Z"
    assert times["Initialized"] == "2023-11-14T22:13:20Z"


@pytest.mark.parametrize(
    ("policy", "codes", "over", "phase"),
    [
        ("Always", [1], False, "Running"),
        ("OnFailure", [1], False, "Running"),
        ("OnFailure", [0, 0], True, "Succeeded"),
        ("Never", [0, 0], True, "Succeeded"),
        ("Never", [0, 2], True, "Failed"),
        ("Always", [143], True, "Failed"),
        ("Always", [0], True, "Succeeded"),
    ],
)
def test_the_phase_when_all_have_ended(policy: str, codes: list[int], over: bool, phase: str) -> None:
    names = [f"c{i}" for i in range(len(codes))]
    given = pod(restartPolicy=policy, containers=[{"name": n, "image": n} for n in names])
    observed = {n: Observed(latest=exited(n, code)) for n, code in zip(names, codes, strict=True)}
    assert status_of(given, over=over, **observed).phase == phase


def test_a_container_with_rules_of_its_own_keeps_its_pod_running() -> None:
    rules = [{"action": "Restart", "exitCodes": {"operator": "In", "values": [42]}}]
    web = {"name": "web", "image": "web", "restartPolicy": "Never", "restartPolicyRules": rules}
    given = pod(restartPolicy="Never", containers=[web])
    assert status_of(given, web=Observed(latest=exited("web", 42))).phase == "Running"
    assert status_of(given, web=Observed(latest=exited("web", 1)), over=True).phase == "Failed"


def test_a_terminal_phase_stays() -> None:
    given = pod(status={"phase": "Succeeded"})
    assert status_of(given, web=UP).phase == "Succeeded"


def test_a_container_that_waits_to_be_restarted_shows_its_last_end() -> None:
    waiting = ("CrashLoopBackOff", "back-off 10s restarting failed container=web")
    status = status_of(pod(), web=Observed(latest=exited("web", 3, reason="Error"), waiting=waiting))
    entry = status.container_statuses[0]
    assert entry.state.waiting == core_v1.ContainerStateWaiting(reason=waiting[0], message=waiting[1])
    assert entry.last_state.terminated is not None
    assert entry.last_state.terminated.exit_code == 3
    assert status.phase == "Running"


def test_out_of_memory_is_told() -> None:
    before = exited("web", 137, reason="OOMKilled")
    observed = Observed(latest=running(attempt=1), previous=before, ready=True, started=True)
    entry = status_of(pod(), web=observed).container_statuses[0]
    assert entry.restart_count == 1
    assert entry.last_state.terminated is not None
    assert (entry.last_state.terminated.reason, entry.last_state.terminated.exit_code) == ("OOMKilled", 137)


def test_regular_containers_wait_for_init_containers() -> None:
    given = pod(initContainers=[{"name": "a", "image": "a"}])
    status = status_of(given, a=Observed(latest=running("a"), started=True))
    assert status.phase == "Pending"
    assert conditions(status)["Initialized"] == ("False", "ContainersNotInitialized")
    waiting = status.container_statuses[0].state.waiting
    assert waiting is not None
    assert waiting.reason == "PodInitializing"


def test_a_failed_init_container_fails_a_pod_that_never_restarts() -> None:
    given = pod(restartPolicy="Never", initContainers=[{"name": "a", "image": "a"}])
    assert status_of(given, over=True, a=Observed(latest=exited("a", 1))).phase == "Failed"


def test_sidecars_count_for_readiness() -> None:
    given = pod(initContainers=[{"name": "side", "image": "s", "restartPolicy": "Always"}])
    side = Observed(latest=running("side"), ready=False, started=True)
    status = status_of(given, web=UP, side=side)
    assert conditions(status)["ContainersReady"] == ("False", "ContainersNotReady")
    assert status.phase == "Running"


def test_readiness_gates_are_asked() -> None:
    given = pod(readinessGates=[{"conditionType": "example.com/a"}])
    assert conditions(status_of(given, web=UP))["Ready"] == ("False", "ReadinessGatesNotReady")
    given.status.conditions = [core_v1.PodCondition(type="example.com/a", status="True")]
    status = status_of(given, web=UP)
    assert conditions(status)["Ready"] == ("True", "")
    assert conditions(status)["example.com/a"] == ("True", "")


def test_a_refused_pod_says_why_and_nothing_else() -> None:
    status = pod_status(pod(), PodView(failed=("OutOfcpu", "Pod was rejected: no cpu")), NOW)
    assert (status.phase, status.reason, status.message) == ("Failed", "OutOfcpu", "Pod was rejected: no cpu")
    assert status.container_statuses == []
    assert [c.type for c in status.conditions] == ["PodScheduled"]


def test_a_pod_that_has_ended_keeps_its_address() -> None:
    given = pod(restartPolicy="Never", status={"podIP": "10.42.0.9", "podIPs": [{"ip": "10.42.0.9"}]})
    view = PodView(containers={"web": Observed(latest=exited())}, over=True)
    status = pod_status(given, view, NOW)
    assert status.pod_ip == "10.42.0.9"
    assert conditions(status)["Ready"] == ("False", "PodCompleted")


def test_a_hook_at_work_keeps_the_container_from_counting() -> None:
    observed = Observed(latest=running(), ready=True, started=True, hidden=True)
    entry = status_of(pod(), web=observed).container_statuses[0]
    assert entry.state.waiting is not None
    assert not entry.ready


def test_mounts_are_told() -> None:
    mounts: list[dict[str, Any]] = [
        {"name": "v", "mountPath": "/v", "readOnly": True},
        {"name": "w", "mountPath": "/w"},
    ]
    given = pod(containers=[{"name": "web", "image": "web:1", "volumeMounts": mounts}])
    told = status_of(given, web=UP).container_statuses[0].volume_mounts
    assert [(m.mount_path, m.read_only, m.recursive_read_only) for m in told] == [
        ("/v", True, "Disabled"),
        ("/w", False, None),
    ]


def test_one_that_could_not_be_started_began_at_second_zero() -> None:
    refused = exited(code=128, reason="StartError")
    refused.started_at = 0.0
    state = status_of(pod(restartPolicy="Never"), web=Observed(latest=refused)).container_statuses[0].state
    assert state is not None
    assert state.terminated is not None
    assert state.terminated.started_at == "1970-01-01T00:00:00Z"
