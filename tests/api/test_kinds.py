"""What single kinds do differently: Pods, Services, Jobs, CSRs; and that every kind has its basic verbs."""

from __future__ import annotations

from typing import Any

import pytest

from carob.api.resources import BUILT_IN, Resource
from carob.base.clock import rfc3339
from tests.fakes.engine_world import DEPLOYMENTS, PODS, SERVICES, World, deployment, in_world, pod


def service(name: str, **spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": name}, "spec": {"selector": {"a": "b"}, "ports": [{"port": 80}], **spec}}


def test_a_pod_begins_pending_in_its_class() -> None:
    async def body(world: World) -> None:
        made = await world.made(PODS, pod("p") | {"status": {"phase": "Running", "podIP": "1.2.3.4"}})
        assert made["status"] == {"phase": "Pending", "qosClass": "BestEffort"}

    in_world(body)


def test_a_pod_is_bound_once() -> None:
    async def body(world: World) -> None:
        await world.made(PODS, pod("p"))
        binding = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": "p"}, "target": {"name": "n1"}}
        status, answer = await world.ask("POST", f"{PODS}/p/binding", binding)
        assert (status, answer["status"]) == (201, "Success")
        _, bound = await world.ask("GET", f"{PODS}/p")
        assert bound["spec"]["nodeName"] == "n1"
        condition = bound["status"]["conditions"][0]
        assert (condition["type"], condition["status"]) == ("PodScheduled", "True")
        status, answer = await world.ask("POST", f"{PODS}/p/binding", binding)
        assert status == 409
        assert answer["message"] == (
            'Operation cannot be fulfilled on pods/binding "p": pod p is already assigned to node "n1"'
        )
        assert (await world.ask("POST", f"{PODS}/p/binding", binding | {"target": {}}))[0] == 400
        assert (await world.ask("POST", f"{PODS}/q/binding", binding | {"metadata": {}}))[0] == 404

    in_world(body)


def test_a_gated_pod_is_not_bound() -> None:
    async def body(world: World) -> None:
        made = await world.made(PODS, pod("p", schedulingGates=[{"name": "example.com/g"}]))
        assert made["status"]["conditions"][0]["reason"] == "SchedulingGated"
        status, _ = await world.ask("POST", f"{PODS}/p/binding", {"target": {"name": "n"}})
        assert status == 409

    in_world(body)


def test_scale_reads_and_writes_the_replicas() -> None:
    async def body(world: World) -> None:
        await world.made(DEPLOYMENTS, deployment("d", replicas=2))
        _, scale = await world.ask("GET", f"{DEPLOYMENTS}/d/scale")
        assert (scale["kind"], scale["spec"], scale["status"]) == (
            "Scale",
            {"replicas": 2},
            {"replicas": 0, "selector": "a=b"},
        )
        scale["spec"]["replicas"] = 5
        status, answer = await world.ask("PUT", f"{DEPLOYMENTS}/d/scale", scale)
        assert (status, answer["spec"]["replicas"]) == (200, 5)
        assert (await world.ask("PUT", f"{DEPLOYMENTS}/d/scale", scale))[0] == 409
        status, answer = await world.patch(f"{DEPLOYMENTS}/d/scale", {"spec": {"replicas": -1}})
        assert (status, answer["details"]["kind"]) == (422, "Scale")
        _, changed = await world.ask("GET", f"{DEPLOYMENTS}/d")
        assert (changed["spec"]["replicas"], changed["metadata"]["generation"]) == (5, 2)

    in_world(body)


def test_ephemeral_containers_are_added_through_their_own_door() -> None:
    async def body(world: World) -> None:
        await world.made(PODS, pod("p"))
        change = {"spec": {"ephemeralContainers": [{"name": "debugger", "image": "busybox"}]}}
        status, answer = await world.patch(f"{PODS}/p/ephemeralcontainers", change, "strategic-merge-patch+json")
        assert (status, answer["spec"]["ephemeralContainers"][0]["name"]) == (200, "debugger")
        assert answer["metadata"]["generation"] == 2

    in_world(body)


def test_addresses_and_node_ports_are_given_out_once() -> None:
    async def body(world: World) -> None:
        addresses, ports = set(), set()
        for i in range(50):
            made = await world.made(SERVICES, service(f"s{i}", type="NodePort"))
            addresses.add(made["spec"]["clusterIP"])
            ports.add(made["spec"]["ports"][0]["nodePort"])
            assert made["spec"]["clusterIPs"] == [made["spec"]["clusterIP"]]
        assert len(addresses) == len(ports) == 50
        assert all(address.startswith("10.43.") for address in addresses)
        taken = next(iter(addresses))
        status, answer = await world.ask("POST", SERVICES, service("t", clusterIP=taken))
        assert (status, "provided IP is already allocated" in answer["message"]) == (422, True)

    in_world(body)


def test_what_a_service_held_is_free_again_when_it_is_gone_or_was_never_made() -> None:
    async def body(world: World) -> None:
        fixed = service("s", type="NodePort", clusterIP="10.43.7.7")
        fixed["spec"]["ports"][0]["nodePort"] = 31234
        assert (await world.ask("POST", f"{SERVICES}?dryRun=All", fixed))[0] == 201
        await world.made(SERVICES, fixed)
        other = fixed | {"metadata": {"name": "t"}}
        assert (await world.ask("POST", SERVICES, other))[0] == 422
        await world.ask("DELETE", f"{SERVICES}/s")
        await world.made(SERVICES, other)

    in_world(body)


def test_a_service_keeps_its_address_when_a_client_leaves_it_out() -> None:
    async def body(world: World) -> None:
        made = await world.made(SERVICES, service("s", type="NodePort"))
        _, put = await world.ask("PUT", f"{SERVICES}/s", service("s", type="NodePort"))
        assert put["spec"] == made["spec"]
        _, plain = await world.patch(f"{SERVICES}/s", {"spec": {"type": "ClusterIP"}})
        assert "nodePort" not in plain["spec"]["ports"][0]
        _, named = await world.patch(
            f"{SERVICES}/s", {"spec": {"type": "ExternalName", "externalName": "a.b", "clusterIP": None}}
        )
        assert "clusterIP" not in named["spec"]

    in_world(body)


def test_a_job_selects_its_own_pods() -> None:
    async def body(world: World) -> None:
        template = {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}}
        made = await world.made(
            "/apis/batch/v1/namespaces/default/jobs", {"metadata": {"name": "j"}, "spec": {"template": template}}
        )
        uid = made["metadata"]["uid"]
        assert made["spec"]["selector"] == {"matchLabels": {"batch.kubernetes.io/controller-uid": uid}}
        assert made["spec"]["template"]["metadata"]["labels"]["job-name"] == "j"

    in_world(body)


