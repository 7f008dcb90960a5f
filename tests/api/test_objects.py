"""Writing and reading objects through the engine: what is kept, what is refused, what each verb leaves behind.

Answers: API conventions (optimistic concurrency, spec and status, generation), "Server-side dry run".
"""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
import pytest

from carob.api.status import forbidden
from carob.apiserver.types import Attributes
from tests.fakes.engine_world import (
    DEPLOYMENTS,
    MAPS,
    PODS,
    TABLE_ACCEPT,
    World,
    config_map,
    deployment,
    in_world,
    pod,
)


def test_a_new_object_gets_what_only_the_server_writes() -> None:
    async def body(world: World) -> None:
        sent = config_map("a")
        sent["metadata"] |= {"uid": "mine", "creationTimestamp": "2001-01-01T00:00:00Z", "generation": 9}
        made = (await world.made(MAPS, sent))["metadata"]
        assert made["uid"] != "mine"
        assert made["creationTimestamp"] == "2023-11-14T22:13:20Z"
        assert made["namespace"] == "default"
        assert "generation" not in made
        assert await world.ask("GET", f"{MAPS}/a") == (200, (await world.ask("GET", f"{MAPS}/a"))[1])

    in_world(body)


def test_what_was_created_is_what_is_read_and_listed() -> None:
    async def body(world: World) -> None:
        made = await world.made(PODS, pod("p"))
        assert (await world.ask("GET", f"{PODS}/p"))[1] == made
        listed = (await world.ask("GET", PODS))[1]
        assert listed["kind"] == "PodList"
        assert listed["metadata"]["resourceVersion"] == made["metadata"]["resourceVersion"]
        assert listed["items"] == [{k: v for k, v in made.items() if k not in ("kind", "apiVersion")}]

    in_world(body)


def test_a_taken_name_is_refused_and_a_generated_one_is_drawn_again() -> None:
    async def body(world: World) -> None:
        await world.made(MAPS, config_map("a"))
        status, answer = await world.ask("POST", MAPS, config_map("a"))
        assert (status, answer["message"]) == (409, 'configmaps "a" already exists')
        names = set()
        for _ in range(20):
            sent = config_map("")
            sent["metadata"] = {"generateName": "g-"}
            names.add((await world.made(MAPS, sent))["metadata"]["name"])
        assert len(names) == 20
        assert all(name.startswith("g-") and len(name) == 7 for name in names)

    in_world(body)


def test_an_update_from_a_stale_version_is_a_conflict() -> None:
    async def body(world: World) -> None:
        first = await world.made(MAPS, config_map("a"))
        await world.patch(f"{MAPS}/a", {"data": {"k": "2"}})
        first["data"] = {"k": "3"}
        status, answer = await world.ask("PUT", f"{MAPS}/a", first)
        assert status == 409
        assert answer["message"] == (
            'Operation cannot be fulfilled on configmaps "a": the object has been modified; '
            "please apply your changes to the latest version and try again"
        )
        del first["metadata"]["resourceVersion"]
        assert (await world.ask("PUT", f"{MAPS}/a", first))[0] == 200

    in_world(body)


def test_an_update_that_changes_nothing_writes_nothing() -> None:
    async def body(world: World) -> None:
        made = await world.made(MAPS, config_map("a"))
        before = world.store.revision
        assert await world.ask("PUT", f"{MAPS}/a", made) == (200, made)
        assert await world.patch(f"{MAPS}/a", {}) == (200, made)
        assert world.store.revision == before

    in_world(body)


def test_patches_at_the_same_time_all_win() -> None:
    """A patch without a resourceVersion is computed again when somebody else was faster."""

    async def body(world: World) -> None:
        await world.made(MAPS, config_map("a"))
        answers = await asyncio.gather(*(world.patch(f"{MAPS}/a", {"data": {f"k{i}": "v"}}) for i in range(8)))
        assert [status for status, _ in answers] == [200] * 8
        assert len((await world.ask("GET", f"{MAPS}/a"))[1]["data"]) == 9

    in_world(body)


