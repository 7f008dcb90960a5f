"""Who owns what: the metadata of every object of every kind, and what its owners' state asks of it.

`Owned` is the part of an object that counts here. `verdict` and `waits_for_itself` are pure; the collector acts on them.
Source: kube-controller-manager garbagecollector (classifyReferences, attemptToDeleteItem).
"""

from __future__ import annotations

from enum import Enum
from functools import cache
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct, field

from carob.api.resources import BUILT_IN, add_view

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from carob.api.resources import Resource

ORPHAN, FOREGROUND = "orphan", "foregroundDeletion"
BY_OWNER = "owner"


class OwnerReference(Struct, kw_only=True, gc=False):
    kind: str = ""
    api_version: str = msgspec.field(default="", name="apiVersion")
    name: str = ""
    uid: str = ""
    controller: bool | None = None
    block_owner_deletion: bool | None = msgspec.field(default=None, name="blockOwnerDeletion")


class OwnedMeta(Struct, kw_only=True, gc=False):
    name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = msgspec.field(default="", name="resourceVersion")
    generation: int = 0
    deletion_timestamp: str | None = msgspec.field(default=None, name="deletionTimestamp")
    owner_references: tuple[OwnerReference, ...] = msgspec.field(default=(), name="ownerReferences")
    finalizers: tuple[str, ...] = ()
    managed_fields: msgspec.Raw = msgspec.field(default_factory=lambda: msgspec.Raw(b"[]"), name="managedFields")
    """Never looked at, so never decoded (that would be nine tenths of the work); declared because informers empty it."""


class Owned(Struct, kw_only=True, gc=False):
    """Any object, as far as ownership goes."""

    metadata: OwnedMeta = msgspec.field(default_factory=OwnedMeta)

    @property
    def is_ending(self) -> bool:
        """Whether its deletion was asked for."""
        return self.metadata.deletion_timestamp is not None

    @property
    def waits_for_dependents(self) -> bool:
        """Whether it ends only after what it owns (foreground deletion)."""
        return self.is_ending and FOREGROUND in self.metadata.finalizers

    @property
    def orphans_dependents(self) -> bool:
        """Whether what it owns must be let go before it ends."""
        return self.is_ending and ORPHAN in self.metadata.finalizers


def collected_kinds(rows: Iterable[Resource] = BUILT_IN) -> list[Resource]:
    """The kinds that take part: what is stored and can be deleted, each in one version, but no events."""
    found: dict[tuple[str, str], Resource] = {}
    for row in rows:
        if row.stored and "delete" in row.verbs and "watch" in row.verbs and row.plural != "events":
            found.setdefault((row.group, row.plural), row)
    return list(found.values())


@cache
def view_of(row: Resource) -> type[Owned]:
    """A Struct class that reads a kind's objects as `Owned`."""
    view: type[Owned] = msgspec.defstruct(f"Owned{row.kind}", [], bases=(Owned,), gc=False)  # type: ignore[assignment]
    add_view(view, row)
    return view


def owners_of(obj: Owned) -> Iterable[str]:
    """The values of the index `BY_OWNER`: the uids of the owners."""
    return [reference.uid for reference in obj.metadata.owner_references]


class Action(Enum):
    KEEP = "keep"
    DELETE = "delete"
    DROP_REFERENCES = "drop references"


class Verdict(Struct, frozen=True):
    """What is to be done with an object. `policy` goes with DELETE; `uids` are the references to drop."""

    action: Action
    policy: str = ""
    uids: tuple[str, ...] = field(default_factory=tuple)


def verdict(
    obj: Owned,
    solid: Sequence[OwnerReference],
    dangling: Sequence[OwnerReference],
    waiting: Sequence[OwnerReference],
    *,
    has_dependents: bool,
) -> Verdict:
    """What an object's owners ask for.

    Shape: `solid` owners exist, `dangling` ones do not, `waiting` ones are being deleted in the foreground.
    """
    if obj.is_ending or not (solid or dangling or waiting):
        return Verdict(Action.KEEP)
    if solid:
        gone = tuple(reference.uid for reference in (*dangling, *waiting))
        return Verdict(Action.DROP_REFERENCES, uids=gone) if gone else Verdict(Action.KEEP)
    if waiting and has_dependents:
        # its own dependents must go first, or the owner would be gone before them
        return Verdict(Action.DELETE, "Foreground")
    finalizers = obj.metadata.finalizers
    policy = "Orphan" if ORPHAN in finalizers else "Foreground" if FOREGROUND in finalizers else "Background"
    return Verdict(Action.DELETE, policy)


def blocks(obj: Owned, owner_uid: str) -> bool:
    """Whether the owner's foreground deletion has to wait for this object."""
    return any(r.uid == owner_uid and r.block_owner_deletion for r in obj.metadata.owner_references)


def waits_for_itself(owner: Owned, dependents: Callable[[str], Iterable[Owned]]) -> bool:
    """Whether a foreground deletion can never end: what blocks it waits in turn for what blocks that, and so for it.

    Shape: `dependents` gives what an owner's uid owns.
    """
    seen: set[str] = set()
    ahead = [owner.metadata.uid]
    while ahead:
        uid = ahead.pop()
        for dependent in dependents(uid):
            found = dependent.metadata.uid
            if not dependent.waits_for_dependents or not blocks(dependent, uid):
                continue
            if found == owner.metadata.uid:
                return True
            if found not in seen:
                seen.add(found)
                ahead.append(found)
    return False


def without_references(obj: Owned, uids: Iterable[str]) -> dict[str, Any]:
    """The strategic patch that removes references, and only from this very object."""
    removed = [{"$patch": "delete", "uid": uid} for uid in uids]
    return {"metadata": {"uid": obj.metadata.uid, "ownerReferences": removed}}


def without_finalizer(obj: Owned, name: str) -> dict[str, Any]:
    """The merge patch that removes a finalizer, if the object is as we know it."""
    metadata = obj.metadata
    left = [finalizer for finalizer in metadata.finalizers if finalizer != name]
    return {"metadata": {"uid": metadata.uid, "resourceVersion": metadata.resource_version, "finalizers": left or None}}
