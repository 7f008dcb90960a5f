"""Expressions (CEL) of admission policies and of webhooks' match conditions: what is wrong with them.

Pure; nothing is run here. The expressions are checked by cel-expr-python, imported with the first of them, whose words are
upstream's. Fields of what upstream knows the types of (`request`, `namespaceObject`, a policy's variables) are variables
with a dot in their name, so that the check knows theirs.

Source: `k8s.io/apiserver/pkg/admission/plugin/cel/compile.go`, `k8s.io/apiserver/pkg/cel/{environment,library}`.
Differs: what the library cannot say (macros of two variables, the fields of `Object{…}`) is checked for its form alone.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from carob.api.cel import checking, declarations

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

MAX_CHARACTERS = 100_000
MAX_TYPED_VARIABLES = 100
"""Of a policy with more variables their types are not known: each new set of types costs a millisecond or two."""
MAX_COMPLAINTS = 100
MAX_COMPLAINTS_CHARACTERS = 64 * 1024
_BEGINNING = "ERROR: <input>:"
_PLACE = re.compile(r"(-?\d+):(-?\d+): ")
_UNDECLARED = re.compile(r"undeclared reference to '([\w.]+)'")
# macros that the library does not know, and messages whose types it cannot have
_UNKNOWN_MACRO = re.compile(
    r"\.\s*(?:existsOne|transformList|transformMap|transformMapEntry)\s*\("
    r"|\.\s*(?:all|exists|exists_one)\s*\(\s*\w+\s*,\s*\w+\s*,"
)
_UNKNOWN_TYPE = re.compile(r"\b(?:Object|JSONPatch)\b")
# what is quoted, or a comment; what has no end goes to the end of the expression
_TEXTS = re.compile(
    r"""\"\"\".*?(?:\"\"\"|\Z)|'''.*?(?:'''|\Z)|"(?:\\.|[^"\\])*+(?:"|\\?\Z)|'(?:\\.|[^'\\])*+(?:'|\\?\Z)|//[^\n]*""",
    re.DOTALL,
)
_AS_A_WHOLE = r"\bhas\s*\(\s*{0}\b|(?<![\w.]){0}\b(?!\s*\.\s*[A-Za-z_])"
_ANY, _UNKNOWN = "dyn", ""
_TEXT, _NUMBER, _FLAG = "string", "int", "bool"
_LABELS, _NAMES = "map(string, string)", "list(string)"
_KIND = {"group": _TEXT, "version": _TEXT, "kind": _TEXT}
_RESOURCE = {"group": _TEXT, "version": _TEXT, "resource": _TEXT}
# what upstream declares, by its fields
STRUCTURES: dict[str, dict[str, Any]] = {
    "request": {
        "kind": _KIND,
        "resource": _RESOURCE,
        "subResource": _TEXT,
        "requestKind": _KIND,
        "requestResource": _RESOURCE,
        "requestSubResource": _TEXT,
        "name": _TEXT,
        "namespace": _TEXT,
        "operation": _TEXT,
        "userInfo": {
            "username": _TEXT,
            "uid": _TEXT,
            "groups": _NAMES,
            "extra": "map(string, list(string))",
        },
        "dryRun": _FLAG,
        "options": _ANY,
    },
    "namespaceObject": {
        "metadata": {
            "name": _TEXT,
            "generateName": _TEXT,
            "namespace": _TEXT,
            "labels": _LABELS,
            "annotations": _LABELS,
            "UID": _TEXT,
            "creationTimestamp": "google.protobuf.Timestamp",
            "deletionGracePeriodSeconds": _NUMBER,
            "deletionTimestamp": "google.protobuf.Timestamp",
            "generation": _NUMBER,
            "resourceVersion": _TEXT,
            "finalizers": _NAMES,
        },
        "spec": {"finalizers": _NAMES},
        "status": {"conditions": "list(dyn)", "phase": _TEXT},
    },
}


Entry = tuple[int, int, str]
"""Line and column, both from 1, and what is wrong there."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What an expression may speak of besides `object`, `oldObject`, `request` and `namespaceObject`."""

    params: bool = False
    authorizer: bool = True
    variables: dict[str, str] | None = field(default=None)
    """Types of a policy's variables so far; None where there are none to speak of."""


def check(expression: str, around: Surroundings, wanted: Sequence[str] = ()) -> tuple[str, str]:
    """What is wrong with an expression, empty if nothing is; and the type of its value.

    `wanted` are the types that will do; none means any.
    """
    if len(expression) > MAX_CHARACTERS:
        size = f"size: {len(expression)}, limit {MAX_CHARACTERS}"
        return f"compilation failed: {_BEGINNING}-1:0: expression code point size exceeds limit: {size}", _ANY
    problems, kind = _compiled(expression.encode("utf-8", "replace").decode(), around)
    if problems:
        return f"compilation failed: {problems}", _ANY
    if kind != _UNKNOWN and wanted and kind not in wanted:
        if len(wanted) == 1:
            return f"must evaluate to {wanted[0]} but got {kind}", kind
        return f"must evaluate to one of [{' '.join(wanted)}]", kind
    return "", kind if kind != _UNKNOWN else _ANY


def _without_texts(expression: str) -> str:
    """The expression with spaces in place of what is quoted or commented."""
    return _TEXTS.sub(lambda found: " " * len(found[0]), expression)


