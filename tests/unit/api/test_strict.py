"""Bodies: upstream's words for broken ones, warnings for unknown fields. Answers: recorded creates of a v1.36 server."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent))
import recorded

from carob.api import codec, go_json, strict, timestamps
from carob.api.resources import Resource, ResourceTable
from carob.api.status import ApiError

TABLE = ResourceTable()


def row(plural: str, group: str = "", version: str = "v1") -> Resource:
    found = TABLE.by_plural(group, version, plural)
    assert found is not None
    return found


@pytest.mark.parametrize("case", recorded.load("decoding"), ids=lambda c: c["case"])
def test_body_is_refused_or_warned_of_as_upstream(case: dict[str, Any]) -> None:
    group, version, plural = case["resource"]
    resource = row(plural, group, version)
    body = case["body"].encode()
    if case["message"]:
        with pytest.raises(ApiError) as caught:
            strict.decode_body(resource, body, case["contentType"], case["fieldValidation"])
        assert caught.value.message == case["message"]
        assert (caught.value.code, caught.value.reason) == (400, "BadRequest")
    else:
        _, warnings = strict.decode_body(resource, body, case["contentType"], case["fieldValidation"])
        assert warnings == case["warnings"]


def decode(text: str, plural: str = "pods", mode: str = strict.STRICT, content_type: str = strict.JSON) -> Any:
    return strict.decode_body(row(plural), text.encode(), content_type, mode)[0]


def test_nulls_mean_what_they_mean_to_go() -> None:
    pod = decode(
        '{"metadata":{"name":null,"annotations":{"a":null}},'
        '"spec":{"containers":[{"name":"c","args":[null,"x"],"env":null}],"nodeName":null}}'
    )
    assert pod.metadata.annotations == {"a": ""}
    assert pod.spec.containers[0].args == ["", "x"]
    assert pod.spec.containers[0].env == []


def test_times_are_written_in_upstreams_form() -> None:
    pod = decode('{"metadata":{"name":"a","creationTimestamp":"2026-01-02T03:04:05.678+02:00"}}')
    assert pod.metadata.creation_timestamp == "2026-01-02T01:04:05Z"
    with pytest.raises(ApiError, match='parsing time "x" as "2006-01-02T15:04:05Z07:00": cannot parse "x" as "2006"'):
        decode('{"metadata":{"creationTimestamp":"x"}}')
    with pytest.raises(ApiError, match='parsing time "2026-13-01T00:00:00Z": month out of range'):
        decode('{"metadata":{"creationTimestamp":"2026-13-01T00:00:00Z"}}')


def test_ignore_says_nothing_of_unknown_fields() -> None:
    _, warnings = strict.decode_body(row("pods"), b'{"foo":1,"foo":2}', strict.JSON, strict.IGNORE)
    assert warnings == []


def test_object_of_another_kind_is_refused() -> None:
    with pytest.raises(
        ApiError, match=r'Service in version "v1" cannot be handled as a Pod: converting \(v1.Service\)'
    ):
        decode('{"kind":"Service","apiVersion":"v1"}')


def test_yaml_bodies() -> None:
    text = (
        "metadata:\n  name: a\n  labels: &l {x: 'y', n: '1'}\n  annotations: *l\nspec:\n  hostNetwork: yes\n---\nb: [\n"
    )
    pod = decode(text, content_type=strict.YAML)
    assert pod.metadata.annotations == {"x": "y", "n": "1"}
    assert pod.spec.host_network is True


def test_yaml_that_grows_without_end_is_refused() -> None:
    levels = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    levels += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 12)]
    with pytest.raises(ApiError, match="excessive aliasing"):
        decode("\n".join(levels), content_type=strict.YAML)


@pytest.mark.parametrize("depth", [400, 2000, 100_000])
def test_deep_nesting_is_refused_and_crashes_nothing(depth: int) -> None:
    for text in ("[" * depth, '{"a":' * depth, '{"metadata":' + "[" * depth + "]" * depth + "}"):
        with pytest.raises(ApiError):
            decode(text)
    with pytest.raises(ApiError):
        decode("[" * depth, content_type=strict.YAML)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "unexpected end of JSON input"),
        ('{"a"}', "invalid character '}' after object key"),
        ('{"a":1,}', "invalid character '}' looking for beginning of object key string"),
        ("[1 2]", "invalid character '2' after array element"),
        ('{"a":1 "b"', "invalid character '\"' after object key:value pair"),
        ("{} x", "invalid character 'x' after top-level value"),
        ('"\\x"', "invalid character 'x' in string escape code"),
        ('"\n"', "invalid character '\\n' in string literal"),
        ("-x", "invalid character 'x' in numeric literal"),
        ("1.x", "invalid character 'x' after decimal point in numeric literal"),
        ("1ex", "invalid character 'x' in exponent of numeric literal"),
        ("01", "invalid character '1' after top-level value"),
        ("tru", "unexpected end of JSON input"),
        ("NaN", "invalid character 'N' looking for beginning of value"),
    ],
)
def test_broken_json_in_gos_words(text: str, words: str) -> None:
    with pytest.raises(go_json.JsonError) as caught:
        go_json.parse(text.encode())
    assert str(caught.value) == words


@given(st.binary(max_size=60))
def test_no_bytes_crash_the_decoders(body: bytes) -> None:
    for content_type in (strict.JSON, strict.YAML, strict.PROTOBUF):
        try:
            strict.decode_body(row("pods"), body, content_type, strict.STRICT)
        except ApiError as error:
            assert error.code == 400  # noqa: PT017 - any outcome but a crash is fine


@given(st.text(alphabet="0123456789-:.TZ+, ", max_size=30))
def test_no_text_crashes_the_reading_of_times(text: str) -> None:
    try:
        once = timestamps.canonical(text)
    except ValueError:
        return
    assert timestamps.canonical(once) == once


def test_numbers_beyond_64_bits_are_floats_wherever_anything_may_stand() -> None:
    """An unknown field sends the body the slow way; what it keeps must be something that can be written again."""
    row = TABLE.by_kind("resource.k8s.io/v1", "DeviceClass")
    assert row is not None
    config = b'{"opaque":{"driver":"d.example.com","parameters":{"n":@}}}'
    for number, wanted in ((b"18446744073709551616", 2.0**64), (b"9223372036854775807", 2**63 - 1)):
        body = b'{"metadata":{"name":"a"},"spec":{"x":1,"config":[' + config.replace(b"@", number) + b"]}}"
        found, _ = strict.decode_body(row, body, strict.JSON)
        assert codec.to_tree(found)["spec"]["config"][0]["opaque"]["parameters"] == {"n": wanted}
