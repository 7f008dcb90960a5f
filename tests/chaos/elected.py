"""The simulated cluster with two servers over one store: whose scheduler and controllers work is decided by leases."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from carob.apiserver.options import ApiServerOptions
from carob.apiserver.server import ApiServer
from carob.base.tasks import supervise
from carob.client.leader import LeaderElector
from carob.client.rest import Client
from carob.controllers.runner import Controllers
from carob.scheduler.scheduler import Scheduler
from tests.chaos.simulation import Road, Simulation

if TYPE_CHECKING:
    from carob.transport.memory import MemoryTransport

SERVERS = ("one", "two")


class OwnRoad(Road):
    """From a server's parts to that very server; `silent` as if the machine stood still."""

    def __init__(self, server: Server, user: str) -> None:
        super().__init__(server.simulation, user)
        self._server = server

    def _there(self) -> MemoryTransport:
        if self._server.silent:
            raise ConnectionError("no answer")
        return self._to(self._server.api)


class Server:
    """API server, scheduler and controllers of one process."""

    def __init__(self, simulation: ElectedSimulation, name: str) -> None:
        self.simulation = simulation
        self.name = name
        self.api: ApiServer | None = None
        self.silent = False
        self._roads: list[OwnRoad] = []
        self._parts: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        simulation = self.simulation
        self.silent = False
        api = ApiServer(simulation.store, ApiServerOptions(), simulation.clock, simulation.randomness)
        await api.start()
        self.api = api

        def scheduler(client: Client) -> Awaitable[None]:
            return Scheduler(client, simulation.clock, simulation.randomness).run()

        def controllers(client: Client) -> Awaitable[None]:
            return Controllers(client, simulation.clock, simulation.randomness, simulation.options).run()

        for lease, work in (("kube-scheduler", scheduler), ("kube-controller-manager", controllers)):
            part = supervise(lease, lambda lease=lease, work=work: self._compete(lease, work), simulation.clock)  # type: ignore[misc]
            self._parts.append(simulation.spawn(part, f"{lease} of {self.name}"))

    async def _compete(self, lease: str, work: Callable[[Client], Awaitable[None]]) -> None:
        clock = self.simulation.clock
        road = OwnRoad(self, f"system:{lease}")
        self._roads.append(road)
        client = Client(road)

        async def lead() -> None:
            with self.simulation.leading(lease, self.name):
                await work(client)

        await LeaderElector(client, clock, name=lease, identity=self.name).run(lead)

    async def silence(self, silent: bool) -> None:
        """Let the parts get no answer any more, or again."""
        self.silent = silent
        if silent:
            await self._cut()

    async def kill(self) -> None:
        """At once: nothing is given up, nobody is told."""
        await self.silence(True)
        api, self.api = self.api, None
        parts, self._parts = self._parts, []
        for task in parts:
            task.cancel()
        await asyncio.gather(*parts, return_exceptions=True)
        self._roads.clear()
        if api is not None:
            await api.close()

    async def _cut(self) -> None:
        for road in self._roads:
            await road.close()


class _Term:
    def __init__(self, simulation: ElectedSimulation, lease: str, name: str) -> None:
        self._simulation = simulation
        self._lease = lease
        self._name = name

    def __enter__(self) -> None:
        working = self._simulation.working.setdefault(self._lease, [])
        working.append(self._name)
        self._simulation.terms += 1
        if len(working) > 1:
            self._simulation.broken.append(f"{self._lease}: {working} work at once")

    def __exit__(self, *_: object) -> None:
        self._simulation.working[self._lease].remove(self._name)


class ElectedSimulation(Simulation):
    """Clients ask the first server that lives."""

    working: dict[str, list[str]]
    terms: int

    def leading(self, lease: str, name: str) -> _Term:
        """Somebody works as the leader."""
        return _Term(self, lease, name)

    async def start_server(self) -> None:
        if not hasattr(self, "servers"):
            self.servers = [Server(self, name) for name in SERVERS]
            self.working, self.terms = {}, 0
        for server in self.servers:
            if server.api is None:
                await server.start()
        if self.api is None:
            self.api = self.servers[0].api

    async def stop_server(self) -> None:
        for server in self.servers:
            await self.kill(server)

    async def kill(self, server: Server) -> None:
        """The clients go on with the other one, if there is one."""
        api = server.api
        await server.kill()
        if self.api is api:
            self.api = next((other.api for other in self.servers if other.api is not None), None)
            await self.cut_connections()

    def leader(self) -> Server:
        """Who does the controllers' work; the first server if nobody does."""
        working = self.working.get("kube-controller-manager") or [SERVERS[0]]
        return next(server for server in self.servers if server.name == working[0])
