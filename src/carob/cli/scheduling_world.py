"""The scheduler's view of a cluster, made from what its API says: for `explain-scheduling` where nobody else explains.

Touches the API through a connection, with one list a kind.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from carob.api import codec
from carob.api.types import core_v1, policy_v1, storage_v1

if TYPE_CHECKING:
    from collections.abc import Iterable

    from carob.cli.connection import Connection
    from carob.scheduler.pod_volumes import StorageView
    from carob.scheduler.pods import PodInfo
    from carob.scheduler.snapshot import Snapshot


def world_of(connection: Connection, name: str) -> tuple[PodInfo, Snapshot, str]:
    """The Pod as if it had no node, everything else as it is, and the node that it has."""
    from carob.scheduler.budgets import budget_of
    from carob.scheduler.pod_volumes import look
    from carob.scheduler.pods import PodInfo
    from carob.scheduler.selecting import REPLICA_SET, REPLICATION_CONTROLLER, STATEFUL_SET
    from carob.scheduler.snapshot import Snapshot
    from carob.scheduler.views import NodeView, PodView, ReplicaSetView, ReplicationControllerView, StatefulSetView

    view = codec.from_tree(PodView, connection.json("GET", f"/api/v1/namespaces/{connection.namespace}/pods/{name}"))
    placed = view.spec.node_name
    view.spec.node_name = ""
    pod = PodInfo(view)
    snapshot = Snapshot()
    for one in _items(connection, "/api/v1/namespaces"):
        snapshot.set_namespace(one["metadata"]["name"], one["metadata"].get("labels") or {})
    for one in _items(connection, "/api/v1/nodes"):
        snapshot.set_node(codec.from_tree(NodeView, one))
    living = {"fieldSelector": "status.phase!=Succeeded,status.phase!=Failed"}
    others = [PodInfo(codec.from_tree(PodView, one)) for one in _items(connection, "/api/v1/pods", living)]
    for other in others:
        promised = other.view.status.nominated_node_name
        if other.node_name and other.key != pod.key:
            snapshot.set_pod(other)
        elif promised and not other.node_name:
            snapshot.nominations.promise(other, promised)
    for one in _items(connection, "/api/v1/services"):
        metadata = one["metadata"]
        snapshot.selecting.set_service(metadata["namespace"], metadata["name"], one["spec"].get("selector"))
    controllers: tuple[tuple[Any, Any, str], ...] = (
        (REPLICATION_CONTROLLER, ReplicationControllerView, "/api/v1/replicationcontrollers"),
        (REPLICA_SET, ReplicaSetView, "/apis/apps/v1/replicasets"),
        (STATEFUL_SET, StatefulSetView, "/apis/apps/v1/statefulsets"),
    )
    for kind, view_type, path in controllers:
        for one in _items(connection, path):
            metadata, owner = one["metadata"], codec.from_tree(view_type, one)
            snapshot.selecting.set_controller(kind, metadata["namespace"], metadata["name"], owner.spec.selector)
    budgets = _items(connection, "/apis/policy/v1/poddisruptionbudgets")
    snapshot.budgets = tuple(budget_of(codec.from_tree(policy_v1.PodDisruptionBudget, one)) for one in budgets)
    if pod.claims:
        view_of = _storage(connection)
        users: dict[str, int] = {}
        for other in others:
            for key, _ in other.claims if other.key != pod.key else ():
                users[key] = users.get(key, 0) + 1
        pod.volumes = look(pod, view_of, users)
    if view.spec.resource_claims:
        _look_at_devices(connection, pod)
    return pod, snapshot, placed


def _storage(connection: Connection) -> StorageView:
    from carob.scheduler.pod_volumes import StorageView
    from carob.scheduler.volume_limits import VolumeLimits

    group = "/apis/storage.k8s.io/v1"
    claims = _by_key(core_v1.PersistentVolumeClaim, _items(connection, "/api/v1/persistentvolumeclaims"))
    volumes = _by_key(core_v1.PersistentVolume, _items(connection, "/api/v1/persistentvolumes"))
    classes = _by_key(storage_v1.StorageClass, _items(connection, f"{group}/storageclasses"))
    csi_nodes = _by_key(storage_v1.CSINode, _items(connection, f"{group}/csinodes"))
    capacities = _by_key(storage_v1.CSIStorageCapacity, _items(connection, f"{group}/csistoragecapacities"))
    attached: dict[str, list[str]] = {}
    for one in _items(connection, f"{group}/volumeattachments"):
        volume = one["spec"]["source"].get("persistentVolumeName", "")
        attached.setdefault(one["spec"]["nodeName"], []).append(volume)
    return StorageView(
        claims=claims,
        volumes=volumes,
        classes=classes,
        limits=VolumeLimits(claims.get, volumes, classes, csi_nodes.get, lambda node: attached.get(node, ())),
        drivers=_by_key(storage_v1.CSIDriver, _items(connection, f"{group}/csidrivers")),
        capacities=capacities.values(),
    )


def _look_at_devices(connection: Connection, pod: PodInfo) -> None:
    from carob.api.types import resource_v1
    from carob.scheduler.devices.pod_devices import DevicesView, look
    from carob.scheduler.devices.pools import Offer, Pools
    from carob.scheduler.devices.taken import Taken

    group = "/apis/resource.k8s.io/v1"
    claims = _by_key(resource_v1.ResourceClaim, _items(connection, f"{group}/resourceclaims"))
    slices = _by_key(resource_v1.ResourceSlice, _items(connection, f"{group}/resourceslices"))
    taken = Taken()
    for claim in claims.values():
        if claim.status.allocation is not None:
            taken.count(claim.status.allocation, 1)
    view = DevicesView(
        claim_of=claims.get,
        classes=_by_key(resource_v1.DeviceClass, _items(connection, f"{group}/deviceclasses")),
        pools=Pools(map(Offer, slices.values())),
        taken=taken,
    )
    pod.devices = look(pod, view)


def _items(connection: Connection, path: str, query: dict[str, Any] | None = None) -> list[dict[str, Any]]:
    found = connection.json("GET", path, query or {})
    return found.get("items") or []


def _by_key(kind: Any, items: Iterable[dict[str, Any]]) -> dict[str, Any]:
    out = {}
    for item in items:
        metadata = item["metadata"]
        key = f"{metadata['namespace']}/{metadata['name']}" if metadata.get("namespace") else metadata["name"]
        out[key] = codec.from_tree(kind, item)
    return out
