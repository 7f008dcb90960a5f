"""The scheduler as a part of a server: `Scheduler(client, clock, randomness).run()`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from carob.scheduler.loop import SchedulingLoop

if TYPE_CHECKING:
    from carob.base.clock import Clock
    from carob.base.ids import Randomness
    from carob.client.rest import Client

DEFAULT_NAME = "default-scheduler"


class Scheduler:
    """Gives nodes to the Pods whose `schedulerName` is `name`."""

    def __init__(self, client: Client, clock: Clock, randomness: Randomness, *, name: str = DEFAULT_NAME) -> None:
        self._client = client
        self._clock = clock
        self._randomness = randomness
        self._name = name

    async def run(self) -> None:
        """Schedule until cancelled; a second run starts from nothing but the API."""
        await SchedulingLoop(self._client, self._clock, self._randomness, self._name).run()
