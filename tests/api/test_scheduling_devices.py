"""Pods with claims of devices: the scheduler and the claim controller against a real API server, drivers by hand."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from carob.api.types import core_v1, resource_v1
from carob.apiserver.pki import Pki, PkiOptions, ensure_pki
from carob.base.clock import SystemClock
from carob.base.ids import SystemRandomness
from carob.scheduler.scheduler import Scheduler
from tests.fakes.controller_world import World, in_world

DRIVER = "gpu.example.com"
CLAIM = resource_v1.ResourceClaim


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    folder: Path = tmp_path_factory.mktemp("pki")
    return ensure_pki(folder, PkiOptions(), SystemClock().now())


def with_scheduler(pki: Pki, body: Callable[[World], Awaitable[None]]) -> None:
    async def inside(world: World) -> None:
        client = world.client_of("system:kube-scheduler")
        task = asyncio.get_running_loop().create_task(Scheduler(client, SystemClock(), SystemRandomness()).run())
        try:
            for name in ("node-0", "node-1"):
                await world.node(name)
                status = {"status": {"allocatable": {"cpu": "4", "memory": "8Gi", "pods": "110"}}}
                await world.client.patch(core_v1.Node, name, patch=status, subresource="status")
            await body(world)
            assert not task.done()
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    in_world(pki, inside)


async def devices(world: World, node: str, *names: str, **more: Any) -> None:
    pool = {"name": node, "generation": 1, "resourceSliceCount": 1}
    offered = [{"name": name} | more for name in names]
    spec = {"driver": DRIVER, "nodeName": node, "pool": pool, "devices": offered}
    await world.make(resource_v1.ResourceSlice, f"slice-{node}", spec=spec)


async def class_(world: World) -> None:
    selectors = [{"cel": {"expression": f'device.driver == "{DRIVER}"'}}]
    await world.make(resource_v1.DeviceClass, "gpu", spec={"selectors": selectors})


REQUESTS = {"devices": {"requests": [{"name": "r", "exactly": {"deviceClassName": "gpu"}}]}}


async def pod(world: World, name: str, **wish: str) -> core_v1.Pod:
    return await world.pod(name, resourceClaims=[{"name": "card"} | wish])


async def placed(world: World, name: str) -> core_v1.Pod:
    await world.until(core_v1.Pod, name, "default", lambda f: f is not None and bool(f.spec.node_name))
    return await world.client.get(core_v1.Pod, name, "default")


async def refused(world: World, name: str) -> tuple[str, str]:
    """Reason and words of the Pod's condition."""

    def said(found: core_v1.Pod | None) -> list[core_v1.PodCondition]:
        return [c for c in found.status.conditions if c.status == "False"] if found is not None else []

    await world.until(core_v1.Pod, name, "default", lambda f: bool(said(f)))
    [one] = said(await world.client.get(core_v1.Pod, name, "default"))
    return one.reason, one.message


async def ended(world: World, name: str) -> None:
    patch = {"status": {"phase": "Succeeded"}}
    await world.client.patch(core_v1.Pod, name, "default", patch=patch, subresource="status")


def test_pods_get_devices_by_templates_and_wait_until_others_give_theirs_back(pki: Pki) -> None:
    async def body(world: World) -> None:
        await world.make(resource_v1.ResourceClaimTemplate, "gpus", "default", spec={"spec": REQUESTS})
        await devices(world, "node-1", "only")
        first = await pod(world, "first", resourceClaimTemplateName="gpus")
        reason, words = await refused(world, "first")
        assert (reason, words) == (
            "Unschedulable",
            "0/2 nodes are available: request r: device class gpu does not exist. no new claims to deallocate, "
            "preemption: 0/2 nodes are available: 2 Preemption is not helpful for scheduling.",
        )
        await class_(world)
        assert (await placed(world, "first")).spec.node_name == "node-1"
        found = await world.client.get(core_v1.Pod, "first", "default")
        [noted] = found.status.resource_claim_statuses
        claim = await world.client.get(CLAIM, noted.resource_claim_name or "", "default")
        assert claim.metadata.finalizers == ["resource.kubernetes.io/delete-protection"]
        assert [user.uid for user in claim.status.reserved_for] == [first.metadata.uid]
        got = claim.status.allocation
        assert got is not None
        assert [(one.driver, one.pool, one.device) for one in got.devices.results] == [(DRIVER, "node-1", "only")]
        assert got.allocation_timestamp
        await pod(world, "second", resourceClaimTemplateName="gpus")
        _, words = await refused(world, "second")
        assert words.startswith("0/2 nodes are available: 2 cannot allocate all claims. still not schedulable,")
        await ended(world, "first")
        assert (await placed(world, "second")).spec.node_name == "node-1"

    with_scheduler(pki, body)


