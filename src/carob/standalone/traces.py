"""What is left of a cluster outside of its files: cgroups, processes, mounts, addresses, rules. For `carob down`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from carob.host.real import RealHost
from carob.network import node as network
from carob.network.layout import NetworkFailure
from carob.runtime.embedded.cleanup import remove_everything

if TYPE_CHECKING:
    from carob.base.layout import Cluster


def remove_traces(cluster: Cluster) -> list[str]:
    """Remove them; what could not be removed, a line each. Idempotent; also after kill -9 of everything."""
    left = list(remove_everything(RealHost(), cluster.name, cluster.state_dir, cluster.run_dir))
    # the network's traces are found by the cluster's name, also when nobody knows its nodes any more
    for node in [n.name for n in cluster.nodes] or ["node-0"]:
        try:
            network.remove_everything(cluster.name, cluster.node_dir(node) / "network")
        except NetworkFailure as error:
            left.append(str(error))
    return left
