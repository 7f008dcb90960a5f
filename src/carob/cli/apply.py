"""Apply a configuration to a resource by file name or stdin.

The resource is created if it does not exist yet; else it is changed to what the file says, and what others set stays.

Examples:
  carob apply -f pod.yml
  cat pod.yml | carob apply -f -
  carob apply --server-side -f pod.yml
"""

from __future__ import annotations

import json
import sys
from importlib import resources
from typing import TYPE_CHECKING, Any

from carob.api.status import ApiError
from carob.cli.connection import Connection, add_connection_flags, connect
from carob.cli.errors import CommandError
from carob.cli.failures import server_error
from carob.cli.manifests import read_manifests
from carob.cli.results import ResultPrinter, add_dry_run_flag, add_output_flags
from carob.cli.selection import Selection

if TYPE_CHECKING:
    from carob.api.resources import Resource
    from carob.cli.flags import Arguments, Flags
    from carob.cli.manifests import Manifest

LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
MANAGER = "kubectl-client-side-apply"
CONFLICT_RETRIES = 5


def add_flags(flags: Flags) -> None:
    """kubectl apply's flags."""
    flags.usage = "-f FILE [flags]"
    flags.csv("filename", "f", meta="FILE", help="file, folder, URL or - (standard input)")
    flags.csv("kustomize", "k", meta="DIR", help="what the kustomization there gives")
    flags.switch("recursive", "R", help="folders with their folders")
    flags.text("selector", "l", meta="SELECTOR", help="only objects of the files with these labels")
    flags.switch("server-side", help="the server merges")
    flags.switch("force-conflicts", help="with --server-side: take fields from others")
    flags.text("field-manager", meta="NAME", help="who manages these fields")
    flags.text("validate", default="strict", meta="MODE", bare="strict", help="strict, warn or ignore")
    flags.switch("overwrite", default=True)
    flags.switch("openapi-patch", default=True)
    flags.switch("wait")
    flags.duration("timeout")
    add_dry_run_flag(flags)
    add_output_flags(flags)
    add_connection_flags(flags)


def field_validation(mode: str) -> str:
    """`Strict`, `Warn`, `Ignore` from what --validate says. Raises: CommandError."""
    chosen = {"strict": "Strict", "true": "Strict", "warn": "Warn", "ignore": "Ignore", "false": "Ignore"}.get(mode)
    if chosen is None:
        raise CommandError(
            f'error: invalid - validate option "{mode}"; must be one of: strict (or true), warn, ignore (or false)'
        )
    return chosen


def run(arguments: Arguments) -> int:
    """Apply every object, in order; errors of one do not stop the others."""
    if arguments.words:
        raise CommandError(
            f"error: Unexpected args: [{' '.join(arguments.words)}]\nSee 'carob apply -h' for help and examples"
        )
    if not arguments.filename:
        raise CommandError("error: must specify one of -f and -k")
    if arguments.force_conflicts and not arguments.server_side:
        raise CommandError("error: --force-conflicts only works with --server-side")
    connection = connect(arguments)
    try:
        apply = Apply(connection, arguments)
        return apply.all(read_manifests(arguments.filename, Selection(connection), recursive=arguments.recursive))
    except ApiError as error:
        raise server_error(error) from error
    finally:
        connection.close()


