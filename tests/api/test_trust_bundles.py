"""ClusterTrustBundles, which are served when their gate is open, and the volumes that show them.

Answers: KEP-3257; the conformance tests of ClusterTrustBundle and of its projection (v1.37 promotes both).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from carob.api import codec, pem
from carob.api.features import read
from carob.api.types import certificates_v1beta1
from carob.api.user import UserInfo
from carob.apiserver.options import ApiServerOptions
from carob.apiserver.server import ApiServer
from carob.base.clock import SystemClock
from carob.base.ids import SystemRandomness
from carob.controllers import trust_bundles
from carob.controllers.trust_bundles import bundle_of
from carob.store.memory import MemoryStore
from tests.api.asking import ADMIN, Asker
from tests.api.kubelet_world import World, eventually, in_world, ready
from tests.fakes.certificates import make_certificates

GATES = ("ClusterTrustBundle=true", "ClusterTrustBundleProjection=true")
OPEN = ApiServerOptions(features=read(GATES, ("certificates.k8s.io/v1beta1=true",)))
API = "/apis/certificates.k8s.io/v1beta1/clustertrustbundles"
SIGNER = "example.com/mine"
JSON = {"content-type": "application/json"}
MERGE = {"content-type": "application/merge-patch+json"}


@pytest.fixture(scope="module")
def authorities(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Two authorities, and a certificate that is none."""
    folders = [tmp_path_factory.mktemp("a"), tmp_path_factory.mktemp("b")]
    made = [make_certificates(folder) for folder in folders]
    return [Path(path).read_text() for path in (made[0]["ca"], made[1]["ca"], made[0]["server"])]


def with_server(body: Callable[[Asker], Awaitable[None]], options: ApiServerOptions = OPEN) -> None:
    async def main() -> None:
        server = ApiServer(MemoryStore(), options, SystemClock(), SystemRandomness())
        await server.start()
        try:
            await body(Asker(server))
        finally:
            await server.close()

    asyncio.run(main())


def bundle(name: str, text: str, signer: str = "", **labels: str) -> dict[str, Any]:
    spec = {"trustBundle": text} | ({"signerName": signer} if signer else {})
    return {"metadata": {"name": name, "labels": labels}, "spec": spec}


def test_nothing_of_it_is_there_while_the_gate_is_closed() -> None:
    async def body(api: Asker) -> None:
        assert (await api.ask("GET", API))[0] == 404
        roles = "/apis/rbac.authorization.k8s.io/v1/clusterroles/system:cluster-trust-bundle-discovery"
        assert (await api.ask("GET", roles))[0] == 404
        source = {"clusterTrustBundle": {"name": "x", "path": "ca.crt"}}
        volumes = [{"name": "v", "projected": {"sources": [source]}}]
        account = {"metadata": {"name": "default"}}
        await api.ask("POST", "/api/v1/namespaces/default/serviceaccounts", account, headers=JSON)
        containers = [{"name": "c", "image": "i"}]
        pod = {"metadata": {"name": "p"}, "spec": {"containers": containers, "volumes": volumes}}
        status, answer = await api.ask("POST", "/api/v1/namespaces/default/pods", pod, headers=JSON)
        assert (status, answer["spec"]["volumes"][0]["projected"]["sources"]) == (201, [{}])

    with_server(body, ApiServerOptions())
    half = ApiServerOptions(features=read((), ("certificates.k8s.io/v1beta1=true",)))
    with_server(lambda api: _is_not_served(api), half)


async def _is_not_served(api: Asker) -> None:
    assert (await api.ask("GET", API))[0] == 404


