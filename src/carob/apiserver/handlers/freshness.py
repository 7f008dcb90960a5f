"""Waiting until the cache has seen a resourceVersion, as upstream's watch cache does for up to three seconds."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from carob.api.status import ApiError

if TYPE_CHECKING:
    from carob.apiserver.handlers.backend import Backend

FRESHNESS_WAIT_SECONDS = 3.0


async def wait_until(backend: Backend, revision: int) -> None:
    """Return once the caches show `revision`. Raises: ApiError 504 when it does not come."""
    objects = backend.objects
    if revision <= objects.revision:
        return
    loop = asyncio.get_running_loop()
    seen: asyncio.Future[None] = loop.create_future()

    def arrived() -> None:
        if not seen.done():
            seen.set_result(None)

    def late() -> None:
        if not seen.done():
            seen.set_exception(too_large(revision, objects.revision))

    forget = objects.when_at(revision, arrived)
    appointment = backend.deadlines.at(backend.clock.monotonic() + FRESHNESS_WAIT_SECONDS, late)
    try:
        await seen
    finally:
        forget()
        appointment.cancel()


def too_large(revision: int, current: int) -> ApiError:
    """504: the resourceVersion has not happened yet."""
    details = {
        "causes": [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}],
        "retryAfterSeconds": 1,
    }
    message = f"Timeout: Too large resource version: {revision}, current: {current}"
    return ApiError(504, "Timeout", message, details, {"Retry-After": "1"})
