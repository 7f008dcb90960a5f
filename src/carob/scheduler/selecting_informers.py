"""Keeps `Selecting` right: Services, ReplicationControllers, ReplicaSets and StatefulSets, as the API has them."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from carob.client.informer import Informer, split_key
from carob.scheduler.selecting import REPLICA_SET, REPLICATION_CONTROLLER, STATEFUL_SET
from carob.scheduler.views import ReplicaSetView, ReplicationControllerView, ServiceView, StatefulSetView

if TYPE_CHECKING:
    from carob.base.clock import Clock
    from carob.client.rest import Client
    from carob.scheduler.selecting import Kind, Selecting

CONTROLLERS: tuple[tuple[Kind, type[Any], str], ...] = (
    (REPLICATION_CONTROLLER, ReplicationControllerView, "replication controllers"),
    (REPLICA_SET, ReplicaSetView, "replica sets"),
    (STATEFUL_SET, StatefulSetView, "stateful sets"),
)


class SelectingInformers:
    """Run its `informers`; what they hear goes into the snapshot's `Selecting`."""

    def __init__(self, client: Client, clock: Clock, selecting: Selecting) -> None:
        self._selecting = selecting
        services = Informer(client, ServiceView, clock, name="scheduler services")
        services.subscribe(self._service_changed)
        self.informers: list[Informer[Any]] = [services]
        for kind, view, name in CONTROLLERS:
            informer = Informer(client, view, clock, name=f"scheduler {name}")
            informer.subscribe(partial(self._controller_changed, kind))
            self.informers.append(informer)

    def _service_changed(self, key: str, old: ServiceView | None, new: ServiceView | None) -> None:
        if old is not None and new is not None and old.spec.selector == new.spec.selector:
            return
        self._selecting.set_service(*split_key(key), new.spec.selector if new is not None else None)

    def _controller_changed(self, kind: Kind, key: str, old: Any, new: Any) -> None:
        if old is not None and new is not None and old.spec.selector == new.spec.selector:
            return
        self._selecting.set_controller(kind, *split_key(key), new.spec.selector if new is not None else None)
