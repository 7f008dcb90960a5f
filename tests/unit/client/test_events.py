"""Events as upstream's recorder writes them, counted, combined and never in the way."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from typing import Any

import orjson
import pytest

from carob.api.status import ApiError
from carob.api.types import core_v1, meta_v1
from carob.api.user import UserInfo
from carob.base.clock import VirtualClock
from carob.base.ids import SeededRandomness
from carob.client.events import LONGEST_WAIT_SECONDS, MAX_QUEUED, QUIET_SECONDS, EventRecorder, object_reference
from carob.client.rest import Client
from carob.transport.http import Request, Response
from carob.transport.memory import MemoryTransport
from tests.fakes.object_api import FakeApi

SOON = 2 * QUIET_SECONDS
POD = core_v1.Pod(metadata=meta_v1.ObjectMeta(name="web", namespace="shop", uid="u1", resource_version="7"))


class Flaky(MemoryTransport):
    """Does not answer the next `failing` requests."""

    failing = 0
    asked = 0

    async def send(self, request: Request) -> Response:
        self.asked += 1
        if self.failing:
            self.failing -= 1
            raise ConnectionError("nobody there")
        return await super().send(request)


class Stage:
    def __init__(self, quiet_seconds: float) -> None:
        self.api = FakeApi()
        self.clock = VirtualClock(1_700_000_000.0)
        self.transport = Flaky(self.api, UserInfo("system:node:n1"))
        client = Client(self.transport)
        self.recorder = EventRecorder(
            client, "kubelet", self.clock, SeededRandomness(1), "n1", quiet_seconds=quiet_seconds
        )

    def sent(self) -> list[tuple[str, str, Any]]:
        return [(r.method, r.path, orjson.loads(r.body)) for r in self.api.requests]


def play(scenario: Callable[[Stage], Coroutine[Any, Any, None]], quiet_seconds: float = 0.0) -> None:
    async def run() -> None:
        stage = Stage(quiet_seconds)
        loop = asyncio.create_task(stage.recorder.run())
        try:
            async with asyncio.timeout(10):
                await scenario(stage)
        finally:
            loop.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await loop

    asyncio.run(run())


def test_an_event_has_every_field_that_upstream_fills() -> None:
    async def scenario(stage: Stage) -> None:
        stage.recorder.event(POD, "Normal", "Pulled", "Pulled it", field_path="spec.containers{web}")
        await stage.clock.advance(0)
        ((method, path, body),) = stage.sent()
        assert (method, path) == ("POST", "/api/v1/namespaces/shop/events")
        assert body == {
            "kind": "Event",
            "apiVersion": "v1",
            "metadata": {"name": f"web.{1_700_000_000 * 10**9:x}", "namespace": "shop"},
            "involvedObject": {
                "kind": "Pod",
                "apiVersion": "v1",
                "namespace": "shop",
                "name": "web",
                "uid": "u1",
                "resourceVersion": "7",
                "fieldPath": "spec.containers{web}",
            },
            "reason": "Pulled",
            "message": "Pulled it",
            "source": {"component": "kubelet", "host": "n1"},
            "firstTimestamp": "2023-11-14T22:13:20Z",
            "lastTimestamp": "2023-11-14T22:13:20Z",
            "count": 1,
            "type": "Normal",
            "eventTime": None,
            "reportingComponent": "kubelet",
            "reportingInstance": "n1",
        }

    play(scenario)


def test_the_same_words_again_raise_the_count() -> None:
    async def scenario(stage: Stage) -> None:
        for _ in range(3):
            stage.recorder.event(POD, "Warning", "BackOff", "Back-off")
            await stage.clock.advance(10)
        sent = stage.sent()
        name = sent[0][2]["metadata"]["name"]
        assert [s[0] for s in sent] == ["POST", "PATCH", "PATCH"]
        assert sent[2][1] == f"/api/v1/namespaces/shop/events/{name}"
        assert sent[1][2] == {"count": 2, "lastTimestamp": "2023-11-14T22:13:30Z", "message": "Back-off"}
        assert stage.api.requests[1].headers["content-type"] == "application/strategic-merge-patch+json"

    play(scenario)


def test_the_servers_count_goes_on_where_it_is() -> None:
    async def scenario(stage: Stage) -> None:
        stage.recorder.event(POD, "Warning", "BackOff", "Back-off")
        await stage.clock.advance(1)
        stage.api.answers = [{"metadata": {"name": "web.5", "namespace": "shop"}, "count": 41}]
        stage.recorder.event(POD, "Warning", "BackOff", "Back-off")
        await stage.clock.advance(1)
        stage.recorder.event(POD, "Warning", "BackOff", "Back-off")
        await stage.clock.advance(1)
        assert stage.sent()[2][1].endswith("/web.5")
        assert stage.sent()[2][2]["count"] == 42

    play(scenario)


def test_an_event_that_expired_meanwhile_is_made_anew() -> None:
    async def scenario(stage: Stage) -> None:
        stage.recorder.event(POD, "Warning", "BackOff", "Back-off")
        await stage.clock.advance(1)
        stage.api.fail = [ApiError(404, "NotFound", "gone")]
        stage.recorder.event(POD, "Warning", "BackOff", "Back-off")
        await stage.clock.advance(1)
        sent = stage.sent()
        assert [s[0] for s in sent] == ["POST", "PATCH", "POST"]
        assert sent[2][2]["count"] == 2
        assert sent[2][2]["firstTimestamp"] == sent[0][2]["firstTimestamp"]

    play(scenario)


def test_many_texts_of_one_reason_become_one_combined_event() -> None:
    async def scenario(stage: Stage) -> None:
        for number in range(13):
            stage.recorder.event(POD, "Warning", "Unhealthy", f"probe {number}")
            await stage.clock.advance(1)
        sent = stage.sent()
        assert [s[0] for s in sent] == ["POST"] * 10 + ["PATCH"] * 3
        assert sent[9][2]["message"] == "(combined from similar events): probe 9"
        assert sent[12][2]["count"] == 4
        assert sent[12][2]["message"] == "(combined from similar events): probe 12"

    play(scenario)


def test_one_object_cannot_flood_the_cluster() -> None:
    async def scenario(stage: Stage) -> None:
        for _ in range(40):
            stage.recorder.event(POD, "Warning", "BackOff", "Back-off")
        await stage.clock.advance(0)
        assert len(stage.sent()) == 25
        await stage.clock.advance(301)
        stage.recorder.event(POD, "Warning", "BackOff", "Back-off")
        await stage.clock.advance(0)
        assert len(stage.sent()) == 26
        assert stage.sent()[-1][2]["count"] == 41

    play(scenario)


def test_without_an_answer_it_tries_again_and_a_refusal_is_final() -> None:
    async def scenario(stage: Stage) -> None:
        stage.transport.failing = 2
        stage.recorder.event(POD, "Normal", "Started", "Started it")
        await stage.clock.advance(5)
        assert stage.transport.asked == 3
        stage.api.fail = [ApiError(403, "Forbidden", "the namespace is being terminated")]
        stage.recorder.event(POD, "Normal", "Killing", "Stopping it")
        await stage.clock.advance(60)
        assert stage.transport.asked == 4

    play(scenario)


def test_recording_never_blocks_and_drops_when_full(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario(stage: Stage) -> None:
        for number in range(MAX_QUEUED + 5):
            reference = core_v1.ObjectReference(kind="Node", name=f"n{number}")
            stage.recorder.event(reference, "Normal", "NodeReady", "ready")
        for _ in range(40):
            await stage.clock.advance(0)
        assert len(stage.sent()) == MAX_QUEUED
        assert stage.sent()[0][1] == "/api/v1/namespaces/default/events"

    play(scenario)
    assert "dropped 5 events" in caplog.text


def test_names_that_would_be_invalid_are_replaced() -> None:
    async def scenario(stage: Stage) -> None:
        stage.recorder.event(core_v1.ObjectReference(kind="Node", name="Odd_Name"), "Normal", "X", "x")
        await stage.clock.advance(0)
        assert len(stage.sent()[0][2]["metadata"]["name"]) == 36

    play(scenario)


def test_a_reference_names_its_object() -> None:
    assert object_reference(POD) == core_v1.ObjectReference(
        kind="Pod", api_version="v1", namespace="shop", name="web", uid="u1", resource_version="7"
    )


def test_what_is_recorded_is_sent_when_nothing_more_is_for_a_moment_and_soon_anyway() -> None:
    async def scenario(stage: Stage) -> None:
        for number in range(4):
            stage.recorder.event(POD, "Normal", f"Reason{number}", "words")
            await stage.clock.advance(QUIET_SECONDS / 2)
        assert stage.sent() == []
        await stage.clock.advance(SOON)
        assert [body["reason"] for _, _, body in stage.sent()] == [f"Reason{number}" for number in range(4)]
        # somebody who never stops
        begun = stage.clock.monotonic()
        while len(stage.sent()) == 4:
            stage.recorder.event(POD, "Normal", "Restless", "words")
            await stage.clock.advance(QUIET_SECONDS / 2)
        assert stage.clock.monotonic() - begun <= LONGEST_WAIT_SECONDS + SOON

    play(scenario, QUIET_SECONDS)
