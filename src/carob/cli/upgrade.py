"""Leaving HTTP for a WebSocket: exec, attach and port-forward begin so.

Source: RFC 6455, 4.1; client-go transport/websocket.
"""

from __future__ import annotations

import os
from base64 import b64encode
from typing import TYPE_CHECKING

from carob.api.status import ApiError
from carob.cli import http1
from carob.cli.connection import warn
from carob.cli.errors import CommandError

if TYPE_CHECKING:
    import socket
    from collections.abc import Mapping

    from carob.cli.connection import Connection


def new_mask() -> bytes:
    """The four random bytes of a frame."""
    return os.urandom(4)


def upgrade(
    connection: Connection, path: str, query: Mapping[str, str | list[str]] | None, protocol: str
) -> tuple[socket.socket, bytes]:
    """The socket behind the 101, and what came on it already. Raises: CommandError."""
    sock = connection.raw_socket()
    headers = connection.headers(
        {
            "Connection": "Upgrade",
            "Upgrade": "websocket",
            "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": b64encode(os.urandom(16)).decode(),
            "Sec-WebSocket-Protocol": protocol,
        }
    )
    try:
        http1.send(sock, "GET", connection.target(path, query), connection.host_header, headers, None)
        answer = http1.Answer(sock)
        if answer.status == 101:
            agreed = answer.headers.get("sec-websocket-protocol", "")
            if agreed != protocol:
                raise CommandError(f'error: unable to upgrade connection: the server chose the protocol "{agreed}"')
            return sock, answer.rest
        body = answer.read()
        warn(answer)
        text = ApiError.from_body(answer.status, body).message or f"the server answered {answer.status}"
        raise CommandError(f"error: unable to upgrade connection: {text}")
    except OSError as error:
        sock.close()
        raise CommandError(f"error: unable to upgrade connection: {error}") from error
    except BaseException:
        sock.close()
        raise
