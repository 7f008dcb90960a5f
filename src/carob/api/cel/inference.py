"""The types in an expression: what is wrong with them, and of what type its value is.

Pure. Variables may be objects whose fields are known. This is upstream's check, over our own tree.
Source: cel-go `checker/checker.go`.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, NamedTuple

from carob.api.cel import declarations, macros, syntax
from carob.api.cel.evaluation import path_of
from carob.api.cel.types import (
    BOOL,
    DYN,
    FREE,
    FREE_NAME,
    INT,
    NULL,
    STRING,
    Type,
    filled,
    fits,
    list_of,
    map_of,
    named,
    parts_of,
)
from carob.api.cel.values import Uint

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

MAX_COMPLAINTS = 100
MAX_COMPLAINTS_CHARACTERS = 64 * 1024
_BEGINNING = "ERROR: <input>:"
_TIME, _SPAN = "google.protobuf.Timestamp", "google.protobuf.Duration"
_NUMBERS = ("int", "uint", "double")
_ORDERED = (*_NUMBERS, "bool", "string", "bytes", _TIME, _SPAN)
# of the language itself, as `declarations` has them of upstream's libraries
_LANGUAGE = f"""
!_(bool) -> bool
_&&_(bool, bool) -> bool
_||_(bool, bool) -> bool
_?_:_(bool, A, A) -> A
_==_(A, A) -> bool
_!=_(A, A) -> bool
@in(A, list(A)) -> bool
@in(A, map(A, B)) -> bool
_[_](list(A), int) -> A
_[_](map(A, B), A) -> B
_[_](optional_type(list(A)), int) -> optional_type(A)
_[_](optional_type(map(A, B)), A) -> optional_type(B)
_[?_](list(A), int) -> optional_type(A)
_[?_](map(A, B), A) -> optional_type(B)
_[?_](optional_type(list(A)), int) -> optional_type(A)
_[?_](optional_type(map(A, B)), A) -> optional_type(B)
@not_strictly_false(bool) -> bool
-_(int) -> int
-_(double) -> double
-_({_SPAN}) -> {_SPAN}
_+_(string, string) -> string
_+_(bytes, bytes) -> bytes
_+_(list(A), list(A)) -> list(A)
_+_({_SPAN}, {_SPAN}) -> {_SPAN}
_+_({_TIME}, {_SPAN}) -> {_TIME}
_+_({_SPAN}, {_TIME}) -> {_TIME}
_-_({_SPAN}, {_SPAN}) -> {_SPAN}
_-_({_TIME}, {_SPAN}) -> {_TIME}
_-_({_TIME}, {_TIME}) -> {_SPAN}
_%_(int, int) -> int
_%_(uint, uint) -> uint
matches(string, string) -> bool
string::matches(string) -> bool
string::contains(string) -> bool
string::startsWith(string) -> bool
string::endsWith(string) -> bool
dyn(A) -> dyn
type(A) -> type(A)
optional.of(A) -> optional_type(A)
optional.ofNonZeroValue(A) -> optional_type(A)
optional.none() -> optional_type(A)
optional_type(A)::hasValue() -> bool
optional_type(A)::value() -> A
optional_type(A)::or(optional_type(A)) -> optional_type(A)
optional_type(A)::orValue(A) -> A
string({"net.IP"}) -> string
string({"net.CIDR"}) -> string
bytes(string) -> bytes
timestamp(string) -> {_TIME}
timestamp(int) -> {_TIME}
duration(string) -> {_SPAN}
duration(int) -> {_SPAN}
"""
_CONVERSIONS = {
    "int": ("int", "uint", "double", "string", _TIME, _SPAN),
    "uint": ("uint", "int", "double", "string"),
    "double": ("double", "int", "uint", "string"),
    "string": ("string", "int", "uint", "double", "bool", "bytes", _TIME, _SPAN),
    "bool": ("bool", "string"),
    "bytes": ("bytes",),
    "timestamp": (_TIME,),
    "duration": (_SPAN,),
}
_PARTS = "getFullYear getMonth getDayOfYear getDayOfMonth getDate getDayOfWeek getHours getMinutes getSeconds getMilliseconds"
_PATCH = {"op": STRING, "path": STRING, "from": STRING, "value": DYN}
_NAMED_TYPES = ["bool", "int", "uint", "double", "string", "bytes", "list", "map", "null_type", "type"]


class Overload(NamedTuple):
    """One signature; a member's first parameter is what it is called on."""

    member: bool
    parameters: tuple[Type, ...]
    result: Type


