"""The server in the foreground: API server, store, scheduler and controllers of one cluster. Needs no root.

Examples:
  carob server --name default        # the server part of what `carob up` starts
"""

from __future__ import annotations

import argparse

from carob.cli import clusters


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's flags."""
    clusters.add_name_argument(parser)
    parser.add_argument("--log-level", default="info", choices=("debug", "info", "warning", "error"))


def run(arguments: argparse.Namespace) -> int:
    """Run until SIGTERM or SIGINT."""
    from carob import standalone

    return standalone.run_server(clusters.existing(arguments), arguments.log_level)
