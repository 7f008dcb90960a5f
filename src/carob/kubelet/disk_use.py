"""What a Pod's own files take on the node's disk. Blocking: runs in a thread."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from carob.base.disk_use import disk_usage
from carob.kubelet.sandbox_config import log_directory

if TYPE_CHECKING:
    from carob.api.types import core_v1
    from carob.kubelet.volumes.setup import Places


class DiskUse(NamedTuple):
    """Bytes on disk, files and folders."""

    used_bytes: int
    inodes_used: int


NOTHING = DiskUse(0, 0)


def log_use(log_root: str, pod: core_v1.Pod) -> dict[str, DiskUse]:
    """By the container's name: what it has written to its standard output and error, as far as that is kept."""
    folder = log_directory(log_root, pod)
    containers = [*pod.spec.init_containers, *pod.spec.containers]
    return {container.name: DiskUse(*disk_usage(f"{folder}/{container.name}")) for container in containers}


def volume_use(places: Places, pod: core_v1.Pod) -> dict[str, DiskUse]:
    """By the volume's name: the emptyDirs of the Pod that lie on the disk."""
    folder = f"{places.on_disk(pod.metadata.uid)}/volumes/kubernetes.io~empty-dir"
    return {
        volume.name: DiskUse(*disk_usage(f"{folder}/{volume.name}"))
        for volume in pod.spec.volumes
        if volume.empty_dir is not None and not volume.empty_dir.medium
    }