class Complaint(NamedTuple):
    """What is wrong, and where: counted in characters from the expression's beginning."""

    position: int
    words: str


def _read(line: str) -> tuple[str, Overload]:
    head, _, result = line.rpartition(" -> ")
    receiver, member, call = head.rpartition("::")
    name, _, arguments = call.removesuffix(")").partition("(")
    kinds = [receiver] if member else []
    return name, Overload(bool(member), tuple(map(named, kinds + parts_of(arguments))), named(result))


@cache
def _overloads() -> dict[str, list[Overload]]:
    lines = _LANGUAGE.strip().split("\n")
    for operator in ("_+_", "_-_", "_*_", "_/_"):
        lines += [f"{operator}({kind}, {kind}) -> {kind}" for kind in _NUMBERS]
    for operator in ("_<_", "_<=_", "_>_", "_>=_"):
        lines += [f"{operator}({kind}, {kind}) -> bool" for kind in _ORDERED]
        lines += [f"{operator}({one}, {other}) -> bool" for one in _NUMBERS for other in _NUMBERS if one != other]
    for kind in ("string", "bytes", "list(A)", "map(A, B)"):
        lines += [f"size({kind}) -> int", f"{kind}::size() -> int"]
    for name, kinds in _CONVERSIONS.items():
        result = {"timestamp": _TIME, "duration": _SPAN}.get(name, name)
        lines += [f"{name}({kind}) -> {result}" for kind in kinds]
    for name in _PARTS.split():
        lines += [f"{_TIME}::{name}() -> int", f"{_TIME}::{name}(string) -> int"]
        if name in ("getHours", "getMinutes", "getSeconds", "getMilliseconds"):
            lines.append(f"{_SPAN}::{name}() -> int")
    found: dict[str, list[Overload]] = {}
    for line in [*lines, *declarations.lines()]:
        name, overload = _read(line)
        if overload not in found.setdefault(name, []):
            found[name].append(overload)
    return found


class CheckError(ValueError):
    """The expression cannot be understood; every complaint is a line in upstream's form."""


def checked(text: str, variables: Mapping[str, Type]) -> Type:
    """The type of an expression's value. Raises: CheckError."""
    try:
        kind, complaints = infer(text, variables)
    except syntax.ParseError as error:
        raise CheckError(_shortened(str(error).split(f"\n{_BEGINNING}"))) from None
    if complaints:
        ordered = sorted(dict.fromkeys(complaints), key=lambda one: one.position)
        raise CheckError(_shortened([_shown(text, one) for one in ordered]))
    return kind


def _shortened(entries: list[str]) -> str:
    out: list[str] = []
    size = 0
    for one in entries[:MAX_COMPLAINTS]:
        size += len(one)
        if out and size > MAX_COMPLAINTS_CHARACTERS:
            break
        out.append(one)
    first = out[0].removeprefix(_BEGINNING)
    return "\n".join(f"{_BEGINNING}{one}" for one in (first, *out[1:]))


def _shown(text: str, complaint: Complaint) -> str:
    """With the line, and a mark below."""
    before = text[: complaint.position]
    line, column = before.count("\n"), complaint.position - (before.rfind("\n") + 1)
    whole = text.split("\n")[line]
    dots = "".join("\uff0e" if ord(c) > 0x7F else "." for c in whole[:column])
    return f"{line + 1}:{column + 1}: {complaint.words}\n | {whole}\n | {dots}^"


def infer(text: str, variables: Mapping[str, Type]) -> tuple[Type, list[Complaint]]:
    """The type of an expression's value, and what is wrong. Raises: ParseError."""
    checker = _Checker(variables)
    kind = checker.type_of(syntax.parse(text), {})
    return kind, checker.complaints[:MAX_COMPLAINTS]


Scope = dict[str, Type]


