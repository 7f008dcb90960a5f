"""A real API server with the controllers, over the road without sockets; the controllers' clock is the test's own."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import orjson

from carob.api import codec
from carob.api.status import ApiError
from carob.api.types import coordination_v1, core_v1, meta_v1
from carob.api.user import UserInfo
from carob.apiserver.options import ApiServerOptions
from carob.apiserver.pki import Pki
from carob.apiserver.server import ApiServer
from carob.base.clock import SystemClock, VirtualClock, rfc3339
from carob.base.ids import SystemRandomness
from carob.base.tasks import TaskGroup
from carob.client.informer import Informer
from carob.client.rest import Client
from carob.client.workqueue import WorkQueue
from carob.controllers.runner import LATER_SECONDS, ControllerOptions, Controllers
from carob.store.memory import MemoryStore
from carob.transport.http import Request, Response
from carob.transport.memory import MemoryTransport

T = TypeVar("T")
MASTERS = ("system:masters", "system:authenticated")


class World:
    def __init__(self, api: ApiServer, clock: VirtualClock) -> None:
        self.api = api
        self.folders: dict[str, str] = {}
        """What the nodes' kubelets keep as local volumes: node by volume."""
        self.folders_fail = ""
        self.client = self.client_of("test", *MASTERS)
        self.clock = clock

    def client_of(self, user: str, *groups: str) -> Client:
        return Client(MemoryTransport(self.api.handle, UserInfo(user, groups)))

    def manager(self) -> Client:
        """The controllers' client; in place of the nodes' kubelets answers a dictionary."""

        def handle(request: Request) -> Response | Awaitable[Response]:
            node, _, volume = request.path.partition("/proxy/localVolumes/")
            if not volume:
                return self.api.handle(request)
            if self.folders_fail:
                return Response(500, self.folders_fail.encode(), content_type="text/plain")
            if request.method == "DELETE":
                self.folders.pop(volume, None)
                return Response(200, b"{}")
            self.folders[volume] = node.rpartition("/")[2]
            return Response(200, orjson.dumps({"path": f"/volumes/{volume}"}))

        return Client(MemoryTransport(handle, UserInfo("system:kube-controller-manager", MASTERS)))

    async def make(self, kind: type[T], name: str, namespace: str = "", **tree: Any) -> T:
        metadata = {"name": name} | ({"namespace": namespace} if namespace else {}) | tree.pop("metadata", {})
        return await self.client.create(codec.from_tree(kind, {"metadata": metadata} | tree))

    async def pod(self, name: str, **spec: Any) -> core_v1.Pod:
        return await self.make(
            core_v1.Pod, name, "default", spec={"containers": [{"name": "main", "image": "web"}]} | spec
        )

    async def node(self, name: str) -> None:
        await self.make(core_v1.Node, name)
        conditions = [{"type": "Ready", "status": "True", "lastHeartbeatTime": "2026-01-01T00:00:00Z"}]
        status = {"conditions": conditions, "addresses": [{"type": "InternalIP", "address": "10.42.0.1"}]}
        await self.client.patch(core_v1.Node, name, patch={"status": status}, subresource="status")

    async def lease(self, name: str) -> None:
        await self.make(
            coordination_v1.Lease, name, "kube-node-lease", spec={"renewTime": "2026-01-01T00:00:00.000000Z"}
        )

    async def renew(self, name: str, second: int) -> None:
        patch = {"spec": {"renewTime": f"2026-01-01T00:{second // 60:02}:{second % 60:02}.000000Z"}}
        await self.client.patch(coordination_v1.Lease, name, "kube-node-lease", patch=patch)

    async def until(self, kind: type[T], name: str, namespace: str, holds: Callable[[T | None], bool]) -> None:
        """Return as soon as the object (None: it does not exist) is as wanted."""
        async with asyncio.timeout(30):
            while True:
                try:
                    found: T | None = await self.client.get(kind, name, namespace)
                except ApiError as error:
                    if error.reason != "NotFound":
                        raise
                    found = None
                if holds(found):
                    return
                await asyncio.sleep(0.005)

    async def gone(self, kind: type[Any], name: str, namespace: str = "") -> None:
        await self.until(kind, name, namespace, lambda found: found is None)


