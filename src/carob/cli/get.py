"""Display one or many resources.

Prints a table of the most important information about the specified resources, or with -o the objects themselves.

Examples:
  carob get pods
  carob get pods -o wide -A
  carob get pod hello-pod -o yaml
  carob get pods -l zone=prod --sort-by=.metadata.name
  carob get pods -o jsonpath='{range .items[*]}{.metadata.name}{"\\t"}{.status.podIP}{"\\n"}{end}'
  carob get deploy,rs,pods
  carob get pods -w
"""

from __future__ import annotations

import sys

from carob.api.status import ApiError
from carob.cli.connection import JSON_ACCEPT, TABLE_ACCEPT, add_connection_flags, connect
from carob.cli.errors import CommandError
from carob.cli.printers.objects import GET_FORMATS, ObjectPrinter
from carob.cli.printers.table import TableOptions, TablePrinter
from carob.cli.selection import Selected, Selection, get_object, say_what_was_listed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from carob.cli.connection import Connection
    from carob.cli.flags import Arguments, Flags

NOTHING_CHOSEN = (
    'You must specify the type of resource to get. Use "carob api-resources" for a complete list of supported '
    "resources.\n\nerror: Required resource not specified.\n"
    'Use "carob explain <resource>" for a detailed description of that resource (e.g. carob explain pods).\n'
    "See 'carob get -h' for help and examples"
)


def add_flags(flags: Flags) -> None:
    """kubectl get's flags."""
    flags.usage = "(TYPE[,TYPE...] [NAME...] | TYPE/NAME ...) [flags]"
    flags.text("output", "o", meta="FORMAT", help="wide, json, yaml, name, jsonpath=..., custom-columns=..., ...")
    flags.switch("all-namespaces", "A", help="across all namespaces")
    flags.text("selector", "l", meta="SELECTOR", help="only those with these labels")
    flags.text("field-selector", meta="SELECTOR", help="only those with these fields")
    flags.csv("filename", "f", meta="FILE", help="what the file, folder, URL or - (standard input) names")
    flags.csv("kustomize", "k", meta="DIR", help="what the kustomization there gives")
    flags.switch("recursive", "R", help="folders with their folders")
    flags.switch("watch", "w", help="list, then watch for changes")
    flags.switch("watch-only", help="watch for changes without listing first")
    flags.switch("output-watch-events", help="print the event's type as well")
    flags.text("sort-by", meta="JSONPATH", help="sort by this field")
    flags.switch("no-headers", help="no header line")
    flags.switch("show-labels", help="a last column with all labels")
    flags.switch("show-kind", help="the kind in front of names")
    flags.csv("label-columns", "L", meta="LABEL,...", help="labels as columns")
    flags.switch("ignore-not-found", help="a missing object is no error")
    flags.switch("show-managed-fields", help="keep managedFields in json and yaml")
    flags.number("chunk-size", default=500, help="list in pieces of this size")
    flags.text("subresource", meta="NAME", help="get this subresource, such as status")
    flags.text("raw", meta="PATH", help="the answer of this path, as it is")
    flags.text("template")
    flags.switch("allow-missing-template-keys", default=True)
    flags.switch("server-print", default=True)
    add_connection_flags(flags)


def run(arguments: Arguments) -> int:
    """Fetch and print."""
    connection = connect(arguments)
    try:
        if arguments.raw:
            path, _, query = arguments.raw.partition("?")
            pairs = dict(pair.partition("=")[::2] for pair in query.split("&") if pair)
            sys.stdout.buffer.write(connection.request("GET", path, pairs))
            return 0
        return Get(connection, arguments).run()
    except ApiError as error:
        from carob.cli.failures import server_error

        raise server_error(error) from error
    finally:
        connection.close()


