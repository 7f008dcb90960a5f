"""The server's side of a WebSocket handshake (RFC 6455, 4.2), with upstream's words where it cannot be."""

from __future__ import annotations

from typing import TYPE_CHECKING

from carob.api.status import ApiError, bad_request
from carob.transport.http import Request, Response
from carob.wire.websocket import accept_key, offered_protocols

if TYPE_CHECKING:
    from collections.abc import Sequence


def handshake(request: Request, supported: Sequence[str]) -> tuple[Response | None, str, list[tuple[str, str]]]:
    """A refusal or None, the protocol agreed on (empty: none was asked for), the headers of the 101."""
    key = request.headers.get("sec-websocket-key", "")
    version = request.headers.get("sec-websocket-version", "13")
    if request.method != "GET" or not key or version != "13":
        return failure(bad_request("the WebSocket handshake is incomplete")), "", []
    headers = [("Upgrade", "websocket"), ("Sec-WebSocket-Accept", accept_key(key))]
    offered = offered_protocols(request.headers.get("sec-websocket-protocol", ""))
    if not offered:
        return None, "", headers
    protocol = next((name for name in offered if name in supported), None)
    if protocol is None:
        text = f"requested protocol(s) are not supported: [{' '.join(offered)}]; supports [{' '.join(supported)}]"
        return failure(ApiError(403, "Forbidden", text)), "", []
    return None, protocol, [*headers, ("Sec-WebSocket-Protocol", protocol)]


def failure(error: ApiError) -> Response:
    """An error before the protocols are switched."""
    return Response(error.code, error.body(), headers=list(error.headers.items()))
