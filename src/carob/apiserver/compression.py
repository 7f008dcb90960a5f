"""Large answers travel compressed to other machines, if the client can: there the way costs more than the packing.

A thread packs, piece by piece, and lets go of the interpreter while it does. May touch: bytes of an answer, a thread.
Source: apiserver `endpoints/handlers/responsewriters/writers.go` (APIResponseCompression): GET and LIST from 128 KiB on.
Differs: upstream packs for clients of its own machine, too.
"""

from __future__ import annotations

import asyncio
import zlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from carob.apiserver.types import RequestInfo
    from carob.transport.http import Request, Response

MIN_BYTES = 128 << 10
# the fastest that still finds what repeats, as upstream's
LEVEL = 1


def worth_it(info: RequestInfo, request: Request, response: Response) -> bool:
    """Whether an answer should be packed."""
    if not request.from_afar or info.verb not in ("get", "list") or response.status != 200:
        return False
    size = response.length if response.segments is not None else len(response.body)
    if size < MIN_BYTES or any(name == "Content-Encoding" for name, _ in response.headers):
        return False
    return "gzip" in [token.strip() for token in request.headers.get("accept-encoding", "").split(",")]


async def packed(response: Response) -> Response:
    """The answer, packed."""
    pieces = response.segments if response.segments is not None else (response.body,)
    response.body = await asyncio.get_running_loop().run_in_executor(None, _pack, pieces)
    response.segments, response.length = None, 0
    response.headers = [*response.headers, ("Content-Encoding", "gzip"), ("Vary", "Accept-Encoding")]
    return response


def _pack(pieces: Iterable[bytes]) -> bytes:
    packer = zlib.compressobj(LEVEL, zlib.DEFLATED, 31)
    return b"".join([*(packer.compress(piece) for piece in pieces), packer.flush()])
