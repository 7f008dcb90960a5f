"""The node agent: runs the Pods that the API has for this node, and tells what becomes of them.

It only connects: the Pod informer and the runtime's exits make Pods dirty, the work queue has each of them looked at
(`PodWorker`), operations do the long work. State that must survive is in the runtime, on disk and in the API; a
restarted agent finds its Pods again by their labels and compares.
"""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

import msgspec

from carob.api import quantity
from carob.api.types import core_v1
from carob.base.clock import parse_rfc3339
from carob.base.log import get_logger, pairs
from carob.base.tasks import TaskGroup
from carob.client.events import QUIET_SECONDS, EventRecorder
from carob.client.informer import Informer, key_of
from carob.client.workqueue import WorkQueue
from carob.kubelet.adoption import adopt, orphan, pods_with_logs
from carob.kubelet.callers import Callers
from carob.kubelet.devices.node import NodeDevices
from carob.kubelet.events import PodEvents
from carob.kubelet.eviction.manager import REASON as EVICTED
from carob.kubelet.eviction.manager import Eviction
from carob.kubelet.eviction.ranking import keeps_out
from carob.kubelet.failures import Rejected
from carob.kubelet.files import read_text
from carob.kubelet.images import Images
from carob.kubelet.lifecycle import Hooks
from carob.kubelet.log_rotation import LogRotation
from carob.kubelet.mirror_pods import MirrorPods
from carob.kubelet.network_gate import NetworkGate
from carob.kubelet.node_manager import NodeManager
from carob.kubelet.objects import ReferencedObjects
from carob.kubelet.pod_record import PodRecord
from carob.kubelet.pod_worker import PodWorker
from carob.kubelet.probes.manager import Probes
from carob.kubelet.pull_records import PullRecords, policy
from carob.kubelet.qos_groups import QosGroups
from carob.kubelet.resources import BEST_EFFORT, qos_class
from carob.kubelet.server import KubeletServer
from carob.kubelet.slots import Slots
from carob.kubelet.static_pods import is_mirror, shows
from carob.kubelet.static_source import StaticSource
from carob.kubelet.status_manager import StatusManager
from carob.kubelet.steps import node_features
from carob.kubelet.steps.admission import DoesNotFit, admit
from carob.kubelet.steps.sandbox import FAILED_PREPARE
from carob.kubelet.tokens import Tokens
from carob.kubelet.tools import Tools, pod_ips
from carob.kubelet.user_namespaces import UserNamespaces
from carob.kubelet.volumes.claimed import ClaimedVolumes
from carob.kubelet.volumes.contents import ContentReader
from carob.kubelet.volumes.manager import Volumes
from carob.kubelet.volumes.setup import Places, VolumeSetup

if TYPE_CHECKING:
    from collections.abc import Sequence

    from carob.base.clock import Clock
    from carob.base.ids import Randomness
    from carob.client.rest import Client
    from carob.kubelet.options import KubeletOptions
    from carob.kubelet.volumes.types import Mounts
    from carob.runtime.types import ContainerStatus, Exited, Runtime
    from carob.transport.http import Handler

_log = get_logger("kubelet")
WORKERS = 8
MIN_STARTS_AT_ONCE = 4
# a server that was away finds its node at work within a second of its return: twice this, with the jitter
LONGEST_SILENCE_SECONDS = 0.5


