"""Deletion through the engine: at once, gracefully, held by finalizers, with preconditions.

Answers: "Garbage collection", "Finalizers", "Termination of Pods", API-initiated eviction.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.fakes.engine_world import DEPLOYMENTS, MAPS, PODS, World, config_map, deployment, in_world, pod


def test_a_plain_object_goes_at_once_and_the_answer_is_a_status() -> None:
    async def body(world: World) -> None:
        made = await world.made(MAPS, config_map("a"))
        status, answer = await world.ask("DELETE", f"{MAPS}/a")
        assert (status, answer["kind"], answer["status"]) == (200, "Status", "Success")
        assert answer["details"] == {"name": "a", "kind": "configmaps", "uid": made["metadata"]["uid"]}
        assert (await world.ask("DELETE", f"{MAPS}/a"))[0] == 404

    in_world(body)


def test_a_pod_on_a_node_lives_on_for_its_grace() -> None:
    async def body(world: World) -> None:
        await world.made(PODS, pod("p", nodeName="n"))
        status, first = await world.ask("DELETE", f"{PODS}/p")
        metadata = first["metadata"]
        assert (status, metadata["deletionGracePeriodSeconds"], metadata["generation"]) == (200, 30, 2)
        assert metadata["deletionTimestamp"] == "2023-11-14T22:13:50Z"
        assert await world.ask("DELETE", f"{PODS}/p") == (200, first)  # again: nothing changes
        _, longer = await world.ask("DELETE", f"{PODS}/p", {"gracePeriodSeconds": 60})
        assert longer == first
        _, shorter = await world.ask("DELETE", f"{PODS}/p", {"gracePeriodSeconds": 5})
        assert shorter["metadata"]["deletionTimestamp"] == "2023-11-14T22:13:25Z"
        status, _ = await world.ask("DELETE", f"{PODS}/p?gracePeriodSeconds=0")
        assert status == 200
        assert (await world.ask("GET", f"{PODS}/p"))[0] == 404

    in_world(body)


@pytest.mark.parametrize(("spec", "phase"), [({}, ""), ({"nodeName": "n"}, "Succeeded"), ({"nodeName": "n"}, "Failed")])
def test_a_pod_that_runs_nowhere_or_has_finished_goes_at_once(spec: dict[str, Any], phase: str) -> None:
    async def body(world: World) -> None:
        await world.made(PODS, pod("p", **spec))
        if phase:
            await world.patch(f"{PODS}/p/status", {"status": {"phase": phase}})
        assert (await world.ask("DELETE", f"{PODS}/p"))[0] == 200
        assert (await world.ask("GET", f"{PODS}/p"))[0] == 404

    in_world(body)


def test_a_finalizer_holds_an_object_until_it_is_taken_away() -> None:
    async def body(world: World) -> None:
        held = config_map("a")
        held["metadata"]["finalizers"] = ["example.com/x"]
        await world.made(MAPS, held)
        sink = await world.watch(f"{MAPS}?watch=1&resourceVersion={world.store.revision}")
        _, marked = await world.ask("DELETE", f"{MAPS}/a")
        assert marked["metadata"]["deletionGracePeriodSeconds"] == 0
        assert (await world.ask("DELETE", f"{MAPS}/a"))[1] == marked
        assert (await world.patch(f"{MAPS}/a", {"metadata": {"finalizers": None}}))[0] == 200
        assert (await world.ask("GET", f"{MAPS}/a"))[0] == 404
        await world.settle()
        assert [kind for kind, _ in sink.seen] == ["MODIFIED", "DELETED"]

    in_world(body)


@pytest.mark.parametrize(
    ("query", "finalizers"),
    [
        ("propagationPolicy=Foreground", ["foregroundDeletion"]),
        ("propagationPolicy=Orphan", ["orphan"]),
        ("orphanDependents=true", ["orphan"]),
    ],
)
def test_a_policy_becomes_a_finalizer_for_the_garbage_collector(query: str, finalizers: list[str]) -> None:
    async def body(world: World) -> None:
        await world.made(DEPLOYMENTS, deployment("d"))
        _, answer = await world.ask("DELETE", f"{DEPLOYMENTS}/d?{query}")
        assert answer["metadata"]["finalizers"] == finalizers
        assert answer["metadata"]["generation"] == 2

    in_world(body)


def test_a_job_without_a_policy_keeps_its_pods_and_says_so() -> None:
    async def body(world: World) -> None:
        jobs = "/apis/batch/v1/namespaces/default/jobs"
        template = {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}}
        await world.made(jobs, {"metadata": {"name": "j"}, "spec": {"template": template}})
        response = await world.respond("DELETE", f"{jobs}/j")
        assert response.headers[0][1].startswith('299 - "child pods are preserved by default')

    in_world(body)


@pytest.mark.parametrize("preconditions", [{"uid": "other"}, {"resourceVersion": "1"}])
def test_preconditions_must_hold(preconditions: dict[str, str]) -> None:
    async def body(world: World) -> None:
        made = await world.made(MAPS, config_map("a"))
        status, answer = await world.ask("DELETE", f"{MAPS}/a", {"preconditions": preconditions})
        assert (status, answer["reason"]) == (409, "Conflict")
        right = {key: made["metadata"][key] for key in preconditions}
        assert (await world.ask("DELETE", f"{MAPS}/a", {"preconditions": right}))[0] == 200

    in_world(body)


def test_a_collection_is_deleted_by_selector() -> None:
    async def body(world: World) -> None:
        for name, value in (("a", "1"), ("b", "2"), ("c", "1")):
            made = config_map(name)
            made["metadata"]["labels"] = {"x": value}
            await world.made(MAPS, made)
        _, answer = await world.ask("DELETE", f"{MAPS}?labelSelector=x%3D1")
        assert [item["metadata"]["name"] for item in answer["items"]] == ["a", "c"]
        _, left = await world.ask("GET", MAPS)
        assert [item["metadata"]["name"] for item in left["items"]] == ["b"]

    in_world(body)


def test_a_namespace_lives_until_its_content_is_gone() -> None:
    async def body(world: World) -> None:
        made = await world.made("/api/v1/namespaces", {"metadata": {"name": "x"}})
        assert (made["status"], made["spec"]) == ({"phase": "Active"}, {"finalizers": ["kubernetes"]})
        _, marked = await world.ask("DELETE", "/api/v1/namespaces/x")
        assert marked["status"]["phase"] == "Terminating"
        marked["spec"]["finalizers"] = []
        assert (await world.ask("PUT", "/api/v1/namespaces/x/finalize", marked))[0] == 200
        assert (await world.ask("GET", "/api/v1/namespaces/x"))[0] == 404

    in_world(body)


def test_eviction_asks_the_budget() -> None:
    async def body(world: World) -> None:
        budgets = "/apis/policy/v1/namespaces/default/poddisruptionbudgets"
        labels = {"labels": {"e": "1"}}
        sent = pod("p", nodeName="n")
        sent["metadata"] |= labels
        await world.made(PODS, sent)
        ready = [{"type": "Ready", "status": "True"}]
        await world.patch(f"{PODS}/p/status", {"status": {"phase": "Running", "conditions": ready}})
        spec = {"selector": {"matchLabels": {"e": "1"}}, "minAvailable": 1}
        await world.made(budgets, {"metadata": {"name": "b"}, "spec": spec})
        eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "p"}}
        status, answer = await world.ask("POST", f"{PODS}/p/eviction", eviction)
        assert (status, answer["details"]["retryAfterSeconds"]) == (429, 10)  # not observed yet
        counts = {"observedGeneration": 1, "disruptionsAllowed": 0, "currentHealthy": 1, "desiredHealthy": 1}
        await world.patch(f"{budgets}/b/status", {"status": counts})
        status, answer = await world.ask("POST", f"{PODS}/p/eviction", eviction)
        why = answer["details"]["causes"][0]["message"]
        assert (status, why) == (429, "The disruption budget b needs 1 healthy pods and has 1 currently")
        await world.patch(f"{budgets}/b/status", {"status": {"disruptionsAllowed": 1}})
        assert (await world.ask("POST", f"{PODS}/p/eviction?dryRun=All", eviction))[0] == 201
        assert (await world.ask("POST", f"{PODS}/p/eviction", eviction))[0] == 201
        _, evicted = await world.ask("GET", f"{PODS}/p")
        assert evicted["metadata"]["deletionGracePeriodSeconds"] == 30
        _, spent = await world.ask("GET", f"{budgets}/b")
        assert (spent["status"]["disruptionsAllowed"], list(spent["status"]["disruptedPods"])) == (0, ["p"])

    in_world(body)
