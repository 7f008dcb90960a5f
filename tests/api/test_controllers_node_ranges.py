"""Nodes that bring no Pod range are given one. Source: kube-controller-manager nodeipam, range_allocator.go."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from carob.api.types import core_v1
from carob.apiserver.pki import Pki, PkiOptions, ensure_pki
from carob.base.clock import SystemClock
from carob.controllers.node_ranges import Ranges
from tests.fakes.controller_world import World, in_world


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    folder: Path = tmp_path_factory.mktemp("pki")
    return ensure_pki(folder, PkiOptions(), SystemClock().now())


def has(*ranges: str) -> Callable[[core_v1.Node | None], bool]:
    def holds(node: core_v1.Node | None) -> bool:
        return node is not None and node.spec.pod_cidr in ranges and node.spec.pod_cidrs == [node.spec.pod_cidr]

    return holds


def test_ranges_are_given_taken_along_and_given_again(pki: Pki) -> None:
    async def body(world: World) -> None:
        client = world.client
        # one brings its own, and nobody else may have it
        await world.make(core_v1.Node, "own", spec={"podCIDR": "10.42.3.0/24", "podCIDRs": ["10.42.3.0/24"]})
        for name in ("a", "b"):
            await world.make(core_v1.Node, name)
            await world.until(core_v1.Node, name, "", has("10.42.1.0/24", "10.42.2.0/24"))
        first, second = [(await client.get(core_v1.Node, name)).spec.pod_cidr for name in ("a", "b")]
        assert first != second
        await world.make(core_v1.Node, "c")
        await world.until(core_v1.Node, "c", "", has("10.42.0.0/24"))
        await world.make(core_v1.Node, "late")

        async def told() -> list[core_v1.Event]:
            found = await client.list(core_v1.Event, field_selector="reason=CIDRNotAvailable")
            return list(found.items)

        while not await told():
            await world.clock.advance(0.1)
        (event,) = await told()
        assert event.involved_object.name == "late"
        assert event.message == "Node late status is now: CIDRNotAvailable"
        assert event.source.component == "cidrAllocator"
        assert (await client.get(core_v1.Node, "late")).spec.pod_cidr == ""
        await client.delete(core_v1.Node, "a")
        await world.until(core_v1.Node, "late", "", has(first))

    in_world(pki, body, node_ranges=[Ranges("10.42.0.0/22", 24)])
