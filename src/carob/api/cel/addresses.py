"""IP addresses and ranges of them. Source: `k8s.io/apiserver/pkg/cel/library/{ip,cidr}.go`."""

from __future__ import annotations

import ipaddress
from typing import Any

from carob.api.cel.library import costs, function, size, traversed, works
from carob.api.cel.values import Address, AddressRange

_IP = ipaddress.IPv4Address | ipaddress.IPv6Address
_Interface = ipaddress.IPv4Interface | ipaddress.IPv6Interface


def _parsed_ip(text: str) -> _IP:
    try:
        found = ipaddress.ip_address(text)
    except ValueError as error:
        raise ValueError(f"IP Address {text!r} parse error during conversion from string: {error}") from None
    if "%" in text:
        raise ValueError(f"IP address {text!r} with zone value is not allowed")
    if found.version == 6 and found.ipv4_mapped is not None:
        raise ValueError(f"IPv4-mapped IPv6 address {text!r} is not allowed")
    return found


def _parsed_cidr(text: str) -> _Interface:
    address, slash, length = text.partition("/")
    if not slash or not (length.isascii() and length.isdigit()):
        raise ValueError(f"network address parse error during conversion from string: {text!r} is no CIDR")
    _parsed_ip(address)
    try:
        return ipaddress.ip_interface(text)
    except ValueError as error:
        raise ValueError(f"network address parse error during conversion from string: {error}") from None


def _contains_ip(value: AddressRange, address: _IP) -> bool:
    return address in value.value.network


def _contains_cidr(value: AddressRange, other: _Interface) -> bool:
    inner, outer = other.network, value.value.network
    return inner.version == outer.version and inner.subnet_of(outer)  # type: ignore[arg-type]


def _is_global(address: _IP) -> bool:
    # as Go means it: private ones are, too
    broadcast = str(address) == "255.255.255.255"
    return not (
        address.is_unspecified or address.is_loopback or address.is_multicast or address.is_link_local or broadcast
    )


def _is_link_local_multicast(address: _IP) -> bool:
    if address.version == 4:
        return str(address).startswith("224.0.0.")
    return address.is_multicast and address.packed[1] & 0x0F == 2


def _is(name: str, read: Any) -> None:
    function(name, ((Address,), lambda value: read(value.value)))


function("ip", ((str,), lambda text: Address(_parsed_ip(text))), ((AddressRange,), lambda v: Address(v.value.ip)))
function("isIP", ((str,), works(_parsed_ip)))
function("ip.isCanonical", ((str,), lambda text: str(_parsed_ip(text)) == text))
function("family", ((Address,), lambda value: value.value.version))
_is("isUnspecified", lambda address: address.is_unspecified)
_is("isLoopback", lambda address: address.is_loopback)
_is("isLinkLocalMulticast", _is_link_local_multicast)
_is("isLinkLocalUnicast", lambda address: address.is_link_local)
_is("isGlobalUnicast", _is_global)
function("cidr", ((str,), lambda text: AddressRange(_parsed_cidr(text))))
function("isCIDR", ((str,), works(_parsed_cidr)))
function(
    "containsIP",
    ((AddressRange, str), lambda value, text: _contains_ip(value, _parsed_ip(text))),
    ((AddressRange, Address), lambda value, other: _contains_ip(value, other.value)),
)
function(
    "containsCIDR",
    ((AddressRange, str), lambda value, text: _contains_cidr(value, _parsed_cidr(text))),
    ((AddressRange, AddressRange), lambda value, other: _contains_cidr(value, other.value)),
)
function("masked", ((AddressRange,), lambda v: AddressRange(ipaddress.ip_interface(str(v.value.network)))))
function("prefixLength", ((AddressRange,), lambda value: value.value.network.prefixlen))
function("string", ((Address,), lambda v: str(v.value)), ((AddressRange,), lambda v: str(v.value)))


def _contained_cost(arguments: tuple[Any, ...], beside: int) -> int:
    bits = arguments[0].value.version == 4
    bytes_ = 4 if bits else 16
    parsed = traversed(size(arguments[1])) if arguments[1].__class__ is str else 0
    return traversed(2 * bytes_) + parsed + (traversed(bytes_) + 1 if beside else 0)


costs("cidr isIP isCIDR", lambda args: traversed(size(args[0])))
costs("ip", lambda args: traversed(size(args[0])) if args[0].__class__ is str else 1)
costs("ip.isCanonical", lambda args: traversed(size(args[0]), 2))
costs("containsIP", lambda args: _contained_cost(args, 0))
costs("containsCIDR", lambda args: _contained_cost(args, 1))
