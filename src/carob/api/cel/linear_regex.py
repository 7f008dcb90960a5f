"""Regular expressions in time that grows with the text alone, as RE2's: whoever writes one must not stop the server.

Pure. Python's own parser reads the expression; what comes of it is a program for a machine that follows every way at once, the
preferred one first (Thompson, Pike). References back and looks around, which no such machine knows, are refused, as RE2 does.
"""

from __future__ import annotations

import re
import warnings
from functools import lru_cache
from re import _constants as ops  # type: ignore[attr-defined]
from re import _parser  # type: ignore[attr-defined]
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MAX_PROGRAM = 2_000
_CLASSES = {
    "[:alpha:]": "a-zA-Z",
    "[:digit:]": "0-9",
    "[:alnum:]": "a-zA-Z0-9",
    "[:upper:]": "A-Z",
    "[:lower:]": "a-z",
    "[:space:]": r"\s",
    "[:word:]": r"\w",
    "[:xdigit:]": "0-9a-fA-F",
}


class _Step(NamedTuple):
    """One instruction: take a character, go one of several ways (the first one rather), or ask where we are."""

    takes: Callable[[str], object] | None = None
    ways: tuple[int, ...] = ()
    holds: Callable[[str, int], bool] | None = None


class _Compiler:
    def __init__(self, flags: int) -> None:
        self.steps: list[_Step] = []
        self._flags = flags

    def _add(self, step: _Step) -> int:
        if len(self.steps) >= MAX_PROGRAM:
            raise ValueError("regular expression is too large")
        self.steps.append(step)
        return len(self.steps) - 1

    def _class(self, parsed: Any) -> Callable[[str], object]:
        """Whether a character is taken: Python's own engine is quick and right for one."""
        pattern = _parser.SubPattern(_parser.State(), [parsed])
        pattern.state.str = ""
        pattern.state.flags = self._flags
        return re._compiler.compile(pattern, self._flags).fullmatch  # type: ignore[attr-defined,no-any-return]

    def sequence(self, parsed: Any) -> None:
        for op, argument in parsed:
            self._one(op, argument)

    def _one(self, op: Any, argument: Any) -> None:
        if op in (ops.LITERAL, ops.NOT_LITERAL, ops.ANY, ops.IN):
            self._add(_Step(takes=self._class((op, argument))))
        elif op is ops.SUBPATTERN:
            _, add, remove, inner = argument
            outer, self._flags = self._flags, (self._flags | add) & ~remove
            self.sequence(inner)
            self._flags = outer
        elif op is ops.BRANCH:
            self._branch(argument[1])
        elif op in (ops.MAX_REPEAT, ops.MIN_REPEAT):
            self._repeat(*argument, greedy=op is ops.MAX_REPEAT)
        elif op is ops.AT:
            self._add(_Step(holds=_place(argument, multiline=bool(self._flags & re.MULTILINE))))
        else:
            raise ValueError(f"regular expression: {str(op).lower()} is not supported")

    def _branch(self, branches: list[Any]) -> None:
        ends = []
        for number, branch in enumerate(branches):
            if number == len(branches) - 1:
                self.sequence(branch)
                break
            fork = self._add(_Step())
            self.sequence(branch)
            ends.append(self._add(_Step()))
            self.steps[fork] = _Step(ways=(fork + 1, len(self.steps)))
        for end in ends:
            self.steps[end] = _Step(ways=(len(self.steps),))

    def _repeat(self, least: int, most: int, inner: Any, *, greedy: bool) -> None:
        for _ in range(least):
            self.sequence(inner)
        forks = []
        if most is ops.MAXREPEAT:
            fork = self._add(_Step())
            self.sequence(inner)
            self._add(_Step(ways=(fork,)))
            forks = [fork]
        else:
            for _ in range(most - least):
                forks.append(self._add(_Step()))
                self.sequence(inner)
        for fork in forks:
            ways = (fork + 1, len(self.steps))
            self.steps[fork] = _Step(ways=ways if greedy else ways[::-1])


def _place(at: Any, *, multiline: bool) -> Callable[[str, int], bool]:
    def word(text: str, i: int) -> bool:
        return 0 <= i < len(text) and ((text[i].isalnum() and text[i].isascii()) or text[i] == "_")

    def edge(text: str, i: int) -> bool:
        return word(text, i - 1) != word(text, i)

    if at is ops.AT_BEGINNING and multiline:
        return lambda text, i: i == 0 or text[i - 1] == "\n"
    if at is ops.AT_END and multiline:
        return lambda text, i: i == len(text) or text[i] == "\n"
    places: dict[Any, Callable[[str, int], bool]] = {
        ops.AT_BEGINNING: lambda text, i: i == 0,
        ops.AT_BEGINNING_STRING: lambda text, i: i == 0,
        ops.AT_END: lambda text, i: i == len(text),
        ops.AT_END_STRING: lambda text, i: i == len(text),
        ops.AT_BOUNDARY: edge,
        ops.AT_NON_BOUNDARY: lambda text, i: not edge(text, i),
    }
    return places[at]


@lru_cache(maxsize=128)
def _program(pattern: str) -> tuple[_Step, ...]:
    """Raises: ValueError."""
    for name, inner in _CLASSES.items():
        pattern = pattern.replace(name, inner)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            parsed = _parser.parse(pattern.replace(r"\z", r"\Z"), re.ASCII)
    except (re.error, OverflowError, RecursionError) as error:
        raise ValueError(f"error parsing regexp: {error}") from None
    compiler = _Compiler(parsed.state.flags)
    compiler.sequence(parsed)
    return tuple(compiler.steps)


def found(pattern: str, text: str) -> Iterator[str]:
    """What the pattern finds, from left to right, nothing twice. Raises: ValueError."""
    program, at = _program(pattern), 0
    previous_end = -1
    while at <= len(text):
        match = _first(program, text, at)
        if match is None:
            return
        start, end = match
        # an empty match right behind another one does not count
        if end > start or start != previous_end:
            yield text[start:end]
            previous_end = end
        at = end if end > start else end + 1


def _first(program: tuple[_Step, ...], text: str, at: int) -> tuple[int, int] | None:
    """Where the leftmost match at or behind `at` begins and ends; of several ways the preferred one's."""
    threads: list[tuple[int, int]] = []
    best: tuple[int, int] | None = None
    for i in range(at, len(text) + 1):
        if best is None:
            threads.append((0, i))
        following: list[tuple[int, int]] = []
        seen: set[int] = set()
        for place, start in threads:
            ended = _advance(program, text, i, place, start, seen, following)
            if ended:
                best = (start, i)
                break
        if not following and best is not None:
            return best
        threads = following
    return best


def _advance(
    program: tuple[_Step, ...],
    text: str,
    i: int,
    place: int,
    start: int,
    seen: set[int],
    following: list[tuple[int, int]],
) -> bool:
    """Follow a way as far as it needs no character, then take one; True where it is at its end."""
    stack = [place]
    while stack:
        here = stack.pop()
        if here == len(program):
            return True
        if here in seen:
            continue
        seen.add(here)
        step = program[here]
        if step.takes is not None:
            if i < len(text) and step.takes(text[i]):
                following.append((here + 1, start))
        elif step.holds is not None:
            if step.holds(text, i):
                stack.append(here + 1)
        else:
            stack += reversed(step.ways)
    return False
