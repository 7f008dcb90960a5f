"""Deployments and ReplicaSets against a real API server, with kubelets that answer at once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from carob.api.types import apps_v1, core_v1
from carob.apiserver.pki import Pki, PkiOptions, ensure_pki
from carob.base.clock import SystemClock
from tests.fakes.controller_world import Kubelets, World, with_kubelets


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    folder: Path = tmp_path_factory.mktemp("pki")
    return ensure_pki(folder, PkiOptions(), SystemClock().now())


def template(image: str = "web:v1", labels: dict[str, str] | None = None) -> dict[str, Any]:
    return {
        "metadata": {"labels": labels or {"app": "web"}},
        "spec": {"containers": [{"name": "main", "image": image}]},
    }


async def deploy(world: World, name: str = "web", replicas: int = 3, **spec: Any) -> None:
    tree = {"replicas": replicas, "selector": {"matchLabels": {"app": "web"}}, "template": template()} | spec
    await world.make(apps_v1.Deployment, name, "default", spec=tree)


async def rolled_out(world: World, name: str = "web") -> apps_v1.Deployment:
    def done(found: apps_v1.Deployment | None) -> bool:
        assert found is not None
        status, wanted = found.status, found.spec.replicas
        return (
            status.observed_generation == found.metadata.generation
            and status.updated_replicas == status.replicas == status.available_replicas == wanted
            and any(c.reason == "NewReplicaSetAvailable" for c in status.conditions)
        )

    await world.until(apps_v1.Deployment, name, "default", done)
    return await world.client.get(apps_v1.Deployment, name, "default")


async def sets_of(world: World) -> dict[str, int | None]:
    found = await world.client.list(apps_v1.ReplicaSet, "default")
    return {s.metadata.annotations["deployment.kubernetes.io/revision"]: s.spec.replicas for s in found.items}


async def change_image(world: World, image: str) -> None:
    patch = {"spec": {"template": template(image)}}
    await world.client.patch(apps_v1.Deployment, "web", "default", patch=patch, patch_type="strategic")


def test_a_deployment_runs_rolls_and_rolls_back(pki: Pki) -> None:
    async def body(world: World, kubelets: Kubelets) -> None:
        await deploy(world)
        first = await rolled_out(world)
        assert first.metadata.annotations["deployment.kubernetes.io/revision"] == "1"
        assert await sets_of(world) == {"1": 3}
        (one,) = (await world.client.list(apps_v1.ReplicaSet, "default")).items
        assert one.metadata.name == "web-" + one.metadata.labels["pod-template-hash"]

        most, least = 0, 3

        def watch(pods: list[core_v1.Pod]) -> None:
            nonlocal most, least
            alive = [p for p in pods if not p.metadata.deletion_timestamp]
            most = max(most, len(alive))
            least = min(least, sum(any(c.type == "Ready" for c in p.status.conditions) for p in alive))

        kubelets.most_seen = watch
        await change_image(world, "web:v2")
        second = await rolled_out(world)
        assert second.metadata.annotations["deployment.kubernetes.io/revision"] == "2"
        assert await sets_of(world) == {"1": 0, "2": 3}
        assert (most, least) == (4, 3)
        # what `kubectl rollout undo` sends
        await change_image(world, "web:v1")
        await rolled_out(world)
        assert await sets_of(world) == {"2": 0, "3": 3}

    with_kubelets(pki, body)


def test_sizes_follow_and_old_pods_are_replaced(pki: Pki) -> None:
    async def body(world: World, kubelets: Kubelets) -> None:
        await deploy(world, replicas=2)
        await rolled_out(world)
        for size in (5, 1, 0, 2):
            await world.client.patch(apps_v1.Deployment, "web", "default", patch={"spec": {"replicas": size}})
            await rolled_out(world)
            assert await sets_of(world) == {"1": size}
        pods = (await world.client.list(core_v1.Pod, "default")).items
        victim = pods[0]
        await world.client.delete(core_v1.Pod, victim.metadata.name, "default")
        await world.gone(core_v1.Pod, victim.metadata.name, "default")
        await rolled_out(world)

    with_kubelets(pki, body)


def test_recreate_ends_the_old_before_it_begins_the_new(pki: Pki) -> None:
    async def body(world: World, kubelets: Kubelets) -> None:
        await deploy(world, strategy={"type": "Recreate"})
        await rolled_out(world)
        images = []
        kubelets.most_seen = lambda pods: images.append({p.spec.containers[0].image for p in pods})
        await change_image(world, "web:v2")
        await rolled_out(world)
        assert {"web:v1", "web:v2"} not in images

    with_kubelets(pki, body)


def test_a_paused_deployment_waits_and_a_stuck_one_says_so(pki: Pki) -> None:
    async def body(world: World, kubelets: Kubelets) -> None:
        await deploy(world, progressDeadlineSeconds=20)
        await rolled_out(world)
        await world.client.patch(apps_v1.Deployment, "web", "default", patch={"spec": {"paused": True}})
        await change_image(world, "web:broken")

        def reason(wanted: str) -> Any:
            return lambda found: any(c.reason == wanted for c in found.status.conditions)

        await world.until(apps_v1.Deployment, "web", "default", reason("DeploymentPaused"))
        assert await sets_of(world) == {"1": 3}
        kubelets.outcome = lambda pod: None if pod.spec.containers[0].image == "web:broken" else {}
        await world.client.patch(apps_v1.Deployment, "web", "default", patch={"spec": {"paused": False}})
        await world.until(
            apps_v1.Deployment, "web", "default", lambda f: f is not None and f.status.updated_replicas == 1
        )
        await world.clock.advance(10)
        assert not reason("ProgressDeadlineExceeded")(await world.client.get(apps_v1.Deployment, "web", "default"))
        await world.clock.advance(15)
        await world.until(apps_v1.Deployment, "web", "default", reason("ProgressDeadlineExceeded"))
        assert (await world.client.get(apps_v1.Deployment, "web", "default")).status.available_replicas == 3

    with_kubelets(pki, body)


def test_a_set_adopts_what_fits_and_releases_what_no_longer_does(pki: Pki) -> None:
    async def body(world: World, kubelets: Kubelets) -> None:
        pod = {"spec": template()["spec"], "metadata": {"labels": {"app": "web"}}}
        await world.make(core_v1.Pod, "stray", "default", **pod)
        spec = {"replicas": 2, "selector": {"matchLabels": {"app": "web"}}, "template": template()}
        await world.make(apps_v1.ReplicaSet, "web", "default", spec=spec)

        def ready(count: int) -> Callable[[apps_v1.ReplicaSet | None], bool]:
            return lambda f: f is not None and f.status.ready_replicas == count

        await world.until(apps_v1.ReplicaSet, "web", "default", ready(2))
        assert len((await world.client.list(core_v1.Pod, "default")).items) == 2
        stray = await world.client.get(core_v1.Pod, "stray", "default")
        assert [r.kind for r in stray.metadata.owner_references] == ["ReplicaSet"]
        patch = {"metadata": {"labels": {"app": "else"}}}
        await world.client.patch(core_v1.Pod, "stray", "default", patch=patch)
        await world.until(core_v1.Pod, "stray", "default", lambda f: f is not None and not f.metadata.owner_references)
        # the set counts the stray one until it has seen it go
        async with asyncio.timeout(30):
            while len((await world.client.list(core_v1.Pod, "default")).items) != 3:  # noqa: ASYNC110
                await asyncio.sleep(0.005)
        await world.until(apps_v1.ReplicaSet, "web", "default", ready(2))

    with_kubelets(pki, body)


def test_a_replication_controller_keeps_its_number(pki: Pki) -> None:
    async def body(world: World, kubelets: Kubelets) -> None:
        await world.make(core_v1.ReplicationController, "web", "default", spec={"replicas": 3, "template": template()})
        await world.until(
            core_v1.ReplicationController, "web", "default", lambda f: f is not None and f.status.ready_replicas == 3
        )

    with_kubelets(pki, body)


def test_a_quota_that_refuses_is_told(pki: Pki) -> None:
    async def body(world: World, kubelets: Kubelets) -> None:
        await world.make(core_v1.ResourceQuota, "few", "default", spec={"hard": {"pods": "2"}})
        told = {"status": {"hard": {"pods": "2"}, "used": {"pods": "0"}}}
        await world.client.patch(core_v1.ResourceQuota, "few", "default", patch=told, subresource="status")
        spec = {"replicas": 4, "selector": {"matchLabels": {"app": "web"}}, "template": template()}
        await world.make(apps_v1.ReplicaSet, "web", "default", spec=spec)

        def failed(found: apps_v1.ReplicaSet | None) -> bool:
            assert found is not None
            return any(c.type == "ReplicaFailure" and c.reason == "FailedCreate" for c in found.status.conditions)

        await world.until(apps_v1.ReplicaSet, "web", "default", failed)

    with_kubelets(pki, body)


def test_a_new_deployment_adopts_what_an_old_one_left(pki: Pki) -> None:
    async def body(world: World, kubelets: Kubelets) -> None:
        await deploy(world)
        await rolled_out(world)
        before = {p.metadata.uid for p in (await world.client.list(core_v1.Pod, "default")).items}
        await world.client.delete(apps_v1.Deployment, "web", "default", propagation_policy="Orphan")
        await world.gone(apps_v1.Deployment, "web", "default")
        await deploy(world)
        await rolled_out(world)
        assert {p.metadata.uid for p in (await world.client.list(core_v1.Pod, "default")).items} == before
        assert await sets_of(world) == {"1": 3}

    with_kubelets(pki, body)


def test_a_name_that_is_taken_is_a_collision_and_another_one_is_found(pki: Pki) -> None:
    async def body(world: World, kubelets: Kubelets) -> None:
        await deploy(world)
        await rolled_out(world)
        (one,) = (await world.client.list(apps_v1.ReplicaSet, "default")).items
        await world.client.delete(apps_v1.Deployment, "web", "default", propagation_policy="Foreground")
        await world.gone(apps_v1.ReplicaSet, one.metadata.name, "default")
        await world.gone(apps_v1.Deployment, "web", "default")
        labels = {"app": "squatter"}
        spec = {"replicas": 0, "selector": {"matchLabels": labels}, "template": template(labels=labels)}
        await world.make(apps_v1.ReplicaSet, one.metadata.name, "default", spec=spec)
        await deploy(world)
        assert (await rolled_out(world)).status.collision_count == 1

    with_kubelets(pki, body)


def test_old_sets_are_forgotten_beyond_the_limit(pki: Pki) -> None:
    async def body(world: World, kubelets: Kubelets) -> None:
        await deploy(world, revisionHistoryLimit=1)
        await rolled_out(world)
        for version in ("web:v2", "web:v3"):
            await change_image(world, version)
            await rolled_out(world)
        await world.until(apps_v1.Deployment, "web", "default", lambda f: f is not None and f.status.replicas == 3)
        for _ in range(200):
            if sorted(await sets_of(world)) == ["2", "3"]:
                return
            await asyncio.sleep(0.01)
        raise AssertionError(await sets_of(world))

    with_kubelets(pki, body)
