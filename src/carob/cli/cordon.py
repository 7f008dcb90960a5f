"""Mark node as unschedulable: no new Pods come to it; those that run go on.

Examples:
  carob cordon node-0
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from carob.api.resources import TABLE
from carob.api.status import ApiError
from carob.cli.connection import add_connection_flags, connect
from carob.cli.errors import CommandError
from carob.cli.failures import server_error
from carob.cli.results import add_dry_run_flag, dry_run_of
from carob.cli.targets import Target, fetch_all, listed

if TYPE_CHECKING:
    from carob.cli.connection import Connection
    from carob.cli.flags import Arguments, Flags


def add_flags(flags: Flags) -> None:
    """kubectl cordon's flags."""
    flags.usage = "NODE [flags]"
    flags.text("selector", "l", meta="SELECTOR", help="nodes with these labels")
    add_dry_run_flag(flags)
    add_connection_flags(flags)


def run(arguments: Arguments) -> int:
    """Mark each node."""
    return set_unschedulable(arguments, True)


def set_unschedulable(arguments: Arguments, wanted: bool) -> int:
    """What `cordon` (True) and `uncordon` do; the exit code."""
    verb = "cordon" if wanted else "uncordon"
    if not arguments.words and not arguments.selector:
        raise CommandError(f"error: USAGE: {verb} NODE [flags]\nSee 'carob {verb} -h' for help and examples")
    if arguments.words and arguments.selector:
        raise CommandError(
            f"error: error: cannot specify both a node name and a --selector option\n"
            f"See 'carob {verb} -h' for help and examples"
        )
    dry_run = dry_run_of(arguments)
    connection = connect(arguments)
    try:
        row = TABLE.by_kind("v1", "Node")
        assert row is not None
        names = [w.removeprefix("node/").removeprefix("nodes/") for w in arguments.words]
        targets = [Target(row, "", name) for name in names] or list(listed(connection, row, "", arguments.selector, ""))
        return mark(connection, targets, wanted, dry_run)
    except ApiError as error:
        raise server_error(error) from error
    finally:
        connection.close()


def mark(connection: Connection, targets: list[Target], wanted: bool, dry_run: str) -> int:
    """Mark each (True) or take the mark away, and say so; 1 when one is not there, and then none is changed."""
    found = list(fetch_all(connection, targets))
    failed = [error for _, _, error in found if error is not None]
    for error in failed:
        print(server_error(error), file=sys.stderr)
    if failed:
        return 1
    done = "cordoned" if wanted else "uncordoned"
    suffix = {"client": " (dry run)", "server": " (server dry run)"}.get(dry_run, "")
    for target, tree, _ in found:
        if bool(((tree or {}).get("spec") or {}).get("unschedulable")) == wanted:
            print(f"node/{target.name} already {done}{suffix}")
            continue
        if dry_run != "client":
            query: dict[str, str | list[str]] = {"dryRun": "All"} if dry_run == "server" else {}
            patch = {"spec": {"unschedulable": True if wanted else None}}
            content_type = "application/strategic-merge-patch+json"
            connection.json("PATCH", target.path(), query, patch, content_type=content_type)
        print(f"node/{target.name} {done}{suffix}")
    return 0
