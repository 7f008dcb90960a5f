"""What the API says of the network, carried to this node: services, names, policies."""

from __future__ import annotations

import asyncio
import importlib
import ipaddress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from carob.api.types import discovery_v1
from carob.base.tasks import TaskGroup, supervise
from carob.client.informer import Informer
from carob.kubelet.cluster_dns import ClusterDns
from carob.kubelet.dns_upstreams import Upstreams
from carob.kubelet.files import read_text
from carob.kubelet.health_ports import HealthPorts
from carob.kubelet.node_routes import NodeRouteAgent
from carob.kubelet.policy_agent import PolicyAgent
from carob.kubelet.service_ports import Place
from carob.kubelet.service_proxy import ServiceProxy
from carob.kubelet.service_ranges import ServiceRangeAgent
from carob.network.dns.forward import Forwarder
from carob.network.dns.server import DnsServer
from carob.network.dns.zone import Zone
from carob.network.etc_files import RESOLV_CONF, parse_resolv_conf, resolv_conf_for_others

if TYPE_CHECKING:
    from collections.abc import Callable

    from carob.base.clock import Clock
    from carob.base.ids import Randomness
    from carob.base.layout import Cluster
    from carob.client.rest import Client
    from carob.kubelet.agent import Kubelet
    from carob.network.node import Network

KUBERNETES = "default/kubernetes"
ZONE_LABEL = "topology.kubernetes.io/zone"


class NetworkAgent:
    """`run` until cancelled. It reads the kubelet's copy of the Services, which the kubelet keeps up to date."""

    def __init__(
        self,
        client: Client,
        network: Network,
        kubelet: Kubelet,
        cluster: Cluster,
        node: str,
        clock: Clock,
        randomness: Randomness,
    ) -> None:
        self._clock = clock
        self._node = node
        self._kubelet = kubelet
        # who lives on the machine's own network may ask a resolver that listens on the loopback
        self._resolv_conf = Path(resolv_conf_for_others(read_text) if cluster.node(node).apart else RESOLV_CONF)
        dual = network.layout.dual
        self._dns_addresses = [cluster.dns_address, *([cluster.dns_address6] if dual else [])]
        self._slices = Informer(client, discovery_v1.EndpointSlice, clock)
        self._proxy = ServiceProxy(
            kubelet.services,
            self._slices,
            network.services,
            self._place,
            clock,
            spared=self._dns_addresses,
            dual=dual,
        )
        self._health = HealthPorts(kubelet.services, self._slices, self._place, dual=dual)
        self._policies = PolicyAgent(client, network.policies, node, clock, dual=dual)
        kubelet.gate.opened_by(self._policies.admit)
        self._routes = NodeRouteAgent(client, network.routes, node, clock)
        self._ranges = ServiceRangeAgent(client, network.lead_services, clock)
        ranges = (cluster.service_cidr, cluster.pod_cidr, cluster.service_cidr6, cluster.pod_cidr6)
        zone = Zone(cluster.domain, [one for one in ranges if one])
        self._names = ClusterDns(kubelet.services, self._slices, zone)
        self._upstreams = Upstreams(client, self._resolvers, clock)
        self._dns = DnsServer(zone, Forwarder(self._upstreams.servers_of, clock, randomness))

    def on_servers(self, learn: Callable[[list[str]], object]) -> None:
        """Call it with the URLs of the servers, as often as the `kubernetes` Service has others."""

        def changed(key: str, old: Any, new: discovery_v1.EndpointSlice | None) -> None:
            if key == KUBERNETES and new is not None and new.endpoints and new.ports:
                port = new.ports[0].port
                learn([f"https://{address}:{port}" for one in new.endpoints for address in one.addresses])

        self._slices.subscribe(changed)

    async def wait_ready(self) -> None:
        """Return when services, names and policies are as the API says."""
        await self._proxy.wait_programmed()
        await self._names.wait_filled()
        await self._policies.wait_programmed()

    async def run(self) -> None:
        """Run all parts; one that crashes is run again, the others go on. Raises: OSError when nobody can be heard."""
        await self._dns.open(self._dns_addresses)
        parts = {
            "service proxy": self._proxy.run,
            "names": self._names.run,
            "DNS": self._dns.run,
            "DNS upstreams": self._upstreams.run,
            "policies": self._policies.run,
            "routes to nodes": self._routes.run,
            "service ranges": self._ranges.run,
            "health ports": self._health.run,
        }
        try:
            async with TaskGroup() as group:
                group.spawn(self._slices.run(), "endpoint slice informer")
                for name, run in parts.items():
                    group.spawn(supervise(name, run, self._clock), name)
                await self.wait_ready()
                # costs as much as the whole start; the first question should not pay for it
                await asyncio.to_thread(importlib.import_module, "dnslib")
        finally:
            self._dns.close()

    def _place(self) -> Place:
        return Place(self._node, self._kubelet.node.labels.get(ZONE_LABEL, ""))

    def _resolvers(self) -> list[str]:
        """The node's own resolvers; never ourselves."""
        try:
            servers = parse_resolv_conf(self._resolv_conf.read_text()).servers
        except OSError:
            return []
        return [s for s in servers if s not in self._dns_addresses and _is_address(s)]


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
