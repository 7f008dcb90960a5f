"""Expressions (CEL) of the schemas in CustomResourceDefinitions: whether they go with the types of their schema.

Pure; works on trees, and nothing is run. Source: apiextensions-apiserver `pkg/apiserver/schema/cel/compilation.go`,
`k8s.io/apiserver/pkg/cel/{common/schemas,escaping}.go`.
Differs: what a rule may cost at most is not estimated, and a use of `oldSelf` in lists without keys is not refused.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from carob.api.validation import field

if TYPE_CHECKING:
    from collections.abc import Mapping

    from carob.api.cel.types import Type
    from carob.api.validation.field import Cause

    Tree = dict[str, Any]

_META = {"type": "object", "properties": {"name": {"type": "string"}, "generateName": {"type": "string"}}}
_HEADER = {"apiVersion": {"type": "string"}, "kind": {"type": "string"}, "metadata": _META}
_SCALARS = {"boolean": "bool", "number": "double", "integer": "int"}
_TEXTS = {
    "byte": "bytes",
    "duration": "google.protobuf.Duration",
    "date": "google.protobuf.Timestamp",
    "date-time": "google.protobuf.Timestamp",
}
_KEYWORDS = frozenset(
    [
        "true",
        "false",
        "null",
        "in",
        "as",
        "break",
        "const",
        "continue",
        "else",
        "for",
        "function",
        "if",
        "import",
        "let",
        "loop",
        "package",
        "namespace",
        "return",
        "var",
        "void",
        "while",
    ]
)
_ESCAPED = re.compile(r"__|[./-]")
_ESCAPES = {"__": "__underscores__", ".": "__dot__", "-": "__dash__", "/": "__slash__"}
_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
# Go's names of a rule's fields, in its order
_FIELDS = (
    ("Rule", "rule", ""),
    ("Message", "message", ""),
    ("MessageExpression", "messageExpression", ""),
    ("Reason", "reason", None),
    ("FieldPath", "fieldPath", ""),
    ("OptionalOldSelf", "optionalOldSelf", None),
)


def check(out: list[Cause], path: str, schema: Tree, *, root: bool = True) -> None:
    """What is wrong with the rules of a schema and of all inside it."""
    rules = schema.get("x-kubernetes-validations")
    if rules:
        _rules(out, f"{path}.x-kubernetes-validations", rules, schema, root=root)
    items, extra = schema.get("items"), schema.get("additionalProperties")
    for name, found in (schema.get("properties") or {}).items():
        check(out, f"{path}.properties[{name}]", found, root=bool(found.get("x-kubernetes-embedded-resource")))
    if isinstance(extra, dict):
        check(out, f"{path}.additionalProperties", extra, root=bool(extra.get("x-kubernetes-embedded-resource")))
    if isinstance(items, dict):
        check(out, f"{path}.items", items, root=bool(items.get("x-kubernetes-embedded-resource")))


def _rules(out: list[Cause], path: str, rules: list[Tree], schema: Tree, *, root: bool) -> None:
    from carob.api.cel.types import Type

    of_self = type_of(schema, root=root)
    if of_self is None:
        return  # of what has no type nothing can be said
    for place, rule in enumerate(rules):
        old = Type("optional_type", (of_self,)) if rule.get("optionalOldSelf") else of_self
        variables = {"self": of_self, "oldSelf": old}
        text, message = rule.get("rule") or "", rule.get("messageExpression") or ""
        if text.strip():
            problem = _problem(text, variables, "bool", "cel expression must evaluate to a bool", "")
            if problem:
                out.append(field.raw_invalid(f"{path}[{place}].rule", _shown(rule), problem))
        if message.strip():
            words = "messageExpression must evaluate to a string"
            problem = _problem(message, variables, "string", words, "messageExpression ")
            if problem:
                out.append(field.raw_invalid(f"{path}[{place}].messageExpression", _shown(rule), problem))


def _problem(text: str, variables: Mapping[str, Type], wanted: str, otherwise: str, what: str) -> str:
    from carob.api.cel import inference

    try:
        kind = inference.checked(text.encode("utf-8", "replace").decode(), variables)
    except inference.CheckError as error:
        return f"{what}compilation failed: {error}"
    return "" if kind.text == wanted else otherwise


def _shown(rule: Tree) -> str:
    """A rule as Go writes its own type."""
    value = {name: rule.get(key, empty) for name, key, empty in _FIELDS}
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    for character, code in (("&", "\\u0026"), ("<", "\\u003c"), (">", "\\u003e")):
        text = text.replace(character, code)
    return text


def type_of(schema: Tree, *, root: bool = False) -> Type | None:
    """The type of what a schema describes; None where it says too little."""
    from carob.api.cel.types import DYN, STRING, Type, list_of, map_of, named

    if schema.get("x-kubernetes-int-or-string"):
        return DYN
    kind = schema.get("type")
    if kind == "string":
        return named(_TEXTS.get(schema.get("format") or "", "string"))
    if kind == "array":
        items = schema.get("items")
        inner = type_of(items, root=bool(items.get("x-kubernetes-embedded-resource"))) if items else None
        return list_of(inner) if inner is not None else None
    if kind != "object":
        return named(_SCALARS[kind]) if kind in _SCALARS else None
    extra = schema.get("additionalProperties")
    if isinstance(extra, dict):
        inner = type_of(extra, root=bool(extra.get("x-kubernetes-embedded-resource")))
        return map_of(STRING, inner) if inner is not None else None
    properties = {**(schema.get("properties") or {}), **(_HEADER if root else {})}
    return Type("object", (), lambda: _fields(properties))


def _fields(properties: Mapping[str, Tree]) -> dict[str, Type]:
    out: dict[str, Type] = {}
    for name, found in properties.items():
        kind, escaped = type_of(found, root=bool(found.get("x-kubernetes-embedded-resource"))), _escape(name)
        if kind is not None and escaped:
            out[escaped] = kind
    return out


def _escape(name: str) -> str:
    """A property's name as expressions write it; empty where they cannot."""
    if name in _KEYWORDS:
        return f"__{name}__"
    escaped = _ESCAPED.sub(lambda found: _ESCAPES[found[0]], name)
    return escaped if _IDENTIFIER.fullmatch(escaped) else ""
