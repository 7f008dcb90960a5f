"""Forms of names: DNS labels and subdomains, label keys and values, port names, keys of ConfigMaps and the like.

Pure. Every function returns what is wrong, in upstream's words; an empty list (the shared `OK`) means nothing. Cluster
objects repeat the same few names, so the commonest answers are remembered (bounded caches).

Source: apimachinery `pkg/util/validation` and `pkg/api/validate/content`.
"""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING

from carob.base.memo import remembered

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

LABEL = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
SUBDOMAIN = LABEL + r"(\." + LABEL + ")*"
LABEL_1035 = "[a-z]([-a-z0-9]*[a-z0-9])?"
QUALIFIED = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
LABEL_VALUE = f"({QUALIFIED})?"
CONFIG_KEY = "[-._a-zA-Z0-9]+"
ENV_NAME = "[-._a-zA-Z][-._a-zA-Z0-9]*"
C_IDENTIFIER = "[A-Za-z_][A-Za-z0-9_]*"
HEADER_NAME = "[-A-Za-z0-9]+"
PERCENT = "[0-9]+%"
HTTP_PATH = r"[A-Za-z0-9/\-._~%!$&'()*+,;=:]+"
WILDCARD = r"\*\." + SUBDOMAIN
UNDERSCORE_LABEL = "_?[a-z0-9]([-_a-z0-9]*[a-z0-9])?"
UNDERSCORE_SUBDOMAIN = UNDERSCORE_LABEL + r"(\." + UNDERSCORE_LABEL + ")*"

_label = re.compile(LABEL, re.ASCII).fullmatch
_subdomain = re.compile(SUBDOMAIN, re.ASCII).fullmatch
_label_1035 = re.compile(LABEL_1035, re.ASCII).fullmatch
_qualified = re.compile(QUALIFIED, re.ASCII).fullmatch
_label_value = re.compile(LABEL_VALUE, re.ASCII).fullmatch
_config_key = re.compile(CONFIG_KEY, re.ASCII).fullmatch
_env_name = re.compile(ENV_NAME, re.ASCII).fullmatch
_c_identifier = re.compile(C_IDENTIFIER, re.ASCII).fullmatch
_header_name = re.compile(HEADER_NAME, re.ASCII).fullmatch
_percent = re.compile(PERCENT, re.ASCII).fullmatch
_http_path = re.compile(HTTP_PATH, re.ASCII).fullmatch
_wildcard = re.compile(WILDCARD, re.ASCII).fullmatch
_underscore_subdomain = re.compile(UNDERSCORE_SUBDOMAIN, re.ASCII).fullmatch

OK: Sequence[str] = ()

_LABEL_WORDS = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end "
    "with an alphanumeric character"
)
_SUBDOMAIN_WORDS = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start "
    "and end with an alphanumeric character"
)
_UNDERSCORE_WORDS = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '_', '-' or '.', and must "
    "start and end with an alphanumeric character"
)
_LABEL_1035_WORDS = (
    "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, "
    "and end with an alphanumeric character"
)
_QUALIFIED_WORDS = (
    "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character"
)
_LABEL_VALUE_WORDS = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and "
    "end with an alphanumeric character"
)
_WILDCARD_WORDS = (
    "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must consist of "
    "lower case alphanumeric characters, '-' or '.' and end with an alphanumeric character"
)


def too_long(limit: int) -> str:
    """What is said of a name beyond its limit."""
    return f"must be no more than {limit} characters"


def pattern_words(words: str, pattern: str, *examples: str) -> str:
    """What is said of a text that does not have the form of `pattern`."""
    shown = " or ".join(f"'{e}', " for e in examples)
    return (
        f"{words} (e.g. {shown}regex used for validation is '{pattern}')"
        if examples
        else (f"{words} (regex used for validation is '{pattern}')")
    )


def _named(matches: Callable[[str], object], limit: int, words: str) -> Callable[[str], Sequence[str]]:
    @remembered(4096)
    def check(value: str) -> Sequence[str]:
        if len(value) <= limit and matches(value):
            return OK
        out = [too_long(limit)] if len(value.encode("utf-8", "replace")) > limit else []
        if not matches(value):
            out.append(words)
        return out

    return check


