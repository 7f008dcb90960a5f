"""Lists and watches through the engine: nothing missed, nothing twice, one consistent snapshot.

Answers: API concepts, "Efficient detection of changes", "Retrieving large results sets in chunks", "Streaming lists".
"""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest

from carob.apiserver import watch_cache
from carob.apiserver.fan_out import MAX_BUFFERED_BYTES, REST_FROM_WRITES
from tests.fakes.engine_world import (
    MAPS,
    PODS,
    TABLE_ACCEPT,
    FakeSink,
    World,
    config_map,
    in_world,
    pod,
)


def labelled(name: str, **labels: str) -> dict[str, Any]:
    made = config_map(name)
    made["metadata"]["labels"] = labels
    return made


def test_a_watch_hears_what_happens_behind_its_revision() -> None:
    async def body(world: World) -> None:
        first = await world.made(MAPS, config_map("a"))
        await world.made(MAPS, config_map("b"))
        sink = await world.watch(f"{MAPS}?watch=1&resourceVersion={first['metadata']['resourceVersion']}")
        await world.patch(f"{MAPS}/a", {"data": {"k": "2"}})
        await world.ask("DELETE", f"{MAPS}/a")
        await world.settle()
        assert sink.seen == [("ADDED", "b"), ("MODIFIED", "a"), ("DELETED", "a")]
        deleted = sink.events[-1]["object"]
        assert deleted["data"] == {"k": "2"}
        assert int(deleted["metadata"]["resourceVersion"]) == world.store.revision

    in_world(body)


def test_without_a_revision_a_watch_begins_with_the_present_state() -> None:
    async def body(world: World) -> None:
        await world.made(MAPS, config_map("a"))
        for query in ("watch=1", "watch=true&resourceVersion=0"):
            sink = await world.watch(f"{MAPS}?{query}")
            assert sink.seen == [("ADDED", "a")]
        sink = await world.watch(f"{MAPS}?watch=1&sendInitialEvents=false&resourceVersionMatch=NotOlderThan")
        assert sink.seen == []

    in_world(body)


def test_a_streamed_list_ends_with_its_bookmark() -> None:
    """KEP-3157."""

    async def body(world: World) -> None:
        made = await world.made(MAPS, config_map("a"))
        query = "watch=1&sendInitialEvents=true&allowWatchBookmarks=true&resourceVersionMatch=NotOlderThan"
        sink = await world.watch(f"{MAPS}?{query}")
        assert [event["type"] for event in sink.events] == ["ADDED", "BOOKMARK"]
        assert sink.events[1]["object"] == {
            "kind": "ConfigMap",
            "apiVersion": "v1",
            "metadata": {
                "resourceVersion": made["metadata"]["resourceVersion"],
                "annotations": {"k8s.io/initial-events-end": "true"},
            },
        }

    in_world(body)


def test_objects_enter_and_leave_a_selection() -> None:
    async def body(world: World) -> None:
        sink = await world.watch(f"{MAPS}?watch=1&labelSelector=x%3D1")
        await world.made(MAPS, config_map("a"))
        await world.patch(f"{MAPS}/a", {"metadata": {"labels": {"x": "1"}}})
        await world.patch(f"{MAPS}/a", {"data": {"k": "2"}})
        await world.patch(f"{MAPS}/a", {"metadata": {"labels": {"x": "2"}}})
        await world.ask("DELETE", f"{MAPS}/a")
        await world.settle()
        assert sink.seen == [("ADDED", "a"), ("MODIFIED", "a"), ("DELETED", "a")]
        left = sink.events[-1]["object"]
        assert left["metadata"]["labels"] == {"x": "1"}  # the last state that was selected

    in_world(body)


def test_a_node_hears_of_its_pods_alone() -> None:
    async def body(world: World) -> None:
        sink = await world.watch("/api/v1/pods?watch=1&fieldSelector=spec.nodeName%3Dn1")
        await world.made(PODS, pod("a", nodeName="n1"))
        await world.made(PODS, pod("b", nodeName="n2"))
        await world.made(PODS, pod("c"))
        binding = {"metadata": {"name": "c"}, "target": {"kind": "Node", "name": "n1"}}
        await world.made(f"{PODS}/c/binding", binding)
        await world.settle()
        assert sink.seen == [("ADDED", "a"), ("ADDED", "c")]

    in_world(body)


