"""IP addresses and ranges of them. Source: `k8s.io/apiserver/pkg/cel/library/{ip,cidr}.go`.

An address is a map whose value is its text, a range one whose value is its text as bytes.
"""

from __future__ import annotations

import ipaddress
from typing import Any

from cel_expr_python import cel  # type: ignore[import-untyped]

from carob.api.cel.declaring import CIDR, IP, Kind, function, overloads_of, works

_TEXT = Kind.STRING
Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Interface | ipaddress.IPv6Interface


def _parsed_ip(text: str) -> Address:
    try:
        found = ipaddress.ip_address(text)
    except ValueError as error:
        raise ValueError(f"IP Address {text!r} parse error during conversion from string: {error}") from None
    if "%" in text:
        raise ValueError(f"IP address {text!r} with zone value is not allowed")
    if found.version == 6 and found.ipv4_mapped is not None:
        raise ValueError(f"IPv4-mapped IPv6 address {text!r} is not allowed")
    return found


def _parsed_cidr(text: str) -> Network:
    address, slash, length = text.partition("/")
    if not slash or not (length.isascii() and length.isdigit()):
        raise ValueError(f"network address parse error during conversion from string: {text!r} is no CIDR")
    _parsed_ip(address)
    try:
        return ipaddress.ip_interface(text)
    except ValueError as error:
        raise ValueError(f"network address parse error during conversion from string: {error}") from None


def _ip(value: Any) -> Any:
    """`ip("…")`, and the address of a range."""
    if isinstance(value, str):
        return _as_ip(_parsed_ip(value))
    return _as_ip(_network(value).ip)


def _as_ip(address: Address) -> dict[int, str]:
    return {address.version: str(address)}


def _as_cidr(network: Network) -> dict[int, bytes]:
    return {network.version: str(network).encode()}


def _address(value: Any) -> Address:
    return ipaddress.ip_address(next(iter(value.values())))


def _network(value: Any) -> Network:
    return ipaddress.ip_interface(next(iter(value.values())).decode())


def _contains_ip(value: Any, other: Any) -> bool:
    address = _parsed_ip(other) if isinstance(other, str) else _address(other)
    return address in _network(value).network


def _contains_cidr(value: Any, other: Any) -> bool:
    inner = (_parsed_cidr(other) if isinstance(other, str) else _network(other)).network
    outer = _network(value).network
    return inner.version == outer.version and inner.subnet_of(outer)  # type: ignore[arg-type]


def _text(value: Any) -> str:
    found = next(iter(value.values()))
    return str(found) if isinstance(found, str) else bytes(found).decode()


def _is(read: Any) -> Any:
    return (Kind.BOOL, [IP], lambda value: read(_address(value)))


def _is_global(address: Address) -> bool:
    # as Go means it: private ones are, too
    broadcast = str(address) == "255.255.255.255"
    return not (
        address.is_unspecified or address.is_loopback or address.is_multicast or address.is_link_local or broadcast
    )


def _is_link_local_multicast(address: Address) -> bool:
    if address.version == 4:
        return str(address).startswith("224.0.0.")
    return address.is_multicast and address.packed[1] & 0x0F == 2


FUNCTIONS = (
    cel.FunctionDecl(
        "ip",
        [
            *overloads_of("ip", (IP, [_TEXT], _ip), member=False),
            *overloads_of("ip", (IP, [CIDR], _ip), member=True),
        ],
    ),
    function("isIP", (Kind.BOOL, [_TEXT], works(_parsed_ip)), member=False),
    function("ip.isCanonical", (Kind.BOOL, [_TEXT], lambda text: str(_parsed_ip(text)) == text), member=False),
    function("family", (Kind.INT, [IP], lambda value: next(iter(value)))),
    function("isUnspecified", _is(lambda address: address.is_unspecified)),
    function("isLoopback", _is(lambda address: address.is_loopback)),
    function("isLinkLocalMulticast", _is(_is_link_local_multicast)),
    function("isLinkLocalUnicast", _is(lambda address: address.is_link_local)),
    function("isGlobalUnicast", _is(_is_global)),
    function("cidr", (CIDR, [_TEXT], lambda text: _as_cidr(_parsed_cidr(text))), member=False),
    function("isCIDR", (Kind.BOOL, [_TEXT], works(_parsed_cidr)), member=False),
    function("containsIP", (Kind.BOOL, [CIDR, _TEXT], _contains_ip), (Kind.BOOL, [CIDR, IP], _contains_ip)),
    function("containsCIDR", (Kind.BOOL, [CIDR, _TEXT], _contains_cidr), (Kind.BOOL, [CIDR, CIDR], _contains_cidr)),
    function("masked", (CIDR, [CIDR], lambda value: _as_cidr(ipaddress.ip_interface(str(_network(value).network))))),
    function("prefixLength", (Kind.INT, [CIDR], lambda value: _network(value).network.prefixlen)),
)
OVERLOADS = (
    # of both kinds
    function("string", (_TEXT, [Kind.Map(Kind.UINT, Kind.DYN)], _text), member=False),
)