dns_subdomain = _named(_subdomain, 253, pattern_words(_SUBDOMAIN_WORDS, SUBDOMAIN, "example.com"))
dns_1035_label = _named(_label_1035, 63, pattern_words(_LABEL_1035_WORDS, LABEL_1035, "my-name", "abc-123"))
wildcard_subdomain = _named(_wildcard, 253, pattern_words(_WILDCARD_WORDS, WILDCARD, "*.example.com"))
underscore_subdomain = _named(
    _underscore_subdomain, 253, pattern_words(_UNDERSCORE_WORDS, UNDERSCORE_SUBDOMAIN, "example.com")
)


@remembered(4096)
def dns_label(value: str) -> Sequence[str]:
    """RFC 1123 label: names of containers, Namespaces, volumes."""
    good = _label(value)
    if good and len(value) <= 63:
        return OK
    out = [too_long(63)] if len(value.encode("utf-8", "replace")) > 63 else []
    if not good:
        words = pattern_words(_LABEL_WORDS, LABEL, "my-name", "123-abc")
        out.append("must not contain dots" if _subdomain(value) else words)
    return out


@remembered(8192)
def qualified_name(value: str) -> Sequence[str]:
    """A label key: an optional DNS prefix, a slash, a name."""
    parts = value.split("/")
    words = pattern_words(_QUALIFIED_WORDS, QUALIFIED, "MyName", "my.name", "123-abc")
    if len(parts) > 2:
        return [f"a valid label key {words} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"]
    out: list[str] = []
    if len(parts) == 2:
        if not parts[0]:
            out.append("prefix part must be non-empty")
        out += [f"prefix part {why}" for why in dns_subdomain(parts[0]) if parts[0]]
    name = parts[-1]
    if not name:
        out.append("name part must be non-empty")
    elif len(name.encode("utf-8", "replace")) > 63:
        out.append("name part must be no more than 63 bytes")
    if not _qualified(name):
        out.append(f"name part {words}")
    return out or OK


@remembered(8192)
def label_value(value: str) -> Sequence[str]:
    """The value of a label."""
    good = _label_value(value)
    if good and len(value) <= 63:
        return OK
    out = ["must be no more than 63 bytes"] if len(value.encode("utf-8", "replace")) > 63 else []
    if not good:
        out.append(pattern_words(_LABEL_VALUE_WORDS, LABEL_VALUE, "MyValue", "my_value", "12345"))
    return out


def port_number(value: int) -> Sequence[str]:
    """A port that can be listened on."""
    return OK if 1 <= value <= 65535 else ["must be between 1 and 65535, inclusive"]


def user_id(value: int) -> Sequence[str]:
    """A Unix user or group id."""
    return OK if 0 <= value <= 0x7FFFFFFF else ["must be between 0 and 2147483647, inclusive"]


def in_range(value: int, low: int, high: int) -> Sequence[str]:
    """A number within two bounds that belong to it."""
    return OK if low <= value <= high else [f"must be between {low} and {high}, inclusive"]


def port_name(value: str) -> Sequence[str]:
    """The IANA name of a port."""
    out = []
    if len(value) > 15:
        out.append(too_long(15))
    if not re.fullmatch("[-a-z0-9]+", value):
        out.append("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)")
    if not re.search("[a-z]", value):
        out.append("must contain at least one letter (a-z)")
    if "--" in value:
        out.append("must not contain consecutive hyphens")
    if value.startswith("-") or value.endswith("-"):
        out.append("must not begin or end with a hyphen")
    return out


def _no_parent_folder(value: str) -> list[str]:
    if value in (".", ".."):
        return [f"must not be '{value}'"]
    return ["must not start with '..'"] if value.startswith("..") else []


def config_key(value: str) -> Sequence[str]:
    """A key of a ConfigMap or Secret."""
    out = [too_long(253)] if len(value.encode("utf-8", "replace")) > 253 else []
    if not _config_key(value):
        words = "a valid config key must consist of alphanumeric characters, '-', '_' or '.'"
        out.append(pattern_words(words, CONFIG_KEY, "key.name", "KEY_NAME", "key-name"))
    return out + _no_parent_folder(value)


