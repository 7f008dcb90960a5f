"""Extenders over real HTTP and TLS: who is asked what, and what their answers do. Source: kube-scheduler `extender.go`."""

from __future__ import annotations

import asyncio
import base64
import ssl
from pathlib import Path
from typing import Any

import pytest

from carob.api import codec
from carob.api.types import core_v1, scheduling_v1
from carob.scheduler.configuration import API_VERSION, KIND, ConfigurationError, read
from carob.scheduler.profiles import Configuration
from tests.api.test_scheduling import World, in_world, placed
from tests.fakes.certificates import make_certificates
from tests.fakes.extender import Answer, ExtenderServer


def configured(*extenders: dict[str, Any]) -> Configuration:
    tree = {"apiVersion": API_VERSION, "kind": KIND, "extenders": list(extenders)}
    return read(tree, lambda group, name: None)


def names(body: Any) -> list[str]:
    return [one["metadata"]["name"] for one in body["Nodes"]["items"]]


async def three_nodes(world: World, **status: str) -> None:
    for number in range(3):
        await world.node(f"node-{number}", **status)


async def error_of(world: World, name: str) -> str:
    pod = await world.until(name, lambda p: any(c.status == "False" for c in p.status.conditions))
    (condition,) = (c for c in pod.status.conditions if c.type == "PodScheduled")
    assert condition.reason == "SchedulerError"
    return condition.message


def test_it_filters_whole_nodes_and_weighs_the_rest() -> None:
    def keep(body: Any) -> Any:
        kept = [one for one in body["Nodes"]["items"] if one["metadata"]["name"] != "node-0"]
        return {"Nodes": {"items": kept}, "FailedNodes": {"node-0": "node(s) were out of luck"}}

    def weigh(body: Any) -> Any:
        return [{"Host": name, "Score": 10 if name == "node-2" else 1} for name in names(body)]

    async def body(world: World) -> None:
        await three_nodes(world)
        for number in range(3):
            await world.pod(f"web-{number}")
            assert (await world.until(f"web-{number}", placed)).spec.node_name == "node-2"

    with ExtenderServer({"filter": keep, "prioritize": weigh}) as server:
        extender = {"urlPrefix": server.url, "filterVerb": "filter", "prioritizeVerb": "prioritize", "weight": 5}
        in_world(body, configured(extender))
    paths = [path for path, _ in server.asked]
    assert paths == ["/scheduler/filter", "/scheduler/prioritize"] * 3
    first, second = server.asked[0][1], server.asked[1][1]
    assert first["Pod"]["metadata"]["name"] == "web-0"
    assert first["Pod"]["spec"]["containers"][0]["image"] == "web"
    assert first["NodeNames"] is None
    assert names(first) == ["node-0", "node-1", "node-2"]
    assert first["Nodes"]["items"][0]["status"]["allocatable"]["cpu"] == "4"
    assert names(second) == ["node-1", "node-2"]


def test_names_are_enough_for_who_keeps_the_nodes_itself() -> None:
    def none(body: Any) -> Any:
        failed = dict.fromkeys(body["NodeNames"][:2], "node(s) had no luck")
        # Go reads field names in any case
        return {"nodenames": [], "failedNodes": failed, "failedAndUnresolvableNodes": {"node-2": "node(s) never had"}}

    async def body(world: World) -> None:
        await three_nodes(world)
        await world.pod("web")
        assert await world.message("web") == (
            "0/3 nodes are available: 1 node(s) never had, 2 node(s) had no luck. no new claims to deallocate, "
            "preemption: 0/3 nodes are available: 1 Preemption is not helpful for scheduling, 2 No preemption victims "
            "found for incoming pod."
        )

    with ExtenderServer({"filter": none}) as server:
        in_world(body, configured({"urlPrefix": server.url, "filterVerb": "filter", "nodeCacheCapable": True}))
    assert server.asked[0][1]["Nodes"] is None
    assert server.asked[0][1]["NodeNames"] == ["node-0", "node-1", "node-2"]


