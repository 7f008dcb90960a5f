"""The volume controllers of one server: their informers, their recorders, one list of parts to run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from carob.api.types import core_v1, storage_v1
from carob.client.events import EventRecorder
from carob.client.informer import Informer
from carob.controllers.volumes.attach_detach import AttachDetach
from carob.controllers.volumes.binder import BY_CLAIM, VolumeBinder, claims_of_pod
from carob.controllers.volumes.ephemeral import EphemeralVolumes
from carob.controllers.volumes.expansion import VolumeExpansion
from carob.controllers.volumes.protection import StorageProtection

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from carob.base.clock import Clock
    from carob.base.ids import Randomness
    from carob.client.rest import Client
    from carob.controllers.views import PodView


class VolumeControllers:
    """What has to run: `informers`, `recorders` (by name) and `parts` (by name); `claims` is also for others."""

    def __init__(
        self,
        client: Client,
        clock: Clock,
        randomness: Randomness,
        pods: Informer[PodView],
        nodes: Informer[core_v1.Node],
    ) -> None:
        pods.add_index(BY_CLAIM, claims_of_pod)
        volumes = Informer(client, core_v1.PersistentVolume, clock)
        wanted = self.claims = Informer(client, core_v1.PersistentVolumeClaim, clock)
        classes = Informer(client, storage_v1.StorageClass, clock)
        attributes = Informer(client, storage_v1.VolumeAttributesClass, clock)
        self.informers: list[Informer[Any]] = [volumes, wanted, classes, attributes]
        self.recorders = {
            name: EventRecorder(client, name, clock, randomness)
            for name in ("persistentvolume-controller", "volume_expand", "ephemeral_volume", "attachdetach-controller")
        }
        binding, expanding, ephemeral, attaching = self.recorders.values()
        attach_detach = AttachDetach(client, volumes, wanted, nodes, pods, attaching, clock)
        self.informers += attach_detach.informers
        self.parts: dict[str, Callable[[], Awaitable[None]]] = {
            "volume binder": VolumeBinder(client, volumes, wanted, classes, nodes, pods, binding, clock).run,
            "storage protection": StorageProtection(client, volumes, wanted, pods, attributes, clock).run,
            "volume expansion": VolumeExpansion(client, volumes, wanted, expanding, clock).run,
            "ephemeral volumes": EphemeralVolumes(client, pods, wanted, ephemeral, clock).run,
            "attach-detach": attach_detach.run,
        }
