"""What a Pod's own files take on the node's disk. Blocking: runs in a thread."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from carob.api.claims import claim_name
from carob.base.disk_use import disk_usage
from carob.kubelet.sandbox_config import log_directory

if TYPE_CHECKING:
    from collections.abc import Mapping

    from carob.api.types import core_v1
    from carob.kubelet.volumes.setup import Places
    from carob.kubelet.volumes.types import PreparedVolume


class DiskUse(NamedTuple):
    """Bytes on disk, files and folders."""

    used_bytes: int
    inodes_used: int


NOTHING = DiskUse(0, 0)


class Filesystem(NamedTuple):
    """How large a file system is, and how much of it is free."""

    capacity_bytes: int
    available_bytes: int
    inodes: int
    inodes_free: int


class VolumeUse(NamedTuple):
    """What one volume takes of the file system that it lies on."""

    name: str
    used: DiskUse
    filesystem: Filesystem
    scratch: bool = False
    """Whether it counts as the Pod's ephemeral storage."""
    claim: str = ""
    """The name of its PersistentVolumeClaim."""


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


def volumes_in_use(pod: core_v1.Pod, prepared: Mapping[str, PreparedVolume]) -> list[VolumeUse]:
    """Those whose files upstream counts: not what belongs to the node (hostPath), images, and devices.

    Source: the volume plugins' `GetMetrics`: a claim's volume is as full as its file system, others are walked.
    """
    out = []
    for volume in pod.spec.volumes:
        found = prepared.get(volume.name)
        if found is None or not found.path or found.is_device or volume.host_path is not None:
            continue
        claim = ""
        if volume.persistent_volume_claim is not None or volume.ephemeral is not None:
            claim = claim_name(pod.metadata.name, volume)
        try:
            facts = os.statvfs(found.path)
        except OSError:
            continue  # it goes just now
        size = facts.f_frsize
        filesystem = Filesystem(facts.f_blocks * size, facts.f_bavail * size, facts.f_files, facts.f_ffree)
        if claim:
            used = DiskUse((facts.f_blocks - facts.f_bfree) * size, facts.f_files - facts.f_ffree)
        else:
            used = DiskUse(*disk_usage(found.path))
        scratch = volume.empty_dir is not None and not volume.empty_dir.medium
        out.append(VolumeUse(volume.name, used, filesystem, scratch, claim))
    return out