def test_it_is_asked_only_about_pods_of_its_resources() -> None:
    async def body(world: World) -> None:
        await three_nodes(world)
        await world.pod("plain")
        await world.until("plain", placed)
        container = {"name": "main", "image": "x", "resources": {"limits": {"example.com/gpu": "1"}}}
        await world.pod("special", containers=[container])
        # no node offers it; the extender is who knows
        assert (await world.until("special", placed)).spec.node_name == "node-1"

    def only_one(body: Any) -> Any:
        return {"NodeNames": ["node-1"]}

    with ExtenderServer({"filter": only_one}) as server:
        resource = {"name": "example.com/gpu", "ignoredByScheduler": True}
        extender = {"urlPrefix": server.url, "filterVerb": "filter", "nodeCacheCapable": True}
        in_world(body, configured(extender | {"managedResources": [resource]}))
    assert [asked["Pod"]["metadata"]["name"] for _, asked in server.asked] == ["special"]


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda body: 500, "failed filter with extender at URL {url}/filter, code 500"),
        (lambda body: {"Error": "no idea"}, "no idea"),
        (lambda body: "nonsense", "filter of extender at URL {url}/filter answered no JSON: "),
        (lambda body: [1], "filter of extender at URL {url}/filter answered what makes no sense"),
        (
            lambda body: {"NodeNames": ["elsewhere"]},
            'extender "{url}" claims a filtered node "elsewhere" which is not found in the input node list',
        ),
    ],
)
def test_one_that_fails_is_said_and_may_be_ignored(answer: Any, words: str) -> None:
    async def fails(world: World) -> None:
        await world.node()
        await world.pod("web")
        assert (await error_of(world, "web")).startswith(words.format(url=server.url))

    async def is_ignored(world: World) -> None:
        await world.node()
        await world.pod("web")
        await world.until("web", placed)

    with ExtenderServer({"filter": answer}) as server:
        extender = {"urlPrefix": server.url, "filterVerb": "filter", "nodeCacheCapable": True}
        in_world(fails, configured(extender))
        in_world(is_ignored, configured(extender | {"ignorable": True}))


def test_who_explains_asks_them_too() -> None:
    def keep(body: Any) -> Any:
        chosen = [name for name in body["NodeNames"] if name != "node-0"]
        why = "node(s) were out of luck"
        # the second Pod has no luck anywhere, and nobody says why of one node
        if body["Pod"]["metadata"]["name"] == "unlucky":
            return {"NodeNames": [], "FailedNodes": {"node-1": why, "node-2": why}}
        return {"NodeNames": chosen, "FailedNodes": {"node-0": why}}

    def weigh(body: Any) -> Any:
        return [{"Host": name, "Score": 10 if name == "node-2" else 1} for name in body["NodeNames"]]

    async def body(world: World) -> None:
        await three_nodes(world)
        await world.pod("web", cpu="1")
        assert (await world.until("web", placed)).spec.node_name == "node-2"
        for _ in range(2):
            found = await world.explain("default", "web")
            assert (found["node"], found["rank"], found["chosen"], found["message"]) == ("node-2", 1, "node-2", "")
            assert (found["filters"][-1], found["idle"][-1]) == (title, other)
            assert [one["node"] for one in found["nodes"]] == ["node-2", "node-1", "node-0"]
            assert [one["scores"].get(title) for one in found["nodes"]] == [500, 50, None]
            # as if it had no node: its own place is as empty as the other one
            assert found["nodes"][0]["total"] == found["nodes"][1]["total"] + 450
            assert found["nodes"][2]["rejections"] == {title: ("node(s) were out of luck",)}
        await world.pod("unlucky")
        said = await world.message("unlucky")
        found = await world.explain("default", "unlucky")
        assert (found["chosen"], found["message"]) == ("", said)
        whys = {one["node"]: one["rejections"][title] for one in found["nodes"]}
        assert whys["node-0"] == ("rejected, without a reason",)
        answers["filter"] = lambda body: {"Error": "no idea"}
        found = await world.explain("default", "web")
        assert (found["chosen"], found["message"]) == ("", "no idea")
        assert len(found["nodes"]) == 3

    answers: dict[str, Answer] = {"filter": keep, "prioritize": weigh}
    with ExtenderServer(answers) as server:
        title, other = f"extender {server.url}", "extender http://elsewhere"
        verbs = {"filterVerb": "filter", "prioritizeVerb": "prioritize", "weight": 5, "nodeCacheCapable": True}
        gpu = {"managedResources": [{"name": "example.com/gpu"}], "urlPrefix": "http://elsewhere"}
        in_world(body, configured({"urlPrefix": server.url} | verbs, gpu | verbs))


