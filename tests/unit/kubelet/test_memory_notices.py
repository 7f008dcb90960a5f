"""The kernel's notices of memory pressure: asked for where there are any, done without where not."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from carob.kubelet.eviction.notices import PRESSURE_FILE, MemoryNotices


def test_without_the_kernels_help_nothing_is_wrong(tmp_path: Path) -> None:
    async def body() -> None:
        notices = MemoryNotices(lambda: None, str(tmp_path / "none"))
        notices.open()
        assert not notices.is_open
        notices.close()

    asyncio.run(body())


@pytest.mark.root
@pytest.mark.skipif(not os.access(PRESSURE_FILE, os.W_OK), reason="this kernel tells of no pressure")
def test_the_kernel_takes_the_order_and_nothing_is_left_open() -> None:
    async def body() -> None:
        before = len(os.listdir("/proc/self/fd"))
        notices = MemoryNotices(lambda: None)
        for _ in range(3):
            notices.open()
            notices.open()
            assert notices.is_open
            notices.close()
        assert len(os.listdir("/proc/self/fd")) == before

    asyncio.run(body())
