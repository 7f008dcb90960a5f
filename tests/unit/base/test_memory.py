"""What a process frees leaves it."""

from __future__ import annotations

import subprocess
import sys

import pytest

from carob.base import memory

# Many holes between what stays: the C library cannot give them back by itself. A process of its own, whose heap is known.
_HOLES = """
import asyncio
from carob.base import memory
from carob.base.clock import VirtualClock

async def main():
    kept = [bytes(3000) for _ in range(20_000)]
    kept = [one for number, one in enumerate(kept) if number % 8 == 0]
    before = memory.resident_bytes()
    clock = VirtualClock()
    task = asyncio.create_task(memory.stay_small(clock))
    await clock.advance(memory.LOOK_SECONDS + 1)
    task.cancel()
    print(before - memory.resident_bytes())

asyncio.run(main())
"""


def test_holes_in_the_heap_are_given_back() -> None:
    if memory._trim() is int:
        pytest.skip("no glibc")
    done = subprocess.run([sys.executable, "-c", _HOLES], capture_output=True, text=True, check=True)
    assert int(done.stdout) > 20 << 20
