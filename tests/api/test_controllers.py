"""The controllers against a real API server, over the road without sockets; their clock is the test's own."""

from __future__ import annotations

import asyncio
import base64
import random
from pathlib import Path
from typing import Any

import pytest

from carob.api import codec
from carob.api.types import certificates_v1, core_v1
from carob.apiserver.pki import Pki, PkiOptions, ensure_pki
from carob.base.clock import SystemClock
from carob.client.rest import Client
from tests.fakes.controller_world import World, in_world


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    folder: Path = tmp_path_factory.mktemp("pki")
    return ensure_pki(folder, PkiOptions(), SystemClock().now())


def test_every_namespace_gets_an_account_and_the_ca_again_and_again(pki: Pki) -> None:
    async def body(world: World) -> None:
        await world.make(core_v1.Namespace, "a")
        there = lambda found: found is not None  # noqa: E731
        await world.until(core_v1.ServiceAccount, "default", "a", there)
        await world.until(core_v1.ConfigMap, "kube-root-ca.crt", "a", there)
        before = await world.client.get(core_v1.ServiceAccount, "default", "a")
        await world.client.delete(core_v1.ServiceAccount, "default", "a")
        uid = before.metadata.uid
        await world.until(core_v1.ServiceAccount, "default", "a", lambda f: f is not None and f.metadata.uid != uid)
        await world.client.patch(core_v1.ConfigMap, "kube-root-ca.crt", "a", patch={"data": {"ca.crt": "forged"}})
        good = pki.ca.certificate.read_text()
        await world.until(
            core_v1.ConfigMap, "kube-root-ca.crt", "a", lambda f: f is not None and f.data == {"ca.crt": good}
        )

    in_world(pki, body)


def test_a_deleted_namespace_takes_its_content_with_it(pki: Pki) -> None:
    async def body(world: World) -> None:
        await world.make(core_v1.Namespace, "a")
        await world.until(core_v1.ServiceAccount, "default", "a", lambda found: found is not None)
        await world.make(core_v1.ConfigMap, "free", "a")
        await world.make(core_v1.ConfigMap, "held", "a", metadata={"finalizers": ["example.com/hold"]})
        await world.client.delete(core_v1.Namespace, "a")
        await world.gone(core_v1.ConfigMap, "free", "a")

        def says_what_is_left(found: core_v1.Namespace | None) -> bool:
            assert found is not None
            return any(c.type == "NamespaceFinalizersRemaining" and c.status == "True" for c in found.status.conditions)

        await world.until(core_v1.Namespace, "a", "", says_what_is_left)
        await world.client.patch(core_v1.ConfigMap, "held", "a", patch={"metadata": {"finalizers": None}})
        await world.clock.advance(1.1)
        await world.gone(core_v1.Namespace, "a")

    in_world(pki, body)


def test_a_namespace_ends_with_its_last_pod_without_waiting(pki: Pki) -> None:
    async def body(world: World) -> None:
        await world.node("node-0")
        await world.make(core_v1.Namespace, "a")
        await world.until(core_v1.ServiceAccount, "default", "a", lambda found: found is not None)
        spec = {"containers": [{"name": "main", "image": "web"}], "nodeName": "node-0"}
        await world.make(core_v1.Pod, "web", "a", spec=spec)
        await world.client.delete(core_v1.Namespace, "a")
        await world.until(core_v1.Pod, "web", "a", lambda f: f is not None and bool(f.metadata.deletion_timestamp))
        await asyncio.sleep(0.05)
        await world.client.get(core_v1.Namespace, "a")
        # what the kubelet does when the last container has ended
        await world.client.delete(core_v1.Pod, "web", "a", grace_period_seconds=0)
        await world.gone(core_v1.Namespace, "a")

    in_world(pki, body)


def test_nodes_that_come_and_go_are_told_of(pki: Pki) -> None:
    async def body(world: World) -> None:
        async def told(reason: str) -> str:
            async with asyncio.timeout(30):
                async with world.client.watch(core_v1.Event, "default", send_initial_events=True) as events:
                    async for event in events:
                        if isinstance(event.object, core_v1.Event) and event.object.reason == reason:
                            assert event.object.source.component == "node-controller"
                            return event.object.message
            raise AssertionError(f"no {reason}")

        await world.node("node-0")
        assert await told("RegisteredNode") == "Node node-0 event: Registered Node node-0 in Controller"
        await world.client.delete(core_v1.Node, "node-0")
        assert await told("RemovingNode") == "Node node-0 event: Removing Node node-0 from Controller"

    in_world(pki, body)


