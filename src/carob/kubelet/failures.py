"""What can go wrong on the way of a Pod: a reason that upstream users know, and a message. Pure.

`StepFailure` is retried with back-off and shows in the container's waiting state or in a FailedMount event;
`Rejected` ends the Pod.
"""

from __future__ import annotations


class StepFailure(Exception):
    """A step of starting a Pod or a container did not succeed; it is tried again.

    `reason` is the waiting reason of the container that it concerns (`CreateContainerConfigError`, `ErrImagePull`).
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.retry_seconds: float | None = None
        """When to try again, where what failed knows it."""


class VolumeFailure(StepFailure):
    """A volume could not be set up; the Pod's containers wait for it."""

    def __init__(self, volume: str, message: str) -> None:
        super().__init__("FailedMount", message)
        self.volume = volume
        self.others: list[VolumeFailure] = []
        """Of the same Pod, at the same time."""

    @property
    def event(self) -> str:
        """The words of the event."""
        return f'MountVolume.SetUp failed for volume "{self.volume}" : {self.message}'


class ClaimFailure(VolumeFailure):
    """What a volume refers to is not there, or not fit for it: nothing is mounted yet.

    Source: kubelet `volumemanager/volume_manager.go` (WaitForAttachAndMount).
    """

    @property
    def event(self) -> str:
        """The words of the event."""
        name = self.volume
        volumes = f"unmounted volumes=[{name}], unattached volumes=[], failed to process volumes=[{name}]"
        return f"Unable to attach or mount volumes: {volumes}: {self.message}"


class Rejected(Exception):
    """The node cannot run this Pod: its phase becomes Failed."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


# waiting reasons; Source: kubelet `images/types.go`, `kuberuntime_container.go`, `container/sync_result.go`
CONTAINER_CREATING = "ContainerCreating"
POD_INITIALIZING = "PodInitializing"
CRASH_LOOP_BACK_OFF = "CrashLoopBackOff"
CREATE_CONTAINER_CONFIG_ERROR = "CreateContainerConfigError"
CREATE_CONTAINER_ERROR = "CreateContainerError"
RUN_CONTAINER_ERROR = "RunContainerError"
POST_START_HOOK_ERROR = "PostStartHookError"
IMAGE_PULL_BACK_OFF = "ImagePullBackOff"
ERR_IMAGE_PULL = "ErrImagePull"
ERR_IMAGE_NEVER_PULL = "ErrImageNeverPull"
INVALID_IMAGE_NAME = "InvalidImageName"
IMAGE_INSPECT_ERROR = "ImageInspectError"

# what can go wrong once the image is there
START_REASONS = (CREATE_CONTAINER_CONFIG_ERROR, CREATE_CONTAINER_ERROR, RUN_CONTAINER_ERROR, POST_START_HOOK_ERROR)
