"""Set a new size for a deployment, replica set, replication controller, or stateful set.

Examples:
  carob scale deployment/web --replicas=3
  carob scale --current-replicas=2 --replicas=3 deployment/web
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from carob.api.status import ApiError
from carob.cli.connection import add_connection_flags, connect
from carob.cli.errors import CommandError
from carob.cli.failures import server_error
from carob.cli.results import ResultPrinter, add_dry_run_flag, add_output_flags
from carob.cli.targets import add_target_flags, fetch, targets_of

if TYPE_CHECKING:
    from carob.cli.connection import Connection
    from carob.cli.flags import Arguments, Flags
    from carob.cli.targets import Target


def add_flags(flags: Flags) -> None:
    """kubectl scale's flags."""
    flags.usage = "(-f FILE | TYPE NAME) --replicas=COUNT [flags]"
    flags.number("replicas", help="how many there are to be")
    flags.number("current-replicas", default=-1, help="only if there are so many now")
    flags.text("resource-version", meta="VERSION", help="only if the object is still of this version")
    flags.duration("timeout", help="wait so long until it is done (0: do not wait)")
    add_target_flags(flags)
    add_dry_run_flag(flags)
    add_output_flags(flags)
    add_connection_flags(flags)


def run(arguments: Arguments) -> int:
    """Scale each."""
    if "replicas" not in arguments.changed:
        raise CommandError('error: required flag(s) "replicas" not set')
    if arguments.replicas < 0:
        raise CommandError("error: The --replicas=COUNT flag is required, and COUNT must be greater than or equal to 0")
    connection = connect(arguments)
    try:
        printer = ResultPrinter(arguments)
        targets = targets_of(connection, arguments)
        if not targets:
            raise CommandError("error: no objects passed to scale")
        for target in targets:
            _one(connection, arguments, printer, target)
        return 0
    except ApiError as error:
        raise server_error(error) from error
    finally:
        connection.close()


def _one(connection: Connection, arguments: Arguments, printer: ResultPrinter, target: Target) -> None:
    tree = fetch(connection, target)
    if printer.dry_run != "client":
        path = target.path() + "/scale"
        query: dict[str, str | list[str]] = {"dryRun": "All"} if printer.dry_run == "server" else {}
        patch: dict[str, object] = {"spec": {"replicas": arguments.replicas}}
        if arguments.current_replicas >= 0 or arguments.resource_version:
            patch["metadata"] = {"resourceVersion": _checked(connection, arguments, path)}
        connection.json("PATCH", path, query, patch, content_type="application/merge-patch+json")
    printer.show(tree, "scaled")
    sys.stdout.flush()


def _checked(connection: Connection, arguments: Arguments, path: str) -> str:
    """The version of the Scale, if it is as the flags expect. Raises: CommandError."""
    now = connection.json("GET", path)
    wanted = arguments.current_replicas
    if wanted >= 0 and now["spec"].get("replicas", 0) != wanted:
        raise CommandError(f"error: Expected replicas to be {wanted}, was {now['spec'].get('replicas', 0)}")
    version = str(now["metadata"]["resourceVersion"])
    if arguments.resource_version and arguments.resource_version != version:
        raise CommandError(f"error: Expected resource version to be {arguments.resource_version}, was {version}")
    return version
