"""Appointments on virtual time: kept in order, cancelled, and one that fails keeps no other waiting."""

from __future__ import annotations

import asyncio

import pytest

from carob.apiserver.deadlines import Deadlines
from carob.base.clock import VirtualClock


def test_appointments_are_kept_in_order_whenever_they_are_made() -> None:
    async def main() -> None:
        clock = VirtualClock(0.0)
        deadlines, kept = Deadlines(clock), []
        deadlines.at(5, lambda: kept.append("five"))
        await clock.advance(1)
        deadlines.at(3, lambda: kept.append("three"))
        deadlines.at(9, lambda: kept.append("nine")).cancel()

        def later() -> None:
            deadlines.at(6, lambda: kept.append("six"))

        deadlines.at(4, later)
        await clock.advance(3)
        assert kept == ["three"]
        await clock.advance(10)
        assert kept == ["three", "five", "six"]
        deadlines.at(20, lambda: kept.append("twenty"))
        await clock.advance(10)
        assert kept[-1] == "twenty"
        await deadlines.close()

    asyncio.run(main())


def test_one_that_raises_is_logged_and_the_next_is_kept(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        clock = VirtualClock(0.0)
        deadlines, kept = Deadlines(clock), []

        def fail() -> None:
            raise ValueError("oops")

        deadlines.at(1, fail)
        deadlines.at(1, lambda: kept.append("kept"))
        await clock.advance(2)
        assert kept == ["kept"]
        await deadlines.close()

    asyncio.run(main())
    assert "an appointment raised" in caplog.text


def test_what_was_cancelled_does_not_pile_up() -> None:
    async def main() -> None:
        clock = VirtualClock(0.0)
        deadlines, kept = Deadlines(clock), []
        deadlines.at(50, lambda: kept.append("kept"))
        for _ in range(5000):
            deadlines.at(3600, lambda: kept.append("never")).cancel()
        assert len(deadlines) < 600
        await clock.advance(4000)
        assert kept == ["kept"]
        await deadlines.close()

    asyncio.run(main())
