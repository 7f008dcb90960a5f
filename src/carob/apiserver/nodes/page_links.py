"""Links of a page that comes through the API server's proxies: made to lead through the proxy again.

Only what begins at the host's root (`/style.css`) would lead elsewhere, so only that is changed; everything else of a
page stays byte for byte. Pure.

Source: apimachinery `pkg/util/proxy/transport.go`.
Differs: pages of more than `MAX_PAGE_BYTES` pass unchanged.
"""

from __future__ import annotations

import gzip
import html
import posixpath
import re
import zlib
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_PAGE_BYTES = 4 << 20

# which attributes of which elements are links
_LINKS: dict[str, tuple[str, ...]] = {
    "a": ("href",),
    "applet": ("codebase",),
    "area": ("href",),
    "audio": ("src",),
    "base": ("href",),
    "blockquote": ("cite",),
    "body": ("background",),
    "button": ("formaction",),
    "command": ("icon",),
    "del": ("cite",),
    "embed": ("src",),
    "form": ("action",),
    "frame": ("longdesc", "src"),
    "head": ("profile",),
    "html": ("manifest",),
    "iframe": ("longdesc", "src"),
    "img": ("longdesc", "src", "usemap"),
    "input": ("src", "usemap", "formaction"),
    "ins": ("cite",),
    "link": ("href",),
    "object": ("classid", "codebase", "data", "usemap"),
    "q": ("cite",),
    "script": ("src",),
    "source": ("src",),
    "video": ("poster", "src"),
}
# what stands in these is text, whatever it looks like
_RAW = frozenset(("script", "style", "textarea", "title", "xmp", "iframe", "noembed", "noframes", "plaintext"))
_NAME = re.compile(r"[a-zA-Z][^\s/>]*")
_PLAIN = re.compile(r"[^>\"']*")
_ATTRIBUTE = re.compile(r"""(?<=[\s"'/])([^\s"'>/=]+)(\s*=\s*)("[^"]*"|'[^']*'|[^\s"'>]+)""")


class Links:
    """Where links of one answer lead: `prefix` is the path of the proxy, without a last slash; `hosts` are names by
    which the page may know its own server (host and port)."""

    def __init__(self, prefix: str, hosts: frozenset[str]) -> None:
        self._prefix = prefix
        self._hosts = hosts

    def rewritten(self, text: str) -> str:
        """A link as it has to be; what leads elsewhere, or is relative, stays as it is."""
        try:
            found = urlsplit(text)
        except ValueError:
            return text
        if (found.netloc and found.netloc not in self._hosts) or not found.path.startswith("/"):
            return text
        path = found.path
        if not path.startswith(self._prefix):
            path = posixpath.normpath(self._prefix + path)
            path += "/" if found.path.endswith("/") and not path.endswith("/") else ""
        return SplitResult("", "", path, found.query, found.fragment).geturl()

    def page(self, text: str) -> str:
        """A page with its links rewritten."""
        return "".join(self._pieces(text))

    def _pieces(self, text: str) -> Iterator[str]:
        done = at = 0
        while (start := text.find("<", at)) >= 0:
            if text.startswith("<!--", start):
                at = _behind(text, "-->", start + 4)
                continue
            name = _NAME.match(text, start + 1)
            if name is None:
                at = start + 1
                continue
            end = _tag_end(text, name.end())
            if end < 0:
                break
            element = name.group().lower()
            if element in _LINKS:
                yield text[done : name.end()]
                yield self._tag(element, text[name.end() : end])
                done = end
            at = end
            if element in _RAW:
                closing = re.compile(f"</{re.escape(element)}", re.IGNORECASE).search(text, end)
                at = closing.start() if closing else len(text)
        yield text[done:]

    def _tag(self, element: str, rest: str) -> str:
        links = _LINKS[element]

        def replace(match: re.Match[str]) -> str:
            name, equals, value = match.groups()
            if name.lower() not in links:
                return match.group()
            quote = value[0] if value[0] in "\"'" else ""
            link = html.unescape(value[1:-1] if quote else value)
            changed = self.rewritten(link.strip())
            if changed == link.strip():
                return match.group()
            quote = quote or '"'
            written = html.escape(changed, quote=False).replace(quote, f"&#{ord(quote)};")
            return f"{name}{equals}{quote}{written}{quote}"

        return _ATTRIBUTE.sub(replace, rest)


def _behind(text: str, mark: str, start: int) -> int:
    found = text.find(mark, start)
    return len(text) if found < 0 else found + len(mark)


def _tag_end(text: str, at: int) -> int:
    """Behind the `>` that ends a tag; -1 if there is none. A quote hides it."""
    while True:
        plain = _PLAIN.match(text, at)
        assert plain is not None
        at = plain.end()
        if at >= len(text):
            return -1
        if text[at] == ">":
            return at + 1
        at = text.find(text[at], at + 1) + 1
        if not at:
            return -1


def rewrite_body(links: Links, body: bytes, encoding: str) -> bytes | None:
    """The body of a page, `encoding` its Content-Encoding; None where it stays as it is."""
    try:
        if encoding == "gzip":
            plain = zlib.decompressobj(16 + zlib.MAX_WBITS).decompress(body, MAX_PAGE_BYTES + 1)
        elif encoding == "deflate":
            plain = zlib.decompressobj(-zlib.MAX_WBITS).decompress(body, MAX_PAGE_BYTES + 1)
        elif encoding in ("", "identity"):
            plain = body
        else:
            return None
    except zlib.error:
        return None
    if len(plain) > MAX_PAGE_BYTES:
        return None
    # every byte is a character of this one, and those that matter are the same in all that pages use
    changed = links.page(plain.decode("latin-1")).encode("latin-1", "xmlcharrefreplace")
    if changed == plain:
        return None
    if encoding == "gzip":
        return gzip.compress(changed)
    if encoding == "deflate":
        squeezed = zlib.compressobj(wbits=-zlib.MAX_WBITS)
        return squeezed.compress(changed) + squeezed.flush()
    return changed
