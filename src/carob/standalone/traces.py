"""What is left of a cluster, or of one node, outside of its files: cgroups, processes, mounts, addresses, rules, wires.

For `carob down`, and for nodes that are switched off or taken away.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from carob.host.apart import apart
from carob.host.real import RealHost
from carob.host.types import CLONE_NEWNET
from carob.network import node as network
from carob.network import segment
from carob.network.layout import NetworkFailure
from carob.runtime.embedded.cleanup import remove_everything
from carob.standalone.places import apart_node, cni_places, node_cgroup, runtime_owner

if TYPE_CHECKING:
    from carob.base.layout import Cluster, NodeLayout


def remove_traces(cluster: Cluster) -> list[str]:
    """Remove them; what could not be removed, a line each. Idempotent; also after kill -9 of everything."""
    left = [line for node in cluster.nodes for line in _remove_driven(cluster, node)]
    left += remove_everything(RealHost(), cluster.name, cluster.state_dir, cluster.run_dir)
    left += [line for node in cluster.nodes for line in _give_back(cluster, node)]
    # the network's traces are found by the cluster's name, also when nobody knows its nodes any more
    here = {node.name: cni_places(node) for node in cluster.nodes if not node.apart}
    for name, cni in (here or {"node-0": None}).items():
        try:
            network.remove_everything(cluster.name, cluster.node_dir(name) / "network", cni)
        except NetworkFailure as error:
            left.append(str(error))
    return left


def remove_node_containers(cluster: Cluster, node: NodeLayout) -> list[str]:
    """What happens to a node's containers when its machine is switched off. Its agent must have ended."""
    name = f"{node_cgroup(cluster, node)}/kubepods".removeprefix("/carob-")
    folders = str(cluster.node_dir(node.name)), str(cluster.node_run_dir(node.name))
    return _remove_driven(cluster, node) + list(remove_everything(RealHost(), name, *folders))


def _remove_driven(cluster: Cluster, node: NodeLayout) -> list[str]:
    """What the node has on somebody else's runtime."""
    if not node.runtime_endpoint:
        return []
    from carob.runtime.cri import cleanup

    return cleanup.remove_everything(node.runtime_endpoint, runtime_owner(cluster, node))


def _give_back(cluster: Cluster, node: NodeLayout) -> list[str]:
    """The addresses that CNI plugins gave to Pods of a node that lives apart; all else went, or goes, with its namespace."""
    places, left = cni_places(node), list[str]()
    if places is None or not node.apart:
        return left
    folder = cluster.node_dir(node.name) / "network"

    def work() -> None:
        # a plugin must not take anything of the same name from the machine itself
        RealHost().unshare(CLONE_NEWNET)
        left.extend(network.give_back(places, folder))

    try:
        apart(work, "carob-cni")
    except OSError as error:
        left.append(f"addresses of {node.name}: {error}")
    return left


def remove_node(cluster: Cluster, node: NodeLayout) -> list[str]:
    """Everything of a node that lives apart, but for its files. Its agent must have ended."""
    folders = str(cluster.node_dir(node.name)), str(cluster.node_run_dir(node.name))
    left = list(remove_everything(RealHost(), node_cgroup(cluster, node).removeprefix("/carob-"), *folders))
    left += _give_back(cluster, node)
    try:
        segment.remove(apart_node(cluster, node), RealHost())
    except NetworkFailure as error:
        left.append(str(error))
    return left


def cut_node(cluster: Cluster, node: NodeLayout) -> None:
    """Unplug a node that lives apart. Raises: NetworkFailure."""
    segment.cut(apart_node(cluster, node), RealHost())


def plug_node(cluster: Cluster, node: NodeLayout) -> None:
    """Plug a node that lives apart in again. Raises: NetworkFailure."""
    segment.connect(apart_node(cluster, node), RealHost())


def is_cut(cluster: Cluster, node: NodeLayout) -> bool:
    """Whether a node that lives apart is unplugged; False for who may not look."""
    try:
        return segment.is_cut(apart_node(cluster, node), RealHost())
    except OSError:
        return False
