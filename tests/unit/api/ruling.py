"""Asks the rules about objects that are written as YAML; tests of rules have one row a rule."""

from __future__ import annotations

from typing import Any

import yaml

from carob.api import codec
from carob.api.defaulting import default
from carob.api.resources import ResourceTable
from carob.api.validation import validate_create, validate_update

TABLE = ResourceTable()
Tree = dict[str, Any]


def built(text: str | Tree, *changes: str | Tree) -> Tree:
    """The object of a text, with further texts merged into it; `null` takes a field away."""
    tree: Tree = yaml.safe_load(text) if isinstance(text, str) else text
    for change in changes:
        tree = _merged(tree, yaml.safe_load(change) if isinstance(change, str) else change)
    return tree


def _merged(tree: Any, change: Any) -> Any:
    if not isinstance(tree, dict) or not isinstance(change, dict):
        return change
    out = dict(tree)
    for key, value in change.items():
        if value is None:
            out.pop(key, None)
        else:
            out[key] = _merged(out.get(key), value)
    return out


def said(tree: Tree, old: Tree | None = None, subresource: str = "") -> list[str]:
    """What is refused: `field: message`, in order. Defaults are filled in first."""
    row = TABLE.by_kind(tree["apiVersion"], tree["kind"])
    assert row is not None
    new, before = (_prepared(row, one) if one is not None else None for one in (tree, old))
    causes = validate_create(row, new) if before is None else validate_update(row, new, before, subresource)
    return [f"{cause['field']}: {cause['message']}" for cause in causes]


def _prepared(row: Any, tree: Tree) -> Any:
    obj = codec.from_tree(row.struct, tree)
    default(obj)
    obj.metadata.resource_version = "1"
    if row.namespaced:
        obj.metadata.namespace = obj.metadata.namespace or "n"
    return obj
