"""managedFields over sequences of writes, against answers of a real v1.36 API server (`data/owners.json`).

Answers: server-side apply's conflicts, force, hand-over, removal; owners after create, update, patch, status and scale.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.engine_world import World, in_world

CASES = json.loads((Path(__file__).parent / "data/owners.json").read_text())
APPLY = {"content-type": "application/apply-patch+yaml"}
CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"


def owners_of(obj: Any) -> list[Any]:
    """The managedFields with times made a yes or no, in an order that does not hang on the clock."""
    entries = [{**entry, "time": "time" in entry} for entry in obj["metadata"].get("managedFields", [])]
    return sorted(entries, key=lambda entry: json.dumps(entry, sort_keys=True))


def plain(obj: Any) -> Any:
    """The object without what differs from run to run."""
    volatile = ("uid", "resourceVersion", "creationTimestamp", "namespace", "managedFields")
    return {**obj, "metadata": {k: v for k, v in obj["metadata"].items() if k not in volatile}}


def ordered(answer: Any) -> Any:
    """A refusal with its conflicts in one order: upstream's is random."""
    details = answer.get("details") or {}
    causes = sorted(details.get("causes", []), key=lambda cause: json.dumps(cause, sort_keys=True))
    out = {key: answer[key] for key in ("message", "reason") if key in answer}
    return {**out, "causes": causes}


@pytest.mark.parametrize("case", CASES, ids=[case["case"] for case in CASES])
def test_owners_are_upstreams(case: dict[str, Any]) -> None:
    async def body(world: World) -> None:
        for step in case["steps"]:
            method, target = step["send"]
            headers = {"user-agent": "somebody/1.0", "content-type": step.get("type", "application/json")}
            status, answer = await world.ask(method, target, step.get("body"), headers)
            assert status == step["status"], answer
            if "answer" in step:
                assert ordered(answer) == ordered(step["answer"])
                continue
            wanted = {"metadata": {"managedFields": step["owners"]}}
            for entry in step["owners"]:
                entry.pop("time", None) if not entry["time"] else None
            assert owners_of(answer) == owners_of(wanted)
            if "object" in step:
                assert plain(answer) == plain(step["object"])

    in_world(body)


async def applied(world: World, manager: str, data: dict[str, str], query: str = "") -> tuple[int, Any]:
    config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": data}
    return await world.ask("PATCH", f"{CONFIG_MAPS}/c?fieldManager={manager}{query}", config, APPLY)


def test_an_apply_that_changes_nothing_writes_nothing() -> None:
    async def body(world: World) -> None:
        _, first = await applied(world, "m", {"a": "1"})
        await world.clock.advance(5)
        _, again = await applied(world, "m", {"a": "1"})
        assert again == first
        config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": {"a": "2"}}
        for version, code in ((first["metadata"]["resourceVersion"], 200), ("1", 409)):
            config["metadata"] = {"name": "c", "resourceVersion": version}
            status, _ = await world.ask("PATCH", f"{CONFIG_MAPS}/c?fieldManager=m", config, APPLY)
            assert status == code

    in_world(body)


def test_a_create_that_repeats_owners_does_not_lose_them() -> None:
    async def body(world: World) -> None:
        _, first = await applied(world, "m", {"a": "1"})
        first["data"]["b"] = "2"
        _, put = await world.ask("PUT", f"{CONFIG_MAPS}/c", first, {"user-agent": "editor"})
        assert [entry["manager"] for entry in put["metadata"]["managedFields"]] == ["m", "editor"]
        status, same = await world.ask("PUT", f"{CONFIG_MAPS}/c", put, {"user-agent": "editor"})
        assert (status, same) == (200, put)

    in_world(body)


