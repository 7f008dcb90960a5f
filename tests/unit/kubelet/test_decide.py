"""What is done next for a Pod, as a table of situations."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from carob.kubelet.actions import (
    Action,
    BackOff,
    ContainerView,
    EnsureImage,
    Kill,
    PrepareVolumes,
    Release,
    RestartAll,
    Snapshot,
    StartContainer,
    StartSandbox,
    StopContainer,
    Work,
)
from carob.kubelet.decide import decide
from tests.unit.kubelet.pods import SANDBOX, exited, pod, running

READY = Work.READY


def actions(snapshot: Snapshot) -> list[Action]:
    return decide(snapshot).actions


def standing(spec: dict[str, Any] | None = None, **views: ContainerView) -> Snapshot:
    """A Pod whose sandbox and volumes stand."""
    return Snapshot(
        pod=pod(**(spec or {})), sandbox_id=SANDBOX, sandbox_attempts=1, volumes=READY, containers=dict(views)
    )


def up(name: str = "web", **more: Any) -> ContainerView:
    return ContainerView(latest=running(name), started=True, **more)


def ended(name: str = "web", code: int = 0, **more: Any) -> ContainerView:
    return ContainerView(latest=exited(name, code), **more)


def test_a_new_pod_begins_with_everything_at_once() -> None:
    assert actions(Snapshot(pod=pod())) == [PrepareVolumes(), EnsureImage("web"), StartSandbox(0)]


def test_what_is_under_way_is_not_asked_for_again() -> None:
    snapshot = Snapshot(
        pod=pod(), sandbox=Work.BUSY, volumes=Work.BUSY, containers={"web": ContainerView(image=Work.BUSY)}
    )
    assert actions(snapshot) == []


def test_a_container_starts_when_sandbox_volumes_and_image_are_there() -> None:
    assert actions(standing(web=ContainerView(image=READY))) == [StartContainer("web", 0)]
    assert actions(standing(web=ContainerView(image=Work.BUSY))) == []
    without_volumes = Snapshot(
        pod=pod(), sandbox_id=SANDBOX, volumes=Work.BUSY, containers={"web": ContainerView(image=READY)}
    )
    assert actions(without_volumes) == []


def test_a_running_container_needs_nothing() -> None:
    assert actions(standing(web=up())) == []


def test_a_failing_probe_ends_the_container_once() -> None:
    kill = Kill("Unhealthy", "failed liveness probe", 5.0)
    wanted = StopContainer("web", "web-0", 5.0, "Unhealthy", "failed liveness probe")
    assert actions(standing(web=up(kill=kill))) == [wanted]
    assert actions(standing(web=up(kill=kill, stop_grace_seconds=5.0))) == []


@pytest.mark.parametrize(
    ("policy", "code", "again"),
    [
        ("Always", 0, True),
        ("Always", 1, True),
        ("OnFailure", 0, False),
        ("OnFailure", 1, True),
        ("Never", 0, False),
        ("Never", 1, False),
    ],
)
def test_the_restart_policy(policy: str, code: int, again: bool) -> None:
    decision = decide(standing({"restartPolicy": policy}, web=ended(code=code, image=READY)))
    assert decision.actions == ([StartContainer("web", 1)] if again else [Release()])
    assert decision.finished is not again


def test_rules_for_exit_codes_win_over_the_policy() -> None:
    rules = [{"action": "Restart", "exitCodes": {"operator": "In", "values": [42]}}]
    container = {"name": "web", "image": "web:1", "restartPolicy": "Never", "restartPolicyRules": rules}
    spec = {"restartPolicy": "Never", "containers": [container]}
    assert actions(standing(spec, web=ended(code=42, image=READY))) == [StartContainer("web", 1)]
    assert actions(standing(spec, web=ended(code=1, image=READY))) == [Release()]


def test_a_restart_that_has_to_wait_says_so_and_wakes_up() -> None:
    decision = decide(standing(web=ended(code=1, wait_seconds=7.0)))
    assert decision.actions == [BackOff("web")]
    assert decision.wake_in_seconds == 7.0


INIT = {"initContainers": [{"name": "a", "image": "a:1"}, {"name": "b", "image": "b:1"}]}


def test_init_containers_come_one_after_another() -> None:
    assert actions(standing(INIT)) == [EnsureImage("a")]
    assert actions(standing(INIT, a=up("a"))) == []
    assert actions(standing(INIT, a=ended("a"))) == [EnsureImage("b")]
    assert actions(standing(INIT, a=ended("a"), b=ended("b"))) == [EnsureImage("web")]


def test_a_failed_init_container_is_tried_again_or_ends_the_pod() -> None:
    assert actions(standing(INIT, a=ended("a", 1, image=READY))) == [StartContainer("a", 1)]
    decision = decide(standing(INIT | {"restartPolicy": "Never"}, a=ended("a", 1)))
    assert decision.finished
    assert decision.actions == [Release()]


def test_init_containers_do_not_run_again_beside_running_ones() -> None:
    assert actions(standing(INIT, web=up())) == []


def test_init_containers_run_again_in_a_new_sandbox() -> None:
    old = ContainerView(latest=exited("a", sandbox="sandbox-0"))
    gone = ContainerView(latest=exited("web", 1, sandbox="sandbox-0"))
    assert actions(standing(INIT, a=old, b=old, web=gone)) == [EnsureImage("a")]


SIDECAR = {"initContainers": [{"name": "side", "image": "s:1", "restartPolicy": "Always"}]}


def test_a_sidecar_must_have_started_before_the_rest_begins() -> None:
    assert actions(standing(SIDECAR, side=ContainerView(latest=running("side")))) == []
    assert actions(standing(SIDECAR, side=up("side"))) == [EnsureImage("web")]


def test_a_sidecar_that_ends_is_started_again_beside_the_others() -> None:
    snapshot = standing(SIDECAR, side=ended("side", image=READY), web=up())
    assert actions(snapshot) == [StartContainer("side", 1)]


def test_a_pod_has_ended_when_its_regular_containers_have_and_then_its_sidecars_go() -> None:
    spec = SIDECAR | {"restartPolicy": "Never"}
    decision = decide(standing(spec, side=up("side"), web=ended()))
    assert decision.finished
    assert decision.actions == [StopContainer("side", "side-0", 30.0)]


def terminating(spec: dict[str, Any] | None = None, grace: float = 30.0, **views: ContainerView) -> Snapshot:
    return Snapshot(
        pod=pod(**(spec or {})),
        terminating=True,
        grace_seconds=grace,
        sandbox_id=SANDBOX,
        volumes=READY,
        containers=dict(views),
    )


def test_ending_stops_all_at_once_and_sidecars_afterwards() -> None:
    two = [
        {"name": "x", "image": "x", "restartPolicy": "Always"},
        {"name": "y", "image": "y", "restartPolicy": "Always"},
    ]
    spec = {"initContainers": two}
    web, x, y = up(), up("x"), up("y")
    assert actions(terminating(spec, web=web, x=x, y=y)) == [StopContainer("web", "web-0", 30.0)]
    assert actions(terminating(spec, web=ended(), x=x, y=y)) == [StopContainer("y", "y-0", 30.0)]
    assert actions(terminating(spec, web=ended(), x=x, y=ended("y"))) == [StopContainer("x", "x-0", 30.0)]
    assert actions(terminating(spec, web=ended(), x=ended("x"), y=ended("y"))) == [Release()]


def test_a_shorter_grace_period_is_passed_on() -> None:
    assert actions(terminating(grace=5.0, web=up(stop_grace_seconds=30.0))) == [StopContainer("web", "web-0", 5.0)]
    assert actions(terminating(grace=5.0, web=up(stop_grace_seconds=4.0))) == []


def test_nothing_is_given_back_while_something_begins() -> None:
    assert actions(terminating(web=ContainerView(starting=True))) == []
    assert actions(Snapshot(pod=pod(), terminating=True, sandbox=Work.BUSY)) == []
    assert actions(Snapshot(pod=pod(), terminating=True, released=READY)) == []


def test_containers_of_unknown_name_are_stopped_too() -> None:
    snapshot = Snapshot(pod=pod(containers=[]), terminating=True, grace_seconds=3.0, orphans=("old-1",))
    assert actions(snapshot) == [StopContainer("", "old-1", 3.0)]


def test_a_lost_sandbox_ends_what_is_left_and_begins_anew() -> None:
    lost = Snapshot(pod=pod(), sandbox_attempts=1, volumes=READY, containers={"web": up()})
    assert actions(lost) == [StopContainer("web", "web-0", None)]
    clear = Snapshot(pod=pod(), sandbox_attempts=1, volumes=READY, containers={"web": ended(code=137)})
    assert actions(clear) == [EnsureImage("web"), StartSandbox(1)]


def test_a_lost_sandbox_of_a_pod_that_never_restarts_is_its_end() -> None:
    snapshot = Snapshot(pod=pod(restartPolicy="Never"), sandbox_attempts=1, containers={"web": ended(code=137)})
    assert actions(snapshot) == [Release()]


def test_restart_counts_go_on_where_lost_containers_left_off() -> None:
    view = ContainerView(image=READY, first_attempt=4)
    assert actions(standing(web=view)) == [StartContainer("web", 4)]


def test_an_ephemeral_container_runs_once() -> None:
    spec = {"ephemeralContainers": [{"name": "debug", "image": "d:1"}]}
    assert actions(standing(spec, web=up())) == [EnsureImage("debug")]
    assert actions(standing(spec, web=up(), debug=ended("debug", 1))) == []


ALL_AGAIN = [{"action": "RestartAllContainers", "exitCodes": {"operator": "In", "values": [88]}}]


def test_one_containers_end_makes_all_begin_anew() -> None:
    watcher = {"name": "watcher", "image": "w", "restartPolicy": "Never", "restartPolicyRules": ALL_AGAIN}
    spec = {
        "restartPolicy": "Never",
        "initContainers": [{"name": "prep", "image": "p"}],
        "containers": [{"name": "web", "image": "web"}, watcher],
    }
    prep = ended("prep")
    # any other code counts as usual
    assert actions(standing(spec, prep=prep, web=up(), watcher=ended("watcher", 1))) == []
    # the others are ended, once
    (stop,) = actions(standing(spec, prep=prep, web=up(), watcher=ended("watcher", 88)))
    assert isinstance(stop, StopContainer)
    assert (stop.name, stop.grace_seconds) == ("web", 0.0)
    assert actions(standing(spec, prep=prep, web=up(stop_grace_seconds=3.0), watcher=ended("watcher", 88))) == []
    # then, after the back-off, all are cleared away
    waits = ended("watcher", 88, wait_seconds=5.0)
    assert actions(standing(spec, prep=prep, web=ended(code=143), watcher=waits)) == [BackOff("watcher")]
    given = standing(spec, prep=prep, web=ended(code=143), watcher=ended("watcher", 88))
    assert actions(given) == [RestartAll("watcher")]
    assert not decide(given).finished
    assert actions(replace(given, restarting=True)) == []
    # and it begins as at first, counting on
    fresh = {name: ContainerView(image=READY, first_attempt=1) for name in ("prep", "web", "watcher")}
    assert actions(standing(spec, **fresh)) == [StartContainer("prep", 1)]
