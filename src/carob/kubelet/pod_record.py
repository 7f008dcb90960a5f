"""What the agent remembers of one Pod between two looks at it. Plain state; everything in it can be found again.

After a restart of the agent the sandboxes and containers come from the runtime, the files from the disk, the rest
starts empty: nothing here may be needed to be right, only to be fast or to wait long enough.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct, field

from carob.kubelet import labels
from carob.kubelet.actions import ContainerView, Kill, Snapshot, Work
from carob.kubelet.backoff import Backoff
from carob.kubelet.failures import CREATE_CONTAINER_CONFIG_ERROR
from carob.kubelet.resize import with_sizes
from carob.runtime.types import ContainerState, SandboxState

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Iterable, Mapping

    from carob.api.types import core_v1
    from carob.kubelet.resize import Refusal, Sizes
    from carob.kubelet.volumes.manager import Prepared
    from carob.runtime.types import ContainerStatus, Image, Resources, SandboxStatus, UserNamespace

REDEFINED = "Redefined"
ENDED = (ContainerState.EXITED, ContainerState.UNKNOWN)
VOLUME_RETRY_FIRST_SECONDS = 0.5
VOLUME_RETRY_LONGEST_SECONDS = 122.0


class Failure(Struct):
    """Why the last try did not work. `retry_at` is monotonic."""

    reason: str
    message: str
    retry_at: float


class PodRecord(Struct):
    """One Pod of this node, wanted or left over."""

    uid: str
    pod: core_v1.Pod
    """As the API has it, or had it; made up from labels for a Pod that only the runtime knows."""
    removed: bool = False
    """The API no longer has it."""
    admitted: bool = False
    failed: tuple[str, str] | None = None
    """The node refused it or ended it: reason and message."""
    disrupted: str = ""
    """The node ended it for the node's own sake: the words of the condition that says so."""
    users: UserNamespace | None = None
    """The ids that it was given; None until it needs some."""
    start_time: float | None = None
    ends_at: float | None = None
    """Monotonic: when the grace period of a Pod that is being ended is over."""
    sandboxes: dict[str, SandboxStatus] = field(default_factory=dict)
    containers: dict[str, ContainerStatus] = field(default_factory=dict)
    dirty: set[str] = field(default_factory=set)
    """Ids of containers and sandboxes that must be asked for again."""
    images: dict[str, Image] = field(default_factory=dict)
    early_images: list[core_v1.Container] = field(default_factory=list)
    """Whose images were found before the volumes stood: that has not been told yet."""
    unseen_images: set[str] = field(default_factory=set)
    """Names of containers whose images can only be asked for when the volumes stand."""
    prepared: Prepared | None = None
    stale_volumes: bool = False
    operations: dict[str, asyncio.Task[None]] = field(default_factory=dict)
    failures: dict[str, Failure] = field(default_factory=dict)
    """By container name; `sandbox` failures are under the empty name."""
    volume_failure: Failure | None = None
    volume_backoff: Backoff = field(
        default_factory=lambda: Backoff(VOLUME_RETRY_FIRST_SECONDS, VOLUME_RETRY_LONGEST_SECONDS)
    )
    crashes: dict[str, Backoff] = field(default_factory=dict)
    stop_deadlines: dict[str, float] = field(default_factory=dict)
    """By container id: when (monotonic) the grace period of one that is being stopped is over."""
    hooked: set[str] = field(default_factory=set)
    """Ids of containers whose postStart hook is still at work, or has failed."""
    hook_kills: dict[str, Kill] = field(default_factory=dict)
    """Containers that must end because their postStart hook has failed, by id."""
    messages: dict[str, str] = field(default_factory=dict)
    backing_off: set[str] = field(default_factory=set)
    """Ids of exited containers whose back-off was told."""
    allocated: Sizes | None = None
    """The sizes that the node has given its containers; None until it was admitted."""
    actuated: Sizes = field(default_factory=dict)
    """The sizes that they run with."""
    pod_size: Resources | None = None
    """What the Pod's cgroup was last set to; None: as its sandbox was made."""
    resize_refusal: Refusal | None = None
    resizing: int = 0
    """The Pod's generation whose new sizes are on their way to its containers; 0 for none."""
    resize_error: str = ""
    resize_retry_at: float = 0.0
    """Monotonic."""
    resize_kills: dict[str, Kill] = field(default_factory=dict)
    """Containers that are restarted for their new size, by id."""
    superseded: set[str] = field(default_factory=set)
    """Ids of containers that have ended before the whole Pod began anew."""
    redefined: set[str] = field(default_factory=set)
    """Ids of containers that are ended because their spec asks for another image: they begin anew in any case."""
    released: Work = Work.NONE

    @property
    def deleting(self) -> bool:
        """Somebody wants it gone."""
        return self.removed or self.pod.metadata.deletion_timestamp is not None

    @property
    def terminating(self) -> bool:
        """No container of it may run any more."""
        return self.deleting or self.failed is not None or self.pod.status.phase in ("Succeeded", "Failed")

    @property
    def sized_pod(self) -> core_v1.Pod:
        """The Pod with the sizes that it is allocated: what is started and counted."""
        return self.pod if self.allocated is None else with_sizes(self.pod, self.allocated)

    @property
    def ready_sandbox(self) -> SandboxStatus | None:
        """The newest sandbox, if it stands."""
        newest = self.newest_sandbox
        return newest if newest is not None and newest.state is SandboxState.READY else None

    @property
    def newest_sandbox(self) -> SandboxStatus | None:
        return max(self.sandboxes.values(), key=lambda s: (s.config.attempt, s.created_at), default=None)

    def attempts_of(self, name: str) -> list[ContainerStatus]:
        """The containers that were made of this name, newest first."""
        mine = [status for status in self.containers.values() if status.name == name]
        return sorted(mine, key=lambda s: (s.attempt, s.created_at), reverse=True)

    def begins_anew(self, status: ContainerStatus) -> bool:
        """Whether this one has ended and does not count: the next one begins without rules and back-off."""
        return status.id in self.superseded or (status.id in self.redefined and status.state in ENDED)

    def take_images(self, before: core_v1.Pod, after: core_v1.Pod) -> None:
        """The Pod's spec was changed: what was fetched or failed for an image that it no longer names is forgotten."""
        for name in container_names(after):
            old, new = find_container(before, name), find_container(after, name)
            if old is None or new is None or old.image == new.image:
                continue
            self.images.pop(name, None)
            self.unseen_images.discard(name)
            self.early_images = [one for one in self.early_images if one.name != name]
            self.failures.pop(name, None)
            self.crashes.pop(name, None)

    def latest(self, name: str) -> ContainerStatus | None:
        """The newest container of this name."""
        return max(
            (status for status in self.containers.values() if status.name == name),
            key=lambda s: (s.attempt, s.created_at),
            default=None,
        )

    @property
    def mounted(self) -> bool:
        """What it mounts was there when its containers began, or is there for the first of them."""
        return self.prepared is not None or bool(self.containers)

    def retry_configuration(self, now: float) -> None:
        """What its containers are configured from has changed: those that failed for it need not wait. `now` monotonic."""
        for failure in self.failures.values():
            if failure.reason == CREATE_CONTAINER_CONFIG_ERROR:
                failure.retry_at = now

    def running(self) -> list[ContainerStatus]:
        """Every container with a process."""
        return [s for s in self.containers.values() if s.state in (ContainerState.RUNNING, ContainerState.CREATED)]


