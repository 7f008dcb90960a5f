"""The kernel's table of connections: forget those that lead to where nobody is any more.

An address translation is decided by a connection's first packet. A UDP "connection" lives as long as its client sends,
so without this a client would go on talking to an endpoint that has gone.

A socket belongs to the network namespace of the thread that made it. Every method may be called from any thread.
May touch: one AF_NETLINK socket. Source: linux/netfilter/nfnetlink_conntrack.h.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
import threading
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

NETLINK_NETFILTER = 12
_GET, _DELETE = (1 << 8) | 1, (1 << 8) | 2
_NLM_F_REQUEST, _NLM_F_ACK, _NLM_F_DUMP = 0x1, 0x4, 0x300
_NLMSG_ERROR, _NLMSG_DONE = 2, 3
_ORIGINAL, _REPLY = 1, 2
_TUPLE_IP, _TUPLE_PROTOCOL = 1, 2
_IP_ADDRESSES = {socket.AF_INET: (1, 2), socket.AF_INET6: (3, 4)}
"""The attributes of source and destination."""
_PROTOCOL_NUMBER, _PROTOCOL_SOURCE, _PROTOCOL_DESTINATION = 1, 2, 3
_TUPLE_FILTER, _FILTER_ORIGINAL, _FILTER_BY_PROTOCOL = 25, 1, 1 << 3
_KIND_MASK, _NESTED = 0x3FFF, 0x8000
_RECEIVE_BYTES = 1 << 17


class Flow(NamedTuple):
    """One connection: where its client sent to, and who answers. `protocol` is the IP protocol's number."""

    protocol: int
    address: str
    port: int
    answers_from: str
    answers_port: int


class Flows(Protocol):
    """Forgets connections. Raises: OSError."""

    def forget(self, stale: Callable[[Flow], bool]) -> int:
        """Forget every UDP flow that `stale` names; how many."""
        ...


class Conntrack:
    """Flows of the namespace of the thread that makes it. Raises: OSError when there can be no socket."""

    def __init__(self, *, dual: bool = False) -> None:
        """`dual`: also those of IPv6."""
        self._families = (socket.AF_INET, socket.AF_INET6) if dual else (socket.AF_INET,)
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, NETLINK_NETFILTER)
        self._socket.bind((0, 0))
        self._lock = threading.Lock()
        self._sequence = 0

    def close(self) -> None:
        """Give back the descriptor; idempotent."""
        self._socket.close()

    def forget(self, stale: Callable[[Flow], bool]) -> int:
        """See `Flows`."""
        with self._lock:
            doomed = []
            for family in self._families:
                for body in self._ask(_GET, _NLM_F_DUMP, family, _ONLY_UDP):
                    found = _decode(body, family)
                    if found is not None and found[0].protocol == socket.IPPROTO_UDP and stale(found[0]):
                        doomed.append((family, found[1]))
            for family, original in doomed:
                try:
                    list(self._ask(_DELETE, _NLM_F_ACK, family, original))
                except OSError as error:
                    # it ended by itself in the meantime
                    if error.errno != errno.ENOENT:
                        raise
            return len(doomed)

    def _ask(self, kind: int, flags: int, family: int, body: bytes) -> Iterator[bytes]:
        self._sequence += 1
        head = struct.pack("=IHHII", 20 + len(body), kind, flags | _NLM_F_REQUEST, self._sequence, 0)
        self._socket.send(head + struct.pack("=BBH", family, 0, 0) + body)
        while True:
            data = self._socket.recv(_RECEIVE_BYTES)
            offset = 0
            while offset + 16 <= len(data):
                length, answer, _, sequence, _ = struct.unpack_from("=IHHII", data, offset)
                content = data[offset + 16 : offset + length]
                offset += (length + 3) & ~3
                if sequence != self._sequence:
                    continue
                if answer == _NLMSG_DONE:
                    return
                if answer == _NLMSG_ERROR:
                    (code,) = struct.unpack_from("=i", content)
                    if code:
                        raise OSError(-code, f"conntrack: {os.strerror(-code)}")
                    return
                yield content[4:]


def _attribute(kind: int, value: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(value), kind) + value + b"\0" * (-len(value) % 4)


# a busy node has a hundred thousand TCP connections: since Linux 5.8 the kernel leaves them out, before it tells all
_UDP = _attribute(_TUPLE_PROTOCOL | _NESTED, _attribute(_PROTOCOL_NUMBER, bytes([socket.IPPROTO_UDP])))
_BY_PROTOCOL = _attribute(_FILTER_ORIGINAL, struct.pack("=I", _FILTER_BY_PROTOCOL))
_ONLY_UDP = _attribute(_ORIGINAL | _NESTED, _UDP) + _attribute(_TUPLE_FILTER | _NESTED, _BY_PROTOCOL)


def _attributes(data: bytes) -> dict[int, bytes]:
    found = {}
    offset = 0
    while offset + 4 <= len(data):
        length, kind = struct.unpack_from("=HH", data, offset)
        if length < 4:
            break
        found[kind & _KIND_MASK] = data[offset + 4 : offset + length]
        offset += (length + 3) & ~3
    return found


def _decode(body: bytes, family: socket.AddressFamily) -> tuple[Flow, bytes] | None:
    """A flow, and the attribute that names it when it is to be deleted; None for what has no ports."""
    parts = _attributes(body)
    if _ORIGINAL not in parts or _REPLY not in parts:
        return None
    sent, answered = _tuple(parts[_ORIGINAL], family), _tuple(parts[_REPLY], family)
    if sent is None or answered is None:
        return None
    flow = Flow(sent[0], sent[2], sent[4], answered[1], answered[3])
    original = parts[_ORIGINAL]
    return flow, struct.pack("=HH", 4 + len(original), _ORIGINAL | 0x8000) + original + b"\0" * (-len(original) % 4)


def _tuple(data: bytes, family: socket.AddressFamily) -> tuple[int, str, str, int, int] | None:
    """Protocol, source and destination address, source and destination port."""
    parts = _attributes(data)
    ip, protocol = _attributes(parts.get(_TUPLE_IP, b"")), _attributes(parts.get(_TUPLE_PROTOCOL, b""))
    ends = _IP_ADDRESSES[family]
    if ends[0] not in ip or _PROTOCOL_DESTINATION not in protocol:
        return None
    ports = struct.unpack("!HH", protocol[_PROTOCOL_SOURCE][:2] + protocol[_PROTOCOL_DESTINATION][:2])
    addresses = [socket.inet_ntop(family, ip[kind]) for kind in ends]
    return protocol[_PROTOCOL_NUMBER][0], addresses[0], addresses[1], ports[0], ports[1]
