"""The informer's copy equals the server's state again after whatever happened, and tells every difference once."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any
from urllib.parse import parse_qs

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from carob.api.scalars import NOTHING
from carob.api.status import ApiError
from carob.api.types import core_v1
from carob.api.user import UserInfo
from carob.base.clock import VirtualClock
from carob.base.ids import SeededRandomness
from carob.base.tasks import TaskGroup
from carob.client.informer import Informer, split_key
from carob.client.rest import Client
from carob.transport.http import Request
from carob.transport.memory import MemoryTransport
from tests.fakes.object_api import FakeApi

Told = list[tuple[str, str | None, str | None]]


class Stage:
    """An API, a client, an informer and what its subscriber was told."""

    def __init__(self) -> None:
        self.api = FakeApi()
        self.clock = VirtualClock()
        self.transport = MemoryTransport(self.api, UserInfo("me"))
        self.client = Client(self.transport)
        self.informer = Informer(
            self.client, core_v1.ConfigMap, self.clock, namespace="default", randomness=SeededRandomness(1)
        )
        self.told: Told = []
        self.informer.subscribe(self.tell)

    def tell(self, key: str, old: core_v1.ConfigMap | None, new: core_v1.ConfigMap | None) -> None:
        versions = [obj.metadata.resource_version if obj is not None else None for obj in (old, new)]
        self.told.append((key, versions[0], versions[1]))

    async def settle(self, seconds: float = 0.0) -> None:
        await self.clock.advance(seconds)

    def lists(self) -> int:
        return sum("watch=" not in request.query for request in self.api.requests)

    def content(self) -> dict[str, str]:
        pairs = zip(self.informer.keys(), self.informer.items(), strict=True)
        return {key: obj.metadata.resource_version for key, obj in pairs}

    def expected(self) -> dict[str, str]:
        return {f"default/{name}": tree["metadata"]["resourceVersion"] for name, tree in self.api.objects.items()}


@contextlib.asynccontextmanager
async def running(stage: Stage) -> AsyncIterator[Stage]:
    async with TaskGroup() as group:
        group.spawn(stage.informer.run(), "informer")
        await stage.settle()
        yield stage
        group.cancel()
    await stage.transport.close()


def play(scenario: Callable[[Stage], Coroutine[Any, Any, None]]) -> None:
    async def run() -> None:
        async with asyncio.timeout(20):
            await scenario(Stage())

    asyncio.run(run())


def test_it_lists_watches_and_tells() -> None:
    async def scenario(stage: Stage) -> None:
        stage.api.put("a")
        assert not stage.informer.synced
        async with running(stage):
            await stage.informer.wait_synced()
            stage.api.put("b")
            stage.api.put("a")
            stage.api.bookmark()
            stage.api.remove("b")
            await stage.settle()
            assert stage.content() == stage.expected() == {"default/a": "13"}
            assert stage.told == [
                ("default/a", None, "11"),
                ("default/b", None, "12"),
                ("default/a", "11", "13"),
                ("default/b", "12", None),
            ]
            late: list[str] = []
            stage.informer.subscribe(lambda key, old, new: late.append(key))
            assert late == ["default/a"]
            kept = stage.informer.get("default/a")
            assert kept is not None
            assert kept.metadata.managed_fields is NOTHING
            assert len(stage.informer) == len(list(stage.informer.items())) == 1

    play(scenario)


@pytest.mark.parametrize("cut", [False, True])
def test_a_watch_that_ends_is_resumed_without_listing(cut: bool) -> None:
    async def scenario(stage: Stage) -> None:
        async with running(stage):
            stage.api.put("a")
            stage.api.bookmark()
            await stage.settle(5)
            stage.api.hang_up(cut=cut)
            stage.api.put("b")
            await stage.settle(5)
            assert stage.content() == stage.expected()
            assert stage.lists() == 1
            assert len(stage.told) == 2
            last = parse_qs(stage.api.requests[-1].query)
            assert last["resourceVersion"] == ["12"]
            assert last["allowWatchBookmarks"] == ["true"]
            assert 300 <= int(last["timeoutSeconds"][0]) <= 600

    play(scenario)


def test_after_expiry_it_lists_again_and_tells_only_the_differences() -> None:
    async def scenario(stage: Stage) -> None:
        for name in ("same", "changed", "gone", "remade"):
            stage.api.put(name)
        async with running(stage):
            await stage.settle()
            stage.told.clear()
            stage.api.hang_up()
            stage.api.put("changed")
            stage.api.remove("gone")
            stage.api.remove("remade")
            stage.api.put("remade")
            stage.api.put("fresh")
            stage.api.compact()
            await stage.settle(5)
            assert stage.content() == stage.expected()
            assert sorted(stage.told, key=str) == sorted(
                [
                    ("default/changed", "12", "15"),
                    ("default/gone", "13", None),
                    ("default/remade", "14", None),
                    ("default/remade", None, "18"),
                    ("default/fresh", None, "19"),
                ],
                key=str,
            )

    play(scenario)


def test_an_error_in_the_stream_leads_to_a_new_list() -> None:
    async def scenario(stage: Stage) -> None:
        async with running(stage):
            stage.api.put("a")
            await stage.settle(2)
            stage.api.error(ApiError(410, "Expired", "too old"))
            stage.api.put("b")
            await stage.settle(5)
            assert stage.content() == stage.expected()
            assert stage.lists() == 2

    play(scenario)


def test_it_lists_page_by_page_and_starts_anew_when_a_page_has_expired() -> None:
    async def scenario(stage: Stage) -> None:
        stage.api.page = 2
        for name in "abcde":
            stage.api.put(name)

        def expire(request: Request) -> None:
            if "continue=4" in request.query and stage.lists() == 3:
                stage.api.remove("a")
                stage.api.compact()

        stage.api.before = expire
        async with running(stage):
            await stage.settle(5)
            assert stage.content() == stage.expected()
            assert set(stage.content()) == {"default/b", "default/c", "default/d", "default/e"}
            assert stage.lists() == 3 + 2

    play(scenario)


def test_failures_are_retried_after_growing_delays() -> None:
    async def scenario(stage: Stage) -> None:
        stage.api.put("a")
        stage.api.fail = [ApiError(403, "Forbidden", "not yet")] * 6
        async with running(stage):
            assert len(stage.api.requests) == 1
            await stage.settle(0.1)
            assert len(stage.api.requests) == 2
            await stage.settle(0.5)
            assert len(stage.api.requests) < 6
            await stage.settle(20)
            assert stage.content() == stage.expected()

    play(scenario)


def test_what_is_no_object_does_not_stop_it(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario(stage: Stage) -> None:
        async with running(stage):
            stage.api.sinks[0].write(b'{"type":"ADDED","object":{"metadata":7}}\n')
            stage.api.put("a")
            await stage.settle(5)
            assert stage.content() == stage.expected()

    play(scenario)
    assert "is no ConfigMap" in caplog.text


def test_a_subscriber_that_raises_costs_nobody_else(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario(stage: Stage) -> None:
        def broken(key: str, old: Any, new: Any) -> None:
            raise LookupError(key)

        stage.informer.subscribe(broken)
        also: list[str] = []
        stage.informer.subscribe(lambda key, old, new: also.append(key))
        async with running(stage):
            stage.api.put("a")
            await stage.settle()
            assert also == ["default/a"]
            assert stage.content() == stage.expected()

    play(scenario)
    assert "a handler failed on default/a" in caplog.text


def test_indexes_follow_the_objects() -> None:
    async def scenario(stage: Stage) -> None:
        stage.api.put("a", app="web")
        async with running(stage):
            stage.informer.add_index("app", lambda obj: obj.metadata.labels.values())
            stage.api.put("b", app="web")
            stage.api.put("a", app="db")
            await stage.settle()
            assert [obj.metadata.name for obj in stage.informer.by_index("app", "web")] == ["b"]
            assert [obj.metadata.name for obj in stage.informer.by_index("app", "db")] == ["a"]
            stage.api.remove("b")
            await stage.settle()
            assert stage.informer.by_index("app", "web") == []

    play(scenario)


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.tuples(st.sampled_from(["put", "remove"]), st.sampled_from("abc")),
            st.tuples(st.sampled_from(["hang_up", "cut", "compact", "error", "fail", "bookmark", "wait"]), st.just("")),
        ),
        max_size=30,
    )
)
def test_whatever_happens_it_ends_with_the_servers_state(script: list[tuple[str, str]]) -> None:
    async def scenario(stage: Stage) -> None:
        seen: dict[str, str] = {}

        def follow(key: str, old: Any, new: Any) -> None:
            # what a subscriber is told adds up to the copy
            assert seen.get(key) == (old.metadata.resource_version if old else None)
            if new is None:
                del seen[key]
            else:
                seen[key] = new.metadata.resource_version

        stage.informer.subscribe(follow)
        async with running(stage):
            for act, name in script:
                if act == "put":
                    stage.api.put(name)
                elif act == "remove":
                    if name in stage.api.objects:
                        stage.api.remove(name)
                elif act == "cut":
                    stage.api.hang_up(cut=True)
                elif act == "error":
                    stage.api.error(ApiError(504, "Timeout", "too large"))
                elif act == "fail":
                    stage.api.fail.append(LookupError())
                elif act == "wait":
                    await stage.settle(1)
                else:
                    getattr(stage.api, act)()
            await stage.settle(60)
            assert stage.content() == seen == stage.expected()

    play(scenario)


def test_keys_are_split() -> None:
    assert split_key("ns/name") == ("ns", "name")
    assert split_key("name") == ("", "name")
