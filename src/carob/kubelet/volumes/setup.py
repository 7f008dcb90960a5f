"""Sets up one Pod's volumes on the node's file system. Blocking: runs in a thread, never on the loop.

Layout: `<root>/pods/<uid>/volumes/kubernetes.io~<kind>/<name>` as upstream's for what Pods fill themselves; what comes
from the API, and the small files of a Pod, lie in one file system in memory, `<root>/memory/<uid>/…`: secrets never reach
a disk, and making a file there costs microseconds where a journalled disk takes a millisecond.
Invariant: setting up what is set up changes nothing; `tear_down` succeeds when nothing is left.
"""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

from msgspec import Struct

from carob.api import quantity
from carob.kubelet.failures import VolumeFailure
from carob.kubelet.resources import pod_resources
from carob.kubelet.volumes import atomic_writer, host_path, ownership, persistent, sub_paths
from carob.kubelet.volumes.contents import fs_group
from carob.kubelet.volumes.types import PreparedVolume

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from carob.api.types import core_v1
    from carob.kubelet.volumes.contents import Contents
    from carob.kubelet.volumes.types import Mounts

HUGE_PAGES = "HugePages"
SHARED_FOLDER_MODE = 0o777
# what a tmpfs of its own has, as upstream's secret volumes are
SECRET_FOLDER_MODE = 0o1777


class Places(Struct, frozen=True):
    """Where the Pods' files lie on this node."""

    root: str

    @property
    def memory(self) -> str:
        """The file system in memory that all Pods share."""
        return f"{self.root}/memory"

    @property
    def local_volumes(self) -> str:
        """The folders of this node's PersistentVolumes."""
        return f"{self.root}/local-volumes"

    def on_disk(self, uid: str) -> str:
        """The Pod's folder on the disk."""
        return f"{self.root}/pods/{uid}"

    def in_memory(self, uid: str) -> str:
        """The Pod's folder in memory: its hosts file, its termination messages, what its volumes hold."""
        return f"{self.memory}/{uid}"


