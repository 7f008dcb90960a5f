"""`carob node add, stop, start, cut, rm`: nodes of a cluster on this machine that come, fail, return and go."""

from __future__ import annotations

import re
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING

from carob.cli import clusters, node_config, node_size, processes
from carob.cli.errors import CommandError
from carob.cli.parts import add_node, start_node, start_parts, wait_ready
from carob.cli.progress import Progress

if TYPE_CHECKING:
    from carob.base.layout import Cluster, NodeLayout
    from carob.cli.flags import Arguments, Flags

AGENT_GRACE_SECONDS = 10.0
_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,61}[a-z0-9])?")
_TAKEN = ("server", "netns")
_TAINT = re.compile(r"([^=:]+)(=[^=:]*)?:(NoSchedule|PreferNoSchedule|NoExecute)")


def _flags(flags: Flags) -> None:
    flags.usage = "NAME... [flags]"
    clusters.add_name_flags(flags)
    flags.switch("quiet", "q", help="say nothing while it goes well")


def _named(cluster: Cluster, arguments: Arguments) -> list[NodeLayout]:
    if not arguments.words:
        raise CommandError("error: name the nodes")
    try:
        return [cluster.node(name) for name in arguments.words]
    except LookupError as error:
        raise CommandError(f"error: {error}") from error


def _need_apart(nodes: list[NodeLayout], what: str) -> None:
    for node in nodes:
        if not node.apart:
            raise CommandError(
                f"error: {node.name} lives on the machine's own network, with the server; it cannot be {what}"
            )


def _end_agent(cluster: Cluster, node: NodeLayout) -> None:
    process = processes.find(cluster.run_dir, node.name)
    if process is not None:
        process.end(AGENT_GRACE_SECONDS)


def _complain(left: list[str]) -> None:
    if left:
        raise CommandError("error: this could not be removed:\n" + "\n".join(f"  {line}" for line in left))


class Add:
    """Add nodes to a running cluster, each in a network namespace of its own.

    Examples:
      carob node add node-3
      carob node add worker --labels disk=ssd --taints dedicated=db:NoSchedule
    """

    @staticmethod
    def add_flags(flags: Flags) -> None:
        _flags(flags)
        flags.csv("labels", meta="KEY=VALUE,...", help="labels of the Node")
        flags.csv("taints", meta="KEY=VALUE:EFFECT,...", help="taints of the Node")
        node_size.add_flags(flags)
        node_config.add_flags(flags)
        flags.duration("wait", default=60.0, help="how long to wait until it is ready")

    @staticmethod
    def run(arguments: Arguments) -> int:
        clusters.need_root("carob node add")
        labels, taints = parse_labels(arguments.labels), parse_taints(arguments.taints)
        settings = node_config.read(arguments)
        deadline = time.monotonic() + arguments.wait
        with clusters.locked(arguments.name):
            cluster = clusters.existing(arguments)
            if not arguments.words:
                raise CommandError("error: name the nodes")
            if processes.find(cluster.run_dir, "server") is None:
                raise CommandError(f'error: the cluster "{cluster.name}" does not run; start it with `carob up`')
            taken = _ranges(cluster)
            for name in arguments.words:
                if not _NAME.fullmatch(name) or name in _TAKEN:
                    raise CommandError(f'error: invalid node name "{name}"')
                if any(name == node.name for node in cluster.nodes):
                    raise CommandError(f"error: there is a node {name} already")
                node = add_node(cluster, name, taken)
                node.labels, node.taints, node.kubelet = labels, taints, settings
                node_size.apply(node, arguments)
            clusters.save(cluster)
            start_parts(cluster, Progress(arguments.quiet), deadline)
        return 0


class Stop:
    """Switch nodes off: agent and containers end at once, as when a machine loses power. Their files stay.

    Examples:
      carob node stop node-1
      carob node stop node-1 --agent-only     # its containers run on
    """

    @staticmethod
    def add_flags(flags: Flags) -> None:
        _flags(flags)
        flags.switch("agent-only", help="end the agent; containers run on")

    @staticmethod
    def run(arguments: Arguments) -> int:
        from carob.standalone import traces

        clusters.need_root("carob node stop")
        progress = Progress(arguments.quiet)
        with clusters.locked(arguments.name):
            cluster = clusters.existing(arguments)
            for node in _named(cluster, arguments):
                with progress.step(f"{node.name} stopped"):
                    _end_agent(cluster, node)
                    if not arguments.agent_only:
                        _complain(traces.remove_node_containers(cluster, node))
        return 0


