"""Patches: from the present object and a patch's bytes to the new object.

Pure. The object comes in its JSON form and goes out as a fresh Struct without defaults, so that the caller defaults and
validates it as any other. Server-side apply is not in here.

Source: apiserver `handlers/patch.go`.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import orjson

from carob.api import go_json, schema, strict
from carob.api.patch import json_patch, merge, strategic
from carob.api.patch.text import go_value
from carob.api.status import ApiError, bad_request
from carob.api.validation import field

if TYPE_CHECKING:
    from collections.abc import Callable

    from carob.api.resources import Resource

JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_MERGE_PATCH = "application/strategic-merge-patch+json"
MAX_JSON_PATCH_OPERATIONS = 10_000


def apply_patch(
    resource: Resource, current: bytes, patch: bytes, patch_type: str, field_validation: str = strict.WARN
) -> tuple[Any, list[str]]:
    """The patched object and the warnings for the client.

    Shape: `current` is the object's JSON as clients see it; the answer is a Struct, for a custom resource a tree.
    Raises: ApiError in upstream's words: 400 for what is no patch, 422 for one that does not fit, 413, 415.
    """
    if patch_type == STRATEGIC_MERGE_PATCH:
        if resource.custom:
            raise ApiError(415, "UnsupportedMediaType", _unsupported_words())
        return _strategic(resource, current, patch, field_validation)
    if patch_type == JSON_PATCH:
        tree, complaints = _json(current, patch)
    elif patch_type == MERGE_PATCH:
        tree, complaints = _merge(current, patch)
    else:
        raise ApiError(415, "UnsupportedMediaType", _unsupported_words())
    if resource.custom:
        return tree, complaints if field_validation != strict.IGNORE else []
    return _checked(resource, tree, complaints, field_validation, None)


def _unsupported_words() -> str:
    accepted = f"{JSON_PATCH}, {MERGE_PATCH}, application/apply-patch+yaml"
    return f"the body of the request was in an unknown format - accepted media types include: {accepted}"


def _parsed(patch: bytes, prefix: str) -> Any:
    try:
        return go_json.parse(patch)
    except go_json.JsonError as error:
        raise bad_request(f"{prefix}{error}") from None


def _json(current: bytes, patch: bytes) -> tuple[Any, list[str]]:
    value = _parsed(patch, "error decoding patch: ")
    if not isinstance(value, list) or isinstance(value, go_json.Pairs):
        kind = "object" if isinstance(value, go_json.Pairs) else _kind(value)
        raise bad_request(f"error decoding patch: json: cannot unmarshal {kind} into Go value of type []interface {{}}")
    if len(value) > MAX_JSON_PATCH_OPERATIONS:
        words = f"The allowed maximum operations in a JSON patch is {MAX_JSON_PATCH_OPERATIONS}, got {len(value)}"
        raise ApiError(413, "RequestEntityTooLarge", f"Request entity is too large: {words}")
    complaints = [f"json patch {words}" for words in strict.duplicates_in(value)]
    operations = go_json.plain(value)
    if not all(isinstance(operation, dict) for operation in operations):
        raise bad_request(
            "error decoding patch: json: cannot unmarshal array element into Go value of type jsonpatch.Operation"
        )
    try:
        return json_patch.apply(orjson.loads(current), operations), complaints
    except json_patch.DoesNotApply as error:
        raise _unprocessable(str(error)) from None


def _kind(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "bool"
    return "number" if isinstance(value, go_json.Number) else "string"


def _unprocessable(why: str) -> ApiError:
    # the reason goes to the log upstream and not to the client; carob's clients get it as a cause
    return ApiError(422, "Invalid", "the server rejected our request due to an error in our request", {})


def _merge(current: bytes, patch: bytes) -> tuple[Any, list[str]]:
    value = _parsed(patch, "error decoding patch: ")
    if value is None:
        value = go_json.Pairs()
    if not isinstance(value, go_json.Pairs):
        kind = "array" if isinstance(value, list) else _kind(value)
        words = f"json: cannot unmarshal {kind} into Go value of type map[string]interface {{}}"
        raise bad_request(f"error decoding patch: {words}")
    return merge.merged(orjson.loads(current), go_json.plain(value)), strict.duplicates_in(value)


def _strategic(resource: Resource, current: bytes, patch: bytes, field_validation: str) -> tuple[Any, list[str]]:
    value = _parsed(patch, "")
    if value is None:
        value = go_json.Pairs()
    if not isinstance(value, go_json.Pairs):
        kind = "array" if isinstance(value, list) else _kind(value)
        raise bad_request(f"json: cannot unmarshal {kind} into Go value of type map[string]interface {{}}")
    complaints = strict.duplicates_in(value)
    changes = go_json.plain(value)
    try:
        tree = strategic.merged(orjson.loads(current), changes, schema.wire_name(resource.struct))
    except strategic.BadPatch as error:
        raise bad_request(str(error)) from None
    # merging takes the directives out of what it is given: a refusal repeats the patch as it came
    return _checked(resource, tree, complaints, field_validation, lambda: go_value(go_json.plain(value)))


def _checked(
    resource: Resource, tree: Any, complaints: list[str], field_validation: str, shown: Callable[[], str] | None
) -> tuple[Any, list[str]]:
    """The Struct of a patched tree. `shown` makes what the error repeats; by default it is the patched object."""
    shape = schema.shape_of(resource.struct)
    if not isinstance(tree, dict):
        raise _refused(
            _json_text(tree) if shown is None else shown(), f"cannot restore struct from: {type(tree).__name__}"
        )
    try:
        obj, found = strict.check_tree(shape, tree)
    except strict.WrongType as error:
        words = str(error) if shown is None else strategic.restore_error(tree, shape) or str(error)
        raise _refused(_json_text(tree) if shown is None else shown(), words) from None
    found = [c for c in complaints if c not in found] + found if field_validation != strict.IGNORE else []
    if found and field_validation == strict.STRICT:
        words = "strict decoding error: " + ", ".join(found)
        raise _refused(_json_text(tree) if shown is None else shown(), words)
    return obj, found


def _json_text(tree: Any) -> str:
    """The JSON of a tree, also of one with numbers beyond 64 bits, which a refusal must be able to repeat."""
    try:
        return orjson.dumps(tree).decode()
    except TypeError:
        return json.dumps(tree, separators=(",", ":"), ensure_ascii=False)


def _refused(shown: str, words: str) -> ApiError:
    cause = field.invalid("patch", shown, words)
    return ApiError(422, "Invalid", f' "" is invalid: patch: {cause["message"]}', {"causes": [cause]})
