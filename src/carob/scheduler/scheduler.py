"""The scheduler as a part of a server: `Scheduler(client, clock, randomness).run()`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from carob.scheduler.loop import SchedulingLoop
from carob.scheduler.profiles import Configuration

if TYPE_CHECKING:
    from carob.base.clock import Clock
    from carob.base.ids import Randomness
    from carob.client.rest import Client


class Scheduler:
    """Gives nodes to the Pods whose `schedulerName` is that of one of the profiles."""

    def __init__(
        self, client: Client, clock: Clock, randomness: Randomness, configuration: Configuration | None = None
    ) -> None:
        self._client = client
        self._clock = clock
        self._randomness = randomness
        self._configuration = configuration or Configuration()

    async def run(self) -> None:
        """Schedule until cancelled; a second run starts from nothing but the API."""
        await SchedulingLoop(self._client, self._clock, self._randomness, self._configuration).run()
