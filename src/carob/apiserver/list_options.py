"""The query of a list or a watch, parsed and checked.

Pure. Source: meta/internalversion `ListOptions` and its validation; a future or an expired resourceVersion is the
handlers' business.
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import TYPE_CHECKING

import orjson
from msgspec import Struct

from carob.api.status import ApiError, bad_request

if TYPE_CHECKING:
    from carob.apiserver.types import RequestInfo

EXACT = "Exact"
NOT_OLDER_THAN = "NotOlderThan"

_TRUE = frozenset(("1", "t", "T", "true", "TRUE", "True"))
_FALSE = frozenset(("0", "f", "F", "false", "FALSE", "False"))
_DURATION = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h)((\d+(\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h))*|0")
_INT64 = 2**63


class ListOptions(Struct):
    """What a list or a watch asks for. `revision` is None when no resourceVersion was given."""

    label_selector: str = ""
    field_selector: str = ""
    revision: int | None = None
    match: str = ""
    limit: int = 0
    continue_: str = ""
    timeout_seconds: float | None = None
    allow_bookmarks: bool = False
    send_initial_events: bool | None = None


def parse(info: RequestInfo, *, watch: bool) -> ListOptions:
    """The options of a request. Raises: ApiError 400 or 422."""
    query = info.query
    if not query:
        return ListOptions()
    first = info.first
    options = ListOptions(
        first("labelSelector"),
        first("fieldSelector"),
        match=first("resourceVersionMatch"),
        continue_=first("continue"),
        allow_bookmarks=_boolean(first("allowWatchBookmarks")) is True,
        send_initial_events=_boolean(first("sendInitialEvents")),
    )
    limit = first("limit")
    if limit:
        options.limit = integer(limit)
    timeout = first("timeoutSeconds")
    if timeout:
        options.timeout_seconds = integer(timeout)
    check_timeout(first("timeout"))
    _check_match(options, first("resourceVersion"), watch)
    options.revision = revision_of(first("resourceVersion"))
    return options


def integer(text: str) -> int:
    """A 64-bit number as Go reads it. Raises: ApiError 400."""
    digits = text[1:] if text[:1] in ("-", "+") else text
    if not (digits.isascii() and digits.isdigit()):
        raise bad_request(f'strconv.ParseInt: parsing "{text}": invalid syntax')
    value = int(text)
    if not -_INT64 <= value < _INT64:
        raise bad_request(f'strconv.ParseInt: parsing "{text}": value out of range')
    return value


def check_timeout(text: str) -> None:
    """Refuse a `timeout` parameter that is no Go duration. Raises: ApiError 400."""
    if text and not _DURATION.fullmatch(text):
        message = f'invalid timeout specified in the request URL - time: invalid duration "{text}"'
        raise bad_request(message)


def revision_of(text: str) -> int | None:
    """The revision of a resourceVersion; None if there is none. Raises: ApiError 400."""
    if not text:
        return None
    if not (text.isascii() and text.isdigit()) or len(text) > 19:
        message = f'resourceVersion: Invalid value: "{text}": strconv.ParseUint: parsing "{text}": invalid syntax'
        raise bad_request(message)
    return int(text)


def _boolean(text: str) -> bool | None:
    if text in _TRUE:
        return True
    return False if text in _FALSE else None


def _check_match(options: ListOptions, revision: str, watch: bool) -> None:
    causes: list[tuple[str, str, str]] = []
    match, sends = options.match, options.send_initial_events is not None
    if match and not watch and not revision:
        why = "Forbidden: resourceVersionMatch is forbidden unless resourceVersion is provided"
        causes.append(("FieldValueForbidden", why, "resourceVersionMatch"))
    elif match and watch and not sends:
        why = "Forbidden: resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided"
        causes.append(("FieldValueForbidden", why, "resourceVersionMatch"))
    if watch and sends:
        if match != NOT_OLDER_THAN:
            why = "Forbidden: sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"
            causes.append(("FieldValueForbidden", why, "resourceVersionMatch"))
        if match and match != NOT_OLDER_THAN:
            why = f'Unsupported value: "{match}": supported values: "NotOlderThan"'
            causes.append(("FieldValueNotSupported", why, "resourceVersionMatch"))
    elif match and match not in (EXACT, NOT_OLDER_THAN) and not causes:
        why = f'Unsupported value: "{match}": supported values: "Exact", "NotOlderThan", ""'
        causes.append(("FieldValueNotSupported", why, "resourceVersionMatch"))
    if not watch and sends:
        why = "Forbidden: sendInitialEvents is forbidden for list"
        causes.append(("FieldValueForbidden", why, "sendInitialEvents"))
    if match == EXACT and revision == "0":
        why = 'Forbidden: resourceVersionMatch "Exact" is forbidden for resourceVersion "0"'
        causes.append(("FieldValueForbidden", why, "resourceVersionMatch"))
    if options.continue_ and match:
        why = "Forbidden: resourceVersionMatch is forbidden when continue is provided"
        causes.append(("FieldValueForbidden", why, "resourceVersionMatch"))
    if causes:
        raise options_invalid("ListOptions", causes)


def options_invalid(kind: str, causes: list[tuple[str, str, str]]) -> ApiError:
    """422 about an options object of meta.k8s.io. Shape: causes are (reason, message, field)."""
    unique = list(dict.fromkeys(f"{field}: {message}" for _, message, field in causes))
    joined = unique[0] if len(unique) == 1 else "[" + ", ".join(unique) + "]"
    details = {
        "group": "meta.k8s.io",
        "kind": kind,
        "causes": [{"reason": reason, "message": message, "field": field} for reason, message, field in causes],
    }
    return ApiError(422, "Invalid", f'{kind}.meta.k8s.io "" is invalid: {joined}', details)


# -- continue tokens ----------------------------------------------------------------------------------------------------


def encode_continue(revision: int, start: str) -> str:
    """A token that goes on behind a page. Shape: `start` is the last key behind the collection's prefix.

    Source: apiserver `storage.EncodeContinue`: base64 of version, revision and the first key of the next page.
    """
    token = {"v": "meta.k8s.io/v1", "rv": revision, "start": f"/{start}\0"}
    return base64.urlsafe_b64encode(orjson.dumps(token)).rstrip(b"=").decode()


def decode_continue(token: str) -> tuple[int, str]:
    """Revision (-1: now) and first key of a token. Raises: ApiError 400."""
    try:
        raw = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
        tree = orjson.loads(raw)
    except (ValueError, binascii.Error):
        raise _bad_token("continue key is not valid: illegal base64 data at input byte 0") from None
    if not isinstance(tree, dict):
        raise _bad_token("continue key is not valid: it is no object")
    version = tree.get("v", "")
    if version != "meta.k8s.io/v1":
        raise _bad_token(f"continue key is not valid: server does not recognize this encoded version {version}")
    revision, start = tree.get("rv", 0), tree.get("start", "")
    if not isinstance(revision, int) or not revision:
        raise _bad_token("continue key is not valid: incorrect encoded start resourceVersion (version meta.k8s.io/v1)")
    if not isinstance(start, str) or not start:
        raise _bad_token("continue key is not valid: encoded start key empty (version meta.k8s.io/v1)")
    return revision, start.removeprefix("/")


def _bad_token(why: str) -> ApiError:
    return bad_request(f"invalid continue token: {why}")