def test_bundles_are_found_by_their_signer(authorities: list[str]) -> None:
    async def body(api: Asker) -> None:
        for one in (bundle("plain", authorities[0]), bundle("example.com:mine:a", authorities[0], SIGNER)):
            status, answer = await api.ask("POST", API, one, headers=JSON)
            assert status == 201, answer
        for query, names in (
            (f"spec.signerName={SIGNER}", ["example.com:mine:a"]),
            ("spec.signerName=", ["plain"]),
            ("metadata.name=plain", ["plain"]),
        ):
            _, found = await api.ask("GET", f"{API}?fieldSelector={query}")
            assert [item["metadata"]["name"] for item in found["items"]] == names
        _, table = await api.ask("GET", API, headers={"accept": "application/json;as=Table;v=v1;g=meta.k8s.io"})
        assert [column["name"] for column in table["columnDefinitions"]] == ["Name", "SignerName"]
        assert [row["cells"] for row in table["rows"]] == [["example.com:mine:a", SIGNER], ["plain", "<none>"]]
        _, answer = await api.ask("GET", "/apis/certificates.k8s.io/v1beta1")
        assert [one["name"] for one in answer["resources"]] == ["clustertrustbundles"]

    with_server(body)


def test_what_a_bundle_may_not_be(authorities: list[str]) -> None:
    first, second, leaf = authorities
    with_header = first.replace("-----\n", "-----\nProc-Type: 4\n\n", 1)
    key = pem.encode("EC PRIVATE KEY", b"x")
    omitted = 'spec.trustBundle: Invalid value: "<value omitted>": '
    cases = [
        (bundle("a", ""), omitted + "at least one trust anchor must be provided"),
        (bundle("a", "no PEM at all"), omitted + "at least one trust anchor must be provided"),
        (bundle("a", leaf), omitted + "entry 0 does not have the CA bit set"),
        (bundle("a", first + key), omitted + "entry 1 has bad block type: EC PRIVATE KEY"),
        (bundle("a", with_header), omitted + "entry 0 has PEM block headers"),
        (bundle("a", pem.encode("CERTIFICATE", b"junk")), omitted + "entry 0 does not parse as X.509"),
        (bundle("a", first + second + first), omitted + "duplicate trust anchor (indices [0 2])"),
        (bundle("a", "x" * ((1 << 20) + 1)), "spec.trustBundle: Too long: may not be more than 1048576 bytes"),
        (bundle("a:b", first), 'ClusterTrustBundle without signer name must not have ":" in its name'),
        (
            bundle("a", first, SIGNER),
            f"ClusterTrustBundle for signerName {SIGNER} must be named with prefix example.com:mine:",
        ),
        (bundle("nodot:a:", first, "nodot"), "must be a fully qualified domain and path of the form"),
    ]

    async def body(api: Asker) -> None:
        for wrong, words in cases:
            status, answer = await api.ask("POST", API, wrong, headers=JSON)
            assert status == 422, answer
            assert words in answer["message"]
        status, _ = await api.ask("POST", API, bundle("a", first + second), headers=JSON)
        assert status == 201
        status, answer = await api.ask("PATCH", f"{API}/a", {"spec": {"signerName": SIGNER}}, headers=MERGE)
        assert (status, "spec.signerName" in answer["message"]) == (422, True)
        status, answer = await api.ask("PUT", f"{API}/a", bundle("a", first), headers=JSON)
        assert (status, "metadata.resourceVersion" in answer["message"]) == (422, True)

    with_server(body)


