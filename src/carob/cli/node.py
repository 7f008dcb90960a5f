"""A node in the foreground: kubelet, container runtime and Pod network. Needs root.

Containers outlive this process: end it and start it again, and it finds them.

Examples:
  carob node --name default --node node-0     # the node part of what `carob up` starts
"""

from __future__ import annotations

import argparse

from carob.cli import clusters
from carob.cli.errors import CommandError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's flags."""
    clusters.add_name_argument(parser)
    parser.add_argument("--node", default="node-0", metavar="NODE", help="which node (default: %(default)s)")
    parser.add_argument("--log-level", default="info", choices=("debug", "info", "warning", "error"))


def run(arguments: argparse.Namespace) -> int:
    """Run until SIGTERM or SIGINT."""
    from carob import standalone

    clusters.need_root("carob node")
    cluster = clusters.existing(arguments)
    try:
        cluster.node(arguments.node)
    except LookupError as error:
        raise CommandError(f"error: {error}") from error
    return standalone.run_node(cluster, arguments.node, arguments.log_level)
