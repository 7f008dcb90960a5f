"""Services, slices and node ranges of a cluster with two families. Source: KEP-563; upstream "[sig-network] DualStack"."""

from __future__ import annotations

import ipaddress
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from carob.api.status import ApiError
from carob.api.types import core_v1, discovery_v1, networking_v1
from carob.apiserver.pki import Pki, PkiOptions, ensure_pki
from carob.base.clock import SystemClock
from carob.controllers.node_ranges import Ranges
from tests.fakes.controller_world import World, in_world

SERVICES6 = "fd00:43::/112"
BOTH = ["IPv4", "IPv6"]


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    folder: Path = tmp_path_factory.mktemp("pki")
    return ensure_pki(folder, PkiOptions(), SystemClock().now())


async def service(world: World, name: str, **spec: Any) -> core_v1.Service:
    return await world.make(core_v1.Service, name, "default", spec={"ports": [{"port": 80}]} | spec)


async def refused(call: Any) -> tuple[int, str]:
    with pytest.raises(ApiError) as caught:
        await call
    return caught.value.code, caught.value.message


async def names_of_addresses(world: World) -> set[str]:
    found = await world.client.list(networking_v1.IPAddress)
    for one in found.items:
        family = one.metadata.labels["ipaddress.kubernetes.io/ip-family"]
        assert family == f"IPv{ipaddress.ip_address(one.metadata.name).version}"
    return {one.metadata.name for one in found.items}


def families(found: core_v1.Service) -> tuple[str | None, list[str], list[int]]:
    versions: list[int] = [ipaddress.ip_address(text).version for text in found.spec.cluster_ips]
    assert found.spec.cluster_ip == found.spec.cluster_ips[0]
    return found.spec.ip_family_policy, found.spec.ip_families, [*versions]


def test_a_service_has_the_families_that_it_asks_for(pki: Pki) -> None:
    async def body(world: World) -> None:
        (found,) = (await world.client.list(networking_v1.ServiceCIDR)).items
        assert found.spec.cidrs == ["10.43.0.0/16", SERVICES6]
        assert families(await service(world, "plain")) == ("SingleStack", ["IPv4"], [4])
        prefers = await service(world, "prefers", ipFamilyPolicy="PreferDualStack")
        assert families(prefers) == ("PreferDualStack", BOTH, [4, 6])
        assert ipaddress.ip_address(prefers.spec.cluster_ips[1]) in ipaddress.ip_network(SERVICES6)
        assert {*prefers.spec.cluster_ips} <= await names_of_addresses(world)
        only = await service(world, "only", ipFamilies=["IPv6"])
        assert families(only) == ("SingleStack", ["IPv6"], [6])
        turned = await service(world, "turned", ipFamilies=["IPv6", "IPv4"], ipFamilyPolicy="RequireDualStack")
        assert families(turned) == ("RequireDualStack", ["IPv6", "IPv4"], [6, 4])
        fixed = await service(
            world,
            "fixed",
            clusterIP="fd00:43::77",
            clusterIPs=["fd00:43::77", "10.43.0.77"],
            ipFamilyPolicy="PreferDualStack",
        )
        assert families(fixed) == ("PreferDualStack", ["IPv6", "IPv4"], [6, 4])
        assert fixed.spec.cluster_ips == ["fd00:43::77", "10.43.0.77"]
        headless = await service(
            world, "headless", clusterIP="None", selector={"a": "b"}, ipFamilyPolicy="PreferDualStack"
        )
        assert (headless.spec.cluster_ips, headless.spec.ip_families) == (["None"], BOTH)

    in_world(pki, body, service_range6=SERVICES6)


def test_an_address_is_one_service_s_however_it_is_written(pki: Pki) -> None:
    async def body(world: World) -> None:
        await service(world, "first", clusterIP="fd00:43::ab")
        code, words = await refused(service(world, "second", clusterIP="fd00:43:0::00AB"))
        assert code == 422
        assert "failed to allocate IP fd00:43::ab: provided IP is already allocated" in words
        code, words = await refused(service(world, "far", clusterIP="fd00:99::1"))
        assert code == 422
        assert "failed to allocate IP fd00:99::1: the provided network does not match the current range" in words

    in_world(pki, body, service_range6=SERVICES6)


