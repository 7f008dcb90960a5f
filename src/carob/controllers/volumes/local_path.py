"""The built-in provisioner: a volume is a folder on a node, which the node's kubelet makes and removes when asked.

`refusal`, `choose_node` and `new_volume` are pure; `LocalFolders` asks kubelets through the API server's node proxy, so
nothing on a node waits for claims, and a node that is away is told of as upstream tells of a storage that is away.
Differs: a folder has no size of its own; the capacity is what was asked for and nobody enforces it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import orjson

from carob.api import claims
from carob.api.status import ApiError
from carob.client.rest import error_of
from carob.controllers.volumes.decisions import PV_FINALIZER, YES

if TYPE_CHECKING:
    from collections.abc import Iterable

    from carob.api.types import core_v1, storage_v1
    from carob.client.rest import Client

PROVISIONER = "carob.local/local-path"


class Unprovisionable(Exception):
    """No volume can be made of this; the message is for the claim's event."""


def volume_name(claim: core_v1.PersistentVolumeClaim) -> str:
    """The name of the volume that is made for a claim: always the same, so that it is made once."""
    return f"pvc-{claim.metadata.uid}"


def check(claim: core_v1.PersistentVolumeClaim, class_: storage_v1.StorageClass) -> None:
    """Raises: Unprovisionable for what folders cannot be."""
    if claim.spec.selector is not None:
        raise Unprovisionable("claim.Spec.Selector is not supported for dynamic provisioning on local folders")
    if claims.mode(claim.spec.volume_mode) == "Block":
        raise Unprovisionable(f"{PROVISIONER} does not support block volume provisioning")
    for name in class_.parameters:
        raise Unprovisionable(f'invalid option "{name}" for volume plugin {PROVISIONER}')
    if claim.spec.data_source is not None or claim.spec.data_source_ref is not None:
        raise Unprovisionable(f"{PROVISIONER} does not support data sources")


def choose_node(
    claim: core_v1.PersistentVolumeClaim,
    class_: storage_v1.StorageClass,
    nodes: Iterable[core_v1.Node],
    volumes: Iterable[core_v1.PersistentVolume],
) -> core_v1.Node:
    """The node that the scheduler chose, else the allowed and ready one with the fewest volumes.

    Raises: Unprovisionable when there is none.
    """
    selected = claim.metadata.annotations.get(claims.SELECTED_NODE)
    present = {node.metadata.name: node for node in nodes}
    if selected is not None:
        if selected not in present:
            raise Unprovisionable(f'failed to get target node: node "{selected}" not found')
        if not _allowed(class_, present[selected]):
            raise Unprovisionable(f"node {selected} is not in the allowed topologies of class {class_.metadata.name}")
        return present[selected]
    counts = dict.fromkeys(present, 0)
    for volume in volumes:
        owner = node_of(volume, present.values())
        if owner is not None:
            counts[owner.metadata.name] += 1
    usable = [n for n in present.values() if not n.spec.unschedulable and _ready(n) and _allowed(class_, n)]
    if not usable:
        raise Unprovisionable("no node is ready for a new volume")
    return min(usable, key=lambda n: (counts[n.metadata.name], n.metadata.name))


def _ready(node: core_v1.Node) -> bool:
    return any(c.type == "Ready" and c.status == "True" for c in node.status.conditions)


def _allowed(class_: storage_v1.StorageClass, node: core_v1.Node) -> bool:
    terms = class_.allowed_topologies
    labels = node.metadata.labels
    return not terms or any(all(labels.get(e.key) in e.values for e in t.match_label_expressions) for t in terms)


def node_of(volume: core_v1.PersistentVolume, nodes: Iterable[core_v1.Node]) -> core_v1.Node | None:
    """The node that one of our volumes lies on; None when there is none such."""
    affinity = volume.spec.node_affinity
    if affinity is None or affinity.required is None:
        return None
    terms = affinity.required.node_selector_terms
    return next((n for n in nodes if claims.node_matches(terms, n.metadata.labels, n.metadata.name)), None)


def new_volume(
    claim: core_v1.PersistentVolumeClaim, class_: storage_v1.StorageClass, node: core_v1.Node, path: str
) -> dict[str, Any]:
    """The volume of a claim, as JSON, bound to it beforehand."""
    metadata = claim.metadata
    host = node.metadata.labels.get(claims.HOSTNAME)
    # as every provisioner of local volumes writes it; a node without the label is known by its name
    term = (
        {"matchExpressions": [{"key": claims.HOSTNAME, "operator": "In", "values": [host]}]}
        if host
        else {"matchFields": [{"key": "metadata.name", "operator": "In", "values": [node.metadata.name]}]}
    )
    return {
        "kind": "PersistentVolume",
        "apiVersion": "v1",
        "metadata": {
            "name": volume_name(claim),
            "annotations": {
                claims.BOUND_BY_CONTROLLER: YES,
                claims.PROVISIONED_BY: PROVISIONER,
            },
            "finalizers": [PV_FINALIZER],
        },
        "spec": {
            "capacity": {"storage": claims.requested(claim)},
            "accessModes": list(claim.spec.access_modes),
            "volumeMode": "Filesystem",
            "persistentVolumeReclaimPolicy": class_.reclaim_policy or "Delete",
            "storageClassName": class_.metadata.name,
            "mountOptions": list(class_.mount_options) or None,
            "local": {"path": path},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [term]}},
            "claimRef": {
                "kind": "PersistentVolumeClaim",
                "apiVersion": "v1",
                "namespace": metadata.namespace,
                "name": metadata.name,
                "uid": metadata.uid,
                "resourceVersion": metadata.resource_version,
            },
        },
    }


def is_simulated(node: core_v1.Node) -> bool:
    """Whether nobody is there who could be asked: Pods on it have no containers, so volumes need no folders."""
    return node.status.node_info.container_runtime_version.startswith("simulated://")


class LocalFolders:
    """Folders on nodes. Raises: Unprovisionable with the kubelet's or the proxy's words."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def make(self, node: core_v1.Node, volume: str) -> str:
        """The path of the volume's folder, which exists when this returns, unless the node itself does not."""
        if is_simulated(node):
            return f"/simulated/{volume}"
        answer = await self._ask("PUT", node.metadata.name, volume)
        return str(orjson.loads(answer)["path"])

    async def remove(self, node: core_v1.Node, volume: str) -> None:
        """The folder and all that is in it is gone when this returns."""
        if not is_simulated(node):
            await self._ask("DELETE", node.metadata.name, volume)

    async def _ask(self, method: str, node: str, volume: str) -> bytes:
        path = f"/api/v1/nodes/{quote(node)}/proxy/localVolumes/{quote(volume)}"
        try:
            answer = await self._client.raw(method, path)
        except (ApiError, ConnectionError, TimeoutError) as error:
            raise Unprovisionable(f"node {node}: {error}") from error
        if answer.status >= 300:
            raise Unprovisionable(f"node {node}: {error_of(answer).message or answer.status}")
        return answer.body
