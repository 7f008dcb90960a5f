"""What to do next for one Pod: from what is wanted and what is there to a list of actions. Pure, level-triggered.

Called after every change with a complete snapshot; the same snapshot gives the same actions. An action that is already
under way is part of the snapshot and is not asked for again. Nothing here waits: a wait is `Decision.wake_in_seconds`.

Source: kubelet `kuberuntime_manager.go` (computePodActions), KEP-753 (sidecars), KEP-5307 (container restart rules; `restart_all`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from carob.api.restart_rules import restarts_after
from carob.kubelet.actions import (
    NOTICEABLE_SECONDS,
    BackOff,
    Decision,
    EnsureImage,
    PrepareVolumes,
    Release,
    StartContainer,
    StartSandbox,
    StopContainer,
    Work,
)
from carob.kubelet.restart_all import cause, restart_all

if TYPE_CHECKING:
    from collections.abc import Iterator

    from carob.api.types import core_v1
    from carob.kubelet.actions import ContainerView, Snapshot
    from carob.runtime.types import ContainerStatus


def decide(snapshot: Snapshot) -> Decision:
    """The actions that are due now."""
    decision = Decision()
    if snapshot.terminating or finished(snapshot):
        decision.finished = True
        _terminate(snapshot, decision)
    elif snapshot.sandbox_id:
        _prepare_volumes(snapshot, decision)
        _containers(snapshot, decision)
    else:
        _sandbox(snapshot, decision)
    return decision


def is_sidecar(container: core_v1.Container) -> bool:
    """An init container that goes on running beside the others."""
    return container.restart_policy == "Always"


def should_restart(pod: core_v1.Pod, container: core_v1.Container, status: ContainerStatus, *, init: bool) -> bool:
    """Whether a container that has ended is started again."""
    return restarts_after(pod.spec, container, status.exit_code, init=init)


def finished(snapshot: Snapshot) -> bool:
    """Whether every regular container, or a needed init container, has ended for good."""
    pod = snapshot.pod
    for container in pod.spec.init_containers:
        view = snapshot.view(container.name)
        if (
            not is_sidecar(container)
            and view.exited
            and view.latest is not None
            and view.latest.exit_code != 0
            and not should_restart(pod, container, view.latest, init=True)
            and not initialized(snapshot)
        ):
            return True
    for container in pod.spec.containers:
        view = snapshot.view(container.name)
        if view.latest is None or not view.exited or view.starting:
            return False
        if should_restart(pod, container, view.latest, init=False):
            return False
    return bool(pod.spec.containers)


def initialized(snapshot: Snapshot) -> bool:
    """Whether a regular container has been started in the present sandbox: init containers then stay done."""
    for container in snapshot.pod.spec.containers:
        latest = snapshot.view(container.name).latest
        if latest is not None and (not snapshot.sandbox_id or latest.sandbox_id == snapshot.sandbox_id):
            return True
    return False


def _terminate(snapshot: Snapshot, decision: Decision) -> None:
    """End what runs: regular containers at once, then sidecars one by one in reverse order, then give all back."""
    pod = snapshot.pod
    sidecars = [c.name for c in pod.spec.init_containers if is_sidecar(c)]
    known = dict(snapshot.containers)
    alive = False
    for name, view in known.items():
        if name in sidecars:
            continue
        if view.starting:
            alive = True
        if view.running:
            alive = True
            _stop(snapshot, decision, name, view)
    for container_id in snapshot.orphans:
        alive = True
        decision.actions.append(StopContainer("", container_id, snapshot.grace_seconds))
    for name in reversed(sidecars):
        view = snapshot.view(name)
        if view.starting or view.running:
            if not alive and view.running:
                _stop(snapshot, decision, name, view)
            alive = True
    if alive or snapshot.restarting or Work.BUSY in (snapshot.sandbox, snapshot.volumes):
        return
    if snapshot.released is Work.NONE:
        decision.actions.append(Release())


def _stop(snapshot: Snapshot, decision: Decision, name: str, view: ContainerView) -> None:
    assert view.latest is not None
    if view.stop_grace_seconds is not None and view.stop_grace_seconds <= snapshot.grace_seconds + NOTICEABLE_SECONDS:
        return
    decision.actions.append(StopContainer(name, view.latest.id, snapshot.grace_seconds))


def _sandbox(snapshot: Snapshot, decision: Decision) -> None:
    """No ready sandbox: end what is left of the last one, then make a new one if something shall run in it."""
    leftovers = False
    for name, view in snapshot.containers.items():
        if view.running and view.latest is not None:
            leftovers = True
            if view.stop_grace_seconds is None:
                decision.actions.append(StopContainer(name, view.latest.id, None))
    if leftovers:
        return
    _prepare_volumes(snapshot, decision)
    for container in _first_to_start(snapshot):
        _ensure_image(snapshot.view(container.name), container.name, decision)
    if snapshot.sandbox is not Work.NONE:
        return
    if snapshot.sandbox_wait_seconds > 0:
        decision.wake_in(snapshot.sandbox_wait_seconds)
        return
    decision.actions.append(StartSandbox(snapshot.sandbox_attempts))


def _prepare_volumes(snapshot: Snapshot, decision: Decision) -> None:
    if snapshot.volumes is not Work.NONE:
        return
    if snapshot.volumes_wait_seconds > 0:
        decision.wake_in(snapshot.volumes_wait_seconds)
        return
    decision.actions.append(PrepareVolumes())


def _first_to_start(snapshot: Snapshot) -> Iterator[core_v1.Container]:
    """The containers that start first in a new sandbox: their images can be fetched while it is being made."""
    pod = snapshot.pod
    if pod.spec.init_containers:
        yield pod.spec.init_containers[0]
        return
    for container in pod.spec.containers:
        latest = snapshot.view(container.name).latest
        if latest is None or should_restart(pod, container, latest, init=False):
            yield container


def _containers(snapshot: Snapshot, decision: Decision) -> None:
    if snapshot.restarting:
        return
    name = cause(snapshot)
    if name:
        restart_all(snapshot, name, decision)
        return
    if _init_containers(snapshot, decision):
        for container in snapshot.pod.spec.containers:
            _regular(snapshot, container, decision)
    for ephemeral in snapshot.pod.spec.ephemeral_containers:
        view = snapshot.view(ephemeral.name)
        if view.latest is None:
            _start(snapshot, view, ephemeral.name, decision)


def _init_containers(snapshot: Snapshot, decision: Decision) -> bool:
    """Bring the init containers on; True when the regular ones may run."""
    pod = snapshot.pod
    past = initialized(snapshot)
    for container in pod.spec.init_containers:
        view = snapshot.view(container.name)
        latest = view.latest
        if latest is not None and latest.sandbox_id != snapshot.sandbox_id and not view.running:
            # it ran in an earlier sandbox: what it prepared may be gone
            latest = None
        if is_sidecar(container):
            if latest is None or not view.running:
                _start(snapshot, view, container.name, decision)
            elif view.kill is not None:
                _kill(view, container.name, decision)
            if not past and not (view.running and view.started):
                return False
            continue
        if past:
            continue
        if latest is None:
            _start(snapshot, view, container.name, decision)
            return False
        if view.running:
            return False
        if latest.exit_code != 0:
            _start(snapshot, view, container.name, decision)
            return False
    return True


def _regular(snapshot: Snapshot, container: core_v1.Container, decision: Decision) -> None:
    view = snapshot.view(container.name)
    if view.running:
        if view.kill is not None:
            _kill(view, container.name, decision)
        return
    if view.latest is not None and not should_restart(snapshot.pod, container, view.latest, init=False):
        return
    _start(snapshot, view, container.name, decision)


def _kill(view: ContainerView, name: str, decision: Decision) -> None:
    if view.stop_grace_seconds is None and view.latest is not None and view.kill is not None:
        kill = view.kill
        decision.actions.append(StopContainer(name, view.latest.id, kill.grace_seconds, kill.reason, kill.message))


def _start(snapshot: Snapshot, view: ContainerView, name: str, decision: Decision) -> None:
    """Start it as soon as its image and the Pod's volumes are there, unless it has to wait."""
    if view.starting or view.stop_grace_seconds is not None:
        return
    if view.wait_seconds > 0:
        if view.exited:
            decision.actions.append(BackOff(name))
        decision.wake_in(view.wait_seconds)
        return
    _ensure_image(view, name, decision)
    if view.image is Work.READY and snapshot.volumes is Work.READY:
        attempt = view.latest.attempt + 1 if view.latest is not None else view.first_attempt
        decision.actions.append(StartContainer(name, attempt))


def _ensure_image(view: ContainerView, name: str, decision: Decision) -> None:
    if view.image is not Work.NONE or view.starting:
        return
    if view.wait_seconds > 0:
        decision.wake_in(view.wait_seconds)
        return
    decision.actions.append(EnsureImage(name))
