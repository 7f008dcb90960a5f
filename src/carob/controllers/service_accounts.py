"""A `default` ServiceAccount in every namespace that is not being deleted.

Source: kube-controller-manager serviceaccount/serviceaccounts_controller.go.
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

NAME = "default"
WORKERS = 2


def reconcile(namespace: core_v1.Namespace | None, *, exists: bool) -> core_v1.ServiceAccount | None:
    """The account to create, or None when nothing is to be done."""
    if namespace is None or namespace.status.phase != "Active" or exists:
        return None
    metadata = meta_v1.ObjectMeta(name=NAME, namespace=namespace.metadata.name)
    return core_v1.ServiceAccount(metadata=metadata)


class ServiceAccountController:
    """Keys are names of namespaces."""

    def __init__(
        self,
        client: Client,
        namespaces: Informer[core_v1.Namespace],
        accounts: Informer[core_v1.ServiceAccount],
        clock: Clock,
    ) -> None:
        self._client = client
        self._namespaces = namespaces
        self._accounts = accounts
        self._queue = WorkQueue(clock)

    async def run(self) -> None:
        """Until cancelled."""
        await self._namespaces.wait_synced()
        await self._accounts.wait_synced()
        self._namespaces.subscribe(lambda key, old, new: self._queue.add(key))
        self._accounts.subscribe(lambda key, old, new: self._deleted(key) if new is None else None)
        await self._queue.work(self._sync, WORKERS, "service accounts")

    def _deleted(self, key: str) -> None:
        namespace, _, name = key.partition("/")
        if name == NAME:
            self._queue.add(namespace)

    async def _sync(self, key: str) -> None:
        exists = self._accounts.get(f"{key}/{NAME}") is not None
        account = reconcile(self._namespaces.get(key), exists=exists)
        if account is None:
            return
        try:
            await self._client.create(account)
        except ApiError as error:
            if error.reason not in ("AlreadyExists", "NotFound", "Forbidden"):
                raise