def test_a_signing_request_names_who_really_asked() -> None:
    async def body(world: World) -> None:
        path = "/apis/certificates.k8s.io/v1/certificatesigningrequests"
        spec = {"request": "eA==", "signerName": "example.com/s", "usages": ["client auth"], "username": "root"}
        status, made = await world.ask("POST", path, {"metadata": {"name": "c"}, "spec": spec})
        if status == 422:  # the request's content is judged, too
            return
        assert made["spec"]["username"] == "admin"
        _, approved = await world.patch(
            f"{path}/c/approval", {"status": {"conditions": [{"type": "Approved", "status": "True", "reason": "r"}]}}
        )
        assert approved["status"]["conditions"][0]["lastUpdateTime"]

    in_world(body)


@pytest.mark.parametrize("lists", [{}, {"endpoints": [], "ports": []}, {"endpoints": None, "ports": None}])
def test_a_slice_without_endpoints_says_null(lists: dict[str, Any]) -> None:
    async def body(world: World) -> None:
        slices = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices"
        made = await world.made(slices, {"metadata": {"name": "none"}, "addressType": "IPv4", **lists})
        _, read = await world.ask("GET", f"{slices}/none")
        for one in (made, read):
            assert (one["endpoints"], one["ports"]) == (None, None)

    in_world(body)


def test_an_apply_makes_and_merges() -> None:
    """Server-side apply: what its manager names no more goes, and it must have a manager."""

    async def body(world: World) -> None:
        headers = {"content-type": "application/apply-patch+yaml"}
        target = f"{DEPLOYMENTS}/d?fieldManager=me"
        applied = deployment("d", replicas=2)
        assert (await world.ask("PATCH", target, applied, headers))[0] == 201
        applied["spec"]["template"]["spec"]["containers"] = [{"name": "e", "image": "i"}]
        status, answer = await world.ask("PATCH", target, applied, headers)
        assert status == 200
        assert {c["name"] for c in answer["spec"]["template"]["spec"]["containers"]} == {"e"}
        status, answer = await world.ask("PATCH", f"{DEPLOYMENTS}/d", applied, headers)
        assert (status, "fieldManager: Required value" in answer["message"]) == (422, True)

    in_world(body)


STORED = [row for row in BUILT_IN if row.stored and "list" in row.verbs]


@pytest.mark.parametrize("row", STORED, ids=lambda row: f"{row.plural}.{row.group}/{row.version}")
def test_every_kind_is_listed_watched_and_shown_as_a_table(row: Resource) -> None:
    async def body(world: World) -> None:
        path = row.path("default" if row.namespaced else None)
        _, listed = await world.ask("GET", path)
        assert (listed["kind"], listed["apiVersion"], listed["items"]) == (row.list_kind, row.api_version, [])
        _, table = await world.ask("GET", path, None, {"accept": "application/json;as=Table;v=v1;g=meta.k8s.io"})
        assert table["kind"] == "Table"
        assert table["columnDefinitions"][0]["name"]
        sink = await world.watch(f"{path}?watch=1&allowWatchBookmarks=true&timeoutSeconds=10")
        assert sink.events == []
        assert (await world.ask("GET", f"{path}/none"))[0] == 404

    in_world(body)


def test_events_that_nobody_renews_go_after_an_hour() -> None:
    async def body(world: World) -> None:
        events = "/api/v1/namespaces/default/events"
        for name in ("old", "renewed"):
            involved = {"kind": "Pod", "name": "p", "namespace": "default"}
            await world.made(events, {"metadata": {"name": name}, "involvedObject": involved, "reason": "R"})
        await world.clock.advance(3000)
        await world.patch(f"{events}/renewed", {"count": 2, "lastTimestamp": rfc3339(world.clock.now())})
        await world.clock.advance(1000)
        _, listed = await world.ask("GET", events)
        assert [item["metadata"]["name"] for item in listed["items"]] == ["renewed"]

    in_world(body)


def test_old_history_is_forgotten_and_recent_history_is_not() -> None:
    async def body(world: World) -> None:
        await world.made(PODS, pod("a"))
        await world.clock.advance(301)
        await world.made(PODS, pod("b"))
        recent = world.store.revision
        await world.clock.advance(300)
        assert 0 < world.store.compacted_revision < recent

    in_world(body)
