"""Delete resources by file names, stdin, resources and names, or by resources and label selector.

Returns when they are gone (--wait=false: at once). The grace period lets processes end by themselves.

Examples:
  carob delete -f pod.yml
  carob delete pod hello-pod --grace-period=0 --force
  carob delete pods -l app=web
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from carob.api.status import ApiError
from carob.cli.apply import kind_and_name
from carob.cli.connection import Connection, add_connection_flags, connect
from carob.cli.errors import CommandError
from carob.cli.failures import server_error
from carob.cli.selection import Selection, read_manifests

if TYPE_CHECKING:
    from carob.api.resources import Resource
    from carob.cli.flags import Arguments, Flags

FOREVER_SECONDS = 7 * 24 * 3600.0


def add_flags(flags: Flags) -> None:
    """kubectl delete's flags."""
    flags.usage = "TYPE[/NAME] [NAME...] [flags]"
    flags.texts("filename", "f", meta="FILE", help="file, folder, URL or -")
    flags.switch("recursive", "R", help="folders with their folders")
    flags.text("selector", "l", meta="SELECTOR", help="label selector")
    flags.text("field-selector", meta="SELECTOR", help="field selector")
    flags.switch("all", help="all of the kind in the namespace")
    flags.switch("all-namespaces", "A", help="across all namespaces")
    flags.number("grace-period", default=-1, meta="SECONDS", help="time to end by itself")
    flags.switch("now", help="as --grace-period=1")
    flags.switch("force", help="with --grace-period=0: do not wait for the node")
    flags.text("cascade", default="background", meta="HOW", bare="background", help="background, orphan or foreground")
    flags.switch("ignore-not-found", help="a missing object is no error")
    flags.switch("wait", default=True, help="wait until gone (default: true)")
    flags.duration("timeout", help="how long to wait (0: for ever)")
    flags.text("dry-run", default="none", help="delete nothing")
    flags.text("output", "o", help="how to print")
    add_connection_flags(flags)


@dataclass(frozen=True, slots=True)
class Target:
    """One object to delete."""

    resource: Resource
    namespace: str
    name: str


def run(arguments: Arguments) -> int:
    """Delete, then wait."""
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
        if arguments.cascade not in ("background", "foreground", "orphan", "true", "false"):
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
        targets = self._targets()
        if not targets and not self._failed and (self._arguments.selector or self._arguments.all):
            print("No resources found")
            return 0
        waiting = [(target, uid) for target in targets if (uid := self._delete(target)) is not None]
        wait = self._arguments.wait and not self._forced
        if wait and self._arguments.dry_run == "none":
            self._wait(waiting)
        return 1 if self._failed else 0

    def _targets(self) -> list[Target]:
        namespace = self._connection.namespace
        selection = Selection(self._connection)
        if self._arguments.filename:
            manifests = read_manifests(self._arguments.filename, selection, recursive=self._arguments.recursive)
            return [Target(m.resource, m.namespace(namespace), m.name) for m in manifests]
        selected = selection.parse(self._arguments.words)
        if not selected:
            raise CommandError("error: You must provide one or more resources by argument or filename.")
        named = [s for s in selected if s.name is not None]
        if named:
            return [Target(s.resource, namespace if s.resource.namespaced else "", str(s.name)) for s in named]
        if not (self._arguments.all or self._arguments.selector or self._arguments.field_selector):
            raise CommandError("error: resource(s) were provided, but no name was specified")
        return [t for s in selected for t in self._listed(s.resource)]

    def _listed(self, resource: Resource) -> list[Target]:
        query: dict[str, str | list[str]] = {}
        if self._arguments.selector:
            query["labelSelector"] = self._arguments.selector
        if self._arguments.field_selector:
            query["fieldSelector"] = self._arguments.field_selector
        namespaced = resource.namespaced and not self._arguments.all_namespaces
        tree = self._connection.json("GET", resource.path(self._connection.namespace if namespaced else None), query)
        return [
            Target(resource, i["metadata"].get("namespace", ""), i["metadata"]["name"]) for i in tree.get("items") or []
        ]

    def _options(self) -> dict[str, Any]:
        cascade = {"true": "background", "false": "orphan"}.get(self._arguments.cascade, self._arguments.cascade)
        options: dict[str, Any] = {"propagationPolicy": cascade.capitalize()}
        if self._grace >= 0:
            options["gracePeriodSeconds"] = self._grace
        if self._arguments.dry_run == "server":
            options["dryRun"] = ["All"]
        return options

    def _delete(self, target: Target) -> str | None:
        """Delete one; its uid when it has to be waited for."""
        path = target.resource.path(target.namespace or None, target.name)
        uid = ""
        if self._arguments.dry_run != "client":
            try:
                answer = self._connection.json("DELETE", path, body=self._options())
            except ApiError as error:
                if error.reason == "NotFound" and (self._arguments.ignore_not_found or self._arguments.all):
                    return None
                self._failed = True
                source = self._arguments.filename[0] if self._arguments.filename else ""
                print(server_error(error, verb="deleting", source=source), file=sys.stderr)
                return None
            uid = (answer.get("metadata") or {}).get("uid") or (answer.get("details") or {}).get("uid") or ""
        self._print(target)
        return uid

    def _print(self, target: Target) -> None:
        if self._arguments.output == "name":
            print(kind_and_name(target.resource, target.name))
            return
        what = "force deleted" if self._forced else "deleted"
        resource = target.resource
        kind = f"{resource.singular_name}.{resource.group}" if resource.group else resource.singular_name
        where = f" from {target.namespace} namespace" if target.namespace else ""
        suffix = {"client": " (dry run)", "server": " (server dry run)"}.get(self._arguments.dry_run, "")
        print(f'{kind} "{target.name}" {what}{where}{suffix}')

    def _wait(self, waiting: list[tuple[Target, str]]) -> None:
        timeout = self._arguments.timeout or FOREVER_SECONDS
        deadline = time.monotonic() + timeout
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
        left = int(deadline - time.monotonic())
        if left <= 0:
            raise CommandError(f"error: timed out waiting for the condition on {target.resource.plural}/{target.name}")
        query |= {
            "watch": "true",
            "resourceVersion": listing["metadata"]["resourceVersion"],
            "timeoutSeconds": str(min(left, 300) or 1),
        }
        for line in connection.lines(collection, query, {"Accept": "application/json"}):
            event = json.loads(line)
            if event["type"] == "DELETED":
                return
