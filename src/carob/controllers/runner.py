"""All controllers of one server: shared informers, one group of tasks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from carob.api.types import core_v1
from carob.base.tasks import TaskGroup, supervise
from carob.client.informer import Informer
from carob.controllers.namespaces import NamespaceController
from carob.controllers.node_taints import NodeTaintController
from carob.controllers.root_ca import RootCaPublisher
from carob.controllers.service_accounts import ServiceAccountController

if TYPE_CHECKING:
    from pathlib import Path

    from carob.base.clock import Clock
    from carob.base.ids import Randomness
    from carob.client.rest import Client


@dataclass(frozen=True, slots=True)
class ControllerOptions:
    """What controllers need beside the API: the cluster's CA, as files."""

    ca_certificate: Path
    ca_key: Path


class Controllers:
    """Every controller; `run` returns only when cancelled."""

    def __init__(self, client: Client, clock: Clock, randomness: Randomness, options: ControllerOptions) -> None:
        self._client = client
        self._clock = clock
        self._randomness = randomness
        self._options = options

    async def run(self) -> None:
        """Run all of them; one that crashes is run again, the others go on."""
        client, clock = self._client, self._clock
        namespaces = Informer(client, core_v1.Namespace, clock)
        accounts = Informer(client, core_v1.ServiceAccount, clock, field_selector="metadata.name=default")
        config_maps = Informer(client, core_v1.ConfigMap, clock, field_selector="metadata.name=kube-root-ca.crt")
        nodes = Informer(client, core_v1.Node, clock)
        certificate = self._options.ca_certificate.read_text()
        parts = {
            "service accounts": ServiceAccountController(client, namespaces, accounts, clock).run,
            "root CA publisher": RootCaPublisher(client, namespaces, config_maps, certificate, clock).run,
            "namespaces": NamespaceController(client, namespaces, clock).run,
            "node taints": NodeTaintController(client, nodes, clock).run,
        }
        async with TaskGroup() as group:
            for informer in (namespaces, accounts, config_maps, nodes):
                group.spawn(informer.run(), f"informer {informer.name}")
            for name, run in parts.items():
                group.spawn(supervise(name, run, clock), name)