def test_a_watch_of_one_name() -> None:
    async def body(world: World) -> None:
        sink = await world.watch(f"{MAPS}?watch=1&fieldSelector=metadata.name%3Da")
        legacy = await world.watch("/api/v1/watch/namespaces/default/configmaps/a")
        await world.made(MAPS, config_map("b"))
        await world.made(MAPS, config_map("a"))
        await world.settle()
        assert sink.seen == legacy.seen == [("ADDED", "a")]

    in_world(body)


def test_writes_of_one_turn_are_one_chunk_shared_by_the_watchers() -> None:
    async def body(world: World) -> None:
        first, second = [await world.watch(f"{MAPS}?watch=1") for _ in range(2)]
        await asyncio.gather(*(world.made(MAPS, config_map(f"m{i}")) for i in range(5)))
        await world.settle()
        assert len(first.pieces) == 1
        assert first.pieces[0] is second.pieces[0]
        assert len(first.events) == 5

    in_world(body)


def test_a_watcher_that_does_not_read_is_cut_off() -> None:
    async def body(world: World) -> None:
        slow, quick = await world.watch(f"{MAPS}?watch=1"), await world.watch(f"{MAPS}?watch=1")
        slow.stalled = True
        big = "x" * (1 << 20)
        for i in range(MAX_BUFFERED_BYTES // len(big) + 1):
            await world.made(MAPS, config_map(f"m{i}", k=big))
            await world.settle()
        assert slow.aborted
        assert len(quick.events) == MAX_BUFFERED_BYTES // len(big) + 1
        assert not quick.closed

    in_world(body)


def test_a_watch_resumes_from_the_stores_history(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch_cache, "RECENT_CHANGES", 4)

    async def body(world: World) -> None:
        start = await world.made(MAPS, labelled("m0", x="1"))
        for i in range(1, 20):
            await world.made(MAPS, labelled(f"m{i}", x="1"))
        await world.ask("DELETE", f"{MAPS}/m3")
        revision = start["metadata"]["resourceVersion"]
        for query in ("watch=1", "watch=1&labelSelector=x"):
            sink = await world.watch(f"{MAPS}?{query}&resourceVersion={revision}")
            await world.made(MAPS, labelled("z" + query[-1], x="1"))
            await world.settle()
            assert sink.seen[:20] == [*(("ADDED", f"m{i}") for i in range(1, 20)), ("DELETED", "m3")]
            assert sink.seen[-1][0] == "ADDED"
            revisions = [int(e["object"]["metadata"]["resourceVersion"]) for e in sink.events]
            assert revisions == sorted(set(revisions))

    in_world(body)


def test_history_that_was_compacted_is_an_error_event(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch_cache, "RECENT_CHANGES", 1)

    async def body(world: World) -> None:
        for i in range(4):
            await world.made(MAPS, config_map(f"m{i}"))
        await world.store.compact(world.store.revision)
        sink = await world.watch(f"{MAPS}?watch=1&resourceVersion=2")
        assert sink.closed
        assert sink.events[0]["type"] == "ERROR"
        assert (sink.events[0]["object"]["code"], sink.events[0]["object"]["reason"]) == (410, "Expired")

    in_world(body)


def test_a_watch_from_the_future_waits_for_it() -> None:
    async def body(world: World) -> None:
        sink = await world.watch(f"{MAPS}?watch=1&resourceVersion={world.store.revision + 2}")
        for name in ("a", "b", "c"):
            await world.made(MAPS, config_map(name))
        await world.settle()
        assert sink.seen == [("ADDED", "c")]

    in_world(body)


def test_a_watch_ends_at_its_time_with_a_bookmark_before() -> None:
    async def body(world: World) -> None:
        sink = await world.watch(f"{MAPS}?watch=1&timeoutSeconds=300&allowWatchBookmarks=true")
        await world.clock.advance(100)
        assert sink.events == []  # nothing happened since it began
        await world.made(PODS, pod("p"))
        await world.clock.advance(30)
        assert [event["type"] for event in sink.events] == ["BOOKMARK"]
        assert sink.events[0]["object"]["metadata"] == {"resourceVersion": str(world.store.revision)}
        await world.clock.advance(200)
        assert sink.closed
        assert not sink.aborted
        assert len(sink.events) == 4  # each minute, and once just before the end

    in_world(body)


def test_a_table_watch_sends_its_columns_once() -> None:
    async def body(world: World) -> None:
        sinks = [await world.watch(f"{MAPS}?watch=1", {"accept": TABLE_ACCEPT})]
        await world.made(MAPS, config_map("a"))
        await world.settle()
        sinks.append(await world.watch(f"{MAPS}?watch=1", {"accept": TABLE_ACCEPT}))
        await world.made(MAPS, config_map("b"))
        await world.settle()
        for sink in sinks:
            assert [bool(event["object"]["columnDefinitions"]) for event in sink.events] == [True, False]
            assert [event["object"]["rows"][0]["cells"][0] for event in sink.events] == ["a", "b"]

    in_world(body)


def test_a_large_initial_state_is_sent_in_pieces_and_nothing_is_lost_meanwhile() -> None:
    async def body(world: World) -> None:
        big = "x" * 4000
        for i in range(300):
            await world.made(MAPS, config_map(f"m{i:03}", k=big))
        sink = await world.watch(f"{MAPS}?watch=1")
        await world.made(MAPS, config_map("n"))
        await world.patch(f"{MAPS}/m299", {"data": {"k": "small"}})
        for _ in range(20):
            await world.settle()
        assert len(sink.pieces) > 2
        assert sink.seen[:300] == [("ADDED", f"m{i:03}") for i in range(300)]
        assert sink.seen[300:] == [("ADDED", "n"), ("MODIFIED", "m299")]

    in_world(body)


# -- lists ----------------------------------------------------------------------------------------------------------------


def test_pages_show_one_moment() -> None:
    async def body(world: World) -> None:
        for name in "abcde":
            await world.made(MAPS, config_map(name))
        _, first = await world.ask("GET", f"{MAPS}?limit=2")
        assert (first["metadata"]["remainingItemCount"], len(first["items"])) == (3, 2)
        await world.ask("DELETE", f"{MAPS}/d")
        await world.made(MAPS, config_map("bb"))
        names, token = [], first["metadata"]["continue"]
        status, refused = await world.ask("GET", f"{MAPS}?continue={token}&resourceVersion=1")
        assert (status, refused["message"]) == (400, "specifying resource version is not allowed when using continue")
        assert (await world.ask("GET", f"{MAPS}?continue={token}&resourceVersion=0"))[0] == 200
        while token:
            _, page = await world.ask("GET", f"{MAPS}?limit=2&continue={token}")
            assert page["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]
            names += [item["metadata"]["name"] for item in page["items"]]
            token = page["metadata"].get("continue")
        assert names == ["c", "d", "e"]

    in_world(body)


def test_pages_over_all_namespaces_follow_the_keys() -> None:
    async def body(world: World) -> None:
        for namespace in ("a-b", "a", "b"):
            for name in ("x", "y"):
                await world.made(f"/api/v1/namespaces/{namespace}/configmaps", config_map(name))
        seen, query = [], "limit=1"
        while True:
            _, page = await world.ask("GET", f"/api/v1/configmaps?{query}")
            seen += [(i["metadata"]["namespace"], i["metadata"]["name"]) for i in page["items"]]
            if "continue" not in page["metadata"]:
                break
            query = f"limit=1&continue={page['metadata']['continue']}"
        assert seen == [("a-b", "x"), ("a-b", "y"), ("a", "x"), ("a", "y"), ("b", "x"), ("b", "y")]

    in_world(body)


def test_an_expired_token_comes_with_a_fresh_one() -> None:
    async def body(world: World) -> None:
        for name in "abc":
            await world.made(MAPS, config_map(name))
        _, first = await world.ask("GET", f"{MAPS}?limit=1")
        await world.ask("DELETE", f"{MAPS}/b")
        await world.made(MAPS, config_map("d"))
        await world.store.compact(world.store.revision)
        status, answer = await world.ask("GET", f"{MAPS}?limit=5&continue={first['metadata']['continue']}")
        assert (status, answer["reason"]) == (410, "Expired")
        status, rest = await world.ask("GET", f"{MAPS}?limit=5&continue={answer['metadata']['continue']}")
        assert [item["metadata"]["name"] for item in rest["items"]] == ["c", "d"]

    in_world(body)


def test_a_token_expires_although_nobody_wrote_to_the_list() -> None:
    """Answers the conformance test "Servers with support for API chunking … if the original version has been compacted away"."""

    async def body(world: World) -> None:
        templates = "/api/v1/namespaces/default/podtemplates"
        for number in range(40):
            spec = {"containers": [{"name": "test", "image": "test2"}]}
            await world.made(templates, {"metadata": {"name": f"template-{number:04}"}, "template": {"spec": spec}})
        _, first = await world.ask("GET", f"{templates}?limit=4")
        query = f"limit=4&continue={first['metadata']['continue']}"
        assert (await world.ask("GET", f"{templates}?{query}"))[0] == 200
        exact = f"resourceVersion={first['metadata']['resourceVersion']}&resourceVersionMatch=Exact"
        assert (await world.ask("GET", f"{templates}?{exact}"))[0] == 200
        await world.made(MAPS, config_map("elsewhere"))
        await world.store.compact(world.store.revision)
        assert (await world.ask("GET", f"{templates}?{exact}"))[0] == 410
        status, answer = await world.ask("GET", f"{templates}?{query}")
        assert (status, answer["reason"]) == (410, "Expired")
        token, found, seen = answer["metadata"]["continue"], 4, set()
        while token:
            status, page = await world.ask("GET", f"{templates}?limit=4&continue={token}")
            assert status == 200
            seen.add(page["metadata"]["resourceVersion"])
            assert [item["metadata"]["name"] for item in page["items"]] == [
                f"template-{number:04}" for number in range(found, found + 4)
            ]
            found += 4
            token = page["metadata"].get("continue", "")
            assert page["metadata"].get("remainingItemCount", 0) == 40 - found
        assert found == 40
        assert seen == {str(world.store.revision)}
        assert first["metadata"]["resourceVersion"] not in seen

    in_world(body)


def test_a_list_as_of_a_past_revision() -> None:
    async def body(world: World) -> None:
        made = await world.made(MAPS, config_map("a"))
        await world.made(MAPS, config_map("b"))
        revision = made["metadata"]["resourceVersion"]
        exact = f"{MAPS}?resourceVersion={revision}&resourceVersionMatch=Exact"
        _, past = await world.ask("GET", exact)
        assert [item["metadata"]["name"] for item in past["items"]] == ["a"]
        assert past["metadata"]["resourceVersion"] == revision
        _, fresh = await world.ask("GET", f"{MAPS}?resourceVersion={revision}&resourceVersionMatch=NotOlderThan")
        assert len(fresh["items"]) == 2
        await world.store.compact(world.store.revision)
        status, answer = await world.ask("GET", exact)
        assert (status, answer["message"]) == (410, "The resourceVersion for the provided list is too old.")

    in_world(body)


def test_a_future_revision_is_waited_for_and_then_refused() -> None:
    async def body(world: World) -> None:
        revision = world.store.revision + 1
        early = asyncio.create_task(world.ask("GET", f"{MAPS}?resourceVersion={revision}"))
        await world.settle()
        await world.made(MAPS, config_map("a"))
        assert (await early)[0] == 200
        late = asyncio.create_task(world.ask("GET", f"{MAPS}/a?resourceVersion=99999"))
        await world.clock.advance(3)
        status, answer = await late
        assert (status, answer["reason"]) == (504, "Timeout")
        assert answer["message"] == f"Timeout: Too large resource version: 99999, current: {world.store.revision}"

    in_world(body)


def test_a_large_list_goes_out_in_segments_of_known_length() -> None:
    async def body(world: World) -> None:
        for i in range(400):
            await world.made(MAPS, config_map(f"m{i:03}", k="x" * 300))
        response = await world.respond("GET", MAPS)
        assert response.segments is not None
        pieces = list(response.segments)
        assert len(pieces) > 3
        assert sum(map(len, pieces)) == response.length

    in_world(body)


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("labelSelector=x%3D1", ["a"]),
        ("labelSelector=x+in+(1,2)", ["a", "b"]),
        ("labelSelector=!x", ["c"]),
        ("fieldSelector=metadata.name!%3Da", ["b", "c"]),
        ("fieldSelector=metadata.name%3Da&labelSelector=x%3D2", []),
        ("labelSelector=x&limit=1", ["a"]),
    ],
)
def test_selectors(query: str, names: list[str]) -> None:
    async def body(world: World) -> None:
        await world.made(MAPS, labelled("a", x="1"))
        await world.made(MAPS, labelled("b", x="2"))
        await world.made(MAPS, labelled("c"))
        _, listed = await world.ask("GET", f"{MAPS}?{query}")
        assert [item["metadata"]["name"] for item in listed["items"]] == names

    in_world(body)