def test_the_second_address_comes_and_goes_with_the_policy(pki: Pki) -> None:
    async def body(world: World) -> None:
        first = (await service(world, "web")).spec.cluster_ip

        async def change(**spec: Any) -> core_v1.Service:
            return await world.client.patch(core_v1.Service, "web", "default", patch={"spec": spec})

        both = await change(ipFamilyPolicy="RequireDualStack")
        assert families(both) == ("RequireDualStack", BOTH, [4, 6])
        second = both.spec.cluster_ips[1]
        assert {first, second} <= await names_of_addresses(world)
        code, words = await refused(change(clusterIPs=[first]))
        assert (code, "must be 'SingleStack' to release the secondary cluster IP" in words) == (422, True)
        one = await change(ipFamilyPolicy="SingleStack")
        assert families(one) == ("SingleStack", ["IPv4"], [4])
        assert one.spec.cluster_ip == first
        assert second not in await names_of_addresses(world)
        await service(world, "heir", clusterIP=second)
        await world.client.delete(core_v1.Service, "heir", "default")
        assert second not in await names_of_addresses(world)

    in_world(pki, body, service_range6=SERVICES6)


def test_a_cluster_of_one_family_refuses_the_other(pki: Pki) -> None:
    async def body(world: World) -> None:
        assert families(await service(world, "prefers", ipFamilyPolicy="PreferDualStack"))[1:] == (["IPv4"], [4])
        code, words = await refused(service(world, "requires", ipFamilyPolicy="RequireDualStack"))
        assert (code, "this cluster is not configured for dual-stack services" in words) == (422, True)
        code, words = await refused(service(world, "six", ipFamilies=["IPv6"]))
        assert (code, "not configured on this cluster" in words) == (422, True)

    in_world(pki, body)


def test_each_family_of_a_service_has_slices_of_its_own(pki: Pki) -> None:
    async def body(world: World) -> None:
        for name, ips in (("both", ["10.42.0.5", "fd00:42::5"]), ("old", ["10.42.0.6"])):
            await world.make(
                core_v1.Pod,
                name,
                "default",
                metadata={"labels": {"app": "web"}},
                spec={"nodeName": "n", "containers": [{"name": "c", "image": "i"}]},
            )
            status = {
                "phase": "Running",
                "podIP": ips[0],
                "podIPs": [{"ip": ip} for ip in ips],
                "conditions": [{"type": "Ready", "status": "True"}],
            }
            await world.client.patch(core_v1.Pod, name, "default", patch={"status": status}, subresource="status")
        spec = {"selector": {"app": "web"}, "ipFamilies": ["IPv6", "IPv4"], "ipFamilyPolicy": "RequireDualStack"}
        await service(world, "web", **spec)

        async def shown() -> dict[str, list[str]]:
            found = await world.client.list(
                discovery_v1.EndpointSlice, "default", label_selector="kubernetes.io/service-name=web"
            )
            return {
                one.address_type: sorted(a for e in one.endpoints or () for a in e.addresses) for one in found.items
            }

        while await shown() != {"IPv4": ["10.42.0.5", "10.42.0.6"], "IPv6": ["fd00:42::5"]}:
            await world.clock.advance(0.1)

        def has_first_family(found: core_v1.Endpoints | None) -> bool:
            return found is not None and [a.ip for s in found.subsets for a in s.addresses] == ["fd00:42::5"]

        await world.until(core_v1.Endpoints, "web", "default", has_first_family)
        patch = {"spec": {"ipFamilyPolicy": "SingleStack"}}
        await world.client.patch(core_v1.Service, "web", "default", patch=patch)
        while await shown() != {"IPv6": ["fd00:42::5"]}:
            await world.clock.advance(0.1)

    in_world(pki, body, service_range6=SERVICES6)


def test_a_balanced_service_gets_an_address_of_each_family(pki: Pki) -> None:
    async def body(world: World) -> None:
        def has(*addresses: str) -> Callable[[core_v1.Service | None], bool]:
            return lambda found: (
                found is not None and [one.ip for one in found.status.load_balancer.ingress] == [*addresses]
            )

        async def change(**spec: Any) -> None:
            await world.client.patch(core_v1.Service, "web", "default", patch={"spec": spec})

        await service(world, "web", type="LoadBalancer")
        await world.until(core_v1.Service, "web", "default", has("10.42.255.1"))
        await change(ipFamilyPolicy="PreferDualStack")
        await world.until(core_v1.Service, "web", "default", has("10.42.255.1", "fd00:42:0:ff::1"))
        await service(
            world, "turned", type="LoadBalancer", ipFamilies=["IPv6", "IPv4"], ipFamilyPolicy="PreferDualStack"
        )
        await world.until(core_v1.Service, "turned", "default", has("fd00:42:0:ff::2", "10.42.255.2"))
        await change(ipFamilyPolicy="SingleStack")
        await world.until(core_v1.Service, "web", "default", has("10.42.255.1"))

    ranges = ["10.42.255.0/24", "fd00:42:0:ff::/64"]
    in_world(pki, body, service_range6=SERVICES6, load_balancer_ranges=ranges)


