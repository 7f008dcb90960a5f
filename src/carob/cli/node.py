"""Nodes of a cluster on this machine; without a verb, a node in the foreground: kubelet, runtime, network. Needs root.

Containers outlive this process: end it and start it again, and it finds them. With `--server` and `--token` this machine
joins a cluster whose servers are elsewhere; once it is a member, `carob node` is enough.

Examples:
  carob node --server https://10.0.0.1:6443 --token K10…::abcdef.0123456789abcdef --labels disk=ssd
  carob node add node-3                       # one more node of the running cluster
  carob node cut node-1                       # unplug its network cable; `start` plugs it in again
  carob node --name default --node node-0     # the node part of what `carob up` starts
"""

from __future__ import annotations

import os
import sys

from carob.cli import clusters, membership, node_config, node_size
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
    "leave": ("membership:Leave", "Take this machine out of the cluster that it has joined"),
}


def add_flags(flags: Flags) -> None:
    """The verb's flags."""
    clusters.add_name_flags(flags)
    flags.text("node", default="node-0", meta="NODE", help="which node")
    flags.text("log-level", default="info", meta="LEVEL", help="debug, info, warning or error")
    membership.add_flags(flags)
    node_size.add_flags(flags)
    node_config.add_flags(flags)


def run(arguments: Arguments) -> int:
    """Run until SIGTERM or SIGINT."""
    from carob import standalone

    clusters.need_no_words(arguments, "carob node")
    clusters.need_root("carob node")
    need_tools()
    settings = node_config.read(arguments)
    joined = membership.member(arguments)
    cluster = joined or clusters.existing(arguments)
    name = joined.nodes[0].name if joined is not None else arguments.node
    try:
        node = cluster.node(name)
    except LookupError as error:
        raise CommandError(f"error: {error}") from error
    node.kubelet |= settings
    node_size.apply(node, arguments)
    if joined is not None:
        membership.record(joined, name)
        if arguments.token:
            # everybody on the machine can read a command line; this process lives long
            os.execv(sys.executable, [sys.executable, "-P", "-m", "carob", *membership.without_token(sys.argv[1:])])
    return standalone.run_node(cluster, name, arguments.log_level)
