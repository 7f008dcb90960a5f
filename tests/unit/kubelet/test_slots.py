"""Slots: never more than allowed, containers before sandboxes, nothing lost to who gives up waiting."""

from __future__ import annotations

import asyncio

from carob.kubelet.slots import Slots, Turn


def test_containers_go_before_sandboxes_and_never_too_many() -> None:
    async def main() -> None:
        slots, order, inside = Slots(2), [], [0]

        async def work(name: str, turn: Turn) -> None:
            async with slots.hold(turn):
                inside[0] += 1
                assert inside[0] <= 2
                order.append(name)
                await asyncio.sleep(0)
                inside[0] -= 1

        names = [("s1", Turn.SANDBOX), ("s2", Turn.SANDBOX), ("s3", Turn.SANDBOX), ("c1", Turn.CONTAINER)]
        await asyncio.gather(*(work(name, turn) for name, turn in names))
        assert order == ["s1", "s2", "c1", "s3"]

    asyncio.run(main())


def test_a_slot_is_not_lost_with_who_was_given_it() -> None:
    async def main() -> None:
        slots = Slots(1)

        async def take() -> None:
            async with slots.hold(Turn.SANDBOX):
                pass

        async with slots.hold(Turn.SANDBOX):
            waiting = [asyncio.create_task(take()) for _ in range(3)]
            await asyncio.sleep(0)
            waiting[1].cancel()
        # the first has the slot in its hands, but has not run yet
        waiting[0].cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        assert not waiting[2].cancelled()
        async with asyncio.timeout(1), slots.hold(Turn.SANDBOX):
            pass

    asyncio.run(main())
