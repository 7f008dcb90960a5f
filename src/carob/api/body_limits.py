"""How many values one body may hold: a text of three megabytes can name a million, and each costs its decoding,
defaulting, validation and owners on the loop that serves everybody.

Pure. Only bodies that could hold too many are looked at; no honest object comes near (the largest definitions have 40,000).
Differs: upstream bounds bytes and depth alone (docs/known-limits.md).
"""

from __future__ import annotations

from carob.api.status import ApiError

MAX_VALUES = 100_000
"""Texts, numbers, lists and objects, each counted with what is in it. A shorter body than this has fewer."""


def too_many_values() -> ApiError:
    """413, in the words that upstream has for patches with too many operations."""
    words = f"The allowed maximum of values in a body is {MAX_VALUES}"
    return ApiError(413, "RequestEntityTooLarge", f"Request entity is too large: {words}")


def check_json(body: bytes) -> None:
    """Raises: ApiError 413. Linear, and in C: some 30 ms for the largest body that is full of quotes."""
    if len(body) <= MAX_VALUES or _marks(body) < MAX_VALUES:
        return
    # what stands in texts is none
    bare = body.replace(b"\\\\", b"").replace(b'\\"', b"")
    if _marks(b"".join(bare.split(b'"')[::2])) >= MAX_VALUES:
        raise too_many_values()


def _marks(body: bytes) -> int:
    return body.count(b",") + body.count(b"{") + body.count(b"[")


def check_cbor(body: bytes) -> None:
    """Raises: ApiError 413. The heads of items stand one behind the other, whatever is nested in what."""
    position = count = 0
    while position < len(body) > MAX_VALUES:
        head = body[position]
        major, argument = head >> 5, head & 31
        position += 1
        if 24 <= argument <= 27:
            size = 1 << argument - 24
            argument = int.from_bytes(body[position : position + size], "big")
            position += size
        if major in (2, 3) and head & 31 != 31:
            position += argument
        count += 1
        if count > MAX_VALUES:
            raise too_many_values()
