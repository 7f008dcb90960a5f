"""Diff the live version against a would-be applied version.

Prints what `apply` would change. The program is `diff -u -N`, or that of KUBECTL_EXTERNAL_DIFF. The exit code is 0 where
nothing differs, 1 where something does, more than 1 for an error.

Examples:
  carob diff -f pod.yml
  cat service.yml | carob diff -f -
  carob diff --server-side -f pod.yml
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from carob.api.status import ApiError
from carob.cli.apply import (
    LAST_APPLIED,
    MANAGER,
    decoded,
    make_patch,
    to_apply,
    with_namespace,
)
from carob.cli.connection import Connection, add_connection_flags, connect
from carob.cli.errors import CommandError
from carob.cli.failures import server_error
from carob.cli.manifests import read_manifests
from carob.cli.selection import Selection

if TYPE_CHECKING:
    from carob.cli.flags import Arguments, Flags
    from carob.cli.manifests import Manifest

_SENSITIVE = "***"
_BEFORE, _AFTER = f"{_SENSITIVE} (before)", f"{_SENSITIVE} (after)"


def add_flags(flags: Flags) -> None:
    """kubectl diff's flags."""
    flags.usage = "-f FILE [flags]"
    flags.csv("filename", "f", meta="FILE", help="file, folder, URL or - (standard input)")
    flags.csv("kustomize", "k", meta="DIR", help="what the kustomization there gives")
    flags.switch("recursive", "R", help="folders with their folders")
    flags.text("selector", "l", meta="SELECTOR", help="only objects of the files with these labels")
    flags.switch("server-side", help="the server merges")
    flags.switch("force-conflicts", help="with --server-side: take fields from others")
    flags.text("field-manager", meta="NAME", help="who manages these fields")
    flags.switch("show-managed-fields", help="keep managedFields in what is compared")
    flags.number("concurrency", default=1)
    flags.switch("prune")
    flags.texts("prune-allowlist")
    add_connection_flags(flags)


def run(arguments: Arguments) -> int:
    """The exit code of `diff`."""
    if arguments.words:
        raise _trouble(
            f"error: Unexpected args: [{' '.join(arguments.words)}]\nSee 'carob diff -h' for help and examples"
        )
    if arguments.prune:
        raise _trouble("error: --prune is not supported")
    if not arguments.filename:
        raise _trouble("error: must specify one of -f and -k")
    if arguments.force_conflicts and not arguments.server_side:
        raise _trouble("error: --force-conflicts only works with --server-side")
    connection = connect(arguments)
    try:
        manifests = read_manifests(arguments.filename, Selection(connection), recursive=arguments.recursive)
        if arguments.selector:
            from carob.api.selectors import parse_labels

            wanted = parse_labels(arguments.selector)
            manifests = [m for m in manifests if wanted.matches((m.tree.get("metadata") or {}).get("labels") or {})]
        return _compare(connection, arguments, manifests)
    except ApiError as error:
        raise _trouble(str(server_error(error))) from error
    except CommandError as error:
        raise _trouble(str(error)) from error
    finally:
        connection.close()


def _trouble(text: str) -> CommandError:
    """An error that is no difference."""
    return CommandError(text, exit_code=2)


def _compare(connection: Connection, arguments: Arguments, manifests: list[Manifest]) -> int:
    from carob.cli.targets import check_namespace

    with tempfile.TemporaryDirectory(prefix="LIVE-") as live, tempfile.TemporaryDirectory(prefix="MERGED-") as merged:
        for manifest in manifests:
            namespace = manifest.namespace(connection.namespace)
            check_namespace(arguments, manifest.resource, namespace)
            before, after = _both(connection, arguments, manifest, namespace)
            nothing = ""
            if manifest.resource.kind == "Secret" and not manifest.resource.group:
                before, after = _masked(before, after)
                nothing = "null\n"  # as kubectl masks a Secret that is not there
            name = _file_name(manifest, namespace)
            for folder, tree in ((live, before), (merged, after)):
                text = nothing if tree is None else _text(tree, keep_owners=arguments.show_managed_fields)
                Path(folder, name).write_text(text)
        return _run_diff(live, merged)


def _run_diff(live: str, merged: str) -> int:
    command = os.environ.get("KUBECTL_EXTERNAL_DIFF", "").split() or ["diff", "-u", "-N"]
    try:
        return subprocess.call([*command, live, merged])
    except OSError as error:
        raise _trouble(f"error: failed to run {command[0]!r}: {error.strerror}") from error


def _file_name(manifest: Manifest, namespace: str) -> str:
    row = manifest.resource
    group = f"{row.group}." if row.group else ""
    return f"{group}{row.version}.{row.kind}.{namespace}.{manifest.name}"


def _both(
    connection: Connection, arguments: Arguments, manifest: Manifest, namespace: str
) -> tuple[dict[str, Any] | None, dict[str, Any]]:
    """The object as it is (None: there is none) and as apply would make it. Raises: ApiError."""
    path = manifest.resource.path(namespace or None, manifest.name)
    query: dict[str, str | list[str]] = {
        "fieldManager": arguments.field_manager or ("kubectl" if arguments.server_side else MANAGER),
        "dryRun": "All",
    }
    there: dict[str, Any] | None
    try:
        there = connection.json("GET", path)
    except ApiError as error:
        if error.reason != "NotFound":
            raise
        there = None
    if arguments.server_side:
        query["force"] = "true" if arguments.force_conflicts else "false"
        tree = with_namespace(manifest.tree, namespace)
        return there, connection.json("PATCH", path, query, tree, content_type="application/apply-patch+yaml")
    # what is applied would be noted in an annotation as well; kubectl does not show that as a change
    tree = to_apply(manifest.tree, namespace)
    if there is None:
        return None, connection.json("POST", manifest.resource.path(namespace or None), query, tree)
    annotations = (there.get("metadata") or {}).get("annotations") or {}
    patch, kind = make_patch(manifest.resource, decoded(annotations.get(LAST_APPLIED, "")), tree, there)
    if not patch:
        return there, there
    return there, connection.json("PATCH", path, query, patch, content_type=kind)


def _text(tree: dict[str, Any], *, keep_owners: bool) -> str:
    from carob.cli.printers.structured import to_yaml

    metadata = dict(tree.get("metadata") or {})
    if not keep_owners:
        metadata.pop("managedFields", None)
    return to_yaml({**tree, "metadata": metadata})


def _masked(before: dict[str, Any] | None, after: dict[str, Any]) -> tuple[dict[str, Any] | None, dict[str, Any]]:
    """Both with stars for what a Secret holds; only whether a value changes can be seen."""
    old, new = dict((before or {}).get("data") or {}), dict(after.get("data") or {})
    for key in {*old, *new}:
        if key in old and key in new and old[key] != new[key]:
            old[key], new[key] = _BEFORE, _AFTER
            continue
        for side in (old, new):
            if key in side:
                side[key] = _SENSITIVE
    masked_before = before if before is None or not old else {**before, "data": old}
    return masked_before, {**after, "data": new} if new else after
