"""What every handler works with: one object of references, made by the engine."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from msgspec import Struct, field

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from carob.apiserver.deadlines import Deadlines
    from carob.apiserver.objects import Objects
    from carob.apiserver.presenters import Presenters
    from carob.apiserver.registry import Strategies
    from carob.apiserver.types import Admission
    from carob.base.clock import Clock
    from carob.base.ids import Randomness


class Backend(Struct):
    """The engine's parts."""

    objects: Objects
    strategies: Strategies
    admission: Admission
    clock: Clock
    randomness: Randomness
    presenters: Presenters
    deadlines: Deadlines
    gates: frozenset[str]
    """Feature gates that are open."""
    tasks: set[asyncio.Task[Any]] = field(default_factory=set)

    def spawn(self, coroutine: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        """Run something that outlives its request; the engine cancels it when it closes."""
        task = asyncio.get_running_loop().create_task(coroutine, name=name)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        return task
