"""Several API servers over one etcd: whichever is asked, the answer is the present, and nothing is given out twice."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from carob.api.status import ApiError
from carob.api.types import core_v1, discovery_v1, meta_v1
from carob.api.user import UserInfo
from carob.apiserver.keys import CLAIMS
from carob.apiserver.options import ApiServerOptions
from carob.apiserver.server import ApiServer
from carob.base.clock import SystemClock
from carob.base.ids import SystemRandomness
from carob.client.rest import Client
from carob.store.etcd.store import EtcdStore
from carob.transport.memory import MemoryTransport
from tests.etcd import Etcd

pytestmark = [pytest.mark.slow]

ADMIN = UserInfo("admin", ("system:masters", "system:authenticated"))
SERVERS = 2


@pytest.fixture(scope="module")
def etcd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Etcd]:
    etcd = Etcd(tmp_path_factory.mktemp("etcd"))
    try:
        asyncio.run(etcd.start())
        yield etcd
    finally:
        etcd.stop()


class Servers:
    def __init__(self) -> None:
        self.clients: list[Client] = []
        self.stores: list[EtcdStore] = []
        self.named: list[str] = []


@asynccontextmanager
async def opened(etcd: Etcd, servers: Servers) -> AsyncIterator[None]:
    store = await EtcdStore.open(etcd.options)
    # so few addresses of the second family that the servers often choose the same one
    options = ApiServerOptions(advertise_address=f"10.42.0.{len(servers.named) + 1}", service_range6="fd00:43::/124")
    servers.named.append(options.advertise_address)
    api = ApiServer(store, options, SystemClock(), SystemRandomness())
    try:
        await api.start()
        servers.stores.append(store)
        servers.clients.append(Client(MemoryTransport(api.handle, ADMIN)))
        yield
    finally:
        await api.close()
        await store.close()


def play(etcd: Etcd, body: Callable[[Servers], Awaitable[None]]) -> None:
    async def main() -> None:
        await etcd.wipe()
        servers = Servers()
        async with AsyncExitStack() as stack:
            # all begin at once with an empty store: each makes what is missing
            await asyncio.gather(*(stack.enter_async_context(opened(etcd, servers)) for _ in range(SERVERS)))
            async with asyncio.timeout(60):
                await body(servers)

    asyncio.run(main())


def config_map(name: str, **data: str) -> core_v1.ConfigMap:
    return core_v1.ConfigMap(metadata=meta_v1.ObjectMeta(name=name, namespace="default"), data=data)


def service(name: str, address: str = "", node_port: int = 0, kind: str = "NodePort") -> core_v1.Service:
    port = core_v1.ServicePort(port=80, node_port=node_port)
    spec = core_v1.ServiceSpec(cluster_ip=address, ports=[port], type=kind, selector={"a": "b"})
    return core_v1.Service(metadata=meta_v1.ObjectMeta(name=name, namespace="default"), spec=spec)


def test_what_one_server_acknowledged_the_other_shows(etcd: Etcd) -> None:
    async def body(servers: Servers) -> None:
        one, two = servers.clients
        for number in range(25):
            name = f"m{number}"
            made = await one.create(config_map(name, a="1"))
            seen = await two.get(core_v1.ConfigMap, name, "default")
            assert seen.metadata.resource_version == made.metadata.resource_version
            await two.patch(core_v1.ConfigMap, name, "default", patch={"data": {"a": "2"}})
            assert (await one.get(core_v1.ConfigMap, name, "default")).data == {"a": "2"}
            listed = await one.list(core_v1.ConfigMap, "default")
            assert name in {item.metadata.name for item in listed.items}
            await one.delete(core_v1.ConfigMap, name, "default")
            with pytest.raises(ApiError) as gone:
                await two.get(core_v1.ConfigMap, name, "default")
            assert gone.value.reason == "NotFound"
            one, two = two, one

    play(etcd, body)


def test_a_namespace_made_by_one_server_takes_objects_from_the_other(etcd: Etcd) -> None:
    async def body(servers: Servers) -> None:
        one, two = servers.clients
        for number in range(10):
            await one.create(core_v1.Namespace(metadata=meta_v1.ObjectMeta(name=f"n{number}")))
            made = config_map("a")
            made.metadata.namespace = f"n{number}"
            await two.create(made)

    play(etcd, body)


def test_writers_on_both_servers_never_lose_each_others_changes(etcd: Etcd) -> None:
    async def body(servers: Servers) -> None:
        one, two = servers.clients
        made = await one.create(config_map("shared"))
        patches = [
            client.patch(core_v1.ConfigMap, "shared", "default", patch={"data": {f"{side}{number}": "x"}})
            for number in range(15)
            for side, client in enumerate((one, two))
        ]
        await asyncio.gather(*patches)
        assert len((await two.get(core_v1.ConfigMap, "shared", "default")).data) == 30
        with pytest.raises(ApiError) as stale:
            await two.update(made)
        assert stale.value.reason == "Conflict"

    play(etcd, body)


def test_of_two_services_at_once_one_gets_the_port(etcd: Etcd) -> None:
    async def body(servers: Servers) -> None:
        one, two = servers.clients
        for port in range(30100, 30108):
            outcomes = await asyncio.gather(
                one.create(service(f"a{port}", node_port=port)),
                two.create(service(f"b{port}", node_port=port)),
                return_exceptions=True,
            )
            refused = [outcome for outcome in outcomes if isinstance(outcome, ApiError)]
            assert len(refused) == 1, outcomes
            assert (refused[0].code, refused[0].reason) == (422, "Invalid")
            assert "provided port is already allocated" in refused[0].message

    play(etcd, body)


def test_addresses_are_given_out_once_and_can_be_used_again_at_once(etcd: Etcd) -> None:
    async def body(servers: Servers) -> None:
        made = await asyncio.gather(
            *(servers.clients[n % 2].create(service(f"s{n}", kind="ClusterIP")) for n in range(30))
        )
        addresses = {one.spec.cluster_ip for one in made}
        assert len(addresses) == 30
        for number, client in enumerate(servers.clients * 3):
            other = servers.clients[1 - number % 2]
            name, address = made[number].metadata.name, made[number].spec.cluster_ip
            await client.delete(core_v1.Service, name, "default")
            await other.create(service(f"again-{number}", address))
            with pytest.raises(ApiError) as taken:
                await client.create(service(f"late-{number}", address))
            assert "provided IP is already allocated" in taken.value.message
        # what nobody holds is given back in the end
        services = (await servers.clients[0].list(core_v1.Service, "")).items
        held = {one.spec.cluster_ip for one in services if one.spec.cluster_ip != "None"}
        claimed: set[str] = set()
        while claimed != held:
            claimed = {
                one.key.rpartition("/")[2] for one in (await servers.stores[0].list(f"{CLAIMS}serviceips/")).items
            }
            await asyncio.sleep(0.05)

    play(etcd, body)


def test_pairs_of_addresses_are_given_out_once(etcd: Etcd) -> None:
    async def body(servers: Servers) -> None:
        def wanted(number: int) -> core_v1.Service:
            one = service(f"s{number}", kind="ClusterIP")
            one.spec.ip_family_policy = "RequireDualStack"
            return one

        made = await asyncio.gather(*(servers.clients[n % 2].create(wanted(n)) for n in range(15)))
        pairs = [one.spec.cluster_ips for one in made]
        assert all(first.startswith("10.43.") and second.startswith("fd00:43::") for first, second in pairs)
        assert len({address for pair in pairs for address in pair}) == 30
        with pytest.raises(ApiError) as full:
            await servers.clients[0].create(wanted(15))
        assert "range is full" in full.value.message
        # the first address of what was not made is nobody's, and a second one is free again with its policy
        found = (await servers.clients[1].list(core_v1.Service, "default")).items
        assert len(found) == 16, "these, and `kubernetes`"
        patch = {"spec": {"ipFamilyPolicy": "SingleStack"}}
        await servers.clients[1].patch(core_v1.Service, "s0", "default", patch=patch)
        again = await servers.clients[0].create(wanted(15))
        assert again.spec.cluster_ips[1] == pairs[0][1]

    play(etcd, body)


def test_watchers_of_all_servers_hear_the_same(etcd: Etcd) -> None:
    async def body(servers: Servers) -> None:
        heard: list[list[tuple[str, str, str]]] = [[], []]
        start = (await servers.clients[0].list(core_v1.ConfigMap, "default")).resource_version

        async def follow(number: int) -> None:
            client = servers.clients[number]
            async with client.watch(core_v1.ConfigMap, "default", resource_version=start) as events:
                async for event in events:
                    assert isinstance(event.object, core_v1.ConfigMap)
                    metadata = event.object.metadata
                    heard[number].append((event.type, metadata.name, metadata.resource_version))
                    if metadata.name == "last":
                        return

        watching = [asyncio.create_task(follow(number)) for number in range(SERVERS)]
        await asyncio.gather(*(servers.clients[n % 2].create(config_map(f"m{n}")) for n in range(40)))
        await asyncio.gather(
            *(servers.clients[n % 2].delete(core_v1.ConfigMap, f"m{n}", "default") for n in range(0, 40, 2))
        )
        await servers.clients[0].create(config_map("last"))
        await asyncio.gather(*watching)
        assert heard[0] == heard[1]
        assert len(heard[0]) == 61
        versions = [int(version) for _, _, version in heard[0]]
        assert versions == sorted(set(versions))

    play(etcd, body)


def test_the_kubernetes_service_leads_to_the_servers_that_live(etcd: Etcd) -> None:
    async def addresses(client: Client) -> tuple[list[str], list[str]]:
        endpoints = await client.get(core_v1.Endpoints, "kubernetes", "default")
        piece = await client.get(discovery_v1.EndpointSlice, "kubernetes", "default")
        return (
            [one.ip for subset in endpoints.subsets for one in subset.addresses],
            [address for one in piece.endpoints or () for address in one.addresses],
        )

    async def body(servers: Servers) -> None:
        one = servers.clients[0]
        async with asyncio.timeout(30), opened(etcd, servers):
            # each start says who lives; two that start at once may overlook each other until they look again
            assert "10.42.0.3" in (await addresses(one))[0]
        left, pieces = await addresses(one)
        assert left == pieces == ["10.42.0.1", "10.42.0.2"]

    play(etcd, body)
