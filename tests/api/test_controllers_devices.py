"""Claims of devices against a real API server: from template to claim, reserved, given back, ended."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from carob.api.status import ApiError
from carob.api.types import core_v1, resource_v1
from carob.apiserver.pki import Pki, PkiOptions, ensure_pki
from carob.base.clock import SystemClock
from tests.fakes.controller_world import World, in_world

FINALIZER = "resource.kubernetes.io/delete-protection"
ALLOCATED = {"devices": {"results": [{"request": "r", "driver": "d.example.com", "pool": "p", "device": "one"}]}}
DEVICES = {"devices": {"requests": [{"name": "r", "exactly": {"deviceClassName": "gpu"}}]}}


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    folder: Path = tmp_path_factory.mktemp("pki")
    return ensure_pki(folder, PkiOptions(), SystemClock().now())


async def allocate(world: World, name: str, *users: core_v1.Pod) -> None:
    """As the scheduler does it."""
    kind = resource_v1.ResourceClaim
    await world.client.patch(kind, name, "default", patch={"metadata": {"finalizers": [FINALIZER]}})
    entries = [{"resource": "pods", "name": pod.metadata.name, "uid": pod.metadata.uid} for pod in users]
    status = {"status": {"allocation": ALLOCATED, "reservedFor": entries}}
    await world.client.patch(kind, name, "default", patch=status, subresource="status")


async def noted(world: World, pod: str) -> list[str]:
    """The names of the Pod's claims, once its status has them."""
    await world.until(core_v1.Pod, pod, "default", lambda found: bool(found and found.status.resource_claim_statuses))
    found = await world.client.get(core_v1.Pod, pod, "default")
    return [one.resource_claim_name or "" for one in found.status.resource_claim_statuses]


async def ended(world: World, pod: str) -> None:
    patch = {"status": {"phase": "Succeeded"}}
    await world.client.patch(core_v1.Pod, pod, "default", patch=patch, subresource="status")


async def template(world: World) -> None:
    await world.make(resource_v1.ResourceClaimTemplate, "gpus", "default", spec={"spec": DEVICES})


def test_a_template_gives_each_pod_a_claim_of_its_own_which_ends_with_its_use(pki: Pki) -> None:
    async def body(world: World) -> None:
        wishes = [{"name": name, "resourceClaimTemplateName": "gpus"} for name in ("one", "two")]
        pod = await world.pod("web", resourceClaims=wishes)

        async def told() -> bool:
            events = (await world.client.list(core_v1.Event, "default")).items
            words = [e.message for e in events if e.reason == "FailedResourceClaimCreation"]
            missing = 'resourceclaimtemplate.resource.k8s.io "gpus" not found'
            return f'PodResourceClaim one: resource claim template "gpus": {missing}' in words

        while not await told():
            await world.clock.advance(0.001)
        await template(world)
        names = await noted(world, "web")
        assert [name.rpartition("-")[0] for name in names] == ["web-one", "web-two"]
        first = await world.client.get(resource_v1.ResourceClaim, names[0], "default")
        assert [o.uid for o in first.metadata.owner_references] == [pod.metadata.uid]
        await allocate(world, names[0], pod)
        await ended(world, "web")
        for name in names:
            await world.gone(resource_v1.ResourceClaim, name, "default")
        # and none is made anew for it
        assert (await world.client.get(core_v1.Pod, "web", "default")).status.phase == "Succeeded"

    in_world(pki, body)


def test_a_shared_claim_is_freed_by_its_last_user_and_kept_from_deletion_until_then(pki: Pki) -> None:
    async def body(world: World) -> None:
        kind = resource_v1.ResourceClaim
        await world.make(kind, "shared", "default", spec=DEVICES)
        wishes = [{"name": "card", "resourceClaimName": "shared"}]
        web, db = [await world.pod(name, resourceClaims=wishes) for name in ("web", "db")]
        await allocate(world, "shared", web, db)
        await ended(world, "web")
        await world.until(kind, "shared", "default", lambda f: f is not None and len(f.status.reserved_for) == 1)
        found = await world.client.get(kind, "shared", "default")
        assert found.status.allocation is not None
        await world.client.delete(core_v1.Pod, "db", "default", grace_period_seconds=0)
        await world.until(kind, "shared", "default", lambda f: f is not None and f.status.allocation is None)
        await world.until(kind, "shared", "default", lambda f: f is not None and not f.metadata.finalizers)
        await allocate(world, "shared")
        await world.client.delete(kind, "shared", "default")
        await world.gone(kind, "shared", "default")

    in_world(pki, body)


def test_a_pod_whose_node_was_chosen_by_hand_is_entered_in_its_claim(pki: Pki) -> None:
    async def body(world: World) -> None:
        kind = resource_v1.ResourceClaim
        await world.make(kind, "shared", "default", spec=DEVICES)
        wishes: list[Any] = [{"name": "card", "resourceClaimName": "shared"}]
        pod = await world.pod("web", resourceClaims=wishes, nodeName="node-0")
        await allocate(world, "shared")
        await world.until(kind, "shared", "default", lambda f: f is not None and bool(f.status.reserved_for))
        [user] = (await world.client.get(kind, "shared", "default")).status.reserved_for
        assert (user.resource, user.name, user.uid) == ("pods", "web", pod.metadata.uid)

    in_world(pki, body)


