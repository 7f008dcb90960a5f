"""Objects in files: YAML, JSON, folders of them, URLs, standard input; lists are opened up.

Source: cli-runtime pkg/resource (visitor.go), sigs.k8s.io/yaml.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from carob.cli.errors import CommandError
from carob.cli.kustomizations import Built

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from carob.api.resources import Resource
    from carob.cli.selection import Selection

SUFFIXES = (".json", ".yaml", ".yml")
IGNORE = "; if you choose to ignore these errors, turn validation off with --validate=false"


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


def read_manifests(files: Sequence[str], selection: Selection, *, recursive: bool = False) -> list[Manifest]:
    """Every object of the files, in order. Raises: CommandError in kubectl's words; ApiError from discovery."""
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
    if isinstance(name, Built):
        yield name, name.text
        return
    if name.startswith(("http://", "https://")):
        yield name, _fetched(name)
        return
    path = Path(name)
    if path.is_dir():
        pattern = path.rglob("*") if recursive else path.glob("*")
        found = sorted(f for f in pattern if f.suffix in SUFFIXES and f.is_file())
        if not found:
            raise CommandError(f"error: error reading [{name}]: recognized file extensions are [.json .yaml .yml]")
        for file in found:
            yield str(file), file.read_bytes()
        return
    try:
        yield name, path.read_bytes()
    except FileNotFoundError:
        raise CommandError(f'error: the path "{name}" does not exist') from None
    except OSError as error:
        raise CommandError(f'error: the path "{name}" cannot be accessed: {error.strerror}') from error


def _fetched(url: str) -> bytes:
    import urllib.error
    import urllib.request

    try:
        with urllib.request.urlopen(url) as answer:
            body: bytes = answer.read()
            return body
    except urllib.error.HTTPError as error:
        raise CommandError(f'error: unable to read URL "{url}", server reported {error.code} {error.reason}') from error
    except OSError as error:
        raise CommandError(f'error: unable to read URL "{url}": {error}') from error


def _documents(text: bytes, source: str) -> Iterator[Any]:
    if text.lstrip()[:1] == b"{":
        yield from _json_documents(text, source)
        return
    import yaml

    from carob.cli.yaml_input import KubernetesLoader, explanation

    try:
        yield from (d for d in yaml.load_all(text, Loader=KubernetesLoader) if d is not None)
    except yaml.YAMLError as error:
        raise CommandError(
            f"error: error parsing {source}: error converting YAML to JSON: yaml: {explanation(error)}"
        ) from error


def _json_documents(text: bytes, source: str) -> Iterator[Any]:
    """One after the other; what only looks like JSON is read as YAML."""
    rest = text.decode("utf-8", "replace").lstrip()
    decoder, first = json.JSONDecoder(), True
    while rest:
        try:
            tree, end = decoder.raw_decode(rest)
        except ValueError as error:
            if first:
                import yaml

                from carob.cli.yaml_input import KubernetesLoader

                try:
                    yield from (d for d in yaml.load_all(text, Loader=KubernetesLoader) if d is not None)
                    return
                except yaml.YAMLError:
                    pass  # then it was meant to be JSON
            where = getattr(error, "pos", 0)
            why = "unexpected EOF" if where >= len(rest) - 1 else f"invalid character {rest[where]!r}"
            raise CommandError(f"error: error parsing {source}: {why}") from error
        yield tree
        first = False
        rest = rest[end:].lstrip()


def _objects(tree: Any, source: str, selection: Selection) -> Iterator[Manifest]:
    invalid = f'error: error validating "{source}": error validating data: '
    if not isinstance(tree, dict):
        raise CommandError(f"{invalid}invalid object to validate{IGNORE}")
    kind, api_version = tree.get("kind"), tree.get("apiVersion")
    if not kind or not api_version:
        problems = [text for value, text in ((api_version, "apiVersion not set"), (kind, "kind not set")) if not value]
        text = problems[0] if len(problems) == 1 else f"[{', '.join(problems)}]"
        raise CommandError(f"{invalid}{text}{IGNORE}")
    if not isinstance(kind, str) or not isinstance(api_version, str):
        raise CommandError(f"{invalid}kind and apiVersion must be text{IGNORE}")
    if kind.endswith("List") and isinstance(tree.get("items"), list):
        for item in tree["items"]:
            if kind != "List" and isinstance(item, dict):
                item = {"apiVersion": api_version, "kind": kind.removesuffix("List"), **item}
            yield from _objects(item, source, selection)
        return
    metadata = tree.get("metadata")
    for field in ("name", "namespace", "generateName"):
        value = metadata.get(field) if isinstance(metadata, dict) else None
        if value is not None and not isinstance(value, str):
            go = {bool: "bool", int: "number", float: "number", dict: "object", list: "array"}[type(value)]
            raise CommandError(
                f'error: unable to decode "{source}": json: cannot unmarshal {go} into Go struct field '
                f"ObjectMeta.metadata.{field} of type string"
            )
    row = selection.by_kind(api_version, kind)
    if row is None:
        name = metadata.get("name", "") if isinstance(metadata, dict) else ""
        namespace = metadata.get("namespace", "") if isinstance(metadata, dict) else ""
        raise CommandError(
            f'error: resource mapping not found for name: "{name}" namespace: "{namespace}" from "{source}": no matches '
            f'for kind "{kind}" in version "{api_version}"\nensure CRDs are installed first'
        )
    yield Manifest(row, tree, source)
