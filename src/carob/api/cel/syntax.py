"""Expressions as trees: the library reads the text, its serialized form becomes nodes of our own.

Pure. What the library does not know as macros (comprehensions of two variables) stays a call here.
Source: `cel-spec` `proto/cel/expr/syntax.proto`.
"""

from __future__ import annotations

import re
import struct
from functools import cache
from typing import TYPE_CHECKING, Any

from carob.api.cel.values import Uint

if TYPE_CHECKING:
    from collections.abc import Iterator


MAX_WORDS = 1000
_NOWHERE = "4294967295:0: "
TOO_DEEP = "expression recursion limit exceeded: 32"
"""Upstream's words with the library's limit, which nobody can set; theirs is 250."""
_STATUS = re.compile(r"^[A-Z_]+: (.*?)(?:\s*\[[A-Z_]+\])?$", re.DOTALL)


class ParseError(ValueError):
    """The text is no expression; the words are the library's, which are upstream's."""


class Node:
    """A part of an expression; `position` is where it stands, counted in characters, -1 where nobody knows."""

    __slots__ = ("position",)

    def __init__(self, position: int) -> None:
        self.position = position


class Constant(Node):
    """A literal."""

    __slots__ = ("value",)

    def __init__(self, position: int, value: Any) -> None:
        super().__init__(position)
        self.value = value


class Name(Node):
    """A variable or a type."""

    __slots__ = ("name",)

    def __init__(self, position: int, name: str) -> None:
        super().__init__(position)
        self.name = name


class Select(Node):
    """`operand.field`, or, if `test`, `has(operand.field)`."""

    __slots__ = ("field", "operand", "test")

    def __init__(self, position: int, operand: Node, field: str, test: bool) -> None:
        super().__init__(position)
        self.operand = operand
        self.field = field
        self.test = test


class Call(Node):
    """A function or an operator; `target` is what a member function is called on."""

    __slots__ = ("arguments", "function", "target")

    def __init__(self, position: int, function: str, target: Node | None, arguments: list[Node]) -> None:
        super().__init__(position)
        self.function = function
        self.target = target
        self.arguments = arguments


class ListOf(Node):
    """`[a, ?b]`; `optional` are the places of items that may be missing."""

    __slots__ = ("items", "optional")

    def __init__(self, position: int, items: list[Node], optional: frozenset[int]) -> None:
        super().__init__(position)
        self.items = items
        self.optional = optional


class Entry:
    """Of a map (`key` is a node) or of a message (`key` is a field's name)."""

    __slots__ = ("key", "optional", "value")

    def __init__(self, key: Any, value: Node, optional: bool) -> None:
        self.key = key
        self.value = value
        self.optional = optional


class MapOf(Node):
    """`{key: value}`."""

    __slots__ = ("entries",)

    def __init__(self, position: int, entries: list[Entry]) -> None:
        super().__init__(position)
        self.entries = entries


class Message(Node):
    """`Type{field: value}`."""

    __slots__ = ("entries", "name")

    def __init__(self, position: int, name: str, entries: list[Entry]) -> None:
        super().__init__(position)
        self.name = name
        self.entries = entries


class Fold(Node):
    """A comprehension: what macros are made of."""

    __slots__ = ("accumulator", "condition", "initial", "result", "source", "step", "variable", "variable2")

    def __init__(self, position: int, variable: str, variable2: str, source: Node, accumulator: str) -> None:
        super().__init__(position)
        self.variable = variable
        self.variable2 = variable2
        self.source = source
        self.accumulator = accumulator
        self.initial: Node = self
        self.condition: Node = self
        self.step: Node = self
        self.result: Node = self


def parse(text: str) -> Node:
    """The tree of an expression. Raises: ParseError."""
    try:
        data = _environment().compile(text, disable_check=True).serialize()
    except RuntimeError as error:
        raise ParseError(_words(error)) from None
    return parsed(data)


def _words(error: object) -> str:
    """What the library says, without its status codes."""
    text = _STATUS.sub(r"\1", str(error)).rstrip().replace("'\\u003F'", "'?'")
    if "recursion" in text[:MAX_WORDS].lower():
        return f"ERROR: <input>:-1:0: {TOO_DEEP}"
    entries = text.split("\nERROR: <input>:")
    return "\nERROR: <input>:".join(one for one in entries if not one.startswith(_NOWHERE))


