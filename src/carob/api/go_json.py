"""JSON as Go reads it: the words for broken text, and objects that remember duplicate keys.

Pure. Used only when something is wrong; the hot path reads JSON with orjson and msgspec.

Source: Go's `encoding/json` (scanner.go).
"""

from __future__ import annotations

import json
import re
from typing import Any, NoReturn

MAX_DEPTH = 500
UNEXPECTED_END = "unexpected end of JSON input"
_SPACE = re.compile(r"[ \t\r\n]*")
_DIGITS = re.compile(r"[0-9]*")
# as far as a text is one that Go takes: long ones are passed in one step
_STRING = re.compile(
    r"""[^"\\\x00-\x1f]*+(?:\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})[^"\\\x00-\x1f]*+)*+""",
)
_NUMBER_NEXT = {
    "start": {"-": "sign", "0": "zero", "digit": "whole"},
    "sign": {"0": "zero", "digit": "whole"},
    "zero": {".": "point", "e": "exp"},
    "whole": {"0": "whole", "digit": "whole", ".": "point", "e": "exp"},
    "point": {"0": "fraction", "digit": "fraction"},
    "fraction": {"0": "fraction", "digit": "fraction", "e": "exp"},
    "exp": {"+": "exp_sign", "-": "exp_sign", "0": "exp_digit", "digit": "exp_digit"},
    "exp_sign": {"0": "exp_digit", "digit": "exp_digit"},
    "exp_digit": {"0": "exp_digit", "digit": "exp_digit"},
}
_RUNS = frozenset(("whole", "fraction", "exp_digit"))
_NUMBER_WORDS = {
    "sign": "in numeric literal",
    "point": "after decimal point in numeric literal",
    "exp": "in exponent of numeric literal",
    "exp_sign": "in exponent of numeric literal",
}


class JsonError(ValueError):
    """Text that is no JSON; the message is Go's."""


class Number(str):
    """A number's own text, kept because Go's errors repeat it."""

    __slots__ = ()


class Pairs(list[tuple[str, Any]]):
    """The members of an object in their order, duplicates included."""


def parse(body: bytes) -> Any:
    """The value of a JSON text: objects as `Pairs`, numbers as `Number`. Raises: JsonError."""
    try:
        text = body.decode("utf-8", "replace")
        return json.loads(
            text, object_pairs_hook=Pairs, parse_float=Number, parse_int=Number, parse_constant=_no_constant
        )
    except (ValueError, RecursionError):
        raise JsonError(why_not(body)) from None


def _no_constant(name: str) -> NoReturn:
    raise ValueError(name)


def in_machine_words(number: int) -> int | float | str:
    """What 64 bits do not hold is a float, as Go's decoder makes it; what no float holds either stays what was written."""
    if -(2**63) <= number < 2**63:
        return number
    return float(number) if abs(number) < 10**300 else str(number)


def plain(value: Any) -> Any:
    """The value with dicts and Python numbers; the last of duplicate keys wins."""
    if isinstance(value, Pairs):
        return {k: plain(v) for k, v in value}
    if isinstance(value, Number):
        return float(value) if any(c in value for c in ".eE") else in_machine_words(int(value[:4000]))
    if isinstance(value, list):
        return [plain(v) for v in value]
    return in_machine_words(value) if value.__class__ is int else value


def why_not(body: bytes) -> str:
    """What Go says about a text that is no JSON; for a good text that only Python refuses, that it is too deep."""
    try:
        scanner = _Scanner(body.decode("utf-8", "replace"))
        scanner.value("looking for beginning of value")
        scanner.end()
    except JsonError as error:
        return str(error)
    except RecursionError:
        pass
    return "exceeded max depth"


def _shown(character: str) -> str:
    if character == "'":
        return "'\\''"
    if character == '"':
        return "'\"'"
    escaped = {"\n": "\\n", "\t": "\\t", "\r": "\\r", "\\": "\\\\"}.get(character)
    if escaped is None:
        escaped = character if character.isprintable() else f"\\x{ord(character):02x}"
    return f"'{escaped}'"


class _Scanner:
    """Walks a text until the first character that Go would refuse."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._position = 0
        self._depth = 0

    def _refuse(self, where: str) -> NoReturn:
        if self._position >= len(self._text):
            raise JsonError(UNEXPECTED_END)
        raise JsonError(f"invalid character {_shown(self._text[self._position])} {where}")

    def _peek(self) -> str:
        return self._text[self._position] if self._position < len(self._text) else ""

    def _next_visible(self) -> str:
        match = _SPACE.match(self._text, self._position)
        assert match is not None
        self._position = match.end()
        return self._peek()

    def end(self) -> None:
        if self._next_visible():
            self._refuse("after top-level value")

    def value(self, where: str) -> None:
        character = self._next_visible()
        if character == "{":
            self._nested(self._object)
        elif character == "[":
            self._nested(self._array)
        elif character == '"':
            self._string()
        elif character and (character == "-" or character in "0123456789"):
            self._number()
        elif character and character in "tfn":
            self._literal({"t": "true", "f": "false", "n": "null"}[character])
        else:
            self._refuse(where)

    def _nested(self, scan: Any) -> None:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise JsonError("exceeded max depth")
        self._position += 1
        scan()
        self._depth -= 1

    def _object(self) -> None:
        if self._next_visible() == "}":
            self._position += 1
            return
        while True:
            if self._next_visible() != '"':
                self._refuse("looking for beginning of object key string")
            self._string()
            if self._next_visible() != ":":
                self._refuse("after object key")
            self._position += 1
            self.value("looking for beginning of value")
            character = self._next_visible()
            if character not in (",", "}"):
                self._refuse("after object key:value pair")
            self._position += 1
            if character == "}":
                return

    def _array(self) -> None:
        if self._next_visible() == "]":
            self._position += 1
            return
        while True:
            self.value("looking for beginning of value")
            character = self._next_visible()
            if character not in (",", "]"):
                self._refuse("after array element")
            self._position += 1
            if character == "]":
                return

    def _string(self) -> None:
        self._position += 1
        while True:
            match = _STRING.match(self._text, self._position)
            assert match is not None
            self._position = match.end()
            character = self._peek()
            if character == '"':
                self._position += 1
                return
            if character != "\\":
                self._refuse("in string literal")
            self._escape()

    def _escape(self) -> None:
        self._position += 1
        character = self._peek()
        if character == "u":
            for _ in range(4):
                self._position += 1
                if not self._peek() or self._peek() not in "0123456789abcdefABCDEF":
                    self._refuse("in \\u hexadecimal character escape")
        elif not character or character not in '"\\/bfnrt':
            self._refuse("in string escape code")
        self._position += 1

    def _number(self) -> None:
        state = "start"
        while True:
            character = self._peek()
            kind = "digit" if character and character in "123456789" else "e" if character == "E" else character
            following = _NUMBER_NEXT[state].get(kind)
            if following is None:
                if state in _NUMBER_WORDS:
                    self._refuse(_NUMBER_WORDS[state])
                return
            state = following
            self._position += 1
            if state in _RUNS:
                match = _DIGITS.match(self._text, self._position)
                assert match is not None
                self._position = match.end()

    def _literal(self, word: str) -> None:
        for expected in word[1:]:
            self._position += 1
            if self._peek() != expected:
                self._refuse(f"in literal {word} (expecting '{expected}')")
        self._position += 1
