"""Which objects a controller controls: by owner reference, kept in step with its selector (adopt, release).

Pure. Source: kube-controller-manager `controller_ref_manager.go` (BaseControllerRefManager.ClaimObject).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from msgspec import Struct

from carob.api.types import meta_v1

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from carob.api.resources import Resource
    from carob.api.selectors import LabelSelector
    from carob.controllers.ownership import Owned, OwnerReference

T = TypeVar("T", bound="Owned")


class Named(Protocol):
    """Metadata, whole or the part of it that a view has."""

    name: str
    uid: str


def controller_of(obj: Owned) -> OwnerReference | None:
    """The reference to the one owner that controls it."""
    for reference in obj.metadata.owner_references:
        if reference.controller:
            return reference
    return None


class Claim(Struct, Generic[T], frozen=True):
    """`mine` are controlled already, `adopt` should be, `release` no longer fit the selector."""

    mine: list[T]
    adopt: list[T]
    release: list[T]


def claim(owner: Owned, selector: LabelSelector, owned: Iterable[T], orphans: Iterable[T]) -> Claim[T]:
    """Sort what is there.

    Shape: `owned` refer to the owner's uid (as controller or not), `orphans` have no controller; all of its namespace.
    An owner that is being deleted neither adopts nor releases.
    """
    result: Claim[T] = Claim([], [], [])
    matches = _remembering(selector)
    for obj in owned:
        reference = controller_of(obj)
        if reference is None or reference.uid != owner.metadata.uid:
            continue
        if matches(_labels(obj)):
            result.mine.append(obj)
        elif not owner.is_ending:
            result.release.append(obj)
    if not owner.is_ending:
        result.adopt.extend(o for o in orphans if not o.is_ending and matches(_labels(o)))
    return result


def _remembering(selector: LabelSelector) -> Callable[[dict[str, str]], bool]:
    """The selector, asked once for labels that many Pods share as one object."""
    known: dict[int, bool] = {}

    def matches(labels: dict[str, str]) -> bool:
        found = known.get(id(labels))
        if found is None:
            found = known[id(labels)] = selector.matches(labels)
        return found

    return matches


def _labels(obj: Owned) -> dict[str, str]:
    labels: dict[str, str] = obj.metadata.labels  # type: ignore[attr-defined]
    return labels


def reference_tree(row: Resource, owner: Owned) -> dict[str, Any]:
    """The owner reference of a controller, as JSON."""
    return {
        "apiVersion": row.api_version,
        "kind": row.kind,
        "name": owner.metadata.name,
        "uid": owner.metadata.uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }


def controller_reference(kind: str, metadata: Named) -> meta_v1.OwnerReference:
    """The owner reference of an object of a core kind that controls what it makes."""
    return meta_v1.OwnerReference(
        api_version="v1",
        kind=kind,
        name=metadata.name,
        uid=metadata.uid,
        controller=True,
        block_owner_deletion=True,
    )


def adoption_patch(row: Resource, owner: Owned, obj: Owned, finalizer: str = "") -> dict[str, Any]:
    """The strategic patch that makes `owner` control `obj`, and only this very object."""
    metadata: dict[str, Any] = {"ownerReferences": [reference_tree(row, owner)], "uid": obj.metadata.uid}
    if finalizer:
        metadata["finalizers"] = [finalizer]
    return {"metadata": metadata}


def release_patch(owner: Owned, obj: Owned, finalizer: str = "") -> dict[str, Any]:
    """The strategic patch that lets `obj` go."""
    metadata: dict[str, Any] = {
        "ownerReferences": [{"$patch": "delete", "uid": owner.metadata.uid}],
        "uid": obj.metadata.uid,
    }
    if finalizer:
        metadata["$deleteFromPrimitiveList/finalizers"] = [finalizer]
    return {"metadata": metadata}
