"""Which container's log a request means, or why there is none. Pure.

Source: kubelet `kubelet_pods.go` (validateContainerLogStatus); the messages are upstream's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from carob.api.types import core_v1


class NoLog(Exception):
    """There is no log to show; the message goes to the user."""


def log_container_id(pod_name: str, status: core_v1.PodStatus, name: str, *, previous: bool) -> str:
    """`carob://<id>` of the container whose log is meant. Raises: NoLog."""
    entries = [*status.init_container_statuses, *status.container_statuses, *status.ephemeral_container_statuses]
    entry = next((e for e in entries if e.name == name), None)
    if entry is None:
        raise NoLog(f'container "{name}" in pod "{pod_name}" is not available')
    where = f'container "{name}" in pod "{pod_name}"'
    last = entry.last_state.terminated
    if previous:
        if last is None or not last.container_id:
            raise NoLog(f"previous terminated {where} not found")
        return last.container_id
    if entry.state.running is not None:
        return entry.container_id
    if entry.state.terminated is not None:
        if entry.state.terminated.container_id:
            return entry.state.terminated.container_id
        if last is not None and last.container_id:
            return last.container_id
        raise NoLog(f"{where} is terminated")
    if last is not None:
        if last.container_id:
            return last.container_id
        raise NoLog(f"{where} is terminated")
    if entry.state.waiting is not None:
        reason = entry.state.waiting.reason
        text = {
            "ErrImagePull": "image can't be pulled",
            "ImagePullBackOff": "trying and failing to pull image",
        }.get(reason, reason)
        raise NoLog(f"{where} is waiting to start: {text}")
    raise NoLog(f"{where} is waiting to start - no logs yet")
