"""By what a node speaks to the servers and they to it: roads, certificates, and its Pod range.

A node of the server's own machine finds its certificates in the server's folder. One that has joined from elsewhere has
its own: it registers, takes the Pod range that the cluster gives it, asks for what it lacks, and renews all in time. What
it must find again without a server lies in its folder.

Both know every server that the `kubernetes` Service knows, and go on with another one when theirs is gone.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import msgspec

from carob.api import codec
from carob.api.status import ApiError
from carob.api.types import core_v1
from carob.apiserver.pki import Pki
from carob.base.log import get_logger, pairs
from carob.base.tasks import TaskGroup
from carob.client.rest import Client
from carob.client.signing import CLIENT, KUBELET_SERVING, SERVER_USAGES, SigningRefused, Wanted, certify
from carob.kubelet import node_status
from carob.kubelet.certificates import KeptCertificate
from carob.kubelet.machine import read_machine
from carob.standalone.joining import PATIENCE_SECONDS, JoinFailure, Moved, client_certificate, own_address, pki_of
from carob.standalone.renewal import Renewal
from carob.transport.client import SocketTransport
from carob.transport.failover import FailoverTransport
from carob.transport.tls import client_context, server_context

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterable
    from pathlib import Path

    from carob.base.clock import Clock
    from carob.base.ids import Randomness
    from carob.base.layout import Cluster, NodeLayout
    from carob.kubelet.options import KubeletOptions

AGAIN_SECONDS = 0.5
ADDRESS_SECONDS = 5.0
LONGEST_AGAIN_SECONDS = 10.0
NODE, NETWORK = "client", "network"
"""As whom: the node itself, or who programs its network, which sees every Service and Pod."""

_log = get_logger("membership")


class Access:
    """A node's roads to the servers, over all of them. `urls` come first, and stay."""

    former_range = ""
    """The Pod range before `open`, where it is another one now."""

    def __init__(self, urls: Iterable[str]) -> None:
        self._given = list(urls)
        self._urls = list(self._given)
        self._contexts: dict[str, ssl.SSLContext] = {}
        self._roads: dict[str, dict[str, SocketTransport]] = {}
        self._transports: dict[str, FailoverTransport] = {}

    @property
    def urls(self) -> list[str]:
        """Every server that is known."""
        return self._urls

    async def open(self, options: KubeletOptions) -> None:
        """Return when there is a Pod range and there are certificates."""

    async def run(self) -> None:
        """Keep the certificates valid until cancelled."""
        await asyncio.get_running_loop().create_future()

    def transport(self, who: str) -> FailoverTransport:
        """The road of NODE or of NETWORK."""
        if who not in self._transports:
            self._contexts[who] = self._client_context(who)
            self._roads[who] = {}
            self._transports[who] = FailoverTransport(self._all(who), patience_seconds=PATIENCE_SECONDS)
        return self._transports[who]

    def server_context(self) -> ssl.SSLContext:
        """What the kubelet shows to its callers."""
        raise NotImplementedError

    def _client_context(self, who: str) -> ssl.SSLContext:
        raise NotImplementedError

    def _all(self, who: str) -> list[SocketTransport]:
        roads, context = self._roads[who], self._contexts[who]
        for url in self._urls:
            if url not in roads:
                roads[url] = SocketTransport(url, tls=context)
        return [roads[url] for url in self._urls]

    def _reconnect(self, who: str) -> None:
        """The old certificate is not to be seen any more."""
        for road in self._roads[who].values():
            road.reconnect()

    def learn(self, urls: Iterable[str]) -> bool:
        """Where the servers are now, by the cluster's own word; whether that is new."""
        known = list(dict.fromkeys((*self._given, *urls)))
        if known == self._urls:
            return False
        _log.info("servers %s", pairs(urls=",".join(known)))
        self._urls = known
        for who, transport in self._transports.items():
            transport.replace(self._all(who))
        return True

    async def close(self) -> None:
        """Cut every road."""
        for roads in self._roads.values():
            for road in roads.values():
                await road.close()