def in_world(pki: Pki, body: Callable[[World], Awaitable[None]], service_range6: str = "", **more: Any) -> None:
    """Run the body against a server whose controllers have these options as well."""

    async def main() -> None:
        clock, randomness = SystemClock(), SystemRandomness()
        key_file = pki.service_account_key
        served = ApiServerOptions(service_account_key_pem=key_file.read_bytes(), service_range6=service_range6)
        api = ApiServer(MemoryStore(), served, clock, randomness)
        await api.start()
        world = World(api, VirtualClock(clock.now()))
        options = ControllerOptions(pki.ca.certificate, pki.ca.key, key_file, **more)
        controllers = Controllers(world.manager(), world.clock, randomness, options)
        task = asyncio.get_running_loop().create_task(controllers.run())
        try:
            await world.until(core_v1.ServiceAccount, "default", "default", lambda found: found is not None)
            await world.clock.advance(LATER_SECONDS)
            await body(world)
            assert not task.done()
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await api.close()

    asyncio.run(main())


class Kubelets:
    """Binds every Pod to `node-0`, reports it ready (or as `outcome` says) and ends it when asked to."""

    def __init__(self, world: World) -> None:
        self._client = world.client
        self._clock = world.clock
        self._pods = Informer(world.client, core_v1.Pod, SystemClock())
        self._queue = WorkQueue(SystemClock())
        self.outcome: Callable[[core_v1.Pod], dict[str, Any] | None] = lambda pod: {}
        """What the status says beside Running and ready; None: the Pod stays pending."""
        self.most_seen: Callable[[list[core_v1.Pod]], None] | None = None
        """Called with all Pods at every change, to watch a promise."""
        self.deaf: set[str] = set()
        """Names of Pods for which nothing is done."""

    async def run(self) -> None:
        async with TaskGroup() as group:
            group.spawn(self._pods.run(), "pods")
            self._pods.subscribe(self._changed)
            await self._queue.work(self._sync, 8, "kubelets")

    def _changed(self, key: str, old: core_v1.Pod | None, new: core_v1.Pod | None) -> None:
        if self.most_seen is not None:
            self.most_seen(list(self._pods.items()))
        self._queue.add(key)

    def again(self) -> None:
        """The outcome has changed."""
        for key in self._pods.keys():  # noqa: SIM118 - not a dict
            self._queue.add(key)

    async def _sync(self, key: str) -> None:
        pod = self._pods.get(key)
        if pod is None or pod.metadata.name in self.deaf:
            return
        name, namespace = pod.metadata.name, pod.metadata.namespace
        if pod.metadata.deletion_timestamp:
            if pod.spec.node_name and pod.status.phase not in ("Succeeded", "Failed"):
                ended = {"status": {"phase": "Failed", "conditions": []}}
                await self._quietly(self._client.patch(core_v1.Pod, name, namespace, patch=ended, subresource="status"))
            await self._quietly(self._client.delete(core_v1.Pod, name, namespace, grace_period_seconds=0))
            return
        wanted = self.outcome(pod)
        if wanted is None:
            return
        if not pod.spec.node_name:
            target = {
                "kind": "Binding",
                "apiVersion": "v1",
                "metadata": {"name": name},
                "target": {"name": _node_for(pod)},
            }
            await self._quietly(self._client.post(core_v1.Pod, name, namespace, "binding", target, meta_v1.Status))
            return
        stamp = rfc3339(self._clock.now())
        status: dict[str, Any] = {
            "phase": "Running",
            "podIP": "10.42.0.9",
            "podIPs": [{"ip": "10.42.0.9"}],
            "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": stamp}],
        } | wanted
        if pod.status.phase != status["phase"]:
            await self._quietly(
                self._client.patch(core_v1.Pod, name, namespace, patch={"status": status}, subresource="status")
            )

    @staticmethod
    async def _quietly(call: Awaitable[Any]) -> None:
        try:
            await call
        except ApiError as error:
            if error.reason not in ("NotFound", "Conflict"):
                raise


def _node_for(pod: core_v1.Pod) -> str:
    """The node that its affinity names, as daemons have it; else node-0."""
    affinity = pod.spec.affinity and pod.spec.affinity.node_affinity
    required = affinity.required_during_scheduling_ignored_during_execution if affinity else None
    fields = [one for term in required.node_selector_terms for one in term.match_fields] if required else []
    return fields[0].values[0] if fields else "node-0"


def with_kubelets(pki: Pki, body: Callable[[World, Kubelets], Awaitable[None]]) -> None:
    """`in_world`, with kubelets that answer at once."""

    async def inside(world: World) -> None:
        await world.node("node-0")
        kubelets = Kubelets(world)
        task = asyncio.get_running_loop().create_task(kubelets.run())
        try:
            await body(world, kubelets)
            assert not task.done()
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    in_world(pki, inside)