def test_a_patch_that_names_a_version_loses_against_a_newer_one() -> None:
    async def body(world: World) -> None:
        made = await world.made(MAPS, config_map("a"))
        version = made["metadata"]["resourceVersion"]
        await world.patch(f"{MAPS}/a", {"data": {"x": "1"}})
        status, answer = await world.patch(f"{MAPS}/a", {"metadata": {"resourceVersion": version}, "data": {"y": "1"}})
        assert (status, answer["reason"]) == (409, "Conflict")

    in_world(body)


def test_spec_and_status_are_written_apart() -> None:
    async def body(world: World) -> None:
        made = await world.made(DEPLOYMENTS, deployment("d") | {"status": {"replicas": 7}})
        assert made["status"] == {}
        await world.patch(f"{DEPLOYMENTS}/d", {"spec": {"replicas": 3}, "status": {"replicas": 7}})
        _, changed = await world.patch(f"{DEPLOYMENTS}/d/status", {"spec": {"replicas": 9}, "status": {"replicas": 2}})
        assert changed["spec"]["replicas"] == 3
        assert changed["status"] == {"replicas": 2}

    in_world(body)


def test_the_generation_counts_changes_of_the_spec_alone() -> None:
    async def body(world: World) -> None:
        generation = [(await world.made(DEPLOYMENTS, deployment("d")))["metadata"]["generation"]]
        for target, change in (
            (f"{DEPLOYMENTS}/d", {"metadata": {"labels": {"x": "y"}}}),
            (f"{DEPLOYMENTS}/d", {"spec": {"replicas": 3}}),
            (f"{DEPLOYMENTS}/d/status", {"status": {"replicas": 3}}),
            (f"{DEPLOYMENTS}/d", {"spec": {"paused": True}}),
        ):
            generation.append((await world.patch(target, change))[1]["metadata"]["generation"])
        assert generation == [1, 1, 2, 2, 3]

    in_world(body)


def test_a_dry_run_answers_and_keeps_nothing() -> None:
    async def body(world: World) -> None:
        status, answer = await world.ask("POST", f"{MAPS}?dryRun=All", config_map("a"))
        assert status == 201
        assert "resourceVersion" not in answer["metadata"]
        assert (await world.ask("GET", f"{MAPS}/a"))[0] == 404
        await world.made(MAPS, config_map("a"))
        before = world.store.revision
        assert (await world.patch(f"{MAPS}/a?dryRun=All", {"data": {"k": "2"}}))[1]["data"] == {"k": "2"}
        assert (await world.ask("DELETE", f"{MAPS}/a?dryRun=All"))[0] == 200
        assert world.store.revision == before

    in_world(body)


@pytest.mark.parametrize(
    ("method", "target", "sent", "status", "message"),
    [
        ("POST", MAPS, {"metadata": {"name": "x", "namespace": "other"}}, 400, "the namespace of the provided object"),
        ("POST", MAPS, {"metadata": {"name": "x", "resourceVersion": "5"}}, 400, "resourceVersion should not be set"),
        ("PUT", f"{MAPS}/x", {"metadata": {"name": "y"}}, 400, "the name of the object (y) does not match"),
        ("PUT", f"{MAPS}/x", {"metadata": {"name": "x"}}, 404, 'configmaps "x" not found'),
        ("GET", f"{MAPS}/x", None, 404, 'configmaps "x" not found'),
        ("GET", f"{MAPS}/..", None, 400, "Name parameter invalid"),
        ("POST", f"{MAPS}?dryRun=Some", {"metadata": {"name": "x"}}, 422, "CreateOptions.meta.k8s.io"),
        ("POST", MAPS, {"metadata": {}}, 422, "name or generateName is required"),
    ],
)
def test_a_mistake_is_answered_with_upstreams_status_and_words(
    method: str, target: str, sent: Any, status: int, message: str
) -> None:
    async def body(world: World) -> None:
        code, answer = await world.ask(method, target, sent)
        assert (code, message in answer["message"]) == (status, True), answer

    in_world(body)


