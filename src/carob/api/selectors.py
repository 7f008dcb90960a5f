"""Label selectors and field selectors: parsed once, asked for every object.

Pure. `LabelSelector` and `FieldSelector` are immutable and hashable; `matches` takes a dict (labels, or field values by
path) and is the hot path of list, watch and every controller.

Source: apimachinery `pkg/labels/selector.go` and `pkg/fields/selector.go`; the words of parse errors are theirs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from carob.api.validation import field, names

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from carob.api.types import core_v1, meta_v1

IN, NOT_IN, EQUALS, DOUBLE_EQUALS, NOT_EQUALS = "in", "notin", "=", "==", "!="
EXISTS, DOES_NOT_EXIST, GREATER, LESS = "exists", "!", "gt", "lt"
_BINARY = (IN, NOT_IN, EQUALS, DOUBLE_EQUALS, NOT_EQUALS, GREATER, LESS)
_SYMBOLS = "=!(),><"
_TOKENS = frozenset({")", ",", "!", "==", "=", ">", "in", "<", "!=", "notin", "("})
_END, _WORD, _BAD = "end", "identifier", "error"


class SelectorError(ValueError):
    """A selector that cannot be understood; its text is upstream's."""


class Requirement(Struct, frozen=True):
    """One condition on one key; `values` are sorted and unique."""

    key: str
    operator: str
    values: tuple[str, ...] = ()

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether the labels meet it."""
        operator = self.operator
        value = labels.get(self.key)
        if operator in (EQUALS, IN, DOUBLE_EQUALS):
            return value is not None and value in self.values
        if operator in (NOT_EQUALS, NOT_IN):
            return value is None or value not in self.values
        if operator == EXISTS:
            return value is not None
        if operator == DOES_NOT_EXIST:
            return value is None
        number, bound = _number(value), _number(self.values[0])
        if number is None or bound is None:
            return False
        return number > bound if operator == GREATER else number < bound

    def __str__(self) -> str:
        if self.operator in (EXISTS, DOES_NOT_EXIST):
            return self.key if self.operator == EXISTS else "!" + self.key
        joined = ",".join(self.values)
        if self.operator in (IN, NOT_IN):
            return f"{self.key} {self.operator} ({joined})"
        sign = {GREATER: ">", LESS: "<"}.get(self.operator, self.operator)
        return f"{self.key}{sign}{joined}"


def _number(text: str | None) -> int | None:
    if text is None:
        return None
    digits = text[1:] if text[:1] in ("-", "+") else text
    return int(text) if digits.isascii() and digits.isdigit() and len(digits) < 20 else None


class LabelSelector(Struct, frozen=True):
    """Every requirement must hold; none at all matches everything, `nothing` matches never."""

    requirements: tuple[Requirement, ...] = ()
    nothing: bool = False

    @property
    def empty(self) -> bool:
        """True when it selects everything."""
        return not self.requirements and not self.nothing

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether an object of these labels is selected."""
        for requirement in self.requirements:
            if not requirement.matches(labels):
                return False
        return not self.nothing

    def __str__(self) -> str:
        return ",".join(str(r) for r in self.requirements)


EVERYTHING = LabelSelector()
NOTHING = LabelSelector(nothing=True)


def parse_labels(text: str) -> LabelSelector:
    """The selector of a query's `labelSelector`. Raises: SelectorError."""
    if not text:
        return EVERYTHING
    found = _Parser(text).parse()
    return LabelSelector(tuple(sorted(found, key=lambda r: r.key)))


def from_dict(labels: Mapping[str, str]) -> LabelSelector:
    """The selector that asks for exactly these labels, as in a Service or a ReplicationController."""
    return LabelSelector(tuple(Requirement(k, EQUALS, (v,)) for k, v in sorted(labels.items())))


_STRUCT_OPERATORS = {"In": IN, "NotIn": NOT_IN, "Exists": EXISTS, "DoesNotExist": DOES_NOT_EXIST}


def from_struct(selector: meta_v1.LabelSelector | None) -> LabelSelector:
    """The selector of a `LabelSelector` field: None selects nothing, an empty one everything.

    Raises: SelectorError for an operator that is none, or values that do not go with it.
    """
    if selector is None:
        return NOTHING
    found = [Requirement(k, EQUALS, (v,)) for k, v in selector.match_labels.items()]
    for expression in selector.match_expressions:
        operator = _STRUCT_OPERATORS.get(expression.operator)
        if operator is None:
            raise SelectorError(f'"{expression.operator}" is not a valid label selector operator')
        found.append(_checked(expression.key, operator, expression.values))
    return LabelSelector(tuple(sorted(found, key=lambda r: r.key)))