class VolumeSetup:
    """The blocking half of the volumes."""

    def __init__(self, places: Places, mounts: Mounts, memory_bytes: Callable[[], int]) -> None:
        self._places = places
        self._mounts = mounts
        self._memory_bytes = memory_bytes
        """How much all Pods of the node may have together."""

    def open(self) -> None:
        """Have the shared file system in memory."""
        folder = self._places.memory
        os.makedirs(folder, mode=0o755, exist_ok=True)
        os.makedirs(f"{self._places.root}/pods", mode=0o755, exist_ok=True)
        if not self._mounts.is_mounted(folder):
            self._mounts.mount_tmpfs(folder, mode=0o755)

    def set_up(
        self,
        pod: core_v1.Pod,
        volumes: Sequence[core_v1.Volume],
        contents: Mapping[str, Contents],
        claimed: Mapping[str, core_v1.PersistentVolume],
        now: float,
    ) -> dict[str, PreparedVolume]:
        """Every volume stands when this returns. Raises: VolumeFailure."""
        out = {}
        for volume in volumes:
            try:
                found = claimed.get(volume.name)
                if found is not None:
                    claim = volume.persistent_volume_claim
                    readonly = claim is not None and claim.read_only
                    security = pod.spec.security_context
                    out[volume.name] = persistent.set_up(volume.name, found, security, readonly=readonly)
                    continue
                out[volume.name] = self._set_up(pod, volume, contents.get(volume.name), now)
            except (OSError, ValueError, host_path.Mismatch) as error:
                raise VolumeFailure(volume.name, str(error)) from error
        return out

    def tear_down(self, uid: str) -> None:
        """The Pod's volumes are unmounted and gone; its other files stay. Raises: OSError."""
        folder = self._places.on_disk(uid)
        for path in sub_paths.mounted(folder):
            self._mounts.unmount(path)
        memory_volumes = f"{folder}/volumes/kubernetes.io~empty-dir"
        for name in os.listdir(memory_volumes) if os.path.isdir(memory_volumes) else ():
            while self._mounts.is_mounted(f"{memory_volumes}/{name}"):
                self._mounts.unmount(f"{memory_volumes}/{name}")
        for path in (f"{folder}/volume-subpaths", f"{folder}/volumes", f"{self._places.in_memory(uid)}/volumes"):
            _remove(path)

    def remove(self, uid: str) -> None:
        """Nothing of the Pod's files is left. Raises: OSError."""
        self.tear_down(uid)
        _remove(self._places.on_disk(uid))
        _remove(self._places.in_memory(uid))

    def make_folder(self, name: str) -> str:
        """The folder of a new PersistentVolume. Raises: OSError, ValueError."""
        return persistent.make_folder(self._places.local_volumes, name)

    def remove_folder(self, name: str) -> None:
        """A PersistentVolume's folder is gone. Raises: OSError, ValueError."""
        persistent.remove_folder(self._places.local_volumes, name)

    def sub_path(self, pod: core_v1.Pod, volume: PreparedVolume, path: str, container: str, index: int) -> str:
        """The node's path of a part of a volume, safe against links that lead out of it. Raises: OSError, ValueError."""
        folder = self._places.on_disk(pod.metadata.uid)
        return sub_paths.bind(
            volume.path, path, f"{folder}/volume-subpaths/{volume.name}/{container}/{index}", self._mounts
        )

    def pods_on_disk(self) -> set[str]:
        """Uids of the Pods that have files here."""
        out = set()
        for folder in (f"{self._places.root}/pods", self._places.memory):
            if os.path.isdir(folder):
                out |= set(os.listdir(folder))
        return out

    def _set_up(
        self, pod: core_v1.Pod, volume: core_v1.Volume, contents: Contents | None, now: float
    ) -> PreparedVolume:
        uid, name = pod.metadata.uid, volume.name
        if volume.empty_dir is not None:
            return PreparedVolume(name, self._empty_dir(pod, volume.name, volume.empty_dir))
        if volume.host_path is not None:
            path = volume.host_path.path
            is_folder = host_path.prepare(path, volume.host_path.type or "")
            return PreparedVolume(name, path, is_file=not is_folder, relabel=False)
        if volume.image is not None:
            source = volume.image
            return PreparedVolume(name, "", True, image=source.reference, pull_policy=source.pull_policy)
        if contents is not None:
            folder = f"{self._places.in_memory(uid)}/volumes/{name}"
            os.makedirs(folder, mode=0o755, exist_ok=True)
            secret = volume.secret is not None or volume.projected is not None
            os.chmod(folder, SECRET_FOLDER_MODE if secret else SHARED_FOLDER_MODE)
            atomic_writer.write(folder, contents.files, now, group=fs_group(pod))
            return PreparedVolume(name, folder, readonly=True)
        raise ValueError("no volume plugin matched")

    def _empty_dir(self, pod: core_v1.Pod, name: str, source: core_v1.EmptyDirVolumeSource) -> str:
        folder = f"{self._places.on_disk(pod.metadata.uid)}/volumes/kubernetes.io~empty-dir/{name}"
        fresh = not os.path.isdir(folder)
        os.makedirs(folder, mode=0o755, exist_ok=True)
        if source.medium == "Memory":
            if not self._mounts.is_mounted(folder):
                fresh = True
                limit = memory_volume_bytes(pod, source.size_limit, self._memory_bytes())
                self._mounts.mount_tmpfs(folder, size_bytes=limit, mode=SHARED_FOLDER_MODE)
        elif source.medium.startswith(HUGE_PAGES):
            if not self._mounts.is_mounted(folder):
                fresh = True
                page_bytes = huge_page_bytes(pod, source.medium)
                self._mounts.mount_hugetlbfs(folder, page_bytes=page_bytes, mode=SHARED_FOLDER_MODE)
        elif source.medium:
            raise ValueError(f'unsupported medium "{source.medium}"')
        if fresh:
            # mkdir and mount obey the umask
            os.chmod(folder, SHARED_FOLDER_MODE)
            group = fs_group(pod)
            if group is not None:
                ownership.give_to_group(folder, group)
        return folder


def memory_volume_bytes(pod: core_v1.Pod, size_limit: str | None, node_bytes: int) -> int:
    """How large a volume in memory is: no larger than what the Pod may use, or than the node gives to Pods.

    Source: kubelet `emptydir/empty_dir.go` (calculateEmptyDirMemorySize), KEP-1967.
    """
    bounds = (node_bytes, pod_resources(pod).memory_limit, quantity.memory_bytes(size_limit or "0"))
    return min((bound for bound in bounds if bound > 0), default=0)


def huge_page_bytes(pod: core_v1.Pod, medium: str) -> int:
    """The page size of a volume of huge pages: `HugePages-2Mi` says it, `HugePages` means the one that the Pod asks for.

    Raises: ValueError. Source: kubelet `volume/emptydir/empty_dir.go` (getPageSizeMountOption).
    """
    prefix = "hugepages-"
    spec = pod.spec
    asked = {
        quantity.whole(name.removeprefix(prefix))
        for container in (*spec.init_containers, *spec.containers)
        for name in container.resources.requests
        if name.startswith(prefix)
    }
    named = medium.removeprefix(HUGE_PAGES).removeprefix("-")
    if named:
        asked &= {quantity.whole(named)}
    if not asked:
        raise ValueError(
            f"medium {medium}: hugePages storage requested, but there is no resource request for huge pages"
        )
    if len(asked) > 1:
        raise ValueError(f"medium: {medium} can't be used if container requests multiple huge page sizes")
    return asked.pop()


def _remove(path: str) -> None:
    """Remove a tree. A file that appears meanwhile is tried once more, then the reason is raised."""
    shutil.rmtree(path, ignore_errors=True)
    if os.path.lexists(path):
        shutil.rmtree(path)