def _compiled(expression: str, around: Surroundings) -> tuple[str, str]:
    plain = _without_texts(expression)
    roots = dict(STRUCTURES)
    if around.variables is not None:
        roots["variables"] = around.variables
    # asked whether it has a field, or passed on whole: then its fields' types are not known
    whole = {name for name in roots if re.search(_AS_A_WHOLE.format(name), plain)}
    if len(around.variables or ()) > MAX_TYPED_VARIABLES:
        whole.add("variables")
    entries, kind = _tried(expression, around, roots, whole)
    missed = {name.partition(".")[0] for entry in entries for name in _UNDECLARED.findall(entry[2])} & roots.keys()
    if missed - whole:
        whole |= missed
        entries, kind = _tried(expression, around, roots, whole)
    if _ANY in kind and (whole or "format." in plain):
        kind = _UNKNOWN
    entries = [*(_at_its_root(expression, plain, entry) for entry in entries), *_undefined(expression, plain, roots)]
    if _UNKNOWN_MACRO.search(plain) or _UNKNOWN_TYPE.search(plain):
        entries = [entry for entry in entries if entry[2].startswith("Syntax error")]
        kind = _UNKNOWN
    told = [
        entry
        for entry in entries
        if (entry[0] > 0 or entry[2] == checking.TOO_DEEP) and not declarations.unsure(entry[2])
    ]
    if len(told) < len(entries):
        kind = _UNKNOWN
    ordered = sorted(dict.fromkeys(told), key=lambda entry: entry[:2])
    return _joined(ordered), kind


def _joined(entries: Sequence[Entry]) -> str:
    out: list[str] = []
    size = 0
    for line, column, words in entries[:MAX_COMPLAINTS]:
        size += len(words)
        if out and size > MAX_COMPLAINTS_CHARACTERS:
            break
        out.append(f"{_BEGINNING}{line}:{column}: {words}")
    return "\n".join(out)


def _tried(
    expression: str, around: Surroundings, roots: Mapping[str, Mapping[str, Any]], whole: Collection[str]
) -> tuple[list[Entry], str]:
    variables = {"object": _ANY, "oldObject": _ANY} | dict.fromkeys(whole, _ANY)
    if around.params:
        variables["params"] = _ANY
    if around.authorizer:
        variables["authorizer"] = declarations.AUTHORIZER
        variables["authorizer.requestResource"] = declarations.RESOURCE_CHECK
    for name, fields in roots.items():
        if name not in whole:
            variables |= _flat(name, fields)
    try:
        return [], checking.type_of(expression, variables)
    except checking.CheckError as error:
        text = str(error).replace("'\\u003F'", "'?'")
        return [_read(one) for one in text.removeprefix(_BEGINNING).split(f"\n{_BEGINNING}", MAX_COMPLAINTS)], _ANY


def _read(text: str) -> Entry:
    """A complaint of the library."""
    place = _PLACE.match(text)
    return (int(place[1]), int(place[2]), text[place.end() :]) if place is not None else (1, 1, text)


def _flat(path: str, fields: Mapping[str, Any]) -> dict[str, str]:
    out: dict[str, str] = {}
    for name, kind in fields.items():
        here = f"{path}.{name}"
        if isinstance(kind, dict):
            out |= {here: _ANY} | _flat(here, kind)
        else:
            out[here] = kind
    return out


def _at_its_root(expression: str, plain: str, entry: Entry) -> Entry:
    """Of a name that is not known upstream tells the first part."""
    line, column, words = entry
    name = _UNDECLARED.match(words)
    if name is None or "." not in name[1]:
        return entry
    root = name[1].partition(".")[0]
    position = sum(len(one) + 1 for one in expression.split("\n")[: line - 1]) + column - 1
    starts = [match.start() for match in re.finditer(rf"(?<![\w.]){root}\s*\.", plain) if match.start() <= position]
    if not starts:
        return entry
    return _entry(expression, starts[-1], f"undeclared reference to '{root}' (in container '')")


def _undefined(expression: str, plain: str, roots: Mapping[str, Mapping[str, Any]]) -> list[Entry]:
    """Fields that are asked for and that a structure does not have."""
    found: list[Entry] = []
    for root, fields in roots.items():
        for match in re.finditer(rf"(?<![\w.]){root}((?:\s*\.\s*[A-Za-z_]\w*)+)", plain):
            known: Any = fields
            for step in re.finditer(r"\.\s*([A-Za-z_]\w*)", match[1]):
                if not isinstance(known, dict):
                    break
                if step[1] not in known:
                    found.append(_entry(expression, match.start(1) + step.start(), f"undefined field '{step[1]}'"))
                    break
                known = known[step[1]]
            if len(found) == MAX_COMPLAINTS:
                return found
    return found


def _entry(expression: str, position: int, words: str) -> Entry:
    """A complaint as the library writes it: with the line, and a mark below."""
    before = expression[:position]
    line, column = before.count("\n"), position - (before.rfind("\n") + 1)
    text = expression.split("\n")[line]
    dots = "".join("\uff0e" if ord(c) > 0x7F else "." for c in text[:column])
    return line + 1, column + 1, f"{words}\n | {text}\n | {dots}^"
