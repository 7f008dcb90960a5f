"""How this machine's node becomes a member of a cluster whose servers are elsewhere: once, with a token.

The authority's certificate is fetched from a server that nobody vouches for, and believed because its key is the one that
the token pins; from then on TLS is checked. With the token the node gets a client certificate of its own and reads what
it must know of the cluster. Nothing else is ever asked with the token.

May touch: the node's `pki` folder, sockets. Starts no thread, for the process enters its namespaces afterwards.
Source: kubeadm `join` (discovery/token), kubelet TLS bootstrap (`certificate/bootstrap`).
"""

from __future__ import annotations

import asyncio
import hmac
import re
import socket
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from carob.api.status import ApiError
from carob.api.types import core_v1
from carob.api.x509 import pem_to_der, public_key_digest
from carob.base.clock import SystemClock
from carob.base.ids import SystemRandomness
from carob.client.rest import Client
from carob.client.signing import KUBELET_CLIENT, SigningRefused, Wanted, certify
from carob.kubelet.certificates import KeptCertificate
from carob.transport.client import SocketTransport
from carob.transport.failover import FailoverTransport
from carob.transport.tls import client_context

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from carob.api.join_token import JoinToken
    from carob.base.layout import Cluster, NodeLayout

SIGN_SECONDS = 60.0
PATIENCE_SECONDS = 10.0
_AUTHORITY = re.compile(r"^\s*certificate-authority-data: (\S+)$", re.MULTILINE)


class JoinFailure(Exception):
    """The node cannot join, or is no member any more; the text says why, and what helps."""


class Moved(Exception):
    """The machine has another address now, the text: its node begins anew there."""


def pki_of(cluster: Cluster, node: str) -> Path:
    """Where a node that has joined keeps its certificates."""
    return cluster.node_dir(node) / "pki"


def client_certificate(name: str) -> Wanted:
    """As whom a node speaks to the servers."""
    return Wanted(KUBELET_CLIENT, f"system:node:{name}", ("system:nodes",))


def own_address(servers: Sequence[str]) -> str:
    """The address of this machine with which the way to the servers begins, to the first one that has a way. Nothing is
    sent. Raises: JoinFailure."""
    words: list[str] = []
    for server in servers:
        parts = urlsplit(server)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            try:
                probe.connect((parts.hostname or "", parts.port or 443))
            except OSError as error:
                words.append(f"{server}: {error.strerror or error}")
                continue
            address: str = probe.getsockname()[0]
            return address
    raise JoinFailure(f"this machine has no way to {'; '.join(words)}")


def join(cluster: Cluster, node: NodeLayout, token: JoinToken) -> None:
    """Get the authority and the node's client certificate into its `pki` folder, and the ranges into `cluster`.

    Shape: `cluster.servers` are URLs. Nothing is written of a cluster that is not believed. Raises: JoinFailure, OSError.
    """
    asyncio.run(_join(cluster, node, token))


async def _join(cluster: Cluster, node: NodeLayout, token: JoinToken) -> None:
    if not token.pin:
        raise JoinFailure(
            "the token does not say by what to know the cluster; take the whole one that `carob token create` prints "
            "(K10…::…), or give --discovery-token-ca-cert-hash sha256:…"
        )
    authority, info = await _discover(cluster.servers, token)
    folder = pki_of(cluster, node.name)
    context = client_context(ca_data=authority.decode())
    roads = [SocketTransport(url, tls=context, token=token.bearer) for url in cluster.servers]
    road = FailoverTransport(roads, patience_seconds=PATIENCE_SECONDS)
    client = Client(road, user_agent="carob-join")
    try:
        config = await client.get(core_v1.ConfigMap, "carob-node-config", "kube-system")
        _describe(cluster, config.data)
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        (folder / "ca.crt").write_bytes(authority)
        kept = KeptCertificate(
            folder / "client.pem",
            lambda: client_certificate(node.name),
            lambda wanted: certify(client, wanted, prefix="node-csr-"),
            SystemClock(),
            SystemRandomness(),
        )
        async with asyncio.timeout(SIGN_SECONDS):
            await kept.renew()
    except ApiError as error:
        raise JoinFailure(_refusal(error, info, token)) from error
    except SigningRefused as error:
        raise JoinFailure(f"the node's certificate was refused: {error}") from error
    except TimeoutError as error:
        raise JoinFailure(
            f"nobody approved and signed the node's certificate within {SIGN_SECONDS:.0f} s; `carob get csr` shows it"
        ) from error
    except ConnectionError as error:
        raise JoinFailure(f"{error} (a server's certificate has the names that `--tls-san` gave it)") from error
    finally:
        await road.close()


async def _discover(servers: Sequence[str], token: JoinToken) -> tuple[bytes, core_v1.ConfigMap]:
    """The authority's certificate (PEM), if it is the pinned one, and what said so. Raises: JoinFailure."""
    roads = [SocketTransport(url, tls=client_context(insecure=True)) for url in servers]
    road = FailoverTransport(roads, patience_seconds=PATIENCE_SECONDS)
    try:
        info = await Client(road, user_agent="carob-join").get(core_v1.ConfigMap, "cluster-info", "kube-public")
    except ConnectionError as error:
        raise JoinFailure(f"no server can be reached: {error}") from error
    except ApiError as error:
        raise JoinFailure(
            f"{', '.join(servers)} is no server that nodes can join: it does not show kube-public/cluster-info "
            f"({error.message})"
        ) from error
    finally:
        await road.close()
    match = _AUTHORITY.search(info.data.get("kubeconfig", ""))
    try:
        authority = _decoded(match[1]) if match else b""
        digest = public_key_digest(pem_to_der(authority))
    except ValueError as error:
        raise JoinFailure("kube-public/cluster-info of the server names no authority") from error
    if not hmac.compare_digest(digest, token.pin):
        raise JoinFailure(
            f"the authority of {', '.join(servers)} is not the pinned one: its key is sha256:{digest}, the token says "
            f"sha256:{token.pin}; the token is another cluster's, or somebody stands between"
        )
    return authority, info


def _decoded(text: str) -> bytes:
    import base64

    return base64.b64decode(text, validate=True)


def _describe(cluster: Cluster, config: dict[str, str]) -> None:
    try:
        cluster.origin = config["cluster-name"]
        cluster.pod_cidr, _, cluster.pod_cidr6 = config["cluster-cidr"].partition(",")
        cluster.service_cidr, _, cluster.service_cidr6 = config["service-cluster-ip-range"].partition(",")
        cluster.domain = config["cluster-domain"]
        cluster.node_monitor_grace_seconds = float(config["node-monitor-grace-seconds"])
    except (KeyError, ValueError) as error:
        raise JoinFailure(f"kube-system/carob-node-config of the cluster is incomplete: {error}") from error


def _refusal(error: ApiError, info: core_v1.ConfigMap, token: JoinToken) -> str:
    """What an API error means for who holds a token."""
    if error.code != 401:
        return f"the token does not let a node join: {error.message}"
    from carob.controllers.bootstrap_tokens import SIGNATURE_PREFIX, detached_signature

    signature = info.data.get(SIGNATURE_PREFIX + token.token_id)
    again = "; `carob token create` on a server makes a new one"
    if signature is None:
        return f'the cluster knows no token "{token.token_id}": it has expired, or was deleted{again}'
    if signature != detached_signature(info.data.get("kubeconfig", ""), token.token_id, token.secret):
        return f'the secret part of the token "{token.token_id}" is wrong'
    return f'the token "{token.token_id}" is not for joining, or has just expired{again}'
