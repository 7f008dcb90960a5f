"""Many writes at a time, carefully begun: one, two, four … as long as they go well.

So a quota that refuses every Pod costs one refused request, not a thousand.
Source: kube-controller-manager `controller_utils.go` slowStartBatch.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

from carob.base.tasks import TaskGroup

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Sequence

T = TypeVar("T")

MAX_BURST = 500


def batches(count: int) -> Iterator[int]:
    """Sizes 1, 2, 4 … that sum up to `count`."""
    size = 1
    while count > 0:
        taken = min(size, count)
        yield taken
        count -= taken
        size *= 2


async def in_batches(work: Sequence[T], act: Callable[[T], Awaitable[None]]) -> Exception | None:
    """Act on each, a batch at a time; stop after a batch in which one failed, and return its failure."""
    done = 0
    for size in batches(len(work)):
        failure = await at_once(work[done : done + size], act)
        if failure is not None:
            return failure
        done += size
    return None


async def at_once(work: Sequence[T], act: Callable[[T], Awaitable[None]]) -> Exception | None:
    """Act on all at the same time and return the first failure, when all have ended."""
    failures: list[Exception] = []

    async def one(item: T) -> None:
        try:
            await act(item)
        except asyncio.CancelledError:
            raise
        except Exception as error:  # noqa: BLE001 - returned to the caller, which raises it
            failures.append(error)

    if len(work) == 1:
        await one(work[0])
    else:
        async with TaskGroup() as group:
            for item in work:
                group.spawn(one(item), "batch")
    return failures[0] if failures else None
