"""The Pod's status as a function of what is observed: phase, conditions, container statuses, addresses. Pure.

Conditions that others own (readiness gates, PodScheduled, DisruptionTarget) pass through. A terminal phase stays.

Source: kubelet `kubelet_pods.go` (generateAPIPodStatus, getPhase), `status/generate.go`, KEP-3085, KEP-5067.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct, field

from carob.api.restart_rules import may_restart_all, restarts_after
from carob.api.types import core_v1
from carob.base.clock import rfc3339
from carob.kubelet.container_statuses import Observed, container_status
from carob.kubelet.decide import is_sidecar
from carob.kubelet.resize import IN_PROGRESS, PENDING, WHOLE
from carob.kubelet.resources import qos_class

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

READY_TO_START = "PodReadyToStartContainers"
INITIALIZED = "Initialized"
READY = "Ready"
CONTAINERS_READY = "ContainersReady"
POD_SCHEDULED = "PodScheduled"
DISRUPTED = "DisruptionTarget"
ALL_RESTARTING = "AllContainersRestarting"
OWN_CONDITIONS = (READY_TO_START, INITIALIZED, READY, CONTAINERS_READY, ALL_RESTARTING, PENDING, IN_PROGRESS)

BY_KUBELET = "TerminationByKubelet"
TERMINAL = ("Succeeded", "Failed")


class PodView(Struct, frozen=True):
    """What the agent knows of a Pod when it tells the world.

    `over` says that no container is started again and none runs; `failed` is why the node ended or refused the Pod.
    """

    containers: Mapping[str, Observed] = field(default_factory=dict)
    messages: Mapping[str, str] = field(default_factory=dict)
    sandbox_ready: bool = False
    pod_ips: Sequence[str] = ()
    host_ips: Sequence[str] = ()
    over: bool = False
    failed: tuple[str, str] | None = None
    start_time: float | None = None
    restarting: bool = False
    """A container has ended whose rule makes all begin anew, and they have not been cleared away yet."""
    allocated: Mapping[str, core_v1.ResourceRequirements] = field(default_factory=dict)
    actuated: Mapping[str, core_v1.ResourceRequirements] = field(default_factory=dict)
    resize: Sequence[tuple[str, str, str]] = ()
    """Type, reason and message of the conditions of a resize."""
    disrupted: str = ""
    """Not empty: `failed` was for the node's own sake, and this is what the condition says."""


def is_own(kind: str, reason: str) -> bool:
    """Whether a condition is the kubelet's to write."""
    return kind in OWN_CONDITIONS or kind == POD_SCHEDULED or (kind == DISRUPTED and reason == BY_KUBELET)


def with_foreign(own: core_v1.PodStatus, seen: core_v1.PodStatus) -> core_v1.PodStatus:
    """The kubelet's status with what other writers have in that of the API: readiness gates, claims, a nominated node."""
    conditions = [c for c in own.conditions if is_own(c.type, c.reason)]
    conditions += [c for c in seen.conditions if not is_own(c.type, c.reason)]
    return msgspec.structs.replace(
        own,
        conditions=conditions,
        nominated_node_name=seen.nominated_node_name,
        resource_claim_statuses=seen.resource_claim_statuses,
        extended_resource_claim_status=seen.extended_resource_claim_status,
    )


def pod_status(pod: core_v1.Pod, view: PodView, now: float) -> core_v1.PodStatus:
    """The status to write; `pod.status` is the one that the API has."""
    old = pod.status
    status = core_v1.PodStatus(
        observed_generation=pod.metadata.generation,
        nominated_node_name=old.nominated_node_name,
        resource_claim_statuses=old.resource_claim_statuses,
        extended_resource_claim_status=old.extended_resource_claim_status,
        start_time=old.start_time or (rfc3339(view.start_time) if view.start_time is not None else None),
        qos_class=qos_class(pod),
        message=old.message if old.phase in TERMINAL else "",
        reason=old.reason if old.phase in TERMINAL else "",
    )
    rejected = view.failed is not None and not view.containers
    if not rejected:
        _containers(pod, view, status)
        _whole(pod, view, status)
        _addresses(old, view, status)
    if view.failed is not None:
        status.phase = "Failed"
        status.reason, status.message = view.failed
    elif old.phase in TERMINAL:
        status.phase = old.phase
    else:
        status.phase = _phase(pod, view, status)
    status.conditions = _conditions(pod, view, status, rejected=rejected, now=rfc3339(now))
    return status


