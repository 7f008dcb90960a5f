"""Parts of texts: what a regular expression finds, and the parts of URLs.

Source: `k8s.io/apiserver/pkg/cel/library/{regex,urls}.go`.
"""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import SplitResult, parse_qsl, quote, urlsplit

from carob.api.cel import linear_regex
from carob.api.cel.declaring import URL, Kind, function

_ODD = re.compile(r"[\x00-\x20\x7f]")
_TEXT, _TEXTS = Kind.STRING, Kind.List(Kind.STRING)


def _find(text: str, pattern: str) -> str:
    return next(linear_regex.found(pattern, text), "")


def _find_all(text: str, pattern: str, limit: int = -1) -> list[str]:
    found: list[str] = []
    for one in linear_regex.found(pattern, text):
        if 0 <= limit <= len(found):
            break
        found.append(one)
    return found


def is_uri(text: str) -> bool:
    """Whether it is an absolute URI, or the path of one. Source: Go's `url.ParseRequestURI`."""
    try:
        _url(text)
    except ValueError:
        return False
    return True


def _url(text: str) -> dict[int, list[str]]:
    parts = _split(text)
    if (not parts.scheme and not text.startswith("/")) or _ODD.search(text):
        raise ValueError(f'URL parse error during conversion from string: parse "{text}": invalid URI for request')
    return {0: [text]}


def _split(text: str) -> SplitResult:
    try:
        parts = urlsplit(text)
        _ = parts.port
    except ValueError as error:
        raise ValueError(f"URL parse error during conversion from string: {error}") from None
    return parts


def _part(read: Any) -> Any:
    return lambda value: read(_split(next(iter(value.values()))[0]))


def _query(parts: SplitResult) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, value in parse_qsl(parts.query, keep_blank_values=True):
        found.setdefault(name, []).append(value)
    return found


def _port(parts: SplitResult) -> str:
    return "" if parts.port is None else str(parts.port)


FUNCTIONS = (
    function("find", (_TEXT, [_TEXT, _TEXT], _find)),
    function("findAll", (_TEXTS, [_TEXT, _TEXT], _find_all), (_TEXTS, [_TEXT, _TEXT, Kind.INT], _find_all)),
    function("url", (URL, [_TEXT], _url), member=False),
    function("isURL", (Kind.BOOL, [_TEXT], is_uri), member=False),
    function("getScheme", (_TEXT, [URL], _part(lambda parts: parts.scheme))),
    function("getHost", (_TEXT, [URL], _part(lambda parts: parts.netloc.rpartition("@")[2]))),
    function("getHostname", (_TEXT, [URL], _part(lambda parts: parts.hostname or ""))),
    function("getPort", (_TEXT, [URL], _part(_port))),
    function("getEscapedPath", (_TEXT, [URL], _part(lambda parts: quote(parts.path, safe="/%:@!$&'()*+,;=~")))),
    function("getQuery", (Kind.Map(_TEXT, _TEXTS), [URL], _part(_query))),
)
