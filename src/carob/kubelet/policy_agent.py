"""Network policies: what the API says becomes rules of this node.

A cluster without policies costs one idle watch: Pods and namespaces are watched from the first policy on. Whatever
changes, everything is computed anew, at most once a turn, and only the difference is programmed.

A Pod of this node is met before its first container begins (`admit`): the API does not know its address yet then.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Protocol

from carob.api import codec
from carob.api.types import core_v1, networking_v1
from carob.base.log import get_logger
from carob.base.tasks import Signal, TaskGroup
from carob.client.informer import Informer
from carob.kubelet.policy_rules import DualPeer, Peer, PeerAddress, compile_policies
from carob.network.layout import NetworkFailure

if TYPE_CHECKING:
    from collections.abc import Sequence

    from carob.base.clock import Clock
    from carob.client.rest import Client
    from carob.network.policy import PolicyRules

RETRY_SECONDS = 1.0
_log = get_logger("policy")


class Table(Protocol):
    """Where policies are programmed; blocking."""

    def apply(self, wanted: PolicyRules) -> None: ...


class PolicyAgent:
    """`run` until cancelled; `dual`: the table knows IPv6 too."""

    def __init__(self, client: Client, table: Table, node: str, clock: Clock, *, dual: bool = False) -> None:
        self._table = table
        self._dual = dual
        self._kind: type[Peer] = DualPeer if dual else Peer
        self._node = node
        self._clock = clock
        self._policies = Informer(client, networking_v1.NetworkPolicy, clock)
        self._pods = Informer(client, self._kind, clock, name="policy peers")
        self._namespaces = Informer(client, core_v1.Namespace, clock, name="policy namespaces")
        self._signal = Signal()
        self._synced = asyncio.Event()
        self._early: dict[str, Peer] = {}
        """Pods by the address that the API does not show yet; of one address there is one."""
        self._waiting: list[asyncio.Future[None]] = []

    async def wait_programmed(self) -> None:
        """Return when the policies that were there at the start hold."""
        await self._synced.wait()

    async def admit(self, pod: core_v1.Pod, addresses: Sequence[str]) -> None:
        """Return when the policies hold for a Pod of this node that has just got these addresses."""
        await self._synced.wait()
        address = next((one for one in addresses if ":" not in one), "")
        if not address or not len(self._policies):
            return
        peer = codec.decode(self._kind, codec.encode(pod))
        peer.spec.node_name, peer.status.pod_ip = self._node, address
        if isinstance(peer, DualPeer):
            peer.status.pod_ips = tuple(PeerAddress(ip=one) for one in addresses)
        self._early[address] = peer
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(done)
        self._signal.set()
        await done

    async def run(self) -> None:
        """Keep the table as the API says. The rules of an earlier agent hold until the first list is in."""
        async with TaskGroup() as group:
            group.spawn(self._policies.run(), "policy informer")
            await self._policies.wait_synced()
            self._policies.subscribe(self._changed)
            if not len(self._policies):
                await self._program()
                self._synced.set()
                while not len(self._policies):
                    await self._signal.wait()
            group.spawn(self._pods.run(), "peer informer")
            group.spawn(self._namespaces.run(), "namespace informer")
            await self._pods.wait_synced()
            await self._namespaces.wait_synced()
            self._pods.subscribe(self._pod_changed)
            self._namespaces.subscribe(self._namespace_changed)
            while True:
                await self._program()
                self._synced.set()
                await self._signal.wait()
                # whatever else is already on its way goes along
                await asyncio.sleep(0)

    async def _program(self) -> None:
        namespaces = {one.metadata.name: one.metadata.labels for one in self._namespaces.items()}
        waiting, self._waiting = self._waiting, []
        wanted = compile_policies(self._policies.items(), self._peers(), namespaces, self._node, dual=self._dual)
        while True:
            try:
                await asyncio.to_thread(self._table.apply, wanted)
                for done in waiting:
                    if not done.done():
                        done.set_result(None)
                return
            except NetworkFailure as error:
                _log.error("again in %.0f s: %s", RETRY_SECONDS, error)
                await self._clock.sleep(RETRY_SECONDS)

    def _peers(self) -> list[Peer]:
        """What the API shows, and before that what this node knows of its own Pods."""
        for address, early in list(self._early.items()):
            shown = self._pods.get(f"{early.metadata.namespace}/{early.metadata.name}")
            if shown is not None and (shown.status.pod_ip or shown.metadata.uid != early.metadata.uid):
                del self._early[address]
        known = {one.metadata.uid for one in self._early.values()}
        return [one for one in self._pods.items() if one.metadata.uid not in known] + [*self._early.values()]

    def _changed(self, key: str, old: Any, new: Any) -> None:
        self._signal.set()

    def _pod_changed(self, key: str, old: Peer | None, new: Peer | None) -> None:
        if new is None and old is not None:
            self._early = {a: one for a, one in self._early.items() if one.metadata.uid != old.metadata.uid}
        if old is None or new is None or old.counts != new.counts or _seen(old) != _seen(new):
            self._signal.set()

    def _namespace_changed(self, key: str, old: core_v1.Namespace | None, new: core_v1.Namespace | None) -> None:
        if old is None or new is None or old.metadata.labels != new.metadata.labels:
            self._signal.set()


def _seen(pod: Peer) -> object:
    return pod.metadata.labels, pod.status.pod_ip, pod.address6, pod.spec.node_name
