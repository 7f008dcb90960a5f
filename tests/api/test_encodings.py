"""Protobuf and CBOR over HTTP: objects, lists, watches, errors and reviews, read and written.

Answers API concepts, "Alternate representations of resources" and "Kubernetes Protobuf encoding"; KEP-4222.
"""

from __future__ import annotations

import asyncio
import io
import re
import sys
from pathlib import Path
from typing import Any

import cbor2
import orjson
import pytest
import yaml

from carob.api import cbor, codec, protobuf, schema
from carob.api.resources import BUILT_IN, Resource
from carob.api.types import core_v1
from carob.apiserver import encodings, request_info, watch_cache
from carob.apiserver.yaml_text import to_yaml
from carob.transport.http import Chunk, Request, Response
from tests.api.asking import Asker, WithServer
from tests.fakes.engine_world import DEPLOYMENTS, MAPS, PODS, FakeSink, World, config_map, deployment, in_world, pod

sys.path.insert(0, str(Path(__file__).parents[1] / "unit" / "api"))
import recorded

CASES = recorded.load("defaulting")["cases"]
PB = "application/vnd.kubernetes.protobuf"
CBOR = "application/cbor"
YAML = "application/yaml"
AS_PARTIAL = "as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"


def many_labels(number: int) -> dict[str, Any]:
    return {"name": f"m{number}", "labels": {f"l{one}": "v" * 60 for one in range(300)}}


def received(sink: FakeSink) -> bytes:
    return b"".join(p.payload if isinstance(p, Chunk) else p for p in sink.pieces)


def message(body: bytes, name: str) -> dict[str, Any]:
    """The tree of an enveloped message of any type, with what the envelope says of it."""
    envelope = protobuf.envelope(body)
    return {"kind": envelope.kind, "apiVersion": envelope.api_version, **protobuf.decode_message(envelope.raw, name)}


def frames(data: bytes) -> list[tuple[str, bytes]]:
    """The events of a watch in protobuf: their types, and the objects as they lie."""
    found = []
    while data:
        size = int.from_bytes(data[:4], "big")
        event = protobuf.decode_event(data[4 : 4 + size])
        found.append(event)
        data = data[4 + size :]
    return found


def sequence(data: bytes) -> list[dict[str, Any]]:
    """The events of a watch in CBOR."""
    stream, found = io.BytesIO(data), []
    while stream.tell() < len(data):
        start = stream.tell()
        cbor2.CBORDecoder(stream, read_size=1).decode()
        found.append(cbor.decode(data[start : stream.tell()]))
    return found


def test_an_object_is_written_and_read_in_each_encoding() -> None:
    async def body(world: World) -> None:
        def encode(tree: Any) -> bytes:
            return protobuf.encode(tree) if media == PB else cbor.encode(tree)

        for number, media in enumerate((PB, CBOR)):
            headers = {"content-type": media, "accept": f"{media},application/json"}
            made = await world.respond("POST", PODS, encode(pod(f"p{number}")), headers)
            assert (made.status, made.content_type) == (201, media)
            read = await world.respond("GET", f"{PODS}/p{number}", None, {"accept": media})
            assert read.body == made.body
            _, tree = await world.ask("GET", f"{PODS}/p{number}")
            found = protobuf.decode(read.body, core_v1.Pod) if media == PB else cbor.decode(read.body)
            assert codec.to_tree(codec.from_tree(core_v1.Pod, found)) == tree
            put = await world.respond("PUT", f"{PODS}/p{number}", encode(tree), headers)
            assert (put.status, put.content_type, put.body) == (200, media, made.body)

    in_world(body)


