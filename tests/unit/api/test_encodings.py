"""Every kind in protobuf and CBOR: what is written is read back, and writing what was read gives the same bytes."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import cbor2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent))
import objects
import recorded

from carob.api import cbor, codec, protobuf, schema, strict
from carob.api import protobuf_writing as writing
from carob.api.resources import BUILT_IN, Resource, ResourceTable
from carob.api.status import ApiError
from carob.api.types import core_v1

TABLE = ResourceTable()
CASES = recorded.load("defaulting")["cases"]
KINDS = [row for row in BUILT_IN if row.group != "metrics.k8s.io"]


def struct_of(tree: dict[str, Any]) -> type[Any]:
    row = TABLE.by_kind(tree["apiVersion"], tree["kind"])
    assert row is not None
    return row.struct


def read(tree: dict[str, Any], struct: type[Any]) -> dict[str, Any]:
    found: dict[str, Any] = codec.to_tree(codec.from_tree(struct, tree))
    return found


@pytest.mark.parametrize("case", CASES, ids=lambda c: c["case"])
def test_upstreams_own_answers_survive_both(case: dict[str, Any]) -> None:
    struct = struct_of(case["answered"])
    tree = read(case["answered"], struct)
    body = protobuf.encode(tree)
    assert read(protobuf.decode(body, struct), struct) == tree
    assert protobuf.encode(read(protobuf.decode(body, struct), struct)) == body
    item = cbor.encode(tree, schema.shape_of(struct))
    assert cbor.decode(item) == tree
    assert cbor.encode(cbor.decode(item), schema.shape_of(struct)) == item


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(KINDS).flatmap(lambda row: st.tuples(st.just(row.struct), objects.objects(row.struct))))
def test_any_object_of_any_kind_survives_both(made: tuple[type[Any], dict[str, Any]]) -> None:
    struct, tree = made
    body = protobuf.encode(tree)
    again = read(protobuf.decode(body, struct), struct)
    assert _without_go_zeros(again) == _without_go_zeros(tree)
    assert protobuf.encode(read(protobuf.decode(protobuf.encode(again), struct), struct)) == protobuf.encode(again)
    assert cbor.decode(cbor.encode(tree, schema.shape_of(struct))) == tree


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(KINDS).flatmap(lambda row: st.tuples(st.just(row), objects.objects(row.struct))))
def test_any_object_of_any_kind_survives_json(made: tuple[Resource, dict[str, Any]]) -> None:
    row, tree = made
    obj = codec.from_tree(row.struct, tree)
    body = codec.encode(obj)
    assert codec.decode(row.struct, body) == obj
    again, warnings = strict.decode_as(row.struct, row.group, body, strict.JSON, strict.STRICT)
    assert (codec.to_tree(again), warnings) == (tree, [])


def _without_go_zeros(tree: Any) -> Any:
    """Protobuf does not tell an empty list or map from none, nor does Go."""
    if isinstance(tree, dict):
        cleaned = {key: _without_go_zeros(value) for key, value in tree.items()}
        return {key: value for key, value in cleaned.items() if value not in ([], {}, None)}
    return [_without_go_zeros(item) for item in tree] if isinstance(tree, list) else tree


def test_every_kind_and_its_list_have_a_message() -> None:
    for row in KINDS:
        assert writing.message_of(row.api_version, row.kind) == schema.wire_name(row.struct)
        if "list" in row.verbs:
            name = writing.message_of(row.api_version, row.list_kind)
            assert name == schema.wire_name(row.struct) + "List"
            # lists are put together from their items, which is right only if all have these two fields
            fields = {number: (name, kind) for number, (name, kind, _) in schema.wire_table()[name].items()}
            assert fields == {"1": ("metadata", ["r", "meta/v1.ListMeta"]), "2": ("items", ["a", ["r", name[:-4]]])}


def test_the_shapes_and_the_messages_have_the_same_fields() -> None:
    def fields(message: str) -> set[str]:
        found: set[str] = set()
        for name, kind, _ in schema.wire_table()[message].values():
            found |= {name} if name else fields(kind[1])
        return found

    waiting = [schema.shape_of(row.struct) for row in KINDS]
    seen: set[type[Any]] = set()
    while waiting:
        shape = waiting.pop()
        if shape.struct in seen:
            continue
        seen.add(shape.struct)
        header = {"kind", "apiVersion"}
        assert fields(schema.wire_name(shape.struct)) - header == set(shape.fields) - header, shape.name
        for field in shape.fields.values():
            while isinstance(field, schema.ListShape | schema.MapShape):
                field = field.item if isinstance(field, schema.ListShape) else field.value
            if isinstance(field, schema.StructShape):
                waiting.append(field)


def test_schemas_of_definitions_may_be_a_list_or_a_boolean() -> None:
    schemas = {
        "items": [{"type": "string"}, {"type": "integer"}],
        "additionalProperties": False,
        "properties": {"a": {"items": {"type": "string"}, "additionalProperties": {"type": "x"}, "default": [1]}},
        "dependencies": {"a": ["b"], "c": {"type": "object"}},
        "enum": [1, "a", None, {"b": []}],
        "maximum": 1.5,
    }
    struct = struct_of({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition"})
    names = {"plural": "p", "kind": "K"}
    versions = [{"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schemas}}]
    tree = read({"spec": {"group": "g", "names": names, "scope": "Cluster", "versions": versions}}, struct)
    again = protobuf.decode(protobuf.encode(tree), struct)
    found = again["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    assert found == schemas


def test_cbor_as_upstream_writes_it() -> None:
    """Source: the test data of apimachinery's serializer: texts are byte strings, bytes stand under tag 22."""
    secret = {"kind": "Secret", "apiVersion": "v1", "data": {"k": "AAE="}, "type": "t"}
    shape = schema.shape_of(struct_of(secret))
    assert cbor.encode(secret, shape).hex() == (
        "d9d9f7a4" "446b696e64" "46536563726574" "4a61706956657273696f6e" "427631"
        "4464617461" "a1416b" "d6420001" "4474797065" "4174"
    )  # fmt: skip
    assert cbor.decode(cbor.encode(secret, shape)) == secret


