"""What the steps of a Pod's way work with: one object, built once by the agent and handed to every step."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from carob.kubelet.events import PodEvents
from carob.kubelet.fields import Facts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from carob.api.types import core_v1
    from carob.base.clock import Clock
    from carob.client.events import EventRecorder
    from carob.kubelet.devices.node import NodeDevices
    from carob.kubelet.images import Images
    from carob.kubelet.lifecycle import Hooks
    from carob.kubelet.network_gate import NetworkGate
    from carob.kubelet.objects import ReferencedObjects
    from carob.kubelet.options import KubeletOptions
    from carob.kubelet.pod_record import PodRecord
    from carob.kubelet.probes.manager import Probes
    from carob.kubelet.resources import GroupFacts
    from carob.kubelet.slots import Slots
    from carob.kubelet.tokens import Tokens
    from carob.kubelet.user_namespaces import UserNamespaces
    from carob.kubelet.volumes.manager import Volumes
    from carob.kubelet.volumes.setup import Places
    from carob.runtime.types import Runtime


class NodeFacts(Struct, frozen=True):
    """What Pods may ask of the node."""

    groups: GroupFacts
    allocatable: Mapping[str, str]
    host_ips: tuple[str, ...]
    hostname: str


class Tools(Struct, frozen=True):
    """Seams and helpers of one kubelet."""

    runtime: Runtime
    clock: Clock
    options: KubeletOptions
    recorder: EventRecorder
    volumes: Volumes
    places: Places
    images: Images
    objects: ReferencedObjects
    tokens: Tokens
    probes: Probes
    hooks: Hooks
    slots: Slots
    users: UserNamespaces
    devices: NodeDevices
    gate: NetworkGate
    node: Callable[[], NodeFacts]
    services: Callable[[], Iterable[core_v1.Service]]
    read_text: Callable[[str], str]
    """The text of a small file of the node, empty if there is none (`/etc/resolv.conf`, `/etc/hosts`)."""

    def events(self, record: PodRecord) -> PodEvents:
        """Tells events of this Pod."""
        return PodEvents(self.recorder, record.pod)

    def facts(self, record: PodRecord) -> Facts:
        """What the downward API may tell."""
        node = self.node()
        return Facts(pod_ips(record, node), node.host_ips, node.allocatable)


def pod_ips(record: PodRecord, node: NodeFacts) -> tuple[str, ...]:
    """The Pod's addresses: the sandbox's, or the node's for a Pod in the node's network."""
    if record.pod.spec.host_network:
        return node.host_ips if record.sandboxes else ()
    sandbox = record.newest_sandbox
    return tuple(sandbox.ips) if sandbox is not None else ()
