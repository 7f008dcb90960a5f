"""Binds a Pod to its node, and does not rest until it is known whether that has happened.

Touches the API through `client`. Differs: upstream takes a binding whose answer was lost for failed, and may give the room
to another Pod before it hears that both have it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from carob.api.status import ApiError
from carob.api.types import core_v1, meta_v1
from carob.base.log import get_logger
from carob.scheduler.storage import BindingFailed
from carob.scheduler.views import PodView

if TYPE_CHECKING:
    from carob.base.clock import Clock
    from carob.client.rest import Client
    from carob.scheduler.devices.inventory import Devices
    from carob.scheduler.devices.pod_devices import DevicePlan
    from carob.scheduler.extenders import Extender
    from carob.scheduler.pod_volumes import Plan
    from carob.scheduler.pods import PodInfo
    from carob.scheduler.snapshot import Snapshot
    from carob.scheduler.storage import Storage
    from carob.scheduler.voice import Voice

ASK_AGAIN_SECONDS = 0.5

_log = get_logger("scheduler")


class Binder:
    """Gives Pods what they were promised: volumes and devices first, then the node."""

    def __init__(
        self, client: Client, clock: Clock, snapshot: Snapshot, storage: Storage, devices: Devices, voice: Voice
    ) -> None:
        self._client = client
        self._clock = clock
        self._snapshot = snapshot
        self._storage = storage
        self._devices = devices
        self._voice = voice

    async def claims(self, pod: PodInfo, node_name: str, plan: Plan | None, devices: DevicePlan | None) -> None:
        """The Pod's claims have what was planned for them when this returns, which may take minutes.

        Raises: ApiError, ConnectionError, BindingFailed.
        """
        await self._voice.expect(pod, node_name)
        if plan is not None and not plan.empty:
            try:
                await self._storage.carry_out(plan, node_name, self._snapshot.profile(pod).bind_timeout_seconds)
            except (ApiError, ConnectionError, BindingFailed):
                if devices is not None:
                    await self._devices.give_back(devices, pod)
                raise
            finally:
                self._storage.forget(plan)
        if devices is not None:
            await self._devices.carry_out(devices, pod)

    async def bind(self, pod: PodInfo, node_name: str, devices: DevicePlan | None, extender: Extender | None) -> None:
        """The Pod has the node when this returns; it surely has not when it raises. `extender`: who may do it instead.

        Raises: ApiError, ConnectionError, BindingFailed.
        """
        try:
            if extender is None or not await extender.has_bound(pod, node_name):
                await self._bind(pod, node_name)
        except (ApiError, ConnectionError, BindingFailed):
            if devices is not None:
                await self._devices.give_back(devices, pod)
            raise

    async def _bind(self, pod: PodInfo, node_name: str) -> None:
        metadata = pod.view.metadata
        binding = core_v1.Binding(
            metadata=meta_v1.ObjectMeta(name=metadata.name, namespace=metadata.namespace, uid=metadata.uid),
            target=core_v1.ObjectReference(kind="Node", name=node_name),
        )
        try:
            await self._client.post(core_v1.Pod, metadata.name, metadata.namespace, "binding", binding, meta_v1.Status)
        except (ApiError, ConnectionError) as error:
            if isinstance(error, ApiError) and error.code < 500:
                raise
            if not await self._has_happened(pod, node_name):
                raise
            _log.info("the binding of %s was not answered, but has happened: %s", pod.key, error)

    async def _has_happened(self, pod: PodInfo, node_name: str) -> bool:
        """Ask until there is an answer, or until the API has told that the Pod has a node."""
        metadata = pod.view.metadata
        while self._snapshot.is_assumed(pod.key):
            try:
                found = await self._client.get(PodView, metadata.name, metadata.namespace)
            except ApiError as error:
                if error.code < 500:
                    return False
            except ConnectionError:
                pass
            else:
                return found.metadata.uid == metadata.uid and found.spec.node_name == node_name
            await self._clock.sleep(ASK_AGAIN_SECONDS)
        return True
