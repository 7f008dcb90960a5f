"""DaemonSets and StatefulSets against a real API server, with kubelets that answer at once."""

from __future__ import annotations

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


def template(image: str = "web:v1", **spec: Any) -> dict[str, Any]:
    return {
        "metadata": {"labels": {"app": "web"}},
        "spec": {"containers": [{"name": "main", "image": image}]} | spec,
    }


def spec(**more: Any) -> dict[str, Any]:
    return {"selector": {"matchLabels": {"app": "web"}}, "template": template()} | more


async def pods_of(world: World) -> dict[str, core_v1.Pod]:
    return {p.metadata.name: p for p in (await world.client.list(core_v1.Pod, "default")).items}


async def images(world: World) -> dict[str, str]:
    return {name: pod.spec.containers[0].image for name, pod in (await pods_of(world)).items()}


def daemons_run(count: int) -> Any:
    return lambda f: (
        f is not None
        and f.status.observed_generation == f.metadata.generation
        and f.status.number_available == f.status.updated_number_scheduled == count
        and f.status.desired_number_scheduled == count
    )


def test_daemons_run_on_every_node_that_fits_and_follow_its_labels(pki: Pki) -> None:
    async def body(world: World, kubelets: Kubelets) -> None:
        await world.node("node-1")

        async def label(value: str) -> None:
            patch = {"metadata": {"labels": {"disk": value}}}
            await world.client.patch(core_v1.Node, "node-1", patch=patch)

        fits = spec(template=template(nodeSelector={"disk": "fast"}))
        await world.make(apps_v1.DaemonSet, "web", "default", spec=fits)
        await world.until(apps_v1.DaemonSet, "web", "default", daemons_run(0))
        await label("fast")
        await world.until(apps_v1.DaemonSet, "web", "default", daemons_run(1))
        (pod,) = (await pods_of(world)).values()
        assert any(t.key == "node.kubernetes.io/unreachable" for t in pod.spec.tolerations)
        await label("slow")
        await world.until(apps_v1.DaemonSet, "web", "default", daemons_run(0))
        await world.gone(core_v1.Pod, pod.metadata.name, "default")

    with_kubelets(pki, body)


@pytest.mark.parametrize("rolling", [{"maxUnavailable": 1}, {"maxUnavailable": 0, "maxSurge": 1}])
def test_daemons_roll_and_their_history_is_kept(pki: Pki, rolling: dict[str, Any]) -> None:
    async def body(world: World, kubelets: Kubelets) -> None:
        strategy = {"type": "RollingUpdate", "rollingUpdate": rolling}
        await world.make(apps_v1.DaemonSet, "web", "default", spec=spec(updateStrategy=strategy))
        await world.until(apps_v1.DaemonSet, "web", "default", daemons_run(1))
        patch = {"spec": {"template": template("web:v2")}}
        await world.client.patch(apps_v1.DaemonSet, "web", "default", patch=patch, patch_type="strategic")
        await world.until(apps_v1.DaemonSet, "web", "default", daemons_run(1))
        assert "web:v2" in (await images(world)).values()
        revisions = (await world.client.list(apps_v1.ControllerRevision, "default")).items
        assert sorted(r.revision for r in revisions) == [1, 2]
        # what `kubectl rollout undo` sends
        (first,) = [r for r in revisions if r.revision == 1]
        await world.client.patch(apps_v1.DaemonSet, "web", "default", patch=first.data, patch_type="strategic")
        await world.until(apps_v1.DaemonSet, "web", "default", daemons_run(1))
        revisions = (await world.client.list(apps_v1.ControllerRevision, "default")).items
        assert sorted(r.revision for r in revisions) == [2, 3]

    with_kubelets(pki, body)


def test_a_failed_daemon_is_replaced_with_growing_waits(pki: Pki) -> None:
    async def body(world: World, kubelets: Kubelets) -> None:
        kubelets.outcome = lambda pod: {"phase": "Failed", "conditions": []}
        await world.make(apps_v1.DaemonSet, "web", "default", spec=spec())
        seen: set[str] = set()

        def another(found: apps_v1.DaemonSet | None) -> bool:
            return True

        for wait in (0.0, 1.1, 2.1):
            await world.clock.advance(wait)
            await world.until(apps_v1.DaemonSet, "web", "default", another)
            seen |= set(await pods_of(world))
        kubelets.outcome = lambda pod: {}
        await world.clock.advance(5)
        await world.until(apps_v1.DaemonSet, "web", "default", daemons_run(1))

    with_kubelets(pki, body)


