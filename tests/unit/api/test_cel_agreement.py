"""Our runs of expressions agree with another implementation: the library's own, cel-cpp, on what both know."""

from __future__ import annotations

from functools import cache
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from carob.api.cel.evaluation import Program, Run
from carob.api.cel.inference import CheckError, checked
from carob.api.cel.types import DYN
from carob.api.cel.values import CelError, Duration, Timestamp, Uint

AROUND = {"x": [3, 1, 2], "m": {"a": 1, "b": [True]}, "s": "text", "n": None, "d": 1.5}

LEAVES = st.sampled_from(
    [
        "0",
        "1",
        "-7",
        "2u",
        "9223372036854775807",
        "1.5",
        "-0.5",
        "true",
        "false",
        "null",
        "'a'",
        "'text'",
        "''",
        "b'a'",
        "[]",
        "x",
        "m",
        "s",
        "n",
        "d",
        "[1, 2, 3]",
        "{'a': 1}",
        "x[0]",
        "m.a",
        "m.b",
        "m.nosuch",
        "x[9]",
        "i",
        "j",
    ]
)
OPERATORS = st.sampled_from(["+", "-", "*", "/", "%", "==", "!=", "<", "<=", ">", ">=", "in", "&&", "||"])
FUNCTIONS = st.sampled_from(
    ["size({})", "string({})", "int({})", "double({})", "type({}) == int", "!({})", "-({})", "uint({})"]
)
MEMBERS = st.sampled_from(
    [
        "({}).contains('e')",
        "({}).startsWith({})",
        "({}).endsWith('t')",
        "({}).matches('t+')",
        "({})[{}]",
        "has(m.a) == ({})",
        "({}).size()",
        "{{'k': {}}}.k",
        "[{}, {}]",
    ]
)
MACROS = st.sampled_from(
    [
        "({}).all(i, {})",
        "({}).exists(i, {})",
        "({}).map(i, {})",
        "({}).filter(i, {})",
        "({}).exists_one(j, {})",
        "({}).map(j, {}, j)",
        "cel.bind(i, {}, {})",
    ]
)


def _extended(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.one_of(
        st.builds("({} {} {})".format, inner, OPERATORS, inner),
        st.builds("({} ? {} : {})".format, inner, inner, inner),
        st.builds(lambda form, one: form.format(one), FUNCTIONS, inner),
        st.builds(lambda form, one, other: form.format(one, other), MEMBERS, inner, inner),
        st.builds(lambda form, one, other: form.format(one, other), MACROS, inner, inner),
    )


EXPRESSIONS = st.recursive(LEAVES, _extended, max_leaves=8)


@cache
def _library() -> Any:
    from cel_expr_python import cel  # type: ignore[import-untyped]
    from cel_expr_python.ext import ext_bindings  # type: ignore[import-untyped]

    variables = dict.fromkeys([*AROUND, "i", "j"], cel.Type.DYN)
    return cel.NewEnv(variables=variables, extensions=[ext_bindings.ExtBindings()])


FAILED = "failed"


def _theirs(text: str) -> Any:
    try:
        answer = _library().compile(text).eval(data=AROUND)
        value = answer.plain_value()
    except RuntimeError:
        return FAILED
    return FAILED if answer.type().name() in ("ERROR", "UNKNOWN") else _comparable(value)


def _ours(text: str) -> Any:
    try:
        return _comparable(Program(text).run(Run(AROUND)))
    except CelError:
        return FAILED


def _comparable(value: Any) -> Any:
    """A value with the type of every part, which Python does not look at when it compares."""
    if value.__class__ is list:
        return [_comparable(one) for one in value]
    if value.__class__ is dict:
        return {key: _comparable(one) for key, one in value.items()}
    if isinstance(value, bytes | bytearray):
        return "bytes", bytes(value)
    if value.__class__ in (Uint, Duration, Timestamp):
        return "int", int(value)
    return value.__class__.__name__, value if value == value else "nan"


@settings(max_examples=300, deadline=None)
@given(EXPRESSIONS)
def test_both_give_the_same(text: str) -> None:
    try:
        _library().compile(text)
    except RuntimeError:
        return
    assert _ours(text) == _theirs(text)


@settings(max_examples=200, deadline=None)
@given(EXPRESSIONS)
def test_what_passes_our_check_has_the_type_that_it_says(text: str) -> None:
    variables = dict.fromkeys([*AROUND, "i", "j"], DYN)
    try:
        kind = checked(text, variables)
        value = Program(text).run(Run(AROUND))
    except (CheckError, CelError):
        return
    names = {"bool": bool, "int": int, "uint": Uint, "double": float, "string": str, "list": list, "map": dict}
    if kind.name in names:
        assert value.__class__ is names[kind.name], (kind.text, value)