def test_a_node_gets_a_range_of_each_family(pki: Pki) -> None:
    async def body(world: World) -> None:
        own = ["10.42.3.0/24", "fd00:42:0:2::/64"]
        await world.make(core_v1.Node, "own", spec={"podCIDR": own[0], "podCIDRs": own})
        await world.make(core_v1.Node, "a")

        def has_both(found: core_v1.Node | None) -> bool:
            return found is not None and found.spec.pod_cidrs == ["10.42.2.0/24", "fd00:42:0:1::/64"]

        await world.until(core_v1.Node, "a", "", has_both)

    ranges = [Ranges("10.42.0.0/22", 24), Ranges("fd00:42::/62", 64, ("fd00:42:0:3::/64",))]
    in_world(pki, body, node_ranges=ranges)


def change_drawn(draw: random.Random, known: list[core_v1.Service]) -> dict[str, Any]:
    """What somebody may write into a Service's spec, sensible or not."""
    others = [address for one in known for address in one.spec.cluster_ips if address != "None"]
    some = [
        "10.43.0.66",
        "fd00:43::66",
        "fd00:43:0:0::0066",
        "None",
        "10.99.0.1",
        *draw.sample(others, min(2, len(others))),
    ]
    ips = draw.choice([[], [draw.choice(some)], draw.sample(some, 2)])
    drawn: dict[str, Any] = {
        "ipFamilyPolicy": draw.choice(["SingleStack", "PreferDualStack", "RequireDualStack"]),
        "ipFamilies": draw.choice([["IPv4"], ["IPv6"], ["IPv4", "IPv6"], ["IPv6", "IPv4"], ["IPv4", "IPv4"]]),
        "type": draw.choice(["ClusterIP", "NodePort", "ExternalName"]),
        "clusterIPs": ips,
        "clusterIP": ips[0] if ips and draw.random() < 0.8 else draw.choice(["", "10.43.0.67"]),
    }
    kept = {key for key in drawn if draw.random() < 0.4}
    if "clusterIPs" in kept and draw.random() < 0.7:
        kept.add("clusterIP")
    return {key: value for key, value in drawn.items() if key in kept} | {"externalName": "example.com"}


@pytest.mark.parametrize("seed", range(4))
def test_whatever_is_written_families_addresses_and_their_objects_fit(pki: Pki, seed: int) -> None:
    dual = seed > 0

    async def body(world: World) -> None:
        draw, done = random.Random(seed), 0
        names = [f"s{number}" for number in range(5)]
        for _ in range(150):
            known = {one.metadata.name: one for one in (await world.client.list(core_v1.Service, "default")).items}
            name, spec = draw.choice(names), change_drawn(draw, list(known.values()))
            try:
                if name not in known:
                    spec["selector"] = draw.choice([{}, {"app": "web"}])
                    await service(world, name, **spec)
                elif draw.random() < 0.15:
                    await world.client.delete(core_v1.Service, name, "default")
                else:
                    await world.client.patch(core_v1.Service, name, "default", patch={"spec": spec})
                done += 1
            except ApiError as error:
                if error.code not in (400, 422):
                    raise
            await fit(world, dual=dual)
        assert done > 20, "nearly nothing was accepted"

    in_world(pki, body, service_range6=SERVICES6 if dual else "")


async def fit(world: World, *, dual: bool) -> None:
    found = (await world.client.list(core_v1.Service)).items
    given: list[str] = []
    for one in found:
        spec, said = one.spec, one.spec
        if spec.type == "ExternalName":
            assert not spec.cluster_ips, said
            continue
        assert spec.cluster_ip == spec.cluster_ips[0], said
        assert spec.ip_family_policy in ("SingleStack", "PreferDualStack", "RequireDualStack"), said
        assert len(set(spec.ip_families)) == len(spec.ip_families) > 0, said
        if spec.ip_family_policy == "SingleStack":
            assert len(spec.ip_families) == 1, said
        if spec.cluster_ip == "None":
            assert len(spec.cluster_ips) == 1, said
            continue
        assert [f"IPv{ipaddress.ip_address(text).version}" for text in spec.cluster_ips] == spec.ip_families, said
        if spec.ip_family_policy == "RequireDualStack":
            assert dual, said
            assert len(spec.ip_families) == 2, said
        given += [str(ipaddress.ip_address(text)) for text in spec.cluster_ips]
    assert len(set(given)) == len(given), "two Services have one address"
    assert await names_of_addresses(world) == set(given)
