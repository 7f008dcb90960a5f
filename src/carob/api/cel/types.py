"""Types of expressions' values as checks see them, and how they go together.

Pure. Written as upstream writes them in messages: `list(map(string, int))`. Types of one capital letter are parameters of a
signature.
Source: cel-go `checker/types.go`.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


class Type:
    """A type by its name and its parameters; `fields` are those of an object, found when somebody asks."""

    __slots__ = ("_find", "_found", "arguments", "name")

    def __init__(
        self, name: str, arguments: tuple[Type, ...] = (), find: Callable[[], Mapping[str, Type]] | None = None
    ) -> None:
        self.name = name
        self.arguments = arguments
        self._find = find
        self._found: Mapping[str, Type] | None = None

    @property
    def fields(self) -> Mapping[str, Type] | None:
        """None for what is no object."""
        if self._found is None and self._find is not None:
            self._found = self._find()
        return self._found

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Type) and (other.name, other.arguments) == (self.name, self.arguments)

    def __hash__(self) -> int:
        return hash((self.name, self.arguments))

    def __str__(self) -> str:
        """As messages of the check write it."""
        return self.text.replace("null_type", "null")

    @property
    def text(self) -> str:
        """As the type's own name is written."""
        shown = "dyn" if self.name == FREE_NAME else self.name
        return f"{shown}({', '.join(one.text for one in self.arguments)})" if self.arguments else shown


FREE_NAME = "_"
FREE = Type(FREE_NAME)
"""Of the items of an empty list: what others make of it."""
DYN, BOOL, INT, STRING, NULL = (Type(name) for name in ("dyn", "bool", "int", "string", "null_type"))
_ANYTHING = ("dyn", FREE_NAME)
_NULLABLE = ("google.protobuf.", "kubernetes.", "net.", "optional_type")


def list_of(item: Type) -> Type:
    """A list."""
    return Type("list", (item,))


def map_of(key: Type, value: Type) -> Type:
    """A map."""
    return Type("map", (key, value))


@cache
def named(text: str) -> Type:
    """The type that is written so."""
    name, opened, rest = text.partition("(")
    if not opened:
        return Type(text)
    return Type(name, tuple(map(named, parts_of(rest.removesuffix(")")))))


def parts_of(text: str) -> list[str]:
    """The parts of a list of types, which may have commas in parentheses."""
    out, depth, start = [], 0, 0
    for i, character in enumerate(text):
        depth += (character == "(") - (character == ")")
        if character == "," and not depth:
            out.append(text[start:i].strip())
            start = i + 1
    return [*out, text[start:].strip()] if text.strip() else out


def _settled(one: Type, other: Type) -> Type:
    """Of two types that go together the one that says more where the first says nothing yet."""
    if one.name == FREE_NAME:
        return other
    if one.name != other.name or len(one.arguments) != len(other.arguments) or not one.arguments:
        return one
    return Type(one.name, tuple(map(_settled, one.arguments, other.arguments)))


def _is_parameter(kind: Type) -> bool:
    return len(kind.name) == 1 and kind.name.isupper()


def fits(formal: Type, actual: Type, bound: dict[str, Type]) -> bool:
    """Whether a value may stand where a type is wanted; parameters are bound on the way."""
    if _is_parameter(formal):
        known = bound.get(formal.name)
        if known is None or known.name == "dyn":
            bound[formal.name] = actual if known is None else known
            return True
        if actual.name == "dyn":
            bound[formal.name] = actual
            return True
        if fits(known, actual, {}):
            bound[formal.name] = _settled(known, actual)
            return True
        if fits(actual, known, {}):
            bound[formal.name] = actual
            return True
        return False
    if formal.name in _ANYTHING or actual.name in _ANYTHING:
        return True
    if actual.name == "null_type":
        return formal.name == "null_type" or formal.fields is not None or formal.name.startswith(_NULLABLE)
    if formal.name == "null_type":
        return False
    if formal.name != actual.name or len(formal.arguments) != len(actual.arguments):
        return False
    return all(fits(one, other, bound) for one, other in zip(formal.arguments, actual.arguments, strict=True))


def filled(kind: Type, bound: Mapping[str, Type]) -> Type:
    """A type with what its parameters were bound to; what was not is anything."""
    if _is_parameter(kind):
        return bound.get(kind.name, DYN)
    if not kind.arguments:
        return kind
    return Type(kind.name, tuple(filled(one, bound) for one in kind.arguments))