def test_an_unknown_media_type_is_not_read() -> None:
    async def body(world: World) -> None:
        code, answer = await world.ask("POST", MAPS, b"<x/>", {"content-type": "application/xml"})
        assert (code, answer["reason"]) == (415, "UnsupportedMediaType")
        code, _ = await world.ask("PATCH", f"{MAPS}/a", b"{}", {"content-type": "application/json"})
        assert code == 415

    in_world(body)


def test_unknown_fields_are_warned_of_or_refused() -> None:
    async def body(world: World) -> None:
        sent = config_map("a") | {"extra": 1}
        response = await world.respond("POST", MAPS, sent)
        assert response.headers == [("Warning", '299 - "unknown field \\"extra\\""')]
        status, answer = await world.ask("POST", f"{MAPS}?fieldValidation=Strict", sent | {"metadata": {"name": "b"}})
        assert status == 400
        assert 'strict decoding error: unknown field "extra"' in answer["message"]

    in_world(body)


def test_yaml_goes_in_and_out() -> None:
    async def body(world: World) -> None:
        sent = b'apiVersion: v1\nkind: ConfigMap\nmetadata: {name: y}\ndata: {a: "1"}\n'
        status, answer = await world.ask("POST", MAPS, sent, {"content-type": "application/yaml"})
        assert (status, answer["data"]) == (201, {"a": "1"})
        status, text = await world.ask("GET", f"{MAPS}/y", None, {"accept": "application/yaml"})
        assert text.startswith('apiVersion: v1\ndata:\n  a: "1"\nkind: ConfigMap\nmetadata:\n')

    in_world(body)


def test_one_object_as_a_table_and_as_metadata() -> None:
    async def body(world: World) -> None:
        await world.made(MAPS, config_map("a"))
        _, table = await world.ask("GET", f"{MAPS}/a", None, {"accept": TABLE_ACCEPT})
        assert [column["name"] for column in table["columnDefinitions"]] == ["Name", "Data", "Age"]
        assert table["rows"][0]["cells"] == ["a", 1, "0s"]
        assert table["rows"][0]["object"]["kind"] == "PartialObjectMetadata"
        accept = "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io"
        _, partial = await world.ask("GET", f"{MAPS}/a", None, {"accept": accept})
        assert (partial["kind"], "data" in partial) == ("PartialObjectMetadata", False)
        assert (await world.ask("GET", MAPS, None, {"accept": accept}))[0] == 406

    in_world(body)


class _Plugin:
    """Labels what is created, refuses what is called `bad`."""

    name = "test"

    def admit(self, attributes: Attributes) -> None:
        if attributes.obj is not None and attributes.operation == "CREATE":
            attributes.obj.metadata.labels["admitted"] = "yes"

    def validate(self, attributes: Attributes) -> None:
        if attributes.name == "bad":
            raise forbidden(attributes.resource, attributes.name, "because")


def test_admission_changes_and_refuses_before_anything_is_kept() -> None:
    async def body(world: World) -> None:
        assert (await world.made(MAPS, config_map("good")))["metadata"]["labels"] == {"admitted": "yes"}
        status, answer = await world.ask("POST", MAPS, config_map("bad"))
        assert (status, answer["message"]) == (403, 'configmaps "bad" is forbidden: because')
        assert (await world.ask("GET", f"{MAPS}/bad"))[0] == 404

    in_world(body, _Plugin())


def test_one_event_through_both_doors() -> None:
    """core/v1 and events.k8s.io/v1 serve the same objects under their own field names."""

    async def body(world: World) -> None:
        event = {
            "metadata": {"name": "e"},
            "eventTime": "2020-01-01T00:00:00.000000Z",
            "reportingController": "c.example.com/x",
            "reportingInstance": "i",
            "action": "A",
            "reason": "R",
            "type": "Normal",
            "regarding": {"kind": "Pod", "name": "x", "namespace": "default"},
            "note": "n",
        }
        made = await world.made("/apis/events.k8s.io/v1/namespaces/default/events", event)
        assert made["apiVersion"] == "events.k8s.io/v1"
        _, core = await world.ask("GET", "/api/v1/namespaces/default/events/e")
        assert (core["message"], core["involvedObject"]["name"]) == ("n", "x")
        selector = "fieldSelector=regarding.name%3Dx"
        _, listed = await world.ask("GET", f"/apis/events.k8s.io/v1/events?{selector}")
        assert [item["note"] for item in listed["items"]] == ["n"]

    in_world(body)