def test_lists_of_each_encoding() -> None:
    async def body(world: World) -> None:
        for number in range(3):
            await world.made(MAPS, config_map(f"m{number}", k="v" * 20_000))
        _, tree = await world.ask("GET", f"{MAPS}?limit=2")
        answer = await world.respond("GET", f"{MAPS}?limit=2", None, {"accept": PB})
        assert answer.content_type == PB
        found = message(answer.body, "core/v1.ConfigMapList")
        assert found == tree
        answer = await world.respond("GET", f"{MAPS}?limit=2", None, {"accept": CBOR})
        assert answer.content_type == CBOR
        assert cbor.decode(answer.body) == tree
        for media in (PB, CBOR):
            none = await world.respond("GET", f"{MAPS}?labelSelector=a%3Db", None, {"accept": media})
            empty = message(none.body, "core/v1.ConfigMapList") if media == PB else cbor.decode(none.body)
            assert empty.get("items", []) == []
            assert empty["kind"] == "ConfigMapList"

    in_world(body)


def test_metadata_alone_as_informers_ask_for_it() -> None:
    async def body(world: World) -> None:
        await world.made(MAPS, config_map("m"))
        accept = f"{PB};{AS_PARTIAL},application/json;{AS_PARTIAL},application/json"
        answer = await world.respond("GET", MAPS, None, {"accept": accept})
        assert answer.content_type == PB
        found = message(answer.body, "meta/v1.PartialObjectMetadataList")
        assert (found["kind"], found["apiVersion"]) == ("PartialObjectMetadataList", "meta.k8s.io/v1")
        assert [item["metadata"]["name"] for item in found["items"]] == ["m"]
        sink = await world.watch(f"{MAPS}?watch=1", {"accept": accept.replace("MetadataList", "Metadata")})
        [(kind, raw)] = frames(received(sink))
        assert (kind, message(raw, "meta/v1.PartialObjectMetadata")["kind"]) == ("ADDED", "PartialObjectMetadata")

    in_world(body)


def test_a_table_is_cbor_but_never_protobuf() -> None:
    async def body(world: World) -> None:
        await world.made(PODS, pod("p"))
        table = "as=Table;g=meta.k8s.io;v=v1"
        answer = await world.respond("GET", PODS, None, {"accept": f"{PB};{table},application/json;{table}"})
        assert answer.content_type == "application/json"
        answer = await world.respond("GET", PODS, None, {"accept": f"{CBOR};{table}"})
        _, tree = await world.ask("GET", PODS, None, {"accept": f"application/json;{table}"})
        assert cbor.decode(answer.body) == tree

    in_world(body)


def test_watches_of_each_encoding_see_the_same() -> None:
    async def body(world: World) -> None:
        await world.made(MAPS, config_map("a"))
        query = "watch=1&allowWatchBookmarks=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan"
        plain = await world.watch(f"{MAPS}?{query}")
        in_protobuf = await world.watch(f"{MAPS}?{query}", {"accept": f"{PB};stream=watch"})
        in_cbor = await world.watch(f"{MAPS}?{query}", {"accept": "application/cbor-seq"})
        await world.made(MAPS, config_map("b"))
        await world.patch(f"{MAPS}/b", {"data": {"x": "y"}})
        await world.ask("DELETE", f"{MAPS}/b")
        await world.settle()
        wanted = plain.events
        assert [event["type"] for event in wanted] == ["ADDED", "BOOKMARK", "ADDED", "MODIFIED", "DELETED"]
        found = [
            {"type": kind, "object": protobuf.decode(raw, core_v1.ConfigMap)}
            for kind, raw in frames(received(in_protobuf))
        ]
        assert found == wanted
        assert sequence(received(in_cbor)) == wanted
        assert received(in_cbor).startswith(cbor.SELF_DESCRIBED)

    in_world(body)


def test_history_that_is_gone_is_an_error_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch_cache, "RECENT_CHANGES", 1)

    async def body(world: World) -> None:
        for number in range(4):
            await world.made(MAPS, config_map(f"m{number}"))
        await world.store.compact(world.store.revision)
        sink = await world.watch(f"{MAPS}?watch=1&resourceVersion=2", {"accept": PB})
        [(kind, raw)] = frames(received(sink))
        status = message(raw, "meta/v1.Status")
        assert (kind, status["kind"], status["code"], status["reason"]) == ("ERROR", "Status", 410, "Expired")
        sink = await world.watch(f"{MAPS}?watch=1&resourceVersion=2", {"accept": CBOR})
        assert [event["object"]["code"] for event in sequence(received(sink))] == [410]

    in_world(body)


