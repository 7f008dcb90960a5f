"""StatefulSets when something is in their way, step by step as upstream's own end-to-end tests go."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from carob.api.types import apps_v1, core_v1
from carob.apiserver.pki import Pki, PkiOptions, ensure_pki
from carob.base.clock import SystemClock
from tests.api.test_controllers_sets import images, pods_of, spec, stands, state, template
from tests.fakes.controller_world import Kubelets, World, with_kubelets

CLAIM = {
    "metadata": {"name": "data"},
    "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
}


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    folder: Path = tmp_path_factory.mktemp("pki")
    return ensure_pki(folder, PkiOptions(), SystemClock().now())


def not_ready(*names: str) -> Any:
    return lambda pod: {"conditions": []} if pod.metadata.name in names else {}


async def until_set(world: World, holds: Any) -> None:
    await world.until(apps_v1.StatefulSet, "web", "default", lambda f: f is not None and holds(f))


async def claims_of(world: World) -> dict[str, core_v1.PersistentVolumeClaim]:
    found = (await world.client.list(core_v1.PersistentVolumeClaim, "default")).items
    return {one.metadata.name: one for one in found}


def test_growing_and_shrinking_wait_for_who_is_not_ready(pki: Pki) -> None:
    async def body(world: World, kubelets: Kubelets) -> None:
        kubelets.outcome = not_ready("web-1")
        await world.make(apps_v1.StatefulSet, "web", "default", spec=spec(serviceName="web", replicas=3))
        await until_set(world, lambda f: f.status.replicas == 2 and f.status.ready_replicas == 1)
        assert sorted(await pods_of(world)) == ["web-0", "web-1"]
        # the kubelet has said what it has to say
        await world.until(core_v1.Pod, "web-1", "default", lambda f: f is not None and f.status.phase == "Running")
        ready = {"status": {"conditions": [{"type": "Ready", "status": "True"}]}}
        await world.client.patch(core_v1.Pod, "web-1", "default", patch=ready, subresource="status")
        await until_set(world, stands(3))
        # the highest waits for those below it
        sick = {"status": {"conditions": [{"type": "Ready", "status": "False"}]}}
        for name in ("web-0", "web-1", "web-2"):
            await world.client.patch(core_v1.Pod, name, "default", patch=sick, subresource="status")
        await until_set(world, lambda f: f.status.ready_replicas == 0)
        await world.client.patch(apps_v1.StatefulSet, "web", "default", patch={"spec": {"replicas": 0}})
        await until_set(world, lambda f: f.status.observed_generation == f.metadata.generation)
        assert sorted(await pods_of(world)) == ["web-0", "web-1", "web-2"]
        for name in ("web-0", "web-1"):
            await world.client.patch(core_v1.Pod, name, "default", patch=ready, subresource="status")
        await until_set(world, stands(0))

    with_kubelets(pki, body)


def test_in_parallel_nobody_waits_for_nobody(pki: Pki) -> None:
    async def body(world: World, kubelets: Kubelets) -> None:
        kubelets.outcome = not_ready("web-0", "web-1", "web-2")
        tree = spec(serviceName="web", replicas=3, podManagementPolicy="Parallel")
        await world.make(apps_v1.StatefulSet, "web", "default", spec=tree)
        await until_set(world, lambda f: f.status.replicas == 3 and f.status.ready_replicas == 0)
        await world.client.patch(apps_v1.StatefulSet, "web", "default", patch={"spec": {"replicas": 0}})
        await until_set(world, lambda f: f.status.replicas == 0)

    with_kubelets(pki, body)


def test_an_orphan_is_adopted_and_who_no_longer_fits_is_released(pki: Pki) -> None:
    async def body(world: World, kubelets: Kubelets) -> None:
        await world.make(apps_v1.StatefulSet, "web", "default", spec=spec(serviceName="web", replicas=1))
        await until_set(world, stands(1))
        pod = (await pods_of(world))["web-0"]
        orphan = {"metadata": {"ownerReferences": None}}
        await world.client.patch(core_v1.Pod, "web-0", "default", patch=orphan)
        await world.until(
            core_v1.Pod, "web-0", "default", lambda f: f is not None and bool(f.metadata.owner_references)
        )
        assert (await pods_of(world))["web-0"].metadata.uid == pod.metadata.uid
        await world.client.patch(core_v1.Pod, "web-0", "default", patch={"metadata": {"labels": {"app": "other"}}})
        await world.until(core_v1.Pod, "web-0", "default", lambda f: f is not None and not f.metadata.owner_references)
        await world.client.patch(core_v1.Pod, "web-0", "default", patch={"metadata": {"labels": {"app": "web"}}})
        await world.until(
            core_v1.Pod, "web-0", "default", lambda f: f is not None and bool(f.metadata.owner_references)
        )
        assert (await pods_of(world))["web-0"].metadata.uid == pod.metadata.uid

    with_kubelets(pki, body)


@pytest.mark.parametrize("phase", ["Failed", "Succeeded"])
def test_a_pod_that_ended_is_made_anew(pki: Pki, phase: str) -> None:
    async def body(world: World, kubelets: Kubelets) -> None:
        await state(world)
        before = (await pods_of(world))["web-1"]
        evicted = {"status": {"phase": phase, "reason": "Evicted", "conditions": []}}
        await world.client.patch(core_v1.Pod, "web-1", "default", patch=evicted, subresource="status")
        await world.until(
            core_v1.Pod, "web-1", "default", lambda f: f is not None and f.metadata.uid != before.metadata.uid
        )
        await until_set(world, stands(3))

    with_kubelets(pki, body)


def test_a_broken_update_is_mended_by_a_new_template(pki: Pki) -> None:
    async def body(world: World, kubelets: Kubelets) -> None:
        await state(world)
        kubelets.outcome = lambda pod: {"conditions": []} if pod.spec.containers[0].image == "broken" else {}
        patch = {"spec": {"template": template("broken")}}
        await world.client.patch(apps_v1.StatefulSet, "web", "default", patch=patch, patch_type="strategic")
        await until_set(world, lambda f: f.status.updated_replicas == 1 and f.status.ready_replicas == 2)
        assert await images(world) == {"web-0": "web:v1", "web-1": "web:v1", "web-2": "broken"}
        patch = {"spec": {"template": template("web:v3")}}
        await world.client.patch(apps_v1.StatefulSet, "web", "default", patch=patch, patch_type="strategic")
        # upstream's known issue: the broken Pod has to be taken away by hand
        await until_set(world, lambda f: f.status.observed_generation == f.metadata.generation)
        if "broken" in (await images(world)).values():
            await world.client.delete(core_v1.Pod, "web-2", "default")
        await until_set(world, stands(3))
        assert set((await images(world)).values()) == {"web:v3"}

    with_kubelets(pki, body)


@pytest.mark.parametrize(
    ("policy", "after_shrinking", "after_deletion"),
    [
        ({"whenDeleted": "Retain", "whenScaled": "Retain"}, 3, 3),
        ({"whenDeleted": "Delete", "whenScaled": "Retain"}, 3, 0),
        ({"whenDeleted": "Retain", "whenScaled": "Delete"}, 1, 1),
        ({"whenDeleted": "Delete", "whenScaled": "Delete"}, 1, 0),
    ],
)
def test_claims_are_kept_or_go_as_the_policy_says(
    pki: Pki, policy: dict[str, str], after_shrinking: int, after_deletion: int
) -> None:
    async def body(world: World, kubelets: Kubelets) -> None:
        retention = {"persistentVolumeClaimRetentionPolicy": policy}
        await state(world, volumeClaimTemplates=[CLAIM], **retention)
        assert len(await claims_of(world)) == 3
        await world.client.patch(apps_v1.StatefulSet, "web", "default", patch={"spec": {"replicas": 1}})
        await until_set(world, stands(1))
        for number in range(after_shrinking, 3):
            await world.gone(core_v1.PersistentVolumeClaim, f"data-web-{number}", "default")
        assert len(await claims_of(world)) == after_shrinking
        await world.client.delete(apps_v1.StatefulSet, "web", "default")
        await world.gone(core_v1.Pod, "web-0", "default")
        if not after_deletion:
            for name in list(await claims_of(world)):
                await world.gone(core_v1.PersistentVolumeClaim, name, "default")
        assert len(await claims_of(world)) == after_deletion

    with_kubelets(pki, body)


def test_a_changed_policy_changes_the_owners_of_claims(pki: Pki) -> None:
    async def body(world: World, kubelets: Kubelets) -> None:
        await state(world, volumeClaimTemplates=[CLAIM])
        assert not any(c.metadata.owner_references for c in (await claims_of(world)).values())
        policy = {"persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Delete"}}
        await world.client.patch(apps_v1.StatefulSet, "web", "default", patch={"spec": policy})
        for number in range(3):
            await world.until(
                core_v1.PersistentVolumeClaim,
                f"data-web-{number}",
                "default",
                lambda f: f is not None and [r.kind for r in f.metadata.owner_references] == ["StatefulSet"],
            )
        policy = {"persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Retain"}}
        await world.client.patch(apps_v1.StatefulSet, "web", "default", patch={"spec": policy})
        await world.until(
            core_v1.PersistentVolumeClaim,
            "data-web-0",
            "default",
            lambda f: f is not None and not f.metadata.owner_references,
        )

    with_kubelets(pki, body)


def test_a_claim_that_is_missing_is_made_anew_for_a_pod_that_waits(pki: Pki) -> None:
    async def body(world: World, kubelets: Kubelets) -> None:
        kubelets.outcome = lambda pod: None
        tree = spec(serviceName="web", replicas=1, volumeClaimTemplates=[CLAIM])
        await world.make(apps_v1.StatefulSet, "web", "default", spec=tree)
        await world.until(core_v1.Pod, "web-0", "default", lambda f: f is not None)
        claim = (await claims_of(world))["data-web-0"]
        patch = {"metadata": {"finalizers": None}}
        await world.client.delete(core_v1.PersistentVolumeClaim, "data-web-0", "default")
        await world.client.patch(core_v1.PersistentVolumeClaim, "data-web-0", "default", patch=patch)
        await world.until(
            core_v1.PersistentVolumeClaim,
            "data-web-0",
            "default",
            lambda f: f is not None and f.metadata.uid != claim.metadata.uid,
        )

    with_kubelets(pki, body)


def test_ordinals_that_start_elsewhere_move(pki: Pki) -> None:
    async def body(world: World, kubelets: Kubelets) -> None:
        await state(world, ordinals={"start": 4})
        assert sorted(await pods_of(world)) == ["web-4", "web-5", "web-6"]
        await world.client.patch(apps_v1.StatefulSet, "web", "default", patch={"spec": {"ordinals": {"start": 2}}})
        for gone in ("web-6", "web-5"):
            await world.gone(core_v1.Pod, gone, "default")
        assert sorted(await pods_of(world)) == ["web-2", "web-3", "web-4"]
        await world.client.patch(apps_v1.StatefulSet, "web", "default", patch={"spec": {"ordinals": None}})
        for gone in ("web-4", "web-3"):
            await world.gone(core_v1.Pod, gone, "default")
        assert sorted(await pods_of(world)) == ["web-0", "web-1", "web-2"]

    with_kubelets(pki, body)


def test_the_next_one_waits_until_a_pod_is_available(pki: Pki) -> None:
    async def body(world: World, kubelets: Kubelets) -> None:
        tree = spec(serviceName="web", replicas=2, minReadySeconds=15)
        await world.make(apps_v1.StatefulSet, "web", "default", spec=tree)
        await until_set(world, lambda f: f.status.ready_replicas == 1)
        assert sorted(await pods_of(world)) == ["web-0"]
        await world.clock.advance(16)
        await until_set(world, lambda f: f.status.ready_replicas == 2 and f.status.available_replicas == 1)
        await world.clock.advance(16)
        await until_set(world, lambda f: f.status.available_replicas == 2)

    with_kubelets(pki, body)


def test_by_hand_only_deleted_pods_are_updated(pki: Pki) -> None:
    async def body(world: World, kubelets: Kubelets) -> None:
        await state(world, updateStrategy={"type": "OnDelete"})
        patch = {"spec": {"template": template("web:v2")}}
        await world.client.patch(apps_v1.StatefulSet, "web", "default", patch=patch, patch_type="strategic")
        await until_set(world, lambda f: f.status.observed_generation == f.metadata.generation)
        assert set((await images(world)).values()) == {"web:v1"}
        before = (await pods_of(world))["web-1"]
        await world.client.delete(core_v1.Pod, "web-1", "default")
        await world.until(
            core_v1.Pod, "web-1", "default", lambda f: f is not None and f.metadata.uid != before.metadata.uid
        )
        await until_set(world, lambda f: f.status.ready_replicas == 3)
        assert await images(world) == {"web-0": "web:v1", "web-1": "web:v2", "web-2": "web:v1"}

    with_kubelets(pki, body)
