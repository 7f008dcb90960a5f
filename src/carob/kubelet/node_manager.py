"""Keeps the Node object and its lease: registers the node, tells its condition, renews that it lives.

Touches the API and reads the machine. The status is written when something has changed, else every five minutes; the
lease every ten seconds.
Source: kubelet `kubelet_node_status.go`, `component-helpers/apimachinery/lease`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec import Struct, field

from carob.api import codec
from carob.api.status import ApiError
from carob.api.types import coordination_v1, core_v1, meta_v1
from carob.base.clock import rfc3339, rfc3339_micro
from carob.base.log import get_logger, pairs
from carob.base.tasks import TaskGroup
from carob.client.informer import Informer
from carob.kubelet import node_status
from carob.kubelet.eviction.thresholds import Pressures, crossed, observations, thresholds
from carob.kubelet.machine import read_machine, read_usage
from carob.kubelet.tools import NodeFacts
from carob.runtime.types import RuntimeFailure, RuntimeStatus

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from carob.base.clock import Clock
    from carob.client.events import EventRecorder
    from carob.client.rest import Client
    from carob.kubelet.machine import Usage
    from carob.kubelet.options import KubeletOptions
    from carob.runtime.types import Image, Runtime

_log = get_logger("kubelet.node")
LEASE_NAMESPACE = "kube-node-lease"
RETRY_SECONDS = 0.2
LONGEST_RETRY_SECONDS = 7.0
CLOCK_SET_SECONDS = 5.0
LONGEST_KEEP_RETRY_SECONDS = 1.0


class _RuntimeSaid(Struct):
    """What the runtime said when it last answered."""

    status: RuntimeStatus = field(default_factory=RuntimeStatus)
    version: tuple[str, str] = ("", "")
    images: list[Image] = field(default_factory=list)


class NodeManager:
    """`facts` and `labels` are what the Pods' steps ask."""

    def __init__(
        self, client: Client, runtime: Runtime, options: KubeletOptions, clock: Clock, recorder: EventRecorder
    ) -> None:
        self._client = client
        self._runtime = runtime
        self._runtime_said = _RuntimeSaid()
        self._clock_ahead = clock.now() - clock.monotonic()
        self._clock_set: Callable[[], None] = lambda: None
        self._options = options
        self._clock = clock
        self._recorder = recorder
        self.machine = read_machine()
        self._informer = Informer(
            client, core_v1.Node, clock, field_selector=f"metadata.name={options.node_name}", name="own node"
        )
        self._told: dict[str, Any] = {}
        self._told_at = 0.0
        self.pressures = Pressures(options.eviction_transition_seconds)
        self._thresholds = thresholds(options.eviction_hard, options.eviction_soft, options.eviction_soft_grace_seconds)
        self._lease: coordination_v1.Lease | None = None
        self._groups = node_status.group_facts(options, self.machine)
        self.facts = NodeFacts(self._groups, {}, options.node_ips, options.node_name)

    @property
    def node(self) -> core_v1.Node | None:
        """The Node as the API has it."""
        return self._informer.get(self._options.node_name)

    @property
    def object(self) -> core_v1.Node:
        """The Node as the API has it, or as it will be registered."""
        return self.node or node_status.node_object(self._options, self.machine)

    @property
    def labels(self) -> Mapping[str, str]:
        """The Node's labels now."""
        return self.object.metadata.labels

    async def refresh(self) -> None:
        """Look at the machine, so that `facts` hold."""
        usage = read_usage(self._options.root)
        allocatable = node_status.allocatable(self._options, self.machine, usage)
        hostname = self.machine.hostname
        self.facts = NodeFacts(self._groups, allocatable, self._options.node_ips, hostname)

    async def run(self) -> None:
        """Register, then keep status and lease until cancelled."""
        if self._options.register_node:
            await self._register()
        self.event("Starting", "Starting kubelet.")
        async with TaskGroup() as group:
            self._informer.subscribe(self._schedulable)
            group.spawn(self._informer.run(), "own node")
            group.spawn(self._keep("status", self._tell_status, self._options.status_check_seconds), "node status")
            group.spawn(self._keep("lease", self._renew, self._options.lease_renew_seconds), "node lease")

    async def _keep(self, what: str, act: Callable[[], Awaitable[None]], period_seconds: float) -> None:
        """Do it now and again; while the API does not answer, try often and complain once."""
        wait, failing = 0.0, False
        while True:
            await self._clock.sleep(wait)
            try:
                await act()
                wait, failing = period_seconds, False
            except (ApiError, OSError) as error:
                if not failing:
                    _log.warning("cannot write %s", pairs(what=what, node=self._options.node_name, error=error))
                wait = min(max(RETRY_SECONDS, 2 * wait), LONGEST_KEEP_RETRY_SECONDS) if failing else RETRY_SECONDS
                failing = True

    async def _register(self) -> None:
        """Create the Node, or take over the one there is; tried until it works."""
        delay = RETRY_SECONDS
        while True:
            try:
                await self._create()
                return
            except (ApiError, OSError) as error:
                _log.info("cannot register yet %s", pairs(node=self._options.node_name, error=error))
            await self._clock.sleep(delay)
            delay = min(delay * 2, LONGEST_RETRY_SECONDS)

    async def _create(self) -> None:
        wanted = node_status.node_object(self._options, self.machine)
        wanted.status = await self._status(None)
        try:
            await self._client.create(wanted)
            return
        except ApiError as error:
            if error.reason != "AlreadyExists":
                raise
        await self._client.patch(
            core_v1.Node,
            self._options.node_name,
            patch={"metadata": {"labels": wanted.metadata.labels, "annotations": self._options.annotations}},
            patch_type="strategic",
        )

    def _look_at_the_clock(self) -> None:
        ahead = self._clock.now() - self._clock.monotonic()
        if abs(ahead - self._clock_ahead) > CLOCK_SET_SECONDS:
            self._clock_ahead = ahead
            self._clock_set()

    async def _tell_status(self) -> None:
        self._look_at_the_clock()
        await self.refresh()
        node = self.node
        if node is None:
            # not seen yet, or somebody has deleted it while we run
            await self._create()
            self._told = {}
            node = await self._client.get(core_v1.Node, self._options.node_name)
        status = await self._status(node)
        boot = status.node_info.boot_id
        if node.status.node_info.boot_id not in ("", boot):
            words = f"Node {self._options.node_name} has been rebooted, boot id: {boot}"
            self.event("Rebooted", words, "Warning")
        tree = codec.to_tree(status)
        told = self._told
        now = self._clock.monotonic()
        if told and now - self._told_at < self._options.status_report_seconds and _same(tree, told):
            return
        withdrawn = told.get("allocatable", {}).keys() - tree["allocatable"].keys()
        allocatable = tree["allocatable"] | dict.fromkeys(withdrawn)
        patch = node_status.replacing_addresses(tree) | {"allocatable": allocatable}
        await self._client.patch(
            core_v1.Node,
            self._options.node_name,
            patch={"status": patch},
            patch_type="strategic",
            subresource="status",
        )
        self._tell_transitions(told, tree)
        self._told, self._told_at = tree, now

    async def _status(self, node: core_v1.Node | None) -> core_v1.NodeStatus:
        usage = read_usage(self._options.root)
        options, machine = self._options, self.machine
        runtime = self._runtime_said
        wanted = node_status.conditions(self._pressures_now(usage), await self._ask_runtime())
        old = node.status.conditions if node is not None else []
        now = rfc3339(self._clock.now())
        own = {entry[0] for entry in wanted}
        features, handlers = node_status.features(machine, runtime.status)
        capacity = node_status.capacity(options, machine, usage)
        # extended resources that others say this node has: all of each may be asked for
        theirs = {n: q for n, q in node.status.capacity.items() if n not in capacity} if node is not None else {}
        return core_v1.NodeStatus(
            features=features,
            runtime_handlers=handlers,
            capacity=capacity,
            allocatable=node_status.allocatable(options, machine, usage) | theirs,
            conditions=[c for c in node_status.merged_conditions(old, wanted, now) if c.type in own],
            addresses=node_status.addresses(options),
            daemon_endpoints=core_v1.NodeDaemonEndpoints(
                kubelet_endpoint=core_v1.DaemonEndpoint(port=options.server_port)
            ),
            node_info=node_status.node_info(machine, runtime.version, options.version),
            images=node_status.image_list(runtime.images),
        )

    async def _ask_runtime(self) -> str:
        """Why no Pod can run, empty when all is well; what a silent runtime said before stays known."""
        said, runtime = self._runtime_said, self._runtime
        try:
            said.status = await runtime.status()
            said.version = await runtime.version()
            said.images = await runtime.list_images()
        except (RuntimeFailure, TimeoutError) as error:
            _log.warning("the container runtime does not answer %s", pairs(error=error))
            return node_status.runtime_problem(None)
        return node_status.runtime_problem(said.status)

    def _pressures_now(self, usage: Usage) -> set[str]:
        now = self._clock.monotonic()
        self.pressures.observe(crossed(self._thresholds, observations(self.machine.memory_bytes, usage, None)), now)
        return self.pressures.holding(now)

    async def tell_now(self) -> None:
        """A condition has changed: do not wait for the next turn; when the API is away, that turn will tell."""
        try:
            await self._tell_status()
        except (ApiError, OSError) as error:
            _log.info("cannot write the node's conditions now: %s", error)

    def _tell_transitions(self, before: dict[str, Any], after: dict[str, Any]) -> None:
        old = {c["type"]: c["status"] for c in before.get("conditions", [])}
        for condition in after["conditions"]:
            if old.get(condition["type"]) != condition["status"]:
                self._event_of(condition["type"], condition["status"] == "True")

    def _event_of(self, kind: str, holds: bool) -> None:
        names = {
            "MemoryPressure": ("NodeHasInsufficientMemory", "NodeHasSufficientMemory"),
            "DiskPressure": ("NodeHasDiskPressure", "NodeHasNoDiskPressure"),
            "PIDPressure": ("NodeHasInsufficientPID", "NodeHasSufficientPID"),
            "Ready": ("NodeReady", "NodeNotReady"),
        }
        reason = names[kind][0 if holds else 1]
        self.event(reason, f"Node {self._options.node_name} status is now: {reason}")

    def _schedulable(self, _key: str, old: core_v1.Node | None, new: core_v1.Node | None) -> None:
        """Tell who was cordoned, and who no longer is."""
        before = old is not None and old.spec.unschedulable
        if new is not None and new.spec.unschedulable != before:
            reason = "NodeNotSchedulable" if new.spec.unschedulable else "NodeSchedulable"
            self.event(reason, f"Node {self._options.node_name} status is now: {reason}")

    def on_clock_set(self, callback: Callable[[], None]) -> None:
        """Call `callback` when somebody has set the machine's wall clock."""
        self._clock_set = callback

    def hurry(self) -> None:
        """The server answers again."""
        self._informer.hurry()

    def enforced(self) -> None:
        """All Pods together are held to what the node has for them."""
        self.event("NodeAllocatableEnforced", "Updated Node Allocatable limit across pods")

    def event(self, reason: str, message: str, kind: str = "Normal") -> None:
        """Something happened to the node."""
        # the kubelet speaks of its node by name: upstream puts the name where the uid would be
        name = self._options.node_name
        reference = core_v1.ObjectReference(kind="Node", api_version="v1", name=name, uid=name)
        self._recorder.event(reference, kind, reason, message)

    async def _renew(self) -> None:
        name = self._options.node_name
        now = rfc3339_micro(self._clock.now())
        try:
            if self._lease is None:
                self._lease = await self._client.get(coordination_v1.Lease, name, LEASE_NAMESPACE)
            self._lease.spec.renew_time = now
            self._lease.spec.holder_identity = name
            self._lease.spec.lease_duration_seconds = self._options.lease_seconds
            self._lease = await self._client.update(self._lease)
        except ApiError as error:
            self._lease = None
            if error.code == 409:
                return
            if error.code != 404:
                raise
            await self._create_lease(name, now)

    async def _create_lease(self, name: str, now: str) -> None:
        node = self.node
        owners = []
        if node is not None:
            owners = [meta_v1.OwnerReference(kind="Node", api_version="v1", name=name, uid=node.metadata.uid)]
        self._lease = await self._client.create(
            coordination_v1.Lease(
                metadata=meta_v1.ObjectMeta(name=name, namespace=LEASE_NAMESPACE, owner_references=owners),
                spec=coordination_v1.LeaseSpec(
                    holder_identity=name, lease_duration_seconds=self._options.lease_seconds, renew_time=now
                ),
            )
        )


def _same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Equal but for heartbeats, and for what a full disk or memory changes all the time."""
    return _steady(one) == _steady(other)


def _steady(tree: dict[str, Any]) -> dict[str, Any]:
    conditions = [{k: v for k, v in c.items() if k != "lastHeartbeatTime"} for c in tree["conditions"]]
    return {**tree, "conditions": conditions}
