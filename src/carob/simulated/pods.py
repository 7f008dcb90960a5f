"""The next thing a simulated node has to do for a Pod: nothing yet, a new status, or to let it go.

Pure. Level-triggered: the answer follows from the Pod as it is and from how long it has been so.
Source: the words of the kubelet's statuses (`kubelet_pods.go`, `status/generate.go`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec import Struct

if TYPE_CHECKING:
    from carob.simulated.behaviour import Behaviour
    from carob.simulated.views import PodView

FINISHED = ("Succeeded", "Failed")


class Step(Struct, frozen=True):
    """`status`: a strategic patch of it; `delete`: the Pod has ended and goes; `again_seconds`: look again then."""

    status: dict[str, Any] | None = None
    delete: bool = False
    again_seconds: float | None = None


NOTHING = Step()


def next_step(pod: PodView, behaviour: Behaviour, age_seconds: float, address: str, host: str, now: str) -> Step:
    """What to do now. `age_seconds`: since the Pod was first seen, or since it was last started, whichever is later."""
    if pod.metadata.deletion_timestamp is not None:
        return Step(delete=True)
    phase = pod.status.phase
    if phase in FINISHED:
        return NOTHING
    if phase != "Running":
        if age_seconds < behaviour.start_seconds:
            return Step(again_seconds=behaviour.start_seconds - age_seconds)
        return Step(running(pod, behaviour, address, host, now), again_seconds=behaviour.run_seconds)
    if behaviour.run_seconds is None:
        if _is_ready(pod) != _shall_be_ready(pod, behaviour):
            return Step({"conditions": _ready_conditions(pod, behaviour, now)})
        return NOTHING
    if age_seconds < behaviour.run_seconds:
        return Step(again_seconds=behaviour.run_seconds - age_seconds)
    policy = pod.spec.restart_policy
    if policy == "Always" or (policy == "OnFailure" and behaviour.exit_code):
        # a container that ends at once would be restarted without end: once a second is often enough to see it
        return Step(_restarted(pod, behaviour, now), again_seconds=max(behaviour.run_seconds, 1.0))
    return Step(_ended(pod, behaviour, now))


def running(pod: PodView, behaviour: Behaviour, address: str, host: str, now: str) -> dict[str, Any]:
    """The status of a Pod whose containers have just been started."""
    spec = pod.spec
    own = host if spec.host_network else address
    conditions = [
        _condition("PodReadyToStartContainers", True, now),
        _condition("Initialized", True, now),
        *_ready_conditions(pod, behaviour, now),
    ]
    done = {"terminated": {"exitCode": 0, "reason": "Completed", "startedAt": now, "finishedAt": now}}
    inits = []
    for one in spec.init_containers:
        stays = one.restart_policy == "Always"
        inits.append(
            _container(pod, one.name, one.image, {"running": {"startedAt": now}} if stays else done, stays, ready=True)
        )
    status: dict[str, Any] = {
        "phase": "Running",
        "hostIP": host,
        "hostIPs": [{"ip": host}],
        "podIP": own,
        "podIPs": [{"ip": own}],
        "startTime": now,
        "conditions": conditions,
        "containerStatuses": [
            _container(pod, one.name, one.image, {"running": {"startedAt": now}}, True, ready=behaviour.ready)
            for one in spec.containers
        ],
    }
    return status | ({"initContainerStatuses": inits} if inits else {})


def _ended(pod: PodView, behaviour: Behaviour, now: str) -> dict[str, Any]:
    failed = behaviour.exit_code != 0
    reason = "PodFailed" if failed else "PodCompleted"
    return {
        "phase": "Failed" if failed else "Succeeded",
        "conditions": [
            _condition("Initialized", True, now) | {"reason": "PodCompleted"},
            _condition("Ready", False, now) | {"reason": reason},
            _condition("ContainersReady", False, now) | {"reason": reason},
        ],
        "containerStatuses": [
            _container(pod, one.name, one.image, _terminated(behaviour, now), False, ready=False)
            for one in pod.spec.containers
        ],
    }


def _restarted(pod: PodView, behaviour: Behaviour, now: str) -> dict[str, Any]:
    count = max((one.restart_count for one in pod.status.container_statuses), default=0) + 1
    state = {"running": {"startedAt": now}}
    return {
        "containerStatuses": [
            _container(pod, one.name, one.image, state, True, ready=behaviour.ready)
            | {"restartCount": count, "lastState": _terminated(behaviour, now)}
            for one in pod.spec.containers
        ]
    }


def _terminated(behaviour: Behaviour, now: str) -> dict[str, Any]:
    reason = "Error" if behaviour.exit_code else "Completed"
    return {"terminated": {"exitCode": behaviour.exit_code, "reason": reason, "startedAt": now, "finishedAt": now}}


def _container(
    pod: PodView, name: str, image: str, state: dict[str, Any], started: bool, *, ready: bool
) -> dict[str, Any]:
    return {
        "name": name,
        "image": image,
        "imageID": "",
        "containerID": f"simulated://{pod.metadata.uid}/{name}",
        "ready": ready,
        "started": started,
        "restartCount": 0,
        "state": state,
    }


def _ready_conditions(pod: PodView, behaviour: Behaviour, now: str) -> list[dict[str, Any]]:
    gates_open = _shall_be_ready(pod, behaviour)
    return [
        _condition("Ready", gates_open, now)
        | ({} if gates_open else {"reason": "ReadinessGatesNotReady" if behaviour.ready else "ContainersNotReady"}),
        _condition("ContainersReady", behaviour.ready, now)
        | ({} if behaviour.ready else {"reason": "ContainersNotReady"}),
    ]


def _shall_be_ready(pod: PodView, behaviour: Behaviour) -> bool:
    held = {one.type for one in pod.status.conditions if one.status == "True"}
    return behaviour.ready and all(gate.condition_type in held for gate in pod.spec.readiness_gates)


def _is_ready(pod: PodView) -> bool:
    return any(one.type == "Ready" and one.status == "True" for one in pod.status.conditions)


def _condition(kind: str, holds: bool, now: str) -> dict[str, Any]:
    return {"type": kind, "status": "True" if holds else "False", "lastTransitionTime": now, "reason": None}