def test_admin_access_needs_a_namespace_of_administrators(pki: Pki) -> None:
    async def body(world: World) -> None:
        request = {"name": "r", "exactly": {"deviceClassName": "gpu", "adminAccess": True}}
        spec = {"devices": {"requests": [request]}}
        words = (
            "admin access to devices requires the `resource.kubernetes.io/admin-access: true` label on the containing "
            "namespace"
        )
        with pytest.raises(ApiError, match=r"spec\.devices\.requests") as refused:
            await world.make(resource_v1.ResourceClaim, "all", "default", spec=spec)
        assert words in refused.value.message
        with pytest.raises(ApiError, match=r"spec\.spec\.devices\.requests"):
            await world.make(resource_v1.ResourceClaimTemplate, "all", "default", spec={"spec": spec})
        label = {"resource.kubernetes.io/admin-access": "true"}
        await world.client.patch(core_v1.Namespace, "default", patch={"metadata": {"labels": label}})
        await world.make(resource_v1.ResourceClaim, "all", "default", spec=spec)
        await world.make(resource_v1.ResourceClaimTemplate, "all", "default", spec={"spec": spec})

    in_world(pki, body)


def test_an_expression_that_makes_no_sense_is_refused(pki: Pki) -> None:
    async def body(world: World) -> None:
        for expression, words in (
            ("device.driver == 1", "compilation failed: ERROR: <input>:1:15: found no matching overload for '_==_'"),
            ('"gpu"', "must evaluate to bool or the unknown type, not string"),
            ("x" * 10241, "Too long: may not be more than 10240 bytes"),
        ):
            with pytest.raises(ApiError) as refused:
                selectors = [{"cel": {"expression": expression}}]
                await world.make(resource_v1.DeviceClass, "gpu", spec={"selectors": selectors})
            assert refused.value.code == 422
            assert "spec.selectors[0].cel.expression: " in refused.value.message
            assert words in refused.value.message
        selectors = [{"cel": {"expression": 'device.driver == "gpu.example.com"'}}]
        await world.make(resource_v1.DeviceClass, "gpu", spec={"selectors": selectors})

    in_world(pki, body)


def test_pods_leave_devices_that_are_tainted_and_stay_when_the_taint_goes_in_time(pki: Pki) -> None:
    async def body(world: World) -> None:
        kind = resource_v1.ResourceClaim
        pool = {"name": "p", "generation": 1, "resourceSliceCount": 1}
        spec = {"driver": "d.example.com", "nodeName": "node-0", "pool": pool, "devices": [{"name": "one"}]}
        await world.make(resource_v1.ResourceSlice, "offered", spec=spec)

        async def taint(*effects: str) -> None:
            taints = [{"key": "broken", "effect": effect} for effect in effects]
            devices = [{"name": "one", "taints": taints} if taints else {"name": "one"}]
            await world.client.patch(resource_v1.ResourceSlice, "offered", patch={"spec": {"devices": devices}})

        async def told(pod: str, words: str) -> None:
            while True:
                events = (await world.client.list(core_v1.Event, "default")).items
                if any(
                    (e.involved_object.name, e.reason, e.message) == (pod, "DeviceTaintManagerEviction", words)
                    for e in events
                ):
                    return
                await world.clock.advance(0.001)
                await SystemClock().sleep(0.002)

        async def using(claim: str, pod: str, *tolerations: dict[str, Any]) -> None:
            await world.make(kind, claim, "default", spec=DEVICES)
            wishes = [{"name": "card", "resourceClaimName": claim}]
            made = await world.pod(pod, resourceClaims=wishes, nodeName="node-0")
            got = {"request": "r", "driver": "d.example.com", "pool": "p", "device": "one", "tolerations": tolerations}
            users = [{"resource": "pods", "name": pod, "uid": made.metadata.uid}]
            status = {"allocation": {"devices": {"results": [got]}}, "reservedFor": users}
            await world.client.patch(kind, claim, "default", patch={"status": status}, subresource="status")

        patient = {"key": "broken", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 10000}
        await using("first", "patient", patient)
        await using("second", "hasty")
        await taint("NoSchedule")
        await taint("NoExecute")
        await world.until(
            core_v1.Pod, "hasty", "default", lambda f: f is not None and f.metadata.deletion_timestamp is not None
        )
        found = await world.client.get(core_v1.Pod, "hasty", "default")
        [target] = [c for c in found.status.conditions if c.type == "DisruptionTarget"]
        assert (target.reason, target.message) == (
            "DeletionByDeviceTaintManager",
            "Device Taint manager: deleting due to NoExecute taint",
        )
        await told("hasty", "Marking for deletion")
        await taint()
        await told("patient", "Cancelling deletion")
        stays = await world.client.get(core_v1.Pod, "patient", "default")
        assert stays.metadata.deletion_timestamp is None

    in_world(pki, body)
