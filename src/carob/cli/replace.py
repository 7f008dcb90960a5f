"""Replace a resource by file name or stdin.

What the file says is the whole of the new object: take it from the server first (`carob get -o yaml`). With --force the
object is deleted and made anew.

Examples:
  carob replace -f pod.yml
  carob get configmap settings -o yaml | sed 's/debug/info/' | carob replace -f -
  carob replace --force -f pod.yml
"""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any

from carob.api.status import ApiError
from carob.cli.apply import encode_last_applied, field_validation, with_last_applied
from carob.cli.connection import Connection, add_connection_flags, connect
from carob.cli.delete import wait_gone
from carob.cli.errors import CommandError
from carob.cli.failures import server_error
from carob.cli.manifests import read_manifests
from carob.cli.printers.objects import name_of
from carob.cli.results import ResultPrinter, add_dry_run_flag, add_output_flags
from carob.cli.selection import Selection
from carob.cli.targets import Target

if TYPE_CHECKING:
    from carob.cli.flags import Arguments, Flags
    from carob.cli.manifests import Manifest

_DEFAULT_WAIT_SECONDS = 300.0
_CASCADES = {"background": "Background", "foreground": "Foreground", "orphan": "Orphan"}


def add_flags(flags: Flags) -> None:
    """kubectl replace's flags."""
    flags.usage = "-f FILE [flags]"
    flags.csv("filename", "f", meta="FILE", help="file, folder, URL or - (standard input)")
    flags.csv("kustomize", "k", meta="DIR", help="what the kustomization there gives")
    flags.switch("recursive", "R", help="folders with their folders")
    flags.switch("force", help="delete the object and make it anew")
    flags.text("cascade", default="background", meta="HOW", bare="background", help="with --force: see delete")
    flags.number("grace-period", default=-1, meta="SECONDS", help="with --force: time to end by itself")
    flags.duration("timeout", help="with --force: how long to wait until it is gone")
    flags.switch("wait")
    flags.text("subresource", meta="NAME", help="replace only this: status or scale")
    flags.switch("save-config", help="keep what was given in the annotation that apply reads")
    flags.text("validate", default="strict", meta="MODE", bare="strict", help="strict, warn or ignore")
    flags.text("field-manager", default="kubectl-replace")
    flags.text("raw")
    add_dry_run_flag(flags)
    add_output_flags(flags)
    add_connection_flags(flags)


def run(arguments: Arguments) -> int:
    """Replace every object; errors of one do not stop the others."""
    if arguments.grace_period >= 0 and not arguments.force:
        raise CommandError("error: --grace-period must have --force specified")
    if arguments.timeout and not arguments.force:
        raise CommandError("error: --timeout must have --force specified")
    if not arguments.filename:
        raise CommandError("error: must specify one of -f and -k")
    if arguments.words:
        raise CommandError(
            f"error: Unexpected args: [{' '.join(arguments.words)}]\nSee 'carob replace -h' for help and examples"
        )
    if arguments.cascade not in _CASCADES:
        raise CommandError(
            f'error: invalid cascade value ({arguments.cascade}). Must be "background", "foreground", or "orphan"'
        )
    connection = connect(arguments)
    try:
        replace = Replace(connection, arguments)
        manifests = read_manifests(arguments.filename, Selection(connection), recursive=arguments.recursive)
        return replace.all(manifests)
    except ApiError as error:
        raise server_error(error) from error
    finally:
        connection.close()


class Replace:
    """Replaces objects one after another."""

    def __init__(self, connection: Connection, arguments: Arguments) -> None:
        self._connection = connection
        self._arguments = arguments
        self._printer = ResultPrinter(arguments)
        self._query: dict[str, str | list[str]] = {
            "fieldManager": arguments.field_manager,
            "fieldValidation": field_validation(arguments.validate),
        }
        if self._printer.dry_run == "server":
            self._query["dryRun"] = "All"
        if arguments.force and self._printer.dry_run != "none":
            raise CommandError("error: --dry-run can not be used when --force is set")

    def all(self, manifests: list[Manifest]) -> int:
        """The exit code."""
        from carob.cli.targets import check_namespace

        failed = False
        if self._arguments.force:
            for manifest in manifests:
                self._delete(manifest, manifest.namespace(self._connection.namespace))
        for manifest in manifests:
            namespace = manifest.namespace(self._connection.namespace)
            check_namespace(self._arguments, manifest.resource, namespace)
            try:
                self._one(manifest, namespace)
            except ApiError as error:
                failed = True
                verb = "" if self._arguments.force else "replacing"
                print(server_error(error, verb=verb, source=manifest.source), file=sys.stderr)
        return 1 if failed else 0

    def _one(self, manifest: Manifest, namespace: str) -> None:
        tree = self._prepared(manifest, namespace)
        if self._printer.dry_run == "client":
            self._printer.show(tree, "replaced")
            return
        if self._arguments.force:
            made = self._connection.json("POST", manifest.resource.path(namespace or None), self._query, tree)
        else:
            made = self._put(manifest, namespace, tree)
        self._printer.show(made, "replaced")
        sys.stdout.flush()

    def _prepared(self, manifest: Manifest, namespace: str) -> dict[str, Any]:
        tree = manifest.tree
        if namespace:
            tree = {**tree, "metadata": {**(tree.get("metadata") or {}), "namespace": namespace}}
        if self._arguments.save_config:
            return with_last_applied(tree, encode_last_applied(tree))
        return tree

    def _put(self, manifest: Manifest, namespace: str, tree: dict[str, Any]) -> dict[str, Any]:
        """PUT it; a manifest without a version means the present one."""
        path = manifest.resource.path(namespace or None, manifest.name)
        if self._arguments.subresource:
            path += f"/{self._arguments.subresource}"
        metadata = tree.get("metadata") or {}
        if not metadata.get("resourceVersion"):
            there = self._connection.json("GET", path)
            metadata = {**metadata, "resourceVersion": there["metadata"]["resourceVersion"]}
            tree = {**tree, "metadata": metadata}
        made: dict[str, Any] = self._connection.json("PUT", path, self._query, tree)
        return made

    def _delete(self, manifest: Manifest, namespace: str) -> None:
        """Delete it if it is there, and return when it is gone. Raises: ApiError, CommandError."""
        path = manifest.resource.path(namespace or None, manifest.name)
        grace = self._arguments.grace_period
        options: dict[str, Any] = {"propagationPolicy": _CASCADES[self._arguments.cascade]}
        if grace >= 0:
            options["gracePeriodSeconds"] = grace
        try:
            there = self._connection.json("GET", path)
            self._connection.json("DELETE", path, body={"kind": "DeleteOptions", "apiVersion": "v1", **options})
        except ApiError as error:
            if error.reason == "NotFound":
                return
            raise
        if not self._arguments.output:
            kind, _, name = name_of(there).partition("/")
            where = f" from {namespace} namespace" if namespace else ""
            print(f'{kind} "{name}" deleted{where}')
            sys.stdout.flush()
        deadline = time.monotonic() + (self._arguments.timeout or _DEFAULT_WAIT_SECONDS)
        target = Target(manifest.resource, namespace, manifest.name)
        wait_gone(self._connection, target, there["metadata"]["uid"], deadline)
