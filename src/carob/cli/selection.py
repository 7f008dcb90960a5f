"""What the words of a command line select: kinds and names, files, labels.

`pods`, `pod/a svc/b`, `deploy,rs`, `pod a b`, `-f file`, `-l app=x`: as kubectl's resource builder reads them.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from carob.api.resources import TABLE, Resource, Subresource
from carob.api.status import ApiError
from carob.cli.errors import CommandError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from carob.cli.connection import Connection

MANIFEST_SUFFIXES = (".json", ".yaml", ".yml")


class Selected(NamedTuple):
    """One kind, and one object of it or all."""

    resource: Resource
    name: str | None = None


class Manifest(NamedTuple):
    """One object of a file."""

    resource: Resource
    tree: dict[str, Any]
    source: str

    @property
    def name(self) -> str:
        return str((self.tree.get("metadata") or {}).get("name") or "")

    def namespace(self, default: str) -> str:
        """The namespace that a request about it goes to; empty for cluster-scoped kinds."""
        if not self.resource.namespaced:
            return ""
        return str((self.tree.get("metadata") or {}).get("namespace") or default)


class Selection:
    """Resolves words to rows of the table; asks the server's discovery only about words that the table lacks."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def resources(self, words: str) -> list[Resource]:
        """The rows of `pods`, `deploy,rs`, `all`. Raises: CommandError in kubectl's words."""
        found: list[Resource] = []
        for word in words.split(","):
            rows = TABLE.by_any_name(word)
            is_category = rows and word in rows[0].categories and word not in (rows[0].plural, *rows[0].short_names)
            if not rows:
                rows = self._discover(word)[:1]
            found += rows if is_category else rows[:1]
        return found

    def by_kind(self, api_version: str, kind: str, source: str) -> Resource:
        """The row of a manifest. Raises: CommandError in kubectl's words."""
        row = TABLE.by_kind(api_version, kind) or self._discover_kind(api_version, kind)
        if row is None:
            raise CommandError(
                f'error: resource mapping not found for name: "" namespace: "" from "{source}": no matches for kind '
                f'"{kind}" in version "{api_version}"\nensure CRDs are installed first'
            )
        return row

    def parse(self, words: Sequence[str]) -> list[Selected]:
        """What `TYPE[,TYPE] [NAME …]` or `TYPE/NAME …` select."""
        if not words:
            return []
        if any("/" in word for word in words):
            selected = []
            for word in words:
                kind, slash, name = word.partition("/")
                if not slash:
                    raise CommandError(
                        "error: there is no need to specify a resource type as a separate argument when passing "
                        "arguments in resource/name form (e.g. 'carob get resource/<resource_name>' instead of "
                        "'carob get resource resource/<resource_name>'"
                    )
                if "/" in name:
                    raise CommandError("error: arguments in resource/name form may not have more than one slash")
                if not name or not kind:
                    raise CommandError("error: arguments in resource/name form must have a single resource and name")
                selected.append(Selected(self.resources(kind)[0], name))
            return selected
        rows = self.resources(words[0])
        if len(words) == 1:
            return [Selected(row) for row in rows]
        return [Selected(row, name) for row in rows for name in words[1:]]

    def _discover(self, word: str) -> list[Resource]:
        name, _, group = word.lower().partition(".")
        found = [
            r
            for r in self._served()
            if name in (r.plural, r.singular_name, r.kind.lower(), *r.short_names) and (not group or r.group == group)
        ]
        if not found:
            where = f' in group "{group}"' if group else ""
            shown = word.partition(".")[0] if group else word
            raise CommandError(f'error: the server doesn\'t have a resource type "{shown}"{where}')
        return found

    def _discover_kind(self, api_version: str, kind: str) -> Resource | None:
        return next((r for r in self._served() if r.api_version == api_version and r.kind == kind), None)

    def _served(self) -> Iterator[Resource]:
        """Rows made from the server's aggregated discovery."""
        accept = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
        for group in self._connection.json("GET", "/apis", accept=accept).get("items", []):
            for version in group["versions"]:
                for r in version.get("resources", []):
                    yield Resource(
                        group["metadata"]["name"],
                        version["version"],
                        r["responseKind"]["kind"],
                        r["resource"],
                        singular=r.get("singularResource", ""),
                        short_names=tuple(r.get("shortNames", ())),
                        namespaced=r["scope"] == "Namespaced",
                        subresources=tuple(Subresource(s["subresource"]) for s in r.get("subresources", ())),
                        custom=True,
                    )


