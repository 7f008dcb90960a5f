"""A node's process: network, runtime, kubelet, and the socket on which `carob image` reaches the node's images."""

from __future__ import annotations

import asyncio
import fcntl
import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO
from urllib.parse import urlsplit

from carob.api import quantity
from carob.api.types import core_v1
from carob.base.clock import SystemClock
from carob.base.ids import SystemRandomness
from carob.base.log import get_logger
from carob.base.readiness import READY, say, wait_go
from carob.base.tasks import TaskGroup
from carob.client.rest import Client
from carob.host.real import RealHost
from carob.host.threads import Threads
from carob.host.types import MNT_DETACH, MS_BIND, MS_REC
from carob.kubelet.agent import Kubelet
from carob.kubelet.files import read_text
from carob.kubelet.node_routes import THROUGH
from carob.kubelet.options import KubeletOptions
from carob.kubelet.user_namespaces import first_id
from carob.network import segment
from carob.network.etc_files import resolv_conf_for_others
from carob.network.layout import NetworkLayout
from carob.network.node import open_network
from carob.network.node import remove_everything as remove_network
from carob.runtime.embedded import mount_namespace
from carob.runtime.embedded.runtime import EmbeddedRuntime
from carob.runtime.images.images import Images
from carob.runtime.images.skopeo import Mirror
from carob.runtime.types import RuntimeFailure
from carob.standalone.image_server import ImageServer
from carob.standalone.membership import NETWORK, NODE, JoinedAccess, LocalAccess
from carob.standalone.network_agent import NetworkAgent
from carob.standalone.places import apart_node, cni_places, node_cgroup, runtime_owner, runtime_places
from carob.standalone.process import settle_memory
from carob.transport.server import Server

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from carob.base.layout import Cluster, NodeLayout
    from carob.host.types import Host
    from carob.network.node import Network
    from carob.runtime.cri.server import CriServer
    from carob.runtime.types import Runtime
    from carob.standalone.image_server import NodeImages
    from carob.standalone.membership import Access

_log = get_logger("node")

IMAGE_THREADS = 2
RECONNECT_SECONDS = 0.05
SIGNS_OF_LIFE = 4
"""How many a node gives while it may be silent. Source: kubelet, nodeLeaseRenewIntervalFraction."""


def image_socket(cluster: Cluster, node: str) -> Path:
    """Where a node's process answers `carob image`."""
    return cluster.node_run_dir(node) / "images.sock"


def own(cluster: Cluster, node: str) -> BinaryIO:
    """Take the node's lock, held until the file is closed or the process ends: a second agent would take its sockets.

    Raises: RuntimeFailure when another process has it; OSError.
    """
    folder = Path(cluster.run_dir)
    folder.mkdir(parents=True, exist_ok=True)
    lock = (folder / f"{node}.lock").open("wb")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        lock.close()
        raise RuntimeFailure(f"{node} of the cluster {cluster.name} runs already, in another process") from error
    return lock


def enter_namespaces(cluster: Cluster, node: str) -> None:
    """Move this process into the node's mount and network namespaces. Call it before any thread exists."""
    host, layout = RealHost(), cluster.node(node)
    apart = apart_node(cluster, layout) if layout.apart else None
    if apart is not None:
        # its file lies outside of the mount namespace, where the next process finds it
        segment.connect(apart, host)
    if not layout.runtime_endpoint:
        # what volumes mount must be seen by whoever runs the containers
        mount_namespace.enter(host, runtime_places(cluster, node))
    if apart is not None:
        segment.enter(apart, host)


def mirror_of(url: str) -> Mirror:
    """`http://127.0.0.1:5000` or `registry.example/path`: without a scheme, or with https, TLS is needed."""
    scheme, separator, location = url.partition("://")
    return Mirror((location if separator else url).rstrip("/"), insecure=scheme == "http" and bool(separator))


class HostMounts:
    """The kubelet's mounts, by the host's system calls."""

    def __init__(self, host: Host) -> None:
        self._host = host

    def mount_tmpfs(self, path: str, *, size_bytes: int = 0, mode: int = 0o755) -> None:
        size = f",size={size_bytes}" if size_bytes else ""
        self._host.mount("tmpfs", path, "tmpfs", 0, f"mode={mode:o}{size}")

    def mount_hugetlbfs(self, path: str, *, page_bytes: int, mode: int = 0o755) -> None:
        self._host.mount("hugetlbfs", path, "hugetlbfs", 0, f"mode={mode:o},pagesize={page_bytes}")

    def bind(self, source: str, target: str, *, recursive: bool = True) -> None:
        self._host.mount(source, target, flags=MS_BIND | (MS_REC if recursive else 0))

    def unmount(self, path: str) -> None:
        self._host.umount(path, MNT_DETACH)

    def is_mounted(self, path: str) -> bool:
        return os.path.ismount(path)