_NODE_OPERATORS = _STRUCT_OPERATORS | {"Gt": GREATER, "Lt": LESS}


def from_node_expressions(expressions: Iterable[core_v1.NodeSelectorRequirement]) -> LabelSelector:
    """The selector of a node selector term's `matchExpressions`. Raises: SelectorError."""
    found = []
    for expression in expressions:
        operator = _NODE_OPERATORS.get(expression.operator)
        if operator is None:
            raise SelectorError(f'"{expression.operator}" is not a valid node selector operator')
        found.append(_checked(expression.key, operator, expression.values))
    return LabelSelector(tuple(sorted(found, key=lambda r: r.key)))


def _checked(key: str, operator: str, values: Iterable[str]) -> Requirement:
    """A requirement whose key, operator and values go together. Raises: SelectorError."""
    kept = tuple(sorted(set(values)))
    out = []
    wrong = names.qualified_name(key)
    if wrong:
        out.append(_said("key", key, "; ".join(wrong)))
    if operator in (IN, NOT_IN) and not kept:
        out.append(_said("values", [], "for 'in', 'notin' operators, values set can't be empty"))
    elif operator in (EQUALS, DOUBLE_EQUALS, NOT_EQUALS) and len(kept) != 1:
        out.append(_said("values", list(kept), "exact-match compatibility requires one single value"))
    elif operator in (EXISTS, DOES_NOT_EXIST) and kept:
        out.append(_said("values", list(kept), "values set must be empty for exists and does not exist"))
    elif operator in (GREATER, LESS):
        if len(kept) != 1:
            out.append(_said("values", list(kept), "for 'Gt', 'Lt' operators, exactly one value is required"))
        for i, value in enumerate(kept):
            if _number(value) is None:
                out.append(_said(f"values[{i}]", value, "for 'Gt', 'Lt' operators, the value must be an integer"))
    for i, value in enumerate(kept):
        wrong = names.label_value(value)
        if wrong:
            out.append(_said(f"values[{i}][{key}]", value, "; ".join(wrong)))
    if out:
        raise SelectorError(out[0] if len(out) == 1 else "[" + ", ".join(out) + "]")
    return Requirement(key, operator, kept)


def _said(path: str, value: object, why: str) -> str:
    return f"{path}: Invalid value: {field.shown(value)}: {why}"


class _Parser:
    """Recursive descent over the tokens of a label selector."""

    def __init__(self, text: str) -> None:
        self._tokens = list(_scan(text))
        self._position = 0

    def _peek(self) -> tuple[str, str]:
        kind, literal = self._tokens[min(self._position, len(self._tokens) - 1)]
        return (_WORD if kind in (IN, NOT_IN) else kind), literal

    def _take(self) -> tuple[str, str]:
        token = self._peek()
        self._position += 1
        return token

    def parse(self) -> list[Requirement]:
        found: list[Requirement] = []
        while True:
            kind, literal = self._peek()
            if kind == _END:
                return found
            if kind not in (_WORD, "!"):
                raise SelectorError(f"found '{literal}', expected: !, identifier, or 'end of string'")
            try:
                found.append(self._requirement())
            except SelectorError as error:
                raise SelectorError(f"unable to parse requirement: {error}") from None
            kind, literal = self._take()
            if kind == _END:
                return found
            if kind != ",":
                raise SelectorError(f"found '{literal}', expected: ',' or 'end of string'")
            kind, literal = self._peek()
            if kind not in (_WORD, "!"):
                raise SelectorError(f"found '{literal}', expected: identifier after ','")

    def _requirement(self) -> Requirement:
        kind, key = self._take()
        negated = kind == "!"
        if negated:
            kind, key = self._take()
        if kind != _WORD:
            raise SelectorError(f"found '{key}', expected: identifier")
        wrong = names.qualified_name(key)
        if wrong:
            raise SelectorError(_said("<nil>", key, "; ".join(wrong)))
        if negated:
            return Requirement(key, DOES_NOT_EXIST) if self._peek()[0] in (_END, ",") else self._compared(key)
        return Requirement(key, EXISTS) if self._peek()[0] in (_END, ",") else self._compared(key)

    def _compared(self, key: str) -> Requirement:
        kind, literal = self._tokens[min(self._position, len(self._tokens) - 1)]
        self._position += 1
        operator = {">": GREATER, "<": LESS}.get(kind, kind)
        if operator not in _BINARY:
            raise SelectorError(f"found '{literal}', expected: {', '.join(_BINARY)}")
        return _checked(key, operator, self._set() if operator in (IN, NOT_IN) else self._single())

    def _single(self) -> set[str]:
        if self._peek()[0] in (_END, ","):
            return {""}
        kind, literal = self._take()
        if kind != _WORD:
            raise SelectorError(f"found '{literal}', expected: identifier")
        return {literal}

    def _set(self) -> set[str]:
        kind, literal = self._take()
        if kind != "(":
            raise SelectorError(f"found '{literal}' expected: '('")
        kind, first = self._peek()
        if kind == ")":
            self._take()
            return {""}
        if kind not in (_WORD, ","):
            raise SelectorError(f"found '{first}', expected: ',', ')' or identifier")
        values = self._words()
        if self._take()[0] != ")":
            raise SelectorError(f"found '{first}', expected: ')'")
        return values

    def _words(self) -> set[str]:
        values: set[str] = set()
        while True:
            kind, literal = self._take()
            following, after = self._peek()
            if kind == _WORD:
                values.add(literal)
                if following == ")":
                    return values
                if following != ",":
                    raise SelectorError(f"found '{after}', expected: ',' or ')'")
            elif kind == ",":
                if not values or following in (")", ","):
                    values.add("")
                if following == ")":
                    return values
            else:
                raise SelectorError(f"found '{literal}', expected: ',', or identifier")