def test_a_long_table_is_complete() -> None:
    async def body(world: World) -> None:
        for i in range(1100):
            await world.made(MAPS, config_map(f"m{i:04}"))
        _, table = await world.ask("GET", f"{MAPS}?includeObject=None", None, {"accept": TABLE_ACCEPT})
        assert [row["cells"][0] for row in table["rows"]] == [f"m{i:04}" for i in range(1100)]

    in_world(body)


@pytest.mark.parametrize("seed", range(6))
def test_a_client_that_resumes_at_random_misses_nothing(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever happens between: what a watch tells adds up to what a list shows."""
    monkeypatch.setattr(watch_cache, "RECENT_CHANGES", 8)
    chance = random.Random(seed)

    async def write(world: World) -> None:
        namespace, name = chance.choice("ab"), chance.choice("xyz")
        path = f"/api/v1/namespaces/{namespace}/configmaps"
        labels = {"l": chance.choice("123")}
        kind = chance.randrange(3)
        if kind == 0:
            await world.ask("POST", path, {"metadata": {"name": name, "labels": labels}})
        elif kind == 1:
            await world.patch(f"{path}/{name}", {"metadata": {"labels": labels}, "data": {"k": str(chance.random())}})
        else:
            await world.ask("DELETE", f"{path}/{name}")

    async def body(world: World) -> None:
        targets = ["/api/v1/configmaps?", "/api/v1/namespaces/a/configmaps?", "/api/v1/configmaps?labelSelector=l%3D1&"]
        clients = [_Client(world, target) for target in targets]
        for client in clients:
            await client.connect()
        for _ in range(120):
            await asyncio.gather(*(write(world) for _ in range(chance.randrange(4))))
            if chance.random() < 0.3:
                await world.settle()
            if chance.random() < 0.2:
                await chance.choice(clients).connect()
        await world.settle()
        for client in clients:
            client.read()
            _, listed = await world.ask("GET", client.target.rstrip("&?"))
            shown = {(i["metadata"]["namespace"], i["metadata"]["name"]): i for i in listed["items"]}
            assert {key: obj["metadata"] for key, obj in client.known.items()} == {
                key: obj["metadata"] for key, obj in shown.items()
            }

    in_world(body)


class _Client:
    """Keeps a copy of what it watches, as an informer does, and comes back where it was."""

    def __init__(self, world: World, target: str) -> None:
        self.target = target
        self.known: dict[tuple[str, str], Any] = {}
        self._world = world
        self._revision = str(world.store.revision)
        self._sink: FakeSink | None = None

    async def connect(self) -> None:
        if self._sink is not None:
            self.read()
            self._sink.close()
        self._sink = await self._world.watch(f"{self.target}watch=1&resourceVersion={self._revision}")

    def read(self) -> None:
        assert self._sink is not None
        events, self._sink.pieces = self._sink.events, []
        for event in events:
            metadata = event["object"]["metadata"]
            key = (metadata["namespace"], metadata["name"])
            assert int(metadata["resourceVersion"]) > int(self._revision), "told twice, or out of order"
            self._revision = metadata["resourceVersion"]
            if event["type"] == "DELETED":
                del self.known[key]
            else:
                assert (key in self.known) is (event["type"] == "MODIFIED")
                self.known[key] = event["object"]


def test_where_many_watch_writes_gather_while_the_last_round_is_sent() -> None:
    async def body(world: World) -> None:
        sinks = [await world.watch(f"{MAPS}?watch=1") for _ in range(REST_FROM_WRITES + 8)]
        for i in range(10):
            await world.made(MAPS, config_map(f"m{i}"))
            await world.settle()
        await asyncio.sleep(0.01)
        assert {tuple(sink.seen) for sink in sinks} == {tuple(("ADDED", f"m{i}") for i in range(10))}
        assert all(len(sink.pieces) < 10 for sink in sinks)

    in_world(body)
