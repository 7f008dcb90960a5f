"""Cutting a connection whatever state it is in."""

from __future__ import annotations

import asyncio
from contextlib import suppress


def cut(transport: asyncio.Transport | asyncio.WriteTransport) -> None:
    """Abort the transport; what is closed already stays so."""
    # asyncio's TLS of Python 3.11 forgets its own protocol when it is closed twice, and then cannot abort
    with suppress(AttributeError):
        transport.abort()
