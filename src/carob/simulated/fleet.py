"""The simulated nodes at work: keeps their Nodes, leases and Pods as they shall be.

Touches the API through `client`. A fixed number of workers serves all nodes; nothing polls but the renewal of leases.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from carob.api import codec
from carob.api.status import ApiError
from carob.api.types import coordination_v1, core_v1
from carob.base.clock import rfc3339, rfc3339_micro
from carob.base.log import get_logger
from carob.base.tasks import TaskGroup
from carob.client.informer import Informer, split_key
from carob.client.workqueue import WorkQueue
from carob.simulated import behaviour, nodes, pods
from carob.simulated.timers import Timers
from carob.simulated.views import NodeView, PodView, SpecView, compact

if TYPE_CHECKING:
    from carob.base.clock import Clock
    from carob.client.rest import Client
    from carob.simulated.options import SimulatedOptions

WORKERS = 32
LEFT_OVER_SECONDS = 1.0
"""A Pod that was deleted without grace, and is still there after so long, was left behind."""
NODE, POD = "node ", "pod "
LIVING = "spec.nodeName!=,status.phase!=Succeeded,status.phase!=Failed"

_log = get_logger("simulated")


class SimulatedNodes:
    """The simulated nodes as a part of a server. `usable` is set when Pods could be placed on every one of them."""

    def __init__(self, client: Client, clock: Clock, options: SimulatedOptions) -> None:
        self._client = client
        self._clock = clock
        self._options = options
        self.usable = asyncio.Event()

    async def run(self) -> None:
        """Until cancelled; a second run starts from nothing but the API."""
        await Fleet(self._client, self._clock, self._options, self.usable).run()


class Fleet:
    """One life of the simulated nodes: registers them and then serves their Pods."""

    def __init__(self, client: Client, clock: Clock, options: SimulatedOptions, usable: asyncio.Event) -> None:
        self._usable = usable
        self._waited_for = set(options.names())
        self._client = client
        self._clock = clock
        self._options = options
        self._numbers = {name: number for number, name in enumerate(options.names())}
        self._queue = WorkQueue(clock)
        self._timers = Timers(clock, self._queue.add)
        self._nodes = Informer(client, NodeView, clock, label_selector=f"{nodes.LABEL}=true", name="simulated nodes")
        self._pods = Informer(client, PodView, clock, field_selector=LIVING, name="simulated pods")
        self._since: dict[str, float] = {}
        """When a Pod was first seen, or was last started, by the monotonic clock; only while that matters."""
        self._slots: dict[str, int] = {}
        self._gone: set[str] = set()
        self._flapped: dict[str, float] = {}
        """When each flapping node began to flap."""

    async def run(self) -> None:
        """Until cancelled."""
        self._pods.subscribe(compact)
        self._pods.subscribe(self._pod_changed)
        self._nodes.subscribe(self._node_changed)
        async with TaskGroup() as group:
            group.spawn(self._nodes.run(), "simulated nodes")
            group.spawn(self._timers.run(), "simulated timers")
            await self._nodes.wait_synced()
            for name in self._numbers:
                self._queue.add(NODE + name)
            group.spawn(self._pods.run(), "simulated pods")
            group.spawn(self._renew_leases(), "simulated leases")
            await self._queue.work(self._sync, WORKERS, "simulated")

    # what the informers tell

    def _node_changed(self, key: str, old: NodeView | None, new: NodeView | None) -> None:
        if key not in self._numbers:
            return
        if new is not None and not self._usable.is_set() and _takes_pods(new):
            self._waited_for.discard(key)
            if not self._waited_for:
                self._usable.set()
        if new is None or old is None or old.metadata.annotations != new.metadata.annotations:
            self._queue.add(NODE + key)
            if old is not None and self._is_silent(old) and not (new is not None and self._is_silent(new)):
                for pod in list(self._pods.items()):
                    if pod.spec.node_name == key:
                        self._queue.add(f"{POD}{pod.metadata.namespace}/{pod.metadata.name}")
        elif _is_ready(new) != _is_ready(old):
            self._queue.add(NODE + key)

    def _pod_changed(self, key: str, old: PodView | None, new: PodView | None) -> None:
        if new is None:
            self._since.pop(key, None)
        elif new.spec.node_name not in self._numbers:
            return
        elif new.metadata.deletion_grace_period_seconds == 0:
            # the server removes it in this moment; only one that was stopped just now needs our word
            self._timers.set(POD + key, LEFT_OVER_SECONDS)
        else:
            self._queue.add(POD + key)

    def _is_silent(self, node: NodeView) -> bool:
        return node.metadata.annotations.get(behaviour.STATE) in (behaviour.SILENT, behaviour.GONE)

    # acting

    async def _sync(self, key: str) -> None:
        if key.startswith(NODE):
            await self._sync_node(key.removeprefix(NODE))
        else:
            await self._sync_pod(key.removeprefix(POD))

    async def _sync_node(self, name: str) -> None:
        node = self._nodes.get(name)
        if node is None:
            # a node that was made to vanish stays away; one that somebody deleted comes back, as kubelets do
            if name not in self._gone:
                await self._register(name)
            return
        notes = node.metadata.annotations
        state = notes.get(behaviour.STATE, "")
        if state == behaviour.GONE:
            self._gone.add(name)
            await self._client.delete(core_v1.Node, name, uid=node.metadata.uid)
            return
        if state == behaviour.SILENT:
            return
        ready = state != behaviour.NOT_READY
        if state == behaviour.FLAPPING:
            period = behaviour.flap_seconds(notes)
            began = self._flapped.setdefault(name, self._clock.monotonic())
            turns, rest = divmod(self._clock.monotonic() - began + 0.001, period)
            ready = int(turns) % 2 == 1
            self._timers.set(NODE + name, period - rest)
        else:
            self._flapped.pop(name, None)
        if _is_ready(node) != ready:
            patch = {"status": {"conditions": nodes.conditions(ready, rfc3339(self._clock.now()))}}
            await self._client.patch(core_v1.Node, name, patch=patch, patch_type="strategic", subresource="status")

    async def _register(self, name: str) -> None:
        tree = nodes.node_tree(self._numbers[name], self._options, rfc3339(self._clock.now()))
        await self._renew(name)
        try:
            await self._client.create(codec.from_tree(core_v1.Node, tree))
        except ApiError as error:
            if error.reason != "AlreadyExists":
                raise

    async def _sync_pod(self, key: str) -> None:
        pod = self._pods.get(key)
        if pod is None:
            return
        number = self._numbers.get(pod.spec.node_name)
        node = self._nodes.get(pod.spec.node_name)
        if number is None or node is None or self._is_silent(node):
            return
        acts = behaviour.behaviour_of(pod, self._options)
        now = self._clock.monotonic()
        since = self._since.setdefault(key, now)
        host = nodes.host_address(number)
        address = pod.status.pod_ip or self._address(pod.spec.node_name, number)
        step = pods.next_step(pod, acts, now - since, address, host, rfc3339(self._clock.now()))
        namespace, name = split_key(key)
        if step.delete:
            self._since.pop(key, None)
            try:
                await self._client.delete(core_v1.Pod, name, namespace, grace_period_seconds=0, uid=pod.metadata.uid)
            except ApiError as error:
                if error.reason not in ("NotFound", "Conflict"):
                    raise
            return
        if step.status is not None:
            await self._write(key, pod, step.status)
            self._since[key] = self._clock.monotonic()
        if step.again_seconds is not None:
            self._timers.set(POD + key, step.again_seconds)
        elif acts.run_seconds is None and pod.status.phase == "Running":
            self._forget_details(key, pod)

    async def _write(self, key: str, pod: PodView, status: dict[str, Any]) -> None:
        namespace, name = split_key(key)
        patch = {"metadata": {"uid": pod.metadata.uid}, "status": status}
        try:
            await self._client.patch(
                core_v1.Pod, name, namespace, patch=patch, patch_type="strategic", subresource="status"
            )
        except ApiError as error:
            if error.reason not in ("NotFound", "Conflict"):
                raise

    def _forget_details(self, key: str, pod: PodView) -> None:
        """A Pod that just runs needs no more than its name, and what an annotation may change later."""
        self._since.pop(key, None)
        if not pod.metadata.annotations and not pod.spec.readiness_gates:
            spec = pod.spec
            pod.spec = SpecView(node_name=spec.node_name, restart_policy=spec.restart_policy)

    def _address(self, node_name: str, number: int) -> str:
        slot = self._slots.get(node_name, 0)
        self._slots[node_name] = slot + 1
        return nodes.pod_address(number, slot)

    # signs of life

    async def _renew_leases(self) -> None:
        """Every node's in turn, spread over the period, so that they do not come all at once."""
        names = list(self._numbers)
        if not names:
            return
        period = self._options.renew_seconds
        turns = min(len(names), int(period))
        share = -(-len(names) // turns)
        while True:
            for first in range(0, len(names), share):
                await self._clock.sleep(period / turns)
                for name in names[first : first + share]:
                    node = self._nodes.get(name)
                    if node is not None and not self._is_silent(node):
                        try:
                            await self._renew(name)
                        except (ApiError, OSError) as error:
                            _log.warning("cannot renew the lease of %s: %s", name, error)

    async def _renew(self, name: str) -> None:
        tree = nodes.lease_tree(name, rfc3339_micro(self._clock.now()))
        try:
            await self._client.patch(coordination_v1.Lease, name, nodes.LEASE_NAMESPACE, patch={"spec": tree["spec"]})
        except ApiError as error:
            if error.reason != "NotFound":
                raise
            await self._client.create(codec.from_tree(coordination_v1.Lease, tree))


def _takes_pods(node: NodeView) -> bool:
    return _is_ready(node) and not any(one.key.startswith("node.kubernetes.io/") for one in node.spec.taints)


def _is_ready(node: NodeView) -> bool:
    return any(one.type == "Ready" and one.status == "True" for one in node.status.conditions)