def test_only_who_may_attest_for_a_signer_makes_its_bundles(authorities: list[str]) -> None:
    carol = UserInfo("carol", ("system:authenticated",))
    rules = [{"apiGroups": ["certificates.k8s.io"], "resources": ["clustertrustbundles"], "verbs": ["*"]}]
    attest = {"apiGroups": ["certificates.k8s.io"], "resources": ["signers"], "verbs": ["attest"]}

    async def body(api: Asker) -> None:
        rbac = "/apis/rbac.authorization.k8s.io/v1"
        role: dict[str, Any] = {"metadata": {"name": "bundler"}, "rules": rules}
        await api.ask("POST", f"{rbac}/clusterroles", role, headers=JSON)
        reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "bundler"}
        subject = {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "carol"}
        binding = {"metadata": {"name": "bundler"}, "roleRef": reference, "subjects": [subject]}
        await api.ask("POST", f"{rbac}/clusterrolebindings", binding, headers=JSON)
        mine = bundle("example.com:mine:a", authorities[0], SIGNER)
        assert (await api.ask("POST", API, bundle("plain", authorities[0]), carol, headers=JSON))[0] == 201
        status, answer = await api.ask("POST", API, mine, carol, headers=JSON)
        assert (status, f'user not permitted to attest for signerName "{SIGNER}"' in answer["message"]) == (403, True)
        await api.ask("POST", API, mine, ADMIN, headers=JSON)
        path = f"{API}/example.com:mine:a"
        assert (await api.ask("PATCH", path, {"metadata": {"labels": {"a": "b"}}}, carol, headers=MERGE))[0] == 403
        # what the garbage collector changes needs no attestation
        assert (await api.ask("PATCH", path, {"metadata": {"finalizers": ["a.b/c"]}}, carol, headers=MERGE))[0] == 200
        assert (await api.ask("DELETE", path, None, carol))[0] == 200
        for signer, names in (("example.com:mine:x", [SIGNER]), ("example.com:mine:y", ["example.com/*"])):
            allowed = role | {"rules": [*rules, attest | {"resourceNames": names}]}
            await api.ask("PUT", f"{rbac}/clusterroles/bundler", allowed, headers=JSON)
            assert (await api.ask("POST", API, bundle(signer, authorities[0], SIGNER), carol, headers=JSON))[0] == 201

    with_server(body)


def projection(**source: Any) -> dict[str, Any]:
    container = {
        "name": "c",
        "image": "web:latest",
        "imagePullPolicy": "Never",
        "volumeMounts": [{"name": "v", "mountPath": "/ca"}],
    }
    volume = {"name": "v", "projected": {"sources": [{"clusterTrustBundle": {"path": "ca.crt"} | source}]}}
    return {"containers": [container], "volumes": [volume]}


async def create(world: World, tree: dict[str, Any]) -> None:
    await world.client.create(codec.from_tree(certificates_v1beta1.ClusterTrustBundle, tree))


async def file_of(world: World) -> Path:
    await world.until("hello-pod", ready)
    return Path(world.runtime.configs[world.running()].mounts[0].host_path) / "ca.crt"


def contents(file: Path) -> list[bytes]:
    return [block.content for block in pem.blocks(file.read_text())]


def ders(*texts: str) -> list[bytes]:
    return sorted(block.content for text in texts for block in pem.blocks(text))


def test_a_named_bundle_is_shown_and_followed(tmp_path: Path, authorities: list[str]) -> None:
    first, second, _ = authorities

    async def body(world: World) -> None:
        await world.pod(**projection(name="late"))
        (mount,) = await world.events("FailedMount")
        assert mount.message == (
            'MountVolume.SetUp failed for volume "v" : while getting ClusterTrustBundle: '
            'clustertrustbundle.certificates.k8s.io "late" not found'
        )
        await create(world, bundle("late", f"# who this is\n{first}"))
        file = await file_of(world)
        assert file.read_text() == pem.encode("CERTIFICATE", ders(first)[0])
        assert file.stat().st_mode & 0o777 == 0o644
        kind = certificates_v1beta1.ClusterTrustBundle
        await world.client.patch(kind, "late", patch={"spec": {"trustBundle": first + second}})
        await eventually(lambda: contents(file) == ders(first, second))

    in_world(tmp_path, body, OPEN)


def test_bundles_of_a_signer_are_chosen_by_labels_and_merged(tmp_path: Path, authorities: list[str]) -> None:
    first, second, _ = authorities

    async def body(world: World) -> None:
        await world.pod(**projection(signerName=SIGNER, labelSelector={"matchLabels": {"live": "1"}}))
        (mount,) = await world.events("FailedMount")
        assert mount.message.endswith("combination of signerName and labelSelector matched zero ClusterTrustBundles")
        await create(world, bundle("other", second, live="1"))
        await create(world, bundle("example.com:mine:dead", second, SIGNER))
        await create(world, bundle("example.com:mine:a", first, SIGNER, live="1"))
        file = await file_of(world)
        assert contents(file) == ders(first)
        await create(world, bundle("example.com:mine:b", second + first, SIGNER, live="1"))
        await eventually(lambda: contents(file) == ders(first, second))

    in_world(tmp_path, body, OPEN)


