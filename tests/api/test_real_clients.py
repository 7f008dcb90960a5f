"""Clients of others, unmodified, against our server over a socket: the official one's typed calls, lightkube, kr8s."""

from __future__ import annotations

import asyncio
import json
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from carob.api.resources import BUILT_IN, Resource
from carob.api.user import UserInfo
from carob.apiserver.options import ApiServerOptions
from carob.apiserver.server import ApiServer
from carob.base.clock import SystemClock
from carob.base.ids import SystemRandomness
from carob.store.memory import MemoryStore
from carob.transport.server import Server
from tests.ports import free_port

pytestmark = [
    pytest.mark.slow,
    # their affair, not ours
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore:Kubernetes version:UserWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

TOKEN = "sesame"
ADMIN = UserInfo("admin", ("system:masters", "system:authenticated"))
_RECORDED = json.loads((Path(__file__).parents[1] / "unit" / "api" / "data" / "defaulting.json").read_text())["cases"]
_TYPED = [row for row in BUILT_IN if row.stored and "list" in row.verbs]


@pytest.fixture(scope="module")
def kubeconfig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A server in a thread of its own, and the file that tells of it."""
    port, ready, stop = free_port(), threading.Event(), asyncio.Event()
    loop = asyncio.new_event_loop()

    async def serve() -> None:
        options = ApiServerOptions(static_tokens={TOKEN: ADMIN})
        api = ApiServer(MemoryStore(), options, SystemClock(), SystemRandomness())
        await api.start()
        server = Server(api.handle, SystemClock())
        await server.listen("127.0.0.1", port)
        ready.set()
        await stop.wait()
        await server.close()
        await api.close()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()))
    thread.start()
    assert ready.wait(60)
    tree = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "c",
        "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{port}"}}],
        "users": [{"name": "c", "user": {"token": TOKEN}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "c", "namespace": "default"}}],
    }
    file = tmp_path_factory.mktemp("clients") / "kubeconfig"
    file.write_text(yaml.safe_dump(tree))
    yield file
    loop.call_soon_threadsafe(stop.set)
    thread.join(60)
    loop.close()


@pytest.fixture(scope="module")
def official(kubeconfig: Path) -> Any:
    from kubernetes import config

    new_client: Any = config.new_client_from_config
    client = new_client(str(kubeconfig))
    core = _module().CoreV1Api(client)
    core.create_namespaced_service_account("default", {"metadata": {"name": "default"}})
    return client


def _module() -> Any:
    from kubernetes import client

    return client


# what the client itself cannot do: it writes times of events without a fraction, which no server takes; requests for
# certificates have an answer of their own
_LISTED_ONLY = {"CertificateSigningRequest", "Event"}
_NAMES_THAT_MEAN_SOMETHING = {"CustomResourceDefinition", "IPAddress"}


def _prepared(recorded: Any) -> Any:
    """A manifest under a name of its own, with all that the client's models insist on."""
    sent = json.loads(json.dumps(recorded))
    metadata = sent["metadata"]
    metadata.pop("namespace", None)
    if sent["kind"] not in _NAMES_THAT_MEAN_SOMETHING:
        metadata["name"] = f"typed-{metadata['name']}"
    if sent["kind"] == "Node":
        sent.pop("status", None)
    if sent["kind"] == "CSINode":
        sent["spec"] = {"drivers": [{"name": "csi.example.com", "nodeID": "n"}]}
    return sent


def _snake(kind: str) -> str:
    text = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", kind)
    return re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", text).lower()


def _api(official: Any, row: Resource) -> Any:
    group = "".join(part.capitalize() for part in row.group.removesuffix(".k8s.io").split("."))
    group = {"": "Core", "FlowcontrolApiserver": "FlowcontrolApiserver"}.get(group, group)
    return getattr(_module(), f"{group}{row.version.capitalize()}Api")(official)


@pytest.mark.parametrize("row", _TYPED, ids=lambda row: f"{row.plural}.{row.group}/{row.version}")
def test_the_official_clients_typed_calls(official: Any, row: Resource) -> None:
    """Create, read, list, patch, replace and delete; every answer must fit the client's models."""
    api, kind = _api(official, row), _snake(row.kind)
    scope = f"namespaced_{kind}" if row.namespaced else kind
    place = ("default",) if row.namespaced else ()
    listed = getattr(api, f"list_{scope}")(*place, limit=100)
    assert listed.kind == row.list_kind
    cases = [
        c["sent"] for c in _RECORDED if (c["sent"]["apiVersion"], c["sent"]["kind"]) == (row.api_version, row.kind)
    ]
    if not cases or "create" not in row.verbs or row.kind in _LISTED_ONLY:
        return
    sent = _prepared(cases[0])
    name = sent["metadata"]["name"]
    made = getattr(api, f"create_{scope}")(*place, sent)
    assert made.metadata.name == name
    found = getattr(api, f"read_{scope}")(name, *place)
    assert found.metadata.uid == made.metadata.uid
    patched = getattr(api, f"patch_{scope}")(name, *place, {"metadata": {"labels": {"a": "b"}}})
    assert patched.metadata.labels["a"] == "b"
    patched.metadata.annotations = {"c": "d"}
    replaced = getattr(api, f"replace_{scope}")(name, *place, patched)
    assert replaced.metadata.annotations["c"] == "d"
    listed = getattr(api, f"list_{scope}")(*place, label_selector="a=b")
    assert name in [item.metadata.name for item in listed.items]
    getattr(api, f"delete_{scope}")(name, *place, grace_period_seconds=0)


def test_the_official_clients_watch(official: Any) -> None:
    from kubernetes import watch

    core = _module().CoreV1Api(official)
    begun = core.list_namespaced_config_map("default").metadata.resource_version
    for number in range(3):
        core.create_namespaced_config_map("default", {"metadata": {"name": f"watched-{number}"}, "data": {"k": "v"}})
    seen = []
    make: Any = watch.Watch
    stream = make()
    for event in stream.stream(core.list_namespaced_config_map, "default", resource_version=begun, timeout_seconds=30):
        seen.append((event["type"], event["object"].metadata.name))
        if len(seen) == 3:
            stream.stop()
    assert seen == [("ADDED", f"watched-{number}") for number in range(3)]


def test_lightkube(kubeconfig: Path, official: Any) -> None:
    from lightkube import ApiError, Client, KubeConfig
    from lightkube.models.meta_v1 import ObjectMeta
    from lightkube.resources.apps_v1 import Deployment
    from lightkube.resources.core_v1 import ConfigMap, Node, Pod
    from lightkube.types import PatchType

    client: Any = Client(KubeConfig.from_file(str(kubeconfig)), field_manager="lightkube")
    made = client.create(ConfigMap(metadata=ObjectMeta(name="light", labels={"a": "l"}), data={"k": "v"}))
    assert made.data == {"k": "v"}
    applied = client.apply(ConfigMap(metadata=ObjectMeta(name="light"), data={"more": "w"}))
    assert applied.data == {"k": "v", "more": "w"}
    assert [one.metadata.name for one in client.list(ConfigMap, labels={"a": "l"})] == ["light"]
    changed = client.patch(ConfigMap, "light", {"data": {"k": None}}, patch_type=PatchType.MERGE)
    assert changed.data == {"more": "w"}
    template = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    spec = {"selector": {"matchLabels": {"a": "b"}}, "replicas": 1, "template": template}
    client.create(Deployment.from_dict({"metadata": {"name": "light", "namespace": "default"}, "spec": spec}))
    scale = client.get(Deployment.Scale, "light")
    scale.spec.replicas = 3
    assert client.replace(scale, "light").spec.replicas == 3
    assert client.get(Deployment, "light").spec.replicas == 3
    client.create(Node.from_dict({"metadata": {"name": "light"}}))
    pod = {"metadata": {"name": "light"}, "spec": {"containers": [{"name": "c", "image": "i"}], "nodeName": "light"}}
    client.create(Pod.from_dict(pod))
    status = {"status": {"phase": "Running"}}
    assert client.patch(Pod.Status, "light", status, patch_type=PatchType.MERGE).status.phase == "Running"
    assert [one.metadata.name for one in client.list(Pod, fields={"spec.nodeName": "light"})] == ["light"]
    for kind in (Deployment, ConfigMap):
        client.delete(kind, "light")
    with pytest.raises(ApiError) as missing:
        client.get(ConfigMap, "light")
    assert missing.value.status.reason == "NotFound"


def test_kr8s(kubeconfig: Path, official: Any) -> None:
    import kr8s
    from kr8s.objects import ConfigMap, Deployment

    api: Any = kr8s.api(kubeconfig=str(kubeconfig))
    assert api.version()["major"] == "1"
    made = ConfigMap(
        {"metadata": {"name": "kr", "namespace": "default", "labels": {"k": "r"}}, "data": {"a": "b"}}, api=api
    )
    made.create()
    made.refresh()
    assert made.raw["data"] == {"a": "b"}
    made.patch({"data": {"c": "d"}})
    assert ConfigMap.get("kr", namespace="default", api=api).raw["data"] == {"a": "b", "c": "d"}
    assert [one.name for one in api.get("configmaps", namespace="default", label_selector="k=r")] == ["kr"]
    made.label({"x": "y"})
    made.annotate({"n": "o"})
    template = {"metadata": {"labels": {"a": "kr"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    spec = {"selector": {"matchLabels": {"a": "kr"}}, "replicas": 0, "template": template}
    deployment = Deployment({"metadata": {"name": "kr", "namespace": "default"}, "spec": spec}, api=api)
    deployment.create()
    deployment.patch({"spec": {"replicas": 2}}, subresource="scale")
    deployment.refresh()
    assert deployment.replicas == 2
    deployment.delete()
    made.delete()
    assert not made.exists()
