"""The server in the foreground: API server, store, scheduler and controllers of one cluster. Needs no root.

Examples:
  carob server --name default        # the server part of what `carob up` starts
"""

from __future__ import annotations

from carob.cli import clusters

TYPE_CHECKING = False
if TYPE_CHECKING:
    from carob.cli.flags import Arguments, Flags


def add_flags(flags: Flags) -> None:
    """The verb's flags."""
    clusters.add_name_flags(flags)
    flags.text("log-level", default="info", meta="LEVEL", help="debug, info, warning or error")


def run(arguments: Arguments) -> int:
    """Run until SIGTERM or SIGINT."""
    from carob import standalone

    return standalone.run_server(clusters.existing(arguments), arguments.log_level)