def stands(count: int) -> Any:
    return lambda f: (
        f is not None
        and f.status.observed_generation == f.metadata.generation
        and f.status.ready_replicas == f.status.replicas == f.status.updated_replicas == count
        and f.status.current_revision == f.status.update_revision
    )


async def state(world: World, **more: Any) -> None:
    await world.make(apps_v1.StatefulSet, "web", "default", spec=spec(serviceName="web", replicas=3) | more)
    await world.until(apps_v1.StatefulSet, "web", "default", stands(3))


@pytest.mark.parametrize("policy", ["OrderedReady", "Parallel"])
def test_stateful_pods_keep_their_names_and_roll_from_the_end(pki: Pki, policy: str) -> None:
    async def body(world: World, kubelets: Kubelets) -> None:
        await state(world, podManagementPolicy=policy)
        before = await pods_of(world)
        assert sorted(before) == ["web-0", "web-1", "web-2"]
        assert before["web-1"].spec.hostname == "web-1"
        assert before["web-1"].metadata.labels["apps.kubernetes.io/pod-index"] == "1"
        patch = {"spec": {"template": template("web:v2")}}
        await world.client.patch(apps_v1.StatefulSet, "web", "default", patch=patch, patch_type="strategic")
        await world.until(apps_v1.StatefulSet, "web", "default", stands(3))
        assert set((await images(world)).values()) == {"web:v2"}
        await world.client.patch(apps_v1.StatefulSet, "web", "default", patch={"spec": {"replicas": 1}})
        await world.until(apps_v1.StatefulSet, "web", "default", stands(1))
        assert list(await pods_of(world)) == ["web-0"]

    with_kubelets(pki, body)


def test_a_partition_keeps_the_lower_ones(pki: Pki) -> None:
    async def body(world: World, kubelets: Kubelets) -> None:
        await state(world, updateStrategy={"type": "RollingUpdate", "rollingUpdate": {"partition": 2}})
        patch = {"spec": {"template": template("web:v2")}}
        await world.client.patch(apps_v1.StatefulSet, "web", "default", patch=patch, patch_type="strategic")
        await world.until(
            apps_v1.StatefulSet,
            "web",
            "default",
            lambda f: f is not None and f.status.updated_replicas == 1 and f.status.ready_replicas == 3,
        )
        assert await images(world) == {"web-0": "web:v1", "web-1": "web:v1", "web-2": "web:v2"}
        await world.client.delete(core_v1.Pod, "web-0", "default")
        await world.until(
            core_v1.Pod, "web-0", "default", lambda f: f is not None and not f.metadata.deletion_timestamp
        )
        assert (await images(world))["web-0"] == "web:v1"

    with_kubelets(pki, body)


def test_claims_are_made_once_and_outlive_their_pods(pki: Pki) -> None:
    async def body(world: World, kubelets: Kubelets) -> None:
        claim = {
            "metadata": {"name": "data"},
            "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
        }
        await state(world, volumeClaimTemplates=[claim])
        claims = (await world.client.list(core_v1.PersistentVolumeClaim, "default")).items
        assert sorted(c.metadata.name for c in claims) == ["data-web-0", "data-web-1", "data-web-2"]
        pod = (await pods_of(world))["web-2"]
        assert any(
            v.persistent_volume_claim and v.persistent_volume_claim.claim_name == "data-web-2" for v in pod.spec.volumes
        )
        await world.client.patch(apps_v1.StatefulSet, "web", "default", patch={"spec": {"replicas": 0}})
        await world.until(apps_v1.StatefulSet, "web", "default", stands(0))
        assert len((await world.client.list(core_v1.PersistentVolumeClaim, "default")).items) == 3

    with_kubelets(pki, body)
