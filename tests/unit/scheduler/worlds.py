"""Short words for Pods and nodes in tests."""

from __future__ import annotations

from typing import Any

from carob.api import codec
from carob.scheduler.pods import PodInfo
from carob.scheduler.snapshot import Snapshot
from carob.scheduler.views import NodeView, PodView


def pod_view(name: str = "pod", requests: dict[str, str] | None = None, **spec: Any) -> PodView:
    """A Pod of one container; `labels`, `node_name`, `ports`, `status` and any field of its spec."""
    metadata = {"name": name, "namespace": "default", "uid": f"uid-{name}", "labels": spec.pop("labels", {})}
    if "owner" in spec:
        owner = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": spec.pop("owner")}
        metadata["ownerReferences"] = [owner | {"uid": "uid-owner", "controller": True}]
    status = spec.pop("status", {})
    container = {
        "name": "main",
        "image": spec.pop("image", "web"),
        "resources": {"requests": requests or {}},
        "ports": spec.pop("ports", []),
    }
    tree = {
        "metadata": metadata,
        "spec": {"containers": [container], "schedulerName": "default-scheduler"} | spec,
        "status": status,
    }
    return codec.from_tree(PodView, tree)


def pod(name: str = "pod", requests: dict[str, str] | None = None, **spec: Any) -> PodInfo:
    return PodInfo(pod_view(name, requests, **spec))


def node_view(name: str = "node-0", cpu: str = "4", memory: str = "8Gi", pods: str = "110", **more: Any) -> NodeView:
    allocatable = {"cpu": cpu, "memory": memory, "pods": pods} | more.pop("extended", {})
    tree = {
        "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name} | more.pop("labels", {})},
        "spec": {"taints": more.pop("taints", []), "unschedulable": more.pop("unschedulable", False)},
        "status": {"allocatable": allocatable, "images": more.pop("images", [])},
    }
    assert not more
    return codec.from_tree(NodeView, tree)


def snapshot(*nodes: NodeView) -> Snapshot:
    made = Snapshot()
    for node in nodes:
        made.set_node(node)
    return made
