"""Events about a Pod and its containers, with the field path by which people see which container it was."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from carob.api.types import core_v1
    from carob.client.events import EventRecorder


class PodEvents:
    """Tells events of one Pod; never waits."""

    def __init__(self, recorder: EventRecorder, pod: core_v1.Pod) -> None:
        self._recorder = recorder
        self._pod = pod

    def normal(self, reason: str, message: str, container: str = "") -> None:
        """Something happened that is as it should be."""
        self._tell("Normal", reason, message, container)

    def warning(self, reason: str, message: str, container: str = "") -> None:
        """Something did not work."""
        self._tell("Warning", reason, message, container)

    def _tell(self, kind: str, reason: str, message: str, container: str) -> None:
        path = field_path(self._pod, container) if container else ""
        self._recorder.event(self._pod, kind, reason, message, field_path=path)


def field_path(pod: core_v1.Pod, container: str) -> str:
    """`spec.containers{name}`. Source: kubelet `container/ref.go`."""
    if any(c.name == container for c in pod.spec.init_containers):
        return f"spec.initContainers{{{container}}}"
    if any(c.name == container for c in pod.spec.ephemeral_containers):
        return f"spec.ephemeralContainers{{{container}}}"
    return f"spec.containers{{{container}}}"
