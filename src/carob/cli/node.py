"""Nodes of a cluster on this machine; without a verb, a node in the foreground: kubelet, runtime, network. Needs root.

Containers outlive this process: end it and start it again, and it finds them.

Examples:
  carob node add node-3                       # one more node of the running cluster
  carob node cut node-1                       # unplug its network cable; `start` plugs it in again
  carob node --name default --node node-0     # the node part of what `carob up` starts
"""

from __future__ import annotations

from carob.cli import clusters, node_config
from carob.cli.doctor import need_tools
from carob.cli.errors import CommandError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from carob.cli.flags import Arguments, Flags

VERBS = {
    "add": ("nodes:Add", "Add a node to the running cluster"),
    "stop": ("nodes:Stop", "Switch a node off"),
    "start": ("nodes:Start", "Switch a node on again, or end a cut"),
    "cut": ("nodes:Cut", "Cut a node off from the network"),
    "rm": ("nodes:Remove", "Take a node away for good"),
}


def add_flags(flags: Flags) -> None:
    """The verb's flags."""
    clusters.add_name_flags(flags)
    flags.text("node", default="node-0", meta="NODE", help="which node")
    flags.text("log-level", default="info", meta="LEVEL", help="debug, info, warning or error")
    node_config.add_flags(flags)


def run(arguments: Arguments) -> int:
    """Run until SIGTERM or SIGINT."""
    from carob import standalone

    clusters.need_no_words(arguments, "carob node")
    clusters.need_root("carob node")
    need_tools()
    cluster = clusters.existing(arguments)
    settings = node_config.read(arguments)
    try:
        cluster.node(arguments.node).kubelet |= settings
    except LookupError as error:
        raise CommandError(f"error: {error}") from error
    return standalone.run_node(cluster, arguments.node, arguments.log_level)