def test_pods_of_a_vanished_node_go_after_its_quarantine(pki: Pki) -> None:
    async def body(world: World) -> None:
        await world.node("node-0")
        await world.pod("orphan", nodeName="node-0")
        await world.pod("pending")
        await world.client.delete(core_v1.Node, "node-0")
        await asyncio.sleep(0.02)
        await world.clock.advance(39)
        await world.client.get(core_v1.Pod, "orphan", "default")
        await world.clock.advance(2)
        await world.gone(core_v1.Pod, "orphan", "default")
        await world.client.get(core_v1.Pod, "pending", "default")

    in_world(pki, body)


def test_a_silent_node_is_tainted_and_its_pods_leave_after_their_toleration(pki: Pki) -> None:
    async def body(world: World) -> None:
        await world.node("node-0")
        await world.lease("node-0")
        await world.pod("patient", nodeName="node-0", tolerations=[{"operator": "Exists"}])
        await world.pod("ordinary", nodeName="node-0")
        ready = {"status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}}
        await world.client.patch(core_v1.Pod, "ordinary", "default", patch=ready, subresource="status")

        def taints(found: core_v1.Node | None) -> set[str]:
            assert found is not None
            return {f"{t.key.rpartition('/')[2]}:{t.effect}" for t in found.spec.taints}

        await world.until(core_v1.Node, "node-0", "", lambda found: taints(found) == set())
        for second in range(10, 80, 10):
            await world.clock.advance(10)
            await world.renew("node-0", second)
            await asyncio.sleep(0.01)
        assert taints(await world.client.get(core_v1.Node, "node-0")) == set()
        await world.clock.advance(41)
        await world.until(
            core_v1.Node, "node-0", "", lambda f: taints(f) == {"unreachable:NoSchedule", "unreachable:NoExecute"}
        )
        await world.until(
            core_v1.Pod,
            "ordinary",
            "default",
            lambda f: f is not None and any(c.type == "Ready" and c.status == "False" for c in f.status.conditions),
        )
        await asyncio.sleep(0.02)
        await world.clock.advance(290)
        await asyncio.sleep(0.02)
        assert not (await world.client.get(core_v1.Pod, "ordinary", "default")).metadata.deletion_timestamp
        await world.clock.advance(15)
        await world.until(
            core_v1.Pod, "ordinary", "default", lambda f: f is None or f.metadata.deletion_timestamp is not None
        )
        assert not (await world.client.get(core_v1.Pod, "patient", "default")).metadata.deletion_timestamp

    in_world(pki, body)


def test_a_taint_of_a_persons_hand_counts_from_when_it_was_seen(pki: Pki) -> None:
    async def body(world: World) -> None:
        def patience(seconds: int) -> list[dict[str, Any]]:
            return [{"key": "repair", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": seconds}]

        async def taint(*taints: dict[str, str]) -> None:
            await world.client.patch(core_v1.Node, "node-0", patch={"spec": {"taints": taints or None}})
            await asyncio.sleep(0.05)

        await world.node("node-0")
        await world.lease("node-0")
        await world.pod("short", nodeName="node-0", tolerations=patience(5))
        await world.pod("long", nodeName="node-0", tolerations=patience(10))
        # as `kubectl taint` writes it: without a time
        await taint({"key": "repair", "effect": "NoExecute"})
        await world.clock.advance(3)
        await asyncio.sleep(0.05)
        assert not (await world.client.get(core_v1.Pod, "short", "default")).metadata.deletion_timestamp
        await world.clock.advance(3)
        await world.until(
            core_v1.Pod, "short", "default", lambda f: f is None or f.metadata.deletion_timestamp is not None
        )
        # a taint that went away is forgotten: the next one has its whole time
        await taint()
        await taint({"key": "repair", "effect": "NoExecute"})
        await world.clock.advance(6)
        await asyncio.sleep(0.05)
        assert not (await world.client.get(core_v1.Pod, "long", "default")).metadata.deletion_timestamp
        await world.clock.advance(5)
        await world.until(
            core_v1.Pod, "long", "default", lambda f: f is None or f.metadata.deletion_timestamp is not None
        )

    in_world(pki, body)


def _request(common_name: str) -> str:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    subject = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "system:nodes"),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
        ]
    )
    request = x509.CertificateSigningRequestBuilder().subject_name(subject)
    pem = request.sign(ec.generate_private_key(ec.SECP256R1()), hashes.SHA256())
    return base64.b64encode(pem.public_bytes(serialization.Encoding.PEM)).decode()


async def _ask(client: Client, name: str) -> None:
    spec = {
        "request": _request("system:node:node-7"),
        "signerName": "kubernetes.io/kube-apiserver-client-kubelet",
        "usages": ["digital signature", "client auth"],
    }
    tree = {"metadata": {"name": name}, "spec": spec}
    await client.create(codec.from_tree(certificates_v1.CertificateSigningRequest, tree))


