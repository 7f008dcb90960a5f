"""The work queue: a key is worked on once however often it was added, by one worker at a time, and again if it failed."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine
from typing import Any

import pytest

from carob.api.resources import TABLE
from carob.api.status import conflict
from carob.base.clock import VirtualClock
from carob.client.workqueue import WorkQueue


def run(scenario: Coroutine[Any, Any, None]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(10):
            await scenario

    asyncio.run(bounded())


def test_a_key_added_often_is_given_out_once() -> None:
    async def scenario() -> None:
        queue = WorkQueue(VirtualClock())
        for key in ("a", "b", "a", "a"):
            queue.add(key)
        assert len(queue) == 2
        assert [await queue.get(), await queue.get()] == ["a", "b"]
        queue.add("a")
        assert len(queue) == 0
        queue.done("a")
        queue.done("b")
        assert await queue.get() == "a"
        queue.done("a")
        assert len(queue) == 0

    run(scenario())


def test_waiting_getters_are_woken_one_by_one_and_a_cancelled_one_loses_nothing() -> None:
    async def scenario() -> None:
        queue = WorkQueue(VirtualClock())
        first, second = asyncio.create_task(queue.get()), asyncio.create_task(queue.get())
        await asyncio.sleep(0)
        queue.add("a")
        first.cancel()
        assert await second == "a"

    run(scenario())


def test_delays_keep_the_earliest_time() -> None:
    async def scenario() -> None:
        clock = VirtualClock()
        queue = WorkQueue(clock)
        queue.add_after("a", 10)
        queue.add_after("a", 5)
        queue.add_after("a", 7)
        queue.add_after("now", 0)
        await clock.advance(4.9)
        assert len(queue) == 1
        await clock.advance(0.2)
        assert len(queue) == 2
        await clock.advance(20)
        assert len(queue) == 2
        queue.add_after("b", 5)
        queue.close()
        await clock.advance(20)
        assert len(queue) == 2

    run(scenario())


def test_back_off_doubles_until_forgotten() -> None:
    async def scenario() -> None:
        clock = VirtualClock()
        queue = WorkQueue(clock, first_delay_seconds=1, longest_delay_seconds=6)
        waits = []
        for _ in range(5):
            queue.add_rate_limited("a")
            start = clock.monotonic()
            while not len(queue):
                await clock.advance(0.5)
            waits.append(clock.monotonic() - start)
            queue.done(await queue.get())
        assert waits == [1, 2, 4, 6, 6]
        assert queue.failures("a") == 5
        queue.forget("a")
        assert queue.failures("a") == 0

    run(scenario())


def test_the_loop_retries_what_raises_and_forgets_what_went_well(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        clock = VirtualClock()
        queue = WorkQueue(clock)
        pods = TABLE.by_kind("v1", "Pod")
        assert pods is not None
        failures = [LookupError("a bug"), conflict(pods, "a"), ConnectionError("gone")]
        done: list[str] = []
        at_once = 0

        async def reconcile(key: str) -> None:
            nonlocal at_once
            at_once += 1
            assert at_once <= 2
            await clock.sleep(0.001)
            at_once -= 1
            if key == "a" and failures:
                raise failures.pop(0)
            done.append(key)

        loop = asyncio.create_task(queue.work(reconcile, 2, "test"))
        for key in "abc":
            queue.add(key)
        await clock.advance(1)
        assert sorted(done) == ["a", "b", "c"]
        assert queue.failures("a") == 0
        loop.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await loop

    run(scenario())
    assert caplog.text.count("a failed") == 1
    assert "a bug" in caplog.text


def test_one_key_is_never_worked_on_twice_at_once() -> None:
    async def scenario() -> None:
        clock = VirtualClock()
        queue = WorkQueue(clock)
        busy: set[str] = set()
        runs = 0

        async def reconcile(key: str) -> None:
            nonlocal runs
            assert key not in busy
            busy.add(key)
            queue.add(key) if runs < 5 else None
            runs += 1
            await clock.sleep(1)
            busy.discard(key)

        loop = asyncio.create_task(queue.work(reconcile, 4, "test"))
        queue.add("a")
        await clock.advance(20)
        assert runs == 6
        loop.cancel()
        await asyncio.wait((loop,))

    run(scenario())


def test_a_reconcile_that_never_waits_starves_nobody() -> None:
    """Also one that makes its own key dirty each time."""

    async def scenario() -> None:
        queue = WorkQueue(VirtualClock())

        async def reconcile(key: str) -> None:
            queue.add(key)

        queue.add("restless")
        working = asyncio.create_task(queue.work(reconcile, 2, "test"))
        for _ in range(10):
            await asyncio.sleep(0)
        working.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await working

    run(scenario())
