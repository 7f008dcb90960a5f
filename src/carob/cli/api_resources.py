"""Print the supported API resources on the server.

Examples:
  carob api-resources
  carob api-resources -o wide --namespaced=true
  carob api-resources --api-group=apps --verbs=list,watch
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from carob.api.status import ApiError
from carob.cli.connection import add_connection_flags, connect
from carob.cli.discovery import served
from carob.cli.errors import CommandError
from carob.cli.failures import server_error
from carob.cli.printers.columns import Columns

if TYPE_CHECKING:
    from carob.cli.discovery import Served
    from carob.cli.flags import Arguments, Flags

FORMATS = ("json", "kyaml", "name", "wide", "yaml")


def add_flags(flags: Flags) -> None:
    """kubectl api-resources' flags."""
    flags.text("api-group", meta="GROUP", help="only of this group")
    flags.csv("categories", meta="NAME,...", help="only with all of these categories")
    flags.csv("verbs", meta="VERB,...", help="only with all of these verbs")
    flags.switch(
        "namespaced", default=True, help="only namespaced ones, or with =false only the others (default: both)"
    )
    flags.switch("no-headers", help="no header line")
    flags.switch("cached")
    flags.text("sort-by", meta="FIELD", help="name or kind")
    flags.text("output", "o", meta="FORMAT", help="wide or name")
    flags.switch("show-managed-fields")
    add_connection_flags(flags)


def run(arguments: Arguments) -> int:
    """A line a resource."""
    if arguments.words:
        raise CommandError(
            f"error: unexpected arguments: [{' '.join(arguments.words)}]\nSee 'carob api-resources -h' for help and examples"
        )
    if arguments.output not in ("", *FORMATS):
        raise CommandError(
            f'error: unable to match a printer suitable for the output format "{arguments.output}", allowed formats are: '
            f"{','.join(FORMATS)}"
        )
    if arguments.sort_by not in ("", "name", "kind"):
        raise CommandError("error: --sort-by accepts only name or kind")
    connection = connect(arguments)
    try:
        found = [r for r in served(connection) if _wanted(r, arguments)]
    except ApiError as error:
        raise server_error(error) from error
    finally:
        connection.close()
    found.sort(
        key=lambda r: r.name if arguments.sort_by == "name" else r.kind if arguments.sort_by else (r.group, r.name)
    )
    if arguments.output in ("json", "yaml", "kyaml"):
        return _print_trees(found, arguments.output)
    if arguments.output == "name":
        for r in found:
            print(f"{r.name}.{r.group}" if r.group else r.name)
        return 0
    for line in Columns().lines(_rows(found, arguments)):
        print(line)
    return 0


def _wanted(r: Served, arguments: Arguments) -> bool:
    if not r.verbs:
        return False
    if "api-group" in arguments.changed and r.group != arguments.api_group:
        return False
    if "namespaced" in arguments.changed and r.namespaced != arguments.namespaced:
        return False
    return set(arguments.verbs) <= set(r.verbs) and set(arguments.categories) <= set(r.categories)


def _rows(found: list[Served], arguments: Arguments) -> list[list[str]]:
    wide = arguments.output == "wide"
    header = ["NAME", "SHORTNAMES", "APIVERSION", "NAMESPACED", "KIND"]
    rows = [] if arguments.no_headers else [header + ["VERBS", "CATEGORIES"] * wide]
    for r in found:
        row = [r.name, ",".join(r.short_names), r.group_version, "true" if r.namespaced else "false", r.kind]
        rows.append([*row, ",".join(r.verbs), ",".join(r.categories)] if wide else row)
    return rows


def _print_trees(found: list[Served], output: str) -> int:
    from carob.cli.printers.objects import ObjectPrinter

    resources = [
        {
            "name": r.name,
            "singularName": r.singular,
            "namespaced": r.namespaced,
            **({"group": r.group} if r.group else {}),
            "version": r.version,
            "kind": r.kind,
            "verbs": list(r.verbs),
            **({"shortNames": list(r.short_names)} if r.short_names else {}),
            **({"categories": list(r.categories)} if r.categories else {}),
        }
        for r in found
    ]
    tree = {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": "", "resources": resources}
    print(ObjectPrinter(output).text(tree, typed=True), end="")
    return 0
