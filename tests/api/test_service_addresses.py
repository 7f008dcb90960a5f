"""ServiceCIDRs and IPAddresses: where addresses of Services come from, and whose each one is.

Answers upstream's "[sig-network] ServiceCIDR and IPAddress API" and "[sig-network] Service CIDRs" (KEP-1880).
"""

from __future__ import annotations

import asyncio
import ipaddress
from pathlib import Path
from typing import Any

import pytest

from carob.api.status import ApiError
from carob.api.types import core_v1, networking_v1
from carob.apiserver.pki import Pki, PkiOptions, ensure_pki
from carob.base.clock import SystemClock
from carob.controllers.service_addresses import ORPHAN_SECONDS
from carob.controllers.service_ranges import FINALIZER, GRACE_SECONDS
from tests.fakes import engine_world
from tests.fakes.controller_world import World, in_world

SMALL, LARGE = "10.90.0.0/29", "10.90.0.0/24"
FULL = 'Service "late" is invalid: spec.clusterIPs: Internal error: failed to allocate a serviceIP: range is full'


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    folder: Path = tmp_path_factory.mktemp("pki")
    return ensure_pki(folder, PkiOptions(), SystemClock().now())


async def service(world: World, name: str, **spec: Any) -> core_v1.Service:
    return await world.make(core_v1.Service, name, "default", spec={"ports": [{"port": 80}]} | spec)


async def range_(world: World, name: str, *ranges: str) -> None:
    await world.make(networking_v1.ServiceCIDR, name, spec={"cidrs": list(ranges)})
    await world.until(networking_v1.ServiceCIDR, name, "", ready)


def ready(found: networking_v1.ServiceCIDR | None) -> bool:
    assert found is not None
    return FINALIZER in found.metadata.finalizers and [c.status for c in found.status.conditions] == ["True"]


def in_use(found: networking_v1.ServiceCIDR | None) -> bool:
    assert found is not None
    return [(c.type, c.status, c.reason) for c in found.status.conditions] == [("Ready", "False", "Terminating")]


async def parent_of(world: World, address: str) -> str:
    found = await world.client.get(networking_v1.IPAddress, address)
    parent = found.spec.parent_ref
    assert parent is not None
    assert found.metadata.labels == {
        "ipaddress.kubernetes.io/ip-family": "IPv4",
        "ipaddress.kubernetes.io/managed-by": "ipallocator.k8s.io",
    }
    return f"{parent.resource}/{parent.namespace}/{parent.name}"


async def refused(call: Any) -> ApiError:
    with pytest.raises(ApiError) as caught:
        await call
    return caught.value


def test_a_new_cluster_has_the_default_range_and_the_addresses_of_its_services(pki: Pki) -> None:
    async def body(world: World) -> None:
        found = await world.client.get(networking_v1.ServiceCIDR, "kubernetes")
        assert found.spec.cidrs == ["10.43.0.0/16"]
        assert ready(found)
        assert await parent_of(world, "10.43.0.1") == "services/default/kubernetes"
        assert await parent_of(world, "10.43.0.10") == "services/kube-system/kube-dns"

    in_world(pki, body)


def test_an_address_comes_and_goes_with_its_service(pki: Pki) -> None:
    async def body(world: World) -> None:
        made = await service(world, "web")
        address = made.spec.cluster_ip
        assert await parent_of(world, address) == "services/default/web"
        external = {
            "spec": {"type": "ExternalName", "externalName": "example.com", "clusterIP": "", "clusterIPs": None}
        }
        await world.client.patch(core_v1.Service, "web", "default", patch=external)
        assert (await refused(world.client.get(networking_v1.IPAddress, address))).reason == "NotFound"
        await world.client.patch(core_v1.Service, "web", "default", patch={"spec": {"type": "ClusterIP"}})
        address = (await world.client.get(core_v1.Service, "web", "default")).spec.cluster_ip
        assert await parent_of(world, address) == "services/default/web"
        await world.client.delete(core_v1.Service, "web", "default")
        assert (await refused(world.client.get(networking_v1.IPAddress, address))).reason == "NotFound"
        headless = await service(world, "headless", clusterIP="None")
        assert headless.spec.cluster_ips == ["None"]
        with pytest.raises(ApiError):
            await service(world, "headless", clusterIP="10.43.0.77")  # the name is taken
        assert (await refused(world.client.get(networking_v1.IPAddress, "10.43.0.77"))).reason == "NotFound"

    in_world(pki, body)


