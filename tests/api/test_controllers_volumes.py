"""The volume controllers against a real API server: binding, provisioning, protection, expansion, ephemeral claims."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from carob.api.status import ApiError
from carob.api.types import core_v1, storage_v1
from carob.apiserver.pki import Pki, PkiOptions, ensure_pki
from carob.base.clock import SystemClock
from tests.fakes.controller_world import World, in_world


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    folder: Path = tmp_path_factory.mktemp("pki")
    return ensure_pki(folder, PkiOptions(), SystemClock().now())


async def volume(world: World, name: str, size: str = "1Gi", **spec: Any) -> None:
    tree = {"capacity": {"storage": size}, "accessModes": ["ReadWriteOnce"], "hostPath": {"path": f"/mnt/{name}"}}
    metadata = {"labels": spec.pop("labels", {})}
    await world.make(core_v1.PersistentVolume, name, metadata=metadata, spec=tree | spec)


async def claim(world: World, name: str, size: str = "1Gi", annotations: Any = None, **spec: Any) -> None:
    tree = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}}
    metadata = {"annotations": annotations or {}}
    await world.make(core_v1.PersistentVolumeClaim, name, "default", metadata=metadata, spec=tree | spec)


async def class_(world: World, name: str, mode: str = "WaitForFirstConsumer", **tree: Any) -> None:
    usual = {"provisioner": "carob.local/local-path", "volumeBindingMode": mode, "allowVolumeExpansion": True}
    fields: Any = usual | tree
    await world.make(storage_v1.StorageClass, name, **fields)


async def bound(world: World, name: str, to: str = "") -> core_v1.PersistentVolumeClaim:
    def agreed(found: core_v1.PersistentVolumeClaim | None) -> bool:
        return found is not None and found.status.phase == "Bound"

    await world.until(core_v1.PersistentVolumeClaim, name, "default", agreed)
    found = await world.client.get(core_v1.PersistentVolumeClaim, name, "default")
    assert not to or found.spec.volume_name == to
    return found


async def phase(world: World, name: str, wanted: str) -> None:
    await world.until(core_v1.PersistentVolume, name, "", lambda f: f is not None and f.status.phase == wanted)


async def told(world: World, name: str, reason: str, text: str = "") -> None:
    """Return when there is such an event of the object."""
    found: list[str] = []

    async def look() -> bool:
        events = (await world.client.list(core_v1.Event)).items
        found[:] = [f"{e.reason}: {e.message}" for e in events if e.involved_object.name == name]
        return any(e.startswith(reason) and text in e for e in found)

    for _ in range(1000):
        if await look():
            return
        await world.clock.advance(0.001)
        await SystemClock().sleep(0.005)
    raise AssertionError(f"{reason} {text} not among {found}")


def test_claims_get_the_volumes_that_fit(pki: Pki) -> None:
    async def body(world: World) -> None:
        await volume(world, "large", "5Gi", labels={"disk": "fast"})
        await volume(world, "small", "2Gi")
        await volume(world, "kept", "1Gi", claimRef={"namespace": "default", "name": "reserved"})
        await phase(world, "large", "Available")
        await phase(world, "small", "Available")
        await phase(world, "kept", "Available")
        await claim(world, "any")
        mine = await bound(world, "any", "small")
        assert mine.metadata.annotations["pv.kubernetes.io/bind-completed"] == "yes"
        assert mine.metadata.annotations["pv.kubernetes.io/bound-by-controller"] == "yes"
        assert mine.status.capacity == {"storage": "2Gi"}
        await phase(world, "small", "Bound")
        await claim(world, "picky", selector={"matchLabels": {"disk": "fast"}})
        await bound(world, "picky", "large")
        await claim(world, "reserved")
        await bound(world, "reserved", "kept")
        # what is left over waits, and says so, until something fits
        await claim(world, "late", "3Gi")
        await told(
            world, "late", "FailedBinding", "no persistent volumes available for this claim and no storage class"
        )
        await claim(world, "named", "4Gi", volumeName="tiny")
        await volume(world, "tiny", storageClassName="special")
        await volume(world, "huge", "3Gi")
        await told(
            world, "named", "VolumeMismatch", 'Cannot bind to requested volume "tiny": requested PV is too small'
        )
        await bound(world, "late", "huge")
        # nobody deletes what an admin made: it is released, and a claim without its volume is lost
        await world.client.delete(core_v1.PersistentVolumeClaim, "any", "default")
        await world.gone(core_v1.PersistentVolumeClaim, "any", "default")
        await phase(world, "small", "Released")
        patch = {"metadata": {"finalizers": None}}
        await world.client.delete(core_v1.PersistentVolume, "large")
        await world.client.patch(core_v1.PersistentVolume, "large", patch=patch)
        await told(
            world, "picky", "ClaimLost", "Bound claim has lost its PersistentVolume. Data on the volume is lost!"
        )

    in_world(pki, body)


def test_a_class_of_attributes_stays_while_somebody_has_it(pki: Pki) -> None:
    async def body(world: World) -> None:
        kind = storage_v1.VolumeAttributesClass
        for name in ("used", "free"):
            parameters: Any = {"driverName": "d.example.com", "parameters": {"iops": "1"}}
            await world.make(kind, name, **parameters)
        await claim(world, "data", volumeAttributesClassName="used")
        await world.client.delete(kind, "free")
        await world.until(kind, "free", "", lambda found: found is None)
        await world.client.delete(kind, "used")
        marked = await world.client.get(kind, "used")
        assert marked.metadata.deletion_timestamp is not None
        await world.client.delete(core_v1.PersistentVolumeClaim, "data", "default")
        await world.until(kind, "used", "", lambda found: found is None)

    in_world(pki, body)


def test_local_path_from_claim_to_nothing(pki: Pki) -> None:
    async def body(world: World) -> None:
        await world.node("node-0")
        await class_(world, "later")
        await class_(world, "now", "Immediate", reclaimPolicy="Retain")
        await claim(world, "early", storageClassName="now")
        early = await bound(world, "early")
        made = await world.client.get(core_v1.PersistentVolume, early.spec.volume_name)
        assert made.spec.local is not None
        assert made.spec.local.path == f"/volumes/{made.metadata.name}"
        assert made.spec.persistent_volume_reclaim_policy == "Retain"
        assert world.folders == {made.metadata.name: "node-0"}
        await told(
            world, "early", "ProvisioningSucceeded", f"Successfully provisioned volume {made.metadata.name} using"
        )
        # it does not grow where its class forbids it
        patch: dict[str, Any] = {"allowVolumeExpansion": False}
        await world.client.patch(storage_v1.StorageClass, "now", patch=patch)
        patch = {"spec": {"resources": {"requests": {"storage": "9Gi"}}}}
        with pytest.raises(ApiError, match="only dynamically provisioned pvc can be resized") as refused:
            await world.client.patch(core_v1.PersistentVolumeClaim, "early", "default", patch=patch)
        assert refused.value.code == 403
        # one that waits for its first Pod
        await claim(world, "web", storageClassName="later")
        await told(world, "web", "WaitForFirstConsumer", "waiting for first consumer to be created before binding")
        patch = {"metadata": {"annotations": {"volume.kubernetes.io/selected-node": "node-0"}}}
        await world.client.patch(core_v1.PersistentVolumeClaim, "web", "default", patch=patch)
        web = await bound(world, "web")
        # it grows
        patch = {"spec": {"resources": {"requests": {"storage": "3Gi"}}}}
        await world.client.patch(core_v1.PersistentVolumeClaim, "web", "default", patch=patch)
        await world.until(
            core_v1.PersistentVolumeClaim,
            "web",
            "default",
            lambda f: f is not None and f.status.capacity["storage"] == "3Gi",
        )
        volumes = [{"name": "data", "persistentVolumeClaim": {"claimName": "web"}}]
        await world.pod("user", volumes=volumes, nodeName="node-0")
        # claims and volumes stay while they are used, then both go, and the folder with them
        await world.client.delete(core_v1.PersistentVolumeClaim, "web", "default")
        await world.client.get(core_v1.PersistentVolumeClaim, "web", "default")
        world.folders_fail = "disk on fire"
        await world.client.delete(core_v1.Pod, "user", "default", grace_period_seconds=0)
        await world.gone(core_v1.PersistentVolumeClaim, "web", "default")
        await phase(world, web.spec.volume_name, "Failed")
        await told(world, web.spec.volume_name, "VolumeFailedDelete", "disk on fire")
        world.folders_fail = ""
        await world.clock.advance(16)
        await world.gone(core_v1.PersistentVolume, web.spec.volume_name)
        assert world.folders == {made.metadata.name: "node-0"}
        await world.client.delete(core_v1.PersistentVolumeClaim, "early", "default")
        await phase(world, made.metadata.name, "Released")

    in_world(pki, body)


def test_what_cannot_be_provisioned_says_why(pki: Pki) -> None:
    async def body(world: World) -> None:
        await claim(world, "a", storageClassName="nowhere")
        await told(world, "a", "ProvisioningFailed", 'storageclass.storage.k8s.io "nowhere" not found')
        await class_(world, "manual", "Immediate", provisioner="kubernetes.io/no-provisioner")
        await claim(world, "b", storageClassName="manual")
        await told(world, "b", "ProvisioningFailed", "no volume plugin matched name: kubernetes.io/no-provisioner")
        await class_(world, "foreign", "Immediate", provisioner="example.com/disks")
        await claim(world, "c", storageClassName="foreign")
        await told(world, "c", "ExternalProvisioning", "Waiting for a volume to be created either by the external")
        await class_(world, "local", "Immediate")
        await claim(world, "d", storageClassName="local")
        await told(world, "d", "ProvisioningFailed", "no node is ready for a new volume")
        # a node that comes helps at the next try
        await world.node("node-0")
        await world.clock.advance(16)
        await bound(world, "d")
        # a class that comes helps at once
        await class_(world, "nowhere", "Immediate")
        await bound(world, "a")
        # the scheduler chooses again when the node that it chose is not there
        await class_(world, "later")
        annotations = {"volume.kubernetes.io/selected-node": "node-7"}
        await claim(world, "e", annotations=annotations, storageClassName="later")
        await world.until(
            core_v1.PersistentVolumeClaim,
            "e",
            "default",
            lambda f: f is not None and not annotations.items() <= f.metadata.annotations.items(),
        )

    in_world(pki, body)


def test_ephemeral_claims_live_and_die_with_their_pod(pki: Pki) -> None:
    async def body(world: World) -> None:
        spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
        template = {"metadata": {"labels": {"a": "b"}}, "spec": spec | {"storageClassName": "x"}}
        await world.pod("web", volumes=[{"name": "scratch", "ephemeral": {"volumeClaimTemplate": template}}])
        there = lambda found: found is not None  # noqa: E731
        await world.until(core_v1.PersistentVolumeClaim, "web-scratch", "default", there)
        found = await world.client.get(core_v1.PersistentVolumeClaim, "web-scratch", "default")
        assert found.metadata.labels == {"a": "b"}
        assert [o.kind for o in found.metadata.owner_references] == ["Pod"]
        await claim(world, "other-scratch")
        await world.pod("other", volumes=[{"name": "scratch", "ephemeral": {"volumeClaimTemplate": template}}])
        await told(world, "other", "FailedBinding", "PVC default/other-scratch was not created for pod default/other")
        await world.client.delete(core_v1.Pod, "web", "default", grace_period_seconds=0)
        await world.gone(core_v1.PersistentVolumeClaim, "web-scratch", "default")

    in_world(pki, body)
