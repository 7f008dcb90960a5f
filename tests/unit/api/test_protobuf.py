"""Protobuf bodies: what kubectl sends is read, what is written is read back, and no bytes crash it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent))
import recorded

from carob.api import codec, protobuf, strict
from carob.api.defaulting import default
from carob.api.resources import ResourceTable
from carob.api.status import ApiError
from carob.api.types import core_v1, meta_v1

TABLE = ResourceTable()
CASES = recorded.load("defaulting")["cases"]


def field(number: int, content: bytes) -> bytes:
    return bytes([number << 3 | 2, len(content)]) + content


def test_a_configmap_as_kubectl_writes_it() -> None:
    type_meta = field(1, b"v1") + field(2, b"ConfigMap")
    meta = field(1, b"settings") + field(2, b"") + field(3, b"") + field(8, b"")
    raw = field(1, meta) + field(2, field(1, b"key") + field(2, b"value"))
    body = protobuf.MAGIC + field(1, type_meta) + field(2, raw) + field(3, b"") + field(4, b"")
    row = TABLE.by_kind("v1", "ConfigMap")
    assert row is not None
    obj, warnings = strict.decode_body(row, body, strict.PROTOBUF, strict.STRICT)
    assert warnings == []
    assert codec.to_tree(obj) == {
        "kind": "ConfigMap",
        "apiVersion": "v1",
        "metadata": {"name": "settings"},
        "data": {"key": "value"},
    }


def test_options_without_a_kind() -> None:
    raw = bytes([1 << 3, 0]) + field(4, b"Background")
    body = protobuf.MAGIC + field(1, b"") + field(2, raw)
    options, _ = strict.decode_as(meta_v1.DeleteOptions, "", body, strict.PROTOBUF)
    assert (options.grace_period_seconds, options.propagation_policy) == (0, "Background")


@pytest.mark.parametrize("case", CASES, ids=lambda c: c["case"])
def test_what_is_written_is_read_back(case: dict[str, Any]) -> None:
    row = TABLE.by_kind(case["sent"]["apiVersion"], case["sent"]["kind"])
    assert row is not None
    obj = codec.from_tree(row.struct, case["sent"])
    default(obj)
    tree = codec.to_tree(obj)
    again = codec.from_tree(row.struct, protobuf.decode(protobuf.encode(tree, row.struct), row.struct))
    assert codec.to_tree(again) == tree


def test_another_kind_is_refused() -> None:
    body = protobuf.MAGIC + field(1, field(1, b"v1") + field(2, b"Nope"))
    row = TABLE.by_kind("v1", "Pod")
    assert row is not None
    with pytest.raises(ApiError) as caught:
        strict.decode_body(row, body, strict.PROTOBUF)
    assert caught.value.code == 400


@given(st.binary(max_size=80))
def test_no_bytes_crash_it(raw: bytes) -> None:
    for body in (raw, protobuf.MAGIC + raw, protobuf.MAGIC + field(2, raw)):
        try:
            protobuf.decode(body, core_v1.Pod)
        except protobuf.ProtobufError as error:
            assert str(error)  # noqa: PT017 - any outcome but a crash is fine


@given(st.data())
def test_no_damage_to_a_real_body_crashes_it(data: st.DataObject) -> None:
    case = data.draw(st.sampled_from(CASES))
    row = TABLE.by_kind(case["sent"]["apiVersion"], case["sent"]["kind"])
    assert row is not None
    body = bytearray(protobuf.encode(codec.to_tree(codec.from_tree(row.struct, case["sent"])), row.struct))
    position = data.draw(st.integers(4, len(body) - 1))
    body[position] = data.draw(st.integers(0, 255))
    try:
        strict.decode_body(row, bytes(body), strict.PROTOBUF)
    except ApiError as error:
        assert error.code == 400  # noqa: PT017 - any outcome but a crash is fine
