"""Expressions that choose devices: what they may say, and what they mean."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from carob.api import codec
from carob.api.cel.values import precedence, to_quantity, to_semver
from carob.api.device_selectors import SelectorError, selector
from carob.api.types import resource_v1

DRIVER = "gpu.example.com"


def device(**parts: Any) -> resource_v1.Device:
    return codec.from_tree(resource_v1.Device, {"name": "one"} | parts)


CARD = device(
    attributes={
        "model": {"string": "A100"},
        "index": {"int": 3},
        "ready": {"bool": True},
        f"{DRIVER}/firmware": {"version": "1.10.2+build"},
        "other.example.com/numa": {"int": 1},
    },
    capacity={"memory": {"value": "40Gi"}, "other.example.com/lanes": {"value": "16"}},
)


@pytest.mark.parametrize(
    ("expression", "meant"),
    [
        ("true", True),
        (f'device.driver == "{DRIVER}"', True),
        (f'device.attributes["{DRIVER}"].model == "A100"', True),
        (f'device.attributes["{DRIVER}"].index >= 3 && device.attributes["{DRIVER}"].ready', True),
        (f'device.attributes["{DRIVER}"].model.lowerAscii().startsWith("a1")', True),
        ('device.attributes["other.example.com"].numa == 1', True),
        # an unknown domain is empty, an unknown name can be asked for
        ('"x" in device.attributes["nobody.example.com"]', False),
        ('has(device.attributes["nobody.example.com"].x)', False),
        (f'has(device.attributes["{DRIVER}"].model)', True),
        (f'device.attributes["{DRIVER}"].?missing.orValue("none") == "none"', True),
        ('device.attributes[?"nobody.example.com"].hasValue() || true', True),
        (f'cel.bind(d, device.attributes["{DRIVER}"], d.ready && d.index == 3)', True),
        # quantities
        (f'device.capacity["{DRIVER}"].memory == quantity("40Gi")', True),
        (f'device.capacity["{DRIVER}"].memory == quantity("40960Mi")', True),
        (f'device.capacity["{DRIVER}"].memory.compareTo(quantity("80Gi")) < 0', True),
        (f'device.capacity["{DRIVER}"].memory.isGreaterThan(quantity("80Gi"))', False),
        (f'device.capacity["{DRIVER}"].memory.isLessThan(quantity("80Gi"))', True),
        ('device.capacity["other.example.com"].lanes.asInteger() == 16', True),
        ('quantity("1500m").isInteger() || quantity("-1").sign() != -1', False),
        ('quantity("1500m").asApproximateFloat() == 1.5', True),
        ('quantity("1").add(quantity("500m")).sub(1) == quantity("500m")', True),
        ('isQuantity("1Gi") && !isQuantity("1Gib")', True),
        # versions
        (f'device.attributes["{DRIVER}"].firmware.isGreaterThan(semver("1.9.9"))', True),
        (f'device.attributes["{DRIVER}"].firmware == semver("1.10.2")', True),
        (f'device.attributes["{DRIVER}"].firmware.compareTo(semver("1.10.2-rc.1")) == 1', True),
        (f'device.attributes["{DRIVER}"].firmware.major() == 1', True),
        ('semver("v1.2", true) == semver("1.2.0") && isSemver("1.2.3") && !isSemver("1.2")', True),
        # the whole device
        ("has(device.driver)", True),
        (f'cel.bind(d, device, d.driver == "{DRIVER}")', True),
        ("device.allowMultipleAllocations", False),
    ],
)
def test_what_expressions_mean(expression: str, meant: bool) -> None:
    assert selector(expression).matches(DRIVER, CARD) is meant


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("nosuch", "compilation failed: ERROR: <input>:1:1: undeclared reference to 'nosuch' (in container '')"),
        ("device.driver ==", "compilation failed: ERROR: <input>:1:17: Syntax error"),
        ('device.capacity["d"].memory > 5', "found no matching overload for '_>_'"),
        ('device.capacity["d"].memory.compareTo(semver("1.0.0")) > 0', "found no matching overload for 'compareTo'"),
        ("device.nosuch", "undefined field 'nosuch'"),
        ("device.driver == 1", "found no matching overload for '_==_'"),
        ('"text"', "must evaluate to bool or the unknown type, not string"),
    ],
)
def test_what_cannot_be_understood(expression: str, words: str) -> None:
    with pytest.raises(SelectorError) as refused:
        selector(expression)
    assert words in str(refused.value)


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        (f'device.attributes["{DRIVER}"].missing == 1', "no such key: missing"),
        ('device.attributes["nobody.example.com"].x', "no such key: x"),
        (f'device.attributes["{DRIVER}"].model > 1', "no such overload"),
        (f'device.attributes["{DRIVER}"].model', "CEL result of type string could not be converted to bool"),
        ('quantity("no") == quantity("1")', ""),
        ('semver("1.2").major() == 1', "invalid semantic version: 1.2"),
    ],
)
def test_what_cannot_be_answered(expression: str, words: str) -> None:
    with pytest.raises(SelectorError) as refused:
        selector(expression).matches(DRIVER, CARD)
    assert words in str(refused.value)


def test_an_expression_cannot_keep_the_server_busy() -> None:
    numbers = str(list(range(10)))
    expression = "true"
    for i in range(9):
        expression = f"{numbers}.all(v{i}, {expression})"
    with pytest.raises(SelectorError, match="actual cost limit exceeded"):
        selector(expression).matches(DRIVER, CARD)


def test_the_library_is_loaded_with_the_first_expression_only() -> None:
    script = "import sys, carob.api.device_selectors; sys.exit('cel_expr_python' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


_numbers = st.integers(0, 20)
_versions = st.tuples(_numbers, _numbers, _numbers).map(lambda v: ".".join(map(str, v)))


@given(_versions, _versions)
def test_versions_are_ordered_as_their_numbers(one: str, other: str) -> None:
    numbers = [tuple(map(int, text.split("."))) for text in (one, other)]
    assert (precedence(one) < precedence(other)) == (numbers[0] < numbers[1])
    assert precedence(f"{one}-rc.1") < precedence(one)


def test_versions_before_a_release_are_ordered_as_semver_says() -> None:
    order = ["1.0.0-alpha", "1.0.0-alpha.1", "1.0.0-alpha.beta", "1.0.0-beta", "1.0.0-beta.2", "1.0.0-beta.11"]
    order += ["1.0.0-rc.1", "1.0.0"]
    assert sorted(order, key=precedence) == order


@given(st.integers(0, 10**6))
def test_equal_quantities_are_equal(count: int) -> None:
    assert to_quantity(f"{count}Ki") == to_quantity(str(count * 1024)) == to_quantity(f"{count * 1024 * 1000}m")


def test_the_build_of_a_version_does_not_count() -> None:
    assert to_semver("1.2.3+a") == to_semver("1.2.3+b") != to_semver("1.2.3-a")
