"""Attaching and detaching of CSI volumes against a real API server; the driver's attacher is the test."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from carob.api.types import core_v1, storage_v1
from carob.apiserver.pki import Pki, PkiOptions, ensure_pki
from carob.base.clock import SystemClock
from carob.controllers.volumes.attachments import MOST_UNMOUNT_SECONDS, AttachableVolume
from tests.fakes.controller_world import World, in_world

DRIVER = "disks.example.com"
MANAGED = {"volumes.kubernetes.io/controller-managed-attach-detach": "true"}
ATTACHER = "external-attacher/disks-example-com"
DISK = AttachableVolume("disk", DRIVER, "disk-1", exclusive=True)


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    folder: Path = tmp_path_factory.mktemp("pki")
    return ensure_pki(folder, PkiOptions(), SystemClock().now())


async def node(world: World, name: str) -> None:
    await world.node(name)
    await world.client.patch(core_v1.Node, name, patch={"metadata": {"annotations": MANAGED}})


async def disk(world: World) -> None:
    """A volume of the driver, bound to the claim `data`."""
    modes = ["ReadWriteOnce"]
    ask = {"accessModes": modes, "storageClassName": "", "resources": {"requests": {"storage": "1Gi"}}}
    await world.make(core_v1.PersistentVolumeClaim, "data", "default", spec=ask | {"volumeName": "disk"})
    source = {"driver": DRIVER, "volumeHandle": "disk-1"}
    spec = {"capacity": {"storage": "1Gi"}, "accessModes": modes, "csi": source}
    await world.make(core_v1.PersistentVolume, "disk", spec=spec)
    await world.until(
        core_v1.PersistentVolumeClaim, "data", "default", lambda f: f is not None and f.status.phase == "Bound"
    )


async def pod(world: World, name: str, node_name: str) -> None:
    volumes: list[Any] = [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}]
    await world.pod(name, nodeName=node_name, volumes=volumes)


async def attachment(world: World, node_name: str) -> str:
    name = DISK.attachment_name(node_name)
    await world.until(storage_v1.VolumeAttachment, name, "", lambda found: found is not None)
    return name


async def attach(world: World, node_name: str) -> None:
    """As the driver's attacher does it."""
    name = await attachment(world, node_name)
    held = {"metadata": {"finalizers": [ATTACHER]}}
    await world.client.patch(storage_v1.VolumeAttachment, name, patch=held)
    done = {"status": {"attached": True}}
    await world.client.patch(storage_v1.VolumeAttachment, name, patch=done, subresource="status")


async def detach(world: World, node_name: str) -> None:
    name = DISK.attachment_name(node_name)
    await world.until(
        storage_v1.VolumeAttachment, name, "", lambda f: f is not None and f.metadata.deletion_timestamp is not None
    )
    await world.client.patch(storage_v1.VolumeAttachment, name, patch={"metadata": {"finalizers": None}})
    await world.gone(storage_v1.VolumeAttachment, name)


async def mounted(world: World, node_name: str, *names: str) -> None:
    patch = {"status": {"volumesInUse": list(names) or None}}
    await world.client.patch(core_v1.Node, node_name, patch=patch, subresource="status")


def reports(found: core_v1.Node | None) -> list[str]:
    return [one.name for one in found.status.volumes_attached] if found is not None else []


async def told(world: World, name: str, reason: str) -> str:
    while True:
        for event in (await world.client.list(core_v1.Event, "default")).items:
            if event.involved_object.name == name and event.reason == reason:
                return event.message
        await world.clock.advance(0.001)
        await SystemClock().sleep(0.002)


