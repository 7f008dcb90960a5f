"""Raw rtnetlink: links, addresses, routes and neighbours, as cheap as one system call a batch.

A general library costs about eight milliseconds for what a Pod needs; these messages cost less than one. Only what
carob uses is here; whatever is rare may go through pyroute2 instead.

A socket belongs to the network namespace of the thread that *made* it, whatever thread uses it later. That is how the
thread inside a new Pod's namespace also changes the node's side. Every method may be called from any thread.

May touch: AF_NETLINK sockets. Invariant: an answer is always read completely before the next message is sent.
Source: rtnetlink(7), linux/rtnetlink.h, linux/if_link.h.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
import threading
from typing import TYPE_CHECKING

from msgspec import Struct

from carob.host.netlink_answers import (
    IFA_ADDRESS,
    IFA_LOCAL,
    IFF_UP,
    IFLA_ADDRESS,
    IFLA_IFALIAS,
    IFLA_IFNAME,
    IFLA_INFO_KIND,
    IFLA_LINKINFO,
    IFLA_MTU,
    RT_TABLE_MAIN,
    RTA_DST,
    RTA_GATEWAY,
    RTA_OIF,
    RTN_UNICAST,
    Address,
    Link,
    Route,
    attributes_of,
    decode_address,
    decode_link,
    decode_route,
    text_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from types import TracebackType
    from typing import Self

NLM_F_REQUEST, NLM_F_ACK, NLM_F_ROOT_MATCH = 0x1, 0x4, 0x300
NLM_F_REPLACE, NLM_F_EXCL, NLM_F_CREATE = 0x100, 0x200, 0x400
NLMSG_ERROR, NLMSG_DONE = 2, 3
NLM_F_CAPPED, NLM_F_ACK_TLVS = 0x100, 0x200
SOL_NETLINK, NETLINK_EXT_ACK = 270, 11

RTM_NEWLINK, RTM_DELLINK, RTM_GETLINK = 16, 17, 18
RTM_NEWADDR, RTM_DELADDR, RTM_GETADDR = 20, 21, 22
RTM_NEWROUTE, RTM_DELROUTE, RTM_GETROUTE = 24, 25, 26
RTM_NEWNEIGH = 28
RTM_NEWQDISC = 36

IFLA_AF_SPEC, IFLA_NET_NS_FD = 26, 28
IFLA_INFO_DATA, VETH_INFO_PEER, IFLA_INET_CONF = 2, 1, 1
IFLA_MASTER = 10
IFLA_GSO_MAX_SEGS, IFLA_GSO_IPV4_MAX_SIZE = 40, 63
IFLA_VXLAN_ID, IFLA_VXLAN_LOCAL, IFLA_VXLAN_LEARNING, IFLA_VXLAN_PORT = 1, 4, 7, 15
RTA_PRIORITY, RTA_PREFSRC, RTA_METRICS = 6, 7, 8
RTAX_MTU = 2
NDA_DST, NDA_LLADDR = 1, 2
RTN_UNREACHABLE, RTNH_F_ONLINK = 7, 4
SCOPE_UNIVERSE, SCOPE_LINK = 0, 253
IFA_F_NODAD = 0x02
NUD_NOARP, NUD_PERMANENT, NTF_SELF = 0x40, 0x80, 0x02
TCA_KIND, TCA_OPTIONS = 1, 2
TCA_TBF_PARMS, TCA_TBF_RATE64, TCA_TBF_BURST = 1, 4, 6
TC_H_ROOT, LINKLAYER_ETHERNET = 0xFFFFFFFF, 1
LARGEST_RATE32 = 0xFFFFFFFF
LONGEST_INTERFACE_NAME = 15
LONGEST_ALIAS = 255

# Per-interface IPv4 settings, by the names of /proc/sys/net/ipv4/conf/<interface>/. Source: linux/ip.h IPV4_DEVCONF_*.
IPV4_SETTINGS = {"forwarding": 1, "rp_filter": 8, "arp_ignore": 19, "accept_local": 23, "route_localnet": 26}

_RECEIVE_BYTES = 1 << 17


class NetlinkError(OSError):
    """The kernel refused a message; the text names the message and gives the kernel's own explanation."""


