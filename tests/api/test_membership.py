"""A node joins a real server over TLS, gets what it needs, and renews it: the server sees another certificate each time.

The year of a certificate passes on the node's own clock; the signer's is set along with it, and both stay in the past, for
TLS itself asks the machine's.
"""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from carob.api.join_token import JoinToken
from carob.api.status import ApiError
from carob.api.types import authentication_v1, core_v1, meta_v1
from carob.api.user import UserInfo
from carob.api.x509 import pem_to_der, public_key_digest
from carob.apiserver.options import ApiServerOptions
from carob.apiserver.pki import DAY_SECONDS, Pki, PkiOptions, ensure_pki
from carob.apiserver.server import ApiServer
from carob.base.clock import SystemClock, VirtualClock
from carob.base.ids import SystemRandomness
from carob.base.layout import Cluster, NodeLayout
from carob.client.rest import Client
from carob.controllers.node_ranges import Ranges
from carob.controllers.runner import ControllerOptions, Controllers
from carob.kubelet.options import KubeletOptions
from carob.standalone.joining import JoinFailure, join
from carob.standalone.membership import NETWORK, NODE, JoinedAccess
from carob.store.memory import MemoryStore
from carob.transport.memory import MemoryTransport
from carob.transport.server import Server
from carob.transport.tls import server_context

MASTERS = ("system:masters", "system:authenticated")
GROUP = "system:bootstrappers:carob:default-node-token"
CONFIG = {
    "cluster-name": "far",
    "cluster-cidr": "10.42.0.0/16",
    "service-cluster-ip-range": "10.43.0.0/16",
    "cluster-domain": "cluster.local",
    "node-monitor-grace-seconds": "40",
}


class ShiftedClock(SystemClock):
    """The machine's, some days ago."""

    days_ago = 0.0

    def now(self) -> float:
        return super().now() - self.days_ago * DAY_SECONDS


@dataclass
class World:
    folder: Path
    pki: Pki
    url: str
    admin: Client
    signer: ShiftedClock

    def machine(self, name: str) -> tuple[Cluster, NodeLayout]:
        """A machine that knows nothing yet."""
        cluster = Cluster(name, str(self.folder / name), str(self.folder / "run"), str(self.folder / "log"))
        node = NodeLayout(name, "127.0.0.1", "", address_given=True)
        cluster.nodes, cluster.servers = [node], [self.url]
        return cluster, node

    async def token(self) -> JoinToken:
        fields = {"token-id": "abcdef", "token-secret": "0123456789abcdef", "usage-bootstrap-authentication": "true"}
        fields |= {"auth-extra-groups": GROUP, "usage-bootstrap-signing": "true"}
        data = {key: base64.b64encode(value.encode()).decode() for key, value in fields.items()}
        metadata = meta_v1.ObjectMeta(name="bootstrap-token-abcdef", namespace="kube-system")
        await self.admin.create(core_v1.Secret(metadata=metadata, type="bootstrap.kubernetes.io/token", data=data))
        pin = public_key_digest(pem_to_der(self.pki.ca.certificate.read_bytes()))
        return JoinToken("abcdef", "0123456789abcdef", pin)

    def options(self, name: str, **more: object) -> KubeletOptions:
        return KubeletOptions(node_name=name, root=str(self.folder), log_root=str(self.folder), **more)  # type: ignore[arg-type]


def in_world(folder: Path, body: Callable[[World], Awaitable[None]]) -> None:
    async def main() -> None:
        clock, randomness, signer = SystemClock(), SystemRandomness(), ShiftedClock()
        pki = ensure_pki(folder / "pki", PkiOptions(), clock.now())
        authority = pki.ca.certificate.read_bytes()
        api = ApiServer(MemoryStore(), ApiServerOptions(client_ca_pem=authority, node_config=CONFIG), clock, randomness)
        await api.start()
        admin = Client(MemoryTransport(api.handle, UserInfo("admin", MASTERS)))
        options = ControllerOptions(pki.ca.certificate, pki.ca.key, node_ranges=[Ranges(CONFIG["cluster-cidr"], 24)])
        tls = server_context(str(pki.server.certificate), str(pki.server.key), client_ca_file=str(pki.ca.certificate))
        controllers = asyncio.create_task(Controllers(admin, signer, randomness, options).run())
        try:
            async with Server(api.handle, clock, tls=tls) as server:
                url = f"https://127.0.0.1:{await server.listen('127.0.0.1', 0)}"
                await body(World(folder, pki, url, admin, signer))
        finally:
            controllers.cancel()
            await asyncio.gather(controllers, return_exceptions=True)
            await api.close()

    asyncio.run(main())