def test_a_write_by_nobody_in_particular_is_named_unknown() -> None:
    async def body(world: World) -> None:
        made = await world.made(CONFIG_MAPS, {"metadata": {"name": "c"}, "data": {"a": "1"}})
        assert made["metadata"]["managedFields"][0]["manager"] == "unknown"

    in_world(body)


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"data": "x"}, ".data: expected map, got &{x}"),
        ({"foo": 1}, ".foo: field not declared in schema"),
        ({"data": {"a": 5}}, ".data.a: expected string, got &value.valueUnstructured{Value:5}"),
        ({"immutable": "yes"}, ".immutable: expected boolean, got &{yes}"),
        ({"metadata": {"name": "c", "finalizers": ["x/y", "x/y"]}}, '.metadata.finalizers: duplicate entries for key [="x/y"]'),
        ({"metadata": {"name": "c", "generation": "1"}}, ".metadata.generation: expected numeric (int or float), got string"),
    ],
)  # fmt: skip
def test_what_is_no_configuration_is_refused(config: dict[str, Any], words: str) -> None:
    async def body(world: World) -> None:
        whole = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, **config}
        status, answer = await world.ask("PATCH", f"{CONFIG_MAPS}/c?fieldManager=m", whole, APPLY)
        assert (status, answer["reason"]) == (400, "BadRequest")
        assert answer["message"].endswith(words)

    in_world(body)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a",
        "[]",
        "{}",
        "kind: ConfigMap",
        "apiVersion: v1\nkind: Secret",
        "{a",
        "metadata: 5\nkind: x\napiVersion: v1",
    ],
)
def test_no_body_makes_the_server_fail(text: str) -> None:
    async def body(world: World) -> None:
        status, _ = await world.ask("PATCH", f"{CONFIG_MAPS}/c?fieldManager=m", text.encode(), APPLY)
        assert 400 <= status < 500

    in_world(body)


def test_kubectl_takes_over_what_its_client_applied() -> None:
    """CSA to SSA: no conflict over what the annotation says and what still is so, and the annotation follows."""

    async def body(world: World) -> None:
        config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": {"a": "1", "b": "1"}}
        name = "kubectl.kubernetes.io/last-applied-configuration"
        sent = {**config, "metadata": {"name": "c", "annotations": {name: json.dumps(config)}}}
        client = "fieldManager=kubectl-client-side-apply"
        await world.made(f"{CONFIG_MAPS}?{client}", sent)
        config["data"] = {"a": "2", "b": "1"}
        status, answer = await world.ask("PATCH", f"{CONFIG_MAPS}/c?fieldManager=kubectl", config, APPLY)
        assert status == 200, answer
        assert json.loads(answer["metadata"]["annotations"][name])["data"]["a"] == "2"
        await world.ask(
            "PATCH",
            f"{CONFIG_MAPS}/c?fieldManager=other",
            {"data": {"b": "9"}},
            {"content-type": "application/merge-patch+json"},
        )
        status, answer = await world.ask("PATCH", f"{CONFIG_MAPS}/c?fieldManager=kubectl", config, APPLY)
        assert status == 409
        assert [cause["field"] for cause in answer["details"]["causes"]] == [".data.b"]

    in_world(body)


def test_names_that_are_too_long_are_refused() -> None:
    async def body(world: World) -> None:
        fields = {"operation": "Update", "apiVersion": "v1", "fieldsType": "FieldsV1", "fieldsV1": {"f:data": {}}}
        entry = {"manager": "m" * 129, "subresource": "s" * 257, **fields}
        sent = {"metadata": {"name": "c", "managedFields": [entry]}}
        status, answer = await world.ask("POST", CONFIG_MAPS, sent)
        assert status == 422
        assert [cause["field"] for cause in answer["details"]["causes"]] == [
            "metadata.managedFields[0].manager",
            "metadata.managedFields[0].subresource",
        ]

    in_world(body)


@pytest.mark.parametrize("owners", [[1], "x", {}, [{"fieldsV1": 5}], [{"time": "x"}], [{"operation": 7}], None, [None]])
def test_owners_that_are_none_do_no_harm(owners: Any) -> None:
    async def body(world: World) -> None:
        sent = {"metadata": {"name": "c", "managedFields": owners}, "data": {"a": "1"}}
        status, answer = await world.ask("POST", CONFIG_MAPS, sent, {"user-agent": "me"})
        assert status in (201, 400), answer
        await world.made(CONFIG_MAPS, {"metadata": {"name": "d"}, "data": {"a": "1"}})
        change = {"metadata": {"managedFields": owners}, "data": {"a": "2"}}
        status, answer = await world.patch(f"{CONFIG_MAPS}/d", change)
        assert status in (200, 422), answer

    in_world(body)
