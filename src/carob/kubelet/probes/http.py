"""One HTTP GET for a probe or a hook, over a connection of its own. Touches the network only.

Source: kubelet `pkg/probe/http`: 200 to 399 is success, redirects are followed on the same host alone, certificates are
not checked, at most 10 KiB of body are read; the words of failures are Go's, because people search for them.
"""

from __future__ import annotations

import asyncio
from typing import cast
from urllib.parse import urljoin, urlsplit

from msgspec import Struct, field

MAX_BODY_BYTES = 10 << 10
MAX_HEAD_BYTES = 64 << 10
MAX_REDIRECTS = 10
REDIRECTS = (301, 302, 303, 307, 308)
USER_AGENT = "kube-probe/1.36"


class HttpFailure(Exception):
    """No answer came, or one that is no HTTP."""


class Target(Struct, frozen=True):
    """Where to ask. `headers` in the spec's order; `Host` and `User-Agent` among them replace ours."""

    scheme: str
    host: str
    port: int
    path: str
    headers: list[tuple[str, str]] = field(default_factory=list)

    @property
    def url(self) -> str:
        """As Go prints it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        path = self.path if self.path.startswith("/") else f"/{self.path}"
        return f"{self.scheme}://{host}:{self.port}{path}"


class Answer(Struct, frozen=True):
    status: int
    body: bytes
    """Its beginning."""
    location: str = ""
    """Where a redirect leads."""


async def get(target: Target) -> Answer:
    """The answer, of the place to which redirects lead as long as they stay on this host. Raises: HttpFailure."""
    for _ in range(MAX_REDIRECTS):
        answer = await _get(target)
        following = _redirected(target, answer) if answer.location and answer.status in REDIRECTS else None
        if following is None:
            return answer
        target = following
    raise HttpFailure(f'Get "{target.url}": stopped after {MAX_REDIRECTS} redirects')


def _redirected(target: Target, answer: Answer) -> Target | None:
    """Where a redirect leads; None when that is another host."""
    place = urlsplit(urljoin(target.url, answer.location))
    if place.scheme not in ("http", "https") or place.hostname != target.host.lower():
        return None
    try:
        port = place.port or (443 if place.scheme == "https" else 80)
    except ValueError as error:
        raise HttpFailure(f'Get "{answer.location}": {error}') from error
    path = (place.path or "/") + (f"?{place.query}" if place.query else "")
    return Target(place.scheme, target.host, port, path, target.headers)


async def _get(target: Target) -> Answer:
    context = None
    if target.scheme == "https":
        import ssl

        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    loop = asyncio.get_running_loop()
    answer = _Answer(_request(target), loop.create_future())
    try:
        transport, _ = await loop.create_connection(lambda: answer, target.host, target.port, ssl=context)
    except OSError as error:
        raise HttpFailure(f'Get "{target.url}": {dial_error(target.host, target.port, error)}') from error
    try:
        return await answer.done
    except (OSError, ValueError) as error:
        raise HttpFailure(f'Get "{target.url}": {_words(error)}') from error
    finally:
        transport.abort()


class _Answer(asyncio.Protocol):
    """One request and its answer: a bare protocol, because a node asks hundreds of times a second."""

    def __init__(self, request: bytes, done: asyncio.Future[Answer]) -> None:
        self._request = request
        self._data = b""
        self.done = done

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # not every loop's transports are subclasses of asyncio's
        cast("asyncio.WriteTransport", transport).write(self._request)

    def data_received(self, data: bytes) -> None:
        self._data += data
        head, blank, body = self._data.partition(b"\r\n\r\n")
        if not blank:
            if len(head) > MAX_HEAD_BYTES:
                self._fail(ValueError("net/http: HTTP/1.x transport connection broken: the head is too large"))
            return
        if len(body) >= MAX_BODY_BYTES or len(body) >= _length(head):
            self._finish(head, body)

    def connection_lost(self, exc: Exception | None) -> None:
        head, blank, body = self._data.partition(b"\r\n\r\n")
        if exc is not None:
            self._fail(exc)
        elif blank:
            self._finish(head, body)
        else:
            self._fail(EOFError() if not self._data else _malformed(head))

    def _finish(self, head: bytes, body: bytes) -> None:
        first = head.split(b"\r\n", 1)[0].split(b" ", 2)
        if len(first) < 2 or not first[0].startswith(b"HTTP/") or not first[1].isdigit():
            self._fail(_malformed(head))
        elif not self.done.done():
            location = _field(head, b"location").decode("latin-1")
            self.done.set_result(Answer(int(first[1]), body[:MAX_BODY_BYTES], location))

    def _fail(self, error: Exception) -> None:
        if not self.done.done():
            self.done.set_exception(error if isinstance(error, (OSError, ValueError)) else ConnectionError("EOF"))


def _length(head: bytes) -> int:
    """How many bytes of body are announced; without an announcement the end of the connection is waited for."""
    length = _field(head, b"content-length")
    return int(length) if length.isdigit() else MAX_BODY_BYTES


def _field(head: bytes, wanted: bytes) -> bytes:
    """The value of a header field (its name in small letters); empty when there is none."""
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.lower() == wanted:
            return value.strip()
    return b""


def _malformed(head: bytes) -> ValueError:
    first = head.split(b"\r\n", 1)[0].decode("latin-1")
    return ValueError(f'net/http: HTTP/1.x transport connection broken: malformed HTTP response "{first}"')


def dial_error(host: str, port: int, error: OSError) -> str:
    """`dial tcp 10.42.0.5:80: connect: connection refused`."""
    address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    text = {111: "connect: connection refused", 113: "connect: no route to host", 110: "i/o timeout"}
    return f"dial tcp {address}: {text.get(error.errno or 0, str(error))}"


def _request(target: Target) -> bytes:
    given = {name.lower() for name, _ in target.headers}
    host = f"[{target.host}]" if ":" in target.host else target.host
    lines = [f"GET {target.path if target.path.startswith('/') else '/' + target.path} HTTP/1.1"]
    for name, value in (("Host", f"{host}:{target.port}"), ("User-Agent", USER_AGENT), ("Accept", "*/*")):
        if name.lower() not in given:
            lines.append(f"{name}: {value}")
    lines += [f"{name}: {value}" for name, value in target.headers]
    lines += ["Connection: close", "", ""]
    return "\r\n".join(lines).encode("latin-1", "replace")


def _words(error: Exception) -> str:
    return "read: connection reset by peer" if isinstance(error, ConnectionResetError) else str(error)