def test_an_apply_in_cbor() -> None:
    async def body(world: World) -> None:
        headers = {"content-type": "application/apply-patch+cbor"}
        made = await world.ask("PATCH", f"{MAPS}/m?fieldManager=me", cbor.encode(config_map("m")), headers)
        assert (made[0], made[1]["metadata"]["managedFields"][0]["operation"]) == (201, "Apply")
        status, answer = await world.ask("PATCH", f"{MAPS}/m?fieldManager=me", b"\xff", headers)
        assert (status, answer["reason"]) == (400, "BadRequest")

    in_world(body)


STORED = [row for row in BUILT_IN if row.stored and "list" in row.verbs]


@pytest.mark.parametrize("row", STORED, ids=lambda row: f"{row.plural}.{row.group}/{row.version}")
def test_every_kind_is_listed_and_watched_in_each_encoding(row: Resource) -> None:
    async def body(world: World) -> None:
        path = row.path("default" if row.namespaced else None)
        listed = await world.respond("GET", path, None, {"accept": PB})
        assert message(listed.body, f"{schema.wire_name(row.struct)}List")["kind"] == row.list_kind
        listed = await world.respond("GET", path, None, {"accept": CBOR})
        assert cbor.decode(listed.body)["kind"] == row.list_kind
        watch = f"{path}?watch=1&allowWatchBookmarks=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan"
        [(kind, raw)] = frames(received(await world.watch(watch, {"accept": PB})))
        assert (kind, protobuf.decode(raw, row.struct)["kind"]) == ("BOOKMARK", row.kind)
        [event] = sequence(received(await world.watch(watch, {"accept": CBOR})))
        assert (event["type"], event["object"]["kind"]) == ("BOOKMARK", row.kind)

    in_world(body)


@pytest.mark.parametrize("media", [PB, CBOR, "application/yaml"])
def test_errors_reviews_and_discovery_have_the_clients_form(with_server: WithServer, media: str) -> None:
    async def body(api: Asker) -> None:
        headers = {"accept": f"{media},application/json"}

        def read(response: Response, name: str) -> Any:
            if media == "application/yaml":
                return yaml.safe_load(response.body)
            return message(response.body, name) if media == PB else cbor.decode(response.body)

        missing = await api.respond("GET", f"{MAPS}/none", headers=headers)
        assert (missing.status, missing.content_type) == (404, media)
        status = read(missing, "meta/v1.Status")
        assert (status["kind"], status["apiVersion"], status["reason"]) == ("Status", "v1", "NotFound")
        review = {"kind": "SelfSubjectReview", "apiVersion": "authentication.k8s.io/v1", "metadata": {}}
        target = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
        made = await api.respond("POST", target, review, headers=headers | {"content-type": "application/json"})
        assert (made.status, made.content_type) == (201, media)
        assert read(made, "authentication/v1.SelfSubjectReview")["status"]["userInfo"]["username"] == "admin"
        for path, name in (("/api", "APIVersions"), ("/apis", "APIGroupList"), ("/api/v1", "APIResourceList")):
            answer = await api.respond("GET", path, headers=headers)
            assert (answer.status, answer.content_type) == (200, media)
            assert read(answer, f"meta/v1.{name}")["kind"] == name
        components = await api.respond("GET", "/api/v1/componentstatuses", headers=headers)
        assert read(components, "core/v1.ComponentStatusList")["items"][0]["conditions"][0]["type"] == "Healthy"
        text = await api.respond("GET", "/version", headers=headers)
        assert text.content_type == "application/json"
        assert orjson.loads(text.body)["major"]

    with_server(body)