@pytest.mark.parametrize(
    ("item", "tree"),
    [
        ("a1616101", {"a": 1}),
        ("a1416101", {"a": 1}),
        ("d9d9f7d9d9f701", 1),
        ("bf616101ff", {"a": 1}),
        ("5f41614162ff", "ab"),
        ("c074" + b"2013-03-21T20:04:00Z".hex(), "2013-03-21T20:04:00Z"),
        ("d54101", "AQ"),
        ("d6420001", "AAE="),
        ("d74201ff", "01ff"),
        ("d9ffff01", 1),
        ("f94000", 2.0),
    ],
)
def test_cbor_of_others(item: str, tree: Any) -> None:
    assert cbor.decode(bytes.fromhex(item)) == tree


@pytest.mark.parametrize(
    "item",
    [
        "",
        "0102",
        "a2616101616102",
        "a10102",
        "41ff",
        "61ff",
        "f7",
        "e0",
        "f97e00",
        "f97c00",
        "c249400000000000000000",
        "1bffffffffffffffff",
        "d81c81d81d00",
        "d90100826161d81900",
        "d601",
        "81" * 100,
        "9bffffffffffffffff",
        "5b7fffffffffffffff",
        "ff",
    ],
)
def test_cbor_that_is_no_object_is_refused(item: str) -> None:
    with pytest.raises(cbor.CborError):
        cbor.decode(bytes.fromhex(item))


@given(st.binary(max_size=100))
def test_no_bytes_crash_either(raw: bytes) -> None:
    for media in (strict.CBOR, strict.PROTOBUF):
        for body in (raw, cbor.SELF_DESCRIBED + raw, protobuf.MAGIC + raw):
            try:
                strict.decode_as(core_v1.Pod, "", body, media)
            except ApiError as error:
                assert error.code == 400  # noqa: PT017 - any outcome but a crash is fine


def test_what_a_body_in_cbor_names_wrongly_is_said() -> None:
    tree = {"kind": "Pod", "apiVersion": "v1", "metadata": {"name": "x"}, "spec": {"nope": 1}}
    with pytest.raises(ApiError, match=r'unknown field "spec\.nope"'):
        strict.decode_as(core_v1.Pod, "", cbor.encode(tree), strict.CBOR, strict.STRICT)


def test_references_do_not_grow_a_small_body() -> None:
    """A body that says the same text again by reference may be small and mean much."""
    item = cbor2.dumps(["a" * 1000] * 100, string_referencing=True)
    with pytest.raises(cbor.CborError):
        cbor.decode(item)