class Get:
    """One `get`: what is selected, how it is printed."""

    def __init__(self, connection: Connection, arguments: Arguments) -> None:
        self._connection = connection
        self._arguments = arguments
        self._everywhere = arguments.all_namespaces
        self._failed = False
        self._printer = ObjectPrinter(
            arguments.output,
            GET_FORMATS,
            template=arguments.template,
            managed_fields=arguments.show_managed_fields,
            no_headers=arguments.no_headers,
            allow_missing=arguments.allow_missing_template_keys,
        )
        self._as_tables = self._printer.format in ("", "wide")
        self._local_tables = not arguments.server_print

    def run(self) -> int:
        """The exit code."""
        selected = self._selected()
        if self._arguments.watch or self._arguments.watch_only:
            return self._watch(selected)
        if self._as_tables:
            self._print_tables(selected)
        else:
            self._print_objects(selected)
        return 1 if self._failed else 0

    def _selected(self) -> list[tuple[Selected, str]]:
        """What is chosen, each with its namespace."""
        arguments = self._arguments
        selection = Selection(self._connection)
        if arguments.filename:
            from carob.cli.targets import targets_of

            return [(Selected(t.resource, t.name), t.namespace) for t in targets_of(self._connection, arguments)]
        if not arguments.words:
            raise CommandError(NOTHING_CHOSEN)
        selected = selection.parse(arguments.words)
        if any(s.name is not None for s in selected):
            if arguments.selector or arguments.field_selector:
                raise CommandError("error: name cannot be provided when a selector is specified")
            if self._everywhere:
                raise CommandError("error: a resource cannot be retrieved by name across all namespaces")
        elif arguments.subresource:
            raise CommandError("error: subresource cannot be used when bulk resources are specified")
        namespace = "" if self._everywhere else self._connection.namespace
        return [(s, namespace if s.resource.namespaced else "") for s in selected]

    # --- requests

    def _path(self, selected: Selected, namespace: str, name: str | None) -> str:
        return selected.resource.path(namespace or None, name, self._arguments.subresource or None)

    def _query(self) -> dict[str, str | list[str]]:
        query: dict[str, str | list[str]] = {}
        if self._arguments.selector:
            query["labelSelector"] = self._arguments.selector
        if self._arguments.field_selector:
            query["fieldSelector"] = self._arguments.field_selector
        return query

    def _pages(
        self, selected: Selected, namespace: str, accept: str, extra: dict[str, str | list[str]]
    ) -> Iterator[Any]:
        """The answers for one selected thing: one object, or a listing in pieces."""
        if selected.name is not None:
            path = self._path(selected, namespace, selected.name)
            yield get_object(self._connection, path, namespace, extra, accept)
            return
        query = {**self._query(), **extra}
        if self._arguments.chunk_size and not self._arguments.sort_by:
            query["limit"] = str(self._arguments.chunk_size)
        while True:
            page = self._connection.json("GET", self._path(selected, namespace, None), query, accept=accept)
            yield page
            token = (page.get("metadata") or {}).get("continue")
            if not token:
                return
            query["continue"] = token

    def _answers(
        self, selected: Selected, namespace: str, accept: str, extra: dict[str, str | list[str]]
    ) -> Iterator[Any]:
        """As `_pages`; a server's refusal is told, and the rest goes on."""
        try:
            yield from self._pages(selected, namespace, accept, extra)
        except ApiError as error:
            if error.reason == "NotFound" and selected.name is not None and self._arguments.ignore_not_found:
                return
            from carob.cli.failures import server_error

            if selected.name is None:
                query = self._query()
                say_what_was_listed(error, selected.resource, query)
            self._failed = True
            print(server_error(error), file=sys.stderr)

    # --- tables

    def _options(self, selected: Selected, *, several_kinds: bool) -> TableOptions:
        resource = selected.resource
        prefix = ""
        if several_kinds or self._arguments.show_kind:
            prefix = f"{resource.singular_name}.{resource.group}/" if resource.group else f"{resource.singular_name}/"
        return TableOptions(
            wide=self._printer.format == "wide",
            no_headers=self._arguments.no_headers,
            with_namespace=self._everywhere and resource.namespaced,
            with_kind=prefix,
            show_labels=self._arguments.show_labels,
            label_columns=self._arguments.label_columns,
        )

    def _print_tables(self, selected: list[tuple[Selected, str]]) -> None:
        several_kinds = len({s.resource for s, _ in selected}) > 1
        extra: dict[str, str | list[str]] = {"includeObject": "Object"} if self._arguments.sort_by else {}
        groups: dict[Any, list[tuple[Selected, str]]] = {}
        for one, namespace in selected:
            groups.setdefault(one.resource, []).append((one, namespace))
        printed_any = False
        for group in groups.values():
            merged: dict[str, Any] = {}
            for one, namespace in group:
                accept = JSON_ACCEPT if self._local_tables else TABLE_ACCEPT
                for answer in self._answers(one, namespace, accept, {} if self._local_tables else extra):
                    _merge(merged, _as_table(answer) if self._local_tables else answer)
            if not merged.get("rows"):
                continue
            if printed_any:
                print()
            try:
                self._sort(merged["rows"], lambda row: row.get("object") or {})
            except CommandError as error:
                if error.exit_code != 1:
                    raise
                continue  # kubectl shows no table then
            TablePrinter(sys.stdout, self._options(group[0][0], several_kinds=several_kinds)).print(merged)
            printed_any = True
        if not printed_any and not self._failed and not self._arguments.ignore_not_found:
            namespaced = not self._everywhere and any(s.resource.namespaced for s, _ in selected)
            where = f" in {self._connection.namespace} namespace." if namespaced else ""
            print(f"No resources found{where}", file=sys.stderr)

    def _sort(self, items: list[Any], tree_of: Callable[[Any], Any]) -> None:
        if not self._arguments.sort_by:
            return
        from carob.cli.printers.sorting import sort_by

        sort_by(items, self._arguments.sort_by, tree_of)

    # --- whole objects

    def _print_objects(self, selected: list[tuple[Selected, str]]) -> None:
        objects: list[Any] = []
        for one, namespace in selected:
            for tree in self._answers(one, namespace, JSON_ACCEPT, {}):
                if one.name is None:
                    head = {"apiVersion": one.resource.api_version, "kind": one.resource.kind}
                    objects += [{**head, **item} for item in tree.get("items") or []]
                else:
                    objects.append(tree)
        self._sort(objects, lambda tree: tree)
        single = len(selected) == 1 and selected[0][0].name is not None
        if not objects and (single or self._failed or self._arguments.ignore_not_found):
            return
        if single:
            tree = objects[0]
        else:
            tree = {"apiVersion": "v1", "items": objects, "kind": "List", "metadata": {"resourceVersion": ""}}
        sys.stdout.write(self._printer.text(tree))

    # --- watching

    def _watch(self, selected: list[tuple[Selected, str]]) -> int:
        if len(selected) != 1:
            raise CommandError(
                "error: you may only specify a single resource type"
                if len({s.resource for s, _ in selected}) > 1
                else "error: watch is only supported on individual resources and resource collections - "
                f"{len(selected)} resources were found"
            )
        one, namespace = selected[0]
        accept = TABLE_ACCEPT if self._as_tables else JSON_ACCEPT
        options = self._options(one, several_kinds=False)
        options.with_events = self._arguments.output_watch_events
        printer = TablePrinter(sys.stdout, options)
        query = self._query()
        tree = self._connection.json("GET", self._path(one, namespace, one.name), query, accept=accept)
        version = str((tree.get("metadata") or {}).get("resourceVersion") or _row_version(tree))
        if not self._arguments.watch_only:
            self._print_first(one, tree, printer)
        if one.name is not None:
            query["fieldSelector"] = f"metadata.name={one.name}"
        query |= {"watch": "true", "resourceVersion": version}
        return self._follow(self._path(one, namespace, None), query, accept, printer if self._as_tables else None)

    def _print_first(self, one: Selected, tree: Any, printer: TablePrinter) -> None:
        if self._as_tables:
            if tree.get("rows"):
                printer.print(tree, "ADDED")
            return
        head = {"apiVersion": one.resource.api_version, "kind": one.resource.kind}
        for item in [tree] if one.name is not None else tree.get("items") or []:
            self._print_event("ADDED", {**head, **item})

    def _print_event(self, kind: str, tree: Any) -> None:
        if self._arguments.output_watch_events:
            tree = {"type": kind, "object": tree}
        sys.stdout.write(self._printer.text(tree))
        sys.stdout.flush()

    def _follow(self, path: str, query: dict[str, str | list[str]], accept: str, printer: TablePrinter | None) -> int:
        import json

        for line in self._connection.lines(path, query, {"Accept": accept}):
            event = json.loads(line)
            if event["type"] == "ERROR":
                status = event["object"]
                raise ApiError(status.get("code", 500), status.get("reason", ""), status.get("message", ""))
            if event["type"] == "BOOKMARK":
                continue
            if printer is not None:
                printer.print(event["object"], event["type"])
            else:
                self._print_event(event["type"], event["object"])
        return 0


def _merge(into: dict[str, Any], table: dict[str, Any]) -> None:
    if not into:
        into.update(table)
        into["rows"] = list(table.get("rows") or [])
        return
    into["rows"] += table.get("rows") or []


def _row_version(table: dict[str, Any]) -> str:
    rows = table.get("rows") or []
    return str(rows[0]["object"]["metadata"].get("resourceVersion", "")) if rows else ""


def _as_table(answer: dict[str, Any]) -> dict[str, Any]:
    """What can be said of any object without the server's help: its name and its age."""
    from carob.cli.describers.parts import since

    objects = answer["items"] or [] if "items" in answer else [answer]
    rows = [
        {"cells": [o["metadata"]["name"], since(o["metadata"].get("creationTimestamp"))], "object": o} for o in objects
    ]
    return {"columnDefinitions": [{"name": "Name"}, {"name": "Age"}], "rows": rows, "metadata": answer.get("metadata")}
