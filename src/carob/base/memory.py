"""Memory that the C library keeps at hand after it was freed, given back to the system.

Between what lives long there are holes where large answers, bodies and whatever was packed since the start were: a process
that once had much to do would look as if it still had. Touches the process's own heap alone.
"""

from __future__ import annotations

import gc
import resource
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from carob.base.clock import Clock

LOOK_SECONDS = 30.0
# A look costs nothing, giving back some 50 ms with 30,000 Pods, in which nothing else happens: so only
# who has grown does it, and who idles never.
GROWN_BYTES = 16 << 20


async def stay_small(clock: Clock) -> None:
    """Until cancelled, give back what was kept whenever the process has grown."""
    known = 0
    while True:
        await clock.sleep(LOOK_SECONDS)
        now = resident_bytes()
        if now - known >= GROWN_BYTES:
            give_back()
            known = resident_bytes()
        else:
            known = min(known, now)


def resident_bytes() -> int:
    """How much of the machine's memory this process has."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def give_back() -> None:
    """Let go what is garbage in circles, which is collected seldom else, and then the empty pages of the heap."""
    gc.collect()
    _trim()(0)


@cache
def _trim() -> Callable[[int], int]:
    # ten milliseconds that no start should pay
    import ctypes

    try:
        trim: Callable[[int], int] = ctypes.CDLL(None).malloc_trim
    except AttributeError:
        return int  # another C library than glibc: its affair
    return trim
