"""The text in front of a body: heads of answers written, targets and header names of requests read.

Pure: bytes in, bytes out.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote

if TYPE_CHECKING:
    from collections.abc import Iterable

# A server meets the same few dozen names again and again; an attacker's names are not kept.
_MAX_KNOWN_NAMES = 512
_MAX_KNOWN_STARTS = 256

_known_names: dict[bytes, str] = {}
_known_starts: dict[tuple[int, str], bytes] = {}
_phrases = {status.value: status.phrase for status in HTTPStatus}
_phrases[422] = "Unprocessable Entity"
_phrases[413] = "Request Entity Too Large"

# What may stand unescaped in a path. Source: RFC 3986, 3.3.
_PATH_SAFE = "/:@!$&'()*+,;=~-._"
_PATH_UNSAFE = frozenset(' "#%<>?[\\]^`{|}')

_NO_CONTROLS = dict.fromkeys((*range(9), *range(10, 32), 127), " ")


def header_name(raw: bytes) -> str:
    """A header's name in lower case."""
    name = _known_names.get(raw)
    if name is None:
        name = raw.decode("latin-1").lower()
        if len(_known_names) < _MAX_KNOWN_NAMES:
            _known_names[raw] = name
    return name


def answer_start(status: int, content_type: str) -> bytes:
    """The status line and the Content-Type header of an answer; an empty type is left out."""
    key = (status, content_type)
    start = _known_starts.get(key)
    if start is None:
        start = f"HTTP/1.1 {status} {_phrases.get(status, 'Unknown')}\r\n".encode()
        if content_type:
            start += b"Content-Type: %b\r\n" % header_value(content_type)
        if len(_known_starts) < _MAX_KNOWN_STARTS:
            _known_starts[key] = start
    return start


def header_value(text: str) -> bytes:
    """A value as it goes on the wire; control characters, with which a text could forge a header, become spaces."""
    if not text.isprintable():
        text = text.translate(_NO_CONTROLS)
    return text.encode("utf-8", "replace")


def header_lines(headers: Iterable[tuple[str, str]]) -> bytes:
    """Headers as lines."""
    return b"".join(b"%b: %b\r\n" % (header_value(name), header_value(value)) for name, value in headers)


def split_target(target: str) -> tuple[str, str]:
    """Path (percent-decoded except for `%2F`) and raw query of a request target.

    Shape: `/a%20b?x=1` gives `("/a b", "x=1")`; the absolute form `http://host/path` loses its scheme and host.
    """
    if not target.startswith("/") and "://" in target:
        target = "/" + target.split("://", 1)[1].partition("/")[2]
    path, _, query = target.partition("?")
    return (decode_path(path) if "%" in path else path), query


def decode_path(path: str) -> str:
    """Percent-decoded, except for slashes, which must not turn one segment into two."""
    parts = path.replace("%2f", "%2F").split("%2F")
    return "%2F".join(unquote(part) for part in parts)


def encode_target(path: str, query: str) -> str:
    """The request target of a decoded path: the reverse of `split_target`."""
    if not path.isascii() or not path.isprintable() or not _PATH_UNSAFE.isdisjoint(path):
        path = "%2F".join(quote(part, safe=_PATH_SAFE) for part in path.replace("%2f", "%2F").split("%2F"))
    return f"{path}?{query}" if query else path
