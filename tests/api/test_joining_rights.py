"""What somebody may ask who is about to join: nobody in particular, the holder of a token, a node.

Source: kubeadm `phases/bootstraptoken` (clusterinfo, node), which makes the same roles with other names.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from carob.api.status import ApiError
from carob.api.types import authorization_v1, core_v1
from carob.api.user import ANONYMOUS, UserInfo
from carob.apiserver.options import ApiServerOptions
from carob.apiserver.pki import PkiOptions, ensure_pki
from carob.apiserver.server import ApiServer
from carob.base.clock import SystemClock
from carob.base.ids import SystemRandomness
from carob.client.rest import Client
from carob.store.memory import MemoryStore
from carob.transport.memory import MemoryTransport

ADMIN = UserInfo("admin", ("system:masters", "system:authenticated"))
HOLDER = UserInfo(
    "system:bootstrap:abcdef",
    ("system:bootstrappers", "system:bootstrappers:carob:default-node-token", "system:authenticated"),
)
NODE = UserInfo("system:node:a", ("system:nodes", "system:authenticated"))


STORE = MemoryStore()


def with_server(folder: Path, body: Callable[[Callable[[UserInfo], Client]], Awaitable[None]], address: str) -> None:
    """Run the body against a server at this address, whose state another one may have begun."""

    async def main() -> None:
        clock = SystemClock()
        authority = ensure_pki(folder, PkiOptions(), clock.now()).ca.certificate.read_bytes()
        options = ApiServerOptions(
            advertise_address=address, client_ca_pem=authority, node_config={"cluster-cidr": "10.42.0.0/16"}
        )
        server = ApiServer(STORE, options, clock, SystemRandomness())
        await server.start()
        try:
            await body(lambda user: Client(MemoryTransport(server.handle, user)))
        finally:
            await server.close()

    asyncio.run(main())


async def may(client: Client, verb: str, resource: str, subresource: str = "") -> bool:
    attributes = authorization_v1.ResourceAttributes(
        verb=verb, group="certificates.k8s.io", resource=resource, subresource=subresource
    )
    spec = authorization_v1.SelfSubjectAccessReviewSpec(resource_attributes=attributes)
    answer = await client.create(authorization_v1.SelfSubjectAccessReview(spec=spec))
    return answer.status.allowed


def test_who_wants_to_join_may_ask_for_what_it_takes_and_for_nothing_else(tmp_path: Path) -> None:
    async def body(client_of: Callable[[UserInfo], Client]) -> None:
        nobody, holder, node = map(client_of, (ANONYMOUS, HOLDER, NODE))
        info = await nobody.get(core_v1.ConfigMap, "cluster-info", "kube-public")
        authority = (tmp_path / "ca.crt").read_bytes()
        assert f"certificate-authority-data: {base64.b64encode(authority).decode()}\n" in info.data["kubeconfig"]
        assert "server: https://192.0.2.7:6443\n" in info.data["kubeconfig"]
        for client in (holder, node):
            config = await client.get(core_v1.ConfigMap, "carob-node-config", "kube-system")
            assert config.data["cluster-cidr"] == "10.42.0.0/16"
            assert await may(client, "create", "certificatesigningrequests")
        assert await may(holder, "create", "certificatesigningrequests", "nodeclient")
        assert await may(node, "create", "certificatesigningrequests", "selfnodeclient")
        assert not await may(holder, "approve", "signers")
        with pytest.raises(ApiError, match="forbidden"):
            await nobody.get(core_v1.ConfigMap, "carob-node-config", "kube-system")
        with pytest.raises(ApiError, match="forbidden"):
            await holder.list(core_v1.Secret, "kube-system")
        # as the controller that signs it does
        signed = {"data": {"jws-kubeconfig-abcdef": "signature"}}
        await client_of(ADMIN).patch(core_v1.ConfigMap, "cluster-info", "kube-public", patch=signed)

    with_server(tmp_path, body, "192.0.2.7")

    async def moved(client_of: Callable[[UserInfo], Client]) -> None:
        info = await client_of(ANONYMOUS).get(core_v1.ConfigMap, "cluster-info", "kube-public")
        assert "server: https://192.0.2.8:6443\n" in info.data["kubeconfig"]
        assert info.data["jws-kubeconfig-abcdef"] == "signature"

    with_server(tmp_path, moved, "192.0.2.8")