async def seen(client: Client) -> tuple[str, str]:
    """As whom the server knows us, and by which certificate."""
    user = (await client.create(authentication_v1.SelfSubjectReview())).status.user_info
    return user.username, user.extra["authentication.kubernetes.io/credential-id"][0]


def test_a_node_joins_and_its_certificates_are_renewed_before_they_end(tmp_path: Path) -> None:
    async def body(world: World) -> None:
        world.signer.days_ago = 340
        cluster, node = world.machine("n1")
        await asyncio.to_thread(join, cluster, node, await world.token())
        assert (cluster.origin, cluster.domain) == ("far", "cluster.local")
        clock = VirtualClock(world.signer.now())
        access = JoinedAccess(cluster, node, clock, SystemRandomness())
        await access.open(world.options("n1", labels={"disk": "ssd"}))
        assert node.pod_cidr == "10.42.255.0/24"
        assert (await world.admin.get(core_v1.Node, "n1")).metadata.labels["disk"] == "ssd"
        clients = {who: Client(access.transport(who)) for who in (NODE, NETWORK)}
        before = {who: await seen(client) for who, client in clients.items()}
        assert before[NODE][0] == "system:node:n1"
        assert before[NETWORK][0] == "system:carob:network:n1"
        assert len((await clients[NETWORK].list(core_v1.Node)).items) == 1
        with pytest.raises(ApiError, match="only its own Node object"):
            await clients[NODE].list(core_v1.Node)
        shown = access.server_context()
        files = {file.name: file.read_bytes() for file in (tmp_path / "n1" / "n1" / "pki").glob("*.pem")}
        assert sorted(files) == ["client.pem", "network.pem", "server.pem"]
        task = asyncio.create_task(access.run())
        try:
            await clock.advance(0)
            world.signer.days_ago = 10
            await clock.advance(330 * DAY_SECONDS)
            end = time.monotonic() + 60
            folder = tmp_path / "n1" / "n1" / "pki"
            while any((folder / name).read_bytes() == content for name, content in files.items()):
                assert time.monotonic() < end, "not renewed"
                # a request that was under way when the node's own certificate changed is made once more
                await clock.advance(1)
                await asyncio.sleep(0.01)
            for who, client in clients.items():
                while await seen(client) == before[who]:
                    assert time.monotonic() < end, "the old certificate is still shown"
                    await asyncio.sleep(0.01)
                assert (await seen(client))[0] == before[who][0]
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await access.close()
        assert shown is not None
        # the next start of the same machine has all that it needs, and keeps its range
        again = JoinedAccess(cluster, node, VirtualClock(world.signer.now()), SystemRandomness())
        kept = {name: (folder / name).read_bytes() for name in files}
        node.pod_cidr = ""
        await again.open(world.options("n1"))
        await again.close()
        assert node.pod_cidr == "10.42.255.0/24"
        assert kept == {name: (folder / name).read_bytes() for name in files}

    in_world(tmp_path, body)


def test_who_is_not_taken_is_told_why(tmp_path: Path) -> None:
    async def body(world: World) -> None:
        token = await world.token()
        cluster, node = world.machine("n1")
        await asyncio.to_thread(join, cluster, node, token)
        access = JoinedAccess(cluster, node, SystemClock(), SystemRandomness())
        with pytest.raises(JoinFailure, match=r"does not take n1 as a node: .*node-role\.kubernetes\.io/db"):
            await access.open(world.options("n1", labels={"node-role.kubernetes.io/db": ""}))
        await access.close()
        (tmp_path / "n1" / "n1" / "pki" / "client.pem").unlink()
        lost = JoinedAccess(cluster, node, SystemClock(), SystemRandomness())
        with pytest.raises(JoinFailure, match="has expired or is gone; start it with --server and --token again"):
            await lost.open(world.options("n1"))

    in_world(tmp_path, body)


def test_without_a_server_a_member_goes_on_with_what_it_has(tmp_path: Path) -> None:
    async def body(world: World) -> None:
        cluster, node = world.machine("n1")
        await asyncio.to_thread(join, cluster, node, await world.token())
        access = JoinedAccess(cluster, node, SystemClock(), SystemRandomness())
        await access.open(world.options("n1"))
        await access.close()
        cluster.servers, node.pod_cidr = ["https://127.0.0.1:1"], ""
        (tmp_path / "n1" / "n1" / "membership.json").write_bytes(b'{"pod_range":"10.42.255.0/24","uid":"u"}')
        alone = JoinedAccess(cluster, node, SystemClock(), SystemRandomness())
        await alone.open(world.options("n1"))
        await alone.close()
        assert node.pod_cidr == "10.42.255.0/24"

    in_world(tmp_path, body)
