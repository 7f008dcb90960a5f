"""ConfigMap `kube-root-ca.crt` in every namespace: the CA by which Pods know the API server.

Source: kube-controller-manager certificates/rootcacertpublisher.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from carob.api.status import ApiError
from carob.api.types import core_v1, meta_v1
from carob.client.workqueue import WorkQueue

if TYPE_CHECKING:
    from carob.base.clock import Clock
    from carob.client.informer import Informer
    from carob.client.rest import Client

NAME = "kube-root-ca.crt"
DATA_KEY = "ca.crt"
WORKERS = 2
_DESCRIPTION = (
    "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints such as the "
    "internal service IP or kubernetes.default.svc. No other usage is guaranteed across distributions of Kubernetes "
    "clusters."
)


def reconcile(
    namespace: core_v1.Namespace | None, existing: core_v1.ConfigMap | None, certificate: str
) -> core_v1.ConfigMap | None:
    """The ConfigMap as it has to be, or None when nothing is to be done."""
    if namespace is None or namespace.status.phase != "Active":
        return None
    data = {DATA_KEY: certificate}
    if existing is not None and existing.data == data and not existing.binary_data:
        return None
    metadata = meta_v1.ObjectMeta(
        name=NAME,
        namespace=namespace.metadata.name,
        annotations={"kubernetes.io/description": _DESCRIPTION},
        resource_version=existing.metadata.resource_version if existing is not None else "",
    )
    return core_v1.ConfigMap(metadata=metadata, data=data)


class RootCaPublisher:
    """Keys are names of namespaces."""

    def __init__(
        self,
        client: Client,
        namespaces: Informer[core_v1.Namespace],
        config_maps: Informer[core_v1.ConfigMap],
        certificate: str,
        clock: Clock,
    ) -> None:
        self._client = client
        self._namespaces = namespaces
        self._config_maps = config_maps
        self._certificate = certificate
        self._queue = WorkQueue(clock)

    async def run(self) -> None:
        """Until cancelled."""
        await self._namespaces.wait_synced()
        await self._config_maps.wait_synced()
        self._namespaces.subscribe(lambda key, old, new: self._queue.add(key))
        self._config_maps.subscribe(lambda key, old, new: self._queue.add(key.partition("/")[0]))
        await self._queue.work(self._sync, WORKERS, "root CA publisher")

    async def _sync(self, key: str) -> None:
        wanted = reconcile(self._namespaces.get(key), self._config_maps.get(f"{key}/{NAME}"), self._certificate)
        if wanted is None:
            return
        try:
            if wanted.metadata.resource_version:
                await self._client.update(wanted)
            else:
                await self._client.create(wanted)
        except ApiError as error:
            if error.reason not in ("AlreadyExists", "NotFound", "Forbidden"):
                raise
