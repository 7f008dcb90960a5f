"""Delete resources by file names, stdin, resources and names, or by resources and label selector.

Returns when they are gone (--wait=false: at once). The grace period lets processes end by themselves.

Examples:
  carob delete -f pod.yml
  carob delete pod hello-pod --grace-period=0 --force
  carob delete pods -l app=web
  carob delete pods --all
"""

from __future__ import annotations

import json
import sys
import time
from typing import TYPE_CHECKING, Any

from carob.api.status import ApiError
from carob.cli.connection import Connection, add_connection_flags, connect
from carob.cli.errors import CommandError
from carob.cli.failures import server_error
from carob.cli.printers.objects import name_of
from carob.cli.results import add_dry_run_flag, dry_run_of
from carob.cli.targets import Target, add_target_flags, targets_of

if TYPE_CHECKING:
    from carob.cli.flags import Arguments, Flags

FOREVER_SECONDS = 7 * 24 * 3600.0
CASCADES = ("background", "foreground", "orphan", "true", "false")


def add_flags(flags: Flags) -> None:
    """kubectl delete's flags."""
    flags.usage = "(-f FILE | TYPE (NAME | -l SELECTOR | --all)) [flags]"
    add_target_flags(flags)
    flags.number("grace-period", default=-1, meta="SECONDS", help="time to end by itself (default: the object's)")
    flags.switch("now", help="as --grace-period=1")
    flags.switch("force", help="with --grace-period=0: do not wait for the node")
    flags.text("cascade", default="background", meta="HOW", bare="background", help="background, orphan or foreground")
    flags.switch("ignore-not-found", help="a missing object is no error")
    flags.switch("wait", default=True, help="wait until gone")
    flags.duration("timeout", help="how long to wait (0: for ever)")
    flags.switch("interactive", "i", help="ask before deleting")
    flags.text("raw")
    flags.text("output", "o", meta="FORMAT", help="name")
    add_dry_run_flag(flags)
    add_connection_flags(flags)


def run(arguments: Arguments) -> int:
    """Delete, then wait."""
    if arguments.output not in ("", "name"):
        raise CommandError(f"error: unexpected -o output mode: {arguments.output}. We only support '-o name'")
    connection = connect(arguments)
    try:
        return Delete(connection, arguments).run()
    except ApiError as error:
        raise server_error(error) from error
    finally:
        connection.close()


class Delete:
    """One `delete`."""

    def __init__(self, connection: Connection, arguments: Arguments) -> None:
        self._connection = connection
        self._arguments = arguments
        self._dry_run = dry_run_of(arguments)
        self._failed = False
        self._grace = arguments.grace_period
        if arguments.now:
            if self._grace != -1:
                raise CommandError("error: --now and --grace-period cannot be specified together")
            self._grace = 1
        if arguments.force and self._grace < 0:
            self._grace = 0
        self._forced = self._grace == 0 and arguments.force
        if self._grace == 0 and not arguments.force:
            # without --force the node still confirms, so the shortest real grace is meant
            self._grace = 1
        if arguments.force and self._grace > 0:
            raise CommandError("error: --force and --grace-period greater than 0 cannot be specified together")
        if arguments.cascade not in CASCADES:
            raise CommandError(
                f'error: invalid cascade value ({arguments.cascade}). Must be "background", "foreground", or "orphan"'
            )

    def run(self) -> int:
        """The exit code."""
        if self._forced:
            print(
                "Warning: Immediate deletion does not wait for confirmation that the running resource has been "
                "terminated. The resource may continue to run on the cluster indefinitely.",
                file=sys.stderr,
            )
        targets = targets_of(self._connection, self._arguments)
        if self._arguments.interactive and not self._agreed(targets):
            print("deletion is cancelled")
            return 0
        waiting = [(target, uid) for target in targets if (uid := self._delete(target)) is not None]
        if not targets and not self._failed:
            print("No resources found")
            return 0
        if self._arguments.wait and not self._forced and self._dry_run == "none":
            self._wait(waiting)
        return 1 if self._failed else 0

    @staticmethod
    def _agreed(targets: list[Target]) -> bool:
        print("You are about to delete the following " + f"{len(targets)} resource(s):")
        for target in targets:
            print(f"{target.kind_word}/{target.name}")
        print("Do you want to continue? (y/N): ", end="", flush=True)
        return sys.stdin.readline().strip().lower() in ("y", "yes")

    def _options(self) -> dict[str, Any]:
        cascade = {"true": "background", "false": "orphan"}.get(self._arguments.cascade, self._arguments.cascade)
        options: dict[str, Any] = {"propagationPolicy": cascade.capitalize()}
        if self._grace >= 0:
            options["gracePeriodSeconds"] = self._grace
        if self._dry_run == "server":
            options["dryRun"] = ["All"]
        return options

    def _delete(self, target: Target) -> str | None:
        """Delete one; its uid when it has to be waited for."""
        uid = ""
        try:
            if self._dry_run != "client":
                answer = self._connection.json("DELETE", target.path(), body=self._options())
                uid = (answer.get("metadata") or {}).get("uid") or (answer.get("details") or {}).get("uid") or ""
        except ApiError as error:
            if error.reason == "NotFound" and (self._arguments.ignore_not_found or self._arguments.all):
                return None
            self._failed = True
            print(server_error(error, verb="deleting", source=target.source), file=sys.stderr)
            return None
        self._print(target)
        return uid

    def _print(self, target: Target) -> None:
        if self._arguments.output == "name":
            row = target.resource
            print(name_of({"kind": row.kind, "apiVersion": row.api_version, "metadata": {"name": target.name}}))
            return
        what = "force deleted" if self._forced else "deleted"
        where = f" from {target.namespace} namespace" if target.namespace else ""
        suffix = {"client": " (dry run)", "server": " (server dry run)"}.get(self._dry_run, "")
        print(f'{target.kind_word} "{target.name}" {what}{where}{suffix}', flush=True)

    def _wait(self, waiting: list[tuple[Target, str]]) -> None:
        deadline = time.monotonic() + (self._arguments.timeout or FOREVER_SECONDS)
        for target, uid in waiting:
            wait_gone(self._connection, target, uid, deadline)


def wait_gone(connection: Connection, target: Target, uid: str, deadline: float) -> None:
    """Return when the object of this uid is gone, by watching it. Raises: CommandError at the deadline."""
    collection = target.resource.path(target.namespace or None)
    while True:
        query: dict[str, str | list[str]] = {"fieldSelector": f"metadata.name={target.name}"}
        listing = connection.json("GET", collection, query)
        items = listing.get("items") or []
        if not items or (uid and items[0]["metadata"].get("uid") != uid):
            return
        left = deadline - time.monotonic()
        if left <= 0:
            raise CommandError(f"error: timed out waiting for the condition on {target.resource.plural}/{target.name}")
        query |= {
            "watch": "true",
            "resourceVersion": listing["metadata"]["resourceVersion"],
            "timeoutSeconds": str(max(1, min(int(left), 300))),
        }
        for line in connection.lines(collection, query, {"Accept": "application/json"}):
            if json.loads(line)["type"] == "DELETED":
                return
