"""Where the parts of one node keep their things, and where it lives: names and paths that several processes must agree on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from carob.network.layout import CniPlaces
from carob.network.segment import ApartNode
from carob.runtime.embedded.places import Places

if TYPE_CHECKING:
    from carob.base.layout import Cluster, NodeLayout


def runtime_places(cluster: Cluster, node: str) -> Places:
    """Where the node's runtime keeps its things."""
    return Places(str(cluster.node_dir(node) / "runtime"), str(cluster.node_run_dir(node)))


def apart_node(cluster: Cluster, node: NodeLayout) -> ApartNode:
    """The namespace and the wire of a node that lives apart."""
    return ApartNode(
        cluster=cluster.name,
        name=node.name,
        address=node.address,
        pod_range=node.pod_cidr,
        segment_range=cluster.segment_range,
        machine_address=cluster.inside_address,
        pin=str(cluster.netns(node.name)),
        switch_pin=str(cluster.switch_netns),
        address6=node.address6,
        pod_range6=node.pod_cidr6,
        segment_range6=cluster.segment_range6,
    )


def runtime_owner(cluster: Cluster, node: NodeLayout) -> str:
    """What marks a node's own on a runtime that others use too."""
    return f"{cluster.name}.{node.name}"


def cni_places(node: NodeLayout) -> CniPlaces | None:
    """Where the CNI plugins are that attach the node's Pods; None: carob does it itself."""
    return CniPlaces(node.cni_conf_dir, tuple(node.cni_bin_dirs)) if node.cni_conf_dir else None


def node_cgroup(cluster: Cluster, node: NodeLayout) -> str:
    """Under which control group the node's Pods live."""
    return f"/carob-{cluster.name}" + (f"/{node.name}" if node.apart else "")
