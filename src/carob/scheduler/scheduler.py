"""The scheduler as a part of a server: `Scheduler(client, clock, randomness).run()`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from carob.api.status import unavailable
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
        self._loop: SchedulingLoop | None = None

    async def run(self) -> None:
        """Schedule until cancelled; a second run starts from nothing but the API."""
        loop = self._loop = SchedulingLoop(self._client, self._clock, self._randomness, self._configuration)
        try:
            await loop.run()
        finally:
            self._loop = None

    async def explain(self, namespace: str, name: str, profile: str = "") -> dict[str, Any]:
        """Why a Pod goes where it goes (`report.tree_of`); `profile`: judged by another one than its own.

        Raises: ApiError; 503 while the scheduler does not run here.
        """
        loop = self._loop
        if loop is None or not loop.ready:
            raise unavailable("the scheduler does not run on this server")
        return await loop.explain(namespace, name, profile)
