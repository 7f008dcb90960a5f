"""One container as the runtime is asked to make it. Pure: everything that had to be looked up is an argument.

Source: kubelet `kuberuntime_container.go` (generateContainerConfig), `kubelet_pods.go` (makeMounts).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from carob.kubelet import labels
from carob.kubelet.expansion import expand_all
from carob.kubelet.failures import CREATE_CONTAINER_CONFIG_ERROR, StepFailure
from carob.runtime.types import ContainerConfig, Device, Mount, MountPropagation

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from carob.api.types import core_v1
    from carob.kubelet.volumes.types import PreparedVolume
    from carob.runtime.types import Image, Resources, SecurityContext

HOSTS_PATH = "/etc/hosts"
_PROPAGATION = {
    "None": MountPropagation.PRIVATE,
    "HostToContainer": MountPropagation.HOST_TO_CONTAINER,
    "Bidirectional": MountPropagation.BIDIRECTIONAL,
}


class Ingredients(Struct, frozen=True):
    """What the container is made of besides its spec.

    `sub_paths` are the node's paths of mounts with a subPath, by the mount's place in the list; for an image, the path
    within it.
    """

    attempt: int
    image: Image
    env: Mapping[str, str]
    volumes: Mapping[str, PreparedVolume]
    sub_paths: Mapping[int, str]
    images: Mapping[str, str]
    """Ids of the images that are mounted, by the volume's name."""
    resources: Resources
    security: SecurityContext
    hosts_file: str
    termination_file: str
    stop_signal: str = ""
    cdi_devices: Sequence[str] = ()


def container_config(pod: core_v1.Pod, container: core_v1.Container, made_of: Ingredients) -> ContainerConfig:
    """The runtime's order. Raises: StepFailure for a mount of a volume that there is not."""
    mounts = volume_mounts(container, made_of)
    taken = {mount.container_path for mount in mounts}
    if made_of.hosts_file and HOSTS_PATH not in taken:
        mounts.append(Mount(container_path=HOSTS_PATH, host_path=made_of.hosts_file, relabel=True))
    if made_of.termination_file and container.termination_message_path:
        place = container.termination_message_path
        mounts.append(Mount(container_path=place, host_path=made_of.termination_file, relabel=True))
    return ContainerConfig(
        name=container.name,
        attempt=made_of.attempt,
        image=made_of.image.id,
        image_spec=container.image,
        command=expand_all(container.command, made_of.env) if container.command else None,
        args=expand_all(container.args, made_of.env) if container.args else None,
        working_dir=container.working_dir,
        env=list(made_of.env.items()),
        mounts=mounts,
        devices=volume_devices(container, made_of),
        cdi_devices=list(made_of.cdi_devices),
        labels=labels.container_labels(pod, container.name),
        annotations=labels.container_annotations(pod, container, made_of.attempt),
        log_path=f"{container.name}/{made_of.attempt}.log",
        stdin=container.stdin,
        stdin_once=container.stdin_once,
        tty=container.tty,
        stop_signal=made_of.stop_signal,
        resources=made_of.resources,
        security=made_of.security,
    )


def volume_devices(container: core_v1.Container, made_of: Ingredients) -> list[Device]:
    """The block devices of the spec, in its order."""
    out = []
    for device in container.volume_devices:
        volume = made_of.volumes.get(device.name)
        if volume is None or not volume.is_device:
            raise StepFailure(
                CREATE_CONTAINER_CONFIG_ERROR,
                f'cannot find volume "{device.name}" to pass into container "{container.name}"',
            )
        permissions = "r" if volume.readonly else "rwm"
        out.append(Device(container_path=device.device_path, host_path=volume.path, permissions=permissions))
    return out


def volume_mounts(container: core_v1.Container, made_of: Ingredients) -> list[Mount]:
    """The mounts of the spec, in its order."""
    out = []
    for index, mount in enumerate(container.volume_mounts):
        volume = made_of.volumes.get(mount.name)
        if volume is None:
            raise StepFailure(
                CREATE_CONTAINER_CONFIG_ERROR,
                f'cannot find volume "{mount.name}" to mount into container "{container.name}"',
            )
        readonly = mount.read_only or volume.readonly
        if volume.image:
            place = mount.mount_path if mount.mount_path.startswith("/") else f"/{mount.mount_path}"
            image, part = made_of.images[mount.name], made_of.sub_paths.get(index, "")
            out.append(Mount(container_path=place, host_path="", readonly=True, image=image, image_sub_path=part))
            continue
        out.append(
            Mount(
                container_path=mount.mount_path if mount.mount_path.startswith("/") else f"/{mount.mount_path}",
                host_path=made_of.sub_paths.get(index, volume.path),
                readonly=readonly,
                recursive_readonly=readonly and mount.recursive_read_only in ("Enabled", "IfPossible"),
                propagation=_PROPAGATION[mount.mount_propagation or "None"],
                relabel=volume.relabel,
            )
        )
    return out
