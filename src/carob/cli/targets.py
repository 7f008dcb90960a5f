"""The objects that a verb is to do something to: by files, by kinds and names, by labels, all of a kind.

Source: cli-runtime pkg/resource/builder.go.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from carob.api.status import ApiError
from carob.cli.errors import CommandError
from carob.cli.manifests import read_manifests
from carob.cli.selection import Selection, get_object, say_what_was_listed

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from carob.api.resources import Resource
    from carob.cli.connection import Connection
    from carob.cli.flags import Arguments, Flags

MISSING = (
    "error: You must provide one or more resources by argument or filename.\n"
    "Example resource specifications include:\n"
    "   '-f rsrc.yaml'\n   '--filename=rsrc.json'\n   '<resource> <name>'\n   '<resource>'"
)
CHUNK = 500


class Target:
    """One object: where it is, and its tree where that is known already."""

    def __init__(
        self, resource: Resource, namespace: str, name: str, tree: dict[str, Any] | None = None, source: str = ""
    ) -> None:
        self.resource = resource
        self.namespace = namespace
        self.name = name
        self.tree: dict[str, Any] = tree or {}
        self.source = source

    def path(self, subresource: str = "") -> str:
        """The object's path."""
        return self.resource.path(self.namespace or None, self.name, subresource or None)

    @property
    def kind_word(self) -> str:
        """`pod`, `deployment.apps`: as results name kinds."""
        resource = self.resource
        return f"{resource.singular_name}.{resource.group}" if resource.group else resource.singular_name


def add_target_flags(flags: Flags, *, selectors: bool = True) -> None:
    """The flags that choose objects."""
    flags.csv("filename", "f", meta="FILE", help="what the file, folder, URL or - (standard input) names")
    flags.csv("kustomize", "k", meta="DIR", help="what the kustomization there gives")
    flags.switch("recursive", "R", help="folders with their folders")
    if selectors:
        flags.text("selector", "l", meta="SELECTOR", help="those with these labels")
        flags.text("field-selector", meta="SELECTOR", help="those with these fields")
        flags.switch("all", help="all of the kind in the namespace")
        flags.switch("all-namespaces", "A", help="across all namespaces")


def targets_of(connection: Connection, arguments: Arguments, words: Sequence[str] | None = None) -> list[Target]:
    """Every chosen object; those that a listing found have their trees. Raises: ApiError, CommandError."""
    words = arguments.words if words is None else words
    selection = Selection(connection)
    if arguments.filename:
        return _from_files(connection, selection, arguments, words)
    if not words:
        raise CommandError(MISSING)
    return list(_from_words(connection, selection, arguments, words))


def _from_files(
    connection: Connection, selection: Selection, arguments: Arguments, words: Sequence[str]
) -> list[Target]:
    if words:
        raise CommandError(
            "error: when paths, URLs, or stdin is provided as input, you may not specify resource arguments as well"
        )
    found = read_manifests(arguments.filename, selection, recursive=arguments.recursive)
    targets = []
    for m in found:
        namespace = m.namespace(connection.namespace)
        check_namespace(arguments, m.resource, namespace)
        targets.append(Target(m.resource, namespace, m.name, m.tree, m.source))
    return targets


def check_namespace(arguments: Arguments, resource: Resource, namespace: str) -> None:
    """Raises: CommandError when a file names another namespace than -n."""
    flag = arguments.namespace
    if resource.namespaced and flag and namespace != flag:
        raise CommandError(
            f'error: the namespace from the provided object "{namespace}" does not match the namespace "{flag}". '
            f"You must pass '--namespace={namespace}' to perform this operation."
        )


def _from_words(
    connection: Connection, selection: Selection, arguments: Arguments, words: Sequence[str]
) -> Iterator[Target]:
    selector = getattr(arguments, "selector", "")
    fields = getattr(arguments, "field_selector", "")
    everything = getattr(arguments, "all", False)
    everywhere = getattr(arguments, "all_namespaces", False)
    if everything and selector:
        raise CommandError("error: setting 'all' parameter but found a non empty selector. ")
    selected = selection.parse(words)
    named = [s for s in selected if s.name is not None]
    if named and (selector or everything):
        raise CommandError("error: name cannot be provided when a selector is specified")
    if named and everywhere:
        raise CommandError("error: a resource cannot be retrieved by name across all namespaces")
    if not named and not (selector or fields or everything):
        raise CommandError("error: resource(s) were provided, but no name was specified")
    for one in selected:
        namespace = connection.namespace if one.resource.namespaced else ""
        if one.name is not None:
            yield Target(one.resource, namespace, one.name)
        else:
            yield from listed(connection, one.resource, "" if everywhere else namespace, selector, fields)


def listed(connection: Connection, resource: Resource, namespace: str, selector: str, fields: str) -> Iterator[Target]:
    """All objects of a kind that match. Raises: ApiError."""
    query: dict[str, str | list[str]] = {"limit": str(CHUNK)}
    if selector:
        query["labelSelector"] = selector
    if fields:
        query["fieldSelector"] = fields
    head = {"apiVersion": resource.api_version, "kind": resource.kind}
    while True:
        try:
            page = connection.json("GET", resource.path(namespace or None), query)
        except ApiError as error:
            say_what_was_listed(error, resource, query)
            raise
        for item in page.get("items") or []:
            metadata = item["metadata"]
            yield Target(resource, metadata.get("namespace", ""), metadata["name"], {**head, **item})
        token = (page.get("metadata") or {}).get("continue")
        if not token:
            return
        query["continue"] = token


def fetch(connection: Connection, target: Target) -> dict[str, Any]:
    """The object as it is now. Raises: ApiError."""
    tree: dict[str, Any] = get_object(connection, target.path(), target.namespace)
    return tree


def fetch_all(
    connection: Connection, targets: Sequence[Target]
) -> Iterator[tuple[Target, dict[str, Any] | None, ApiError | None]]:
    """Each object, or why it cannot be had."""
    for target in targets:
        try:
            known = target.tree if target.tree and not target.source else fetch(connection, target)
            yield target, known, None
        except ApiError as error:
            yield target, None, error
