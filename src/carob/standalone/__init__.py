"""Builds the real objects of one process, wires them and runs them. Knows no business.

`run_server` and `run_node` are the two roles; `remove_traces` is what `carob down` needs of the rooms below. Modules
are imported when a role starts, because a command that only talks to a server needs none of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from carob.base.layout import Cluster, NodeLayout


def run_server(cluster: Cluster, log_level: str, terms: tuple[float, float, float]) -> int:
    """The server's process, until SIGTERM or SIGINT; the exit code.

    Units: `terms` are seconds: how long a leader's lease lasts, how long it tries to renew it, how often.
    """
    from carob.standalone.election import Terms
    from carob.standalone.process import run
    from carob.standalone.server import ServerProcess

    return run(lambda: ServerProcess(cluster, Terms(*terms)).run(), log_level)


def run_node(cluster: Cluster, node: str, log_level: str) -> int:
    """A node's process, until SIGTERM or SIGINT; the exit code."""
    from carob.network.layout import NetworkFailure
    from carob.runtime.types import RuntimeFailure
    from carob.standalone import node as role
    from carob.standalone.joining import Moved
    from carob.standalone.process import cannot_go_on, run

    try:
        lock = role.own(cluster, node)
        # before any thread or loop exists: namespaces belong to threads
        role.enter_namespaces(cluster, node)
    except (OSError, RuntimeFailure, NetworkFailure) as error:
        return cannot_go_on(error)
    layout = cluster.node(node)

    async def live() -> None:
        try:
            await role.NodeProcess(cluster, node).run()
        except Moved as moved:
            layout.address = str(moved)

    with lock:
        while True:
            before = layout.address
            code = run(live, log_level)
            if layout.address == before:
                return code
            cluster.save()


def remove_traces(cluster: Cluster) -> list[str]:
    """Remove what the cluster's nodes made outside of their files; returns what could not be removed, a line each."""
    from carob.standalone.traces import remove_traces as remove

    return remove(cluster)


def introduce_node(cluster: Cluster, node: NodeLayout) -> None:
    """Make the certificates of a new node of this machine, whose server may be running."""
    import time

    from carob.apiserver.pki import Pki
    from carob.standalone.server import ensure_local_node

    ensure_local_node(Pki(cluster.pki_dir), node, time.time())
