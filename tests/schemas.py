"""Judges objects by upstream's own schemas, strictly: the ones that the package kubernetes-validate carries.

`kubernetes_validate.validate` reads its schemas anew for every object; this keeps what it makes of them.
"""

from __future__ import annotations

import importlib.util
import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
from referencing import Registry, Resource

VERSION = "v1.36.0-local-strict"
# kinds of answers that are no objects: they have no schema of their own
NO_OBJECTS = frozenset(("Table", "PartialObjectMetadata", "PartialObjectMetadataList", "APIGroupDiscoveryList"))


@cache
def _folder() -> Path:
    spec = importlib.util.find_spec("kubernetes_validate")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent / "kubernetes-json-schema" / VERSION


@cache
def _definitions() -> Any:
    return Resource.from_contents(json.loads((_folder() / "_definitions.json").read_text()))


@cache
def _validator(api_version: str, kind: str) -> Any:
    # rbac.authorization.k8s.io/v1 -> rbac-v1
    place = re.sub(r"^([^./]*)(?:\.[^/]*)?/", r"\1-", api_version)
    files = [_folder() / f"{kind.lower()}-{group}.json" for group in (place, "meta-v1")]
    schema = json.loads(next(file for file in files if file.exists()).read_text())
    registry = _definitions() @ (Resource.from_contents(schema) @ Registry())
    return jsonschema.Draft202012Validator(schema, registry=registry)


def complaints(tree: Any) -> list[str]:
    """What upstream's strict schema says against an object; nothing for most."""
    found = _validator(tree["apiVersion"], tree["kind"]).iter_errors(tree)
    return [f"{tree['kind']}: {one.json_path}: {one.message[:200]}" for one in found]


def objects_in(answer: Any) -> Iterator[Any]:
    """The objects of an answer: itself, or the items of a list, which have kind and apiVersion of the list."""
    if not isinstance(answer, dict) or "apiVersion" not in answer or answer.get("kind") in NO_OBJECTS:
        return
    kind = str(answer["kind"])
    if "items" in answer and kind.endswith("List"):
        for item in answer["items"] or ():
            yield {"apiVersion": answer["apiVersion"], "kind": kind.removesuffix("List"), **item}
    else:
        yield answer
