"""Display one or many resources.

Prints a table of the most important information about the specified resources, as kubectl does.

Examples:
  carob get pods
  carob get pods -o wide -A
  carob get pod hello-pod -o yaml
  carob get pods -l zone=prod --sort-by=.metadata.name
  carob get pods -w
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from carob.api.status import ApiError
from carob.cli.connection import JSON_ACCEPT, TABLE_ACCEPT, Connection, add_connection_flags, connect
from carob.cli.errors import CommandError
from carob.cli.failures import server_error
from carob.cli.printers.table import TableOptions, TablePrinter
from carob.cli.selection import Selected, Selection, read_manifests

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from carob.cli.flags import Arguments, Flags

FORMATS = (
    "custom-columns, custom-columns-file, go-template, go-template-file, json, jsonpath, jsonpath-as-json, "
    "jsonpath-file, name, template, templatefile, wide, yaml"
)


def add_flags(flags: Flags) -> None:
    """kubectl get's flags."""
    flags.usage = "TYPE[/NAME] [NAME...] [flags]"
    flags.text("output", "o", meta="FORMAT", help="wide, json, yaml, name, jsonpath=..., ...")
    flags.switch("all-namespaces", "A", help="across all namespaces")
    flags.text("selector", "l", meta="SELECTOR", help="label selector")
    flags.text("field-selector", meta="SELECTOR", help="field selector")
    flags.texts("filename", "f", meta="FILE", help="what the files name")
    flags.switch("recursive", "R", help="folders with their folders")
    flags.switch("watch", "w", help="list, then watch for changes")
    flags.switch("watch-only", help="watch for changes without listing first")
    flags.switch("output-watch-events", help="print the event's type as well")
    flags.text("sort-by", meta="JSONPATH", help="sort by this field")
    flags.switch("no-headers", help="no header line")
    flags.switch("show-labels", help="a last column with all labels")
    flags.switch("show-kind", help="the kind in front of names")
    flags.texts("label-columns", "L", meta="LABEL", help="labels as columns")
    flags.switch("ignore-not-found", help="a missing object is no error")
    flags.switch("show-managed-fields", help="keep managedFields in json and yaml")
    flags.number("chunk-size", default=500, meta="N", help="list in pieces of this size")
    flags.text("subresource", meta="NAME", help="get this subresource, such as status")
    flags.text("raw", meta="PATH", help="the answer of this path, as it is")
    add_connection_flags(flags)


def run(arguments: Arguments) -> int:
    """Fetch and print."""
    connection = connect(arguments)
    try:
        if arguments.raw:
            return _raw(connection, arguments.raw)
        return Get(connection, arguments).run()
    except ApiError as error:
        raise server_error(error) from error
    finally:
        connection.close()


def _raw(connection: Connection, target: str) -> int:
    path, _, query = target.partition("?")
    pairs = dict(pair.partition("=")[::2] for pair in query.split("&") if pair)
    sys.stdout.buffer.write(connection.request("GET", path, pairs))
    return 0


