"""DaemonSets in trouble, step by step as upstream's own end-to-end tests go."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from carob.api.types import apps_v1, core_v1
from carob.apiserver.pki import Pki, PkiOptions, ensure_pki
from carob.base.clock import SystemClock
from tests.api.test_controllers_sets import daemons_run, images, pods_of, spec, template
from tests.fakes.controller_world import Kubelets, World, with_kubelets


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    folder: Path = tmp_path_factory.mktemp("pki")
    return ensure_pki(folder, PkiOptions(), SystemClock().now())


async def until_set(world: World, holds: Any) -> None:
    await world.until(apps_v1.DaemonSet, "web", "default", lambda f: f is not None and holds(f))


async def roll(world: World, image: str) -> None:
    patch = {"spec": {"template": template(image)}}
    await world.client.patch(apps_v1.DaemonSet, "web", "default", patch=patch, patch_type="strategic")


def test_a_rollback_in_the_middle_restarts_nobody_without_need(pki: Pki) -> None:
    async def body(world: World, kubelets: Kubelets) -> None:
        for number in range(1, 4):
            await world.node(f"node-{number}")
        await world.make(apps_v1.DaemonSet, "web", "default", spec=spec())
        await until_set(world, daemons_run(4))
        before = {p.metadata.uid for p in (await pods_of(world)).values()}
        kubelets.outcome = lambda pod: {"conditions": []} if pod.spec.containers[0].image == "broken" else {}
        await roll(world, "broken")
        await until_set(
            world,
            lambda f: (
                f.status.observed_generation == 2
                and f.status.updated_number_scheduled == 1
                and f.status.number_unavailable == 1
            ),
        )
        assert sorted((await images(world)).values()) == ["broken", "web:v1", "web:v1", "web:v1"]
        await roll(world, "web:v1")
        await until_set(world, daemons_run(4))
        after = {p.metadata.uid for p in (await pods_of(world)).values()}
        assert len(before & after) == 3

    with_kubelets(pki, body)


def test_by_hand_only_deleted_daemons_are_updated(pki: Pki) -> None:
    async def body(world: World, kubelets: Kubelets) -> None:
        await world.node("node-1")
        await world.make(apps_v1.DaemonSet, "web", "default", spec=spec(updateStrategy={"type": "OnDelete"}))
        await until_set(world, daemons_run(2))
        await roll(world, "web:v2")
        await until_set(world, lambda f: f.status.observed_generation == 2 and f.status.updated_number_scheduled == 0)
        assert set((await images(world)).values()) == {"web:v1"}
        name = min(await pods_of(world))
        await world.client.delete(core_v1.Pod, name, "default")
        await world.gone(core_v1.Pod, name, "default")
        await until_set(world, lambda f: f.status.updated_number_scheduled == 1 and f.status.number_available == 2)
        assert sorted((await images(world)).values()) == ["web:v1", "web:v2"]

    with_kubelets(pki, body)


def test_with_a_surge_the_old_daemon_works_until_the_new_one_does(pki: Pki) -> None:
    async def body(world: World, kubelets: Kubelets) -> None:
        strategy = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}
        await world.make(apps_v1.DaemonSet, "web", "default", spec=spec(updateStrategy=strategy))
        await until_set(world, daemons_run(1))
        kubelets.outcome = lambda pod: {"conditions": []} if pod.spec.containers[0].image == "web:v2" else {}
        both = asyncio.Event()
        kubelets.most_seen = lambda now: both.set() if len(now) == 2 else None
        await roll(world, "web:v2")
        async with asyncio.timeout(30):
            await both.wait()
        found = await pods_of(world)
        assert sorted(p.spec.containers[0].image for p in found.values()) == ["web:v1", "web:v2"]
        assert not any(p.metadata.deletion_timestamp for p in found.values())
        (new,) = [p for p in found.values() if p.spec.containers[0].image == "web:v2"]
        # one of them speaks for the node: nobody may take the update for complete
        status = (await world.client.get(apps_v1.DaemonSet, "web", "default")).status
        assert status.number_available + status.updated_number_scheduled < 2
        ready = {"status": {"conditions": [{"type": "Ready", "status": "True"}]}}
        await world.until(
            core_v1.Pod, new.metadata.name, "default", lambda f: f is not None and f.status.phase == "Running"
        )
        await world.client.patch(core_v1.Pod, new.metadata.name, "default", patch=ready, subresource="status")
        await until_set(world, daemons_run(1))

    with_kubelets(pki, body)


def test_an_orphan_is_adopted_and_who_no_longer_fits_is_released(pki: Pki) -> None:
    async def body(world: World, kubelets: Kubelets) -> None:
        await world.make(apps_v1.DaemonSet, "web", "default", spec=spec())
        await until_set(world, daemons_run(1))
        (old,) = (await pods_of(world)).values()
        await world.client.delete(apps_v1.DaemonSet, "web", "default", propagation_policy="Orphan")
        await world.gone(apps_v1.DaemonSet, "web", "default")
        await world.until(
            core_v1.Pod,
            old.metadata.name,
            "default",
            lambda f: f is not None and not f.metadata.owner_references,
        )
        await world.make(apps_v1.DaemonSet, "web", "default", spec=spec())
        await until_set(world, daemons_run(1))
        (same,) = (await pods_of(world)).values()
        assert same.metadata.uid == old.metadata.uid
        assert [r.kind for r in same.metadata.owner_references] == ["DaemonSet"]
        labels = {"metadata": {"labels": {"app": "other"}}}
        await world.client.patch(core_v1.Pod, old.metadata.name, "default", patch=labels)
        await world.until(
            core_v1.Pod, old.metadata.name, "default", lambda f: f is not None and not f.metadata.owner_references
        )
        await until_set(world, daemons_run(1))
        assert len(await pods_of(world)) == 2

    with_kubelets(pki, body)


def test_nodes_come_and_go_and_are_tainted(pki: Pki) -> None:
    async def body(world: World, kubelets: Kubelets) -> None:
        await world.make(apps_v1.DaemonSet, "web", "default", spec=spec())
        await until_set(world, daemons_run(1))
        await world.node("node-1")
        await until_set(world, daemons_run(2))
        (lost,) = [p.metadata.name for p in (await pods_of(world)).values() if p.spec.node_name == "node-1"]
        # cordoned: daemons stay; tainted NoSchedule by hand: no new ones; NoExecute: they go
        await world.client.patch(core_v1.Node, "node-1", patch={"spec": {"unschedulable": True}})
        taint = {"key": "dedicated", "value": "db", "effect": "NoExecute"}
        await world.client.patch(core_v1.Node, "node-1", patch={"spec": {"taints": [taint]}})
        await until_set(world, lambda f: f.status.desired_number_scheduled == 1 and f.status.number_available == 1)
        await world.client.delete(core_v1.Node, "node-1")
        await until_set(world, daemons_run(1))
        await world.gone(core_v1.Pod, lost, "default")
        assert len(await pods_of(world)) == 1

    with_kubelets(pki, body)
