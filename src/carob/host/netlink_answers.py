"""What rtnetlink answers: interfaces, addresses and routes, decoded.

Pure. Source: rtnetlink(7), linux/rtnetlink.h, linux/if_link.h.
"""

from __future__ import annotations

import socket
import struct

from msgspec import Struct

IFF_UP = 1
IFLA_ADDRESS, IFLA_IFNAME, IFLA_MTU, IFLA_LINKINFO, IFLA_IFALIAS = 1, 3, 4, 18, 20
IFLA_INFO_KIND = 1
IFA_ADDRESS, IFA_LOCAL = 1, 2
RTA_DST, RTA_OIF, RTA_GATEWAY, RTA_TABLE = 1, 4, 5, 15
RT_TABLE_MAIN, RTN_UNICAST = 254, 1
ANYWHERE = {int(socket.AF_INET): "0.0.0.0", int(socket.AF_INET6): "::"}
"""The destination of a default route."""


class Link(Struct, frozen=True):
    """A network interface. `mac` is text, such as `0a:58:0a:2a:00:01`."""

    index: int
    name: str
    up: bool
    mtu: int = 0
    mac: str = ""
    alias: str = ""
    kind: str = ""


class Address(Struct, frozen=True):
    """An address of an interface."""

    index: int
    address: str
    prefix_length: int


class Route(Struct, frozen=True):
    """A route of either family; `index` 0: no interface (unreachable)."""

    destination: str
    prefix_length: int
    index: int
    gateway: str = ""
    table: int = RT_TABLE_MAIN
    protocol: int = 0
    kind: int = RTN_UNICAST


def attributes_of(body: bytes, offset: int) -> dict[int, bytes]:
    """The attributes that begin at `offset`, by kind; of several of one kind the last."""
    found: dict[int, bytes] = {}
    while offset + 4 <= len(body):
        length, kind = struct.unpack_from("=HH", body, offset)
        if length < 4:
            break
        found[kind & 0x3FFF] = body[offset + 4 : offset + length]
        offset += (length + 3) & ~3
    return found


def text_of(value: bytes) -> str:
    """An attribute's text."""
    return value.rstrip(b"\0").decode("utf-8", "replace")


def decode_link(body: bytes) -> Link:
    """The body of RTM_NEWLINK."""
    _, _, index, flags, _ = struct.unpack_from("=BxHiII", body)
    attributes = attributes_of(body, 16)
    info = attributes_of(attributes.get(IFLA_LINKINFO, b""), 0)
    return Link(
        index,
        text_of(attributes.get(IFLA_IFNAME, b"")),
        bool(flags & IFF_UP),
        struct.unpack("=I", attributes[IFLA_MTU])[0] if IFLA_MTU in attributes else 0,
        attributes.get(IFLA_ADDRESS, b"").hex(":"),
        text_of(attributes.get(IFLA_IFALIAS, b"")),
        text_of(info.get(IFLA_INFO_KIND, b"")),
    )


def decode_address(body: bytes) -> Address:
    """The body of RTM_NEWADDR."""
    family, prefix_length, _, _, index = struct.unpack_from("=BBBBi", body)
    attributes = attributes_of(body, 8)
    packed = attributes.get(IFA_LOCAL) or attributes[IFA_ADDRESS]
    return Address(index, socket.inet_ntop(family, packed), prefix_length)


def decode_route(body: bytes) -> Route:
    """The body of RTM_NEWROUTE."""
    family, prefix_length, _, _, table, protocol, _, kind, _ = struct.unpack_from("=BBBBBBBBI", body)
    attributes = attributes_of(body, 12)
    if RTA_TABLE in attributes:
        (table,) = struct.unpack("=I", attributes[RTA_TABLE])
    return Route(
        socket.inet_ntop(family, attributes[RTA_DST]) if RTA_DST in attributes else ANYWHERE[family],
        prefix_length,
        struct.unpack("=I", attributes[RTA_OIF])[0] if RTA_OIF in attributes else 0,
        socket.inet_ntop(family, attributes[RTA_GATEWAY]) if RTA_GATEWAY in attributes else "",
        table,
        protocol,
        kind,
    )
