"""One HTTP GET for a probe or a hook, over a connection of its own. Touches the network only.

Source: kubelet `pkg/probe/http`: 200 to 399 is success, certificates are not checked, at most 10 KiB of body are read;
the words of failures are Go's, because people search for them.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

MAX_BODY_BYTES = 10 << 10
MAX_HEAD_BYTES = 64 << 10
USER_AGENT = "kube-probe/1.36"


class HttpFailure(Exception):
    """No answer came, or one that is no HTTP."""


@dataclass(frozen=True, slots=True)
class Target:
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


async def get(target: Target) -> tuple[int, bytes]:
    """Status and the beginning of the body. Raises: HttpFailure."""
    context = None
    if target.scheme == "https":
        import ssl

        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    try:
        reader, writer = await asyncio.open_connection(target.host, target.port, ssl=context, limit=MAX_HEAD_BYTES)
    except OSError as error:
        raise HttpFailure(f'Get "{target.url}": {dial_error(target.host, target.port, error)}') from error
    try:
        writer.write(_request(target))
        return await _answer(reader)
    except (OSError, ValueError, asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
        raise HttpFailure(f'Get "{target.url}": {_words(error)}') from error
    finally:
        writer.transport.abort()


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


async def _answer(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    head = await reader.readuntil(b"\r\n\r\n")
    first = head.split(b"\r\n", 1)[0].split(b" ", 2)
    if len(first) < 2 or not first[0].startswith(b"HTTP/") or not first[1].isdigit():
        raise ValueError(f'net/http: HTTP/1.x transport connection broken: malformed HTTP response "{first[0]!r}"')
    body = b""
    while len(body) < MAX_BODY_BYTES:
        piece = await reader.read(MAX_BODY_BYTES - len(body))
        if not piece:
            break
        body += piece
    return int(first[1]), body


def _words(error: Exception) -> str:
    if isinstance(error, asyncio.IncompleteReadError):
        return "EOF"
    if isinstance(error, ConnectionResetError):
        return "read: connection reset by peer"
    return str(error)
