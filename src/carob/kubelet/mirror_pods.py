"""Keeps one mirror Pod in the API for each static Pod of this node, and none for those that are no more.

Touches the API. Level-triggered: whoever deletes a mirror only gets a new one. Source: kubelet `pod/mirror_client.go`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from carob.api.status import ApiError
from carob.api.types import core_v1
from carob.client.workqueue import WorkQueue
from carob.kubelet.static_pods import is_mirror, mirror_pod, shows

if TYPE_CHECKING:
    from collections.abc import Callable

    from carob.base.clock import Clock
    from carob.client.informer import Informer
    from carob.client.rest import Client
    from carob.kubelet.status_manager import StatusManager


class MirrorPods:
    """Keys are `namespace/name`."""

    def __init__(
        self,
        client: Client,
        clock: Clock,
        node_name: str,
        pods: Informer[core_v1.Pod],
        static: Callable[[str], core_v1.Pod | None],
        statuses: StatusManager,
    ) -> None:
        self._client = client
        self._node_name = node_name
        self._pods = pods
        self._static = static
        self._statuses = statuses
        self._queue = WorkQueue(clock)

    def add(self, key: str) -> None:
        """The static Pod or its mirror has changed."""
        self._queue.add(key)

    async def run(self) -> None:
        """Until cancelled."""
        await self._queue.work(self._sync, 1, "mirror pods")

    async def _sync(self, key: str) -> None:
        pod, shown = self._static(key), self._pods.get(key)
        if shown is not None and not is_mirror(shown):
            return
        if pod is None:
            if shown is not None:
                await self._delete(shown)
            return
        if shown is None:
            await self._create(pod)
        elif shows(shown, pod):
            self._statuses.set_mirror(pod.metadata.uid, shown)
        else:
            await self._delete(shown)

    async def _create(self, pod: core_v1.Pod) -> None:
        node = await self._client.get(core_v1.Node, self._node_name)
        try:
            await self._client.create(mirror_pod(pod, node))
        except ApiError as error:
            # the informer brings it
            if error.reason != "AlreadyExists":
                raise

    async def _delete(self, mirror: core_v1.Pod) -> None:
        metadata = mirror.metadata
        try:
            await self._client.delete(
                core_v1.Pod, metadata.name, metadata.namespace, grace_period_seconds=0, uid=metadata.uid
            )
        except ApiError as error:
            if error.reason not in ("NotFound", "Conflict"):
                raise