def test_a_volume_follows_its_pod_from_node_to_node(pki: Pki) -> None:
    async def body(world: World) -> None:
        await node(world, "node-a")
        await node(world, "node-b")
        await disk(world)
        await pod(world, "one", "node-a")
        name = await attachment(world, "node-a")
        made = await world.client.get(storage_v1.VolumeAttachment, name)
        assert (made.spec.attacher, made.spec.node_name) == (DRIVER, "node-a")
        assert made.spec.source.persistent_volume_name == "disk"
        refused = {"status": {"attached": False, "attachError": {"message": "rpc error: busy"}}}
        await world.client.patch(storage_v1.VolumeAttachment, name, patch=refused, subresource="status")
        assert await told(world, "one", "FailedAttachVolume") == (
            'AttachVolume.Attach failed for volume "disk" : rpc error: busy'
        )
        await attach(world, "node-a")
        await world.until(core_v1.Node, "node-a", "", lambda f: reports(f) == [DISK.unique_name])
        assert await told(world, "one", "SuccessfulAttachVolume") == 'AttachVolume.Attach succeeded for volume "disk" '
        await mounted(world, "node-a", DISK.unique_name)
        await pod(world, "two", "node-b")
        assert await told(world, "two", "FailedAttachVolume") == (
            'Multi-Attach error for volume "disk" Volume is already used by pod(s) one'
        )
        await world.client.delete(core_v1.Pod, "one", "default", grace_period_seconds=0)
        await mounted(world, "node-a")
        await world.until(core_v1.Node, "node-a", "", lambda f: reports(f) == [])
        await detach(world, "node-a")
        await attach(world, "node-b")
        await world.until(core_v1.Node, "node-b", "", lambda f: reports(f) == [DISK.unique_name])

    in_world(pki, body)


def test_a_volume_leaves_a_lost_node_after_six_minutes_or_at_once_when_it_is_out_of_service(pki: Pki) -> None:
    async def body(world: World) -> None:
        for name in ("node-a", "node-b"):
            await node(world, name)
        await disk(world)
        for name in ("node-a", "node-b"):
            await pod(world, f"on-{name}", name)
            await attach(world, name)
            await world.until(core_v1.Node, name, "", lambda f: reports(f) == [DISK.unique_name])
            await mounted(world, name, DISK.unique_name)
            unknown = [{"type": "Ready", "status": "Unknown"}]
            await world.client.patch(
                core_v1.Node, name, patch={"status": {"conditions": unknown}}, subresource="status"
            )
            await world.client.delete(core_v1.Pod, f"on-{name}", "default", grace_period_seconds=0)
            if name == "node-a":
                while not (
                    await world.client.get(storage_v1.VolumeAttachment, DISK.attachment_name(name))
                ).metadata.deletion_timestamp:
                    await world.clock.advance(MOST_UNMOUNT_SECONDS / 4)
            else:
                taint = [{"key": "node.kubernetes.io/out-of-service", "value": "nodeshutdown", "effect": "NoExecute"}]
                await world.client.patch(core_v1.Node, name, patch={"spec": {"taints": taint}})
            await detach(world, name)

    in_world(pki, body)


def test_a_driver_that_needs_no_attaching_gets_none(pki: Pki) -> None:
    async def body(world: World) -> None:
        await world.make(storage_v1.CSIDriver, DRIVER, spec={"attachRequired": False})
        await node(world, "node-a")
        await disk(world)
        await pod(world, "one", "node-a")
        await world.make(
            core_v1.PersistentVolumeClaim,
            "other",
            "default",
            spec={
                "accessModes": ["ReadWriteOnce"],
                "storageClassName": "",
                "resources": {"requests": {"storage": "1Gi"}},
                "volumeName": "plain",
            },
        )
        source = {"driver": "plain.example.com", "volumeHandle": "p"}
        spec = {"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "csi": source}
        await world.make(core_v1.PersistentVolume, "plain", spec=spec)
        await world.pod(
            "two", nodeName="node-a", volumes=[{"name": "d", "persistentVolumeClaim": {"claimName": "other"}}]
        )
        plain = AttachableVolume("plain", "plain.example.com", "p", exclusive=True).attachment_name("node-a")
        # the later one was attached, so the earlier one was looked at
        await world.until(storage_v1.VolumeAttachment, plain, "", lambda found: found is not None)
        found = (await world.client.list(storage_v1.VolumeAttachment)).items
        assert [one.metadata.name for one in found] == [plain]

    in_world(pki, body)
