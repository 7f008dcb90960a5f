"""Parts of texts: what a regular expression finds, and the parts of URLs.

Source: `k8s.io/apiserver/pkg/cel/library/{regex,urls}.go`.
"""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import SplitResult, parse_qsl, quote, urlsplit

from carob.api.cel import linear_regex
from carob.api.cel.library import FUNCTIONS, bounded, costs, function, result_costs, size, traversed
from carob.api.cel.operators import regex_cost, written_float
from carob.api.cel.values import CelError, Url, type_of

_ODD = re.compile(r"[\x00-\x20\x7f]")


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


def _url(text: str) -> Url:
    parts = _split(text)
    if (not parts.scheme and not text.startswith("/")) or _ODD.search(text):
        raise ValueError(f'URL parse error during conversion from string: parse "{text}": invalid URI for request')
    return Url(parts)


def _split(text: str) -> SplitResult:
    try:
        parts = urlsplit(text)
        _ = parts.port
    except ValueError as error:
        raise ValueError(f"URL parse error during conversion from string: {error}") from None
    return parts


def _part(read: Any) -> Any:
    return lambda value: read(value.parts)


def _query(parts: SplitResult) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, value in parse_qsl(parts.query, keep_blank_values=True):
        found.setdefault(name, []).append(value)
    return found


def _port(parts: SplitResult) -> str:
    return "" if parts.port is None else str(parts.port)


function("find", ((str, str), _find))
function("findAll", ((str, str), _find_all), ((str, str, int), _find_all))
function("url", ((str,), _url))
function("isURL", ((str,), is_uri))
function("getScheme", ((Url,), _part(lambda parts: parts.scheme)))
function("getHost", ((Url,), _part(lambda parts: parts.netloc.rpartition("@")[2])))
function("getHostname", ((Url,), _part(lambda parts: parts.hostname or "")))
function("getPort", ((Url,), _part(_port)))
function("getEscapedPath", ((Url,), _part(lambda parts: quote(parts.path, safe="/%:@!$&'()*+,;=~"))))
function("getQuery", ((Url,), _part(_query)))
costs("find findAll", lambda args: regex_cost(size(args[0]), size(args[1])))


# -- the language's extension of texts -----------------------------------------------------------------------------


def _at(text: str, index: int) -> str:
    if not 0 <= index <= len(text):
        raise CelError(f"index out of range: {index}")
    return text[index : index + 1]


def _index(text: str, wanted: str, start: int = 0) -> int:
    if not wanted:
        return start
    if start >= len(text) > 0 or start < 0:
        if start > len(text) or start < 0:
            raise CelError(f"index out of range: {start}")
        return -1
    return text.find(wanted, start)


def _last_index(text: str, wanted: str, start: int | None = None) -> int:
    if start is None:
        return text.rfind(wanted)
    if not wanted:
        return start
    if not 0 <= start < max(1, len(text)):
        raise CelError(f"index out of range: {start}")
    return text.rfind(wanted, 0, start + len(wanted))


def _split_at(text: str, separator: str, limit: int = -1) -> list[str]:
    if limit == 0:
        return []
    if not separator:
        found = list(text)
        return found if limit < 0 or len(found) <= limit else [*found[: limit - 1], "".join(found[limit - 1 :])]
    return text.split(separator, limit - 1 if limit > 0 else -1)


def _substring(text: str, start: int, end: int | None = None) -> str:
    last = len(text) if end is None else end
    if not 0 <= start <= len(text):
        raise CelError(f"index out of range: {start}")
    if not 0 <= last <= len(text):
        raise CelError(f"index out of range: {last}")
    if start > last:
        raise CelError(f"invalid substring range. start: {start}, end: {last}")
    return text[start:last]


def _join(parts: list[Any], separator: str = "") -> str:
    if not all(isinstance(part, str) for part in parts):
        raise CelError("no such overload")
    bounded(sum(map(len, parts)) + len(separator) * len(parts), "text")
    return separator.join(parts)


def _replaced(text: str, old: str, new: str, limit: int = -1) -> str:
    times = text.count(old) if limit < 0 else min(limit, text.count(old))
    bounded(len(text) + times * len(new), "text")
    return text.replace(old, new, limit)


