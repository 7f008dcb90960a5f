"""The command line's road to an API server: blocking, one request after another, cheap to start.

Speaks HTTP/1.1 over one kept-alive connection. Keys from the kubeconfig never touch the disk: OpenSSL reads them from
an anonymous file in memory.
"""

from __future__ import annotations

import json
import os
import sys

from carob.api.status import ApiError
from carob.cli import http1
from carob.cli.access import add_connection_flags, endpoint_of
from carob.cli.errors import CommandError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    import ssl
    from collections.abc import Iterator, Mapping
    from typing import Any, TypeAlias

    from carob.cli.access import Endpoint
    from carob.cli.flags import Arguments
    from carob.cli.http1 import Answer

    Query: TypeAlias = dict[str, str | list[str]]

__all__ = ["JSON_ACCEPT", "TABLE_ACCEPT", "Connection", "add_connection_flags", "connect", "decode_json"]

CONNECT_TIMEOUT_SECONDS = 30.0
LARGE_BYTES = 1 << 20

TABLE_ACCEPT = (
    "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json"
)
JSON_ACCEPT = "application/json"

_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~")
_PLAIN_IN_PATHS = _PLAIN | frozenset("/:%@")


def _escape(text: str, plain: frozenset[str] = _PLAIN) -> str:
    """Percent-encoding; the standard library's costs 5 ms to import."""
    if plain.issuperset(text):
        return text
    return "".join(c if c in plain else "".join(f"%{b:02X}" for b in c.encode()) for c in text)


def tls_context(endpoint: Endpoint) -> ssl.SSLContext:
    """The TLS client side of an endpoint. Raises: CommandError for certificates that cannot be used."""
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        if not endpoint.verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        elif endpoint.ca:
            context.load_verify_locations(cadata=endpoint.ca.decode())
        else:
            context.load_default_certs()
        if endpoint.certificate:
            fd = os.memfd_create("client", os.MFD_CLOEXEC)
            try:
                os.write(fd, endpoint.certificate + b"\n" + endpoint.key)
                context.load_cert_chain(f"/proc/self/fd/{fd}")
            finally:
                os.close(fd)
    except (ValueError, ssl.SSLError) as error:
        raise CommandError(f"error: the certificates for {endpoint.server} cannot be used: {error}") from error
    return context