def container_names(pod: core_v1.Pod) -> list[str]:
    """Of the whole spec, in order: init, regular, ephemeral."""
    spec = pod.spec
    return (
        [c.name for c in spec.init_containers]
        + [c.name for c in spec.containers]
        + [c.name for c in spec.ephemeral_containers]
    )


def find_container(pod: core_v1.Pod, name: str) -> core_v1.Container | None:
    """The container of this name; an ephemeral one in the form of a regular one."""
    from carob.api.types import core_v1 as types

    for container in [*pod.spec.init_containers, *pod.spec.containers]:
        if container.name == name:
            return container
    for ephemeral in pod.spec.ephemeral_containers:
        if ephemeral.name == name:
            shared = {f: getattr(ephemeral, f) for f in types.Container.__struct_fields__}
            return types.Container(**{**shared, "restart_policy": "Never"})
    return None


def snapshot(
    record: PodRecord,
    *,
    now: float,
    wall: float,
    grace_seconds: float,
    kills: Mapping[str, Kill],
    started: Iterable[str],
) -> Snapshot:
    """The record as the pure decision sees it.

    Units: `now` monotonic, `wall` seconds since 1970 (what the runtime's times are in).
    """
    sandbox = record.ready_sandbox
    newest = record.newest_sandbox
    names = container_names(record.pod)
    started_ids = set(started)
    views = {name: _view(record, name, now, wall, kills, started_ids) for name in names}
    known = {status.id for status in (record.latest(name) for name in names) if status is not None}
    sandbox_failure = record.failures.get("")
    return Snapshot(
        pod=record.pod,
        terminating=record.terminating,
        grace_seconds=grace_seconds,
        sandbox_id=sandbox.id if sandbox is not None else "",
        sandbox_attempts=newest.config.attempt + 1 if newest is not None else 0,
        sandbox=Work.BUSY if "sandbox" in record.operations else Work.NONE,
        sandbox_wait_seconds=max(0.0, sandbox_failure.retry_at - now) if sandbox_failure else 0.0,
        volumes=_volumes(record),
        volumes_wait_seconds=max(0.0, record.volume_failure.retry_at - now) if record.volume_failure else 0.0,
        containers=views,
        released=record.released,
        restarting="restart" in record.operations,
        orphans=tuple(status.id for status in record.running() if status.id not in known),
    )


