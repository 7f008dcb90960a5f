"""What a certificate says, read by a DER reader of a few lines, because a general X.509 parser costs 100 ms to import.

Pure. Nothing is verified here: TLS has done that, or the caller compares with what it pinned.
Source: RFC 5280 section 4.1 for the layout.
"""

from __future__ import annotations

import base64
import calendar
import hashlib

_OID_COMMON_NAME = bytes((0x55, 0x04, 0x03))
_OID_ORGANIZATION = bytes((0x55, 0x04, 0x0A))
_TAG_INTEGER = 0x02
_TAG_UTC_TIME = 0x17
_TAG_VERSION = 0xA0
_TAG_BMP_STRING = 0x1E


class _Reader:
    """Walks over the tag-length-value triples of one constructed value."""

    __slots__ = ("_data", "_end", "_position")

    def __init__(self, data: bytes, start: int = 0, end: int | None = None) -> None:
        self._data = data
        self._position = start
        self._end = len(data) if end is None else end

    @property
    def at(self) -> int:
        """Where the next value's tag stands."""
        return self._position

    def more(self) -> bool:
        return self._position < self._end

    def next(self) -> tuple[int, int, int]:
        """Tag, start and end of the next value. Raises: ValueError when the data ends too early."""
        data, at = self._data, self._position
        try:
            tag, length = data[at], data[at + 1]
            at += 2
            if length & 0x80:
                size = length & 0x7F
                length = int.from_bytes(data[at : at + size], "big")
                at += size
        except IndexError:
            raise ValueError("truncated DER") from None
        if at + length > self._end:
            raise ValueError("truncated DER")
        self._position = at + length
        return tag, at, at + length

    def enter(self) -> _Reader:
        """A reader of the next value's content."""
        _, start, end = self.next()
        return _Reader(self._data, start, end)


def _time(tag: int, text: str) -> float:
    """Seconds since 1970 of a UTCTime (`YYMMDDHHMMSSZ`, 1950 to 2049) or a GeneralizedTime (`YYYYMMDDHHMMSSZ`)."""
    if tag == _TAG_UTC_TIME:
        text = ("20" if text[:2] < "50" else "19") + text
    numbers = (int(text[:4]), int(text[4:6]), int(text[6:8]), int(text[8:10]), int(text[10:12]), int(text[12:14]))
    return float(calendar.timegm((*numbers, 0, 0, 0)))


def subject_and_expiry(der: bytes) -> tuple[str, tuple[str, ...], float]:
    """Common name, organizations in order, and the last second of validity. Raises: ValueError if it is no certificate."""
    body = _behind_issuer(der)
    _, not_after = _validity(der, body)
    name, organizations = _names(der, body.enter())
    return name, organizations, not_after


def validity(der: bytes) -> tuple[float, float]:
    """The first and the last second, since 1970, in which a certificate is valid. Raises: ValueError if it is none."""
    return _validity(der, _behind_issuer(der))


def _behind_issuer(der: bytes) -> _Reader:
    body = _Reader(der).enter().enter()
    tag, _, _ = body.next()
    if tag == _TAG_VERSION:
        body.next()  # the serial number
    body.next()  # signature algorithm
    body.next()  # issuer
    return body


def _validity(der: bytes, body: _Reader) -> tuple[float, float]:
    times = body.enter()
    found = []
    for _ in range(2):
        tag, start, end = times.next()
        found.append(_time(tag, der[start:end].decode("ascii")))
    return found[0], found[1]


def public_key_digest(der: bytes) -> str:
    """SHA-256 in hex of a certificate's SubjectPublicKeyInfo, by which one pins it. Raises: ValueError if it is none.

    Source: RFC 7469 section 2.4.
    """
    body = _behind_issuer(der)
    body.next()  # validity
    body.next()  # subject
    start = body.at
    _, _, end = body.next()
    return hashlib.sha256(der[start:end]).hexdigest()


def request_subject(der: bytes) -> tuple[str, tuple[str, ...]]:
    """Common name and organizations that a certificate request asks for. Raises: ValueError if it is none.

    Source: RFC 2986 section 4.1.
    """
    body = _Reader(der).enter().enter()
    body.next()  # version
    return _names(der, body.enter())


def _names(der: bytes, subject: _Reader) -> tuple[str, tuple[str, ...]]:
    name, organizations = "", []
    while subject.more():
        part = subject.enter()
        while part.more():
            pair = part.enter()
            _, start, end = pair.next()
            oid = der[start:end]
            tag, start, end = pair.next()
            if oid not in (_OID_COMMON_NAME, _OID_ORGANIZATION):
                continue
            value = der[start:end].decode("utf-16-be" if tag == _TAG_BMP_STRING else "utf-8", "replace")
            if oid == _OID_COMMON_NAME:
                name = value
            else:
                organizations.append(value)
    return name, tuple(organizations)


def pem_to_der(pem: bytes) -> bytes:
    """The first block of a PEM file. Raises: ValueError if there is none."""
    lines = pem.split(b"-----")
    if len(lines) < 4:
        raise ValueError("not PEM")
    return base64.b64decode(b"".join(lines[2].split()))
