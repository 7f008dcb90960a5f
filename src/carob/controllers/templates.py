"""Pod templates: compare, name by hash, make Pods of them. Trees in, trees out. Pure."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import orjson

from carob.base.ids import SUFFIX_ALPHABET

if TYPE_CHECKING:
    from msgspec import Raw

HASH_LABEL = "pod-template-hash"


def tree_of(raw: Raw) -> dict[str, Any]:
    """The template as a tree of the caller's own."""
    found: dict[str, Any] = orjson.loads(memoryview(raw))
    return found


def bare(template: dict[str, Any]) -> dict[str, Any]:
    """The template without what its own hash put into it, and without empty parts that mean nothing."""
    metadata = {k: v for k, v in (template.get("metadata") or {}).items() if v}
    labels = {k: v for k, v in metadata.pop("labels", {}).items() if k != HASH_LABEL}
    if labels:
        metadata["labels"] = labels
    return {**template, "metadata": metadata}


def safe_text(number: int) -> str:
    """A number in letters that spell no word. Source: apimachinery util/rand SafeEncodeString."""
    return "".join(SUFFIX_ALPHABET[ord(digit) % len(SUFFIX_ALPHABET)] for digit in str(number))


def hash_of(tree: Any, collisions: int | None = None) -> str:
    """A name for a template: stable, and another one for each count of collisions.

    Differs: upstream hashes a Go struct's memory; nobody can depend on the value.
    """
    digest = hashlib.blake2b(orjson.dumps(tree, option=orjson.OPT_SORT_KEYS), digest_size=4)
    if collisions is not None:
        digest.update(str(collisions).encode())
    return safe_text(int.from_bytes(digest.digest(), "little"))


def pod_of(
    template: dict[str, Any], owner_reference: dict[str, Any], namespace: str, **metadata: Any
) -> dict[str, Any]:
    """The Pod that a template makes; `metadata` adds to the template's own (labels and annotations are merged)."""
    own = template.get("metadata") or {}
    made: dict[str, Any] = {"namespace": namespace, "ownerReferences": [owner_reference]}
    for part in ("labels", "annotations"):
        merged = {**(own.get(part) or {}), **metadata.pop(part, {})}
        if merged:
            made[part] = merged
    finalizers = [*(own.get("finalizers") or []), *metadata.pop("finalizers", [])]
    if finalizers:
        made["finalizers"] = finalizers
    return {"kind": "Pod", "apiVersion": "v1", "metadata": {**made, **metadata}, "spec": template.get("spec") or {}}
