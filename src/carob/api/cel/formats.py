"""Named formats of texts: `format.dns1123Label().validate(x)`.

`validate` answers with an optional value: what is wrong, and nothing where nothing is.
Source: `k8s.io/apiserver/pkg/cel/library/format.go`.
"""

from __future__ import annotations

import base64
import binascii
import datetime
import re
from typing import Any

from carob.api.cel.library import function
from carob.api.cel.texts import is_uri
from carob.api.cel.values import NONE, Maybe, NamedFormat
from carob.api.validation import names


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
_FORMATS = {name: NamedFormat(name, check) for name, check in _CHECKS.items()}


def _named(name: str) -> Maybe:
    return Maybe(_FORMATS[name]) if name in _FORMATS else NONE


def _validate(value: NamedFormat, text: str) -> Maybe:
    wrong = [*value.check(text)]
    return Maybe(wrong) if wrong else NONE


def _constant(value: NamedFormat) -> Any:
    return lambda: value


for _name, _format in _FORMATS.items():
    function(f"format.{_name}", ((), _constant(_format)))
function("format.named", ((str,), _named))
function("validate", ((NamedFormat, str), _validate))
