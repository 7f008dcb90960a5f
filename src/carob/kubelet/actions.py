"""What the decision sees and what it says: the snapshot of a Pod, the views of its containers, the actions. Plain data."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from msgspec import Struct, field

from carob.runtime.types import ContainerState

if TYPE_CHECKING:
    from collections.abc import Mapping

    from carob.api.types import core_v1
    from carob.runtime.types import ContainerStatus

# a grace period that is shorter by less than this is the same one, seen a moment later
NOTICEABLE_SECONDS = 0.2


class Work(StrEnum):
    """How far something is that must be done once before a start."""

    NONE = "none"
    BUSY = "busy"
    READY = "ready"


class Kill(Struct, frozen=True):
    """Why a running container must end although its Pod goes on."""

    reason: str
    message: str
    grace_seconds: float | None = None


class ContainerView(Struct, frozen=True):
    """One container of the spec as the agent sees it now.

    `latest` is the newest attempt; `wait_seconds` is how long its next start must wait (crash or failure back-off).
    """

    latest: ContainerStatus | None = None
    image: Work = Work.NONE
    starting: bool = False
    stop_grace_seconds: float | None = None
    """Not None: it is being stopped, and so much of its grace period is left."""
    wait_seconds: float = 0.0
    kill: Kill | None = None
    first_attempt: int = 0
    """The number that its first container gets: more than 0 when earlier ones were lost with the node."""
    started: bool = False
    """Its startup probe, if any, has succeeded and its postStart hook is done."""

    @property
    def running(self) -> bool:
        return self.latest is not None and self.latest.state in (ContainerState.RUNNING, ContainerState.CREATED)

    @property
    def exited(self) -> bool:
        return self.latest is not None and not self.running


class Snapshot(Struct, frozen=True):
    """One Pod, wanted and real.

    `sandbox_id` is the ready sandbox, empty if there is none; `sandbox_attempts` counts those that ever were.
    `grace_seconds` is the time its containers still have once `terminating`.
    """

    pod: core_v1.Pod
    terminating: bool = False
    grace_seconds: float = 30.0
    sandbox_id: str = ""
    sandbox_attempts: int = 0
    sandbox: Work = Work.NONE
    sandbox_wait_seconds: float = 0.0
    volumes: Work = Work.NONE
    volumes_wait_seconds: float = 0.0
    containers: Mapping[str, ContainerView] = field(default_factory=dict)
    released: Work = Work.NONE
    """Whether the node has taken back sandbox and volumes after the end."""
    restarting: bool = False
    """All containers are being cleared away, to begin anew."""
    orphans: tuple[str, ...] = ()
    """Ids of running containers that belong to no present sandbox."""

    def view(self, name: str) -> ContainerView:
        return self.containers.get(name, _UNSEEN)


_UNSEEN = ContainerView()


class StartSandbox(Struct, frozen=True):
    attempt: int


class PrepareVolumes(Struct, frozen=True):
    pass


class EnsureImage(Struct, frozen=True):
    name: str


class StartContainer(Struct, frozen=True):
    name: str
    attempt: int


class StopContainer(Struct, frozen=True):
    """`name` may be empty for a container that the spec does not have."""

    name: str
    container_id: str
    grace_seconds: float | None
    """None: the Pod's own grace period."""
    reason: str = ""
    message: str = ""


class Release(Struct, frozen=True):
    """Nothing runs any more: take back sandbox and volumes."""


class RestartAll(Struct, frozen=True):
    """Every container has ended because of the one that is named: clear them away, so that all begin anew."""

    name: str


class BackOff(Struct, frozen=True):
    """A restart has to wait: tell people so."""

    name: str


Action = StartSandbox | PrepareVolumes | EnsureImage | StartContainer | StopContainer | Release | RestartAll | BackOff


class Decision(Struct):
    actions: list[Action] = field(default_factory=list)
    wake_in_seconds: float | None = None
    finished: bool = False
    """Every container has ended for good: the phase is terminal and nothing will be started again."""

    def wake_in(self, seconds: float) -> None:
        if self.wake_in_seconds is None or seconds < self.wake_in_seconds:
            self.wake_in_seconds = seconds
