"""DNS packets: questions read, answers written, by dnslib.

Pure, except that it draws no ids: who forwards does. Limits: 1232 bytes over UDP (DNS flag day 2020), 512 for who does
not speak EDNS; what does not fit is cut and marked, and the client asks again over TCP.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from carob.network.dns.zone import TTL_SECONDS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from carob.network.dns.zone import Answer, Record

MAX_UDP_BYTES, PLAIN_UDP_BYTES, MAX_TCP_BYTES = 1232, 512, 65535
FORMAT_ERROR, SERVER_FAILURE, NO_SUCH_NAME, NOT_IMPLEMENTED, REFUSED = 1, 2, 3, 4, 5


class Question(NamedTuple):
    """What a client asks. `name` is lower case without the last dot; `room_bytes` is what it takes over UDP."""

    name: str
    kind: str
    room_bytes: int
    message: Any
    """dnslib's DNSRecord."""


def read_question(data: bytes) -> Question | bytes | None:
    """The question; the refusal to send for one that cannot be answered; None for what deserves no answer."""
    import dnslib

    if len(data) < 12 or data[2] & 0x80:
        return None
    try:
        message = dnslib.DNSRecord.parse(data)
    except (dnslib.DNSError, ValueError, IndexError, UnicodeError):
        return data[:2] + bytes([0x80 | (data[2] & 0x79), FORMAT_ERROR]) + bytes(8)
    if message.header.opcode != 0:
        return refusal(message, NOT_IMPLEMENTED)
    if len(message.questions) != 1:
        return refusal(message, FORMAT_ERROR)
    room = PLAIN_UDP_BYTES
    for extra in message.ar:
        if extra.rtype == dnslib.QTYPE.OPT:
            room = max(PLAIN_UDP_BYTES, min(extra.rclass, MAX_UDP_BYTES))
    question = message.questions[0]
    if question.qclass != dnslib.CLASS.IN:
        return refusal(message, REFUSED)
    kind = str(dnslib.QTYPE.get(question.qtype, f"TYPE{question.qtype}"))
    return Question(str(question.qname).lower().rstrip("."), kind, room, message)


def refusal(message: Any, code: int) -> bytes:
    """An answer without content."""
    answer = message.reply(ra=1, aa=0)
    answer.header.rcode = code
    _add_edns(message, answer)
    return bytes(answer.pack())


def write_answer(question: Question, answer: Answer, domain: str, more: Iterable[Any] = ()) -> bytes:
    """The zone's answer, whole. Shape: `more` are dnslib records from elsewhere, for an alias that leads there."""
    import dnslib

    reply = question.message.reply(ra=1, aa=1)
    reply.header.rcode = answer.code
    asked = question.message.questions[0].qname
    for record in answer.records:
        reply.add_answer(_record(record, asked if record.name == question.name else record.name))
    for one in more:
        reply.add_answer(one)
    if not reply.rr:
        reply.add_auth(_authority(domain))
    for record in answer.extra:
        reply.add_ar(_record(record, record.name))
    _add_edns(question.message, reply)
    assert isinstance(reply, dnslib.DNSRecord)
    return bytes(reply.pack())


def fit(data: bytes, room_bytes: int) -> bytes:
    """The answer if it fits; else without what nobody asked for; else as many of its records as fit, marked as cut.

    The question stays in any case: resolvers ignore an answer that does not repeat it. Source: RFC 2181 section 9.
    """
    if len(data) <= room_bytes:
        return data
    import dnslib

    message = dnslib.DNSRecord.parse(data)
    records = message.rr
    message.ar = [extra for extra in message.ar if extra.rtype == dnslib.QTYPE.OPT]
    packed = bytes(message.pack())
    if len(packed) <= room_bytes:
        return packed
    message.header.tc, message.auth = 1, []
    fitting, too_many = 0, len(records) + 1
    while too_many - fitting > 1:
        half = (fitting + too_many) // 2
        message.rr = records[:half]
        fitting, too_many = (half, too_many) if len(message.pack()) <= room_bytes else (fitting, half)
    message.rr = records[:fitting]
    return bytes(message.pack())


def question_length(data: bytes) -> int:
    """How many bytes the one question takes that a packet of ours asks."""
    at = 12
    while data[at]:
        at += 1 + data[at]
    return at + 5 - 12


def _add_edns(message: Any, reply: Any) -> None:
    import dnslib

    if any(extra.rtype == dnslib.QTYPE.OPT for extra in message.ar):
        reply.add_ar(dnslib.EDNS0(udp_len=MAX_UDP_BYTES))


def _authority(domain: str) -> Any:
    """Says how long "there is none" holds."""
    import dnslib

    times = (1, 7200, 1800, 86400, TTL_SECONDS)
    data = dnslib.SOA(f"ns.dns.{domain}", f"hostmaster.{domain}", times)
    return dnslib.RR(domain, dnslib.QTYPE.SOA, rdata=data, ttl=TTL_SECONDS)


def _record(record: Record, name: Any) -> Any:
    import dnslib

    if record.kind == "SRV":
        priority, weight, port, target = record.data.split()
        data = dnslib.SRV(int(priority), int(weight), int(port), target)
    else:
        data = getattr(dnslib, record.kind)(record.data)
    return dnslib.RR(name, getattr(dnslib.QTYPE, record.kind), rdata=data, ttl=TTL_SECONDS)


def time_to_live(data: bytes, longest_seconds: int) -> int:
    """How long an answer from elsewhere may be kept; 0 for what should not be."""
    import dnslib

    message = dnslib.DNSRecord.parse(data)
    if message.header.tc or message.header.rcode not in (0, NO_SUCH_NAME):
        return 0
    lives = [r.ttl for r in (*message.rr, *message.auth)]
    for record in message.auth:
        if record.rtype == dnslib.QTYPE.SOA and not message.rr:
            lives.append(record.rdata.times[4])
    return min([longest_seconds, *lives]) if lives else 0


def aged(data: bytes, seconds: int) -> bytes:
    """A kept answer with what is left of its records' lives."""
    import dnslib

    message = dnslib.DNSRecord.parse(data)
    for record in (*message.rr, *message.auth):
        record.ttl = max(0, record.ttl - seconds)
    return bytes(message.pack())


def address_question(name: str, kind: str) -> bytes:
    """A question of our own; its id is set by who sends it."""
    import dnslib

    return bytes(dnslib.DNSRecord.question(name, kind).pack())


def answers_of(data: bytes) -> list[Any]:
    """The records of an answer from elsewhere."""
    import dnslib

    return list(dnslib.DNSRecord.parse(data).rr)