def test_an_address_that_somebody_else_has_is_not_given_to_a_service(pki: Pki) -> None:
    async def body(world: World) -> None:
        parent = {"group": "example.com", "resource": "boxes", "name": "box"}
        await world.make(networking_v1.IPAddress, "10.43.0.50", spec={"parentRef": parent})
        error = await refused(service(world, "web", clusterIP="10.43.0.50"))
        assert error.code == 422
        assert "failed to allocate IP 10.43.0.50: provided IP is already allocated" in error.message
        await world.make(core_v1.Service, "other", "default", spec={"ports": [{"port": 80}], "clusterIP": "10.43.0.51"})
        again = world.make(networking_v1.IPAddress, "10.43.0.51", spec={"parentRef": parent})
        assert (await refused(again)).reason == "AlreadyExists"

    in_world(pki, body)


def test_a_further_range_gives_addresses_until_it_is_full(pki: Pki) -> None:
    async def body(world: World) -> None:
        error = await refused(service(world, "early", clusterIP="10.90.0.3"))
        assert "the provided network does not match the current range" in error.message
        await range_(world, "small", SMALL)
        await service(world, "fixed", clusterIP="10.90.0.3")
        # the default range is on its way out: new addresses come from the other one
        await world.client.delete(networking_v1.ServiceCIDR, "kubernetes")
        await world.until(networking_v1.ServiceCIDR, "kubernetes", "", in_use)
        given = {(await service(world, f"web-{n}")).spec.cluster_ip for n in range(5)}
        assert given == {str(a) for a in ipaddress.ip_network(SMALL).hosts()} - {"10.90.0.3"}
        error = await refused(service(world, "late"))
        assert (error.code, error.message) == (422, FULL)
        await world.client.delete(core_v1.Service, "web-0", "default")
        assert (await service(world, "late")).spec.cluster_ip in given

    in_world(pki, body)


def test_without_any_range_a_service_is_refused_until_there_is_one_again(pki: Pki) -> None:
    async def body(world: World) -> None:
        await range_(world, "small", SMALL)
        for name in ("kubernetes", "small"):
            await world.client.delete(networking_v1.ServiceCIDR, name)
        # the Service of the API itself keeps its range, but nobody gets an address of it
        await world.until(networking_v1.ServiceCIDR, "kubernetes", "", in_use)
        await elapse_until_gone(world, "small")
        error = await refused(service(world, "late"))
        assert (error.code, error.reason, error.message) == (422, "Invalid", FULL)
        assert (await service(world, "headless", clusterIP="None")).spec.cluster_ips == ["None"]
        await range_(world, "small", SMALL)
        assert (await service(world, "late")).spec.cluster_ip.startswith("10.90.")

    in_world(pki, body)


def test_a_range_in_use_stays_until_its_addresses_are_free_or_another_has_them(pki: Pki) -> None:
    async def body(world: World) -> None:
        await range_(world, "small", SMALL)
        await service(world, "web", clusterIP="10.90.0.3")
        await world.client.delete(networking_v1.ServiceCIDR, "small")
        await world.until(networking_v1.ServiceCIDR, "small", "", in_use)
        error = await refused(service(world, "other", clusterIP="10.90.0.4"))
        assert "the provided network does not match the current range" in error.message
        await world.client.delete(core_v1.Service, "web", "default")
        await world.until(networking_v1.IPAddress, "10.90.0.3", "", lambda found: found is None)
        await elapse_until_gone(world, "small")

        await range_(world, "small", SMALL)
        await service(world, "web", clusterIP="10.90.0.3")
        await world.client.delete(networking_v1.ServiceCIDR, "small")
        await world.until(networking_v1.ServiceCIDR, "small", "", in_use)
        await range_(world, "large", LARGE)
        await elapse_until_gone(world, "small")
        assert await parent_of(world, "10.90.0.3") == "services/default/web"

    in_world(pki, body)


async def elapse_until_gone(world: World, name: str) -> None:
    for _ in range(100):
        await world.clock.advance(GRACE_SECONDS)
        try:
            await world.client.get(networking_v1.ServiceCIDR, name)
        except ApiError:
            return
    pytest.fail(f"the range {name} is still there")