def _containers(pod: core_v1.Pod, view: PodView, status: core_v1.PodStatus) -> None:
    nothing = Observed()
    for container in pod.spec.init_containers:
        observed = view.containers.get(container.name, nothing)
        status.init_container_statuses.append(
            container_status(pod, container, observed, view.messages, init=True, over=view.over)
        )
    for container in pod.spec.containers:
        observed = view.containers.get(container.name, nothing)
        status.container_statuses.append(
            container_status(pod, container, observed, view.messages, init=False, over=view.over)
        )
    for entry in [*status.init_container_statuses, *status.container_statuses]:
        _sizes(entry, view)
    for ephemeral in pod.spec.ephemeral_containers:
        observed = view.containers.get(ephemeral.name, nothing)
        container = core_v1.Container(name=ephemeral.name, image=ephemeral.image, restart_policy="Never")
        entry = container_status(pod, container, observed, view.messages, init=False, over=view.over)
        entry.ready = False
        status.ephemeral_container_statuses.append(entry)


def _sizes(entry: core_v1.ContainerStatus, view: PodView) -> None:
    """What it is allocated and what it runs with, where that is not simply what the spec says."""
    if entry.resources is None:
        return
    allocated, actuated = view.allocated.get(entry.name), view.actuated.get(entry.name)
    if allocated is not None:
        entry.allocated_resources = dict(allocated.requests)
    if actuated is not None:
        entry.resources = core_v1.ResourceRequirements(limits=dict(actuated.limits), requests=dict(actuated.requests))


def _whole(pod: core_v1.Pod, view: PodView, status: core_v1.PodStatus) -> None:
    """The Pod's own size, where its spec has one. Source: KEP-5419."""
    actuated = view.actuated.get(WHOLE)
    if pod.spec.resources is None or actuated is None:
        return
    status.allocated_resources = dict(view.allocated.get(WHOLE, actuated).requests)
    status.resources = core_v1.ResourceRequirements(limits=dict(actuated.limits), requests=dict(actuated.requests))


def _addresses(old: core_v1.PodStatus, view: PodView, status: core_v1.PodStatus) -> None:
    if view.host_ips:
        status.host_ip = view.host_ips[0]
        status.host_ips = [core_v1.HostIP(ip=address) for address in view.host_ips]
    if view.pod_ips:
        status.pod_ip = view.pod_ips[0]
        status.pod_ips = [core_v1.PodIP(ip=address) for address in view.pod_ips]
    elif view.over:
        # the sandbox has gone, but people want to know where the Pod was
        status.pod_ip, status.pod_ips = old.pod_ip, old.pod_ips


def _phase(pod: core_v1.Pod, view: PodView, status: core_v1.PodStatus) -> str:
    """Source: `getPhase`."""
    pending_init, failed_init = _init_progress(pod, status)
    running = waiting = stopped = succeeded = 0
    for entry in status.container_statuses:
        if entry.state.running is not None:
            running += 1
        elif entry.state.terminated is not None:
            stopped += 1
            succeeded += entry.state.terminated.exit_code == 0
        elif entry.last_state.terminated is not None:
            stopped += 1
        else:
            waiting += 1
    if failed_init and pod.spec.restart_policy == "Never":
        return "Failed"
    if view.over and stopped and not running and not waiting:
        return "Succeeded" if stopped == succeeded else "Failed"
    if view.over and not running and pod.metadata.deletion_timestamp is None and failed_init:
        return "Failed"
    if pending_init or waiting:
        return "Pending"
    if running:
        return "Running"
    if not stopped:
        return "Pending"
    if not view.over and any(observed.renewed for observed in view.containers.values()):
        return "Running"
    if not view.over and any(map(partial(_comes_again, pod), pod.spec.containers, status.container_statuses)):
        return "Running"
    if stopped == succeeded and pod.spec.restart_policy != "Always":
        return "Succeeded"
    if pod.spec.restart_policy == "Never":
        return "Failed"
    return "Running"


def _comes_again(pod: core_v1.Pod, container: core_v1.Container, entry: core_v1.ContainerStatus) -> bool:
    ended = entry.state.terminated or entry.last_state.terminated
    return ended is not None and restarts_after(pod.spec, container, ended.exit_code, init=False)


def _init_progress(pod: core_v1.Pod, status: core_v1.PodStatus) -> tuple[int, int]:
    """How many init containers are not done, and how many have failed."""
    if any(e.state.running or e.last_state.terminated or e.state.terminated for e in status.container_statuses):
        # a regular container has been started: initialization lies behind
        return 0, 0
    pending = failed = 0
    for container, entry in zip(pod.spec.init_containers, status.init_container_statuses, strict=True):
        if is_sidecar(container):
            pending += not entry.started
        elif entry.state.terminated is None:
            pending += 1
        elif entry.state.terminated.exit_code != 0:
            again = restarts_after(pod.spec, container, entry.state.terminated.exit_code, init=True)
            pending += again
            failed += not again
    return pending, failed