class Start:
    """Switch nodes on again that were stopped, and plug those in that were cut off.

    Examples:
      carob node start node-1
    """

    @staticmethod
    def add_flags(flags: Flags) -> None:
        _flags(flags)
        flags.duration("wait", default=60.0, help="how long to wait until it is ready")

    @staticmethod
    def run(arguments: Arguments) -> int:
        from carob.standalone import traces

        clusters.need_root("carob node start")
        progress, deadline = Progress(arguments.quiet), time.monotonic() + arguments.wait
        with clusters.locked(arguments.name):
            cluster = clusters.existing(arguments)
            for node in _named(cluster, arguments):
                if node.apart:
                    with progress.step(f"{node.name} plugged in"):
                        traces.plug_node(cluster, node)
                if processes.find(cluster.run_dir, node.name) is None:
                    child = start_node(cluster, node)
                    child.go()
                    wait_ready(child, progress, deadline)
        return 0


class Cut:
    """Cut nodes off from the network: they run on, but reach nobody and are reached by nobody. `start` ends that.

    Examples:
      carob node cut node-2
    """

    @staticmethod
    def add_flags(flags: Flags) -> None:
        _flags(flags)

    @staticmethod
    def run(arguments: Arguments) -> int:
        from carob.network.layout import NetworkFailure
        from carob.standalone import traces

        clusters.need_root("carob node cut")
        progress = Progress(arguments.quiet)
        cluster = clusters.existing(arguments)
        nodes = _named(cluster, arguments)
        _need_apart(nodes, "cut off")
        for node in nodes:
            with progress.step(f"{node.name} cut off"):
                try:
                    traces.cut_node(cluster, node)
                except NetworkFailure as error:
                    raise CommandError(f"error: {error}") from error
        return 0


class Remove:
    """Take nodes away for good: their Node objects, their containers, their files.

    Of a node on another machine, which has left or is lost, the object.

    Examples:
      carob node rm node-2
    """

    @staticmethod
    def add_flags(flags: Flags) -> None:
        _flags(flags)

    @staticmethod
    def run(arguments: Arguments) -> int:
        from carob.standalone import traces

        clusters.need_root("carob node rm")
        progress = Progress(arguments.quiet)
        with clusters.locked(arguments.name):
            cluster = clusters.existing(arguments)
            known = {node.name for node in cluster.nodes}
            elsewhere = [name for name in arguments.words if name not in known]
            arguments.words = [name for name in arguments.words if name in known]
            nodes = _named(cluster, arguments) if arguments.words or not elsewhere else []
            _need_apart(nodes, "taken away")
            for name in elsewhere:
                with progress.step(f"{name} taken away"):
                    _delete_object(cluster, name, must_exist=True)
            for node in nodes:
                with progress.step(f"{node.name} taken away"):
                    _end_agent(cluster, node)
                    left = traces.remove_node(cluster, node)
                    _forget(cluster, node)
                    cluster.nodes.remove(node)
                    clusters.save(cluster)
                    _complain(left)
        return 0


def _ranges(cluster: Cluster) -> list[str]:
    """The Pod ranges that nodes have, also those of other machines."""
    connection = clusters.admin(cluster)
    try:
        nodes = connection.json("GET", "/api/v1/nodes")["items"]
    finally:
        connection.close()
    return [text for node in nodes for text in node.get("spec", {}).get("podCIDRs", ())]


def _forget(cluster: Cluster, node: NodeLayout) -> None:
    """Its object, its certificates and its files."""
    if processes.find(cluster.run_dir, "server") is not None:
        _delete_object(cluster, node.name)
    for file in cluster.pki_dir.glob(f"node-{node.name}-*"):
        if file.stem in {f"node-{node.name}-{part}" for part in ("client", "server", "network")}:
            file.unlink()
    (Path(cluster.run_dir) / f"{node.name}.json").unlink(missing_ok=True)
    shutil.rmtree(cluster.node_dir(node.name), ignore_errors=True)


def _delete_object(cluster: Cluster, name: str, *, must_exist: bool = False) -> None:
    from carob.api.status import ApiError

    connection = clusters.admin(cluster)
    try:
        connection.json("DELETE", f"/api/v1/nodes/{name}")
    except ApiError as error:
        if error.reason != "NotFound" or must_exist:
            raise CommandError(f"error: {error}") from error
    finally:
        connection.close()


def parse_labels(texts: list[str]) -> dict[str, str]:
    """`KEY=VALUE` each. Raises: CommandError."""
    found = {}
    for text in texts:
        key, separator, value = text.partition("=")
        if not key or not separator:
            raise CommandError(f'error: --labels: "{text}" is not KEY=VALUE')
        found[key] = value
    return found


def parse_taints(texts: list[str]) -> list[str]:
    """`KEY[=VALUE]:EFFECT` each. Raises: CommandError."""
    for text in texts:
        if not _TAINT.fullmatch(text):
            raise CommandError(
                f'error: --taints: "{text}" is not KEY=VALUE:EFFECT with NoSchedule, PreferNoSchedule or NoExecute'
            )
    return list(texts)
