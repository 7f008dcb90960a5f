"""Starting the parts of a cluster of this machine: its server and its nodes."""

from __future__ import annotations

from pathlib import Path

from carob.base.readiness import LISTENING, READY
from carob.cli import processes
from carob.cli.errors import CommandError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from carob.base.layout import Cluster, NodeLayout
    from carob.cli.processes import Starting
    from carob.cli.progress import Progress


def start_parts(
    cluster: Cluster, progress: Progress, deadline: float, meanwhile: Callable[[], None] = lambda: None
) -> bool:
    """Start whatever does not run; True if everything ran already. `deadline`: seconds of the monotonic clock.

    `meanwhile` is called when the API server listens, while the parts go on.
    """
    server = None
    if processes.find(cluster.run_dir, "server") is None:
        server = processes.start("server", ["server", *_arguments(cluster)], cluster.run_dir, cluster.log_dir)
    else:
        _introduce(cluster, cluster.nodes)
    nodes = [start_node(cluster, n) for n in cluster.nodes if processes.find(cluster.run_dir, n.name) is None]
    if server is not None:
        with progress.step("API server listening"):
            server.wait(LISTENING, deadline)
    for child in nodes:
        child.go()
    meanwhile()
    for child in ([server] if server is not None else []) + nodes:
        wait_ready(child, progress, deadline)
    return server is None and not nodes


def start_node(cluster: Cluster, node: NodeLayout) -> Starting:
    """Start a node's agent; it waits for `go`."""
    arguments = ["node", *_arguments(cluster), "--node", node.name]
    return processes.start(node.name, arguments, cluster.run_dir, cluster.log_dir)


def wait_ready(child: Starting, progress: Progress, deadline: float) -> None:
    """Return when the part is of use; it lives on without us."""
    with progress.step(f"{child.part} ready"):
        child.wait(READY, deadline)
    child.let_live()


def add_node(cluster: Cluster, name: str, taken: Iterable[str] = ()) -> NodeLayout:
    """One more node that lives apart, in the cluster's description alone; its Pod range is none of `taken`."""
    try:
        return cluster.add_node(name, taken)
    except ValueError as error:
        raise CommandError(f"error: {error}") from error


def _introduce(cluster: Cluster, nodes: Iterable[NodeLayout]) -> None:
    """A server that starts makes certificates itself; one that runs already does not know new nodes."""
    from carob import standalone

    for node in nodes:
        if not (cluster.pki_dir / f"node-{node.name}-network.crt").exists():
            standalone.introduce_node(cluster, node)


def _arguments(cluster: Cluster) -> list[str]:
    return ["--name", cluster.name, "--data-dir", str(Path(cluster.state_dir).parent)]
