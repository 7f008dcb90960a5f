"""Expressions that run: the language's own part, its errors, and what it costs, as cel-spec and cel-go's tests have it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from carob.api.cel import times
from carob.api.cel.evaluation import OutOfBudget, Program, Run
from carob.api.cel.syntax import ParseError
from carob.api.cel.values import CelError, Duration, Timestamp, Uint, plain

AROUND = {"object": {"a": [3, 1, 2], "n": {"m": 7}, "nil": None, "s": "text", "t": True}}


def answer(text: str, limit: int | None = None) -> Any:
    return Program(text).run(Run(AROUND, limit))


@pytest.mark.parametrize(
    ("expression", "wanted"),
    [
        ("1 + 2 * 3 - 4 / 2", 5),
        ("-7 / 2 == -3 && -7 % 2 == -1 && 7.0 / 2.0 == 3.5", True),
        ("1u + 2u == 3u && 5u / 2u == 2u", True),
        ("'a' + 'b' in ['ab'] && !('c' in {'d': 1}) && b'a' + b'b' == b'ab'", True),
        ("1 == 1.0 && 1 < 1.5 && 2u > 1 && 1 != '1' && [1] == [1.0] && {'a': 1} == {'a': 1.0}", True),
        ("true != 1 && null == object.nil && dyn('a') == 'a'", True),
        ("false && 1 / 0 > 0 || true", True),
        ("1 / 0 > 0 || true", True),
        ("1 / 0 > 0 && false", False),
        ("true ? 1 : 1 / 0", 1),
        ("object.a.all(x, x > 0) && object.a.exists(x, x == 2) && object.a.exists_one(x, x > 2)", True),
        ("[1, 2].exists(x, x / 0 == 1 || x == 2)", True),
        ("object.a.map(x, x * 2).filter(x, x > 2)", [6, 4]),
        ("object.a.map(x, x > 1, [x, object.a.map(y, y + x).size()])", [[3, 3], [2, 3]]),
        ("object.a.map(x, object.a.filter(x, x > 2)).size() + object.a.map(x, x)[0]", 6),
        ("has(object.n.m) && !has(object.z) && !has(object.s.x)", True),
        ("object.?z.orValue(5) + object.?n.?m.orValue(1) + object.a[?7].orValue(1)", 13),
        ("optional.of(1).hasValue() && !optional.none().hasValue() && !optional.ofNonZeroValue('').hasValue()", True),
        ("optional.none().or(optional.of(2)).value()", 2),
        ("object.?a.optMap(x, x.size()).orValue(0)", 3),
        ("[?object.?z, ?object.?s].size() + {?'k': object.?z, 'l': 1}.size()", 2),
        ("cel.bind(x, 5, x + x)", 10),
        ("object.n.transformMap(k, v, v + 1)", {"m": 8}),
        ("object.a.transformList(i, v, v > 1, i * v)", [0, 4]),
        ("object.n.transformMapEntry(k, v, {v: k})", {7: "m"}),
        ("object.n.all(k, v, k == 'm' && v == 7) && object.a.exists(i, v, i > 5)", False),
        ("object.a.sortBy(x, -x) + [{'n': 2}, {'n': 1}].sortBy(e, e.n).map(e, e.n)", [3, 2, 1, 1, 2]),
        ("object.a.existsOne(x, x == 1) && object.a.existsOne(i, x, i == 0)", True),
        ("type(1) == int && type('a') == string && type([]) == list && type(null) == null_type", True),
        ("int('12') + int(3.9) + int(4u) + int(timestamp('1970-01-01T00:00:05Z'))", 24),
        (
            "string(1.5) + string(100.0) + string(1e21) + string(0.001) + string(true) + string(7u)",
            "1.51001e+210.001true7",
        ),
        ("double('1.5') + double(1)", 2.5),
        ("timestamp('2020-01-01T00:00:00Z') + duration('24h') == timestamp('2020-01-02T00:00:00Z')", True),
        ("string(duration('1h30m')) + string(timestamp('2020-01-01T02:00:00.5+02:00'))", "5400s2020-01-01T00:00:00.5Z"),
        ("timestamp('2021-03-04T05:06:07Z').getHours('+02:00') + duration('90m').getMinutes()", 97),
        (
            "timestamp('2021-03-04T05:06:07Z').getDayOfWeek() == 4 && timestamp('2021-03-04T05:06:07Z').getDayOfYear() == 62",
            True,
        ),
        ("'hello world'.substring(6) + 'abc'.charAt(1) + 'a-b'.replace('-', '+') + ' x '.trim()", "worldba+bx"),
        ("'a,b,c'.split(',', 2) == ['a', 'b,c'] && ['a', 'b'].join('-') == 'a-b' && 'abc'.reverse() == 'cba'", True),
        ("'%s %d %.2f %x %s'.format(['a', 3, 1.5, 255, [1, 'b']])", "a 3 1.50 ff [1, b]"),
        ("'x1'.matches('^[a-z][0-9]$') && 'abc'.contains('b') && 'abc'.startsWith('a') && 'abc'.endsWith('c')", True),
        (
            "[[1], [2, 3]].flatten() + [3, 1, 2].sort() + [1, 1].distinct() + lists.range(2)",
            [1, 2, 3, 1, 2, 3, 1, 0, 1],
        ),
        ("sets.contains([1, 2], [2]) && sets.equivalent([1, 1], [1]) && !sets.intersects([1], [2])", True),
        ("[duration('1s'), duration('2s')].sum() == duration('3s') && ['a', 'b'].max() == 'b'", True),
        ("Object{spec: Object.spec{replicas: 3, ?x: object.?q}}.spec.replicas", 3),
        ("jsonpatch.escapeKey('a/b~c')", "a~1b~0c"),
        ("size('äö') + object.a.size() + {'a': 1}.size()", 6),
        ("object.t && 'text' == object['s']", True),
    ],
)
def test_what_expressions_mean(expression: str, wanted: Any) -> None:
    found = answer(expression)
    assert found == wanted
    assert isinstance(found, bool) == isinstance(wanted, bool)


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("object.x.y", "no such key: x"),
        ("object.s.y", "no such key: y"),
        ("object.nil.y", "no such key: y"),
        ("object['x']", "no such key: x"),
        ("object.a[7]", "index out of bounds: 7"),
        ("nope", "no such attribute(s): nope"),
        ("1 / 0", "division by zero"),
        ("1 % 0", "modulus by zero"),
        ("1 + 9223372036854775807", "integer overflow"),
        ("0u - 1u", "unsigned integer overflow"),
        ("'a' + 1", "no such overload"),
        ("1 > 'a'", "no such overload"),
        ("null > 1", "no such overload: _>_(null_type, int)"),
        ("'x'.startsWith(1)", "no such overload: startsWith(string, int)"),
        ("true && 3", "no such overload"),
        ("int('x')", "type conversion error from 'string' to 'int'"),
        ("string({})", "type conversion error from 'map' to 'string'"),
        ("duration('x')", "type conversion error from 'string' to 'google.protobuf.Duration'"),
        ("optional.none().value()", "optional.none() dereference"),
        ("'abc'.substring(5)", "index out of range: 5"),
        ("[1, 2].map(x, x / 0)", "division by zero"),
        ("object.a.all(x, x.y > 1)", "no such key: y"),
        ("3.all(x, true)", "got 'int', expected iterable type"),
        ("Foo{}", "unknown type: Foo"),
        ("timestamp('9999-12-31T23:59:59Z') + duration('1h')", "timestamp overflow"),
    ],
)
def test_what_is_said_of_an_expression_without_an_answer(expression: str, words: str) -> None:
    with pytest.raises(CelError) as found:
        answer(expression)
    assert str(found.value) == words


@pytest.mark.parametrize(
    ("expression", "cost"),
    [
        # names and steps cost one each, literals nothing, asking whether something is there nothing more
        ("true", 0),
        ("object", 1),
        ("object.n.m", 3),
        ("object.a[0]", 3),
        ("has(object.n.m)", 2),
        ("object.n.m > 0", 4),
        ("object.t && object.t", 4),
        ("object.t || object.t", 2),
        ("[1, 2]", 10),
        ("{'a': 1}", 30),
        ("Object{}", 40),
        ("object.a.all(x, x > 0)", 18),
        ("object.a.map(x, x)", 10 + 2 + 3 * (1 + 1 + 10 + 1) + 1),
        ("1 in [1, 2, 3]", 13),
        ("'a' + 'b'", 1),
        ("object.s.startsWith('te')", 3),
        ("object.s.matches('t.*t')", 2 + 1),
        ("quantity('1').isLessThan(quantity('2'))", 3),
    ],
)
def test_what_expressions_cost(expression: str, cost: int) -> None:
    run = Run(AROUND)
    Program(expression).run(run)
    assert run.cost == cost


def test_a_run_ends_at_its_limit() -> None:
    assert answer("object.a.all(x, x > 0)", 18) is True
    with pytest.raises(OutOfBudget, match="operation cancelled: actual cost limit exceeded"):
        answer("object.a.all(x, x > 0)", 17)


def test_what_is_no_expression_or_nested_without_end() -> None:
    with pytest.raises(ParseError, match="Syntax error"):
        Program("1 +")
    # a long sum is nested as deep as it is long; conditions are not
    with pytest.raises(ParseError, match="expression recursion limit exceeded: 32"):
        Program(" + ".join(["1"] * 40))
    assert answer(" && ".join(["true"] * 500)) is True


def test_values_as_json_has_them() -> None:
    value = answer("Object{a: [1u, Object.b{c: timestamp('2020-01-01T00:00:00Z')}], d: {'e': duration('2s')}, f: b'x'}")
    assert plain(value) == {"a": [1, {"c": "2020-01-01T00:00:00Z"}], "d": {"e": "2s"}, "f": "eA=="}
    assert plain(Uint(3)).__class__ is int
    with pytest.raises(CelError):
        plain({1: "a"})


@given(st.integers(times.EARLIEST, times.LATEST - 1))
def test_a_moment_that_is_written_is_read_again(nanoseconds: int) -> None:
    assert times.to_timestamp(times.written_timestamp(Timestamp(nanoseconds))) == nanoseconds


@given(st.integers(-(2**63) + 1, 2**63 - 1))
def test_a_time_span_that_is_written_is_read_again(nanoseconds: int) -> None:
    assert times.to_duration(times.written_duration(Duration(nanoseconds))) == nanoseconds


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_that_is_written_is_read_again(value: float) -> None:
    run = Run({"v": value})
    assert Program("double(string(v)) == v").run(run) is True


def _doubled(form: str, times: int) -> str:
    """An expression that doubles what it has, again and again."""
    text = f"v{times}.size() > 0"
    for i in range(times, 0, -1):
        text = f"cel.bind(v{i}, {form.format(f'v{i - 1}')}, {text})"
    return f"cel.bind(v0, object.{'a' if 'list' in form or '{0} +' in form else 's'}, {text})"


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        (_doubled("{0} + {0}", 28), "list is too large"),
        (_doubled("'%s%s%s%s%s%s%s%s'.format([{0}, {0}, {0}, {0}, {0}, {0}, {0}, {0}])", 20), "text is too large"),
        (_doubled("{0}.replace('t', {0})", 20), "text is too large"),
        (_doubled("[{0}, {0}, {0}, {0}].join({0})", 20), "text is too large"),
        ("lists.range(100000000).size() > 0", "list is too large"),
        (
            _doubled("[{0}, {0}]", 25).replace("v25.size() > 0", "v25 == [[v23, v23], v24]") + " == [[], []]",
            "value is too large",
        ),
    ],
)
def test_nothing_grows_without_end(expression: str, words: str) -> None:
    with pytest.raises((CelError, OutOfBudget), match=f"{words}|actual cost limit exceeded"):
        answer(expression, 1_000_000)


@pytest.mark.parametrize(
    "expression", ["object.s.matches(object.p)", "object.s.find(object.p) == ''", "object.l.distinct() == []"]
)
def test_what_costs_too_much_is_not_begun(expression: str) -> None:
    around = {"object": {"s": "a" * 200_000, "p": "(a?)" * 900, "l": list(range(5_000))}}
    with pytest.raises(OutOfBudget):
        Program(expression).run(Run(around, 1_000_000))
