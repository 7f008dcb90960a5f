"""Links of proxied pages. Answers apimachinery `pkg/util/proxy/transport_test.go`."""

from __future__ import annotations

import gzip
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from carob.apiserver.nodes.page_links import MAX_PAGE_BYTES, Links, rewrite_body

WAY = "/api/v1/namespaces/proxy-1/services/web/proxy"
LINKS = Links(WAY, frozenset(("10.42.0.7:80", "api.example.com:6443")))


@pytest.mark.parametrize(
    ("link", "wanted"),
    [
        ("/", f"{WAY}/"),
        ("/a/b?x=1#top", f"{WAY}/a/b?x=1#top"),
        ("/a/", f"{WAY}/a/"),
        ("/a/../b", f"{WAY}/b"),
        (f"{WAY}/a", f"{WAY}/a"),
        ("http://10.42.0.7:80/a", f"{WAY}/a"),
        ("https://api.example.com:6443/a", f"{WAY}/a"),
        ("http://other.example.com/a", "http://other.example.com/a"),
        ("//other.example.com/a", "//other.example.com/a"),
        ("a/b", "a/b"),
        ("#top", "#top"),
        ("", ""),
        ("mailto:a@example.com", "mailto:a@example.com"),
        ("http://[broken", "http://[broken"),
    ],
)
def test_links(link: str, wanted: str) -> None:
    assert LINKS.rewritten(link) == wanted


@pytest.mark.parametrize(
    ("page", "wanted"),
    [
        ('<A HREF="/a">', f'<A HREF="{WAY}/a">'),
        ("<a class=x href=/a>", f'<a class=x href="{WAY}/a">'),
        ("<a title='>' href='/a'/>", f"<a title='>' href='{WAY}/a'/>"),
        ("<img src=/a><p src=/a>", f'<img src="{WAY}/a"><p src=/a>'),
        ('<a data-href="/a" href = "/b">', f'<a data-href="/a" href = "{WAY}/b">'),
        ("<!-- <a href=/a> --><a href=b>", "<!-- <a href=/a> --><a href=b>"),
        (
            "<script src=/a>'<a href=/b>'</script><a href=/c>",
            f'<script src="{WAY}/a">\'<a href=/b>\'</script><a href="{WAY}/c">',
        ),
        ("1 < 2 <a href=/a", "1 < 2 <a href=/a"),
        ("<a href='/a", "<a href='/a"),
        ("<script>", "<script>"),
    ],
)
def test_pages(page: str, wanted: str) -> None:
    assert LINKS.page(page) == wanted


@given(st.text(alphabet="<>/a\"'= -!script\n", max_size=60))
def test_what_has_no_rooted_link_stays_as_it_is(text: str) -> None:
    other = Links("", frozenset())
    assert len(LINKS.page(text)) >= len(text) or "/" in text
    if "=" not in text:
        assert LINKS.page(text) == text
    del other


def test_a_hostile_page_costs_little() -> None:
    for piece in ("<a '", "<script>", "<!--", "<a href=/ ", "<a x='\"' "):
        text = piece * (MAX_PAGE_BYTES // len(piece) // 8)
        assert LINKS.page(text).count("<") == text.count("<")


def test_bodies_keep_their_encoding() -> None:
    page, wanted = b"<a href=/\xc3\xa4>", f'<a href="{WAY}/'.encode() + b'\xc3\xa4">'
    assert rewrite_body(LINKS, page, "") == wanted
    squeezed = rewrite_body(LINKS, gzip.compress(page), "gzip")
    assert squeezed is not None
    assert gzip.decompress(squeezed) == wanted
    raw = zlib.compressobj(wbits=-15)
    squeezed = rewrite_body(LINKS, raw.compress(page) + raw.flush(), "deflate")
    assert squeezed is not None
    assert zlib.decompress(squeezed, -15) == wanted
    assert rewrite_body(LINKS, page, "br") is None
    assert rewrite_body(LINKS, b"no gzip", "gzip") is None
    assert rewrite_body(LINKS, gzip.compress(b" " * (MAX_PAGE_BYTES + 1)), "gzip") is None
