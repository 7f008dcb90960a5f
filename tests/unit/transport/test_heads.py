"""Targets and heads: what is read is what was meant."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from carob.transport.heads import answer_start, encode_target, header_lines, header_name, split_target

segments = st.lists(st.text(st.characters(codec="utf-8", exclude_characters="/%"), max_size=8), min_size=1, max_size=4)
queries = st.text("abc=&%20+:", max_size=10)


@pytest.mark.slow
@given(segments, queries)
def test_a_target_is_read_back_as_it_was_meant(parts: list[str], query: str) -> None:
    path = "/" + "/".join(parts)
    target = encode_target(path, query)
    assert target.isascii()
    assert " " not in target
    assert split_target(target) == (path, query)


@pytest.mark.parametrize(
    ("target", "path", "query"),
    [
        ("/a", "/a", ""),
        ("/a?", "/a", ""),
        ("/a?b?c", "/a", "b?c"),
        ("/a%20b/c%2Fd%2fe", "/a b/c%2Fd%2Fe", ""),
        ("http://host:1/a?x", "/a", "x"),
        ("http://host", "/", ""),
        ("*", "*", ""),
    ],
)
def test_targets(target: str, path: str, query: str) -> None:
    assert split_target(target) == (path, query)


def test_a_slash_inside_of_a_segment_stays_inside() -> None:
    assert encode_target("/a%2Fb c", "") == "/a%2Fb%20c"
    assert split_target("/a%2Fb%20c")[0] == "/a%2Fb c"


def test_heads() -> None:
    assert header_name(b"Content-TYPE") == "content-type"
    assert answer_start(200, "text/plain") == b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"
    assert answer_start(422, "") == b"HTTP/1.1 422 Unprocessable Entity\r\n"
    assert answer_start(599, "") == b"HTTP/1.1 599 Unknown\r\n"
    assert header_lines([("A", "ü"), ("B", "x\r\ny")]) == "A: ü\r\nB: x  y\r\n".encode()
