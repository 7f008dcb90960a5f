"""The server's process: store, API server, its sockets, and the parts that talk to the API within the process."""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

import msgspec

from carob.api import codec
from carob.api.features import Features
from carob.api.types import core_v1
from carob.api.user import UserInfo
from carob.apiserver.admission.pod_security_rules import PodSecurityRules
from carob.apiserver.authn.jwt_issuers import USUAL, AuthenticationRules, kept
from carob.apiserver.options import ApiServerOptions
from carob.apiserver.pki import PkiOptions, ensure_client, ensure_node_pki, ensure_pki
from carob.apiserver.server import ApiServer
from carob.base.clock import SystemClock
from carob.base.ids import SystemRandomness, new_uid
from carob.base.layout import Cluster
from carob.base.log import get_logger
from carob.base.readiness import LISTENING, READY, say
from carob.base.tasks import TaskGroup, supervise
from carob.client.rest import Client
from carob.controllers.node_ranges import Ranges
from carob.controllers.runner import ControllerOptions, Controllers
from carob.controllers.volumes.local_path import PROVISIONER
from carob.scheduler.scheduler import Scheduler
from carob.standalone.process import settle_memory
from carob.standalone.renewal import Renewal
from carob.standalone.stores import open_store
from carob.transport.http import Request, Response
from carob.transport.memory import MemoryTransport
from carob.transport.server import Server
from carob.transport.tls import server_context

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from carob.apiserver.audit.policy import AuditOptions
    from carob.apiserver.pki import Pki
    from carob.apiserver.types import RequestInfo
    from carob.base.layout import NodeLayout
    from carob.scheduler.profiles import Configuration
    from carob.simulated.fleet import SimulatedNodes
    from carob.standalone.election import Terms
    from carob.store.types import Store

_log = get_logger("server")

MASTERS = ("system:masters", "system:authenticated")
NODE_NETWORK_GROUP = "system:carob:node-network"
LEASES = ("kube-scheduler", "kube-controller-manager", "carob-simulated-nodes")
OUTER_ADDRESS = "127.0.0.1"
# Source: apiserver `WithCacheControl`; what may be kept (discovery, OpenAPI, keys) says so itself
CACHE_CONTROL = "no-cache, private"
EVERY_ADDRESS = "0.0.0.0"


def ensure_local_node(pki: Pki, node: NodeLayout, now: float) -> None:
    """The certificates of a node of this machine."""
    ensure_node_pki(pki, node.name, (node.address,), now)
    # who programs a node's network sees every Service and Pod, which the node itself may not
    network = (f"node-{node.name}-network", f"system:carob:network:{node.name}", (NODE_NETWORK_GROUP,))
    ensure_client(pki, *network, now)


def _joined(*ranges: str) -> str:
    """As the flags have it."""
    return ",".join(filter(None, ranges))


async def _explain(scheduler: Scheduler, info: RequestInfo, request: Request, user: UserInfo) -> Response:
    """`GET …/pods/NAME/scheduling?profile=…`: why the Pod goes where it goes."""
    found = await scheduler.explain(info.namespace, info.name, info.first("profile"))
    return Response(body=codec.encode(found))


async def _after(first: asyncio.Event, run: Callable[[], Awaitable[None]]) -> None:
    await first.wait()
    await run()