class Apply:
    """Applies objects one after another."""

    def __init__(self, connection: Connection, arguments: Arguments) -> None:
        self._connection = connection
        self._arguments = arguments
        self._printer = ResultPrinter(arguments)
        if arguments.server_side and self._printer.dry_run == "client":
            raise CommandError(
                "error: --dry-run=client doesn't work with --server-side (did you mean --dry-run=server instead?)"
            )
        self._doing = "creating"
        self._results: list[dict[str, Any]] = []
        self._query: dict[str, str | list[str]] = {
            "fieldManager": arguments.field_manager or ("kubectl" if arguments.server_side else MANAGER),
            "fieldValidation": field_validation(arguments.validate),
        }
        if self._printer.dry_run == "server":
            self._query["dryRun"] = "All"

    def all(self, manifests: list[Manifest]) -> int:
        """The exit code."""
        from carob.cli.targets import check_namespace

        failed = False
        for manifest in manifests:
            namespace = manifest.namespace(self._connection.namespace)
            check_namespace(self._arguments, manifest.resource, namespace)
            try:
                self.one(manifest, namespace)
            except ApiError as error:
                failed = True
                print(server_error(error, verb=self._doing, source=manifest.source), file=sys.stderr)
        if self._results:
            self._show_all()
        return 1 if failed else 0

    def one(self, manifest: Manifest, namespace: str) -> None:
        """Apply one object and print what happened. Raises: ApiError."""
        self._doing = "creating"
        self._check_name(manifest, namespace)
        if self._arguments.server_side:
            self._server_side(manifest, namespace)
            return
        tree = to_apply(manifest.tree, namespace)
        tree = with_last_applied(tree, encode_last_applied(tree))
        there = self._present(manifest, namespace)
        if there is not None:
            self._patch(manifest, namespace, tree, there)
            return
        if self._printer.dry_run != "client":
            tree = self._connection.json("POST", manifest.resource.path(namespace or None), self._query, tree)
        self._show(tree, "created")

    @staticmethod
    def _check_name(manifest: Manifest, namespace: str) -> None:
        if manifest.name:
            return
        generated = (manifest.tree.get("metadata") or {}).get("generateName")
        if generated:
            raise CommandError(f"error: from {generated}: cannot use generate name with apply")
        row = manifest.resource
        raise CommandError(
            "error: error when retrieving current configuration of:\n"
            f'Resource: "{row.group}/{row.version}, Resource={row.plural}", '
            f'GroupVersionKind: "{row.group}/{row.version}, Kind={row.kind}"\n'
            f'Name: "", Namespace: "{namespace}"\nfrom server for: "{manifest.source}": resource name may not be empty'
        )

    def _present(self, manifest: Manifest, namespace: str) -> dict[str, Any] | None:
        try:
            there: dict[str, Any] = self._connection.json(
                "GET", manifest.resource.path(namespace or None, manifest.name)
            )
        except ApiError as error:
            if error.reason == "NotFound":
                return None
            row = manifest.resource
            self._doing = ""
            error.message = (
                "error when retrieving current configuration of:\n"
                f'Resource: "{row.group}/{row.version}, Resource={row.plural}", '
                f'GroupVersionKind: "{row.group}/{row.version}, Kind={row.kind}"\n'
                f'Name: "{manifest.name}", Namespace: "{namespace}"\nfrom server for: "{manifest.source}": {error.message}'
            )
            raise
        return there

    def _patch(self, manifest: Manifest, namespace: str, tree: dict[str, Any], there: dict[str, Any]) -> None:
        path = manifest.resource.path(namespace or None, manifest.name)
        for attempt in range(CONFLICT_RETRIES):
            annotations = (there.get("metadata") or {}).get("annotations") or {}
            original = decoded(annotations.get(LAST_APPLIED, ""))
            if LAST_APPLIED not in annotations and attempt == 0:
                self._warn_missing_annotation(manifest)
            patch, content_type = make_patch(manifest.resource, original, tree, there)
            if not patch or self._printer.dry_run == "client":
                self._show(_patched(there, patch, content_type), "configured" if patch else "unchanged")
                return
            shown = json.dumps(patch, separators=(",", ":"), sort_keys=True, ensure_ascii=False)
            self._doing = f'applying patch:\n{shown}\nto:\n{_described(manifest, namespace)}\nfor: "{manifest.source}"'
            try:
                made = self._connection.json("PATCH", path, self._query, patch, content_type=content_type)
            except ApiError as error:
                if error.reason != "Conflict" or attempt == CONFLICT_RETRIES - 1:
                    raise
                there = self._connection.json("GET", path)
                continue
            self._show(made, "configured")
            return

    @staticmethod
    def _warn_missing_annotation(manifest: Manifest) -> None:
        print(
            f"Warning: resource {manifest.resource.plural}/{manifest.name} is missing the {LAST_APPLIED} annotation which "
            "is required by carob apply. carob apply should only be used on resources created declaratively by either "
            "carob create --save-config or carob apply. The missing annotation will be patched automatically.",
            file=sys.stderr,
        )

    def _server_side(self, manifest: Manifest, namespace: str) -> None:
        self._doing = ""
        path = manifest.resource.path(namespace or None, manifest.name)
        query = {**self._query, "force": "true" if self._arguments.force_conflicts else "false"}
        body = with_namespace(manifest.tree, namespace)
        tree = self._connection.json("PATCH", path, query, body, content_type="application/apply-patch+yaml")
        self._show(tree, "serverside-applied")

    # --- printing

    def _show(self, tree: dict[str, Any], what: str) -> None:
        if self._printer.wants_object:
            # as kubectl: all at the end, several as one list
            self._results.append(tree)
            return
        self._printer.show(tree, what)
        sys.stdout.flush()

    def _show_all(self) -> None:
        if len(self._results) == 1:
            self._printer.show(self._results[0], "")
            return
        self._printer.show({"apiVersion": "v1", "items": self._results, "kind": "List", "metadata": {}}, "")