def test_what_was_deleted_or_left_over_is_mended(pki: Pki) -> None:
    async def body(world: World) -> None:
        address = (await service(world, "web")).spec.cluster_ip
        first = await world.client.get(networking_v1.IPAddress, address)
        await world.client.delete(networking_v1.IPAddress, address)
        await world.until(networking_v1.IPAddress, address, "", lambda found: found is not None)
        assert (await world.client.get(networking_v1.IPAddress, address)).metadata.uid != first.metadata.uid
        assert await parent_of(world, address) == "services/default/web"
        labels = {
            "ipaddress.kubernetes.io/ip-family": "IPv4",
            "ipaddress.kubernetes.io/managed-by": "ipallocator.k8s.io",
        }
        nobody = {"resource": "services", "namespace": "default", "name": "nobody"}
        await world.make(networking_v1.IPAddress, "10.43.0.60", metadata={"labels": labels}, spec={"parentRef": nobody})
        wrong = nobody | {"name": "web"}
        await world.make(networking_v1.IPAddress, "10.43.0.61", metadata={"labels": labels}, spec={"parentRef": wrong})
        await world.gone(networking_v1.IPAddress, "10.43.0.61")
        await world.client.get(networking_v1.IPAddress, "10.43.0.60")
        for _ in range(10):
            await world.clock.advance(ORPHAN_SECONDS)
        await world.gone(networking_v1.IPAddress, "10.43.0.60")
        await world.client.get(networking_v1.IPAddress, address)

    in_world(pki, body)


@pytest.mark.parametrize(
    ("kind", "name", "spec", "words"),
    [
        (networking_v1.IPAddress, "10.0.0.01", {"parentRef": {"resource": "a", "name": "b"}}, "metadata.name"),
        (networking_v1.IPAddress, "10.0.0.1", {}, "spec.parentRef: Required value"),
        (core_v1.Service, "a", {"ports": [{"port": 80}], "ipFamilies": [""]}, "spec.ipFamilies[0]: Unsupported value"),
        (core_v1.Service, "a", {"ports": [{"port": 80}], "ipFamilies": ["x"]}, "spec.ipFamilies[0]: Unsupported value"),
        (networking_v1.ServiceCIDR, "a", {"cidrs": []}, "spec.cidrs: Required value: at least one CIDR required"),
        (networking_v1.ServiceCIDR, "a", {"cidrs": ["10.0.0.1/8"]}, "spec.cidrs[0]: Invalid value"),
        (networking_v1.ServiceCIDR, "a", {"cidrs": ["10.0.0.0/8", "11.0.0.0/8"]}, "no more than one IP for each IP"),
    ],
)
def test_what_is_wrong_is_refused(pki: Pki, kind: Any, name: str, spec: dict[str, Any], words: str) -> None:
    async def body(world: World) -> None:
        namespace = "default" if kind is core_v1.Service else ""
        error = await refused(world.make(kind, name, namespace, spec=spec))
        assert error.code == 422
        assert words in error.message

    in_world(pki, body)


def test_a_deletion_that_comes_too_late_takes_no_address() -> None:
    async def body(world: engine_world.World) -> None:
        path = "/api/v1/namespaces/default/services/web"
        spec = {"ports": [{"port": 80}], "clusterIP": "10.43.0.50"}
        made = await world.made(path.removesuffix("/web"), {"metadata": {"name": "web"}, "spec": spec})
        options = {"preconditions": {"resourceVersion": made["metadata"]["resourceVersion"]}}
        headers = {"content-type": "application/merge-patch+json"}
        # both are on their way before either is written
        answers = await asyncio.gather(
            world.ask("PATCH", path, {"metadata": {"labels": {"a": "b"}}}, headers),
            world.ask("DELETE", path, options),
        )
        assert [code for code, _ in answers] == [200, 409]
        address = "/apis/networking.k8s.io/v1/ipaddresses/10.43.0.50"
        assert (await world.ask("GET", address))[0] == 200
        assert (await world.ask("DELETE", path))[0] == 200
        assert (await world.ask("GET", address))[0] == 404

    engine_world.in_world(body)
