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
from carob.cli.selection import Manifest, Selection, exists, read_manifests

if TYPE_CHECKING:
    from carob.api.resources import Resource
    from carob.cli.flags import Arguments, Flags

LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
MANAGER = "kubectl-client-side-apply"
CONFLICT_RETRIES = 5


def add_flags(flags: Flags) -> None:
    """kubectl apply's flags."""
    flags.texts("filename", "f", meta="FILE", help="file, folder, URL or -")
    flags.switch("recursive", "R", help="folders with their folders")
    flags.switch("server-side", help="the server merges")
    flags.switch("force-conflicts", help="with --server-side: take fields from others")
    flags.text("field-manager", meta="NAME", help="who manages these fields")
    flags.text("dry-run", default="none", help="change nothing")
    flags.text("validate", default="strict", meta="MODE", help="strict, warn or ignore (default: strict)")
    flags.switch("overwrite", default=True)
    flags.text("output", "o", help="how to print")
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
    connection = connect(arguments)
    try:
        apply = Apply(connection, arguments)
        manifests = read_manifests(arguments.filename, Selection(connection), recursive=arguments.recursive)
        failed = False
        for manifest in manifests:
            try:
                apply.one(manifest)
            except ApiError as error:
                failed = True
                print(
                    server_error(
                        error, verb="applying patch" if apply.patching else "creating", source=manifest.source
                    ),
                    file=sys.stderr,
                )
        return 1 if failed else 0
    finally:
        connection.close()


class Apply:
    """Applies objects one after another."""

    def __init__(self, connection: Connection, arguments: Arguments) -> None:
        self._connection = connection
        self._arguments = arguments
        self.patching = False
        self._query: dict[str, str | list[str]] = {
            "fieldManager": arguments.field_manager or ("kubectl" if arguments.server_side else MANAGER),
            "fieldValidation": field_validation(arguments.validate),
        }
        if arguments.dry_run == "server":
            self._query["dryRun"] = "All"

    def one(self, manifest: Manifest) -> None:
        """Apply one object and print what happened. Raises: ApiError."""
        self.patching = False
        namespace = manifest.namespace(self._connection.namespace)
        self._check_namespace(manifest, namespace)
        if not manifest.name:
            raise CommandError(f"error: resource name may not be empty: {manifest.source}")
        if self._arguments.server_side:
            self._server_side(manifest, namespace)
            return
        tree = self._with_namespace(manifest.tree, namespace)
        last_applied = encode_last_applied(tree)
        tree["metadata"].setdefault("annotations", {})
        tree["metadata"]["annotations"] = {**(tree["metadata"]["annotations"] or {}), LAST_APPLIED: last_applied}
        there = exists(self._connection, manifest.resource, namespace, manifest.name)
        if there is None:
            result = tree
            if self._arguments.dry_run != "client":
                path = manifest.resource.path(namespace or None)
                result = self._connection.json("POST", path, self._query, tree)
            self._print(manifest, result, "created")
            return
        self._patch(manifest, namespace, tree, there)

    def _check_namespace(self, manifest: Manifest, namespace: str) -> None:
        flag = self._arguments.namespace
        if manifest.resource.namespaced and flag and namespace != flag:
            raise CommandError(
                f'error: the namespace from the provided object "{namespace}" does not match the namespace "{flag}". '
                f"You must pass '--namespace={namespace}' to perform this operation."
            )

    @staticmethod
    def _with_namespace(tree: dict[str, Any], namespace: str) -> dict[str, Any]:
        metadata = dict(tree.get("metadata") or {})
        if namespace:
            metadata["namespace"] = namespace
        metadata["annotations"] = dict(metadata.get("annotations") or {})
        metadata["annotations"].pop(LAST_APPLIED, None)
        return {**tree, "metadata": metadata}

    def _patch(self, manifest: Manifest, namespace: str, tree: dict[str, Any], there: dict[str, Any]) -> None:
        self.patching = True
        path = manifest.resource.path(namespace or None, manifest.name)
        for attempt in range(CONFLICT_RETRIES):
            annotations = (there.get("metadata") or {}).get("annotations") or {}
            original = json.loads(annotations[LAST_APPLIED]) if LAST_APPLIED in annotations else {}
            if not original and attempt == 0:
                self._warn_missing_annotation(manifest)
            patch, content_type = make_patch(manifest.resource, original, tree, there)
            if not patch:
                self._print(manifest, there, "unchanged")
                return
            if self._arguments.dry_run == "client":
                self._print(manifest, there, "configured")
                return
            try:
                result = self._connection.json("PATCH", path, self._query, patch, content_type=content_type)
            except ApiError as error:
                if error.reason != "Conflict" or attempt == CONFLICT_RETRIES - 1:
                    raise
                there = self._connection.json("GET", path)
                continue
            self._print(manifest, result, "configured")
            return

    @staticmethod
    def _warn_missing_annotation(manifest: Manifest) -> None:
        print(
            f"Warning: resource {manifest.resource.plural}/{manifest.name} is missing the {LAST_APPLIED} annotation which "
            "is required by kubectl apply. kubectl apply should only be used on resources created declaratively by either "
            "kubectl create --save-config or kubectl apply. The missing annotation will be patched automatically.",
            file=sys.stderr,
        )

    def _server_side(self, manifest: Manifest, namespace: str) -> None:
        self.patching = True
        path = manifest.resource.path(namespace or None, manifest.name)
        query = {**self._query, "force": "true" if self._arguments.force_conflicts else "false"}
        tree = self._connection.json("PATCH", path, query, manifest.tree, content_type="application/apply-patch+yaml")
        self._print(manifest, tree, "serverside-applied")

    def _print(self, manifest: Manifest, tree: dict[str, Any], what: str) -> None:
        if self._arguments.output in ("json", "yaml"):
            from carob.cli.printers.structured import to_json, to_yaml, without_managed_fields

            print_tree = to_json if self._arguments.output == "json" else to_yaml
            sys.stdout.write(print_tree(without_managed_fields(tree)))
            return
        name = kind_and_name(manifest.resource, manifest.name)
        if self._arguments.output == "name":
            print(name)
            return
        suffix = {"client": " (dry run)", "server": " (server dry run)"}.get(self._arguments.dry_run, "")
        print(f"{name} {what}{suffix}")


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
