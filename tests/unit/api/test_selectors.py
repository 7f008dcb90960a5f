"""Label and field selectors: what they match and how a broken one is refused. Answers: recorded list requests."""

from __future__ import annotations

import pytest

from carob.api import selectors
from carob.api.types import meta_v1

MATCHES = [
    ("", {}, True),
    ("a=b", {"a": "b"}, True),
    ("a==b", {"a": "c"}, False),
    ("a!=b", {}, True),
    ("a!=b", {"a": "b"}, False),
    ("a", {"a": ""}, True),
    ("!a", {"a": ""}, False),
    ("! a", {}, True),
    ("a in (b, c)", {"a": "c"}, True),
    ("a in (b,,c)", {"a": ""}, True),
    ("a notin (b,c)", {"a": "b"}, False),
    ("a notin (b,c)", {}, True),
    ("a>5", {"a": "6"}, True),
    ("a<5", {"a": "6"}, False),
    ("a>5", {"a": "x"}, False),
    ("in in (in, notin)", {"in": "notin"}, True),
    ("x in (foo,,baz),y,z notin ()", {"x": "", "y": "1", "z": "2"}, True),
    ("a=", {"a": ""}, True),
]

REFUSED = [
    ("a in ", "unable to parse requirement: found '' expected: '('"),
    ("a=!x", "unable to parse requirement: found '!', expected: identifier"),
    ("! a,!!a", "unable to parse requirement: found '!', expected: identifier"),
    ("a,", "found '', expected: identifier after ','"),
    (",a", "found ',', expected: !, identifier, or 'end of string'"),
    ("a b", "unable to parse requirement: found 'b', expected: in, notin, =, ==, !=, gt, lt"),
]


@pytest.mark.parametrize(("text", "labels", "expected"), MATCHES)
def test_label_selector_matches(text: str, labels: dict[str, str], expected: bool) -> None:
    selector = selectors.parse_labels(text)
    assert selector.matches(labels) is expected
    assert selectors.parse_labels(str(selector)).matches(labels) is expected


@pytest.mark.parametrize(("text", "words"), REFUSED)
def test_broken_label_selector_is_refused_in_upstreams_words(text: str, words: str) -> None:
    with pytest.raises(selectors.SelectorError) as caught:
        selectors.parse_labels(text)
    assert str(caught.value) == words


def test_bad_key_names_the_rule() -> None:
    with pytest.raises(selectors.SelectorError) as caught:
        selectors.parse_labels("A_/b=c")
    assert str(caught.value).startswith(
        'unable to parse requirement: <nil>: Invalid value: "A_/b": prefix part a lowercase RFC 1123 subdomain must'
    )


def test_struct_selectors() -> None:
    assert selectors.from_struct(None).matches({}) is False
    assert selectors.from_struct(meta_v1.LabelSelector()).matches({}) is True
    both = meta_v1.LabelSelector(
        match_labels={"a": "b"},
        match_expressions=[meta_v1.LabelSelectorRequirement(key="c", operator="NotIn", values=["d"])],
    )
    assert selectors.from_struct(both).matches({"a": "b"}) is True
    assert selectors.from_struct(both).matches({"a": "b", "c": "d"}) is False


def test_field_selectors() -> None:
    selector = selectors.parse_fields("status.phase!=Failed,metadata.name=a\\,b,")
    assert selector.matches({"status.phase": "Running", "metadata.name": "a,b"})
    assert not selector.matches({"status.phase": "Failed", "metadata.name": "a,b"})
    assert selector.exact("metadata.name") == "a,b"
    assert selectors.parse_fields("").empty
    assert selectors.parse_fields("a==b").matches({"a": "b"})


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a=b=c,", "invalid field selector: unescaped character in value: 61"),
        ("a", "invalid selector: 'a'; can't understand 'a'"),
        ("a=\\x", "invalid field selector: invalid escape sequence: \\x"),
    ],
)
def test_broken_field_selector_is_refused(text: str, words: str) -> None:
    with pytest.raises(selectors.SelectorError) as caught:
        selectors.parse_fields(text)
    assert str(caught.value) == words