def _volumes(record: PodRecord) -> Work:
    if record.prepared is not None:
        return Work.READY
    return Work.BUSY if "volumes" in record.operations else Work.NONE


def _view(
    record: PodRecord, name: str, now: float, wall: float, kills: Mapping[str, Kill], started: set[str]
) -> ContainerView:
    latest = record.latest(name)
    lost = _lost_attempts(record.pod, name) if latest is None else 0
    kill = None
    if latest is not None:
        kill = kills.get(latest.id) or _redefined(record, name, latest)
    if latest is not None and record.begins_anew(latest):
        lost, latest = latest.attempt + 1, None
    failure = record.failures.get(name)
    wait = max(0.0, failure.retry_at - now) if failure is not None else 0.0
    if latest is not None and latest.state in ENDED:
        crash = record.crashes.get(name)
        if crash is not None:
            wait = max(wait, crash.remaining(latest.finished_at or wall, wall))
    return ContainerView(
        latest=latest,
        image=_image(record, name),
        starting=f"start:{name}" in record.operations,
        stop_grace_seconds=_stop_grace(record, latest, now),
        wait_seconds=wait,
        first_attempt=lost,
        kill=kill,
        started=latest is not None and latest.id in started and latest.id not in record.hooked,
    )


def _redefined(record: PodRecord, name: str, latest: ContainerStatus) -> Kill | None:
    """Why it must end: its spec names another image by now."""
    made_of = latest.annotations.get(labels.CONTAINER_HASH)
    container = find_container(record.pod, name) if made_of and latest.state not in ENDED else None
    if container is None or labels.container_hash(container) == made_of:
        return None
    return Kill(REDEFINED, f"Container {name} definition changed, will be restarted")


def _image(record: PodRecord, name: str) -> Work:
    if name in record.images:
        return Work.READY
    if f"image:{name}" in record.operations or (name in record.unseen_images and not record.mounted):
        return Work.BUSY
    return Work.NONE


def _stop_grace(record: PodRecord, latest: ContainerStatus | None, now: float) -> float | None:
    deadline = record.stop_deadlines.get(latest.id) if latest is not None else None
    return None if deadline is None else max(0.0, deadline - now)


def _lost_attempts(pod: core_v1.Pod, name: str) -> int:
    """How many containers of this name the API has seen that the runtime no longer knows."""
    status = pod.status
    for entry in [*status.init_container_statuses, *status.container_statuses]:
        if entry.name == name and entry.container_id:
            return entry.restart_count + 1
    return 0