def env_name(value: str) -> Sequence[str]:
    """The name of an environment variable: printable ASCII other than `=`."""
    out = [] if value else ["environment variable name must be non-empty"]
    if any(not " " <= c <= "~" or c == "=" for c in value):
        out.append("a valid environment variable name must consist only of printable ASCII characters other than '='")
    return out


def c_identifier(value: str) -> Sequence[str]:
    """An identifier as in C."""
    if _c_identifier(value):
        return OK
    words = (
        "a valid C identifier must start with alphabetic character or '_', followed by a string of alphanumeric "
        "characters or '_'"
    )
    return [pattern_words(words, C_IDENTIFIER, "my_name", "MY_NAME", "MyName")]


def header_name(value: str) -> Sequence[str]:
    """The name of an HTTP header."""
    if _header_name(value):
        return OK
    words = "a valid HTTP header must consist of alphanumeric characters or '-'"
    return [pattern_words(words, HEADER_NAME, "X-Header-Name")]


def percent(value: str) -> Sequence[str]:
    """A percentage."""
    if _percent(value):
        return OK
    words = "a valid percent string must be a numeric string followed by an ending '%'"
    return [pattern_words(words, PERCENT, "1%", "93%")]


def http_path(value: str) -> Sequence[str]:
    """What may stand in the path of a URL."""
    return OK if _http_path(value) else [pattern_words("Invalid path", HTTP_PATH)]


IP_WORDS = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"
CIDR_WORDS = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"


def _sloppy(text: str) -> str:
    """Upstream once accepted leading zeros in IPv4 addresses, and for old fields still does."""
    if ":" in text:
        return text
    return ".".join(p.lstrip("0") or "0" if p.isdigit() and p.isascii() else p for p in text.split("."))


def parse_ip(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """The address, or None if it is none."""
    try:
        return None if "%" in text else ipaddress.ip_address(_sloppy(text))
    except ValueError:
        return None


def parse_cidr(text: str) -> ipaddress.IPv4Interface | ipaddress.IPv6Interface | None:
    """Address and mask, or None if it is none."""
    address, slash, length = text.partition("/")
    if (
        not slash
        or not length.isdigit()
        or not length.isascii()
        or "%" in text
        or (len(length) > 1 and length[0] == "0")
    ):
        return None
    try:
        return ipaddress.ip_interface(f"{_sloppy(address)}/{length}")
    except ValueError:
        return None


def ip(value: str) -> Sequence[str]:
    """An address, in a form that every program reads alike.

    Source: KEP-4858 (StrictIPCIDRValidation). Differs: an object of old keeps no form that is refused now.
    """
    found = parse_ip(value)
    if found is None:
        return [IP_WORDS]
    if _sloppy(value) != value:
        return ["must not have leading 0s"]
    return ["must not be an IPv4-mapped IPv6 address"] if _mapped(found) else OK


def cidr(value: str) -> Sequence[str]:
    """A range, in a form that every program reads alike. Source: as `ip`."""
    address, _, length = value.partition("/")
    plain = length.lstrip("0") or length[-1:]
    found = parse_cidr(f"{address}/{plain}")
    if found is None:
        return [CIDR_WORDS]
    if plain != length or _sloppy(address) != address:
        return ["must not have leading 0s in IP or prefix length"]
    if _mapped(found.ip):
        return ["must not have an IPv4-mapped IPv6 address"]
    return OK if found.ip == found.network.network_address else ["must not have bits set beyond the prefix length"]


def _mapped(found: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    return found.version == 6 and found.ipv4_mapped is not None


def path_segment(value: str) -> Sequence[str]:
    """A name that can stand in a URL's path; the one rule that every kind keeps."""
    if value in (".", ".."):
        return [f"may not be '{value}'"]
    return [f"may not contain '{c}'" for c in "/%" if c in value]


def masked(prefix: str) -> str:
    """A name's beginning as it may be judged: the end that is still to be generated never matters."""
    return prefix[:-2] + "a" if len(prefix) > 1 and prefix.endswith("-") else prefix
