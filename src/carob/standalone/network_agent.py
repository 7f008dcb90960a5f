"""What the API says of the network, carried to this node: services (later DNS and policy beside them)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from carob.api.types import discovery_v1
from carob.base.tasks import TaskGroup, supervise
from carob.client.informer import Informer
from carob.kubelet.service_ports import Place
from carob.kubelet.service_proxy import ServiceProxy

if TYPE_CHECKING:
    from carob.base.clock import Clock
    from carob.base.layout import Cluster
    from carob.client.rest import Client
    from carob.kubelet.agent import Kubelet
    from carob.network.node import Network

ZONE_LABEL = "topology.kubernetes.io/zone"


class NetworkAgent:
    """`run` until cancelled. It reads the kubelet's copy of the Services, which the kubelet keeps up to date."""

    def __init__(
        self, client: Client, network: Network, kubelet: Kubelet, cluster: Cluster, node: str, clock: Clock
    ) -> None:
        self._clock = clock
        self._node = node
        self._kubelet = kubelet
        self._slices = Informer(client, discovery_v1.EndpointSlice, clock)
        self._proxy = ServiceProxy(
            kubelet.services, self._slices, network.services, self._place, clock, spared=[cluster.dns_address]
        )

    async def wait_ready(self) -> None:
        """Return when services work as the API says."""
        await self._proxy.wait_programmed()

    async def run(self) -> None:
        """Run all parts; one that crashes is run again, the others go on."""
        async with TaskGroup() as group:
            group.spawn(self._slices.run(), "endpoint slice informer")
            group.spawn(supervise("service proxy", self._proxy.run, self._clock), "service proxy")

    def _place(self) -> Place:
        return Place(self._node, self._kubelet.node.labels.get(ZONE_LABEL, ""))
