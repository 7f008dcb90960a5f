"""The devices of one node, for the rest of the kubelet: nothing of it is loaded before a driver or a Pod needs it.

Touches the drivers' folder (inotify) and the API. Source: kubelet `cm/dra`.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import orjson

from carob.api.status import ApiError
from carob.base.log import get_logger, pairs
from carob.base.tasks import Signal
from carob.host.events import watch_change
from carob.host.syscalls import IN_CREATE, IN_DELETE, IN_MOVED_FROM, IN_MOVED_TO

if TYPE_CHECKING:
    from collections.abc import Callable

    from carob.api.types import core_v1
    from carob.base.clock import Clock
    from carob.base.tasks import TaskGroup
    from carob.client.rest import Client
    from carob.kubelet.devices.manager import DeviceManager
    from carob.kubelet.devices.plugins import Plugins

WIPE_SECONDS = 30.0
"""How long a driver may be away before what it offered on this node is taken back. Source: `wipingDelay`."""
_SLICES = "/apis/resource.k8s.io/v1/resourceslices"

_log = get_logger("kubelet.devices")


class NodeDevices:
    """`prepare` before a Pod's sandbox, `unprepare` after it; `changed` is called when a driver has come."""

    def __init__(self, client: Client, clock: Clock, node_name: str, root: str, changed: Callable[[], None]) -> None:
        self._client = client
        self._clock = clock
        self._node_name = node_name
        self._root = root
        self._folder = f"{root}/plugins_registry"
        self._state_file = f"{root}/dra_manager_state"
        self._changed = changed
        self._signal = Signal()
        self._group: TaskGroup | None = None
        self._plugins: Plugins | None = None
        self._manager: DeviceManager | None = None

    def open(self) -> None:
        """Take over what the last kubelet had prepared."""
        if os.path.exists(self._state_file):
            self._load()

    def _load(self) -> DeviceManager:
        if self._manager is None:
            from carob.kubelet.devices.manager import DeviceManager
            from carob.kubelet.devices.plugins import Plugins

            self._plugins = Plugins(self._folder, self._clock, self._changed, self._driver_lost)
            self._manager = DeviceManager(self._client, self._state_file, self._plugins)
            self._manager.open()
        return self._manager

    def pods(self) -> set[str]:
        """The uids of Pods for which something is prepared."""
        return self._manager.pods() if self._manager is not None else set()

    async def prepare(self, pod: core_v1.Pod) -> None:
        """Everything that the Pod's claims were allocated is ready when this returns. Raises: PrepareFailure."""
        if pod.spec.resource_claims or pod.status.extended_resource_claim_status is not None:
            await self._load().prepare(pod)

    async def unprepare(self, pod_uid: str) -> None:
        """What no other Pod uses is given back when this returns. Raises: PrepareFailure; then again."""
        if self._manager is not None:
            await self._manager.unprepare(pod_uid)

    def cdi_devices(self, pod: core_v1.Pod, container: core_v1.Container) -> list[str]:
        """The CDI names of what a container gets. Raises: PrepareFailure if a claim is not prepared."""
        if not container.resources.claims and pod.status.extended_resource_claim_status is None:
            return []
        return self._load().cdi_devices(pod, container)

    async def run(self, group: TaskGroup) -> None:
        """Hear of drivers, until cancelled; `group` takes what waits for them."""
        self._group = group
        os.makedirs(self._folder, mode=0o750, exist_ok=True)
        os.makedirs(f"{self._root}/plugins", mode=0o750, exist_ok=True)
        group.spawn(self._wipe_unknown(), "slices of drivers that are not there")
        mask = IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO
        watch = watch_change(self._folder, mask, self._signal.set)
        self._signal.set()
        try:
            while True:
                await self._signal.wait()
                if self._plugins is None and os.listdir(self._folder):
                    self._load()
                if self._plugins is not None:
                    await self._plugins.settle()
        finally:
            watch.close()
            if self._plugins is not None:
                await self._plugins.close()

    def _names(self) -> set[str]:
        return self._plugins.names if self._plugins is not None else set()

    # what drivers offered that do not come back

    def _driver_lost(self, driver: str) -> None:
        if self._group is not None:
            self._group.spawn(self._wipe_later(driver), f"slices of {driver}")

    async def _wipe_later(self, driver: str) -> None:
        await self._clock.sleep(WIPE_SECONDS)
        if driver not in self._names():
            await self._wipe(driver)

    async def _wipe_unknown(self) -> None:
        """Once, a while after the start."""
        await self._clock.sleep(WIPE_SECONDS)
        try:
            answer = await self._client.raw("GET", _SLICES, query=f"fieldSelector=spec.nodeName%3D{self._node_name}")
        except ConnectionError as error:
            _log.info("cannot list resource slices %s", pairs(error=error))
            return
        items: list[Any] = orjson.loads(answer.body).get("items") or [] if answer.status < 300 else []
        for driver in sorted({one["spec"]["driver"] for one in items} - self._names()):
            await self._wipe(driver)

    async def _wipe(self, driver: str) -> None:
        from carob.api.types import resource_v1

        selector = f"spec.nodeName={self._node_name},spec.driver={driver}"
        try:
            await self._client.delete_collection(resource_v1.ResourceSlice, field_selector=selector)
        except (ApiError, ConnectionError) as error:
            _log.info("cannot delete resource slices %s", pairs(driver=driver, error=error))