@pytest.mark.parametrize("size", [10, 30_000])
def test_a_long_list_is_whole_in_each_encoding(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    monkeypatch.setattr("carob.apiserver.presenters.SEGMENT_ITEMS", 4)

    async def body(world: World) -> None:
        for number in range(10):
            await world.made(MAPS, config_map(f"m{number}", k="v" * size))
        _, tree = await world.ask("GET", MAPS)
        for media in (PB, CBOR, YAML):
            answer = await world.respond("GET", MAPS, None, {"accept": media})
            assert (answer.segments is not None) is (size > 1000)
            raw = answer.body or b"".join(answer.segments or ())
            assert len(raw) == (answer.length or len(raw))
            if media == YAML:
                assert raw == to_yaml(tree)
            else:
                assert (message(raw, "core/v1.ConfigMapList") if media == PB else cbor.decode(raw)) == tree

    in_world(body)


@pytest.mark.parametrize("media", [PB, CBOR, YAML, f"{YAML};as=Table;v=v1;g=meta.k8s.io"])
def test_others_have_their_turns_while_a_long_list_is_made(media: str) -> None:
    async def body(world: World) -> None:
        for number in range(10):
            await world.made(MAPS, config_map(f"m{number}", k="v" * 60_000) | {"metadata": many_labels(number)})
        labels = {f"l{one}": "v" * 60 for one in range(3000)}
        await world.made(MAPS, config_map("large") | {"metadata": {"name": "large", "labels": labels}})
        turns = 0

        async def other() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        task = asyncio.get_running_loop().create_task(other())
        await world.respond("GET", MAPS, None, {"accept": media})
        assert turns >= 2
        turns = 0
        answer = await world.respond("GET", f"{MAPS}/large", None, {"accept": media})
        task.cancel()
        if media == YAML:
            assert turns >= 1
            _, tree = await world.ask("GET", f"{MAPS}/large")
            assert answer.body == to_yaml(tree)

    in_world(body)


def test_a_table_in_yaml_is_the_same_in_pieces() -> None:
    async def body(world: World) -> None:
        for number in range(3):
            await world.made(MAPS, config_map(f"m{number}", k="v\nrows: []\n"))
        form = "as=Table;v=v1;g=meta.k8s.io"
        _, tree = await world.ask("GET", f"{MAPS}?includeObject=Object", None, {"accept": f"application/json;{form}"})
        answer = await world.respond("GET", f"{MAPS}?includeObject=Object", None, {"accept": f"{YAML};{form}"})
        assert answer.body == to_yaml(tree)
        answer = await world.respond("GET", f"{MAPS}?labelSelector=a", None, {"accept": YAML})
        assert yaml.safe_load(answer.body)["items"] == []

    in_world(body)


def test_metadata_lists_of_the_old_version_number_their_fields_the_other_way() -> None:
    async def body(world: World) -> None:
        await world.made(MAPS, config_map("m"))
        accept = f"{PB};as=PartialObjectMetadataList;g=meta.k8s.io;v=v1beta1"
        for query in ("", "?labelSelector=a%3Db"):
            answer = await world.respond("GET", MAPS + query, None, {"accept": accept})
            found = message(answer.body, "meta/v1beta1.PartialObjectMetadataList")
            assert found["apiVersion"] == "meta.k8s.io/v1beta1"
            assert found["metadata"]["resourceVersion"]
            assert [one["metadata"]["name"] for one in found.get("items", [])] == ([] if query else ["m"])

    in_world(body)


@pytest.mark.parametrize("media", [PB, CBOR, "application/yaml"])
def test_aggregated_discovery_has_the_clients_form(with_server: WithServer, media: str) -> None:
    async def body(api: Asker) -> None:
        wanted = "g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
        _, tree = await api.ask("GET", "/apis", headers={"accept": f"application/json;{wanted}"})
        answer = await api.respond("GET", "/apis", headers={"accept": f"{media};{wanted},application/json;{wanted}"})
        assert answer.content_type == f"{media};{wanted}"
        if media == PB:
            found = message(answer.body, "apidiscovery/v2.APIGroupDiscoveryList")
        else:
            found = cbor.decode(answer.body) if media == CBOR else yaml.safe_load(answer.body)
        names = [group["metadata"]["name"] for group in found["items"]]
        assert names == [group["metadata"]["name"] for group in tree["items"]]
        deployments = found["items"][names.index("apps")]["versions"][0]["resources"]
        [own] = [one for one in deployments if one["resource"] == "deployments"]
        assert (own["shortNames"], own["scope"]) == (["deploy"], "Namespaced")
        assert {one["subresource"] for one in own["subresources"]} == {"scale", "status"}
        status = await api.respond("GET", "/apis", headers={"accept": f"{media};{wanted}", "if-none-match": "x"})
        assert status.status == 200

    with_server(body)


# protobuf cannot say that a list is there and empty; a namespace is not gone at once
ONLY_IN_JSON = frozenset(("min-csinode", "role-empty", "namespace-labels"))
_DRAWN = re.compile(rb'[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|10\.43\.\d+\.\d+|"(n|healthCheckN)odePort":\d+')


def test_a_manifest_makes_the_same_object_in_each_encoding() -> None:
    def told(answer: Any) -> bytes:
        """The object without what is drawn or counted anew."""
        for key in ("uid", "resourceVersion", "creationTimestamp"):
            answer["metadata"].pop(key, None)
        return _DRAWN.sub(b"", orjson.dumps(answer, option=orjson.OPT_SORT_KEYS))

    async def body(world: World) -> None:
        made = 0
        for case in CASES:
            if case["case"] in ONLY_IN_JSON:
                continue
            sent = case["sent"]
            row = world.row(sent["apiVersion"], sent["kind"])
            path = row.path("golden" if row.namespaced else None)
            bodies = {
                "application/json": orjson.dumps(sent),
                PB: protobuf.encode(codec.to_tree(codec.from_tree(row.struct, sent))),
                CBOR: cbor.encode(sent),
            }
            found = set()
            for media, content in bodies.items():
                status, answer = await world.ask("POST", path, content, {"content-type": media})
                found.add((status, told(answer)))
                if status != 201:
                    continue  # some ask for what only a whole server gives
                made += 1
                one = f"{path}/{answer['metadata']['name']}"
                await world.ask("DELETE", one, {"gracePeriodSeconds": 0}, {"content-type": "application/json"})
                await world.patch(one, {"metadata": {"finalizers": None}})
            assert len(found) == 1, (case["case"], found)
        assert made > 500

    in_world(body)


def test_subresources_answer_in_each_encoding() -> None:
    async def body(world: World) -> None:
        for number, media in enumerate((PB, CBOR)):
            accept = {"accept": media, "content-type": "application/json"}
            await world.made(PODS, pod(f"p{number}"))
            await world.made(DEPLOYMENTS, deployment(f"d{number}"))
            target = {"metadata": {"name": f"p{number}"}, "target": {"kind": "Node", "name": "n"}}
            eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": f"p{number}"}}
            for method, path, sent in (
                ("GET", f"{DEPLOYMENTS}/d{number}/scale", None),
                ("GET", f"{DEPLOYMENTS}/d{number}/status", None),
                ("POST", f"{PODS}/p{number}/binding", target),
                ("POST", f"{PODS}/p{number}/eviction", eviction),
            ):
                response = await world.respond(method, path, sent, accept)
                info = request_info.parse(method, path, "", world.table)
                encodings.recoded(info, Request(method, path, "", accept), response)
                assert response.content_type == media, path
                prefix = protobuf.MAGIC if media == PB else cbor.SELF_DESCRIBED
                assert response.body.startswith(prefix), path

    in_world(body)