class NodeProcess:
    """One `carob node` on this machine."""

    def __init__(self, cluster: Cluster, node: str) -> None:
        self._cluster = cluster
        self._node: NodeLayout = cluster.node(node)
        self._folder = cluster.node_dir(node)
        self._clock = SystemClock()
        self._randomness = SystemRandomness()
        self._host = RealHost()
        self._access = self._open_access()

    def _open_access(self) -> Access:
        cluster, node = self._cluster, self._node
        if cluster.servers:
            return JoinedAccess(cluster, node, self._clock, self._randomness)
        return LocalAccess(cluster, node, self._clock)

    async def run(self) -> None:
        """Run Pods until cancelled; containers run on. Raises: OSError, NetworkFailure, RuntimeFailure, JoinFailure."""
        await self._access.open(self._options())
        if self._access.former_range:
            # the Node was deleted meanwhile: the Pods of that time have no addresses any more, and nobody wants them
            remove_network(self._cluster.name, self._folder / "network", cni_places(self._node))
        network = open_network(self._network_layout(), self._folder / "network", self._clock)
        try:
            network.set_up()
            runtime, images = self._runtime(network)
            try:
                await images.start()
                # certificates and the API are the server's to make
                await wait_go()
                await self._serve(runtime, images, network)
            finally:
                await runtime.close()
        finally:
            network.close()

    def _runtime(self, network: Network) -> tuple[Runtime, NodeImages]:
        """What runs the containers, and their images."""
        endpoint = self._node.runtime_endpoint
        if endpoint:
            from carob.runtime.cri.client import CriRuntime
            from carob.runtime.cri.node_images import RuntimeImages
            from carob.standalone.node_ports import ForeignPorts

            owner = runtime_owner(self._cluster, self._node)
            driven = CriRuntime(
                endpoint, self._host, self._clock, owner, self._node.pod_cidr, ForeignPorts(network.host_ports)
            )
            return driven, RuntimeImages(driven)
        images = self._images(lambda image_id: runtime.container_using(image_id))
        runtime = EmbeddedRuntime(
            host=self._host,
            clock=self._clock,
            randomness=self._randomness,
            places=runtime_places(self._cluster, self._node.name),
            network=network.pods,
            images=images,
        )
        return runtime, images

    def _network_layout(self) -> NetworkLayout:
        cluster = self._cluster
        api_address, api_port = self._api_place()
        return NetworkLayout(
            cluster=cluster.name,
            inside_address=self._node.inside_address,
            node_address=self._node.address,
            behind_router=self._node.apart,
            pod_range=self._node.pod_cidr,
            segment_range="" if self._node.apart else cluster.segment_range,
            origin=cluster.origin,
            api_address=api_address,
            cluster_range=cluster.pod_cidr,
            service_range=cluster.service_cidr,
            api_service_address=cluster.kubernetes_service_address,
            api_port=api_port,
            dns_address=cluster.dns_address,
            load_balancer_range=cluster.load_balancer_range,
            inside_address6=self._node.inside_address6,
            node_address6=self._node.address6,
            pod_range6=self._node.pod_cidr6,
            cluster_range6=cluster.pod_cidr6,
            service_range6=cluster.service_cidr6,
            segment_range6="" if self._node.apart else cluster.segment_range6,
            dns_address6=cluster.dns_address6,
            load_balancer_range6=cluster.load_balancer_range6,
            cni=cni_places(self._node),
        )

    def _api_place(self) -> tuple[str, int]:
        """Where the `kubernetes` Service leads until the cluster says where its servers are."""
        cluster = self._cluster
        if not cluster.servers:
            return cluster.inside_address, cluster.api_port
        parts = urlsplit(cluster.servers[0])
        try:
            host = socket.gethostbyname(parts.hostname or "")
        except OSError:
            host = cluster.inside_address
        return host, parts.port or 443

    def _images(self, used_by: Callable[[str], str]) -> Images:
        mirrors = {host: [mirror_of(url)] for host, url in self._cluster.registry_mirrors.items()}
        return Images(
            self._host,
            Threads(self._host, IMAGE_THREADS),
            str(self._folder / "images"),
            mirrors=mirrors,
            environment=os.environ,
            used_by=used_by,
        )

    def _annotations(self) -> dict[str, str]:
        """Other machines reach a node that lives apart through the one that this machine is."""
        machine = next((node.name for node in self._cluster.nodes if not node.apart), "")
        return {THROUGH: machine} if self._node.apart and machine else {}

    def _options(self) -> KubeletOptions:
        cluster, node = self._cluster, self._node
        settings: dict[str, Any] = {}
        if cluster.kubelet or node.kubelet:
            from carob.kubelet.configuration import changes

            settings = changes({**cluster.kubelet, **node.kubelet})
        return KubeletOptions(
            **settings,
            node_name=node.name,
            root=str(self._folder / "kubelet"),
            log_root=str(self._folder / "pod-logs"),
            cgroup_root=node_cgroup(cluster, node),
            static_folder=str(self._folder / "manifests"),
            node_ip=node.address,
            node_ip6=node.address6,
            server_port=node.kubelet_port,
            cluster_domain=cluster.domain,
            cluster_dns=(cluster.dns_address,),
            resolv_conf=resolv_conf_for_others(read_text),
            cpu_millicores=quantity.cpu_millicores(node.cpus) if node.cpus else 0,
            memory_bytes=quantity.memory_bytes(node.memory) if node.memory else 0,
            labels=node.labels,
            annotations=self._annotations(),
            taints=tuple(node.taints),
            lease_seconds=max(1, round(cluster.node_monitor_grace_seconds)),
            lease_renew_seconds=cluster.node_monitor_grace_seconds / SIGNS_OF_LIFE,
            pod_cidr=node.pod_cidr,
            pod_cidr6=node.pod_cidr6,
            first_user_id=first_id(node.pod_cidr),
        )

    def _cri_server(self, runtime: Runtime) -> tuple[CriServer | None, Runtime]:
        """What serves the CRI where that is wanted, and the runtime for the kubelet: what it does is then heard of."""
        if not self._node.cri_socket:
            return None, runtime
        from carob.runtime.cri.events import Events, announcing
        from carob.runtime.cri.server import CriServer

        events = Events()
        heard = announcing(runtime, events)
        server = CriServer(
            heard,
            events,
            Path(self._node.cri_socket),
            self._clock,
            self._randomness,
            cgroup_parent=f"{node_cgroup(self._cluster, self._node)}/cri",
        )
        return server, heard

    async def _serve(self, runtime: Runtime, images: NodeImages, network: Network) -> None:
        """The kubelet, its HTTPS server, the image socket, and what the API says of the network."""
        name, access = self._node.name, self._access
        client = Client(access.transport(NODE), user_agent="kubelet")
        cri, seam = self._cri_server(runtime)
        kubelet = Kubelet(
            client,
            seam,
            self._options(),
            self._clock,
            self._randomness,
            HostMounts(self._host),
        )
        watcher = Client(access.transport(NETWORK), user_agent="carob-network")
        agent = NetworkAgent(watcher, network, kubelet, self._cluster, name, self._clock, self._randomness)
        agent.on_servers(access.learn)
        server = Server(kubelet.handler, self._clock, tls=access.server_context())
        image_server = ImageServer(self._host, images, image_socket(self._cluster, name), self._clock)
        try:
            await server.listen(self._node.address, self._node.kubelet_port)
            await image_server.listen()
            async with TaskGroup() as group:
                group.spawn(kubelet.run(), "kubelet")
                group.spawn(agent.run(), "network agent")
                group.spawn(access.run(), "membership")
                await agent.wait_ready()
                await _wait_schedulable(client, name)
                if cri is not None:
                    await cri.listen()
                say(READY)
                settle_memory()
                await asyncio.get_running_loop().create_future()
        finally:
            if cri is not None:
                await cri.close()
            await image_server.close()
            await server.close()
            await access.close()


async def _wait_schedulable(client: Client, name: str) -> None:
    """Return when the API knows the node as Ready and nothing keeps Pods away from it."""
    while True:
        try:
            events = client.watch(core_v1.Node, field_selector=f"metadata.name={name}", send_initial_events=True)
            async with events:
                async for event in events:
                    if (
                        isinstance(event.object, core_v1.Node)
                        and event.type != "DELETED"
                        and _schedulable(event.object)
                    ):
                        return
        except ConnectionError:
            # the server is still starting; the kubelet itself waits in the same way
            await asyncio.sleep(RECONNECT_SECONDS)


def _schedulable(node: core_v1.Node) -> bool:
    ready = any(c.type == "Ready" and c.status == "True" for c in node.status.conditions)
    return ready and not any(t.key == "node.kubernetes.io/not-ready" for t in node.spec.taints)