class Kubelet:
    """`run` until cancelled; `handler` answers the API server's requests for logs, exec and the like."""

    def __init__(
        self,
        client: Client,
        runtime: Runtime,
        options: KubeletOptions,
        clock: Clock,
        randomness: Randomness,
        mounts: Mounts,
    ) -> None:
        self._runtime = runtime
        self._options = options
        self._clock = clock
        self._queue = WorkQueue(clock)
        self._known = False
        """Whether the API has told of this node's Pods."""
        self._records: dict[str, PodRecord] = {}
        self._recorder = EventRecorder(
            client, "kubelet", clock, randomness, host=options.node_name, quiet_seconds=QUIET_SECONDS
        )
        self._pods = Informer(
            client,
            core_v1.Pod,
            clock,
            field_selector=f"spec.nodeName={options.node_name}",
            name="pods of this node",
            longest_delay_seconds=LONGEST_SILENCE_SECONDS,
        )
        self.services = Informer(client, core_v1.Service, clock, name="services")
        self.node = NodeManager(client, runtime, options, clock, self._recorder)
        self.gate = NetworkGate()
        self._objects = ReferencedObjects(client, clock, self._content_changed)
        self._statuses = StatusManager(client, clock)
        self._statuses.on_gone(self._gone)
        self.node.on_clock_set(self._clock_set)
        self._tools = self._make_tools(client, mounts)
        self._worker = PodWorker(self._tools, self._statuses, self._queue, self._records)
        self._static = StaticSource(options.static_folder, options.node_name, clock, self._static_changed)
        self._mirrors = MirrorPods(client, clock, options.node_name, self._pods, self._static.by_key, self._statuses)
        self._worker.forgotten = self._make_room
        self._server = KubeletServer(
            self._tools, self._records, self._statuses, self.node, Callers(client, clock, options.node_name)
        )
        self.handler: Handler = self._server.handle
        self._eviction = Eviction(
            self._tools,
            self._records,
            self.node.machine.memory_bytes,
            self.node.pressures,
            self._queue.add,
            self.node.tell_now,
            self.node.event,
        )
        self._worker.on_start(self._eviction.wake)
        self._groups = QosGroups(runtime, options, self.node.machine, self._records, self.node.enforced)
        self._worker.on_sized(self._groups.changed)
        self._rotation = LogRotation(runtime, clock, options, self._all_containers)

    def _make_tools(self, client: Client, mounts: Mounts) -> Tools:
        options, clock, runtime = self._options, self._clock, self._runtime
        places = Places(options.root)
        verified = policy(options.image_verification, options.image_verification_allowed)
        pull_records = PullRecords(f"{options.root}/image_manager", verified)
        tokens = Tokens(client, clock)
        setup = VolumeSetup(places, mounts, self._memory_of_pods)
        claimed = ClaimedVolumes(client, options.node_name, lambda: self.node.labels)
        return Tools(
            runtime=runtime,
            clock=clock,
            options=options,
            recorder=self._recorder,
            volumes=Volumes(setup, ContentReader(self._objects, tokens), claimed, clock),
            places=places,
            images=Images(runtime, clock, options.max_parallel_pulls, pull_records),
            objects=self._objects,
            tokens=tokens,
            probes=Probes(runtime, clock, self._recorder, self._queue.add),
            hooks=Hooks(runtime, clock, self._address),
            slots=Slots(max(MIN_STARTS_AT_ONCE, 2 * self.node.machine.cpus)),
            users=UserNamespaces(options.first_user_id, self.node.machine.user_namespaces, self._records),
            devices=NodeDevices(client, clock, options.node_name, options.root, self._drivers_changed),
            gate=self.gate,
            node=lambda: self.node.facts,
            services=self.services.items,
            read_text=read_text,
        )

    def _all_containers(self) -> list[ContainerStatus]:
        return [status for record in self._records.values() for status in record.containers.values()]

    async def run(self) -> None:
        """Take over what runs, then serve until cancelled."""
        await self._runtime.start()
        await self._tools.volumes.open()
        self._tools.devices.open()
        await self._adopt()
        self._runtime.subscribe(self._exited)
        await self.node.refresh()
        try:
            async with TaskGroup() as group:
                self._objects.open(group)
                self._worker.operations.open(group)
                group.spawn(self._recorder.run(), "events")
                group.spawn(self._statuses.run(), "pod statuses")
                group.spawn(self.services.run(), "service informer")
                group.spawn(self.node.run(), "node")
                group.spawn(self._tools.probes.run(), "probes")
                group.spawn(self._rotation.run(), "log rotation")
                group.spawn(self._eviction.run(), "eviction")
                group.spawn(self._groups.run(), "qos groups")
                group.spawn(self._tools.devices.run(group), "device drivers")
                group.spawn(self._pods.run(), "pod informer")
                early = await self._before_the_api(group)
                if self._options.static_folder:
                    if not early:
                        await self._begin_files(group)
                    group.spawn(self._mirrors.run(), "mirror pods")
                self._pods.subscribe(self._pod_changed)
                self._pods.on_return(self._api_returned)
                self._known = True
                await self._find_orphans()
                _log.info("ready %s", pairs(node=self._options.node_name, pods=len(self._records)))
                if not early:
                    group.spawn(self._queue.work(self._look, WORKERS, "pods"), "pod workers")
        finally:
            self._server.close()
            self._tools.volumes.close()

    async def _before_the_api(self, group: TaskGroup) -> bool:
        """Return when the API has told of this node's Pods; True if static Pods had to begin before."""

        async def told() -> None:
            await self.services.wait_synced()
            await self._pods.wait_synced()

        telling = group.spawn(told(), "first look at the API")
        patience = group.spawn(self._clock.sleep(self._options.api_patience_seconds), "patience with the API")
        await asyncio.wait((telling, patience), return_when=asyncio.FIRST_COMPLETED)
        patience.cancel()
        early = not telling.done() and bool(self._options.static_folder)
        if early:
            _log.info("the API does not answer: Pods of files begin without it")
            await self._begin_files(group)
            group.spawn(self._queue.work(self._look, WORKERS, "pods"), "pod workers")
        await telling
        return early

    async def _begin_files(self, group: TaskGroup) -> None:
        await self._static.read()
        group.spawn(self._static.run(), "static pods")

    async def _look(self, uid: str) -> None:
        """Look at one Pod; one of which only the runtime knows waits until the API has said whether it is wanted."""
        if self._known or uid in self._static.pods:
            await self._worker.look(uid)

    # -- taking over

    async def _adopt(self) -> None:
        for record in adopt(await self._runtime.list_sandboxes(), await self._runtime.list_containers()):
            self._records[record.uid] = record

    async def _find_orphans(self) -> None:
        """What the runtime or the disk has and the API does not: it ends."""
        logs = pods_with_logs(await asyncio.to_thread(_folders, self._options.log_root))
        left = {*await self._tools.volumes.pods_on_disk(), *self._tools.devices.pods(), *logs}
        # not before what had to be waited for: a Pod that came meanwhile is known, too
        known = {pod.metadata.uid for pod in self._pods.items() if not is_mirror(pod)} | self._static.pods.keys()
        for uid in left:
            if uid not in self._records:
                self._records[uid] = orphan(uid, logs)
        for record in self._records.values():
            if record.uid not in known:
                _log.info("pod is gone from the API %s", pairs(pod=record.pod.metadata.name, uid=record.uid))
                record.removed = True
                self._queue.add(record.uid)

    # -- what makes Pods dirty

    def _static_changed(self, old: core_v1.Pod | None, new: core_v1.Pod | None) -> None:
        if old is not None:
            self._gone(old.metadata.uid)
            self._mirrors.add(key_of(old))
        if new is not None:
            self._mirrors.add(key_of(new))
            key, uid = key_of(new), new.metadata.uid
            # two Pods of one name never run at the same time
            if not any(key_of(r.pod) == key and r.uid != uid for r in self._records.values()):
                self._begin_static(new)

    def _begin_static(self, pod: core_v1.Pod) -> None:
        shown = self._pods.get(key_of(pod))
        if shown is not None and is_mirror(shown) and shows(shown, pod):
            # the agent was away: what it has told of the Pod still holds
            pod = msgspec.structs.replace(pod, status=shown.status)
        record = self._records.get(pod.metadata.uid)
        if record is None:
            record = self._records[pod.metadata.uid] = PodRecord(pod.metadata.uid, pod)
        self._welcome(record, pod)
        self._statuses.set(pod, pod.status)
        self._mirrors.add(key_of(pod))
        self._queue.add(record.uid)

    def _make_room(self, record: PodRecord) -> None:
        """Nothing of a Pod is left: a static Pod that was to take its place may begin."""
        waiting = self._static.by_key(key_of(record.pod))
        if waiting is not None and waiting.metadata.uid not in self._records:
            self._begin_static(waiting)

    def _pod_changed(self, key: str, old: core_v1.Pod | None, new: core_v1.Pod | None) -> None:
        if is_mirror(new or old or core_v1.Pod()):
            self._mirrors.add(key)
            return
        if new is None:
            if old is not None:
                self._gone(old.metadata.uid)
            return
        record = self._records.get(new.metadata.uid)
        if record is None:
            record = self._records[new.metadata.uid] = PodRecord(new.metadata.uid, new)
        if record.start_time is None:
            self._welcome(record, new)
        elif old is not None:
            if self._is_echo(old, new):
                record.pod = new
                return
            self._take_changes(record, old, new)
        record.pod = new
        self._queue.add(record.uid)

    def _is_echo(self, old: core_v1.Pod, new: core_v1.Pod) -> bool:
        """Whether the change is only the status that we have just written."""
        before, after = old.metadata, new.metadata
        return (
            before.generation == after.generation
            and before.deletion_timestamp == after.deletion_timestamp
            and before.labels == after.labels
            and before.annotations == after.annotations
            and new.status == self._statuses.known(new)
        )

    def _take_changes(self, record: PodRecord, old: core_v1.Pod, new: core_v1.Pod) -> None:
        if record.terminating:
            return
        # what was wrong may have come from the Pod: a path made of an annotation
        record.retry_configuration(self._clock.monotonic())
        if old.metadata.generation != new.metadata.generation:
            record.take_images(old, new)
            # a new ephemeral container may mount a volume that nobody has mounted yet
            record.prepared = None
        elif record.prepared is None:
            return
        elif old.metadata.annotations != new.metadata.annotations or old.metadata.labels != new.metadata.labels:
            # the downward API may show them
            record.stale_volumes = True

    def _welcome(self, record: PodRecord, pod: core_v1.Pod) -> None:
        """The first time that this agent sees the Pod."""
        record.pod = pod
        status = pod.status
        record.start_time = parse_rfc3339(status.start_time) if status.start_time else self._clock.now()
        if status.phase == "Failed" and status.reason:
            record.failed = (status.reason, status.message)
        if record.terminating or record.sandboxes:
            record.admitted = bool(record.sandboxes)
            return
        others = [r.sized_pod for r in self._records.values() if r.admitted and not r.terminating and r is not record]
        try:
            unsafe = self._options.allowed_unsafe_sysctls
            node_features.check(pod, apparmor=self.node.machine.apparmor, unsafe_sysctls=unsafe)
            try:
                admit(pod, others, self.node.facts.allocatable, self.node.object)
            except DoesNotFit as failure:
                if not self._make_way(pod, others, failure):
                    raise
            held = self.node.pressures.holding(self._clock.monotonic())
            refused = keeps_out(pod, qos_class(pod) == BEST_EFFORT, held)
            if refused:
                raise Rejected(EVICTED, refused)
            record.admitted = True
        except Rejected as refusal:
            record.failed = (refusal.reason, refusal.message)
            text = refusal.message.removeprefix("Pod was rejected: ")
            PodEvents(self._recorder, pod).warning(refusal.reason, text)

    def _make_way(self, pod: core_v1.Pod, others: Sequence[core_v1.Pod], failure: DoesNotFit) -> bool:
        """End others where the Pod is critical and that is what it takes; whether there is room now."""
        from carob.kubelet.steps import preemption

        chosen = preemption.victims(pod, others, failure.shortfalls)
        for one in chosen:
            record = self._records[one.metadata.uid]
            _log.warning("preempting %s", pairs(pod=one.metadata.name, critical=pod.metadata.name))
            record.failed = (preemption.REASON, preemption.MESSAGE)
            record.disrupted = preemption.CONDITION
            PodEvents(self._recorder, one).warning(preemption.REASON, preemption.MESSAGE)
            self._queue.add(record.uid)
        return bool(chosen)

    def _clock_set(self) -> None:
        """By the new time tokens may have ended, and Pods been active for as long as they may be."""
        for uid in self._records:
            self._queue.add(uid)

    def _api_returned(self) -> None:
        """The API answers again: what waited for it need not wait for its turn."""
        for waiting in (self.services, self._objects, self.node):
            waiting.hurry()
        now = self._clock.monotonic()
        for record in self._records.values():
            if record.volume_failure is not None:
                record.volume_failure.retry_at = now
                self._queue.add(record.uid)

    def _gone(self, uid: str) -> None:
        record = self._records.get(uid)
        if record is not None:
            record.removed = True
            self._queue.add(uid)

    def _exited(self, exited: Exited) -> None:
        if exited.container_id:
            self._server.container_ended(exited.container_id)
        for record in self._records.values():
            if exited.sandbox_id in record.sandboxes:
                record.dirty.add(exited.container_id or exited.sandbox_id)
                self._queue.add(record.uid)
                return

    def _drivers_changed(self) -> None:
        """A driver of devices has come: Pods that wait for theirs need not wait longer."""
        for record in self._records.values():
            failure = record.failures.get("")
            if failure is not None and failure.reason == FAILED_PREPARE:
                failure.retry_at = self._clock.monotonic()
                self._queue.add(record.uid)

    def _content_changed(self, uid: str) -> None:
        """A ConfigMap or Secret of the Pod has changed: what failed for want of it can be tried at once."""
        record = self._records.get(uid)
        if record is None or record.terminating:
            return
        now = self._clock.monotonic()
        if record.volume_failure is not None:
            record.volume_failure.retry_at = now
        record.retry_configuration(now)
        record.stale_volumes = record.prepared is not None
        self._queue.add(uid)

    def _memory_of_pods(self) -> int:
        return quantity.memory_bytes(self.node.facts.allocatable.get("memory", "0")) or self.node.machine.memory_bytes

    def _address(self, record: PodRecord) -> str:
        addresses = pod_ips(record, self.node.facts)
        return addresses[0] if addresses else ""


def _folders(path: str) -> list[str]:
    return os.listdir(path) if os.path.isdir(path) else []