class LocalAccess(Access):
    """Of a node of the server's machine, whose certificates the server makes."""

    def __init__(self, cluster: Cluster, node: NodeLayout, clock: Clock) -> None:
        super().__init__([f"https://{cluster.inside_address}:{cluster.api_port}"])
        self._pki = Pki(cluster.pki_dir)
        self._name = node.name
        self._renewal = Renewal(clock)

    async def run(self) -> None:
        await self._renewal.run()

    def server_context(self) -> ssl.SSLContext:
        pair = self._pki.node_server(self._name)
        context = server_context(str(pair.certificate), str(pair.key), client_ca_file=str(self._pki.ca.certificate))
        self._renewal.show(pair.certificate, lambda: context.load_cert_chain(pair.certificate, pair.key))
        return context

    def _client_context(self, who: str) -> ssl.SSLContext:
        pair = self._pki.pair(f"node-{self._name}-{who}")
        context = client_context(
            ca_file=str(self._pki.ca.certificate), certificate_file=str(pair.certificate), key_file=str(pair.key)
        )

        def show() -> None:
            context.load_cert_chain(pair.certificate, pair.key)
            self._reconnect(who)

        self._renewal.show(pair.certificate, show)
        return context


class _Kept(msgspec.Struct):
    """What a member knows without asking."""

    pod_range: str = ""
    pod_range6: str = ""
    uid: str = ""
    servers: list[str] = []