def read_manifests(files: Sequence[str], selection: Selection, *, recursive: bool = False) -> list[Manifest]:
    """Every object of the files, in order; `-` is standard input, a folder means its manifests, lists are opened up.

    Raises: CommandError in kubectl's words.
    """
    manifests: list[Manifest] = []
    for name in files:
        for source, text in _texts(name, recursive):
            for tree in _documents(text, source):
                manifests += _objects(tree, source, selection)
    if not manifests:
        raise CommandError("error: no objects passed to apply" if files else "error: must specify one of -f and -k")
    return manifests


def _texts(name: str, recursive: bool) -> Iterator[tuple[str, bytes]]:
    if name == "-":
        yield "STDIN", sys.stdin.buffer.read()
        return
    if name.startswith(("http://", "https://")):
        import urllib.request

        with urllib.request.urlopen(name) as answer:
            yield name, answer.read()
        return
    path = Path(name)
    if path.is_dir():
        pattern = path.rglob("*") if recursive else path.glob("*")
        for file in sorted(f for f in pattern if f.suffix in MANIFEST_SUFFIXES and f.is_file()):
            yield str(file), file.read_bytes()
        return
    try:
        yield name, path.read_bytes()
    except FileNotFoundError:
        raise CommandError(f'error: the path "{name}" does not exist') from None
    except OSError as error:
        raise CommandError(f"error: {name}: {error.strerror}") from error


def _documents(text: bytes, source: str) -> Iterator[Any]:
    if text.lstrip()[:1] == b"{":
        try:
            yield json.loads(text)
            return
        except json.JSONDecodeError:
            pass  # several JSON documents, or YAML's flow style
    import yaml

    from carob.cli.yaml_input import KubernetesLoader

    try:
        yield from (d for d in yaml.load_all(text, Loader=KubernetesLoader) if d is not None)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" line {mark.line + 1}: " if mark else " "
        problem = getattr(error, "problem", None) or str(error)
        raise CommandError(
            f"error: error parsing {source}: error converting YAML to JSON: yaml:{where}{problem}"
        ) from error


def _objects(tree: Any, source: str, selection: Selection) -> Iterator[Manifest]:
    if not isinstance(tree, dict):
        raise CommandError(f'error: error validating "{source}": error validating data: invalid object to validate')
    kind, api_version = tree.get("kind"), tree.get("apiVersion")
    if not kind or not api_version:
        problems = [text for value, text in ((api_version, "apiVersion not set"), (kind, "kind not set")) if not value]
        text = problems[0] if len(problems) == 1 else f"[{', '.join(problems)}]"
        raise CommandError(
            f'error: error validating "{source}": error validating data: {text}; if you choose to ignore these errors, '
            "turn validation off with --validate=false"
        )
    if kind.endswith("List") and isinstance(tree.get("items"), list):
        for item in tree["items"]:
            if kind != "List":
                item = {"apiVersion": api_version, "kind": kind.removesuffix("List"), **item}
            yield from _objects(item, source, selection)
        return
    yield Manifest(selection.by_kind(api_version, kind, source), tree, source)


def get_object(
    connection: Connection,
    path: str,
    namespace: str,
    query: dict[str, str | list[str]] | None = None,
    accept: str = "application/json",
) -> Any:
    """One object. Raises: ApiError; where the whole namespace is missing, that is what it says, as kubectl does."""
    try:
        return connection.json("GET", path, query, accept=accept)
    except ApiError as error:
        if error.reason == "NotFound" and namespace not in ("", "default"):
            try:
                connection.json("GET", f"/api/v1/namespaces/{namespace}")
            except ApiError as second:
                if second.reason == "NotFound":
                    raise second from error
        raise


def say_what_was_listed(error: ApiError, resource: Resource, query: Mapping[str, str | list[str]]) -> None:
    """Put kubectl's words about the listing in front of the server's.

    Source: cli-runtime pkg/resource/selector.go.
    """
    if error.reason not in ("BadRequest", "NotFound"):
        return
    shown = f'"{resource.group}/{resource.version}, Resource={resource.plural}"'
    labels, fields = query.get("labelSelector", ""), query.get("fieldSelector", "")
    if labels or fields:
        shown = f'Unable to find {shown} that match label selector "{labels}", field selector "{fields}"'
    else:
        shown = f"Unable to list {shown}"
    error.message = f"{shown}: {error.message}"


def exists(connection: Connection, resource: Resource, namespace: str, name: str) -> dict[str, Any] | None:
    """The object, or None if there is none."""
    try:
        tree: dict[str, Any] = connection.json("GET", resource.path(namespace or None, name))
    except ApiError as error:
        if error.reason == "NotFound":
            return None
        raise
    return tree
