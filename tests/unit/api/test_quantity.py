"""Quantities: the canonical text, rounding, comparing, adding. Answers: apimachinery's table of parse and emit."""

from __future__ import annotations

import contextlib

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from carob.api import codec, quantity
from carob.api.types import core_v1

CANONICAL = [
    ("0", "0"),
    ("0.5", "500m"),
    ("500m", "500m"),
    ("1024Ki", "1Mi"),
    ("1000Ki", "1000Ki"),
    ("300Mi", "300Mi"),
    ("1Ki", "1Ki"),
    ("8Ki", "8Ki"),
    ("1000m", "1"),
    ("1000000", "1M"),
    ("0.001", "1m"),
    ("0.0001k", "100m"),
    ("1e3", "1e3"),
    ("1E6", "1E6"),
    ("100e3", "100e3"),
    ("1000e3", "1e6"),
    ("0.1n", "1n"),
    ("0.0000000001", "1n"),
    ("1.01E", "1010P"),
    ("0.5Mi", "512Ki"),
    ("0.05Gi", "53687091200m"),
    ("0.025Ti", "27487790694400m"),
    ("1Ei", "1Ei"),
    ("9999999999999999999999Ki", "9223372036854775807"),
    ("100Mi", "100Mi"),
    ("1.1i", None),
    ("-1Mi", "-1Mi"),
    ("-0.0000000001", "-1n"),
    ("1000.", "1k"),
]
REFUSED = ["", "x", "1 Gi", "1.2.3", "--1", "1q", "1e", "1e9999999999"]


@pytest.mark.parametrize(("text", "expected"), [c for c in CANONICAL if c[1]])
def test_canonical_text(text: str, expected: str) -> None:
    assert quantity.canonical(text) == expected
    assert quantity.canonical(expected) == expected


@pytest.mark.parametrize("text", [*REFUSED, "1.1i"])
def test_what_is_no_quantity_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="quantit"):
        quantity.canonical(text)


def test_numbers_that_logic_needs() -> None:
    assert quantity.cpu_millicores("0.5") == 500
    assert quantity.cpu_millicores("1n") == 1
    assert quantity.memory_bytes("1Ki") == 1024
    assert quantity.memory_bytes("1500m") == 2
    assert quantity.compare("1Gi", "1G") == 1
    assert quantity.compare("1000m", "1") == 0
    assert quantity.add("500m", "0.5") == "1"
    assert quantity.add("0", "1Gi") == "1Gi"
    assert quantity.subtract("2Gi", "1Gi") == "1Gi"
    assert quantity.rounded_to_milli("100u") == "1m"


def test_codec_accepts_numbers_and_canonicalizes() -> None:
    container = codec.decode(
        core_v1.Container, b'{"name":"c","resources":{"limits":{"cpu":0.5,"x/y":2,"memory":"1024Ki"}}}'
    )
    assert container.resources.limits == {"cpu": "500m", "x/y": "2", "memory": "1Mi"}
    with pytest.raises(msgspec.ValidationError, match="quantities must match"):
        codec.decode(core_v1.Container, b'{"resources":{"limits":{"cpu":"1 Gi"}}}')


@given(st.integers(-(10**24), 10**24), st.sampled_from(["", "m", "u", "n", "k", "M", "Ki", "Gi", "e3", "e-3"]))
def test_canonical_text_keeps_the_value(number: int, suffix: str) -> None:
    text = f"{number}{suffix}"
    once = quantity.canonical(text)
    if abs(quantity.nano(text)) < quantity.MAX_BINARY_NANO:
        assert quantity.nano(once) == quantity.nano(text)
    assert quantity.canonical(once) == once


@given(st.text(max_size=12))
def test_no_text_crashes_the_parser(text: str) -> None:
    with contextlib.suppress(ValueError):
        quantity.canonical(text)
