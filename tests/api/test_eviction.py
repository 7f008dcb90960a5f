"""The node ends Pods for its own sake, seen through the API, with a runtime without containers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from msgspec.structs import replace

from carob.api.types import core_v1
from carob.base.clock import SystemClock
from carob.kubelet.eviction.manager import Eviction
from carob.kubelet.machine import Usage, read_usage
from carob.runtime.types import ContainerStats, FilesystemUsage
from tests.api.kubelet_world import NODE, World, in_world, ready
from tests.fakes.runtime import FakeRuntime


def evicted(pod: core_v1.Pod) -> bool:
    return pod.status.phase == "Failed" and pod.status.reason == "Evicted"


def test_a_pod_that_writes_more_than_its_volume_may_hold_is_evicted(tmp_path: Path) -> None:
    async def body(world: World) -> None:
        mounts = [{"name": "scratch", "mountPath": "/scratch"}]
        main = {"name": "c", "image": "web:latest", "imagePullPolicy": "IfNotPresent", "volumeMounts": mounts}
        await world.pod(containers=[main], volumes=[{"name": "scratch", "emptyDir": {"sizeLimit": "1Mi"}}])
        pod = await world.until("hello-pod", ready)
        folder = world.folder / f"node/pods/{pod.metadata.uid}/volumes/kubernetes.io~empty-dir/scratch"
        await world.kubelet._eviction.look()
        assert ready(await world.client.get(core_v1.Pod, "hello-pod", "default"))
        (folder / "big").write_bytes(b"x" * (2 << 20))
        await world.kubelet._eviction.look()
        gone = await world.until("hello-pod", evicted)
        assert gone.status.message == 'Usage of EmptyDir volume "scratch" exceeds the limit "1Mi". '
        (event,) = await world.events("Evicted")
        assert (event.type, event.message) == ("Warning", gone.status.message)

    in_world(tmp_path, body)


def test_what_a_container_says_counts_as_what_it_writes(tmp_path: Path) -> None:
    async def body(world: World) -> None:
        limited = {"limits": {"ephemeral-storage": "1Mi"}}
        main = {"name": "c", "image": "web:latest", "imagePullPolicy": "IfNotPresent", "resources": limited}
        await world.pod(containers=[main])
        pod = await world.until("hello-pod", ready)
        folder = world.folder / f"logs/default_hello-pod_{pod.metadata.uid}/c"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "0.log").write_bytes(b"x" * (2 << 20))
        await world.kubelet._eviction.look()
        gone = await world.until("hello-pod", evicted)
        words = "Pod ephemeral local storage usage exceeds the total limit of containers 1Mi. "
        assert gone.status.message == words

    in_world(tmp_path, body)


def test_when_memory_runs_short_the_greediest_pod_goes_and_the_node_says_so(tmp_path: Path) -> None:
    def short(root: str) -> Usage:
        return replace(read_usage(root), memory_available_bytes=50 << 20)

    async def body(world: World) -> None:
        await world.pod("small")
        await world.pod("large")
        for name in ("small", "large"):
            await world.until(name, ready)
        kubelet = world.kubelet
        by_pod = {s.config.name: s.id for s in world.runtime.sandboxes.values()}
        for container in world.runtime.containers.values():
            used = 900 << 20 if container.sandbox_id == by_pod["large"] else 1 << 20
            world.runtime.stats[container.id] = ContainerStats(
                id=container.id, timestamp=0.0, memory_working_set_bytes=used
            )
        eviction = Eviction(
            kubelet._tools,
            kubelet._records,
            kubelet.node.machine.memory_bytes,
            kubelet.node.pressures,
            kubelet._queue.add,
            kubelet.node.tell_now,
            kubelet.node.event,
            usage=short,
        )
        await eviction.look()
        gone = await world.until("large", evicted)
        assert gone.status.message.startswith(
            "The node was low on resource: memory. Threshold quantity: 100Mi, available: 50Mi. "
        )
        (tried,) = await world.events("EvictionThresholdMet")
        assert (tried.type, tried.message) == ("Warning", "Attempting to reclaim memory")
        assert (tried.involved_object.kind, tried.involved_object.name) == ("Node", NODE)
        (condition,) = [c for c in gone.status.conditions if c.type == "DisruptionTarget"]
        assert (condition.status, condition.reason) == ("True", "TerminationByKubelet")
        node = await world.client.get(core_v1.Node, NODE)
        assert ("MemoryPressure", "True") in [(c.type, c.status) for c in node.status.conditions]
        # one at a time, and none beside: BestEffort Pods are kept out meanwhile
        assert ready(await world.client.get(core_v1.Pod, "small", "default"))
        await world.pod("late")
        late = await world.until("late", evicted)
        assert late.status.message == "The node had condition: [MemoryPressure]. "

    in_world(tmp_path, body)


def test_unused_images_go_until_the_disk_has_room_and_what_is_missing_is_told(tmp_path: Path) -> None:
    """Source: kubelet `images/image_gc_manager.go` (GarbageCollect), `kubelet.go` (StartGarbageCollection)."""
    disk = {"available": 100}

    class Disk(FakeRuntime):
        """Each image takes twice what its registry says."""

        async def remove_image(self, name: str) -> None:
            await super().remove_image(name)
            disk["available"] += 200

        async def image_filesystem(self) -> FilesystemUsage:
            there = disk["available"]
            return FilesystemUsage(mountpoint="/", used_bytes=1000 - there, capacity_bytes=1000, available_bytes=there)

    async def body(world: World) -> None:
        await world.pod()
        await world.until("hello-pod", ready)
        kubelet = world.kubelet
        runtime = Disk()
        runtime.containers = world.runtime.containers
        for name in ("a", "b", "c"):
            runtime.add_image(name)
            runtime.images[name] = replace(runtime.images[name], size_bytes=100, digests=[f"{name}@sha256:0"])
        options = replace(
            kubelet._options, image_gc_high_percent=80, image_gc_low_percent=70, image_gc_min_age_seconds=0.0
        )
        eviction = Eviction(
            replace(kubelet._tools, runtime=runtime, options=options),
            kubelet._records,
            kubelet.node.machine.memory_bytes,
            kubelet.node.pressures,
            kubelet._queue.add,
            kubelet.node.tell_now,
            kubelet.node.event,
        )
        await eviction._collect_images(everything=False)
        assert len(runtime.images) == 2, "one made room enough, whatever its registry says"
        disk["available"] = -300
        for _ in range(2):
            await eviction._collect_images(everything=False)
        assert not runtime.images
        failed, twice = await world.events("FreeDiskSpaceFailed", "ImageGCFailed")
        words = "Failed to garbage collect required amount of images. Attempted to free "
        assert failed.message.startswith(words)
        assert twice.message.startswith(words)

    in_world(tmp_path, body)


class ToldNotices:
    """The kernel, as the test says."""

    def __init__(self, pressed: Callable[[], None]) -> None:
        self.pressed = pressed
        self.opened = asyncio.Event()
        self.closed = asyncio.Event()

    def open(self) -> None:
        self.opened.set()

    def close(self) -> None:
        self.closed.set()


def test_the_kernels_notice_does_not_wait_for_the_next_turn(tmp_path: Path) -> None:
    looks: asyncio.Queue[int] = asyncio.Queue()
    told: list[ToldNotices] = []

    def usage(root: str) -> Usage:
        looks.put_nowait(1)
        return read_usage(root)

    def notices(pressed: Callable[[], None]) -> ToldNotices:
        told.append(ToldNotices(pressed))
        return told[-1]

    class NoTurns(SystemClock):
        """Sleeps never end: only notices can wake."""

        async def sleep(self, seconds: float) -> None:
            await asyncio.Event().wait()

    async def body(world: World) -> None:
        await world.pod()
        await world.until("hello-pod", ready)
        kubelet = world.kubelet
        tools = replace(kubelet._tools, clock=NoTurns())
        eviction = Eviction(
            tools,
            kubelet._records,
            kubelet.node.machine.memory_bytes,
            kubelet.node.pressures,
            kubelet._queue.add,
            kubelet.node.tell_now,
            kubelet.node.event,
            usage=usage,
            notices=notices,
        )
        task = asyncio.create_task(eviction.run())
        async with asyncio.timeout(30):
            await told[0].opened.wait()
            await looks.get()
            told[0].pressed()
            await looks.get()
            told[0].pressed()
            await looks.get()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert told[0].closed.is_set()

    in_world(tmp_path, body)
