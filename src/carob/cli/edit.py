"""Edit a resource on the server with your editor (KUBE_EDITOR, EDITOR, else vi).

Examples:
  carob edit pod hello-pod
  EDITOR=nano carob edit deployment web
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import tempfile
from typing import TYPE_CHECKING, Any

from carob.api.status import ApiError
from carob.cli.apply import field_validation, make_patch
from carob.cli.connection import add_connection_flags, connect
from carob.cli.errors import CommandError
from carob.cli.failures import server_error
from carob.cli.printers import structured
from carob.cli.results import ResultPrinter, add_output_flags
from carob.cli.targets import Target, add_target_flags, fetch, targets_of

if TYPE_CHECKING:
    from carob.cli.connection import Connection
    from carob.cli.flags import Arguments, Flags

HEADER = (
    "# Please edit the object below. Lines beginning with a '#' will be ignored,\n"
    "# and an empty file will abort the edit. If an error occurs while saving this file will be\n"
    "# reopened with the relevant failures.\n#\n"
)


def add_flags(flags: Flags) -> None:
    """kubectl edit's flags."""
    flags.usage = "(-f FILE | TYPE NAME) [flags]"
    flags.text("subresource", meta="NAME", help="edit this subresource, such as status")
    flags.text("validate", default="strict", meta="MODE", bare="strict", help="strict, warn or ignore")
    flags.text("field-manager", default="kubectl-edit")
    flags.switch("output-patch", help="print the patch")
    flags.switch("windows-line-endings")
    add_target_flags(flags, selectors=False)
    add_output_flags(flags)
    add_connection_flags(flags)


def run(arguments: Arguments) -> int:
    """Edit each, one after another."""
    arguments.dry_run = "none"
    connection = connect(arguments)
    try:
        printer = ResultPrinter(arguments)
        for target in targets_of(connection, arguments):
            _edit(connection, arguments, printer, target)
        return 0
    except ApiError as error:
        raise server_error(error) from error
    finally:
        connection.close()


def _edit(connection: Connection, arguments: Arguments, printer: ResultPrinter, target: Target) -> None:
    before = structured.without_managed_fields(fetch(connection, target))
    original = structured.to_yaml(before)
    failures = ""
    text = original
    while True:
        edited = _in_editor(HEADER + failures + text, f"{target.resource.singular_name}-{target.name}")
        body = "".join(line for line in edited.splitlines(keepends=True) if not line.startswith("#"))
        if not body.strip():
            raise CommandError("error: Edit cancelled, saved file was empty.")
        if body.strip() == original.strip():
            print("Edit cancelled, no changes made.", file=sys.stderr)
            return
        if failures and body == text:
            raise CommandError("error: Edit cancelled, no valid changes were saved.")
        text = body
        try:
            _send(connection, arguments, printer, target, before, _parsed(body))
            return
        except (ApiError, CommandError) as error:
            shown = str(server_error(error)) if isinstance(error, ApiError) else str(error)
            failures = "".join(f"# {line}\n" for line in shown.splitlines()) + "#\n"


def _parsed(text: str) -> dict[str, Any]:
    import yaml

    from carob.cli.yaml_input import KubernetesLoader

    try:
        tree = yaml.load(text, Loader=KubernetesLoader)
    except yaml.YAMLError as error:
        raise CommandError(f"error: {error}") from error
    if not isinstance(tree, dict):
        raise CommandError("error: the edited file had a syntax error: it holds no object")
    return tree


def _in_editor(text: str, name: str) -> str:
    """What the file says once the editor has ended. Raises: CommandError."""
    command = os.environ.get("KUBE_EDITOR") or os.environ.get("EDITOR") or "vi"
    with tempfile.TemporaryDirectory(prefix="carob-edit-") as folder:
        path = os.path.join(folder, f"{name}.yaml")
        with open(path, "w", encoding="utf-8") as stream:
            stream.write(text)
        try:
            status = subprocess.call([*shlex.split(command), path])
        except OSError as error:
            raise CommandError(f'error: unable to launch the editor "{command}"') from error
        if status != 0:
            raise CommandError(f'error: there was a problem with the editor "{command}"')
        with open(path, encoding="utf-8") as stream:
            return stream.read()


def _send(
    connection: Connection,
    arguments: Arguments,
    printer: ResultPrinter,
    target: Target,
    before: dict[str, Any],
    after: dict[str, Any],
) -> None:
    patch, content_type = make_patch(target.resource, before, after, before)
    if arguments.output_patch:
        print(f"Patch: {structured.to_json(patch)}", end="")
    query: dict[str, str | list[str]] = {
        "fieldManager": arguments.field_manager,
        "fieldValidation": field_validation(arguments.validate),
    }
    path = target.path(arguments.subresource)
    made = connection.json("PATCH", path, query, patch, content_type=content_type)
    printer.show(made, "edited")