def _scan(text: str) -> Iterable[tuple[str, str]]:
    position, end = 0, len(text)
    while position < end:
        character = text[position]
        if character in " \t\r\n":
            position += 1
        elif character in _SYMBOLS:
            literal = text[position : position + 2]
            literal = literal if literal in _TOKENS else character
            yield literal, literal
            position += len(literal)
        else:
            start = position
            while position < end and text[position] not in _SYMBOLS and text[position] not in " \t\r\n":
                position += 1
            word = text[start:position]
            yield (word if word in _TOKENS else _WORD), word
    yield _END, ""


class FieldSelector(Struct, frozen=True):
    """Every term must hold; a term is a field's path, whether it must be equal, and a value."""

    terms: tuple[tuple[str, bool, str], ...] = ()

    @property
    def empty(self) -> bool:
        """True when it selects everything."""
        return not self.terms

    @property
    def fields(self) -> tuple[str, ...]:
        """The paths that it asks for."""
        return tuple(path for path, _, _ in self.terms)

    def exact(self, path: str) -> str | None:
        """The one value that the field must have, or None if it is free."""
        return next((value for name, equal, value in self.terms if equal and name == path), None)

    def matches(self, fields: Mapping[str, str]) -> bool:
        """Whether an object of these field values is selected; a field that is not there counts as empty."""
        return all((fields.get(path, "") == value) is equal for path, equal, value in self.terms)

    def __str__(self) -> str:
        return ",".join(f"{path}{'=' if equal else '!='}{_escape(value)}" for path, equal, value in self.terms)


def parse_fields(text: str) -> FieldSelector:
    """The selector of a query's `fieldSelector`. Raises: SelectorError."""
    terms = []
    for part in sorted(_split_terms(text)):
        if not part:
            continue
        path, operator, raw = _split_term(part)
        if not operator:
            raise SelectorError(f"invalid selector: '{text}'; can't understand '{part}'")
        terms.append((path, operator != NOT_EQUALS, _unescape(raw)))
    return FieldSelector(tuple(terms))


def _split_terms(text: str) -> list[str]:
    terms, start, escaped = [], 0, False
    for i, character in enumerate(text):
        if escaped:
            escaped = False
        elif character == "\\":
            escaped = True
        elif character == ",":
            terms.append(text[start:i])
            start = i + 1
    return [*terms, text[start:]]


def _split_term(term: str) -> tuple[str, str, str]:
    for i in range(len(term)):
        for operator in (NOT_EQUALS, DOUBLE_EQUALS, EQUALS):
            if term.startswith(operator, i):
                return term[:i], operator, term[i + len(operator) :]
    return "", "", ""


def _escape(value: str) -> str:
    return value.replace("\\", "\\\\").replace(",", "\\,").replace("=", "\\=")


def _unescape(value: str) -> str:
    if not any(c in value for c in "\\,="):
        return value
    out, escaped = [], False
    for character in value:
        if escaped:
            if character not in "\\,=":
                raise SelectorError(f"invalid field selector: invalid escape sequence: \\{character}")
            out.append(character)
            escaped = False
        elif character == "\\":
            escaped = True
        elif character in ",=":
            raise SelectorError(f"invalid field selector: unescaped character in value: {ord(character)}")
        else:
            out.append(character)
    if escaped:
        raise SelectorError("invalid field selector: invalid escape sequence: \\")
    return "".join(out)
