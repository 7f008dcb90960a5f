"""Update fields of a resource using strategic merge patch, a JSON merge patch, or a JSON patch.

Examples:
  carob patch node node-0 -p '{"spec":{"unschedulable":true}}'
  carob patch pod hello-pod -p '{"spec":{"containers":[{"name":"hello-ctr","image":"web:v2"}]}}'
  carob patch pod hello-pod --type=json -p '[{"op":"replace","path":"/metadata/labels/zone","value":"dev"}]'
  carob patch deployment web --subresource=scale --type=merge -p '{"spec":{"replicas":2}}'
"""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

from carob.api.status import ApiError
from carob.cli.connection import add_connection_flags, connect
from carob.cli.errors import CommandError
from carob.cli.failures import server_error
from carob.cli.results import ResultPrinter, add_dry_run_flag, add_output_flags
from carob.cli.targets import Target, add_target_flags, targets_of

if TYPE_CHECKING:
    from carob.cli.connection import Connection
    from carob.cli.flags import Arguments, Flags

TYPES = {
    "json": "application/json-patch+json",
    "merge": "application/merge-patch+json",
    "strategic": "application/strategic-merge-patch+json",
}


def add_flags(flags: Flags) -> None:
    """kubectl patch's flags."""
    flags.usage = "(-f FILE | TYPE NAME) (-p PATCH | --patch-file FILE) [flags]"
    flags.text("patch", "p", meta="PATCH", help="the patch, JSON or YAML")
    flags.text("patch-file", meta="FILE", help="a file with the patch")
    flags.text("type", default="strategic", meta="TYPE", help="json, merge or strategic")
    flags.switch("local", help="patch what the file says, and ask no server")
    flags.text("subresource", meta="NAME", help="patch this subresource, such as status or scale")
    flags.text("field-manager", default="kubectl-patch")
    add_target_flags(flags, selectors=False)
    add_dry_run_flag(flags)
    add_output_flags(flags)
    add_connection_flags(flags)


def run(arguments: Arguments) -> int:
    """Patch each."""
    _check(arguments)
    connection = connect(arguments)
    try:
        return _patch(connection, arguments)
    except ApiError as error:
        raise server_error(error) from error
    finally:
        connection.close()


def _check(arguments: Arguments) -> None:
    if bool(arguments.patch) == bool(arguments.patch_file):
        if arguments.patch:
            raise CommandError("error: cannot specify --patch and --patch-file together")
        raise CommandError("error: must specify --patch or --patch-file containing the contents of the patch")
    if arguments.local and not arguments.filename:
        raise CommandError("error: --local can only be used with --filename, not resource arguments")  # kubectl's rule
    if arguments.type not in TYPES:
        raise CommandError(f'error: --type must be one of [json merge strategic], not "{arguments.type}"')


def to_json_text(text: str) -> str:
    """The patch as JSON; what begins as JSON is left as it is. Raises: CommandError."""
    if text.lstrip().startswith("{"):
        return text
    return json.dumps(parse_patch(text))


def parse_patch(text: str) -> Any:
    """The patch's tree, from JSON or YAML. Raises: CommandError."""
    try:
        return json.loads(text)
    except ValueError:
        pass  # it may be YAML
    import yaml

    from carob.cli.yaml_input import KubernetesLoader

    try:
        return yaml.load(text, Loader=KubernetesLoader)
    except yaml.YAMLError as error:
        raise CommandError(f'error: unable to parse "{text}": {error}') from error


def apply_locally(tree: dict[str, Any], patch: Any, kind: str) -> dict[str, Any]:
    """The patched object. Raises: CommandError."""
    from carob.api.patch import json_patch, merge, strategic
    from carob.api.resources import TABLE

    copy = json.loads(json.dumps(tree))
    try:
        if kind == "json":
            patched: dict[str, Any] = json_patch.apply(copy, patch)
            return patched
        row = TABLE.by_kind(tree.get("apiVersion", ""), tree.get("kind", ""))
        if kind == "strategic" and row is not None:
            return strategic.merged(copy, patch, f"{row.group.split('.')[0] or 'core'}/{row.version}.{row.kind}")
        merged: dict[str, Any] = merge.merged(copy, patch)
        return merged
    except ValueError as error:
        raise CommandError(f"error: {error}") from error


def _patch(connection: Connection, arguments: Arguments) -> int:
    printer = ResultPrinter(arguments)
    text = arguments.patch
    if arguments.patch_file:
        try:
            with open(arguments.patch_file, encoding="utf-8") as stream:
                text = stream.read()
        except OSError as error:
            raise CommandError(f"error: unable to read patch file: {error}") from error
    patch = to_json_text(text)
    found = targets_of(connection, arguments)
    for target in found:
        _one(connection, arguments, printer, target, patch)
    return 0


def _one(connection: Connection, arguments: Arguments, printer: ResultPrinter, target: Target, patch: str) -> None:
    if arguments.local or printer.dry_run == "client":
        before = target.tree if arguments.local else connection.json("GET", target.path())
        after = apply_locally(before, parse_patch(patch), arguments.type)
    else:
        before = connection.json("GET", target.path())
        query: dict[str, str | list[str]] = {"fieldManager": arguments.field_manager}
        if printer.dry_run == "server":
            query["dryRun"] = "All"
        path = target.path() + (f"/{arguments.subresource}" if arguments.subresource else "")
        headers = {"Accept": "application/json", "Content-Type": TYPES[arguments.type]}
        after = json.loads(connection.request("PATCH", path, query, patch.encode(), headers))
    changed = _without_version(before) != _without_version(after)
    printer.show(after, "patched" if changed else "patched (no change)", plain=True)
    sys.stdout.flush()


def _without_version(tree: Any) -> Any:
    metadata = {k: v for k, v in (tree.get("metadata") or {}).items() if k not in ("resourceVersion", "managedFields")}
    return {**tree, "metadata": metadata}