class ServerProcess:
    """One `carob server`."""

    def __init__(self, cluster: Cluster, terms: Terms) -> None:
        self._cluster = cluster
        self._terms = terms
        self._clock = SystemClock()
        self._randomness = SystemRandomness()

    async def run(self) -> None:
        """Serve until cancelled; then close in the reverse order. Raises: OSError, StoreError when it cannot start."""
        pki = self._ensure_pki()
        if self._cluster.store.endpoints or self._cluster.advertise_address:
            self._write_kubeconfig(pki)
        store = await open_store(self._cluster, self._clock)
        try:
            await self._serve(store, pki)
        finally:
            await store.close()

    def _write_kubeconfig(self, pki: Pki) -> None:
        """For administrators of a server that no `carob up` started."""
        from carob.client import kubeconfig

        certificate, key = pki.admin.pem()
        kubeconfig.merge_context(
            f"carob-{self._cluster.name}",
            server=f"https://{self._cluster.advertise_address or OUTER_ADDRESS}:{self._cluster.api_port}",
            certificate_authority=pki.ca.certificate.read_bytes(),
            client_certificate=certificate,
            client_key=key,
            further=self._cluster.store.peer_servers,
            file=self._cluster.server_dir / "admin.kubeconfig",
        )

    def _ensure_pki(self) -> Pki:
        cluster = self._cluster
        own = (OUTER_ADDRESS, cluster.inside_address, cluster.kubernetes_service_address)
        others = (cluster.advertise_address, *cluster.bind_addresses, *cluster.server_names)
        addresses = (*own, *(name for name in others if name not in ("", EVERY_ADDRESS)))
        now = self._clock.now()
        pki = ensure_pki(cluster.pki_dir, PkiOptions(cluster_name=cluster.name, addresses=addresses), now)
        for node in cluster.nodes:
            ensure_local_node(pki, node, now)
        return pki

    def _renew_pki(self) -> None:
        """As at the start, for the nodes that are here now."""
        with suppress(OSError, ValueError):
            self._cluster.nodes = Cluster.load(self._cluster.file).nodes
        self._ensure_pki()

    def _options(self, pki: Pki, store: Store) -> ApiServerOptions:
        return ApiServerOptions(
            advertise_address=self._cluster.advertised,
            port=self._cluster.api_port,
            service_range=self._cluster.service_cidr,
            service_range6=self._cluster.service_cidr6,
            hostname=socket.gethostname() if store.shared else "localhost",
            client_ca_pem=pki.ca.certificate.read_bytes(),
            service_account_key_pem=pki.service_account_key.read_bytes(),
            kubelet_client_certificate_pem=pki.kubelet_client.certificate.read_bytes(),
            kubelet_client_key_pem=pki.kubelet_client.key.read_bytes(),
            kubelet_ca_pem=pki.ca.certificate.read_bytes(),
            local_provisioner=PROVISIONER,
            eviction_seconds=self._cluster.eviction_seconds,
            authentication=self._authentication(),
            pod_security=self._pod_security(),
            admission_plugins=self._admission_plugins(),
            features=self._features(),
            audit=self._audit(),
            # where no node of ours is, nobody makes routes to Pods
            pods_through_nodes=not self._cluster.nodes,
            node_config={
                "cluster-name": self._cluster.name,
                "cluster-cidr": _joined(self._cluster.pod_cidr, self._cluster.pod_cidr6),
                "service-cluster-ip-range": _joined(self._cluster.service_cidr, self._cluster.service_cidr6),
                "cluster-domain": self._cluster.domain,
                "node-monitor-grace-seconds": f"{self._cluster.node_monitor_grace_seconds:g}",
            },
        )

    def _authentication(self) -> AuthenticationRules:
        """Whose tokens are believed; the usual rules where the user said nothing."""
        file = self._cluster.authentication_file
        if not file.exists():
            return USUAL
        return kept(file.read_text())

    def _admission_plugins(self) -> tuple[str, ...]:
        """What is on besides the usual."""
        file = self._cluster.admission_plugins_file
        return tuple(file.read_text().split()) if file.exists() else ()

    def _features(self) -> Features:
        """What is on besides the usual."""
        file = self._cluster.features_file
        return msgspec.json.decode(file.read_bytes(), type=Features) if file.exists() else Features()

    def _audit(self) -> AuditOptions | None:
        """What is written down of requests, if anything is."""
        file = self._cluster.audit_file
        if not file.exists():
            return None
        from carob.apiserver.audit.policy import AuditOptions

        return msgspec.json.decode(file.read_bytes(), type=AuditOptions)

    def _pod_security(self) -> PodSecurityRules:
        """The usual levels and who is exempt."""
        file = self._cluster.pod_security_file
        if not file.exists():
            return PodSecurityRules()
        return msgspec.json.decode(file.read_text(), type=PodSecurityRules)

    async def _serve(self, store: Store, pki: Pki) -> None:
        api = ApiServer(store, self._options(pki, store), self._clock, self._randomness)
        await api.start()
        context = server_context(
            str(pki.server.certificate), str(pki.server.key), client_ca_file=str(pki.ca.certificate)
        )
        ids = new_uid(self._randomness)
        server = Server(api.handle, self._clock, tls=context, cache_control=CACHE_CONTROL, audit_ids=ids)
        renewal = Renewal(self._clock, self._renew_pki)
        own, kubelets = pki.server, pki.kubelet_client
        renewal.show(own.certificate, lambda: context.load_cert_chain(own.certificate, own.key))
        renewal.show(kubelets.certificate, lambda: api.use_kubelet_client(*kubelets.pem()))
        try:
            await self._listen(server)
            say(LISTENING)
            await self._run_parts(api, pki, store, renewal)
        finally:
            await server.close()
            await api.close()

    async def _listen(self, server: Server) -> None:
        """For this machine, for its nodes and Pods, and for other machines where that is wanted."""
        cluster = self._cluster
        addresses = [OUTER_ADDRESS, cluster.inside_address, *cluster.bind_addresses]
        for address in [EVERY_ADDRESS] if EVERY_ADDRESS in addresses else dict.fromkeys(addresses):
            # the node's agent gives the machine its inside address a moment later
            await server.listen(address, cluster.api_port, freebind=address == cluster.inside_address)
            _log.info("serving on %s:%d", address, cluster.api_port)

    async def _run_parts(self, api: ApiServer, pki: Pki, store: Store, renewal: Renewal) -> None:
        def client(user: str, *groups: str) -> Client:
            transport = MemoryTransport(api.handle, UserInfo(user, groups or MASTERS))
            return Client(transport, user_agent=user.removeprefix("system:"))

        scheduler = Scheduler(client("system:kube-scheduler"), self._clock, self._randomness, self._scheduling())
        api.offer("", "pods", "scheduling", partial(_explain, scheduler))
        controllers = Controllers(
            client("system:kube-controller-manager"),
            self._clock,
            self._randomness,
            ControllerOptions(
                ca_certificate=pki.ca.certificate,
                ca_key=pki.ca.key,
                service_account_key=pki.service_account_key,
                load_balancer_ranges=[
                    one for one in (self._cluster.load_balancer_range, self._cluster.load_balancer_range6) if one
                ],
                node_monitor_grace_seconds=self._cluster.node_monitor_grace_seconds,
                node_ranges=self._node_ranges(),
                publish_trust_bundle=any(row.kind == "ClusterTrustBundle" for row in self._features().rows()),
            ),
        )
        parts: list[tuple[str, Callable[[], Awaitable[None]]]] = [
            ("scheduler", scheduler.run),
            ("controllers", controllers.run),
        ]
        simulated = self._simulated_nodes(client("system:carob"))
        if simulated is not None:
            parts.append(("simulated nodes", simulated.run))
        if not store.shared:
            # each reads all Pods once: one after another, the first one has them in a third of the time
            wait = partial(_after, controllers.has_pods)
            parts = [(name, run if name == "controllers" else partial(wait, run)) for name, run in parts]
        if store.shared:
            from carob.standalone.election import Election

            election = Election(self._clock, self._randomness, self._terms)
            parts = [
                (name, election.only_leading(client(f"system:{lease}"), lease, run))
                for (name, run), lease in zip(parts, LEASES, strict=False)
            ]
        async with TaskGroup() as group:
            if store.shared:
                group.spawn(store.lost(), "store")
            group.spawn(supervise("certificates", renewal.run, self._clock), "certificates")
            if api.options.authentication.file:
                from carob.standalone.authentication_file import AuthenticationFile

                file = AuthenticationFile(
                    api.options.authentication, api.options.issuer, api.use_authentication, self._clock
                )
                group.spawn(supervise("authentication", file.run, self._clock), "authentication")
            for name, run in parts:
                group.spawn(supervise(name, run, self._clock), name)
            await self._wait_usable(client("system:carob"))
            if simulated is not None and not store.shared:
                await simulated.usable.wait()
            say(READY)
            settle_memory()
            await asyncio.get_running_loop().create_future()

    def _node_ranges(self) -> list[Ranges]:
        """For nodes of other machines: a local one is given its ranges when it is added."""
        cluster = self._cluster
        kept = (cluster.load_balancer_range, cluster.segment_range)
        found = [Ranges(cluster.pod_cidr, cluster.node_mask_size, kept)]
        if cluster.pod_cidr6:
            kept = (cluster.load_balancer_range6, cluster.segment_range6)
            found.append(Ranges(cluster.pod_cidr6, cluster.node_mask_size6, kept))
        return found

    def _scheduling(self) -> Configuration | None:
        """The scheduler's, where the user gave a configuration."""
        file = self._cluster.scheduler_file
        if not file.exists():
            return None
        from carob.scheduler.configuration import load

        return load(file.read_text())

    def _simulated_nodes(self, client: Client) -> SimulatedNodes | None:
        if not self._cluster.simulated:
            return None
        from carob.simulated.fleet import SimulatedNodes
        from carob.simulated.options import SimulatedOptions

        return SimulatedNodes(client, self._clock, SimulatedOptions(**self._cluster.simulated))

    async def _wait_usable(self, client: Client) -> None:
        """Return when a Pod could be created: the default ServiceAccount is there."""
        selector = "metadata.name=default"
        watch = partial(client.watch, core_v1.ServiceAccount, "default", field_selector=selector)
        while True:
            async with watch(send_initial_events=True) as events:
                async for event in events:
                    if event.type == "ADDED":
                        return
