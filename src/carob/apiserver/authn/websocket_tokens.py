"""Bearer tokens of clients that can set no headers: browsers name them among a WebSocket's protocols.

The token is one of the offered protocols, `base64url.bearer.authorization.k8s.io.` and the token in base64url without
padding. At least one other protocol stands beside it, which is the one that the server agrees to: it never says the
token back.

Pure. Source: apiserver `pkg/authentication/request/websocket/protocol.go`.
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

from carob.api.status import unauthorized
from carob.wire.websocket import offered_protocols

if TYPE_CHECKING:
    from collections.abc import Mapping

PREFIX = "base64url.bearer.authorization.k8s.io."
HEADER = "sec-websocket-protocol"


def token_of(headers: Mapping[str, str]) -> str:
    """The token among the offered protocols; empty if there is none. Raises: ApiError 401 where it cannot be read."""
    offered = offered_protocols(headers.get(HEADER, ""))
    found = [name.removeprefix(PREFIX) for name in offered if name.startswith(PREFIX)]
    if not found:
        return ""
    if len(found) > 1:
        raise unauthorized()
    token = _decoded(found[0])
    if token and len(offered) == 1:
        raise unauthorized()
    return token


def _decoded(text: str) -> str:
    if "=" in text or "+" in text or "/" in text:
        raise unauthorized()
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True).decode()
    except ValueError:
        raise unauthorized() from None


def without_token(headers: Mapping[str, str]) -> dict[str, str]:
    """The headers as the rest of the server, and whoever it passes them on to, may see them."""
    others = [name for name in offered_protocols(headers[HEADER]) if not name.startswith(PREFIX)]
    return {**headers, HEADER: ",".join(others)}