def test_it_chooses_the_victims() -> None:
    def other_victim(body: Any) -> Any:
        victims = body["NodeNameToVictims"]["node-0"]
        assert [one["metadata"]["name"] for one in victims["Pods"]] == ["low-1"]
        return {"NodeNameToMetaVictims": {"node-0": {"Pods": [{"UID": uids["low-0"]}], "NumPDBViolations": 0}}}

    uids: dict[str, str] = {}

    async def body(world: World) -> None:
        for name, value in (("high", 100), ("mid", 10)):
            tree = {"metadata": {"name": name}, "value": value}
            await world.client.create(codec.from_tree(scheduling_v1.PriorityClass, tree))
        await world.node(cpu="2")
        for name, more in (("low-0", {"priorityClassName": "mid"}), ("low-1", {})):
            made = await world.pod(name, cpu="1", terminationGracePeriodSeconds=0, **more)
            uids[name] = made.metadata.uid
            await world.until(name, placed)
        await world.pod("new", cpu="1", priorityClassName="high")
        await world.until("new", placed)
        left = {pod.metadata.name for pod in (await world.client.list(core_v1.Pod, "default")).items}
        assert left == {"low-1", "new"}

    with ExtenderServer({"preempt": other_victim}) as server:
        in_world(body, configured({"urlPrefix": server.url, "preemptVerb": "preempt"}))


def test_it_binds_over_tls_with_a_certificate(tmp_path: Path) -> None:
    files = make_certificates(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files["server"], files["server_key"])
    context.load_verify_locations(files["ca"])
    context.verify_mode = ssl.CERT_REQUIRED
    bound: list[Any] = []

    def bind(asked: Any) -> Any:
        bound.append(asked)
        return {"Error": "not yet"} if len(bound) == 1 else {}

    def data(name: str) -> str:
        return base64.b64encode(Path(files[name]).read_bytes()).decode()

    async def body(world: World) -> None:
        await world.node()
        pod = await world.pod("web")
        assert await error_of(world, "web") == "binding rejected: not yet"
        async with asyncio.timeout(30):
            while len(bound) < 2:  # noqa: ASYNC110 - told by a thread
                await asyncio.sleep(0.01)
        expected = {"PodName": "web", "PodNamespace": "default", "PodUID": pod.metadata.uid, "Node": "node-0"}
        assert bound == [expected, expected]
        # it said that it bound the Pod, so nobody else does
        assert not placed(await world.client.get(core_v1.Pod, "web", "default"))

    tls = {"caData": data("ca"), "certData": data("client"), "keyData": data("client_key")}
    with ExtenderServer({"bind": bind}, context) as server:
        extender = {"urlPrefix": server.url, "bindVerb": "bind", "enableHTTPS": True, "httpTimeout": "20s"}
        in_world(body, configured(extender | {"tlsConfig": tls}))
    assert all(server.certificates)


def test_what_cannot_be_used_is_named_before() -> None:
    with pytest.raises(ConfigurationError) as caught:
        configured({"urlPrefix": "ftp://x", "httpTimeout": "5"})
    assert str(caught.value) == (
        '[extenders[0].urlPrefix: Invalid value: "ftp://x": must be an http or https URL, '
        'extenders[0].httpTimeout: Invalid value: "5": time: missing unit in duration "5"]'
    )