class Get:
    """One `get`: what is selected, how it is printed."""

    def __init__(self, connection: Connection, arguments: Arguments) -> None:
        self._connection = connection
        self._arguments = arguments
        self._namespace = "" if arguments.all_namespaces else connection.namespace
        self._failed = False
        self._format, _, self._template = arguments.output.partition("=")
        self._check_format()

    def _check_format(self) -> None:
        if self._format not in FORMATS.split(", ") and self._format != "":
            raise CommandError(
                f'error: unable to match a printer suitable for the output format "{self._arguments.output}", allowed '
                f"formats are: {FORMATS}"
            )
        if self._format in ("go-template", "go-template-file", "template", "templatefile"):
            raise CommandError("error: Go templates are not supported; use jsonpath or custom-columns")

    def run(self) -> int:
        """The exit code."""
        selected = self._selected()
        if self._arguments.watch or self._arguments.watch_only:
            return self._watch(selected)
        if self._format in ("", "wide"):
            self._print_tables(selected)
        else:
            self._print_objects(selected)
        return 1 if self._failed else 0

    def _selected(self) -> list[Selected]:
        selection = Selection(self._connection)
        if self._arguments.filename:
            files = read_manifests(self._arguments.filename, selection, recursive=self._arguments.recursive)
            return [Selected(m.resource, m.name) for m in files]
        if not self._arguments.words:
            raise CommandError(
                'You must specify the type of resource to get. Use "kubectl api-resources" for a complete list of '
                "supported resources.\n\nerror: Required resource not specified.\n"
                'Use "kubectl explain <resource>" for a detailed description of that resource (e.g. kubectl explain '
                "pods).\nSee 'kubectl get -h' for help and examples"
            )
        selected = selection.parse(self._arguments.words)
        if any(s.name for s in selected):
            if self._arguments.all_namespaces:
                raise CommandError("error: a resource cannot be retrieved by name across all namespaces")
            if self._arguments.selector:
                raise CommandError("error: name cannot be provided when a selector is specified")
        return selected

    # --- requests

    def _path(self, selected: Selected, name: str | None) -> str:
        namespace = self._namespace if selected.resource.namespaced else None
        return selected.resource.path(namespace, name, self._arguments.subresource or None)

    def _query(self) -> dict[str, str | list[str]]:
        query: dict[str, str | list[str]] = {}
        if self._arguments.selector:
            query["labelSelector"] = self._arguments.selector
        if self._arguments.field_selector:
            query["fieldSelector"] = self._arguments.field_selector
        return query

    def _pages(self, selected: Selected, accept: str, extra: dict[str, str | list[str]]) -> Iterator[Any]:
        """The answers for one selected thing: one object, or a listing in pieces."""
        if selected.name is not None:
            try:
                yield self._connection.json("GET", self._path(selected, selected.name), extra, accept=accept)
            except ApiError as error:
                if error.reason == "NotFound" and self._arguments.ignore_not_found:
                    return
                self._failed = True
                print(server_error(error), file=sys.stderr)
            return
        query = {**self._query(), **extra}
        if self._arguments.chunk_size and not self._arguments.sort_by:
            query["limit"] = str(self._arguments.chunk_size)
        while True:
            page = self._connection.json("GET", self._path(selected, None), query, accept=accept)
            yield page
            token = (page.get("metadata") or {}).get("continue")
            if not token:
                return
            query["continue"] = token

    # --- tables

    def _options(self, selected: Selected, *, several_kinds: bool) -> TableOptions:
        resource = selected.resource
        prefix = ""
        if several_kinds or self._arguments.show_kind:
            prefix = f"{resource.singular_name}.{resource.group}/" if resource.group else f"{resource.singular_name}/"
        labels = [label for value in self._arguments.label_columns for label in value.split(",")]
        return TableOptions(
            wide=self._format == "wide",
            no_headers=self._arguments.no_headers,
            with_namespace=self._arguments.all_namespaces and resource.namespaced,
            with_kind=prefix,
            show_labels=self._arguments.show_labels,
            label_columns=labels,
        )

    def _print_tables(self, selected: list[Selected]) -> None:
        kinds = {s.resource for s in selected}
        extra: dict[str, str | list[str]] = {"includeObject": "Object"} if self._arguments.sort_by else {}
        printed_any = False
        groups: dict[Any, list[Selected]] = {}
        for one in selected:
            groups.setdefault(one.resource, []).append(one)
        for group in groups.values():
            merged: dict[str, Any] = {}
            for one in group:
                for table in self._pages(one, TABLE_ACCEPT, extra):
                    _merge(merged, table)
            if not merged.get("rows"):
                continue
            if printed_any:
                print()
            self._sort(merged["rows"], lambda row: row.get("object") or {})
            TablePrinter(sys.stdout, self._options(group[0], several_kinds=len(kinds) > 1)).print(merged)
            printed_any = True
        if not printed_any and not self._failed and not self._arguments.ignore_not_found:
            where = ""
            if not self._arguments.all_namespaces and any(s.resource.namespaced for s in selected):
                where = f" in {self._namespace} namespace"
            print(f"No resources found{where}.", file=sys.stderr) if where else print(
                "No resources found", file=sys.stderr
            )

    def _sort(self, items: list[Any], tree_of: Callable[[Any], Any]) -> None:
        if not self._arguments.sort_by:
            return
        from carob.cli.printers.jsonpath import JsonPath, relaxed

        path = JsonPath(relaxed(self._arguments.sort_by))

        def key(item: Any) -> tuple[int, Any, str]:
            values = path.values(tree_of(item))
            if not values:
                return (0, 0, "")
            value = values[0]
            if isinstance(value, (int, float)):
                return (1, value, "")
            return (1, 0, str(value))

        items.sort(key=key)

    # --- whole objects

    def _print_objects(self, selected: list[Selected]) -> None:
        objects: list[Any] = []
        for one in selected:
            for tree in self._pages(one, JSON_ACCEPT, {}):
                if one.name is None:
                    for item in tree.get("items") or []:
                        objects.append({"apiVersion": one.resource.api_version, "kind": one.resource.kind, **item})
                else:
                    objects.append(tree)
        self._sort(objects, lambda tree: tree)
        single = len(selected) == 1 and selected[0].name is not None
        if single and not objects:
            return
        tree = (
            objects[0]
            if single
            else {"apiVersion": "v1", "items": objects, "kind": "List", "metadata": {"resourceVersion": ""}}
        )
        self._print_tree(tree, objects)

    def _print_tree(self, tree: Any, objects: list[Any]) -> None:
        if self._format == "name":
            for item in objects:
                print(_name_of(item))
            return
        if self._format in ("custom-columns", "custom-columns-file"):
            self._print_columns(objects)
            return
        if not self._arguments.show_managed_fields:
            from carob.cli.printers.structured import without_managed_fields

            without_managed_fields(tree)
        sys.stdout.write(self._formatted(tree))

    def _formatted(self, tree: Any) -> str:
        if self._format == "json":
            from carob.cli.printers.structured import to_json

            return to_json(tree)
        if self._format == "yaml":
            from carob.cli.printers.structured import to_yaml

            return to_yaml(tree)
        from carob.cli.printers.jsonpath import JsonPath

        template = Path(self._template).read_text() if self._format == "jsonpath-file" else self._template
        if not template:
            raise CommandError("error: template format specified but no template given")
        path = JsonPath(template)
        if self._format == "jsonpath-as-json":
            from carob.cli.printers.structured import to_json

            return to_json(path.values(tree))
        return path.render(tree)

    def _print_columns(self, objects: list[Any]) -> None:
        from carob.cli.printers.custom_columns import CustomColumns

        make = CustomColumns.from_file if self._format == "custom-columns-file" else CustomColumns
        for line in make(self._template).lines(objects, no_headers=self._arguments.no_headers):
            print(line)

    # --- watching

    def _watch(self, selected: list[Selected]) -> int:
        if len(selected) != 1:
            raise CommandError(
                "error: watch is only supported on individual resources and resource collections - more than 1 resource was found"
            )
        one = selected[0]
        as_table = self._format in ("", "wide")
        accept = TABLE_ACCEPT if as_table else JSON_ACCEPT
        printer = TablePrinter(sys.stdout, self._options(one, several_kinds=False))
        query = self._query()
        tree = self._connection.json("GET", self._path(one, one.name), query, accept=accept)
        version = str((tree.get("metadata") or {}).get("resourceVersion") or _row_version(tree))
        if not self._arguments.watch_only:
            if as_table:
                if tree.get("rows"):
                    printer.print(tree)
            else:
                for item in tree.get("items") or ([] if one.name is None else [tree]):
                    self._print_tree(item, [item])
        if one.name is not None:
            query["fieldSelector"] = f"metadata.name={one.name}"
        query |= {"watch": "true", "resourceVersion": version}
        try:
            return self._follow(self._path(one, None), query, accept, printer if as_table else None)
        except KeyboardInterrupt:
            return 130

    def _follow(self, path: str, query: dict[str, str | list[str]], accept: str, printer: TablePrinter | None) -> int:
        for line in self._connection.lines(path, query, {"Accept": accept}):
            event = json.loads(line)
            if event["type"] == "ERROR":
                status = event["object"]
                raise ApiError(status.get("code", 500), status.get("reason", ""), status.get("message", ""))
            if event["type"] == "BOOKMARK":
                continue
            if printer is not None:
                printer.print(event["object"])
            elif self._arguments.output_watch_events:
                self._print_tree(event, [event["object"]])
            else:
                self._print_tree(event["object"], [event["object"]])
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


def _name_of(tree: dict[str, Any]) -> str:
    """`pod/hello-pod`, `deployment.apps/web`."""
    group = re.sub(r"/?[^/]*$", "", tree.get("apiVersion", ""))
    kind = str(tree.get("kind", "")).lower()
    return f"{kind}.{group}/{tree['metadata']['name']}" if group else f"{kind}/{tree['metadata']['name']}"
