"""From what the runtime says of a container to its entry in the Pod's status. Pure.

Source: kubelet `kubelet_pods.go` (convertToAPIContainerStatuses).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from carob.api.types import core_v1
from carob.base.clock import rfc3339
from carob.kubelet.decide import is_sidecar, should_restart
from carob.kubelet.failures import CONTAINER_CREATING, POD_INITIALIZING
from carob.runtime.types import ContainerState

if TYPE_CHECKING:
    from collections.abc import Mapping

    from carob.runtime.types import ContainerStatus, LinuxUser

UNKNOWN_EXIT_CODE = 137


class Observed(Struct, frozen=True):
    """One container as it is: its newest attempt and the one before, and what the agent knows beyond the runtime.

    `waiting` is why its next start has not happened (reason, message); `messages` are termination messages by id.
    """

    latest: ContainerStatus | None = None
    previous: ContainerStatus | None = None
    waiting: tuple[str, str] | None = None
    ready: bool = False
    started: bool = False
    hidden: bool = False
    """Its postStart hook is at work: it does not count as running yet."""
    renewed: bool = False
    """It has ended for another image, and the next one begins whatever the restart policy says."""


def container_status(
    pod: core_v1.Pod,
    container: core_v1.Container,
    observed: Observed,
    messages: Mapping[str, str],
    *,
    init: bool,
    over: bool,
) -> core_v1.ContainerStatus:
    """The entry of one container; `over` says that nothing of this Pod is started again."""
    latest = observed.latest
    sidecar = init and is_sidecar(container)
    status = core_v1.ContainerStatus(name=container.name, image=container.image, started=False)
    status.state = _default_state(pod, init=init)
    if latest is not None:
        status.container_id = container_id(latest)
        status.restart_count = latest.attempt
        status.image = latest.image or container.image
        status.image_id = latest.image_id
        status.state = _state(latest, messages, pod, init=init, hidden=observed.hidden)
        if observed.previous is not None:
            status.last_state = _state(observed.previous, messages, pod, init=init, hidden=False)
        if status.state.running is not None:
            status.started = observed.started
            status.ready = observed.ready and observed.started if (sidecar or not init) else False
        elif status.state.terminated is not None and init and not sidecar:
            status.ready = status.state.terminated.exit_code == 0
            status.started = False
    if observed.renewed and status.state.terminated is not None and not over:
        # where nothing is restarted, nobody may be seen to come back from its end
        status.last_state, status.state = status.state, _default_state(pod, init=init)
    if observed.waiting is not None and not over:
        _wait(pod, container, status, observed, init=init)
    status.volume_mounts = [_mount_status(mount) for mount in container.volume_mounts]
    if latest is not None:
        if latest.user is not None:
            status.user = _user(latest.user)
        status.allocated_resources = dict(container.resources.requests)
        status.resources = core_v1.ResourceRequirements(
            limits=dict(container.resources.limits), requests=dict(container.resources.requests)
        )
    return status


def container_id(status: ContainerStatus) -> str:
    """`carob://<id>`, or with the name of another runtime."""
    return f"{status.runtime}://{status.id}"


def _default_state(pod: core_v1.Pod, *, init: bool) -> core_v1.ContainerState:
    reason = POD_INITIALIZING if pod.spec.init_containers and not init else CONTAINER_CREATING
    if init:
        reason = POD_INITIALIZING
    return core_v1.ContainerState(waiting=core_v1.ContainerStateWaiting(reason=reason))


def _state(
    status: ContainerStatus, messages: Mapping[str, str], pod: core_v1.Pod, *, init: bool, hidden: bool
) -> core_v1.ContainerState:
    if status.state is ContainerState.RUNNING and not hidden:
        started = core_v1.ContainerStateRunning(started_at=rfc3339(status.started_at))
        return core_v1.ContainerState(running=started)
    if status.state in (ContainerState.RUNNING, ContainerState.CREATED):
        return _default_state(pod, init=init)
    unknown = status.state is ContainerState.UNKNOWN
    terminated = core_v1.ContainerStateTerminated(
        exit_code=UNKNOWN_EXIT_CODE if unknown else status.exit_code,
        reason="ContainerStatusUnknown" if unknown else status.reason or _reason(status),
        message=messages.get(status.id, status.message),
        # one that could not be started began at second 0, as runtimes report it to upstream's kubelet
        started_at=None if unknown and not status.started_at else rfc3339(status.started_at),
        finished_at=rfc3339(status.finished_at) if status.finished_at else None,
        container_id=container_id(status),
    )
    return core_v1.ContainerState(terminated=terminated)


def _reason(status: ContainerStatus) -> str:
    return "Completed" if status.exit_code == 0 else "Error"


def _wait(
    pod: core_v1.Pod,
    container: core_v1.Container,
    status: core_v1.ContainerStatus,
    observed: Observed,
    *,
    init: bool,
) -> None:
    """A start that failed or has to wait shows as waiting; how the last run ended moves to lastState."""
    assert observed.waiting is not None
    if status.state.running is not None:
        return
    if observed.latest is not None and status.state.terminated is not None:
        if not should_restart(pod, container, observed.latest, init=init):
            return
        status.last_state = status.state
    reason, message = observed.waiting
    status.state = core_v1.ContainerState(waiting=core_v1.ContainerStateWaiting(reason=reason, message=message))
    status.ready = False


def _user(user: LinuxUser) -> core_v1.ContainerUser:
    linux = core_v1.LinuxContainerUser(uid=user.uid, gid=user.gid, supplemental_groups=list(user.groups))
    return core_v1.ContainerUser(linux=linux)


def _mount_status(mount: core_v1.VolumeMount) -> core_v1.VolumeMountStatus:
    out = core_v1.VolumeMountStatus(name=mount.name, mount_path=mount.mount_path, read_only=mount.read_only)
    if mount.read_only:
        # every kernel that carob runs on can: what is only wished for holds
        asked = mount.recursive_read_only in ("Enabled", "IfPossible")
        out.recursive_read_only = "Enabled" if asked else "Disabled"
    return out