def test_a_node_s_request_is_approved_and_signed_by_its_right(pki: Pki) -> None:
    async def body(world: World) -> None:
        # what `carob token create` sets up for new nodes
        subjects = [{"kind": "Group", "name": "system:bootstrappers", "apiGroup": "rbac.authorization.k8s.io"}]
        for name in ("system:node-bootstrapper", "system:certificates.k8s.io:certificatesigningrequests:nodeclient"):
            role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name}
            from carob.api.types import rbac_v1

            await world.make(rbac_v1.ClusterRoleBinding, name + "-test", roleRef=role, subjects=subjects)
        node = world.client_of("system:bootstrap:abcdef", "system:bootstrappers", "system:authenticated")
        await _ask(node, "good")
        await world.until(
            certificates_v1.CertificateSigningRequest,
            "good",
            "",
            lambda found: found is not None and bool(found.status.certificate),
        )
        csr = await world.client.get(certificates_v1.CertificateSigningRequest, "good")
        (condition,) = csr.status.conditions
        assert condition.message == "Auto approving kubelet client certificate after SubjectAccessReview."
        assert base64.b64decode(csr.status.certificate).startswith(b"-----BEGIN CERTIFICATE-----")
        await world.clock.advance(3700)
        await world.gone(certificates_v1.CertificateSigningRequest, "good")

    in_world(pki, body)


async def _family(world: World) -> None:
    """`child` and `grandchild`, of `owner`; `shared`, of `owner` and `other`."""
    owner = await world.make(core_v1.ConfigMap, "owner", "default")
    other = await world.make(core_v1.ConfigMap, "other", "default")

    def reference(to: core_v1.ConfigMap) -> dict[str, Any]:
        metadata = to.metadata
        return {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "name": metadata.name,
            "uid": metadata.uid,
            "blockOwnerDeletion": True,
        }

    child = await world.make(core_v1.ConfigMap, "child", "default", metadata={"ownerReferences": [reference(owner)]})
    await world.make(core_v1.Secret, "grandchild", "default", metadata={"ownerReferences": [reference(child)]})
    both = [reference(owner), reference(other)]
    await world.make(core_v1.ConfigMap, "shared", "default", metadata={"ownerReferences": both})


def _owners(found: core_v1.ConfigMap | None) -> list[str]:
    assert found is not None
    return [reference.name for reference in found.metadata.owner_references]


@pytest.mark.parametrize("policy", ["Background", "Foreground"])
def test_what_is_owned_ends_with_its_last_owner(pki: Pki, policy: str) -> None:
    async def body(world: World) -> None:
        await _family(world)
        await world.client.delete(core_v1.ConfigMap, "owner", "default", propagation_policy=policy)
        await world.gone(core_v1.Secret, "grandchild", "default")
        await world.gone(core_v1.ConfigMap, "child", "default")
        await world.gone(core_v1.ConfigMap, "owner", "default")
        await world.until(core_v1.ConfigMap, "shared", "default", lambda found: _owners(found) == ["other"])

    in_world(pki, body)


def test_in_the_foreground_the_owner_ends_last(pki: Pki) -> None:
    async def body(world: World) -> None:
        await _family(world)
        hold = {"metadata": {"finalizers": ["example.com/hold"]}}
        await world.client.patch(core_v1.Secret, "grandchild", "default", patch=hold)
        await world.client.delete(core_v1.ConfigMap, "owner", "default", propagation_policy="Foreground")
        await world.until(
            core_v1.Secret, "grandchild", "default", lambda f: f is not None and bool(f.metadata.deletion_timestamp)
        )
        assert (await world.client.get(core_v1.ConfigMap, "child", "default")).metadata.deletion_timestamp
        assert (await world.client.get(core_v1.ConfigMap, "owner", "default")).metadata.deletion_timestamp
        await world.client.patch(core_v1.Secret, "grandchild", "default", patch={"metadata": {"finalizers": None}})
        await world.gone(core_v1.ConfigMap, "owner", "default")

    in_world(pki, body)


