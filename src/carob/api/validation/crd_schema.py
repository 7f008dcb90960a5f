"""Rules of the schemas in CustomResourceDefinitions: which parts of OpenAPI may be used, and what is structural.

Pure; works on trees. Source: apiextensions-apiserver `pkg/apis/apiextensions/validation` and `pkg/apiserver/schema`.
Differs: defaults are not checked against the schema.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from carob.api import codec
from carob.api.types.apiextensions_v1 import JSONSchemaProps
from carob.api.validation import crd_expressions, field

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from carob.api.validation.field import Cause

    Tree = dict[str, Any]

TYPES = ("array", "boolean", "integer", "number", "object", "string")
LIST_TYPES = ("atomic", "set", "map")
_UNSUPPORTED = ("id", "additionalItems", "patternProperties", "definitions", "dependencies", "$ref")
_LISTS = ("allOf", "oneOf", "anyOf")
_INT_OR_STRING = [{"type": "integer"}, {"type": "string"}]
# what a schema below allOf, anyOf, oneOf or not may not say: it only narrows down, and never describes
_NOT_NESTED = ("default", "title", "description", "nullable", "additionalProperties")
_EXTENSIONS = (
    "x-kubernetes-preserve-unknown-fields",
    "x-kubernetes-embedded-resource",
    "x-kubernetes-list-map-keys",
    "x-kubernetes-list-type",
    "x-kubernetes-map-type",
)
MAX_KEYS_TOLD = 64
_KEY_WORDS = "this property is in x-kubernetes-list-map-keys, so it"


def check(out: list[Cause], path: str, schema: Tree) -> None:
    """Everything that is wrong with the schema of a version."""
    if schema.get("nullable"):
        out.append(field.forbidden(f"{path}.nullable", "nullable cannot be true at the root"))
    before = len(out)
    if _has_wrong_types(out, path, schema):
        return
    _schema(out, path, schema)
    # what cannot be read as structural is not judged as such
    if not any(_unreadable(part) for part in _parts(schema)) or len(out) == before:
        _structural(out, path, schema, "root")
        _complete(out, path, schema)
    if len(out) == before:
        crd_expressions.check(out, path, schema)


def _has_wrong_types(out: list[Cause], path: str, schema: Tree) -> bool:
    """Refuse schemas whose fields have wrong types, where decoding could not look: an item may be no schema at all.

    Differs: upstream refuses them while it decodes.
    """
    wrong = False
    for place, child in _children(schema):
        if place in ("items", "additionalProperties"):
            try:
                codec.from_tree(JSONSchemaProps, child)
            except ValueError as error:
                out.append(field.invalid(f"{path}.{place}", "", str(error)))
                wrong = True
                continue
        wrong = _has_wrong_types(out, f"{path}.{place}", child) or wrong
    return wrong


def _children(schema: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Every schema inside, with its place."""
    extra = schema.get("additionalProperties")
    if isinstance(extra, dict):
        yield "additionalProperties", extra
    for name, found in (schema.get("properties") or {}).items():
        yield f"properties[{name}]", found
    if isinstance(schema.get("not"), dict):
        yield "not", schema["not"]
    for key in _LISTS:
        for i, found in enumerate(schema.get(key) or ()):
            yield f"{key}[{i}]", found
    items = schema.get("items")
    if isinstance(items, dict):
        yield "items", items