def test_an_autoscaler_in_two_versions() -> None:
    async def body(world: World) -> None:
        target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "d"}
        spec = {"scaleTargetRef": target, "maxReplicas": 2, "targetCPUUtilizationPercentage": 70}
        base = "namespaces/default/horizontalpodautoscalers"
        await world.made(f"/apis/autoscaling/v1/{base}", {"metadata": {"name": "h"}, "spec": spec})
        _, new = await world.ask("GET", f"/apis/autoscaling/v2/{base}/h")
        assert new["spec"]["metrics"][0]["resource"]["target"] == {"type": "Utilization", "averageUtilization": 70}
        _, old = await world.ask("GET", f"/apis/autoscaling/v1/{base}/h")
        assert old["spec"]["targetCPUUtilizationPercentage"] == 70

    in_world(body)


def test_a_restart_finds_everything_again() -> None:
    async def main() -> None:
        world = World()
        await world.engine.start()
        await world.made(PODS, pod("p"))
        _, before = await world.ask("GET", PODS)
        await world.engine.close()
        again = World(store=world.store)
        await again.engine.start()
        assert (await again.ask("GET", PODS))[1] == before
        await again.engine.close()
        await world.store.close()

    asyncio.run(main())


def test_the_stored_bytes_carry_no_resource_version() -> None:
    async def body(world: World) -> None:
        await world.made(MAPS, config_map("a"))
        kept = await world.store.get("/registry/core/configmaps/default/a")
        assert kept is not None
        assert "resourceVersion" not in orjson.loads(kept.value)["metadata"]

    in_world(body)


@pytest.mark.parametrize(
    ("change", "message"),
    [({"apiVersion": "v9"}, "the API version in the data (v9)"), ({"kind": "Secret"}, "the kind in the data (Secret)")],
)
def test_a_patch_makes_nothing_else_of_an_object(change: dict[str, str], message: str) -> None:
    async def body(world: World) -> None:
        made = await world.made(MAPS, config_map("a"))
        status, answer = await world.patch(f"{MAPS}/a", change)
        assert (status, answer["message"].startswith(message)) == (400, True)
        assert (await world.ask("GET", f"{MAPS}/a"))[1] == made

    in_world(body)


def test_an_object_that_does_not_say_what_it_is_becomes_what_the_path_says() -> None:
    async def body(world: World) -> None:
        made = await world.made(MAPS, {"apiVersion": "", "kind": "", "metadata": {"name": "a"}})
        assert (made["kind"], made["apiVersion"]) == ("ConfigMap", "v1")

    in_world(body)


@pytest.mark.parametrize(
    ("sent", "read"),
    [(rb"\ud800", "\ufffd"), (rb"\ud83d\ude00", "😀"), (rb"\\ud800", r"\ud800"), (rb"\udc00x", "\ufffdx")],
)
def test_half_a_character_becomes_a_replacement_character(sent: bytes, read: str) -> None:
    async def body(world: World) -> None:
        text = b'{"metadata":{"name":"a"},"data":{"k":"%b"}}' % sent
        status, made = await world.ask("POST", MAPS, text, {"content-type": "application/json"})
        assert (status, made["data"]["k"]) == (201, read)

    in_world(body)


@pytest.mark.parametrize(
    "applied", [b"metadata: 5", b"metadata: [null]", b"{", b"[]", b"data: 99999999999999999999", b"a: b\n\t- c"]
)
def test_a_broken_apply_is_the_clients_mistake(applied: bytes) -> None:
    async def body(world: World) -> None:
        headers = {"content-type": "application/apply-patch+yaml"}
        status, _ = await world.ask("PATCH", f"{MAPS}/a?fieldManager=m", applied, headers)
        assert 400 <= status < 500

    in_world(body)
