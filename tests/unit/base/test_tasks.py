"""Task groups keep their promises where asyncio 3.11's do not."""

from __future__ import annotations

import asyncio
import itertools

import pytest

from carob.base.clock import VirtualClock
from carob.base.tasks import Begun, Signal, TaskGroup, begin, supervise


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


def test_begin_runs_until_the_first_wait_and_awaiting_it_gives_the_rest() -> None:
    async def main() -> None:
        ready: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        seen = []

        async def work() -> int:
            seen.append("begun")
            first = await ready
            await asyncio.sleep(0)
            return first + 1

        begun = begin(work())
        assert seen == ["begun"]
        assert isinstance(begun, Begun)
        asyncio.get_running_loop().call_soon(ready.set_result, 1)
        assert await begun == 2

    asyncio.run(main())


def test_what_never_waits_is_its_own_result_and_raises_at_once() -> None:
    async def main() -> None:
        async def answer() -> int:
            return 7

        async def fail() -> int:
            raise ValueError("no")

        assert begin(answer()) == 7
        with pytest.raises(ValueError, match="no"):
            begin(fail())

    asyncio.run(main())


@pytest.mark.parametrize("late", [True, False])
def test_a_begun_coroutine_meets_the_failure_that_it_waits_for(late: bool) -> None:
    async def main() -> None:
        ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        async def work() -> str:
            try:
                await ready
            except LookupError as error:
                return f"met {error.args[0]}"
            return "met nothing"

        begun = begin(work())
        assert isinstance(begun, Begun)
        if late:
            asyncio.get_running_loop().call_soon(ready.set_exception, LookupError("it"))
        else:
            ready.set_exception(LookupError("it"))
        assert await begun == "met it"

    asyncio.run(main())


def test_cancelling_who_awaits_a_begun_coroutine_cancels_it() -> None:
    async def main() -> None:
        ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        seen = []

        async def work() -> None:
            try:
                await ready
            except asyncio.CancelledError:
                seen.append("cancelled")
                raise

        async def wait(begun: Begun[None]) -> None:
            await begun

        begun = begin(work())
        assert isinstance(begun, Begun)
        task = asyncio.get_running_loop().create_task(wait(begun))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert seen == ["cancelled"]

    asyncio.run(main())
