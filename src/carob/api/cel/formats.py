"""Named formats of texts: `format.dns1123Label().validate(x)`.

`validate` answers with what is wrong, and nothing where nothing is. Upstream's answer is an optional value; ours is a list, which
knows `hasValue` and `value`, because the library lets nobody make optional values.
Source: `k8s.io/apiserver/pkg/cel/library/format.go`.
"""

from __future__ import annotations

import base64
import binascii
import datetime
import re
from typing import Any

from carob.api.cel.declaring import FORMAT, Kind, function
from carob.api.cel.texts import is_uri
from carob.api.validation import names

_TEXTS = Kind.List(Kind.STRING)


def _prefix(check: Any) -> Any:
    """A name that something is put behind may end as the middle of one."""
    return lambda text: check(text[:-1] + "a" if text.endswith("-") else text)


def _uuid(text: str) -> list[str]:
    good = re.fullmatch(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}", text)
    return [] if good else ["does not match the UUID format"]


def _byte(text: str) -> list[str]:
    try:
        base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return ["invalid base64"]
    return []


def _date(text: str) -> list[str]:
    try:
        datetime.datetime.strptime(text, "%Y-%m-%d")  # noqa: DTZ007 - a day has no zone
    except ValueError:
        return ["invalid date"]
    return []


def _datetime(text: str) -> list[str]:
    try:
        found = datetime.datetime.fromisoformat(text)
    except ValueError:
        return ["invalid datetime"]
    return [] if found.tzinfo is not None else ["invalid datetime"]


def _uri(text: str) -> list[str]:
    return [] if is_uri(text) else ["invalid URI"]


_CHECKS: dict[str, Any] = {
    "dns1123Label": names.dns_label,
    "dns1123Subdomain": names.dns_subdomain,
    "dns1035Label": names.dns_1035_label,
    "qualifiedName": names.qualified_name,
    "dns1123LabelPrefix": _prefix(names.dns_label),
    "dns1123SubdomainPrefix": _prefix(names.dns_subdomain),
    "dns1035LabelPrefix": _prefix(names.dns_1035_label),
    "labelValue": names.label_value,
    "uri": _uri,
    "uuid": _uuid,
    "byte": _byte,
    "date": _date,
    "datetime": _datetime,
}
_NUMBERS = {name: number for number, name in enumerate(_CHECKS)}
_BY_NUMBER = list(_CHECKS.values())


def _named(name: str) -> dict[int, int]:
    if name not in _NUMBERS:
        raise ValueError(f"no such format: {name}")
    return {0: _NUMBERS[name]}


def _validate(value: Any, text: str) -> list[str]:
    return [*_BY_NUMBER[next(iter(value.values()))](text)]


def _value(found: list[str]) -> list[str]:
    if not found:
        raise ValueError("optional.none() dereference")
    return found


FUNCTIONS = (
    *(
        function(f"format.{name}", (FORMAT, [], lambda number=number: {0: number}), member=False)
        for name, number in _NUMBERS.items()
    ),
    function("format.named", (FORMAT, [Kind.STRING], _named), member=False),
    function("validate", (_TEXTS, [FORMAT, Kind.STRING], _validate)),
)
OVERLOADS = (
    function("hasValue", (Kind.BOOL, [_TEXTS], bool)),
    function("value", (_TEXTS, [_TEXTS], _value)),
)