@cache
def _environment() -> Any:
    from cel_expr_python import cel  # type: ignore[import-untyped]
    from cel_expr_python.ext import ext_bindings, ext_optional  # type: ignore[import-untyped]

    return cel.NewEnv(extensions=[ext_optional.ExtOptional(), ext_bindings.ExtBindings()])


def parsed(data: bytes) -> Node:
    """The tree of a serialized expression. Raises: ParseError."""
    body = next(value for number, value in _fields(data) if number == 2)
    expression, positions = b"", {}
    for number, value in _fields(body):
        if number == 2:
            expression = value
        elif number == 3:
            positions = _positions(value)
    try:
        return _Reader(positions).node(expression)
    except RecursionError:
        raise ParseError("expression is nested too deeply") from None


def _positions(data: bytes) -> dict[int, int]:
    found: dict[int, int] = {}
    for number, value in _fields(data):
        if number == 4:
            pair = dict(_fields(value))
            found[pair.get(1, 0)] = pair.get(2, 0)
    return found


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7


def _fields(data: bytes) -> Iterator[tuple[int, Any]]:
    """Numbers and values: integers of varints and fixed words, bytes of the rest."""
    at, end = 0, len(data)
    while at < end:
        tag, at = _varint(data, at)
        kind = tag & 7
        if kind == 0:
            value: Any
            value, at = _varint(data, at)
        elif kind == 2:
            size, at = _varint(data, at)
            value, at = data[at : at + size], at + size
        else:
            size = 8 if kind == 1 else 4
            value, at = data[at : at + size], at + size
        yield tag >> 3, value


def _signed(value: int) -> int:
    return value - (1 << 64) if value >= 1 << 63 else value


def _constant(data: bytes) -> Any:
    for number, value in _fields(data):
        if number == 2:
            return bool(value)
        if number == 3:
            return _signed(value)
        if number == 4:
            return Uint(value)
        if number == 5:
            return struct.unpack("<d", value)[0]
        if number == 6:
            return value.decode("utf-8", "replace")
        if number == 7:
            return value
    return None


class _Reader:
    def __init__(self, positions: dict[int, int]) -> None:
        self._positions = positions

    def node(self, data: bytes) -> Node:
        where, kind, body = -1, 0, b""
        for number, value in _fields(data):
            if number == 2:
                where = self._positions.get(value, -1)
            else:
                kind, body = number, value
        if kind == 3:
            return Constant(where, _constant(body))
        if kind == 4:
            return Name(where, next((value for _, value in _fields(body)), b"").decode())
        make = {5: self._select, 6: self._call, 7: self._list, 8: self._struct, 9: self._fold}.get(kind)
        return make(where, body) if make is not None else Constant(where, None)

    def _select(self, where: int, data: bytes) -> Node:
        found = dict(_fields(data))
        return Select(where, self.node(found[1]), found[2].decode(), bool(found.get(3, 0)))

    def _call(self, where: int, data: bytes) -> Node:
        target, name, arguments = None, "", []
        for number, value in _fields(data):
            if number == 1:
                target = self.node(value)
            elif number == 2:
                name = value.decode()
            else:
                arguments.append(self.node(value))
        return Call(where, name, target, arguments)

    def _list(self, where: int, data: bytes) -> Node:
        items, optional = [], set()
        for number, value in _fields(data):
            if number == 1:
                items.append(self.node(value))
            elif isinstance(value, int):
                optional.add(value)
            else:
                at = 0
                while at < len(value):
                    place, at = _varint(value, at)
                    optional.add(place)
        return ListOf(where, items, frozenset(optional))

    def _struct(self, where: int, data: bytes) -> Node:
        name, entries = "", []
        for number, value in _fields(data):
            if number == 1:
                name = value.decode()
                continue
            found = dict(_fields(value))
            key = self.node(found[3]) if 3 in found else found.get(2, b"").decode()
            entries.append(Entry(key, self.node(found[4]), bool(found.get(5, 0))))
        return Message(where, name, entries) if name else MapOf(where, entries)

    def _fold(self, where: int, data: bytes) -> Node:
        found = dict(_fields(data))
        names = [found.get(number, b"").decode() for number in (1, 8, 3)]
        fold = Fold(where, names[0], names[1], self.node(found[2]), names[2])
        fold.initial, fold.condition, fold.step, fold.result = (self.node(found[n]) for n in (4, 5, 6, 7))
        return fold