class _Checker:
    def __init__(self, variables: Mapping[str, Type]) -> None:
        self._variables = variables
        self.complaints: list[Complaint] = []

    def _complain(self, node: syntax.Node, words: str) -> Type:
        self.complaints.append(Complaint(node.position, words))
        return DYN

    def type_of(self, node: syntax.Node, scope: Scope) -> Type:
        work: Callable[..., Type] = _WORK[node.__class__]
        return work(self, node, scope)

    def constant(self, node: syntax.Constant, scope: Scope) -> Type:
        value = node.value
        if value is None:
            return NULL
        kinds = {bool: "bool", int: "int", Uint: "uint", float: "double", str: "string", bytes: "bytes"}
        return named(kinds[value.__class__])

    def name(self, node: syntax.Name, scope: Scope) -> Type:
        return self._named(node, node.name, scope)

    def _named(self, node: syntax.Node, name: str, scope: Scope) -> Type:
        plain = name.removeprefix(".")
        found = scope.get(name) or self._variables.get(plain)
        if found is not None:
            return found
        if plain in _NAMED_TYPES:
            return Type("type", (Type(plain),))
        return self._complain(node, f"undeclared reference to '{plain}' (in container '')")

    def select(self, node: syntax.Select, scope: Scope) -> Type:
        path = path_of(node)
        if path and path.partition(".")[0] not in scope and path in self._variables:
            return self._variables[path]
        found = self._field(node, self.type_of(node.operand, scope), node.field)
        return BOOL if node.test else found

    def _field(self, node: syntax.Node, operand: Type, name: str) -> Type:
        if operand.name in ("dyn", FREE_NAME):
            return DYN
        if operand.name == "map":
            return operand.arguments[1]
        if operand.name == "optional_type":
            return Type("optional_type", (self._field(node, operand.arguments[0], name),))
        fields = operand.fields
        if fields is None:
            return self._complain(node, f"type '{operand}' does not support field selection")
        return fields.get(name) or self._complain(node, f"undefined field '{name}'")

    def list_literal(self, node: syntax.ListOf, scope: Scope) -> Type:
        found: Type | None = None
        for place, one in enumerate(node.items):
            kind = self.type_of(one, scope)
            if place in node.optional and kind.name == "optional_type":
                kind = kind.arguments[0]
            found = self._joined(one, found, kind)
        return list_of(found or FREE)

    def _joined(self, node: syntax.Node, before: Type | None, kind: Type) -> Type:
        if before is None or fits(before, kind, {}):
            return kind if before is None or before.name == "null_type" else before
        if fits(kind, before, {}):
            return kind
        self._complain(node, f"expected type '{before}' but found '{kind}'")
        return before

    def map_literal(self, node: syntax.MapOf, scope: Scope) -> Type:
        key: Type | None = None
        value: Type | None = None
        for one in node.entries:
            key = self._joined(one.key, key, self.type_of(one.key, scope))
            kind = self.type_of(one.value, scope)
            if one.optional and kind.name == "optional_type":
                kind = kind.arguments[0]
            value = self._joined(one.value, value, kind)
        return map_of(key or FREE, value or FREE)

    def message(self, node: syntax.Message, scope: Scope) -> Type:
        name = node.name.removeprefix(".")
        patch = name == "JSONPatch"
        if not (patch or name == "Object" or name.startswith("Object.")):
            return self._complain(node, f"undeclared reference to '{name}' (in container '')")
        for one in node.entries:
            kind = self.type_of(one.value, scope)
            if one.optional and kind.name == "optional_type":
                kind = kind.arguments[0]
            wanted = _PATCH.get(one.key) if patch else DYN
            if wanted is None:
                self._complain(node, f"undefined field '{one.key}'")
            elif not fits(wanted, kind, {}):
                words = f"expected type of field '{one.key}' is '{wanted}' but provided type is '{kind}'"
                self._complain(one.value, words)
        return Type(name, (), lambda: _PATCH if patch else _AnyField())

    # -- calls -----------------------------------------------------------------------------------------------------

    def call(self, node: syntax.Call, scope: Scope) -> Type:
        if node.function == "_?._":
            return self._optional(node, scope)
        macro = macros.expanded(node)
        if macro is not None:
            return self._macro(node, macro, scope)
        name, target = node.function, node.target
        if target is not None:
            path = path_of(target)
            whole = f"{path}.{name}"
            if path and path.partition(".")[0] not in scope and whole in _overloads():
                name, target = whole, None
        kinds = [self.type_of(one, scope) for one in ([target] if target is not None else []) + node.arguments]
        overloads = _overloads().get(name)
        if overloads is None:
            return self._complain(node, f"undeclared reference to '{name}' (in container '')")
        return self._resolved(node, name, overloads, kinds, member=target is not None)

    def _resolved(
        self, node: syntax.Node, name: str, overloads: list[Overload], kinds: list[Type], *, member: bool
    ) -> Type:
        results: list[Type] = []
        for one in overloads:
            if one.member is not member or len(one.parameters) != len(kinds):
                continue
            bound: dict[str, Type] = {}
            if all(fits(formal, actual, bound) for formal, actual in zip(one.parameters, kinds, strict=True)):
                results.append(filled(one.result, bound))
        if not results:
            shown = ", ".join(map(str, kinds[1:] if member else kinds))
            applied = f"{kinds[0]}.({shown})" if member else f"({shown})"
            return self._complain(node, f"found no matching overload for '{name}' applied to '{applied}'")
        return results[0] if all(one == results[0] for one in results) else DYN  # which one, only values can tell

    def _optional(self, node: syntax.Call, scope: Scope) -> Type:
        operand, field = node.arguments
        name = field.value if isinstance(field, syntax.Constant) else ""
        found = self._field(node, self.type_of(operand, scope), name)
        return found if found.name == "optional_type" else Type("optional_type", (found,))

    # -- comprehensions --------------------------------------------------------------------------------------------

    def _range(self, node: syntax.Node, kind: Type) -> tuple[Type, Type]:
        """Types of the keys, or places, and of the values of what is gone through."""
        if kind.name == "list":
            return INT, kind.arguments[0]
        if kind.name == "map":
            return kind.arguments[0], kind.arguments[1]
        if kind.name not in ("dyn", FREE_NAME):
            words = f"expression of type '{kind}' cannot be range of a comprehension (must be list, map, or dynamic)"
            self._complain(node, words)
        return DYN, DYN

    def fold(self, node: syntax.Fold, scope: Scope) -> Type:
        source = self.type_of(node.source, scope)
        key, value = self._range(node.source, source)
        initial = self.type_of(node.initial, scope)
        inner = {**scope, node.variable: key if source.name == "map" else value, node.accumulator: initial}
        self.type_of(node.condition, inner)
        step = self.type_of(node.step, inner)
        if initial.name == "list" and step.name == "list":
            initial = step if isinstance(node.initial, syntax.ListOf) and not node.initial.items else initial
            if isinstance(node.step, syntax.Call):
                initial = self._grown(node.step, inner) or initial
        return self.type_of(node.result, {**scope, node.accumulator: initial})

    def _grown(self, step: syntax.Call, scope: Scope) -> Type | None:
        """The type of the list that `map` or `filter` makes: of its items."""
        quiet = _Checker(self._variables)
        for one in step.arguments:
            if isinstance(one, syntax.ListOf):
                return quiet.type_of(one, scope)
            if isinstance(one, syntax.Call) and one.function == "_+_":
                return self._grown(one, scope)
        return None

    def _macro(self, node: syntax.Call, macro: macros.Macro, scope: Scope) -> Type:
        source = self.type_of(macro.source, scope)
        key, value = self._range(macro.source, source)
        names = macro.variables
        given = (key, value) if len(names) == 2 else (key if source.name == "map" else value,)
        inner = {**scope, **dict(zip(names, given, strict=True))}
        kinds = [self.type_of(one, inner) for one in macro.parts]
        if macro.name == "sortBy":
            return source if source.name == "list" else DYN
        asked = kinds if macro.name in ("all", "exists", "exists_one", "existsOne") else kinds[:-1]
        for part, kind in zip(macro.parts, asked, strict=False):
            if not fits(BOOL, kind, {}):
                self._complain(part, f"expected type 'bool' but found '{kind}'")
        if macro.name == "transformList":
            return list_of(kinds[-1])
        if macro.name == "transformMap":
            return map_of(key, kinds[-1])
        return kinds[-1] if macro.name == "transformMapEntry" else BOOL


class _AnyField(dict[str, Type]):
    """Every field, of any type."""

    def get(self, key: str, default: object = None) -> Type:
        return DYN


_WORK: dict[type[syntax.Node], Callable[..., Type]] = {
    syntax.Constant: _Checker.constant,
    syntax.Name: _Checker.name,
    syntax.Select: _Checker.select,
    syntax.Call: _Checker.call,
    syntax.ListOf: _Checker.list_literal,
    syntax.MapOf: _Checker.map_literal,
    syntax.Message: _Checker.message,
    syntax.Fold: _Checker.fold,
}