def _parts(schema: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield schema
    for _, child in _children(schema):
        yield from _parts(child)


def _unreadable(schema: Mapping[str, Any]) -> bool:
    return any(schema.get(key) for key in _UNSUPPORTED) or isinstance(schema.get("items"), list)


def _schema(out: list[Cause], path: str, schema: Tree) -> None:
    for key in _UNSUPPORTED:
        if schema.get(key):
            out.append(field.forbidden(f"{path}.{key}", f"{key} is not supported"))
    if schema.get("type") == "null":
        words = "type cannot be set to null, use nullable as an alternative"
        out.append(field.forbidden(f"{path}.type", words))
    if isinstance(schema.get("items"), list):
        out.append(field.forbidden(f"{path}.items", "items must be a schema object and not an array"))
    if schema.get("uniqueItems"):
        words = "uniqueItems cannot be set to true since the runtime complexity becomes quadratic"
        out.append(field.forbidden(f"{path}.uniqueItems", words))
    extra = schema.get("additionalProperties")
    if schema.get("properties") and (extra is False or isinstance(extra, dict)):
        words = "additionalProperties and properties are mutual exclusive"
        out.append(field.forbidden(f"{path}.additionalProperties", words))
    for place, child in _children(schema):
        _schema(out, f"{path}.{place}", child)
    if schema.get("x-kubernetes-preserve-unknown-fields") is False:
        here = f"{path}.x-kubernetes-preserve-unknown-fields"
        out.append(field.invalid(here, False, "must be true or undefined"))
    _map_type(out, path, schema)
    _list_type(out, path, schema)
    kind = schema.get("type")
    if kind and kind not in TYPES:
        out.append(field.not_supported(f"{path}.type", kind, TYPES))
    for i, rule in enumerate(schema.get("x-kubernetes-validations") or ()):
        _rule(out, f"{path}.x-kubernetes-validations[{i}]", rule)


def _must_be(out: list[Cause], path: str, found: str, wanted: str, why: str) -> None:
    if not found:
        out.append(field.required(path, f"must be {wanted} if {why}"))
    elif found != wanted:
        out.append(field.invalid(path, found, f"must be {wanted} if {why}"))


def _map_type(out: list[Cause], path: str, schema: Tree) -> None:
    kind = schema.get("x-kubernetes-map-type")
    if kind is None:
        return
    _must_be(out, f"{path}.type", schema.get("type") or "", "object", "x-kubernetes-map-type is specified")
    if kind not in ("atomic", "granular"):
        out.append(field.not_supported(f"{path}.x-kubernetes-map-type", kind, ("atomic", "granular")))


def _list_type(out: list[Cause], path: str, schema: Tree) -> None:
    kind, keys = schema.get("x-kubernetes-list-type"), schema.get("x-kubernetes-list-map-keys") or []
    if kind is not None:
        if schema.get("type") != "array":
            why = "x-kubernetes-list-type is specified"
            _must_be(out, f"{path}.type", schema.get("type") or "", "array", why)
        elif kind not in LIST_TYPES:
            out.append(field.not_supported(f"{path}.x-kubernetes-list-type", kind, LIST_TYPES))
    if keys:
        why = "x-kubernetes-list-map-keys is non-empty"
        _must_be(out, f"{path}.x-kubernetes-list-type", kind or "", "map", why)
    if kind == "map":
        _list_map(out, path, schema, keys)


def _list_map(out: list[Cause], path: str, schema: Tree, keys: list[str]) -> None:
    here, items = f"{path}.x-kubernetes-list-map-keys", schema.get("items")
    if not keys:
        out.append(field.required(here, "must not be empty if x-kubernetes-list-type is map"))
    if items is None:
        out.append(field.required(f"{path}.items", "must have a schema if x-kubernetes-list-type is map"))
    if not isinstance(items, dict):
        return
    if items.get("type") != "object":
        words = "must be object if parent array's x-kubernetes-list-type is map"
        out.append(field.invalid(f"{path}.items.type", items.get("type") or "", words))
        return
    properties, needed = items.get("properties") or {}, items.get("required") or []
    again = field.repeated(keys)
    # each complaint shows all keys
    for i, key in enumerate(keys[:MAX_KEYS_TOLD]):
        if key not in properties:
            out.append(field.invalid(here, keys, "entries must all be names of item properties"))
        elif properties[key].get("type") in ("array", "object"):
            words = "must be a scalar type if parent array's x-kubernetes-list-type is map"
            out.append(field.invalid(f"{path}.items.properties[{key}].type", items["type"], words))
        if again[i]:
            out.append(field.invalid(here, keys, "must not contain duplicate entries"))
    for key in keys:
        found = properties.get(key)
        if found is None:
            continue
        there = f"{path}.items.properties[{key}]"
        if "default" not in found and key not in needed:
            words = f"{_KEY_WORDS} must have a default or be a required property"
            out.append(field.required(f"{there}.default", words))
        if found.get("nullable"):
            out.append(field.forbidden(f"{there}.nullable", f"{_KEY_WORDS} cannot be nullable"))


def _rule(out: list[Cause], path: str, rule: Tree) -> None:
    text, message = rule.get("rule") or "", rule.get("message") or ""
    if not text.strip():
        out.append(field.required(f"{path}.rule", "rule is not specified"))
    if message and not message.strip():
        out.append(field.invalid(f"{path}.message", message, "must be non-empty if specified"))
    elif "\n" in message.strip():
        out.append(field.invalid(f"{path}.message", message, "must not contain line breaks"))
    elif "\n" in text.strip() and not message:
        words = "message must be specified if rule contains line breaks"
        out.append(field.required(f"{path}.message", words))


def _structural(out: list[Cause], path: str, schema: Tree, level: str) -> None:
    """What every part must say for unknown fields to be told apart and dropped."""
    items, extra = schema.get("items"), schema.get("additionalProperties")
    if isinstance(items, dict):
        _structural(out, f"{path}.items", items, "item")
    for name, found in (schema.get("properties") or {}).items():
        _structural(out, f"{path}.properties[{name}]", found, "field")
    if isinstance(extra, dict):
        _structural(out, f"{path}.additionalProperties", extra, "field")
    _narrowing(out, path, schema)
    kind, embedded = schema.get("type") or "", schema.get("x-kubernetes-embedded-resource")
    if embedded and kind != "object":
        _must_be(out, f"{path}.type", kind, "object", "x-kubernetes-embedded-resource is true")
    elif not kind and not any(
        schema.get(key) for key in ("x-kubernetes-int-or-string", "x-kubernetes-preserve-unknown-fields")
    ):
        where = {"root": "at the root", "item": "for specified array items", "field": "for specified object fields"}
        out.append(field.required(f"{path}.type", f"must not be empty {where[level]}"))
    if embedded and extra is not None:
        words = "must not be used if x-kubernetes-embedded-resource is set"
        out.append(field.forbidden(f"{path}.additionalProperties", words))
    if level == "root" and kind and kind != "object":
        out.append(field.invalid(f"{path}.type", kind, "must be object at the root"))
    if level == "root" or embedded:
        _object_fields(out, path, schema)
    if embedded and not schema.get("x-kubernetes-preserve-unknown-fields") and not schema.get("properties"):
        words = (
            "must not be empty if x-kubernetes-embedded-resource is true without x-kubernetes-preserve-unknown-fields"
        )
        out.append(field.required(f"{path}.properties", words))


def _object_fields(out: list[Cause], path: str, schema: Tree) -> None:
    """Of the fields that every object has, little may be said."""
    properties = schema.get("properties") or {}
    for name, wanted in (("kind", "string"), ("apiVersion", "string"), ("metadata", "object")):
        found = properties.get(name)
        if found is not None and (found.get("type") or "") != wanted:
            here = f"{path}.properties[{name}].type"
            out.append(field.invalid(here, found.get("type") or "", f"must be {wanted}"))
    metadata = properties.get("metadata")
    if metadata is not None and set(metadata.get("properties") or {}) - {"name", "generateName"}:
        words = "must not specify anything other than name and generateName, but metadata is implicitly specified"
        out.append(field.forbidden(f"{path}.properties[metadata]", words))


def _narrowing(out: list[Cause], path: str, schema: Tree) -> None:
    """The schemas below allOf, anyOf, oneOf and not."""
    for place, child in _children(schema):
        key = place.partition("[")[0]
        if key not in (*_LISTS, "not"):
            continue
        if schema.get("x-kubernetes-int-or-string"):
            if key == "anyOf" and schema.get("anyOf") == _INT_OR_STRING:
                continue
            if place == "allOf[0]" and child.get("anyOf") == _INT_OR_STRING:
                continue
        _nested(out, f"{path}.{place}", child)


def _nested(out: list[Cause], path: str, schema: Tree) -> None:
    for place, child in _children(schema):
        if place != "additionalProperties":
            _nested(out, f"{path}.{place}", child)
    words = "must be empty to be structural"
    if schema.get("type"):
        out.append(field.forbidden(f"{path}.type", words))
    for key in _NOT_NESTED:
        if schema.get(key):
            what = (
                "must be false" if key == "nullable" else "must be undefined" if key == "default" else "must be empty"
            )
            out.append(field.forbidden(f"{path}.{key}", f"{what} to be structural"))
    for key in _EXTENSIONS:
        if schema.get(key):
            out.append(field.forbidden(f"{path}.{key}", "must be undefined to be structural"))


def _complete(out: list[Cause], path: str, schema: Tree) -> None:
    """Fields that are narrowed down must be described outside, too."""
    for place, child in _children(schema):
        key = place.partition("[")[0]
        if key in (*_LISTS, "not"):
            _described(out, path, schema, child, f"{path}.{place}")
        elif key != "additionalProperties":
            _complete(out, f"{path}.{place}", child)


def _described(out: list[Cause], path: str, schema: Tree, nested: Tree, where: str) -> None:
    for place, child in _children(nested):
        key = place.partition("[")[0]
        if key == "properties":
            name = place[len("properties[") : -1]
            found = (schema.get("properties") or {}).get(name)
            open_ended = isinstance(schema.get("additionalProperties"), dict)
            if found is None and not open_ended and not schema.get("x-kubernetes-preserve-unknown-fields"):
                words = f"because it is defined in {where}.{place}"
                out.append(field.required(f"{path}.{place}", words))
            elif found is not None:
                _described(out, f"{path}.{place}", found, child, f"{where}.{place}")
        elif key == "items":
            if isinstance(schema.get("items"), dict):
                _described(out, f"{path}.items", schema["items"], child, f"{where}.items")
            elif not schema.get("x-kubernetes-preserve-unknown-fields"):
                out.append(field.required(f"{path}.items", f"because it is defined in {where}.items"))
        elif key in (*_LISTS, "not"):
            _described(out, path, schema, child, f"{where}.{place}")