def with_namespace(tree: dict[str, Any], namespace: str) -> dict[str, Any]:
    """The tree with the namespace that it is sent to."""
    metadata = dict(tree.get("metadata") or {})
    if namespace:
        metadata["namespace"] = namespace
    return {**tree, "metadata": metadata}


def to_apply(tree: dict[str, Any], namespace: str) -> dict[str, Any]:
    """What is applied: with its namespace, and without what an earlier apply noted."""
    tree = with_namespace(tree, namespace)
    annotations = dict(tree["metadata"].get("annotations") or {})
    annotations.pop(LAST_APPLIED, None)
    tree["metadata"]["annotations"] = annotations
    return tree


def decoded(text: str) -> dict[str, Any]:
    """The annotation's tree; empty for what somebody has spoiled."""
    try:
        tree = json.loads(text) if text else {}
    except ValueError:
        return {}
    return tree if isinstance(tree, dict) else {}


def _patched(there: dict[str, Any], patch: dict[str, Any], content_type: str) -> dict[str, Any]:
    """What the server would make of it, as far as this side knows."""
    if not patch:
        return there
    from carob.cli.patch import apply_locally

    return apply_locally(there, patch, "strategic" if "strategic" in content_type else "merge")


def _described(manifest: Manifest, namespace: str) -> str:
    row = manifest.resource
    return (
        f'Resource: "{row.group}/{row.version}, Resource={row.plural}", '
        f'GroupVersionKind: "{row.group}/{row.version}, Kind={row.kind}"\n'
        f'Name: "{manifest.name}", Namespace: "{namespace}"'
    )


def kind_and_name(resource: Resource, name: str) -> str:
    """`pod/hello-pod`, `deployment.apps/web`."""
    kind = resource.kind.lower()
    return f"{kind}.{resource.group}/{name}" if resource.group else f"{kind}/{name}"


def with_last_applied(tree: dict[str, Any], text: str) -> dict[str, Any]:
    """A copy of the object with the annotation."""
    metadata = dict(tree.get("metadata") or {})
    metadata["annotations"] = {**(metadata.get("annotations") or {}), LAST_APPLIED: text}
    return {**tree, "metadata": metadata}


def encode_last_applied(tree: dict[str, Any]) -> str:
    """The annotation's text: Go's compact JSON with sorted keys and a newline."""
    text = json.dumps(tree, separators=(",", ":"), sort_keys=True, ensure_ascii=False)
    for sign in "<>&\u2028\u2029":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return text + "\n"


def make_patch(
    resource: Resource, original: dict[str, Any], modified: dict[str, Any], current: dict[str, Any]
) -> tuple[dict[str, Any], str]:
    """The patch and its content type; an empty patch where nothing is to be done."""
    if resource.custom:
        from carob.api.three_way import three_way_merge

        return three_way_merge(original, modified, current), "application/merge-patch+json"
    from carob.api.three_way import ThreeWay

    schema = json.loads((resources.files("carob.api") / "merge_keys.json").read_bytes())
    kind = f"{resource.group.split('.')[0] or 'core'}/{resource.version}.{resource.kind}"
    patch = ThreeWay(schema).strategic(kind, original, modified, current)
    return patch, "application/strategic-merge-patch+json"