def test_a_shared_claim_brings_its_pods_together_and_moves_when_nobody_uses_it(pki: Pki) -> None:
    async def body(world: World) -> None:
        await class_(world)
        await pod(world, "early", resourceClaimName="shared")
        _, words = await refused(world, "early")
        assert 'resourceclaim.resource.k8s.io "shared" not found' in words
        await devices(world, "node-0", "one")
        await world.make(CLAIM, "shared", "default", spec=REQUESTS)
        await pod(world, "late", resourceClaimName="shared")
        for name in ("early", "late"):
            assert (await placed(world, name)).spec.node_name == "node-0"
        await world.until(CLAIM, "shared", "default", lambda f: f is not None and len(f.status.reserved_for) == 2)
        await ended(world, "early")
        await ended(world, "late")
        await world.until(CLAIM, "shared", "default", lambda f: f is not None and f.status.allocation is None)
        # now idle on node-0 by a driver's own will, while the Pod can be on node-1 only
        await devices(world, "node-1", "two")
        await world.client.patch(core_v1.Node, "node-0", patch={"spec": {"unschedulable": True}})
        here = [{"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["node-0"]}]}]
        result = {"request": "r", "driver": DRIVER, "pool": "node-0", "device": "one"}
        idle = {"devices": {"results": [result]}, "nodeSelector": {"nodeSelectorTerms": here}}
        await world.client.patch(
            CLAIM, "shared", "default", patch={"status": {"allocation": idle}}, subresource="status"
        )
        await pod(world, "other", resourceClaimName="shared")
        assert (await placed(world, "other")).spec.node_name == "node-1"

    with_scheduler(pki, body)


def test_many_pods_share_the_devices_of_two_nodes_without_taking_one_twice(pki: Pki) -> None:
    async def body(world: World) -> None:
        await class_(world)
        await world.make(resource_v1.ResourceClaimTemplate, "gpus", "default", spec={"spec": REQUESTS})
        for node in ("node-0", "node-1"):
            await devices(world, node, *(f"d{i}" for i in range(8)))
        names = [f"pod-{i}" for i in range(20)]
        for name in names:
            await pod(world, name, resourceClaimTemplateName="gpus")
        async with asyncio.timeout(60):
            while True:
                pods = (await world.client.list(core_v1.Pod, "default")).items
                on = [one.metadata.name for one in pods if one.spec.node_name]
                if len(on) == 16:
                    break
                await asyncio.sleep(0.02)
        claims = (await world.client.list(CLAIM, "default")).items
        taken = [
            (one.pool, one.device)
            for claim in claims
            if claim.status.allocation is not None
            for one in claim.status.allocation.devices.results
        ]
        assert len(taken) == len(set(taken)) == 16
        for name in on:
            await ended(world, name)
        for name in set(names) - set(on):
            await placed(world, name)

    with_scheduler(pki, body)


def test_a_device_that_must_be_made_ready_is_waited_for_and_one_that_fails_is_given_back(pki: Pki) -> None:
    async def body(world: World) -> None:
        await class_(world)
        conditions = {"bindingConditions": ["example.com/ready"], "bindingFailureConditions": ["example.com/broken"]}
        await devices(world, "node-0", "one", **conditions)
        await world.make(CLAIM, "slow", "default", spec=REQUESTS)
        await pod(world, "web", resourceClaimName="slow")

        async def tell(what: str) -> None:
            await world.until(CLAIM, "slow", "default", lambda f: f is not None and f.status.allocation is not None)
            stamp = "2026-01-01T00:00:00Z"
            condition = {
                "type": what,
                "status": "True",
                "reason": "Attaching",
                "message": "as told",
                "lastTransitionTime": stamp,
            }
            said = {"driver": DRIVER, "pool": "node-0", "device": "one", "conditions": [condition]}
            await world.client.patch(
                CLAIM, "slow", "default", patch={"status": {"devices": [said]}}, subresource="status"
            )

        await tell("example.com/broken")
        reason, words = await refused(world, "web")
        assert (reason, words) == (
            "SchedulerError",
            'running PreBind plugin "DynamicResources": claim default/slow binding failed: reason=Attaching, '
            "message=as told",
        )
        await world.until(CLAIM, "slow", "default", lambda f: f is not None and not f.status.devices)
        await tell("example.com/ready")
        assert (await placed(world, "web")).spec.node_name == "node-0"

    with_scheduler(pki, body)


def test_a_broken_expression_is_told_and_its_mending_helps(pki: Pki) -> None:
    async def body(world: World) -> None:
        await devices(world, "node-0", "one")
        await world.make(CLAIM, "card", "default", spec=REQUESTS)
        missing = [{"cel": {"expression": f'device.attributes["{DRIVER}"].missing == 1'}}]
        await world.make(resource_v1.DeviceClass, "gpu", spec={"selectors": missing})
        await pod(world, "web", resourceClaimName="card")
        reason, words = await refused(world, "web")
        assert (reason, words) == (
            "SchedulerError",
            f'running "DynamicResources" filter plugin: class gpu: selector #0 on device {DRIVER}/node-0/one: CEL runtime '
            "error: no such key: missing",
        )
        await world.client.patch(resource_v1.DeviceClass, "gpu", patch={"spec": {"selectors": None}})
        await placed(world, "web")

    with_scheduler(pki, body)


def test_an_extended_resource_that_a_class_stands_for_becomes_a_claim(pki: Pki) -> None:
    async def body(world: World) -> None:
        await devices(world, "node-1", "one", "two")
        one = {"example.com/gpu": "1"}
        containers = [
            {"name": name, "image": "web", "resources": {"requests": one, "limits": one}} for name in ("a", "b")
        ]
        made = await world.pod("web", containers=containers)
        _, words = await refused(world, "web")
        assert words.startswith("0/2 nodes are available: 2 Insufficient example.com/gpu. ")
        await world.make(resource_v1.DeviceClass, "gpu", spec={"extendedResourceName": "example.com/gpu"})
        found = await placed(world, "web")
        assert found.spec.node_name == "node-1"
        status = found.status.extended_resource_claim_status
        assert status is not None
        assert [(m.container_name, m.resource_name, m.request_name) for m in status.request_mappings] == [
            ("a", "example.com/gpu", "container-0-request-0"),
            ("b", "example.com/gpu", "container-1-request-0"),
        ]
        assert status.resource_claim_name.startswith("web-extended-resources-")
        claim = await world.client.get(CLAIM, status.resource_claim_name, "default")
        assert claim.metadata.annotations == {"resource.kubernetes.io/extended-resource-claim": "true"}
        assert [user.uid for user in claim.status.reserved_for] == [made.metadata.uid]
        allocation = claim.status.allocation
        assert allocation is not None
        assert {one.device for one in allocation.devices.results} == {"one", "two"}
        # nothing is left for another, until it ends
        await world.pod("next", containers=containers[:1])
        _, words = await refused(world, "next")
        assert words.startswith("0/2 nodes are available: 2 cannot allocate all claims. ")
        await ended(world, "web")
        await world.gone(CLAIM, status.resource_claim_name, "default")
        assert (await placed(world, "next")).spec.node_name == "node-1"

    with_scheduler(pki, body)
