"""Several servers behind one road: whoever answers is asked, and no write is sent twice."""

from __future__ import annotations

import asyncio

import pytest

from carob.api.user import UserInfo
from carob.transport.failover import FailoverTransport
from carob.transport.http import Request, Response
from carob.transport.memory import MemoryTransport


class Road(MemoryTransport):
    def __init__(self, name: str) -> None:
        super().__init__(lambda request: Response(body=name.encode()), UserInfo("me"))
        self.failure: ConnectionError | None = None
        self.asked: list[str] = []

    async def send(self, request: Request) -> Response:
        self.asked.append(request.method)
        if self.failure is not None:
            raise self.failure
        return await super().send(request)


async def ask(road: FailoverTransport, method: str) -> str:
    return (await road.send(Request(method, "/", "", {}, b""))).body.decode()


def test_the_server_that_answered_last_is_asked_first() -> None:
    async def body() -> None:
        one, two = Road("one"), Road("two")
        road = FailoverTransport([one, two])
        assert await ask(road, "GET") == "one"
        one.failure = ConnectionResetError("gone")
        assert await ask(road, "GET") == "two"
        one.failure = None
        assert await ask(road, "POST") == "two"
        two.failure = ConnectionRefusedError("down")
        assert await ask(road, "POST") == "one"

    asyncio.run(body())


def test_a_write_that_may_have_been_made_is_not_repeated() -> None:
    async def body() -> None:
        one, two = Road("one"), Road("two")
        road = FailoverTransport([one, two])
        one.failure = ConnectionResetError("cut in the middle")
        with pytest.raises(ConnectionResetError):
            await ask(road, "POST")
        assert two.asked == []
        # but the next request goes where somebody lives
        assert await ask(road, "POST") == "two"

    asyncio.run(body())


def test_nobody_there_is_a_failure_and_not_an_endless_search() -> None:
    async def body() -> None:
        roads = [Road("one"), Road("two"), Road("three")]
        for road in roads:
            road.failure = ConnectionRefusedError("down")
        with pytest.raises(ConnectionError):
            await ask(FailoverTransport(roads), "GET")
        assert [len(road.asked) for road in roads] == [1, 1, 1]

    asyncio.run(body())
    with pytest.raises(ValueError, match="no server"):
        FailoverTransport([])


def test_a_silent_server_is_left_and_servers_come_and_go() -> None:
    async def body() -> None:
        one, two, three = Silent("one"), Road("two"), Road("three")
        road = FailoverTransport([one, two], patience_seconds=0.01)
        with pytest.raises(ConnectionResetError, match="did not answer within"):
            await ask(road, "POST")
        assert await ask(road, "POST") == "two"
        road.replace([one, three, two])
        assert await ask(road, "POST") == "two"
        road.replace([three])
        assert await ask(road, "POST") == "three"
        three.failure = ConnectionRefusedError("down")
        with pytest.raises(ConnectionRefusedError):
            await ask(road, "GET")
        assert three.asked == ["POST", "GET"]

    asyncio.run(body())


class Silent(Road):
    """A machine without power: nothing comes back."""

    async def send(self, request: Request) -> Response:
        await asyncio.get_running_loop().create_future()
        raise AssertionError