def _cased(change: Any) -> Any:
    return lambda text: "".join(change(c) if c.isascii() else c for c in text)


_ESCAPES = {"\a": "\\a", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\v": "\\v"} | {
    "\\": "\\\\",
    '"': '\\"',
}
_WHITE = " \t\n\v\f\r\x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000" + "".join(map(chr, range(0x2000, 0x200B)))


def _quoted(text: str) -> str:
    return '"' + "".join(_ESCAPES.get(c, c) for c in text) + '"'


function("charAt", ((str, int), _at))
function("indexOf", ((str, str), _index), ((str, str, int), _index))
function("lastIndexOf", ((str, str), _last_index), ((str, str, int), _last_index))
function("lowerAscii", ((str,), _cased(str.lower)))
function("upperAscii", ((str,), _cased(str.upper)))
function("replace", ((str, str, str), _replaced), ((str, str, str, int), _replaced))
function("split", ((str, str), _split_at), ((str, str, int), _split_at))
function("substring", ((str, int), _substring), ((str, int, int), _substring))
function("trim", ((str,), lambda text: text.strip(_WHITE)))
function("join", ((list,), _join), ((list, str), _join))
function("reverse", ((str,), lambda text: text[::-1]))
function("strings.quote", ((str,), _quoted))
costs("url lowerAscii upperAscii substring trim strings.quote", lambda args: traversed(size(args[0])))
costs("replace split", lambda args: traversed(size(args[0]), 2))
result_costs("join", lambda result: traversed(size(result), 2))


# -- `'%s'.format([…])` --------------------------------------------------------------------------------------------

_VERB = re.compile(r"%(?:\.(\d+))?(.)?", re.DOTALL)


def _formatted(text: str, values: list[Any]) -> str:
    _bounded_size(values)
    left = iter(values)
    used = 0

    def one(found: re.Match[str]) -> str:
        nonlocal used
        verb = found[2] or ""
        if verb == "%":
            return "%"
        if used == len(values):
            raise CelError(f"index {used} out of range")
        used += 1
        return _written(verb, int(found[1]) if found[1] is not None else 6, next(left))

    return _VERB.sub(one, text)


def _bounded_size(values: list[Any]) -> int:
    """About how long values become as texts; as much as counts."""
    total = 1
    for value in values:
        if value.__class__ is str:
            total += len(value)
        elif value.__class__ is list:
            total += _bounded_size(value)
        elif value.__class__ is dict:
            total += _bounded_size([*value, *value.values()])
        else:
            total += 1
        bounded(total, "text")
    return total


def _written(verb: str, precision: int, value: Any) -> str:
    if verb == "s":
        return _shown(value)
    if verb in "bxXo" and isinstance(value, int) and not isinstance(value, bool):
        return format(int(value), verb)
    if verb == "b" and isinstance(value, bool):
        return str(int(value))
    if verb in ("x", "X") and isinstance(value, str | bytes):
        text = (value.encode() if isinstance(value, str) else value).hex()
        return text.upper() if verb == "X" else text
    if verb == "d" and isinstance(value, int | float) and not isinstance(value, bool):
        return written_float(value) if isinstance(value, float) else str(int(value))
    if verb in ("f", "e") and isinstance(value, int | float) and not isinstance(value, bool):
        return format(float(value), f".{precision}{verb}")
    if verb and verb in "bxXodfe":
        raise CelError(f"error during formatting: no such overload for %{verb}: {type_of(value)}")
    raise CelError(f'could not parse formatting clause: unrecognized formatting clause "{verb}"')


def _shown(value: Any) -> str:
    if value.__class__ is list:
        return "[" + ", ".join(map(_shown, value)) + "]"
    if value.__class__ is dict:
        pairs = sorted((_shown(key), _shown(one)) for key, one in value.items())
        return "{" + ", ".join(f"{key}: {one}" for key, one in pairs) + "}"
    if value is None:
        return "null"
    return str(FUNCTIONS["string"].call((value,)))


function("format", ((str, list), _formatted))
costs("format", lambda args: traversed(size(args[0])))
