"""Ownership after a create, an update or a patch: who changes a field owns it, alone.

Source: structured-merge-diff `merge/update.go` (`Update`), apimachinery `managedfieldsupdater.go`, `stripmeta.go`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from carob.api.apply import field_sets, owners
from carob.api.apply.owners import UPDATE, Owner

if TYPE_CHECKING:
    from collections.abc import Callable

    from carob.api.apply.field_sets import FieldSet

# What the server writes: nobody owns it.
STRIPPED: FieldSet = {
    "f:apiVersion": {},
    "f:kind": {},
    "f:metadata": {
        ".": {},
        "f:name": {},
        "f:namespace": {},
        "f:creationTimestamp": {},
        "f:selfLink": {},
        "f:uid": {},
        "f:clusterName": {},
        "f:generation": {},
        "f:managedFields": {},
        "f:resourceVersion": {},
    },
}


class Changes:
    """What a write added or modified and what it removed, in the version that the client spoke and in others.

    Shape: `elsewhere(version)` gives both sets in another version; None if nobody serves that version.
    """

    def __init__(
        self,
        version: str,
        changed: FieldSet,
        removed: FieldSet,
        elsewhere: Callable[[str], tuple[FieldSet, FieldSet] | None],
    ) -> None:
        self.version = version
        self.changed = changed
        self.removed = removed
        self._elsewhere = elsewhere
        self._known: dict[str, tuple[FieldSet, FieldSet] | None] = {version: (changed, removed)}

    def at(self, version: str) -> tuple[FieldSet, FieldSet] | None:
        """What was changed and what was removed in a version."""
        if version not in self._known:
            self._known[version] = self._elsewhere(version)
        return self._known[version]

    def __bool__(self) -> bool:
        return bool(self.changed or self.removed)


def stripped(fields: FieldSet) -> FieldSet:
    """The set without what nobody owns."""
    return field_sets.difference(fields, STRIPPED)


def dispossessed(present: list[Owner], changes: Changes) -> list[Owner]:
    """The owners without what others changed and what is gone; those who own nothing any more are gone too."""
    out = []
    for owner in present:
        sets = changes.at(owner.api_version)
        if sets is None:
            continue
        changed, removed = sets
        mine = owner.fields
        left = mine
        # most writes touch only parts of an object that most owners have nothing in
        if not changed.keys().isdisjoint(mine):
            left = field_sets.difference(left, changed)
        if not removed.keys().isdisjoint(left):
            left = field_sets.difference(left, removed)
        if left is mine or left == mine:
            out.append(owner)
        elif left:
            out.append(owner.owning(left))
    return out


def updated(present: list[Owner], changes: Changes, manager: str, subresource: str, time: str | None) -> list[Owner]:
    """The owners after `manager` made these changes."""
    me = Owner(manager or owners.UNKNOWN, UPDATE, changes.version, subresource, time)
    claimed = stripped(changes.changed)
    before = next((owner for owner in present if owner.identity == me.identity), None)
    out = dispossessed([owner for owner in present if owner is not before], changes)
    if before is None:
        if claimed:
            out.append(me.owning(claimed))
        return owners.capped(out)
    kept = field_sets.difference(before.fields, changes.removed)
    kept = field_sets.union(kept, claimed)
    if kept:
        mine = before if kept == before.fields else before.owning(kept)
        out.append(mine.at(time) if claimed else mine)
    return owners.capped(out)