class Message(Struct, frozen=True):
    """One request, ready to be sent. `what` says in words what it asks for."""

    what: str
    kind: int
    flags: int
    body: bytes


def _attribute(kind: int, value: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(value), kind) + value + b"\0" * (-len(value) % 4)


def _text(kind: int, value: str) -> bytes:
    return _attribute(kind, value.encode() + b"\0")


def _number(kind: int, value: int) -> bytes:
    return _attribute(kind, struct.pack("=I", value))


def _ifinfo(index: int = 0, flags: int = 0, change: int = 0) -> bytes:
    return struct.pack("=BxHiII", socket.AF_UNSPEC, 0, index, flags, change)


def _family(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def _packed(address: str) -> bytes:
    return socket.inet_pton(_family(address), address)


def _mac(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", ""))


def add_veth(
    name: str,
    mac: str,
    peer_name: str,
    peer_mac: str,
    peer_namespace: int | None = None,
    mtu: int = 0,
    *,
    batch_bytes: int = 0,
    peer_segments: int = 0,
) -> Message:
    """A pair of interfaces: `name` here, `peer_name` in the namespace behind the descriptor `peer_namespace`.

    `mtu` 0 leaves the kernel's choice (1500). TCP segments that are to go the same way travel together: at most
    `batch_bytes` of them (0: 64 KiB), and from the peer's side at most `peer_segments` (0: any number). Kernels that do
    not know such a limit (before 6.3) pass over it. The message fails when one of the names is taken.
    """
    size = _number(IFLA_MTU, mtu) if mtu else b""
    if batch_bytes:
        size += _number(IFLA_GSO_IPV4_MAX_SIZE, batch_bytes)
    peer = _ifinfo() + _text(IFLA_IFNAME, peer_name) + _attribute(IFLA_ADDRESS, _mac(peer_mac)) + size
    if peer_segments:
        peer += _number(IFLA_GSO_MAX_SEGS, peer_segments)
    if peer_namespace is not None:
        peer += _number(IFLA_NET_NS_FD, peer_namespace)
    info = _text(IFLA_INFO_KIND, "veth") + _attribute(IFLA_INFO_DATA, _attribute(VETH_INFO_PEER, peer))
    body = _ifinfo() + _text(IFLA_IFNAME, name) + _attribute(IFLA_ADDRESS, _mac(mac)) + size
    body += _attribute(IFLA_LINKINFO, info)
    return Message(f"add veth {name} with peer {peer_name}", RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, body)


def add_bridge(name: str, alias: str = "") -> Message:
    """A switch between interfaces. The message fails when the name is taken."""
    body = _ifinfo() + _text(IFLA_IFNAME, name) + (_attribute(IFLA_IFALIAS, alias.encode()) if alias else b"")
    body += _attribute(IFLA_LINKINFO, _text(IFLA_INFO_KIND, "bridge"))
    return Message(f"add bridge {name}", RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, body)


def add_vxlan(name: str, mac: str, number: int, local: str, port: int, mtu: int) -> Message:
    """A tunnel end that learns nothing by itself: `replace_forwarding` says who is behind which machine."""
    data = _number(IFLA_VXLAN_ID, number) + _attribute(IFLA_VXLAN_LOCAL, socket.inet_aton(local))
    data += _attribute(IFLA_VXLAN_PORT, struct.pack("!H", port)) + _attribute(IFLA_VXLAN_LEARNING, b"\0")
    info = _text(IFLA_INFO_KIND, "vxlan") + _attribute(IFLA_INFO_DATA, data)
    body = _ifinfo() + _text(IFLA_IFNAME, name) + _attribute(IFLA_ADDRESS, _mac(mac)) + _number(IFLA_MTU, mtu)
    body += _attribute(IFLA_LINKINFO, info)
    return Message(f"add vxlan {name}", RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, body)


def set_master(index: int, master: int) -> Message:
    """Plug an interface into a bridge."""
    body = _ifinfo(index) + _number(IFLA_MASTER, master)
    return Message(f"plug interface {index} into {master}", RTM_NEWLINK, 0, body)


def set_down(index: int) -> Message:
    """Switch an interface off."""
    return Message(f"set interface {index} down", RTM_NEWLINK, 0, _ifinfo(index, 0, IFF_UP))


def set_up(index: int, *, alias: str = "", ipv4: Mapping[str, int] | None = None) -> Message:
    """Switch an interface on; also set its alias and its IPv4 settings (names as in `IPV4_SETTINGS`)."""
    body = _ifinfo(index, IFF_UP, IFF_UP)
    if alias:
        body += _attribute(IFLA_IFALIAS, alias.encode()[:LONGEST_ALIAS])
    if ipv4:
        settings = b"".join(_number(IPV4_SETTINGS[name], value) for name, value in ipv4.items())
        body += _attribute(IFLA_AF_SPEC, _attribute(socket.AF_INET, _attribute(IFLA_INET_CONF, settings)))
    return Message(f"set interface {index} up", RTM_NEWLINK, 0, body)


def delete_link(index: int) -> Message:
    """Remove an interface (of a veth pair: both). Costs tens of milliseconds; never for a Pod that ends."""
    return Message(f"delete interface {index}", RTM_DELLINK, 0, _ifinfo(index))


def limit_rate(index: int, rate_bytes: int, burst_bytes: int, queue_bytes: int) -> Message:
    """Let an interface send at most `rate_bytes` a second, `burst_bytes` at once; what waits beyond `queue_bytes` is lost.

    Replaces whatever queueing the interface has. Source: linux/pkt_sched.h (tc_tbf_qopt), net/sched/sch_tbf.c.
    """
    rate = struct.pack("=BBHhHI", 0, LINKLAYER_ETHERNET, 0, 0, 0, min(rate_bytes, LARGEST_RATE32))
    # rate, no peak rate, queue, and the bucket in ticks, which the attribute in bytes below overrules
    options = _attribute(TCA_TBF_PARMS, rate + bytes(len(rate)) + struct.pack("=III", queue_bytes, 0, 0))
    if rate_bytes > LARGEST_RATE32:
        options += _attribute(TCA_TBF_RATE64, struct.pack("=Q", rate_bytes))
    options += _number(TCA_TBF_BURST, burst_bytes)
    body = struct.pack("=BxxxiIII", socket.AF_UNSPEC, index, 0, TC_H_ROOT, 0)
    body += _text(TCA_KIND, "tbf") + _attribute(TCA_OPTIONS, options)
    return Message(f"limit interface {index} to {rate_bytes} bytes/s", RTM_NEWQDISC, NLM_F_CREATE | NLM_F_REPLACE, body)


def _address_body(index: int, address: str, prefix_length: int) -> bytes:
    packed, family = _packed(address), _family(address)
    # we know that nobody else has it: it is of use at once
    flags = IFA_F_NODAD if family == socket.AF_INET6 else 0
    head = struct.pack("=BBBBi", family, prefix_length, flags, SCOPE_UNIVERSE, index)
    return head + _attribute(IFA_LOCAL, packed) + _attribute(IFA_ADDRESS, packed)


def replace_address(index: int, address: str, prefix_length: int) -> Message:
    """Give an interface an address; nothing happens when it has it already."""
    what = f"add address {address}/{prefix_length} to interface {index}"
    return Message(what, RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE, _address_body(index, address, prefix_length))


def delete_address(index: int, address: str, prefix_length: int) -> Message:
    """Take an address from an interface."""
    what = f"delete address {address}/{prefix_length} from interface {index}"
    return Message(what, RTM_DELADDR, 0, _address_body(index, address, prefix_length))


def replace_route(
    destination: str,
    prefix_length: int,
    *,
    index: int = 0,
    gateway: str = "",
    source: str = "",
    onlink: bool = False,
    protocol: int = 4,
    unreachable: bool = False,
    metric: int = 0,
    mtu: int = 0,
) -> Message:
    """Route a range through an interface, replacing the route of this metric that the range has.

    `onlink`: the gateway is reached through the interface although no route says so. `source` is the address that
    local senders get. `protocol` marks who made the route (4: static). `unreachable`: refuse instead, at once. Of several
    routes of one range the lowest `metric` counts. `mtu`: the largest packet on this way; 0: what the interface takes.
    """
    kind, scope = (RTN_UNREACHABLE, SCOPE_UNIVERSE) if unreachable else (RTN_UNICAST, SCOPE_LINK)
    family = _family(destination)
    body = _route_head(family, prefix_length, protocol, SCOPE_UNIVERSE if gateway else scope, kind, onlink)
    if prefix_length:
        body += _attribute(RTA_DST, _packed(destination))
    if index:
        body += _number(RTA_OIF, index)
    if gateway:
        body += _attribute(RTA_GATEWAY, _packed(gateway))
    if source:
        body += _attribute(RTA_PREFSRC, _packed(source))
    if metric:
        body += _number(RTA_PRIORITY, metric)
    if mtu:
        body += _attribute(RTA_METRICS, _number(RTAX_MTU, mtu))
    what = f"route {destination}/{prefix_length}" + (f" via {gateway}" if gateway else "")
    return Message(what, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, body)


def delete_route(route: Route) -> Message:
    """Remove exactly this route."""
    # scope "nowhere" matches a route of any scope
    body = _route_head(_family(route.destination), route.prefix_length, route.protocol, 255, route.kind, False)
    if route.prefix_length:
        body += _attribute(RTA_DST, _packed(route.destination))
    if route.index:
        body += _number(RTA_OIF, route.index)
    return Message(f"delete route {route.destination}/{route.prefix_length}", RTM_DELROUTE, 0, body)


def _route_head(family: int, prefix_length: int, protocol: int, scope: int, kind: int, onlink: bool) -> bytes:
    flags = RTNH_F_ONLINK if onlink else 0
    return struct.pack("=BBBBBBBBI", family, prefix_length, 0, 0, RT_TABLE_MAIN, protocol, scope, kind, flags)


def replace_neighbour(index: int, address: str, mac: str) -> Message:
    """Say for good which hardware address has an address, so that nobody needs to ask by ARP or neighbour discovery."""
    body = struct.pack("=BxxxiHBB", _family(address), index, NUD_PERMANENT, 0, RTN_UNICAST)
    body += _attribute(NDA_DST, _packed(address)) + _attribute(NDA_LLADDR, _mac(mac))
    what = f"set neighbour {address} at {mac} on interface {index}"
    return Message(what, RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE, body)


def replace_forwarding(index: int, mac: str, machine: str) -> Message:
    """Say behind which machine a VXLAN interface finds a hardware address."""
    body = struct.pack("=BxxxiHBB", socket.AF_BRIDGE, index, NUD_PERMANENT | NUD_NOARP, NTF_SELF, 0)
    body += _attribute(NDA_DST, socket.inet_aton(machine)) + _attribute(NDA_LLADDR, _mac(mac))
    return Message(f"forward {mac} to {machine}", RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE, body)


class Netlink:
    """A socket into the network namespace that its maker was in.

    Raises: NetlinkError for what the kernel refuses, OSError when there can be no socket.
    """

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE)
        try:
            self._socket.bind((0, 0))
            self._socket.setsockopt(SOL_NETLINK, NETLINK_EXT_ACK, 1)
        except BaseException:
            self._socket.close()
            raise
        self._lock = threading.Lock()
        self._sequence = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give back the descriptor; idempotent."""
        self._socket.close()

    def send(self, *messages: Message) -> None:
        """Do all of these in one system call, in order; the first refusal is raised, what follows it is still tried.

        Raises: NetlinkError.
        """
        if not messages:
            return
        with self._lock:
            first = self._sequence + 1
            data = b"".join(self._encoded(message, NLM_F_ACK) for message in messages)
            self._socket.send(data)
            refused: NetlinkError | None = None
            waiting = len(messages)
            while waiting:
                for kind, flags, sequence, body in self._receive():
                    if kind != NLMSG_ERROR or sequence < first:
                        continue
                    waiting -= 1
                    refused = refused or _refusal(messages[sequence - first].what, flags, body)
        if refused is not None:
            raise refused

    def link(self, name: str) -> Link | None:
        """The interface of this name, or None."""
        try:
            found = self._ask(Message(f"get {name}", RTM_GETLINK, 0, _ifinfo() + _text(IFLA_IFNAME, name)), RTM_NEWLINK)
        except NetlinkError as error:
            if error.errno == errno.ENODEV:
                return None
            raise
        return decode_link(found[0])

    def links(self) -> list[Link]:
        """Every interface of the namespace."""
        return [decode_link(body) for body in self._dump("list interfaces", RTM_GETLINK, RTM_NEWLINK, _ifinfo())]

    def addresses(self, family: int = socket.AF_INET) -> list[Address]:
        """Every address of a family that the namespace has."""
        bodies = self._dump("list addresses", RTM_GETADDR, RTM_NEWADDR, struct.pack("=BBBBi", family, 0, 0, 0, 0))
        return [decode_address(body) for body in bodies]

    def routes(self, family: int = socket.AF_INET) -> list[Route]:
        """Every route of a family in the main table."""
        head = struct.pack("=BBBBBBBBI", family, 0, 0, 0, 0, 0, 0, 0, 0)
        routes = [decode_route(body) for body in self._dump("list routes", RTM_GETROUTE, RTM_NEWROUTE, head)]
        return [route for route in routes if route.table == RT_TABLE_MAIN]

    def way_to(self, address: str) -> Route:
        """The route that a packet of ours to this address takes. Raises: NetlinkError when there is none."""
        packed = _packed(address)
        body = struct.pack("=BBBBBBBBI", _family(address), len(packed) * 8, 0, 0, 0, 0, 0, 0, 0)
        body += _attribute(RTA_DST, packed)
        return decode_route(self._ask(Message(f"find a way to {address}", RTM_GETROUTE, 0, body), RTM_NEWROUTE)[0])

    def _dump(self, what: str, kind: int, answer: int, body: bytes) -> list[bytes]:
        return self._ask(Message(what, kind, NLM_F_ROOT_MATCH, body), answer)

    def _ask(self, message: Message, answer: int) -> list[bytes]:
        with self._lock:
            acknowledge = 0 if message.flags & NLM_F_ROOT_MATCH else NLM_F_ACK
            self._socket.send(self._encoded(message, acknowledge))
            found: list[bytes] = []
            while True:
                for kind, flags, sequence, body in self._receive():
                    if sequence != self._sequence:
                        continue
                    if kind == NLMSG_DONE:
                        return found
                    if kind == NLMSG_ERROR:
                        refused = _refusal(message.what, flags, body)
                        if refused is not None:
                            raise refused
                        return found
                    if kind == answer:
                        found.append(body)

    def _encoded(self, message: Message, flags: int) -> bytes:
        self._sequence += 1
        head = struct.pack(
            "=IHHII", 16 + len(message.body), message.kind, message.flags | flags | NLM_F_REQUEST, self._sequence, 0
        )
        return head + message.body

    def _receive(self) -> Iterator[tuple[int, int, int, bytes]]:
        data = self._socket.recv(_RECEIVE_BYTES)
        offset = 0
        while offset + 16 <= len(data):
            length, kind, flags, sequence, _ = struct.unpack_from("=IHHII", data, offset)
            yield kind, flags, sequence, data[offset + 16 : offset + length]
            offset += (length + 3) & ~3


def _refusal(what: str, flags: int, body: bytes) -> NetlinkError | None:
    (code,) = struct.unpack_from("=i", body)
    if code == 0:
        return None
    text = os.strerror(-code)
    if flags & NLM_F_ACK_TLVS:
        # behind the error code stands our own message: its header alone, or all of it
        (echoed,) = struct.unpack_from("=I", body, 4)
        start = 4 + (16 if flags & NLM_F_CAPPED else (echoed + 3) & ~3)
        explained = attributes_of(body, start).get(1)
        if explained:
            text += f" ({text_of(explained)})"
    return NetlinkError(-code, f"cannot {what}: {text}")
