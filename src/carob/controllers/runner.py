"""All controllers of one server: shared informers, one group of tasks."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from carob.api.types import certificates_v1, coordination_v1, core_v1, discovery_v1, networking_v1
from carob.base.tasks import TaskGroup, supervise
from carob.client.events import EventRecorder
from carob.client.informer import Informer
from carob.controllers.bootstrap_tokens import BootstrapTokenController
from carob.controllers.csr import CsrController
from carob.controllers.devices.controller import ResourceClaimController
from carob.controllers.devices.taint_eviction import DeviceTaintEviction
from carob.controllers.endpoint_mirroring import EndpointMirroring
from carob.controllers.endpoint_slices import EndpointSliceController, prepare_services
from carob.controllers.endpoints import EndpointsController
from carob.controllers.garbage_collector import GarbageCollector
from carob.controllers.load_balancers import LoadBalancerController
from carob.controllers.namespaces import NamespaceController
from carob.controllers.node_lifecycle import GRACE_SECONDS, LEASE_NAMESPACE, NodeLifecycle
from carob.controllers.node_ranges import NodeRangeController, Ranges
from carob.controllers.node_taints import NodeTaintController
from carob.controllers.pod_garbage import PodGarbageCollector
from carob.controllers.root_ca import RootCaPublisher
from carob.controllers.server_leases import ServerLeaseCollector
from carob.controllers.service_accounts import ServiceAccountController
from carob.controllers.service_addresses import ServiceAddressController
from carob.controllers.service_ranges import ServiceRangeController
from carob.controllers.taint_eviction import TaintEviction
from carob.controllers.token_secrets import TokenSecretController
from carob.controllers.views import PodView, compact_node, prepare
from carob.controllers.volumes.parts import VolumeControllers
from carob.controllers.workloads import Workloads

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from pathlib import Path

    from carob.base.clock import Clock
    from carob.base.ids import Randomness
    from carob.client.rest import Client

LATER_SECONDS = 1.0


class ControllerOptions(Struct, frozen=True):
    """What controllers need beside the API: the cluster's CA and the key of service-account tokens, as files."""

    ca_certificate: Path
    ca_key: Path
    service_account_key: Path | None = None
    """None: Secrets that ask for a token are not filled."""
    node_monitor_grace_seconds: float = GRACE_SECONDS
    """How long a node may be silent before it counts as lost."""
    load_balancer_ranges: Sequence[str] = ()
    """Where LoadBalancer Services get their addresses, one of each family; empty: nobody gives any."""
    node_ranges: Sequence[Ranges] = ()
    """Of what nodes are given their Pod ranges, one of each; empty: nobody gives any."""
    publish_trust_bundle: bool = False
    """Whether ClusterTrustBundles are served, and one is to tell who signs the API server's certificate."""