def test_in_the_foreground_an_owner_waits_for_what_blocks_it_and_as_long_as_it_does(pki: Pki) -> None:
    async def body(world: World) -> None:
        owner = await world.make(core_v1.ConfigMap, "owner", "default")
        reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": owner.metadata.uid}
        for name in ("blocking", "free"):
            held = {
                "finalizers": ["example.com/hold"],
                "ownerReferences": [reference | {"blockOwnerDeletion": name == "blocking"}],
            }
            await world.make(core_v1.ConfigMap, name, "default", metadata=held)
        await world.client.delete(core_v1.ConfigMap, "owner", "default", propagation_policy="Foreground")
        for name in ("blocking", "free"):
            await world.until(
                core_v1.ConfigMap, name, "default", lambda f: f is not None and bool(f.metadata.deletion_timestamp)
            )
        await world.client.get(core_v1.ConfigMap, "owner", "default")
        change = {"metadata": {"ownerReferences": [reference | {"blockOwnerDeletion": False}]}}
        await world.client.patch(core_v1.ConfigMap, "blocking", "default", patch=change)
        await world.gone(core_v1.ConfigMap, "owner", "default")
        for name in ("blocking", "free"):
            await world.client.get(core_v1.ConfigMap, name, "default")

    in_world(pki, body)


@pytest.mark.parametrize("names", [("alone",), ("one", "two"), ("one", "two", "three", "four")])
def test_a_circle_of_owners_that_wait_for_each_other_ends(pki: Pki, names: tuple[str, ...]) -> None:
    async def body(world: World) -> None:
        uids = {}
        for name in names:
            uids[name] = (await world.make(core_v1.ConfigMap, name, "default")).metadata.uid
        for name, owner in zip(names, (*names[1:], names[0]), strict=True):
            reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": owner, "uid": uids[owner]}
            patch = {"metadata": {"ownerReferences": [reference | {"blockOwnerDeletion": True}]}}
            await world.client.patch(core_v1.ConfigMap, name, "default", patch=patch)
        await world.client.delete(core_v1.ConfigMap, names[0], "default", propagation_policy="Foreground")
        for name in names:
            await world.gone(core_v1.ConfigMap, name, "default")

    in_world(pki, body)


def test_orphans_are_let_go(pki: Pki) -> None:
    async def body(world: World) -> None:
        await _family(world)
        await world.client.delete(core_v1.ConfigMap, "owner", "default", propagation_policy="Orphan")
        await world.gone(core_v1.ConfigMap, "owner", "default")
        assert _owners(await world.client.get(core_v1.ConfigMap, "child", "default")) == []
        await world.client.get(core_v1.Secret, "grandchild", "default")

    in_world(pki, body)


def test_an_object_whose_owner_never_was_goes(pki: Pki) -> None:
    async def body(world: World) -> None:
        ghost = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "name": "ghost",
            "uid": "00000000-0000-4000-8000-000000000000",
        }
        unknown = ghost | {"apiVersion": "example.com/v1", "kind": "Unknown"}
        await world.make(core_v1.ConfigMap, "haunted", "default", metadata={"ownerReferences": [ghost]})
        await world.make(core_v1.ConfigMap, "kept", "default", metadata={"ownerReferences": [unknown]})
        await world.gone(core_v1.ConfigMap, "haunted", "default")
        await world.client.get(core_v1.ConfigMap, "kept", "default")

    in_world(pki, body)


@pytest.mark.parametrize("seed", range(4))
def test_random_families_end_as_ownership_says(pki: Pki, seed: int) -> None:
    """Of a random acyclic graph some roots are deleted: exactly those objects go that have owners and lose all."""
    chance = random.Random(seed)

    async def body(world: World) -> None:
        owners: dict[str, list[str]] = {}
        uids: dict[str, str] = {}
        for number in range(14):
            name = f"o{number}"
            owners[name] = chance.sample(sorted(uids), min(len(uids), chance.choice([0, 1, 1, 2])))
            references = [
                {
                    "apiVersion": "v1",
                    "kind": "ConfigMap",
                    "name": o,
                    "uid": uids[o],
                    "blockOwnerDeletion": chance.random() < 0.5,
                }
                for o in owners[name]
            ]
            made = await world.make(core_v1.ConfigMap, name, "default", metadata={"ownerReferences": references})
            uids[name] = made.metadata.uid
        roots = [name for name, of in owners.items() if not of]
        gone = set(chance.sample(roots, (len(roots) + 1) // 2))
        for name in sorted(gone):
            policy = chance.choice(["Background", "Foreground"])
            await world.client.delete(core_v1.ConfigMap, name, "default", propagation_policy=policy)
        for name, of in owners.items():
            if of and gone.issuperset(of):
                gone.add(name)
        for name in gone:
            await world.gone(core_v1.ConfigMap, name, "default")
        for name in owners.keys() - gone:
            left = [owner for owner in owners[name] if owner not in gone]
            await world.until(core_v1.ConfigMap, name, "default", lambda f, left=left: _owners(f) == left)  # type: ignore[misc]

    in_world(pki, body)
