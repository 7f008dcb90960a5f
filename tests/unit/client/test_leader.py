"""Leader election: at most one leads at any time, and a silent leader is replaced."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from typing import Any

import orjson
import pytest

from carob.api.resources import TABLE
from carob.api.status import already_exists, conflict, not_found
from carob.api.user import UserInfo
from carob.base.clock import VirtualClock
from carob.client.leader import LeaderElector
from carob.client.rest import Client
from carob.transport.http import Request, Response
from carob.transport.memory import MemoryTransport

LEASES = TABLE.by_kind("coordination.k8s.io/v1", "Lease")
assert LEASES is not None


class LeaseApi:
    """One Lease with optimistic writes."""

    def __init__(self) -> None:
        self.tree: dict[str, Any] | None = None
        self.revision = 0

    def __call__(self, request: Request) -> Response:
        assert LEASES is not None
        if request.method == "GET":
            if self.tree is None:
                error = not_found(LEASES, "part")
                return Response(error.code, error.body())
            return Response(body=orjson.dumps(self.tree))
        body = orjson.loads(request.body)
        present = self.tree["metadata"]["resourceVersion"] if self.tree else None
        if request.method == "POST" and self.tree:
            error = already_exists(LEASES, "part")
            return Response(error.code, error.body())
        if request.method == "PUT" and body["metadata"]["resourceVersion"] != present:
            error = conflict(LEASES, "part")
            return Response(error.code, error.body())
        self.revision += 1
        body["metadata"]["resourceVersion"] = str(self.revision)
        self.tree = body
        return Response(body=orjson.dumps(body))


class Cut(MemoryTransport):
    """A road that can be cut, or whose answers get lost."""

    cut = False
    mute = False

    async def send(self, request: Request) -> Response:
        if self.cut:
            raise ConnectionError("cut")
        answer = await super().send(request)
        if self.mute:
            await asyncio.Event().wait()
        return answer


class Stage:
    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.api = LeaseApi()
        self.roads: dict[str, Cut] = {}
        self.tasks: dict[str, asyncio.Task[None]] = {}
        self.leading: set[str] = set()
        self.history: list[str] = []

    def start(self, identity: str, work: Callable[[], Coroutine[Any, Any, None]] | None = None) -> LeaderElector:
        road = self.roads[identity] = Cut(self.api, UserInfo(identity))
        elector = LeaderElector(Client(road), self.clock, name="part", identity=identity)

        async def lead() -> None:
            assert not self.leading, "two lead"
            self.leading.add(identity)
            self.history.append(identity)
            try:
                await asyncio.Event().wait()
            finally:
                self.leading.discard(identity)

        self.tasks[identity] = asyncio.create_task(elector.run(work or lead))
        return elector


def play(scenario: Callable[[Stage], Coroutine[Any, Any, None]]) -> None:
    async def run() -> None:
        stage = Stage()
        try:
            async with asyncio.timeout(10):
                await scenario(stage)
        finally:
            for task in stage.tasks.values():
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError, RuntimeError):
                    await task

    asyncio.run(run())


def test_one_leads_and_stays_leader() -> None:
    async def scenario(stage: Stage) -> None:
        one = stage.start("one")
        await stage.clock.advance(1)
        two = stage.start("two")
        await stage.clock.advance(120)
        assert stage.history == ["one"]
        assert (one.leading, two.leading, two.leader) == (True, False, "one")
        assert stage.api.tree is not None
        assert stage.api.tree["spec"]["leaseTransitions"] == 0

    play(scenario)


def test_a_leader_that_leaves_hands_over_at_once() -> None:
    async def scenario(stage: Stage) -> None:
        stage.start("one")
        await stage.clock.advance(1)
        stage.start("two")
        await stage.clock.advance(1)
        stage.tasks["one"].cancel()
        await stage.clock.advance(3)
        assert stage.leading == {"two"}
        assert stage.api.tree is not None
        assert stage.api.tree["spec"]["leaseTransitions"] == 1

    play(scenario)


def test_a_silent_leader_stops_before_the_next_begins() -> None:
    async def scenario(stage: Stage) -> None:
        stage.start("one")
        await stage.clock.advance(1)
        stage.start("two")
        await stage.clock.advance(5)
        stage.roads["one"].cut = True
        await stage.clock.advance(11)
        assert stage.leading == set()
        await stage.clock.advance(10)
        assert stage.leading == {"two"}
        stage.roads["one"].cut = False
        await stage.clock.advance(60)
        assert stage.history == ["one", "two"]

    play(scenario)


@pytest.mark.parametrize("silent_after", [1.0, 2.5, 3.9, 4.0])
def test_an_answer_that_does_not_come_does_not_stretch_the_term(silent_after: float) -> None:
    """The stage refuses two that lead at once."""

    async def scenario(stage: Stage) -> None:
        stage.start("one")
        await stage.clock.advance(1)
        stage.start("two")
        await stage.clock.advance(silent_after)
        stage.roads["one"].mute = True
        await stage.clock.advance(12.1)
        assert "one" not in stage.leading
        await stage.clock.advance(20)
        assert stage.history == ["one", "two"]

    play(scenario)


def test_work_that_fails_or_ends_is_not_hidden() -> None:
    async def scenario(stage: Stage) -> None:
        async def broken() -> None:
            raise LookupError("a bug")

        async def short() -> None:
            return

        stage.start("one", broken)
        await stage.clock.advance(1)
        assert isinstance(stage.tasks["one"].exception(), LookupError)
        stage.start("two", short)
        await stage.clock.advance(5)
        assert isinstance(stage.tasks["two"].exception(), RuntimeError)
        stage.tasks.clear()

    play(scenario)


def test_times_that_let_two_lead_are_refused() -> None:
    with pytest.raises(ValueError, match="outlast"):
        LeaderElector(
            Client(MemoryTransport(LeaseApi(), UserInfo("x"))), VirtualClock(), name="a", identity="b", renew_seconds=20
        )
