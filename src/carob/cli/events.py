"""List events: what happened, oldest first.

Examples:
  carob events
  carob events -A --types=Warning
  carob events --for pod/hello-pod --watch
"""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

from carob.api.status import ApiError
from carob.cli.connection import add_connection_flags, connect
from carob.cli.describers.parts import event_age, last_seen
from carob.cli.errors import CommandError
from carob.cli.failures import server_error
from carob.cli.printers.columns import Columns
from carob.cli.printers.objects import FORMATS, ObjectPrinter
from carob.cli.results import in_type_order

if TYPE_CHECKING:
    from carob.cli.connection import Connection
    from carob.cli.flags import Arguments, Flags

TYPES = ("Normal", "Warning")


def add_flags(flags: Flags) -> None:
    """kubectl events' flags."""
    flags.usage = "[flags]"
    flags.switch("all-namespaces", "A", help="across all namespaces")
    flags.text("for", meta="TYPE/NAME", help="only about this object")
    flags.csv("types", meta="TYPE,...", help="Normal or Warning")
    flags.switch("watch", "w", help="list, then watch for more")
    flags.switch("no-headers", help="no header line")
    flags.number("chunk-size", default=500, help="list in pieces of this size")
    flags.text("output", "o", meta="FORMAT", help="json, yaml, name, jsonpath=...")
    flags.text("template")
    flags.switch("allow-missing-template-keys", default=True)
    flags.switch("show-managed-fields", help="keep managedFields in json and yaml")
    add_connection_flags(flags)


def run(arguments: Arguments) -> int:
    """List, and watch when asked to."""
    for kind in arguments.types:
        if kind.lower() not in ("normal", "warning"):
            raise CommandError("error: valid --types are Normal or Warning")
    connection = connect(arguments)
    try:
        return Events(connection, arguments).run()
    except ApiError as error:
        raise server_error(error) from error
    finally:
        connection.close()


class Events:
    """One `events`."""

    def __init__(self, connection: Connection, arguments: Arguments) -> None:
        self._connection = connection
        self._arguments = arguments
        self._types = {kind.capitalize() for kind in arguments.types}
        self._printer = ObjectPrinter(
            arguments.output, FORMATS, template=arguments.template, managed_fields=arguments.show_managed_fields
        )
        self._columns = Columns()
        self._about = self._selected()

    def _selected(self) -> tuple[str, str, str] | None:
        """apiVersion, kind and name of --for."""
        word = getattr(self._arguments, "for")
        if not word:
            return None
        from carob.cli.selection import Selection

        kind, slash, name = word.partition("/")
        if not slash or not name:
            raise CommandError("error: --for must be in resource/name form")
        row = Selection(self._connection).resources(kind)[0]
        return row.api_version, row.kind, name

    def run(self) -> int:
        """The exit code."""
        namespace = self._connection.namespace
        path = "/api/v1/events" if self._arguments.all_namespaces else f"/api/v1/namespaces/{namespace}/events"
        query: dict[str, str | list[str]] = {}
        if self._about is not None:
            _, kind, name = self._about
            query["fieldSelector"] = f"involvedObject.kind={kind},involvedObject.name={name}"
        listing = self._connection.json("GET", path, query)
        items = sorted((e for e in listing.get("items") or [] if self._wanted(e)), key=last_seen)
        if not items and not self._arguments.watch:
            where = "" if self._arguments.all_namespaces else f" in {namespace} namespace"
            print(f"No events found{where}.", file=sys.stderr)
            return 0
        self._show(items, self._rows(items, header=not self._arguments.no_headers))
        if self._arguments.watch:
            self._watch(path, query, listing["metadata"]["resourceVersion"])
        return 0

    def _wanted(self, event: dict[str, Any]) -> bool:
        if self._types and event.get("type") not in self._types:
            return False
        if self._about is None:
            return True
        about = event.get("involvedObject") or {}
        return (about.get("apiVersion") or self._about[0], about.get("kind"), about.get("name")) == self._about

    def _rows(self, items: list[dict[str, Any]], *, header: bool) -> list[list[str]]:
        rows = [["LAST SEEN", "TYPE", "REASON", "OBJECT", "MESSAGE"]] if header else []
        for event in items:
            about = event.get("involvedObject") or {}
            where = f"{about.get('kind', '')}/{about.get('name', '')}"
            message = (event.get("message") or "").strip()
            rows.append([event_age(event), event.get("type", ""), event.get("reason", ""), where, message])
        if self._arguments.all_namespaces:
            names = (["NAMESPACE"] if header else []) + [e["metadata"].get("namespace", "") for e in items]
            rows = [[name, *row] for name, row in zip(names, rows, strict=True)]
        return rows

    def _show(self, items: list[dict[str, Any]], rows: list[list[str]]) -> None:
        if not self._printer.format:
            for line in self._columns.lines(rows):
                print(line)
            return
        whole = [in_type_order({"kind": "Event", "apiVersion": "v1", **item}) for item in items]
        tree = {"kind": "EventList", "apiVersion": "v1", "metadata": {}, "items": whole}
        sys.stdout.write(self._printer.text(tree, typed=True))

    def _watch(self, path: str, query: dict[str, str | list[str]], version: str) -> None:
        query = query | {"watch": "true", "resourceVersion": version}
        for line in self._connection.lines(path, query):
            event = json.loads(line)
            if event["type"] == "ERROR":
                status = event["object"]
                raise ApiError(status.get("code", 500), status.get("reason", ""), status.get("message", ""))
            tree = event["object"]
            if event["type"] in ("ADDED", "MODIFIED") and self._wanted(tree):
                self._show([tree], self._rows([tree], header=False))
                sys.stdout.flush()