@pytest.mark.parametrize("selector", [None, {}])
def test_an_optional_bundle_may_be_missing(
    tmp_path: Path, authorities: list[str], selector: dict[str, Any] | None
) -> None:
    """A selector that is not there chooses nothing, an empty one everything."""

    async def body(world: World) -> None:
        wanted = {} if selector is None else {"labelSelector": selector}
        await world.pod(securityContext={"fsGroup": 7}, **projection(signerName=SIGNER, optional=True, **wanted))
        file = await file_of(world)
        assert file.read_bytes() == b""
        await create(world, bundle("example.com:mine:a", authorities[0], SIGNER))
        await create(world, bundle("example.com:mine:b", authorities[1], SIGNER))
        if selector is not None:
            await eventually(lambda: contents(file) == ders(*authorities[:2]))
            assert file.stat().st_mode & 0o707 == 0o600

    in_world(tmp_path, body, OPEN)


def test_the_servers_own_authority_is_published(tmp_path: Path, authorities: list[str]) -> None:
    async def body(world: World) -> None:
        clock = SystemClock()
        name = bundle_of(authorities[0]).metadata.name
        assert name.startswith("kubernetes.io:kube-apiserver-serving:")
        await create(world, bundle("kubernetes.io:kube-apiserver-serving:old", authorities[1], trust_bundles.SIGNER))
        publisher = trust_bundles.TrustBundlePublisher(world.client, authorities[0], clock)
        tasks = [asyncio.create_task(run()) for run in (publisher.run, publisher.bundles.run)]
        await eventually(lambda: list(publisher.bundles.keys()) == [name])
        kind = certificates_v1beta1.ClusterTrustBundle
        seen: list[str] = []
        publisher.bundles.subscribe(lambda _key, old, new: seen.append(new.spec.trust_bundle if new else "gone"))
        await world.client.patch(kind, name, patch={"spec": {"trustBundle": authorities[1]}})
        await eventually(lambda: seen[-2:] == [authorities[1], authorities[0]])
        await world.client.delete(kind, name)
        await eventually(lambda: seen[-2:] == ["gone", authorities[0]])
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    in_world(tmp_path, body, OPEN)


@pytest.mark.parametrize(
    ("gates", "apis", "words"),
    [
        (("Nope=true",), (), "unrecognized feature gate: Nope"),
        (("ClusterTrustBundle=maybe",), (), 'invalid value of ClusterTrustBundle="maybe"'),
        (("ClusterTrustBundle",), (), "missing bool value for ClusterTrustBundle"),
        ((), ("certificates.k8s.io/v7=true",), "certificates.k8s.io/v7"),
    ],
)
def test_switches_that_nobody_knows(gates: tuple[str, ...], apis: tuple[str, ...], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        read(gates, apis)


@pytest.mark.parametrize(
    ("gates", "apis", "served"),
    [
        (GATES, ("certificates.k8s.io/v1beta1",), True),
        (GATES, ("certificates.k8s.io/v1beta1/clustertrustbundles=true",), True),
        (GATES, ("api/beta=true",), True),
        (("AllBeta=true",), ("api/all=true",), True),
        (("AllBeta=true", "ClusterTrustBundle=false"), ("api/all=true",), False),
        (GATES, ("api/all=true", "certificates.k8s.io/v1beta1=false"), False),
        (GATES, ("apps/v1=true",), False),
        (("ClusterTrustBundleProjection=true",), ("api/all=true",), False),
    ],
)
def test_both_switches_are_needed(gates: tuple[str, ...], apis: tuple[str, ...], served: bool) -> None:
    assert bool(read(gates, apis).rows()) is served
