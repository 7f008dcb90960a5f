"""Task groups keep their promises where asyncio 3.11's do not."""

from __future__ import annotations

import asyncio
import itertools

import pytest

from carob.base.clock import VirtualClock
from carob.base.tasks import Signal, TaskGroup, supervise


class Broken(Exception):
    """What a test's part fails with."""


async def _fail() -> None:
    raise Broken


async def _forever() -> None:
    await asyncio.get_running_loop().create_future()


def test_a_failure_cancels_the_others_and_is_raised() -> None:
    async def main() -> None:
        with pytest.raises(Broken):
            async with TaskGroup() as group:
                waiting = group.spawn(_forever(), "waiting")
                group.spawn(_fail(), "failing")
        assert waiting.cancelled()

    asyncio.run(main())


def test_the_body_is_woken_by_a_childs_failure() -> None:
    async def main() -> None:
        with pytest.raises(Broken):
            async with TaskGroup() as group:
                group.spawn(_fail(), "failing")
                await _forever()
        # the cancellation that woke the body is not left over
        await asyncio.sleep(0)

    asyncio.run(main())


def test_cancelling_the_group_ends_the_block_normally() -> None:
    async def main() -> None:
        async with TaskGroup() as group:
            group.spawn(_forever(), "a")
            group.cancel()

    asyncio.run(main())


def test_a_failure_wins_over_a_cancellation_from_outside() -> None:
    async def stubborn() -> None:
        try:
            await _forever()
        except asyncio.CancelledError:
            raise Broken from None

    async def part() -> None:
        async with TaskGroup() as group:
            group.spawn(stubborn(), "stubborn")

    async def main() -> None:
        task = asyncio.get_running_loop().create_task(part())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(Broken):
            await task

    asyncio.run(main())


def test_several_failures_are_a_group() -> None:
    async def fails_when_cancelled() -> None:
        try:
            await _forever()
        except asyncio.CancelledError:
            raise Broken("second") from None

    async def main() -> None:
        with pytest.raises(BaseExceptionGroup) as raised:
            async with TaskGroup() as group:
                group.spawn(fails_when_cancelled(), "second")
                await asyncio.sleep(0)
                group.spawn(_fail(), "first")
        assert len(raised.value.exceptions) == 2

    asyncio.run(main())


def test_nobody_joins_a_closing_group() -> None:
    async def main() -> None:
        async with TaskGroup() as group:
            group.cancel()
            with pytest.raises(RuntimeError, match="closing"):
                group.spawn(_forever(), "late")

    asyncio.run(main())


def test_a_signal_is_never_lost() -> None:
    async def main() -> None:
        signal = Signal()
        signal.set()
        signal.set()
        await signal.wait()
        waiting = asyncio.get_running_loop().create_task(signal.wait())
        await asyncio.sleep(0)
        assert not waiting.done()
        signal.set()
        await waiting

    asyncio.run(main())


def test_a_crashed_part_is_run_again_with_growing_delays() -> None:
    async def main() -> None:
        clock = VirtualClock()
        runs: list[float] = []

        async def part() -> None:
            runs.append(clock.monotonic())
            raise Broken

        task = asyncio.get_running_loop().create_task(supervise("part", part, clock))
        await clock.advance(0.75)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        gaps = [round(b - a, 3) for a, b in itertools.pairwise(runs)]
        assert gaps == [0.1, 0.2, 0.4]

    asyncio.run(main())