class Controllers:
    """Every controller; `run` returns only when cancelled."""

    def __init__(self, client: Client, clock: Clock, randomness: Randomness, options: ControllerOptions) -> None:
        self._client = client
        self._clock = clock
        self._randomness = randomness
        self._options = options
        self.has_pods = asyncio.Event()
        """Set once they know every Pod: by far the longest of their lists."""

    async def _later(self, run: Callable[[], Awaitable[None]]) -> None:
        """Let go first what the cluster's first Pod waits for."""
        await self._clock.sleep(LATER_SECONDS)
        await run()

    async def run(self) -> None:
        """Run all of them; one that crashes is run again, the others go on."""
        client, clock, options = self._client, self._clock, self._options
        node_events = EventRecorder(client, "node-controller", clock, self._randomness)
        eviction_events = EventRecorder(client, "taint-eviction-controller", clock, self._randomness)
        namespaces = Informer(client, core_v1.Namespace, clock)
        accounts = Informer(client, core_v1.ServiceAccount, clock)
        config_maps = Informer(client, core_v1.ConfigMap, clock, field_selector="metadata.name=kube-root-ca.crt")
        nodes = Informer(client, core_v1.Node, clock)
        nodes.subscribe(compact_node)
        leases = Informer(client, coordination_v1.Lease, clock, namespace=LEASE_NAMESPACE)
        pods = Informer(client, PodView, clock)
        prepare(pods)
        services = Informer(client, core_v1.Service, clock)
        slices = Informer(client, discovery_v1.EndpointSlice, clock)
        endpoints = Informer(client, core_v1.Endpoints, clock)
        prepare_services(services, slices, pods)
        ranges = Informer(client, networking_v1.ServiceCIDR, clock)
        addresses = Informer(client, networking_v1.IPAddress, clock)
        csrs = Informer(client, certificates_v1.CertificateSigningRequest, clock)
        certificate = options.ca_certificate.read_text()
        signing = (options.ca_certificate, options.ca_key)
        volumes = VolumeControllers(client, clock, self._randomness, pods, nodes)
        workloads = Workloads(client, clock, self._randomness, pods, nodes, volumes.claims)
        claim_events = EventRecorder(client, "resource_claim", clock, self._randomness)
        resource_claims = ResourceClaimController(client, pods, claim_events, clock)
        taint_events = EventRecorder(client, "device-taint-eviction", clock, self._randomness)
        device_taints = DeviceTaintEviction(client, pods, resource_claims.claims, taint_events, clock)
        parts: dict[str, Callable[[], Awaitable[None]]] = {
            "service accounts": ServiceAccountController(client, namespaces, accounts, clock).run,
            "root CA publisher": RootCaPublisher(client, namespaces, config_maps, certificate, clock).run,
            "namespaces": NamespaceController(client, namespaces, pods, clock).run,
            "node taints": NodeTaintController(client, nodes, clock).run,
            "node lifecycle": NodeLifecycle(
                client, nodes, leases, pods, node_events, clock, options.node_monitor_grace_seconds
            ).run,
            "taint eviction": TaintEviction(client, pods, nodes, eviction_events, clock).run,
            "pod garbage collector": PodGarbageCollector(client, pods, nodes, clock).run,
            "garbage collector": partial(self._later, GarbageCollector(client, clock, pods).run),
            "certificates": CsrController(client, csrs, nodes, *signing, clock).run,
            "endpoint slices": EndpointSliceController(client, services, slices, pods, nodes, clock).run,
            "endpoints": EndpointsController(client, services, endpoints, pods, clock).run,
            "endpoint mirroring": EndpointMirroring(client, services, endpoints, slices, clock).run,
            **workloads.parts,
            **volumes.parts,
            "resource claims": resource_claims.run,
            "device taint eviction": device_taints.run,
        }
        service_events = EventRecorder(client, "service-controller", clock, self._randomness)
        address_events = EventRecorder(client, "ipallocator-repair-controller", clock, self._randomness)
        parts["service ranges"] = ServiceRangeController(client, ranges, addresses, clock).run
        parts["service addresses"] = partial(
            self._later, ServiceAddressController(client, services, addresses, address_events, clock).run
        )
        if options.load_balancer_ranges:
            parts["load balancers"] = LoadBalancerController(
                client, services, options.load_balancer_ranges, service_events, clock
            ).run
        range_events = EventRecorder(client, "cidrAllocator", clock, self._randomness)
        if options.node_ranges:
            parts["node ranges"] = NodeRangeController(client, nodes, options.node_ranges, range_events, clock).run
        bootstrap_tokens = BootstrapTokenController(client, clock)
        parts["bootstrap tokens"] = bootstrap_tokens.run
        server_leases = ServerLeaseCollector(client, clock)
        parts["server leases"] = server_leases.run
        informers: list[Informer[Any]] = [namespaces, accounts, config_maps, nodes, leases, pods, csrs]
        informers += [*bootstrap_tokens.informers, *server_leases.informers]
        informers += [services, slices, endpoints, ranges, addresses]
        informers += [*workloads.informers, *volumes.informers, *resource_claims.informers]
        informers += device_taints.informers
        if options.service_account_key is not None:
            key_file = options.service_account_key
            token_secrets = TokenSecretController(client, accounts, key_file, certificate.encode(), clock)
            parts["token secrets"] = token_secrets.run
            informers += token_secrets.informers
        if options.publish_trust_bundle:
            from carob.controllers.trust_bundles import TrustBundlePublisher

            publisher = TrustBundlePublisher(client, certificate, clock)
            parts["trust bundle publisher"] = publisher.run
            informers.append(publisher.bundles)
        async with TaskGroup() as group:
            group.spawn(node_events.run(), "node events")
            group.spawn(service_events.run(), "service events")
            group.spawn(range_events.run(), "node range events")
            group.spawn(claim_events.run(), "claim events")
            group.spawn(taint_events.run(), "device taint events")
            group.spawn(address_events.run(), "service address events")
            group.spawn(eviction_events.run(), "eviction events")
            for component, recorder in {**workloads.recorders, **volumes.recorders}.items():
                group.spawn(recorder.run(), f"events {component}")
            for informer in informers:
                group.spawn(informer.run(), f"informer {informer.name}")
            for name, run in parts.items():
                group.spawn(supervise(name, run, clock), name)
            await pods.wait_synced()
            self.has_pods.set()