class Connection:
    """Requests to one server over one kept-alive connection."""

    def __init__(self, endpoint: Endpoint, request_timeout_seconds: float = 0.0) -> None:
        self.endpoint = endpoint
        self.namespace = endpoint.namespace
        self._secure, self._host, self._port, self._prefix = _split(endpoint.server)
        self._further = list(endpoint.further)
        self._timeout = request_timeout_seconds or None
        self._socket: socket.socket | None = None
        self._last: Answer | None = None
        self._context: ssl.SSLContext | None = None

    @property
    def host_header(self) -> str:
        """`127.0.0.1:6443`."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"{host}:{self._port}"

    def raw_socket(self) -> socket.socket:
        """A new connected (and TLS-wrapped) socket. Raises: CommandError where no server answers."""
        while True:
            try:
                return self._connected()
            except OSError as error:
                if not self._further:
                    raise self._unreachable(error) from error
                # another server of the same cluster
                self._secure, self._host, self._port, self._prefix = _split(self._further.pop(0))

    def _connected(self) -> socket.socket:
        import socket

        # as bytes: text would load Python's tables for international names, 2 ms
        host = self._host.encode() if self._host.isascii() else self._host
        sock = socket.create_connection((host, self._port), CONNECT_TIMEOUT_SECONDS)  # type: ignore[arg-type]
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._secure:
            self._context = self._context or tls_context(self.endpoint)
            name = self.endpoint.server_name or self._host
            sock = self._context.wrap_socket(sock, server_hostname=name.encode() if name.isascii() else name)
        sock.settimeout(self._timeout)
        return sock

    def headers(self, extra: Mapping[str, str]) -> list[tuple[str, str]]:
        """What every request carries."""
        headers = [("User-Agent", "carob/v1.36"), *self.endpoint.headers, *extra.items()]
        if self.endpoint.token:
            headers.append(("Authorization", f"Bearer {self.endpoint.token}"))
        return headers

    def target(self, path: str, query: Mapping[str, str | list[str]] | None = None) -> str:
        """The request target: the server's own path prefix, the path, the query."""
        target = self._prefix + _escape(path, _PLAIN_IN_PATHS)
        if not query:
            return target
        pairs = [(k, one) for k, v in query.items() for one in (v if isinstance(v, list) else (v,))]
        return target + "?" + "&".join(f"{_escape(k)}={_escape(v)}" for k, v in pairs)

    def open(
        self,
        method: str,
        path: str,
        query: Mapping[str, str | list[str]] | None = None,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Send a request; the answer's body is still to be read. Raises: CommandError where no server answers."""
        target, all_headers = self.target(path, query), self.headers(headers or {})
        for attempt in (0, 1):
            fresh = self._socket is None or self._last is None or not self._last.keep_alive
            if fresh:
                self.close()
                self._socket = self.raw_socket()
            assert self._socket is not None
            try:
                http1.send(self._socket, method, target, self.host_header, all_headers, body)
                self._last = http1.Answer(self._socket)
                return self._last
            except OSError as error:
                self.close()
                # a kept-alive connection may have been closed by the server meanwhile
                if fresh or attempt:
                    raise self._unreachable(error) from error
        raise AssertionError("unreachable")

    def _unreachable(self, error: Exception) -> CommandError:
        address = f"{self._host}:{self._port}"
        if isinstance(error, ConnectionRefusedError):
            return CommandError(
                f"The connection to the server {address} was refused - did you specify the right host or port?"
            )
        verify_message = getattr(error, "verify_message", "")
        if verify_message:
            return CommandError(f"Unable to connect to the server: tls: failed to verify certificate: {verify_message}")
        if isinstance(error, TimeoutError):
            return CommandError("Unable to connect to the server: the request timed out")
        return CommandError(f"Unable to connect to the server: {self.endpoint.server}: {error}")

    def request(
        self,
        method: str,
        path: str,
        query: Mapping[str, str | list[str]] | None = None,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> bytes:
        """The whole answer. Raises: ApiError for any answer that is no success. Warnings go to standard error."""
        answer = self.open(method, path, query, body, headers)
        try:
            data = answer.read()
        except OSError as error:
            self.close()
            raise self._unreachable(error) from error
        warn(answer)
        if answer.status >= 400:
            raise _error(answer, data)
        return data

    def json(
        self,
        method: str,
        path: str,
        query: Mapping[str, str | list[str]] | None = None,
        body: Any = None,
        *,
        accept: str = JSON_ACCEPT,
        content_type: str = "application/json",
    ) -> Any:
        """As `request`, with trees."""
        headers = {"Accept": accept}
        data = None
        if body is not None:
            headers["Content-Type"] = content_type
            data = json.dumps(body, separators=(",", ":"), sort_keys=True, ensure_ascii=False).encode()
        return decode_json(self.request(method, path, query, data, headers))

    def lines(
        self, path: str, query: Mapping[str, str | list[str]], headers: Mapping[str, str] | None = None
    ) -> Iterator[bytes]:
        """The lines of a streamed answer, as they come: watches. Raises: ApiError."""
        answer = self.open("GET", path, query, None, headers)
        if answer.status >= 400:
            raise ApiError.from_body(answer.status, answer.read())
        try:
            while line := answer.readline():
                yield line
        except TimeoutError:
            return  # --request-timeout is over
        finally:
            self.close()

    def close(self) -> None:
        """Let go of the connection."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        self._last = None


def _split(server: str) -> tuple[bool, str, int, str]:
    """TLS or not, host, port, path prefix. Raises: CommandError."""
    scheme, separator, rest = server.partition("://")
    if not separator:
        scheme, rest = "http", server
    if scheme not in ("http", "https"):
        raise CommandError(f'error: the server "{server}" is neither http nor https')
    authority, slash, path = rest.partition("/")
    host, colon, port = authority.rpartition(":")
    if not colon or "]" in port:
        host, port = authority, "443" if scheme == "https" else "80"
    if not port.isdigit():
        raise CommandError(f'error: the server "{server}" has no valid port')
    return scheme == "https", host.strip("[]"), int(port), (slash + path).rstrip("/")


def decode_json(data: bytes) -> Any:
    """The tree; a large answer is worth importing the faster decoder."""
    if len(data) > LARGE_BYTES:
        import orjson

        return orjson.loads(data)
    return json.loads(data)


def _error(answer: Answer, data: bytes) -> ApiError:
    """The Status, or for other bodies what client-go makes of the code."""
    if answer.status == 404 and not data.lstrip().startswith(b"{"):
        return ApiError(404, "NotFound", "the server could not find the requested resource")
    return ApiError.from_body(answer.status, data)


def warn(answer: Answer) -> None:
    """The server's warnings, on standard error."""
    for value in answer.warnings:
        text = value.split('"', 1)[1].rsplit('"', 1)[0].replace('\\"', '"') if '"' in value else value
        print(f"Warning: {text}", file=sys.stderr)


def connect(arguments: Arguments) -> Connection:
    """The connection that the verb's flags name."""
    text, timeout = arguments.request_timeout, 0.0
    if text != "0":
        from carob.api.durations import parse_duration

        try:
            timeout = float(text) if text.isdigit() else parse_duration(text)
        except ValueError as error:
            raise CommandError(
                "error: Invalid timeout value. Timeout must be a single integer in seconds, or an integer followed by a "
                "corresponding time unit (e.g. 1s | 2m | 3h)"
            ) from error
    return Connection(endpoint_of(arguments), timeout)