class JoinedAccess(Access):
    """Of a node that has joined. `node.pod_cidr` is set by `open`, and what is its second family's."""

    def __init__(self, cluster: Cluster, node: NodeLayout, clock: Clock, randomness: Randomness) -> None:
        super().__init__(cluster.servers)
        self._node = node
        self._clock = clock
        self._folder = pki_of(cluster, node.name)
        self._file = cluster.node_dir(node.name) / "membership.json"
        self._kept = self._load()
        self._address6 = node.address6
        if self._kept.pod_range6:
            self._use_ranges()
        self._serving: ssl.SSLContext | None = None
        name = node.name
        serving = Wanted(KUBELET_SERVING, f"system:node:{name}", ("system:nodes",), (name, node.address), SERVER_USAGES)
        network = Wanted(CLIENT, f"system:carob:network:{name}", ("system:carob:node-network",))
        self._certificates = {
            who: KeptCertificate(
                self._folder / f"{who}.pem", partial(_itself, wanted), self._certify, clock, randomness
            )
            for who, wanted in ((NODE, client_certificate(name)), (NETWORK, network), ("server", serving))
        }
        self.learn(self._kept.servers)

    async def _certify(self, wanted: Wanted) -> bytes:
        return await certify(Client(self.transport(NODE), user_agent="kubelet"), wanted)

    async def open(self, options: KubeletOptions) -> None:
        """Return when the node is registered, has a Pod range, and every certificate. Raises: JoinFailure."""
        if not self._certificates[NODE].good():
            raise JoinFailure(
                f"the certificate of {self._node.name} has expired or is gone; start it with --server and --token again"
            )
        wait, said = AGAIN_SECONDS, False
        while True:
            try:
                await self._open(options)
                return
            except ApiError as error:
                if error.code in (401, 403, 422):
                    raise JoinFailure(
                        f"the cluster does not take {self._node.name} as a node: {error.message}"
                    ) from error
                why = error.message
            except (SigningRefused, ConnectionError) as error:
                why = str(error)
            if self._kept.pod_range and all(kept.good() for kept in self._certificates.values()):
                # what ran here before can run without a server
                self._use_ranges()
                _log.warning("no server answers: %s", why)
                return
            if not said:
                _log.warning("waiting for the cluster: %s", why)
                said = True
            await self._clock.sleep(wait)
            wait = min(wait * 2, LONGEST_AGAIN_SECONDS)

    async def _open(self, options: KubeletOptions) -> None:
        client = Client(self.transport(NODE), user_agent="kubelet")
        node = await self._register(client, options)
        while not node.spec.pod_cidr:
            node = await self._with_range(client)
        kept = self._kept
        range6 = next((text for text in node.spec.pod_cidrs if ":" in text), "")
        if kept.pod_range and (kept.pod_range, kept.pod_range6) != (node.spec.pod_cidr, range6):
            self.former_range = kept.pod_range
        kept.pod_range, kept.pod_range6 = node.spec.pod_cidr, range6
        self._use_ranges()
        kept.uid = node.metadata.uid
        self._save()
        async with TaskGroup() as group:
            for who in (NETWORK, "server"):
                group.spawn(self._certificates[who].ensure(), f"certificate {who}")

    def _use_ranges(self) -> None:
        """Its second address is the first one of its second range, unless the user chose one."""
        node, kept = self._node, self._kept
        node.pod_cidr, node.pod_cidr6 = kept.pod_range, kept.pod_range6
        node.address6 = self._address6 or node.inside_address6

    async def _register(self, client: Client, options: KubeletOptions) -> core_v1.Node:
        """The Node, with our address. Its kubelet says later that it is ready."""
        wanted = node_status.node_object(options, read_machine())
        addresses = [one for one in (self._node.address, self._node.address6) if one]
        wanted.status.addresses = [
            *(core_v1.NodeAddress(type="InternalIP", address=one) for one in addresses),
            core_v1.NodeAddress(type="Hostname", address=self._node.name),
        ]
        try:
            return await client.create(wanted)
        except ApiError as error:
            if error.reason != "AlreadyExists":
                raise
        found = await client.get(core_v1.Node, self._node.name)
        if found.status.addresses == wanted.status.addresses:
            return found
        if not self._kept.uid and any(c.type == "Ready" and c.status == "True" for c in found.status.conditions):
            raise JoinFailure(
                f'a node "{self._node.name}" is in the cluster already, and Ready; give another name with --node-name'
            )
        patch: dict[str, Any] = {"status": {"addresses": codec.to_tree(wanted.status.addresses)}}
        return await client.patch(core_v1.Node, self._node.name, patch=patch, subresource="status")

    async def _with_range(self, client: Client) -> core_v1.Node:
        """The Node as soon as the cluster has given it a range."""
        _log.info("waiting for a Pod range")
        selector = f"metadata.name={self._node.name}"
        async with client.watch(core_v1.Node, field_selector=selector, send_initial_events=True) as events:
            async for event in events:
                if isinstance(event.object, core_v1.Node) and event.object.spec.pod_cidr:
                    return event.object
        return core_v1.Node()

    async def run(self) -> None:
        async with TaskGroup() as group:
            if not self._node.address_given:
                group.spawn(self._watch_address(), "own address")
            for who, certificate in self._certificates.items():
                group.spawn(certificate.keep(partial(self._renewed, who)), f"certificate {who}")

    async def _watch_address(self) -> None:
        """Raises: Moved. Without any way to a server the machine is cut off, and will say later where it is."""
        while True:
            await self._clock.sleep(ADDRESS_SECONDS)
            try:
                address = own_address([url for url in self.urls if _is_numeric(url)])
            except JoinFailure:
                continue
            if address != self._node.address:
                _log.warning("the node begins anew %s", pairs(address=address, before=self._node.address))
                raise Moved(address)

    def _renewed(self, who: str) -> None:
        """Show the new one: who asks from now on, and whom we ask, sees it."""
        file = str(self._certificates[who].file)
        if who == "server":
            if self._serving is not None:
                self._serving.load_cert_chain(file)
            return
        self._contexts[who].load_cert_chain(file)
        self._reconnect(who)

    def learn(self, urls: Iterable[str]) -> bool:
        """As for all, and for the next start."""
        if not super().learn(urls):
            return False
        self._kept.servers = self._urls
        self._save()
        return True

    def server_context(self) -> ssl.SSLContext:
        file = str(self._certificates["server"].file)
        self._serving = server_context(file, file, client_ca_file=str(self._folder / "ca.crt"))
        return self._serving

    def _client_context(self, who: str) -> ssl.SSLContext:
        return client_context(ca_file=str(self._folder / "ca.crt"), certificate_file=str(self._folder / f"{who}.pem"))

    def _load(self) -> _Kept:
        try:
            return msgspec.json.decode(self._file.read_bytes(), type=_Kept)
        except (OSError, msgspec.DecodeError):
            return _Kept()

    def _save(self) -> None:
        beside: Path = self._file.with_suffix(".tmp")
        beside.write_bytes(msgspec.json.encode(self._kept))
        beside.replace(self._file)


def _itself(wanted: Wanted) -> Wanted:
    return wanted


def _is_numeric(url: str) -> bool:
    """Whether nobody need be asked for the host's address."""
    host = urlsplit(url).hostname or ""
    return host.replace(".", "").isdigit()
