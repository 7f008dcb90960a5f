"""Leases that nobody renews any more: those of API servers that are gone, and of nodes that are gone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from carob.api.types import coordination_v1, core_v1
from carob.apiserver.bootstrap.identity_lease import IdentityLease
from carob.apiserver.bootstrap.objects import identity
from carob.apiserver.pki import Pki, PkiOptions, ensure_pki
from carob.base.clock import SystemClock, VirtualClock, rfc3339_micro
from carob.base.ids import SystemRandomness
from carob.base.tasks import TaskGroup
from carob.controllers.server_leases import PATIENCE_SECONDS
from tests.fakes.controller_world import World, in_world

IDENTITY = {"apiserver.kubernetes.io/identity": "kube-apiserver"}


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    folder: Path = tmp_path_factory.mktemp("pki")
    return ensure_pki(folder, PkiOptions(), SystemClock().now())


async def lease(world: World, name: str, labels: dict[str, str], **spec: Any) -> None:
    await world.make(coordination_v1.Lease, name, "kube-system", metadata={"labels": labels}, spec=spec)


def test_the_lease_of_a_server_that_is_gone_is_removed(pki: Pki) -> None:
    async def body(world: World) -> None:
        now = rfc3339_micro(world.clock.now())
        held = {"holderIdentity": "somebody", "renewTime": now}
        await lease(world, "apiserver-short", IDENTITY, leaseDurationSeconds=600, **held)
        await lease(world, "apiserver-long", IDENTITY, leaseDurationSeconds=6000, **held)
        await lease(world, "apiserver-renewed", IDENTITY, leaseDurationSeconds=600, **held)
        await lease(world, "election", {}, leaseDurationSeconds=600, **held)
        # what says neither when it was renewed nor for how long is none of a server
        await lease(world, "apiserver-broken", IDENTITY)
        await world.gone(coordination_v1.Lease, "apiserver-broken", "kube-system")
        await world.clock.advance(500)
        patch = {"spec": {"renewTime": rfc3339_micro(world.clock.now())}}
        await world.client.patch(coordination_v1.Lease, "apiserver-renewed", "kube-system", patch=patch)
        await world.clock.advance(100 + PATIENCE_SECONDS + 1)
        await world.gone(coordination_v1.Lease, "apiserver-short", "kube-system")
        left = await world.client.list(coordination_v1.Lease, "kube-system")
        names = {one.metadata.name for one in left.items}
        assert {"apiserver-long", "apiserver-renewed", "election"} <= names
        await world.clock.advance(500)
        await world.gone(coordination_v1.Lease, "apiserver-renewed", "kube-system")

    in_world(pki, body)


def test_a_server_makes_its_own_lease_anew(pki: Pki) -> None:
    async def body(world: World) -> None:
        name = identity(world.api.options.hostname)
        await world.client.delete(coordination_v1.Lease, name, "kube-system")
        clock = VirtualClock(world.clock.now())
        part = IdentityLease(world.api.engine, world.api.options, clock, SystemRandomness())
        async with TaskGroup() as group:
            task = group.spawn(part.run(), "identity lease")
            await world.until(coordination_v1.Lease, name, "kube-system", lambda found: found is not None)
            task.cancel()
        made = await world.client.get(coordination_v1.Lease, name, "kube-system")
        assert made.metadata.labels["apiserver.kubernetes.io/identity"] == "kube-apiserver"

    in_world(pki, body)


def test_the_lease_of_a_node_goes_with_the_node(pki: Pki) -> None:
    async def body(world: World) -> None:
        await world.node("node-0")
        node = await world.client.get(core_v1.Node, "node-0")
        owner = {"apiVersion": "v1", "kind": "Node", "name": "node-0", "uid": node.metadata.uid}
        await world.make(
            coordination_v1.Lease, "node-0", "kube-node-lease", metadata={"ownerReferences": [owner]}, spec={}
        )
        await world.client.delete(core_v1.Node, "node-0")
        await world.gone(coordination_v1.Lease, "node-0", "kube-node-lease")

    in_world(pki, body)
