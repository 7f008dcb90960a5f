"""The strategic merge patch of a client-side apply: from what was last applied, what is wanted, and what is there.

Pure. What the user no longer says is deleted, what the user says wins, what others set stays.

Source: apimachinery `strategicpatch.CreateThreeWayMergePatch`; the result has the same effect, its order may differ.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


class ThreeWay:
    """Makes patches for kinds whose merge keys `schema` knows: type -> field -> facts (`merge_keys.json`)."""

    def __init__(self, schema: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> None:
        self._schema = schema

    def strategic(
        self, kind: str, original: Mapping[str, Any], modified: Mapping[str, Any], current: Mapping[str, Any]
    ) -> dict[str, Any]:
        """The patch; empty when nothing is to be done.

        Shape: `kind` is the schema's name of the object's type (`core/v1.Pod`); the trees are whole objects.
        """
        return self._maps(kind, original, modified, current)

    def _maps(
        self, kind: str | None, original: Mapping[str, Any], modified: Mapping[str, Any], current: Mapping[str, Any]
    ) -> dict[str, Any]:
        fields = self._schema.get(kind or "", {})
        patch: dict[str, Any] = {}
        for key, wanted in modified.items():
            if wanted is None:
                if current.get(key) is not None:
                    patch[key] = None
                continue
            if key not in current or type(current[key]) is not type(wanted):
                if current.get(key) != wanted:
                    patch[key] = wanted
                continue
            self._field(fields.get(key, {}), key, original.get(key), wanted, current[key], patch)
        for key in original:
            if key not in modified and current.get(key) is not None:
                patch[key] = None
        return patch

    def _field(
        self, facts: Mapping[str, Any], key: str, original: Any, wanted: Any, there: Any, patch: dict[str, Any]
    ) -> None:
        """Add to `patch` what turns `there` into `wanted`."""
        strategy = facts.get("strategy", "")
        if isinstance(wanted, dict):
            self._map_field(facts, strategy, key, original, wanted, there, patch)
        elif isinstance(wanted, list) and "merge" in strategy.split(","):
            self._list_field(facts, key, original if isinstance(original, list) else [], wanted, there, patch)
        elif wanted != there:
            patch[key] = wanted

    def _map_field(
        self,
        facts: Mapping[str, Any],
        strategy: str,
        key: str,
        original: Any,
        wanted: dict[str, Any],
        there: dict[str, Any],
        patch: dict[str, Any],
    ) -> None:
        before = original if isinstance(original, dict) else {}
        inner: dict[str, Any]
        if facts.get("form") == "map" and facts.get("ref"):
            # a map of structs: its values are of the type that `ref` names
            inner = {k: self._maps(facts["ref"], before.get(k) or {}, v, there.get(k) or {}) for k, v in wanted.items()}
            inner = {k: v for k, v in inner.items() if v or k not in there}
            inner.update({k: None for k in before if k not in wanted and k in there})
        else:
            inner = self._maps(facts.get("ref"), before, wanted, there)
        if not inner:
            return
        if "retainKeys" in strategy.split(","):
            inner = {"$retainKeys": sorted(wanted), **inner}
        patch[key] = inner

    def _list_field(
        self,
        facts: Mapping[str, Any],
        key: str,
        original: list[Any],
        wanted: list[Any],
        there: list[Any],
        patch: dict[str, Any],
    ) -> None:
        merge_key = facts.get("mergeKey")
        if not merge_key or not all(isinstance(item, dict) and merge_key in item for item in (*wanted, *there)):
            if merge_key:
                # an item without its key cannot be merged: the list is replaced as a whole
                if wanted != there:
                    patch[key] = [*wanted, {"$patch": "replace"}]
                return
            self._primitive_list(key, original, wanted, there, patch)
            return
        now = {item[merge_key]: item for item in there}
        before = {item[merge_key]: item for item in original if isinstance(item, dict) and merge_key in item}
        changes: list[Any] = []
        for item in wanted:
            value = item[merge_key]
            if value not in now:
                changes.append(item)
                continue
            inner = self._maps(facts.get("ref"), before.get(value, {}), item, now[value])
            if inner:
                if "retainKeys" in facts.get("strategy", "").split(","):
                    inner["$retainKeys"] = sorted(item)
                changes.append({**inner, merge_key: value})
        chosen = {item[merge_key] for item in wanted}
        changes += [{"$patch": "delete", merge_key: v} for v in before if v not in chosen and v in now]
        order = [item[merge_key] for item in wanted]
        # as upstream: the order is said again wherever others have items, too (volumes that the server adds)
        if changes or list(now) != order:
            patch[f"$setElementOrder/{key}"] = [{merge_key: value} for value in order]
            if changes:
                patch[key] = changes

    @staticmethod
    def _primitive_list(
        key: str, original: list[Any], wanted: list[Any], there: list[Any], patch: dict[str, Any]
    ) -> None:
        added = [v for v in wanted if v not in there]
        removed = [v for v in original if v not in wanted and v in there]
        if added:
            patch[key] = added
        if removed:
            patch[f"$deleteFromPrimitiveList/{key}"] = removed
        if added or removed or there != wanted:
            patch[f"$setElementOrder/{key}"] = wanted


def three_way_merge(original: Any, modified: Any, current: Any) -> Any:
    """The JSON merge patch of an apply for kinds without merge keys (custom resources)."""
    patch: dict[str, Any] = {}
    for key, wanted in modified.items():
        there = current.get(key)
        if isinstance(wanted, dict) and isinstance(there, dict):
            before = original.get(key)
            inner = three_way_merge(before if isinstance(before, dict) else {}, wanted, there)
            if inner:
                patch[key] = inner
        elif wanted != there:
            patch[key] = wanted
    patch.update({key: None for key in original if key not in modified and current.get(key) is not None})
    return patch
