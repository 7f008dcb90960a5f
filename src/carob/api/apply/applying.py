"""Server-side apply: a configuration laid over the live object by its owner; conflicts with other owners.

Source: structured-merge-diff `merge/update.go` (`Apply`, `prune`), apimachinery `managedfields/internal`
(`structuredmerge.go`, `lastappliedmanager.go`, `skipnonapplied.go`).
Differs: of conflicts deep down upstream may name one field twice and its neighbour not at all; each is named here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from carob.api.apply import field_sets, trees, updating
from carob.api.apply.field_sets import intersection, paths, union
from carob.api.apply.owners import APPLY, UPDATE, Owner
from carob.api.status import ApiError

if TYPE_CHECKING:
    from collections.abc import Callable

    from carob.api.apply.field_sets import FieldSet
    from carob.api.apply.forms import Form

Tree = dict[str, Any]
BEFORE_FIRST_APPLY = "before-first-apply"


class Applier:
    """One apply: who, what, in which version.

    Shape: `form_at(version)` and `converted(tree, version)` speak of the other versions of the kind; both give None for
    a version that nobody serves. `ignored` is what the request's subresource cannot write.
    """

    def __init__(
        self,
        manager: str,
        version: str,
        subresource: str,
        ignored: FieldSet,
        form_at: Callable[[str], Form | None],
        converted: Callable[[Tree, str, str], Tree | None],
    ) -> None:
        self.me = Owner(manager, APPLY, version, subresource)
        self._version = version
        self._ignored = ignored
        self._form_at = form_at
        self._converted = converted
        form = form_at(version)
        assert form is not None
        self._form = form

    def applied(
        self, live: Tree, config: Tree, present: list[Owner], *, force: bool, time: str | None
    ) -> tuple[Tree, list[Owner]]:
        """The new state and its owners; the very `live` if nothing changes. Raises: ApiError 409."""
        new, changes, others, mine = self._merged(live, config, present)
        conflicts = [] if force else self._conflicts(changes, others)
        if conflicts:
            raise conflict_error(conflicts)
        mine = updating.stripped(mine)
        before = next((owner for owner in present if owner.identity == self.me.identity), None)
        out = updating.dispossessed(others, changes)
        if mine:
            same = before is not None and before.fields == mine and before.api_version == self._version
            me = before if same and before is not None else self.me.owning(mine).at(before.time if before else None)
            out.append(me.at(time) if changes else me)
        return (new if changes else live), out

    def conflicting(self, live: Tree, config: Tree, present: list[Owner]) -> list[tuple[Owner, FieldSet]]:
        """Whose fields an apply would take, and which."""
        _, changes, others, _ = self._merged(live, config, present)
        return self._conflicts(changes, others)

    def _merged(
        self, live: Tree, config: Tree, present: list[Owner]
    ) -> tuple[Tree, updating.Changes, list[Owner], FieldSet]:
        new = trees.merged(live, config, self._form)
        mine = field_sets.difference_recursive(trees.fields_of(config, self._form), self._ignored)
        others = [owner for owner in present if owner.identity != self.me.identity]
        before = next((owner for owner in present if owner.identity == self.me.identity), None)
        if before is not None and before.fields and before.fields != mine:
            new = self._pruned(new, before, [*others, self.me.owning(mine)])
        return new, self._changes(live, new), others, mine

    def _changes(self, live: Tree, new: Tree) -> updating.Changes:
        def elsewhere(version: str) -> tuple[FieldSet, FieldSet] | None:
            form = self._form_at(version)
            one, other = self._converted(live, self._version, version), self._converted(new, self._version, version)
            if form is None or one is None or other is None:
                return None
            return trees.changes(one, other, form)

        # what the subresource cannot write is kept by whoever writes the object: it is no change
        changed, removed = trees.changes(live, new, self._form)
        changed = field_sets.difference_recursive(changed, self._ignored)
        removed = field_sets.difference_recursive(removed, self._ignored)
        return updating.Changes(self._version, changed, removed, elsewhere)

    @staticmethod
    def _conflicts(changes: updating.Changes, others: list[Owner]) -> list[tuple[Owner, FieldSet]]:
        found = []
        for owner in others:
            sets = changes.at(owner.api_version)
            taken = intersection(owner.fields, sets[0]) if sets is not None else {}
            if taken:
                found.append((owner, taken))
        return found

    def _pruned(self, new: Tree, before: Owner, present: list[Owner]) -> Tree:
        """The merged state without what the applier named last time, names no more, and nobody else owns."""
        version = before.api_version
        form = self._form_at(version)
        full = self._converted(new, self._version, version)
        if form is None or full is None:
            return new
        last = field_sets.with_named_parents(before.fields, form)
        pruned = trees.without(full, last, form) or {}
        for owned_version in sorted({owner.api_version for owner in present}, key=lambda one: one != version):
            owned: FieldSet = {}
            for owner in present:
                if owner.api_version == owned_version:
                    owned = union(owned, owner.fields)
            restored = self._restored(full, pruned, version, owned, owned_version)
            pruned = pruned if restored is None else restored
        there = field_sets.with_named_parents(trees.fields_of(full, form), form)
        left = field_sets.with_named_parents(trees.fields_of(pruned, form), form)
        gone = intersection(field_sets.difference(there, left), last)
        result = self._converted(trees.without(full, gone, form) or {}, version, self._version)
        return new if result is None else result

    def _restored(self, full: Tree, pruned: Tree, version: str, owned: FieldSet, owned_version: str) -> Tree | None:
        """The pruned state with what owners of a version hold; None if nobody serves that version."""
        form = self._form_at(owned_version)
        whole, part = self._converted(full, version, owned_version), self._converted(pruned, version, owned_version)
        if form is None or whole is None or part is None:
            return None
        there = field_sets.with_named_parents(trees.fields_of(whole, form), form)
        kept = union(
            field_sets.with_named_parents(trees.fields_of(part, form), form),
            field_sets.with_named_parents(owned, form),
        )
        result = trees.without(whole, field_sets.difference(there, kept), form) or {}
        return self._converted(result, owned_version, version)


def before_first_apply(live: Tree, empty: Tree, form: Form, version: str) -> list[Owner]:
    """The owner of all that stood in an object whose owners nobody kept."""
    changed, _ = trees.changes(empty, live, form)
    fields = updating.stripped(changed)
    return [Owner(BEFORE_FIRST_APPLY, UPDATE, version, fields=fields)] if fields else []


def conflict_error(conflicts: list[tuple[Owner, FieldSet]]) -> ApiError:
    """409: fields that other owners hold, one cause each. Source: `NewConflictError`."""
    single = [(owner.shown(), path) for owner, taken in conflicts for path in paths(taken)]
    causes = [
        {"reason": "FieldManagerConflict", "message": f"conflict with {who}", "field": path} for who, path in single
    ]
    if len(single) == 1:
        message = f"Apply failed with 1 conflict: conflict with {single[0][0]}: {single[0][1]}"
    else:
        lines: list[str] = []
        for name in sorted({who for who, _ in single}):
            lines.append(f"conflicts with {name}:")
            lines += [f"- {path}" for who, path in single if who == name]
        message = f"Apply failed with {len(single)} conflicts: " + "\n".join(lines)
    return ApiError(409, "Conflict", message, {"causes": causes})