def _conditions(
    pod: core_v1.Pod, view: PodView, status: core_v1.PodStatus, *, rejected: bool, now: str
) -> list[core_v1.PodCondition]:
    old = {condition.type: condition for condition in pod.status.conditions}
    out = [c for c in pod.status.conditions if c.type not in OWN_CONDITIONS and c.type != POD_SCHEDULED]
    if not rejected:
        containers_ready = _containers_ready(pod, status)
        own = [
            (READY_TO_START, view.sandbox_ready, "", ""),
            (INITIALIZED, *_initialized(pod, status)),
            (READY, *_ready(pod, containers_ready, out)),
            (CONTAINERS_READY, *containers_ready),
        ]
        if may_restart_all(pod.spec):
            own.append((ALL_RESTARTING, *_all_restarting(view, status)))
        out += [_condition(pod, old.get(kind), kind, holds, why, text, now) for kind, holds, why, text in own]
    out += [_condition(pod, old.get(kind), kind, True, why, text, now) for kind, why, text in view.resize]
    if view.disrupted and view.failed is not None:
        out = [c for c in out if c.type != DISRUPTED]
        out.append(_condition(pod, old.get(DISRUPTED), DISRUPTED, True, BY_KUBELET, view.disrupted, now))
    # it is on this node, so it was scheduled, whoever forgot to say so
    out.append(_condition(pod, old.get(POD_SCHEDULED), POD_SCHEDULED, True, "", "", now))
    return out


def _all_restarting(view: PodView, status: core_v1.PodStatus) -> tuple[bool, str, str]:
    """Source: `GenerateAllContainersRestartingCondition`."""
    if status.phase in TERMINAL:
        return False, "PodCompleted" if status.phase == "Succeeded" else "PodFailed", ""
    if view.restarting:
        return True, "RestartAllContainersStarted", "container exited with restart policy rule"
    return False, "", ""


def _condition(
    pod: core_v1.Pod, old: core_v1.PodCondition | None, kind: str, holds: bool, reason: str, message: str, now: str
) -> core_v1.PodCondition:
    text = "True" if holds else "False"
    unchanged = old is not None and old.status == text
    return core_v1.PodCondition(
        type=kind,
        observed_generation=pod.metadata.generation,
        status=text,
        last_transition_time=old.last_transition_time if unchanged and old is not None else now,
        reason=reason,
        message=message,
    )


def _containers_ready(pod: core_v1.Pod, status: core_v1.PodStatus) -> tuple[bool, str, str]:
    if status.phase == "Failed":
        return False, "PodFailed", ""
    if status.phase == "Succeeded":
        return False, "PodCompleted", ""
    entries = {e.name: e for e in [*status.init_container_statuses, *status.container_statuses]}
    names = [c.name for c in pod.spec.init_containers if is_sidecar(c)] + [c.name for c in pod.spec.containers]
    unready = [name for name in names if not entries[name].ready]
    if unready:
        return False, "ContainersNotReady", f"containers with unready status: [{' '.join(unready)}]"
    return True, "", ""


def _ready(
    pod: core_v1.Pod, containers_ready: tuple[bool, str, str], conditions: list[core_v1.PodCondition]
) -> tuple[bool, str, str]:
    if not containers_ready[0]:
        return containers_ready
    given = {condition.type: condition.status for condition in conditions}
    texts = []
    for gate in pod.spec.readiness_gates:
        kind = gate.condition_type
        if kind not in given:
            texts.append(f'corresponding condition of pod readiness gate "{kind}" does not exist.')
        elif given[kind] != "True":
            texts.append(f'the status of pod readiness gate "{kind}" is not "True", but {given[kind]}')
    if texts:
        return False, "ReadinessGatesNotReady", ", ".join(texts)
    return True, "", ""


def _initialized(pod: core_v1.Pod, status: core_v1.PodStatus) -> tuple[bool, str, str]:
    if status.phase == "Succeeded":
        return True, "PodCompleted", ""
    if any(e.state.running or e.state.terminated or e.last_state.terminated for e in status.container_statuses):
        return True, "", ""
    incomplete = []
    for container, entry in zip(pod.spec.init_containers, status.init_container_statuses, strict=True):
        done = entry.started if is_sidecar(container) else entry.ready
        if not done:
            incomplete.append(container.name)
    if incomplete:
        return False, "ContainersNotInitialized", f"containers with incomplete status: [{' '.join(incomplete)}]"
    return True, "", ""
