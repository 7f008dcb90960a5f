"""What a mutation's expression gives, laid over the object: an applied configuration, or a JSON patch.

Pure. Source: apiserver `pkg/admission/plugin/policy/mutating/patch/{smd,json_patch}.go`,
`pkg/cel/mutation/dynamic/objects.go`.
Differs: what upstream answers with 500 (a patch that makes something of another type) refuses as a policy's error does.
"""

from __future__ import annotations

from typing import Any

import orjson

from carob.api import schema, strict
from carob.api.apply import checks, forms, trees
from carob.api.cel.values import CelError, ObjectValue, plain, type_of
from carob.api.patch import json_patch

Tree = dict[str, Any]


class PatchError(ValueError):
    """The expression's value is no change, or none of this object; the words are upstream's."""


def applied(value: Any, live: Tree, struct: type[Any]) -> Tree:
    """The object under a configuration (`Object{…}`). Raises: PatchError."""
    if not isinstance(value, ObjectValue) or value.name != "Object":
        raise PatchError(f"unsupported return type from ApplyConfiguration expression: {type_of(value)}")
    _check_names(value, "Object")
    config: Tree = _json(value) | {key: live[key] for key in ("kind", "apiVersion") if key in live}
    form = forms.form_of(struct)
    wrong = checks.mistakes(config, form)
    if wrong:
        words = wrong[0] if len(wrong) == 1 else "errors:\n" + "".join(f"  {one}\n" for one in wrong)
        raise PatchError(f"error applying patch: failed to convert patch object to typed object: {words}")
    atomic = _atomics(config, form, "")
    if atomic:
        words = f"may not mutate atomic arrays, maps or structs: {', '.join(atomic)}"
        raise PatchError(f"error applying patch: invalid ApplyConfiguration: {words}")
    found: Tree = trees.merged(live, config, form)
    return found


def _json(value: Any) -> Any:
    try:
        return plain(value)
    except CelError as error:
        words = "JSONPath valueExpression evaluated to a type that could not marshal to JSON"
        raise PatchError(f"{words}: {error}") from None


def _check_names(value: Any, path: str) -> None:
    """Raises: PatchError where an object stands in a field of another name than its type's."""
    if isinstance(value, ObjectValue):
        if value.name != path:
            words = f'unexpected type name "{value.name}", expected "{path}", which matches field name path from root'
            raise PatchError(f"type mismatch: {words} Object type")
        for name, one in value.fields.items():
            _check_names(one, f"{path}.{name}")
    elif value.__class__ is list:
        for one in value:
            _check_names(one, path)


def _atomics(value: Any, form: forms.Form, path: str) -> list[str]:
    """Where a configuration touches what is owned as a whole: who sets a part of it would remove the rest."""
    found: list[str] = []
    if isinstance(value, dict) and form.wants == "map":
        if form.kind == forms.LEAF:
            found.append(path)
        for name, one in value.items():
            below = form.fields.get(name) if form.fields is not None else None
            if below is not None:
                found += _atomics(one, below, f"{path}.{name}")
    elif isinstance(value, list) and form.wants == "list" and form.item is not None:
        if form.kind == forms.LEAF:
            found.append(path)
        for place, one in enumerate(value):
            found += _atomics(one, form.item, f"{path}[{place}]")
    return found


def patched(value: Any, live: Tree) -> Tree:
    """The object behind a list of operations (`JSONPatch{…}`); as it was if one of them tests in vain. Raises: PatchError."""
    if value.__class__ is not list:
        raise PatchError("type mismatch: JSONPatchType.expression should evaluate to array")
    operations = [_operation(one) for one in value]
    if any(one.get("op") == "test" for one in operations) and not _tests_hold(live, operations):
        return live
    try:
        found = json_patch.apply(_copy(live), operations)
    except json_patch.DoesNotApply as error:
        raise PatchError(f"JSONPath: {error}") from None
    if not isinstance(found, dict):
        raise PatchError("JSONPath: the document is no object any more")
    return found


def _copy(tree: Tree) -> Tree:
    found: Tree = orjson.loads(orjson.dumps(tree))
    return found


def _tests_hold(live: Tree, operations: list[Tree]) -> bool:
    """Whether every test passes where it stands; what else may be wrong is told when all are carried out."""
    for end in range(1, len(operations) + 1):
        if operations[end - 1].get("op") != "test":
            continue
        try:
            json_patch.apply(_copy(live), operations[: end - 1])
        except json_patch.DoesNotApply:
            return True
        try:
            json_patch.apply(_copy(live), operations[:end])
        except json_patch.DoesNotApply:
            return False
    return True


def _operation(value: Any) -> Tree:
    if not isinstance(value, ObjectValue) or value.name != "JSONPatch":
        raise PatchError(
            "type mismatch: JSONPatchType.expression should evaluate to array of JSONPatch, "
            f"got element of {type_of(value)}"
        )
    out: Tree = {"op": value.fields.get("op", ""), "path": value.fields.get("path", "")}
    if value.fields.get("from"):
        out["from"] = value.fields["from"]
    if "value" in value.fields:
        found = value.fields["value"]
        if isinstance(found, ObjectValue):
            _check_names(found, found.name)
        out["value"] = _json(found)
    return out


def decoded(tree: Tree, struct: type[Any]) -> Any:
    """The changed object as a Struct without defaults. Raises: PatchError."""
    try:
        found, complaints = strict.check_tree(schema.shape_of(struct), tree)
    except strict.WrongType as error:
        raise PatchError(f"failed to convert the mutated object: {error}") from None
    if complaints:
        raise PatchError(f"strict decoding error: {', '.join(complaints)}")
    return found
