"""The volumes of this node's Pods: prepared before the first container, kept up to date, taken back at the end.

Touches the API (what volumes hold) and, in threads of its own, the file system and mounts of the node.
Source: kubelet `volumemanager`, in one step instead of two because nothing here is attached.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

from msgspec import Struct

from carob.kubelet.fields import Facts
from carob.kubelet.volumes.claimed import ClaimedVolumes
from carob.kubelet.volumes.contents import ContentReader
from carob.kubelet.volumes.setup import VolumeSetup

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from carob.api.types import core_v1
    from carob.base.clock import Clock
    from carob.kubelet.volumes.types import PreparedVolume

T = TypeVar("T")

THREADS = 4


class Prepared(Struct, frozen=True):
    """A Pod's volumes by name; `renew_at` (wall clock) is when they should be looked at again, 0 for never."""

    volumes: Mapping[str, PreparedVolume]
    renew_at: float = 0.0


class Volumes:
    """`prepare` may be called again at any time: it brings the content up to date."""

    def __init__(self, setup: VolumeSetup, reader: ContentReader, claimed: ClaimedVolumes, clock: Clock) -> None:
        self._setup = setup
        self._reader = reader
        self._claimed = claimed
        self._clock = clock
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="kubelet-volumes")

    async def open(self) -> None:
        """Ready the node; once."""
        await self._in_thread(self._setup.open)

    def close(self) -> None:
        """Let the threads go."""
        self._threads.shutdown(wait=False)

    async def prepare(self, pod: core_v1.Pod, facts: Facts) -> Prepared:
        """Set up or refresh every volume that a container mounts. Raises: VolumeFailure."""
        volumes = mounted_volumes(pod)
        if not volumes:
            return Prepared({})
        claimed = await self._claimed.read_all(pod, volumes)
        contents = await self._reader.read_all(pod, volumes, facts)
        now = self._clock.now()
        ready = await self._in_thread(lambda: self._setup.set_up(pod, volumes, contents, claimed, now))
        renewals = [one.renew_at for one in contents.values() if one.renew_at]
        return Prepared(ready, min(renewals, default=0.0))

    async def sub_path(self, pod: core_v1.Pod, volume: PreparedVolume, path: str, container: str, index: int) -> str:
        """The node's path of a part of a volume. Raises: OSError, ValueError."""
        return await self._in_thread(lambda: self._setup.sub_path(pod, volume, path, container, index))

    async def release(self, uid: str) -> None:
        """Take back the volumes of a Pod that has ended. Raises: OSError."""
        await self._in_thread(lambda: self._setup.tear_down(uid))
        self._claimed.release(uid)

    async def remove(self, uid: str) -> None:
        """Take back all files of a Pod that nobody knows any more. Raises: OSError."""
        await self._in_thread(lambda: self._setup.remove(uid))
        self._claimed.release(uid)

    async def make_folder(self, name: str) -> str:
        """The path of a new PersistentVolume's folder on this node. Raises: OSError, ValueError."""
        return await self._in_thread(lambda: self._setup.make_folder(name))

    async def remove_folder(self, name: str) -> None:
        """A PersistentVolume's folder goes, with what is in it. Raises: OSError, ValueError."""
        await self._in_thread(lambda: self._setup.remove_folder(name))

    async def pods_on_disk(self) -> set[str]:
        """Uids of Pods that left files on the node."""
        return await self._in_thread(self._setup.pods_on_disk)

    async def _in_thread(self, call: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, call)


def mounted_volumes(pod: core_v1.Pod) -> list[core_v1.Volume]:
    """The volumes that some container mounts; others are not set up. Source: `GetPodVolumeNames`."""
    spec = pod.spec
    regular = (*spec.init_containers, *spec.containers)
    used = {mount.name for one in regular for mount in one.volume_mounts}
    used |= {device.name for one in regular for device in one.volume_devices}
    used |= {mount.name for one in spec.ephemeral_containers for mount in one.volume_mounts}
    return [volume for volume in pod.spec.volumes if volume.name in used]
