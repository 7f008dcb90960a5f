"""The kubelet against a real API server, with a runtime that keeps its promises in memory."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from carob.api import codec
from carob.api.status import ApiError
from carob.api.types import coordination_v1, core_v1
from carob.api.user import UserInfo
from carob.apiserver.options import ApiServerOptions
from carob.apiserver.server import ApiServer
from carob.base.clock import SystemClock
from carob.base.ids import SystemRandomness
from carob.client.rest import Client
from carob.kubelet.agent import Kubelet
from carob.kubelet.configuration import API_VERSION, KIND, of_file
from carob.kubelet.options import KubeletOptions
from carob.runtime.types import ContainerState, RuntimeFailure, SandboxState
from carob.store.memory import MemoryStore
from carob.transport.http import Connection, Request, Response, ResponseStream, Transport
from carob.transport.memory import MemoryTransport
from tests.fakes.mounts import FakeMounts
from tests.fakes.runtime import FakeRuntime

NODE = "node-0"
ADMIN = UserInfo("test", ("system:masters", "system:authenticated"))


class Road:
    """A road to the API server that can be cut."""

    def __init__(self, road: Transport) -> None:
        self._road = road
        self.cut = False

    def _check(self) -> None:
        if self.cut:
            raise ConnectionRefusedError(111, "Connection refused")

    async def send(self, request: Request) -> Response:
        self._check()
        return await self._road.send(request)

    async def stream(self, request: Request) -> ResponseStream:
        self._check()
        return await self._road.stream(request)

    async def upgrade(self, request: Request) -> tuple[Response, Connection | None]:
        raise NotImplementedError

    async def close(self) -> None:
        await self._road.close()


class World:
    """One API server, one node."""

    def __init__(self, folder: Path, client: Client) -> None:
        self.folder = folder
        self.client = client
        self.runtime = FakeRuntime()
        self.runtime.add_image("web:latest", Cmd=["serve"])
        self.mounts = FakeMounts()
        self.road = Road(client.transport)
        self.options: dict[str, Any] = {}
        self.kubelet: Kubelet
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Start the agent, or start it again."""
        self.kubelet = Kubelet(
            Client(self.road),
            self.runtime,
            KubeletOptions(
                node_name=NODE,
                root=str(self.folder / "node"),
                log_root=str(self.folder / "logs"),
                cgroup_root="/carob-test",
                node_ip="10.42.0.1",
                cluster_dns=("10.43.0.10",),
                static_folder=str(self.folder / "manifests"),
                **self.options,
            ),
            SystemClock(),
            SystemRandomness(),
            self.mounts,
        )
        self._task = asyncio.get_running_loop().create_task(self.kubelet.run())

    async def stop(self) -> None:
        """The agent ends; what it runs lives on."""
        assert self._task is not None
        assert not self._task.done(), self._task.exception()
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        self.runtime._subscribers.clear()

    async def pod(self, name: str = "hello-pod", **spec: Any) -> core_v1.Pod:
        container = {"name": "hello-ctr", "image": "web:latest", "imagePullPolicy": "IfNotPresent"}
        tree = {
            "metadata": {"name": name, "namespace": "default", "labels": {"zone": "prod"}},
            "spec": {"nodeName": NODE, "containers": [container]} | spec,
        }
        return await self.client.create(codec.from_tree(core_v1.Pod, tree))

    async def until(self, name: str, holds: Callable[[core_v1.Pod], Any]) -> core_v1.Pod:
        """The Pod, as soon as it is as wanted."""
        last: Any = None
        try:
            async with asyncio.timeout(30):
                watch = self.client.watch(
                    core_v1.Pod, "default", field_selector=f"metadata.name={name}", send_initial_events=True
                )
                async with watch as events:
                    async for event in events:
                        pod = event.object
                        assert not isinstance(pod, ApiError)
                        if event.type != "BOOKMARK":
                            last = pod
                            if event.type != "DELETED" and holds(pod):
                                return pod
        except TimeoutError:
            raise AssertionError(f"not so: {codec.to_tree(last.status) if last else None}") from None
        raise AssertionError("the watch ended")

    async def gone(self, name: str) -> None:
        """Return when the API no longer has the Pod."""
        async with asyncio.timeout(30):
            watch = self.client.watch(
                core_v1.Pod, "default", field_selector=f"metadata.name={name}", send_initial_events=True
            )
            async with watch as events:
                async for event in events:
                    if event.type == "DELETED" or (event.type == "BOOKMARK" and not await self._exists(name)):
                        return

    async def _exists(self, name: str) -> bool:
        try:
            await self.client.get(core_v1.Pod, name, "default")
        except ApiError:
            return False
        return True

    async def events(self, *reasons: str) -> list[core_v1.Event]:
        """The first event of each reason, as soon as all are there."""
        found: dict[str, core_v1.Event] = {}
        try:
            async with asyncio.timeout(30):
                async with self.client.watch(core_v1.Event, "default", send_initial_events=True) as events:
                    async for event in events:
                        if isinstance(event.object, core_v1.Event):
                            found.setdefault(event.object.reason, event.object)
                        if all(reason in found for reason in reasons):
                            return [found[reason] for reason in reasons]
        except TimeoutError:
            raise AssertionError(f"only {sorted(found)}") from None
        raise AssertionError("the watch ended")

    def running(self) -> str:
        """The id of the one container that runs."""
        (status,) = (s for s in self.runtime.containers.values() if s.state is ContainerState.RUNNING)
        return status.id

    async def registered(self) -> tuple[core_v1.Node, coordination_v1.Lease]:
        """The node and its lease, as soon as they are there."""
        for _ in range(500):
            try:
                node = await self.client.get(core_v1.Node, NODE)
                return node, await self.client.get(coordination_v1.Lease, NODE, "kube-node-lease")
            except ApiError:
                await asyncio.sleep(0.01)
        raise AssertionError("the node does not come")

    async def ask(self, path: str, query: str = "") -> tuple[int, str]:
        """A request to the kubelet's server."""
        road = MemoryTransport(self.kubelet.handler, ADMIN)
        try:
            answer = await road.send(Request("GET", path, query))
            return answer.status, answer.body.decode()
        finally:
            await road.close()


def in_world(folder: Path, body: Callable[[World], Awaitable[None]], options: ApiServerOptions | None = None) -> None:
    async def main() -> None:
        clock, randomness = SystemClock(), SystemRandomness()
        api = ApiServer(MemoryStore(), options or ApiServerOptions(), clock, randomness)
        await api.start()
        transport = MemoryTransport(api.handle, ADMIN)
        client = Client(transport)
        account = {"metadata": {"name": "default", "namespace": "default"}, "automountServiceAccountToken": False}
        await client.create(codec.from_tree(core_v1.ServiceAccount, account))
        world = World(folder, client)
        await world.start()
        try:
            await body(world)
        finally:
            await world.stop()
            await transport.close()
            await api.close()

    asyncio.run(main())


async def eventually(holds: Callable[[], Any]) -> None:
    """Return when it is so."""
    async with asyncio.timeout(30):
        while not holds():  # noqa: ASYNC110 - what is waited for is outside of the loop
            await asyncio.sleep(0.01)


def text_of(path: str | Path) -> str:
    return Path(path).read_text()


def names_in(folder: Path) -> list[str]:
    return [path.name for path in folder.glob("*")]


def write_log(path: str, text: str) -> None:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(text)


def ready(pod: core_v1.Pod) -> bool:
    return any(c.type == "Ready" and c.status == "True" for c in pod.status.conditions)


def waiting(reason: str) -> Callable[[core_v1.Pod], bool]:
    def holds(pod: core_v1.Pod) -> bool:
        return any(s.state.waiting and s.state.waiting.reason == reason for s in pod.status.container_statuses)

    return holds


def test_no_container_begins_before_the_pods_policies_hold(tmp_path: Path) -> None:
    async def body(world: World) -> None:
        asked, opened = asyncio.Event(), asyncio.Event()
        met: list[tuple[str, Sequence[str]]] = []

        async def opens(pod: core_v1.Pod, addresses: Sequence[str]) -> None:
            met.append((pod.metadata.name, tuple(addresses)))
            asked.set()
            await opened.wait()

        world.kubelet.gate.opened_by(opens)
        await world.pod()
        async with asyncio.timeout(30):
            await asked.wait()
        (sandbox,) = world.runtime.sandboxes.values()
        assert met == [("hello-pod", tuple(sandbox.ips))]
        assert not world.runtime.containers
        opened.set()
        await world.until("hello-pod", ready)
        assert len(met) == 1

    in_world(tmp_path, body)


def test_a_pod_becomes_ready_and_its_status_says_everything(tmp_path: Path) -> None:
    async def body(world: World) -> None:
        await world.pod()
        pod = await world.until("hello-pod", ready)
        status = pod.status
        assert (status.phase, status.pod_ip, status.host_ip) == ("Running", "10.42.0.2", "10.42.0.1")
        assert [ip.ip for ip in status.pod_ips] == ["10.42.0.2"]
        assert {c.type: c.status for c in status.conditions} == {
            "PodReadyToStartContainers": "True",
            "Initialized": "True",
            "Ready": "True",
            "ContainersReady": "True",
            "PodScheduled": "True",
        }
        (container,) = status.container_statuses
        assert container.container_id == f"carob://{world.running()}"
        assert (container.ready, container.started, container.restart_count) == (True, True, 0)
        assert container.image == "web:latest"
        assert status.observed_generation == pod.metadata.generation
        assert status.start_time is not None
        assert status.qos_class == "BestEffort"

    in_world(tmp_path, body)


def test_events_tell_the_way_of_a_container(tmp_path: Path) -> None:
    async def body(world: World) -> None:
        await world.pod()
        pulled, created, started = await world.events("Pulled", "Created", "Started")
        assert pulled.message == (
            'Container image "web:latest" already present on machine and can be accessed by the pod'
        )
        assert (created.message, started.message) == ("Container created", "Container started")
        assert started.involved_object.field_path == "spec.containers{hello-ctr}"
        assert started.source.component == "kubelet"
        assert started.source.host == NODE

    in_world(tmp_path, body)


def test_deletion_stops_the_process_and_then_the_pod_is_gone(tmp_path: Path) -> None:
    async def body(world: World) -> None:
        pod = await world.pod()
        await world.until("hello-pod", ready)
        await world.client.delete(core_v1.Pod, "hello-pod", "default")
        await world.gone("hello-pod")
        (killing,) = await world.events("Killing")
        assert killing.message == "Stopping container hello-ctr"
        files = world.folder / "node" / "pods"
        await eventually(lambda: not world.runtime.sandboxes and pod.metadata.uid not in os.listdir(files))
        assert world.runtime.containers == {}

    in_world(tmp_path, body)


def test_a_container_that_ends_is_started_again_and_then_backs_off(tmp_path: Path) -> None:
    async def body(world: World) -> None:
        await world.pod()
        await world.until("hello-pod", ready)
        world.runtime.finish(world.running(), 1)
        await world.until("hello-pod", lambda p: ready(p) and p.status.container_statuses[0].restart_count == 1)
        world.runtime.finish(world.running(), 1)
        pod = await world.until("hello-pod", waiting("CrashLoopBackOff"))
        (status,) = pod.status.container_statuses
        assert status.state.waiting is not None
        assert status.state.waiting.message == (
            f"back-off 10s restarting failed container=hello-ctr pod=hello-pod_default({pod.metadata.uid})"
        )
        assert status.last_state.terminated is not None
        assert (status.last_state.terminated.exit_code, status.last_state.terminated.reason) == (1, "Error")
        assert pod.status.phase == "Running"
        (event,) = await world.events("BackOff")
        assert event.message.startswith("Back-off restarting failed container hello-ctr in pod hello-pod_default(")

    in_world(tmp_path, body)


@pytest.mark.parametrize(("code", "phase", "reason"), [(0, "Succeeded", "Completed"), (3, "Failed", "Error")])
def test_a_pod_that_never_restarts_ends(tmp_path: Path, code: int, phase: str, reason: str) -> None:
    async def body(world: World) -> None:
        container = {"name": "c", "image": "web:latest", "imagePullPolicy": "Never", "args": ["sh", f"exit {code}"]}
        await world.pod(restartPolicy="Never", containers=[container])
        pod = await world.until("hello-pod", lambda p: p.status.phase == phase)
        terminated = pod.status.container_statuses[0].state.terminated
        assert terminated is not None
        assert (terminated.exit_code, terminated.reason) == (code, reason)
        condition = next(c for c in pod.status.conditions if c.type == "Ready")
        assert (condition.status, condition.reason) == (
            "False",
            "PodCompleted" if code == 0 else "PodFailed",
        )
        await world.client.delete(core_v1.Pod, "hello-pod", "default")
        await world.gone("hello-pod")

    in_world(tmp_path, body)


@pytest.mark.slow
def test_an_image_that_is_nowhere(tmp_path: Path) -> None:
    async def body(world: World) -> None:
        await world.pod(containers=[{"name": "c", "image": "nowhere:1"}])
        await world.until("hello-pod", waiting("ErrImagePull"))
        pod = await world.until("hello-pod", waiting("ImagePullBackOff"))
        state = pod.status.container_statuses[0].state.waiting
        assert state is not None
        assert state.message.startswith('Back-off pulling image "nowhere:1": ErrImagePull: failed to pull')
        assert pod.status.phase == "Pending"
        pulling, failed = await world.events("Pulling", "Failed")
        assert pulling.message == 'Pulling image "nowhere:1"'
        assert failed.message.startswith('Failed to pull image "nowhere:1": ')

    in_world(tmp_path, body)


def test_an_image_name_that_is_none(tmp_path: Path) -> None:
    async def body(world: World) -> None:
        await world.pod(containers=[{"name": "c", "image": "Nowhere:1"}])
        pod = await world.until("hello-pod", waiting("InvalidImageName"))
        state = pod.status.container_statuses[0].state.waiting
        assert state is not None
        assert state.message == (
            'Failed to apply default image tag "Nowhere:1": couldn\'t parse image name "Nowhere:1": '
            "invalid reference format: repository name (library/Nowhere) must be lowercase"
        )

    in_world(tmp_path, body)


def test_config_maps_and_secrets_reach_environment_and_files(tmp_path: Path) -> None:
    async def body(world: World) -> None:
        config = {"metadata": {"name": "conf", "namespace": "default"}, "data": {"color": "blue", "a.txt": "one"}}
        await world.client.create(codec.from_tree(core_v1.ConfigMap, config))
        container = {
            "name": "c",
            "image": "web:latest",
            "imagePullPolicy": "Never",
            "env": [
                {"name": "COLOR", "valueFrom": {"configMapKeyRef": {"name": "conf", "key": "color"}}},
                {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
                {"name": "BOTH", "value": "$(COLOR) at $(IP) $$(X) $(NO)"},
            ],
            "volumeMounts": [{"name": "v", "mountPath": "/conf"}, {"name": "e", "mountPath": "/work"}],
        }
        volumes = [{"name": "v", "configMap": {"name": "conf"}}, {"name": "e", "emptyDir": {"medium": "Memory"}}]
        await world.pod(containers=[container], volumes=volumes)
        pod = await world.until("hello-pod", ready)
        config_of = world.runtime.configs[world.running()]
        env = dict(config_of.env)
        assert env["BOTH"] == "blue at 10.42.0.2 $(X) $(NO)"
        mounts = {mount.container_path: mount for mount in config_of.mounts}
        assert mounts["/conf"].readonly
        file = mounts["/conf"].host_path + "/a.txt"
        assert text_of(file) == "one"
        assert "10.42.0.2\thello-pod" in text_of(mounts["/etc/hosts"].host_path)
        assert mounts["/dev/termination-log"].host_path.endswith("/containers/c/0")
        patch = {"data": {"a.txt": "two"}}
        await world.client.patch(core_v1.ConfigMap, "conf", "default", patch=patch)
        await eventually(lambda: text_of(file) == "two")
        assert any(pod.metadata.uid in point for point in world.mounts.points)

    in_world(tmp_path, body)


def test_a_path_that_leads_out_of_its_volume_says_nothing_of_the_node(tmp_path: Path) -> None:
    folder = tmp_path / "shared"
    folder.mkdir()
    (folder / "out").symlink_to("/etc")

    async def body(world: World) -> None:
        mounts = [{"name": "v", "mountPath": "/x", "subPath": "out"}]
        container = {"name": "c", "image": "web:latest", "imagePullPolicy": "Never", "volumeMounts": mounts}
        await world.pod(containers=[container], volumes=[{"name": "v", "hostPath": {"path": str(folder)}}])
        pod = await world.until("hello-pod", waiting("CreateContainerConfigError"))
        state = pod.status.container_statuses[0].state.waiting
        assert state is not None
        assert state.message == 'failed to prepare subPath for volumeMount "v" of container "c"'

    in_world(tmp_path, body)


def test_a_missing_config_map_is_told_and_found_when_it_comes(tmp_path: Path) -> None:
    async def body(world: World) -> None:
        container = {
            "name": "c",
            "image": "web:latest",
            "imagePullPolicy": "Never",
            "env": [{"name": "X", "valueFrom": {"configMapKeyRef": {"name": "late", "key": "x"}}}],
            "volumeMounts": [{"name": "v", "mountPath": "/conf"}],
        }
        await world.pod(containers=[container], volumes=[{"name": "v", "configMap": {"name": "late"}}])
        (mount,) = await world.events("FailedMount")
        assert mount.message == 'MountVolume.SetUp failed for volume "v" : configmap "late" not found'
        config = {"metadata": {"name": "late", "namespace": "default"}, "data": {"x": "1"}}
        await world.client.create(codec.from_tree(core_v1.ConfigMap, config))
        await world.until("hello-pod", ready)

    in_world(tmp_path, body)


def test_the_summary_tells_of_logs_and_of_what_volumes_hold(tmp_path: Path) -> None:
    async def body(world: World) -> None:
        await world.client.create(
            codec.from_tree(
                core_v1.ConfigMap, {"metadata": {"name": "conf", "namespace": "default"}, "data": {"a": "1"}}
            )
        )
        mounts = [{"name": name, "mountPath": f"/{name}"} for name in ("disk", "conf", "host")]
        container = {"name": "c", "image": "web:latest", "imagePullPolicy": "Never", "volumeMounts": mounts}
        volumes = [
            {"name": "disk", "emptyDir": {}},
            {"name": "conf", "configMap": {"name": "conf"}},
            {"name": "host", "hostPath": {"path": str(tmp_path)}},
        ]
        await world.pod(containers=[container], volumes=volumes)
        await world.until("hello-pod", ready)
        (status,) = world.runtime.containers.values()
        write_log(status.log_path, "x" * 5000)
        paths = {mount.container_path: mount.host_path for mount in world.runtime.configs[status.id].mounts}
        write_log(f"{paths['/disk']}/file", "y" * 9000)
        code, text = await world.ask("/stats/summary")
        assert code == 200
        (pod,) = json.loads(text)["pods"]
        found = {volume["name"]: volume for volume in pod["volume"]}
        assert found.keys() == {"disk", "conf"}, "what lies on the node's own disk is the node's"
        assert found["disk"]["usedBytes"] >= 9000
        assert found["conf"]["inodesUsed"] >= 3
        logs = pod["containers"][0]["logs"]
        assert (logs["usedBytes"] >= 5000, logs["inodesUsed"]) == (True, 1)
        for one in (*found.values(), logs, pod["containers"][0]["rootfs"], pod["ephemeral-storage"]):
            assert one["capacityBytes"] > one["availableBytes"] > 0
        # the ConfigMap lies in memory
        storage = pod["ephemeral-storage"]
        assert storage["usedBytes"] == found["disk"]["usedBytes"] + logs["usedBytes"]

    in_world(tmp_path, body)


def test_the_kubelet_tells_how_it_is_configured_and_what_runs(tmp_path: Path) -> None:
    async def body(world: World) -> None:
        world.options = {
            "max_pods": 12,
            "system_reserved_cpu_millicores": 100,
            "eviction_soft_grace_seconds": {"x": 90},
        }
        await world.stop()
        await world.start()
        pod = await world.pod()
        await world.until("hello-pod", ready)
        code, text = await world.ask("/configz")
        told = json.loads(text)["kubeletconfig"]
        assert (code, told["kind"], told["maxPods"]) == (200, "KubeletConfiguration", 12)
        assert (told["systemReserved"], told["kubeReserved"]) == ({"cpu": "100m"}, {})
        assert told["evictionSoftGracePeriod"] == {"x": "1m30s"}
        # every field is one that a file may have
        given = {name: value for name, value in told.items() if name not in ("kind", "apiVersion")}
        of_file(json.dumps({"kind": KIND, "apiVersion": API_VERSION, **given}))
        code, text = await world.ask("/runningpods/")
        (found,) = json.loads(text)["items"]
        assert (code, found["metadata"]["uid"]) == (200, pod.metadata.uid)
        assert [(c["name"], c["image"]) for c in found["spec"]["containers"]] == [("hello-ctr", "web:latest")]

    in_world(tmp_path, body)


def test_init_containers_run_one_after_another(tmp_path: Path) -> None:
    async def body(world: World) -> None:
        done = {"image": "web:latest", "imagePullPolicy": "Never", "args": ["sh", "exit 0"]}
        await world.pod(initContainers=[{"name": "a", **done}, {"name": "b", **done}])
        pod = await world.until("hello-pod", ready)
        order = [what for verb, what in world.runtime.calls if verb == "create_container"]
        assert order == ["a", "b", "hello-ctr"]
        assert all(s.ready for s in pod.status.init_container_statuses)

    in_world(tmp_path, body)


def test_a_restarted_agent_finds_its_pods(tmp_path: Path) -> None:
    async def body(world: World) -> None:
        await world.pod("stays")
        await world.pod("goes")
        await world.until("stays", ready)
        await world.until("goes", ready)
        before = await world.client.get(core_v1.Pod, "stays", "default")
        await world.stop()
        await world.client.delete(core_v1.Pod, "goes", "default", grace_period_seconds=0)
        await world.start()
        await eventually(lambda: len(world.runtime.sandboxes) == 1)
        after = await world.client.get(core_v1.Pod, "stays", "default")
        assert after.status == before.status
        assert world.runtime.containers[world.running()].attempt == 0
        world.runtime.finish(world.running(), 1)
        await world.until("stays", lambda p: ready(p) and p.status.container_statuses[0].restart_count == 1)

    in_world(tmp_path, body)


def test_a_container_cannot_be_made(tmp_path: Path) -> None:
    async def body(world: World) -> None:
        world.runtime.fail_next("create_container", RuntimeFailure("no space left", "CreateContainerError"))
        await world.pod()
        pod = await world.until("hello-pod", waiting("CreateContainerError"))
        state = pod.status.container_statuses[0].state.waiting
        assert state is not None
        assert state.message == "no space left"
        (failed,) = await world.events("Failed")
        assert failed.message == "Error: no space left"

    in_world(tmp_path, body)


@pytest.mark.slow
def test_a_command_that_does_not_exist(tmp_path: Path) -> None:
    async def body(world: World) -> None:
        await world.pod(
            containers=[{"name": "c", "image": "web:latest", "imagePullPolicy": "Never", "command": ["nope"]}]
        )
        pod = await world.until("hello-pod", waiting("RunContainerError"))
        status = pod.status.container_statuses[0]
        assert status.state.waiting is not None
        assert 'exec: "nope": executable file not found in $PATH' in status.state.waiting.message
        assert status.last_state.terminated is not None
        assert (status.last_state.terminated.exit_code, status.last_state.terminated.reason) == (128, "StartError")
        pod = await world.until("hello-pod", waiting("CrashLoopBackOff"))
        assert pod.status.container_statuses[0].restart_count == 1

    in_world(tmp_path, body)


def started_again(times: int) -> Callable[[core_v1.Pod], bool]:
    return lambda pod: ready(pod) and pod.status.container_statuses[0].restart_count == times


def test_an_ended_container_that_cannot_be_removed_costs_the_running_one_nothing(tmp_path: Path) -> None:
    async def body(world: World) -> None:
        world.runtime.programs["check",] = (0, b"", b"")
        await world.pod(containers=hooked(postStart={"exec": {"command": ["check"]}}))
        await world.until("hello-pod", ready)
        record = next(iter(world.kubelet._records.values()))
        for attempt in (1, 2):
            world.runtime.finish(world.running(), 1)
            record.crashes.clear()
            world.runtime.fail_next("remove_container", RuntimeFailure("busy"))
            pod = await world.until("hello-pod", started_again(attempt))
            assert pod.status.container_statuses[0].state.running is not None
        assert not world.runtime._failures["remove_container"][1:], "it was tried"

    in_world(tmp_path, body)


@pytest.mark.parametrize("inits", [[], [{"name": "i", "image": "web:latest"}]], ids=["plain", "with an init container"])
def test_a_pod_that_does_not_fit_is_refused(tmp_path: Path, inits: list[dict[str, Any]]) -> None:
    async def body(world: World) -> None:
        container = {"name": "c", "image": "web:latest", "resources": {"requests": {"cpu": "4000"}}}
        await world.pod(containers=[container], initContainers=inits)
        pod = await world.until("hello-pod", lambda p: p.status.phase == "Failed")
        assert pod.status.reason == "OutOfcpu"
        assert pod.status.message.startswith("Pod was rejected: Node didn't have enough resource: cpu, requested: 4000")
        await world.client.delete(core_v1.Pod, "hello-pod", "default")
        await world.gone("hello-pod")

    in_world(tmp_path, body)


def test_the_node_is_registered_and_lives(tmp_path: Path) -> None:
    async def body(world: World) -> None:
        node, lease = await world.registered()
        assert lease.spec.holder_identity == NODE
        conditions = {c.type: c.status for c in node.status.conditions}
        assert conditions == {
            "MemoryPressure": "False",
            "DiskPressure": "False",
            "PIDPressure": "False",
            "Ready": "True",
        }
        assert node.metadata.labels["kubernetes.io/hostname"] == NODE
        assert node.status.node_info.container_runtime_version == "fake://0"
        assert node.status.capacity["pods"] == "110"

    in_world(tmp_path, body)


def test_what_happens_to_the_node_is_told_of_it(tmp_path: Path) -> None:
    async def body(world: World) -> None:
        await world.registered()
        (enforced,) = await world.events("NodeAllocatableEnforced")
        assert enforced.message == "Updated Node Allocatable limit across pods"
        for unschedulable, reason in ((True, "NodeNotSchedulable"), (False, "NodeSchedulable")):
            await world.client.patch(core_v1.Node, NODE, patch={"spec": {"unschedulable": unschedulable}})
            (event,) = await world.events(reason)
            assert (event.type, event.message) == ("Normal", f"Node {NODE} status is now: {reason}")
        await world.stop()
        earlier = {"status": {"nodeInfo": {"bootID": "an-earlier-boot"}}}
        await world.client.patch(core_v1.Node, NODE, patch=earlier, subresource="status")
        await world.start()
        (event,) = await world.events("Rebooted")
        assert event.type == "Warning"
        assert event.message == f"Node {NODE} has been rebooted, boot id: {world.kubelet.node.machine.boot_id}"

    in_world(tmp_path, body)


def hooked(**lifecycle: Any) -> list[dict[str, Any]]:
    made = {"name": "c", "image": "web:latest", "imagePullPolicy": "Never", "lifecycle": lifecycle}
    return [made]


def test_a_post_start_hook_comes_before_running(tmp_path: Path) -> None:
    async def body(world: World) -> None:
        await world.pod(containers=hooked(postStart={"exec": {"command": ["true"]}}))
        await world.until("hello-pod", ready)
        assert ("exec_sync", world.running()) in world.runtime.calls

    in_world(tmp_path, body)


def test_a_post_start_hook_that_fails_ends_the_container(tmp_path: Path) -> None:
    async def body(world: World) -> None:
        await world.pod(containers=hooked(postStart={"exec": {"command": ["sh", "echo no; exit 1"]}}))
        pod = await world.until("hello-pod", waiting("PostStartHookError"))
        failed, killing = await world.events("FailedPostStartHook", "Killing")
        assert failed.message == "PostStartHook failed"
        state = pod.status.container_statuses[0].state
        assert state is not None
        assert state.waiting is not None
        named = f'Container "c" in Pod "hello-pod_default({pod.metadata.uid})"'
        assert state.waiting.message.startswith(
            f"Exec lifecycle hook ([sh echo no; exit 1]) for {named} failed - error: "
        )
        assert killing.message == "FailedPostStartHook"

    in_world(tmp_path, body)


@pytest.mark.slow
def test_a_container_whose_hook_failed_is_ended_again_when_that_fails(tmp_path: Path) -> None:
    async def body(world: World) -> None:
        world.runtime.fail_next("stop_container", RuntimeFailure("no answer"))
        await world.pod(containers=hooked(postStart={"exec": {"command": ["false"]}}))
        await world.events("FailedKillPod")
        await world.until("hello-pod", lambda p: p.status.container_statuses[0].last_state.terminated is not None)
        assert not [s for s in world.runtime.containers.values() if s.state is ContainerState.RUNNING]

    in_world(tmp_path, body)


def test_a_pre_stop_hook_comes_before_the_signal(tmp_path: Path) -> None:
    async def body(world: World) -> None:
        await world.pod(containers=hooked(preStop={"exec": {"command": ["true"]}}))
        await world.until("hello-pod", ready)
        await world.client.delete(core_v1.Pod, "hello-pod", "default")
        await world.gone("hello-pod")
        verbs = [verb for verb, _ in world.runtime.calls]
        assert verbs.index("exec_sync") < verbs.index("stop_container")

    in_world(tmp_path, body)


def test_a_container_whose_hook_failed_never_counts_as_running(tmp_path: Path) -> None:
    async def body(world: World) -> None:
        pod = await world.pod(containers=hooked(postStart={"exec": {"command": ["sh", "echo no; exit 1"]}}))
        since = pod.metadata.resource_version
        await world.until("hello-pod", waiting("PostStartHookError"))
        async with (
            asyncio.timeout(30),
            world.client.watch(core_v1.Pod, "default", resource_version=since) as watch,
        ):
            async for event in watch:
                assert isinstance(event.object, core_v1.Pod)
                assert all(s.state.running is None for s in event.object.status.container_statuses)
                if any(s.last_state.terminated for s in event.object.status.container_statuses):
                    break

    in_world(tmp_path, body)


def test_why_it_cannot_start_is_shown_while_it_is_tried_again(tmp_path: Path) -> None:
    async def body(world: World) -> None:
        key = {"configMapKeyRef": {"name": "late", "key": "a"}}
        env = [{"name": "A", "valueFrom": key}]
        made = {"name": "c", "image": "web:latest", "imagePullPolicy": "Never", "env": env}
        await world.pod(containers=[made])
        pod = await world.until("hello-pod", waiting("CreateContainerConfigError"))
        late = {"metadata": {"name": "late", "namespace": "default"}, "data": {"a": "1"}}
        await world.client.create(codec.from_tree(core_v1.ConfigMap, late))
        seen: list[str] = []
        async with (
            asyncio.timeout(15),
            world.client.watch(core_v1.Pod, "default", resource_version=pod.metadata.resource_version) as watch,
        ):
            async for event in watch:
                assert isinstance(event.object, core_v1.Pod)
                state = event.object.status.container_statuses[0].state
                if state.running is not None:
                    break
                seen.append(state.waiting.reason if state.waiting else "")
        assert "ContainerCreating" not in seen

    in_world(tmp_path, body)


def test_a_path_of_a_variable_without_a_value_starts_nothing(tmp_path: Path) -> None:
    async def body(world: World) -> None:
        mount = {"name": "v", "mountPath": "/v", "subPathExpr": "$(EMPTY)/$(NOPE)"}
        made = {"name": "c", "image": "web:latest", "imagePullPolicy": "Never", "volumeMounts": [mount]}
        made["env"] = [{"name": "EMPTY", "value": ""}]
        await world.pod(containers=[made], volumes=[{"name": "v", "emptyDir": {}}])
        pod = await world.until("hello-pod", waiting("CreateContainerConfigError"))
        state = pod.status.container_statuses[0].state
        assert state is not None
        assert state.waiting is not None
        assert state.waiting.message == "missing value for EMPTY, NOPE"

    in_world(tmp_path, body)


@pytest.mark.slow
def test_a_pre_stop_hook_has_no_more_than_the_grace_period(tmp_path: Path) -> None:
    async def body(world: World) -> None:
        await world.pod(containers=hooked(preStop={"sleep": {"seconds": 60}}), terminationGracePeriodSeconds=60)
        await world.until("hello-pod", ready)
        await world.client.delete(core_v1.Pod, "hello-pod", "default", grace_period_seconds=1)
        await world.gone("hello-pod")
        (failed,) = await world.events("FailedPreStopHook")
        assert failed.type == "Warning"

    in_world(tmp_path, body)


@pytest.mark.slow
def test_a_shorter_grace_period_ends_what_ignores_the_signal(tmp_path: Path) -> None:
    async def body(world: World) -> None:
        stubborn = {"name": "c", "image": "web:latest", "imagePullPolicy": "Never", "command": ["trap"]}
        await world.pod(containers=[stubborn])
        await world.until("hello-pod", ready)
        await world.client.delete(core_v1.Pod, "hello-pod", "default")
        await eventually(lambda: any(verb == "stop_container" for verb, _ in world.runtime.calls))
        await world.client.delete(core_v1.Pod, "hello-pod", "default", grace_period_seconds=1)
        await world.gone("hello-pod")

    in_world(tmp_path, body)


def test_a_forced_deletion_leaves_nothing_on_the_node(tmp_path: Path) -> None:
    async def body(world: World) -> None:
        await world.pod()
        await world.until("hello-pod", ready)
        await world.client.delete(core_v1.Pod, "hello-pod", "default", grace_period_seconds=0)
        await eventually(lambda: not world.runtime.sandboxes and not world.kubelet._records)

    in_world(tmp_path, body)


def test_a_pod_is_deleted_while_its_image_is_pulled(tmp_path: Path) -> None:
    async def body(world: World) -> None:
        async def never(name: str, auth: Any = None, progress: Any = None) -> Any:
            await asyncio.get_running_loop().create_future()

        world.runtime.pull_image = never  # type: ignore[method-assign]
        await world.pod(containers=[{"name": "c", "image": "far:1"}])
        await world.events("Pulling")
        await world.client.delete(core_v1.Pod, "hello-pod", "default")
        await world.gone("hello-pod")
        await eventually(lambda: not world.runtime.sandboxes)

    in_world(tmp_path, body)


@pytest.mark.slow
def test_a_sandbox_that_cannot_be_made_is_tried_again(tmp_path: Path) -> None:
    async def body(world: World) -> None:
        world.runtime.fail_next("run_sandbox", RuntimeFailure("no address left"))
        await world.pod()
        (failed,) = await world.events("FailedCreatePodSandBox")
        assert failed.message == "Failed to create pod sandbox: no address left"
        await world.until("hello-pod", ready)

    in_world(tmp_path, body)


def test_logs_that_a_killed_agent_left_of_a_pod_go(tmp_path: Path) -> None:
    async def body(world: World) -> None:
        pod = await world.pod()
        await world.until("hello-pod", ready)
        await world.stop()
        left = tmp_path / "logs/default_gone_1234-5678/c"
        kept = tmp_path / f"logs/default_hello-pod_{pod.metadata.uid}/hello-ctr"
        for folder in (left, kept):
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "0.log").write_text("words")
        (tmp_path / "logs/a_folder_of_somebody_else").mkdir()
        await world.start()
        await eventually(lambda: not left.parent.exists())
        assert (kept / "0.log").exists()
        assert (tmp_path / "logs/a_folder_of_somebody_else").exists()

    in_world(tmp_path, body)


def test_a_user_namespace_is_refused_and_not_forgotten(tmp_path: Path) -> None:
    async def body(world: World) -> None:
        await world.pod(hostUsers=False)
        (failed,) = await world.events("FailedCreatePodSandBox")
        assert failed.message == "Failed to create pod sandbox: runtime does not support user namespaces"

    in_world(tmp_path, body)


@pytest.mark.slow
@pytest.mark.parametrize("verb", ["stop_container", "stop_sandbox", "remove_sandbox"])
def test_a_step_of_the_end_that_fails_is_tried_again(tmp_path: Path, verb: str) -> None:
    async def body(world: World) -> None:
        await world.pod()
        await world.until("hello-pod", ready)
        world.runtime.fail_next(verb, RuntimeFailure("device busy"))
        await world.client.delete(core_v1.Pod, "hello-pod", "default")
        await world.gone("hello-pod")
        await eventually(lambda: not world.runtime.sandboxes and not world.kubelet._records)

    in_world(tmp_path, body)


def test_many_pods_come_and_go_and_nothing_is_left(tmp_path: Path) -> None:
    async def body(world: World) -> None:
        async def one(name: str) -> None:
            await world.pod(name)
            await world.until(name, ready)
            await world.client.delete(core_v1.Pod, name, "default")
            await world.gone(name)

        await asyncio.gather(*(one(f"p{number}") for number in range(12)))
        await eventually(lambda: not world.kubelet._records and not world.runtime.sandboxes)
        assert world.kubelet._statuses._entries == {}
        assert names_in(world.folder / "node" / "memory") == names_in(world.folder / "logs") == []

    in_world(tmp_path, body)


def test_a_pod_whose_pause_process_dies_gets_a_new_sandbox(tmp_path: Path) -> None:
    async def body(world: World) -> None:
        before = await world.pod()
        await world.until("hello-pod", ready)
        (sandbox,) = world.runtime.sandboxes
        world.runtime.kill_pause(sandbox)
        pod = await world.until("hello-pod", lambda p: ready(p) and p.status.pod_ip == "10.42.0.3")
        assert [ip.ip for ip in pod.status.pod_ips] == ["10.42.0.3"]
        assert pod.status.container_statuses[0].restart_count == 1
        assert pod.metadata.uid == before.metadata.uid
        await world.events("SandboxChanged")

    in_world(tmp_path, body)


def test_a_sidecar_runs_beside_and_ends_last(tmp_path: Path) -> None:
    async def body(world: World) -> None:
        shared = {"image": "web:latest", "imagePullPolicy": "Never"}
        side = {"name": "side", "restartPolicy": "Always", **shared}
        await world.pod(initContainers=[side])
        pod = await world.until("hello-pod", ready)
        assert pod.status.init_container_statuses[0].started
        await world.client.delete(core_v1.Pod, "hello-pod", "default")
        await world.gone("hello-pod")
        stopped = [what for verb, what in world.runtime.calls if verb == "stop_container"]
        created = [what for verb, what in world.runtime.calls if verb == "create_container"]
        assert created == ["side", "hello-ctr"]
        assert len(stopped) == 2
        # container-2 is the sidecar: it was made first and goes last
        assert stopped == sorted(stopped, reverse=True)

    in_world(tmp_path, body)


def test_a_failed_liveness_probe_restarts_the_container(tmp_path: Path) -> None:
    async def body(world: World) -> None:
        world.runtime.programs[("check",)] = (1, b"", b"not well")
        probe = {"exec": {"command": ["check"]}, "failureThreshold": 1}
        made = {"name": "c", "image": "web:latest", "imagePullPolicy": "Never", "livenessProbe": probe}
        await world.pod(containers=[made])
        await world.until("hello-pod", lambda p: any(s.restart_count == 1 for s in p.status.container_statuses))
        unhealthy, killing = await world.events("Unhealthy", "Killing")
        assert unhealthy.message == "Liveness probe failed: not well"
        assert killing.message == "Container c failed liveness probe, will be restarted"

    in_world(tmp_path, body)


@pytest.mark.slow
def test_a_pod_may_be_active_only_so_long(tmp_path: Path) -> None:
    async def body(world: World) -> None:
        await world.pod(activeDeadlineSeconds=1)
        pod = await world.until("hello-pod", lambda p: p.status.phase == "Failed")
        assert pod.status.reason == "DeadlineExceeded"
        assert pod.status.message == "Pod was active on the node longer than the specified deadline"
        await eventually(lambda: not any(s.state is ContainerState.RUNNING for s in world.runtime.containers.values()))

    in_world(tmp_path, body)


def test_a_pod_in_the_nodes_network(tmp_path: Path) -> None:
    async def body(world: World) -> None:
        await world.pod(hostNetwork=True)
        pod = await world.until("hello-pod", ready)
        assert pod.status.pod_ip == "10.42.0.1"
        (sandbox,) = world.runtime.sandboxes.values()
        assert sandbox.config.network.value == "node"
        mounts = {m.container_path: m.host_path for m in world.runtime.configs[world.running()].mounts}
        assert text_of(mounts["/etc/hosts"]).startswith("# Kubernetes-managed hosts file (host network).")

    in_world(tmp_path, body)


def test_what_a_container_said_last_is_told(tmp_path: Path) -> None:
    async def body(world: World) -> None:
        await world.pod(restartPolicy="Never")
        await world.until("hello-pod", ready)
        container_id = world.running()
        mounts = {m.container_path: m.host_path for m in world.runtime.configs[container_id].mounts}
        write_log(mounts["/dev/termination-log"], "out of luck")
        world.runtime.finish(container_id, 2)
        pod = await world.until("hello-pod", lambda p: p.status.phase == "Failed")
        terminated = pod.status.container_statuses[0].state.terminated
        assert terminated is not None
        assert terminated.message == "out of luck"

    in_world(tmp_path, body)


def test_a_container_that_ended_while_the_agent_was_away(tmp_path: Path) -> None:
    async def body(world: World) -> None:
        await world.pod(restartPolicy="Never")
        await world.until("hello-pod", ready)
        container_id = world.running()
        await world.stop()
        world.runtime.finish(container_id, 5)
        await world.start()
        pod = await world.until("hello-pod", lambda p: p.status.phase == "Failed")
        terminated = pod.status.container_statuses[0].state.terminated
        assert terminated is not None
        assert terminated.exit_code == 5

    in_world(tmp_path, body)


def test_an_agent_that_begins_without_the_api_ends_nothing(tmp_path: Path) -> None:
    async def body(world: World) -> None:
        await world.pod("lasting")
        await world.pod("crashing")
        await world.until("lasting", ready)
        pod = await world.until("crashing", ready)
        before = {status.id for status in world.runtime.containers.values()}
        (crashing,) = [
            status.id
            for status in world.runtime.containers.values()
            if world.runtime.sandboxes[status.sandbox_id].config.uid == pod.metadata.uid
        ]
        await world.stop()
        world.road.cut = True
        world.runtime.calls.clear()
        world.options = {"api_patience_seconds": 0.05}
        await world.start()
        await eventually(lambda: ("start", "") in world.runtime.calls)
        world.runtime.finish(crashing, 1)
        await asyncio.sleep(0.2)
        verbs = {verb for verb, _ in world.runtime.calls}
        assert not verbs & {"stop_container", "remove_container", "stop_sandbox", "remove_sandbox"}
        world.road.cut = False
        await world.until("crashing", lambda p: ready(p) and p.status.container_statuses[0].restart_count == 1)
        lasting = await world.until("lasting", ready)
        assert lasting.status.container_statuses[0].restart_count == 0
        assert before < {status.id for status in world.runtime.containers.values()}

    in_world(tmp_path, body)


def test_after_a_reboot_pods_run_again_with_what_their_volumes_held(tmp_path: Path) -> None:
    def mounted(world: World, container_id: str, path: str) -> Path:
        return next(Path(m.host_path) for m in world.runtime.configs[container_id].mounts if m.container_path == path)

    async def body(world: World) -> None:
        config = {"metadata": {"name": "conf", "namespace": "default"}, "data": {"a": "one"}}
        await world.client.create(codec.from_tree(core_v1.ConfigMap, config))
        paths = {"disk": "/disk", "memory": "/memory", "conf": "/conf"}
        container = {
            "name": "c",
            "image": "web:latest",
            "imagePullPolicy": "Never",
            "volumeMounts": [{"name": name, "mountPath": path} for name, path in paths.items()],
        }
        volumes = [
            {"name": "disk", "emptyDir": {}},
            {"name": "memory", "emptyDir": {"medium": "Memory"}},
            {"name": "conf", "configMap": {"name": "conf"}},
        ]
        first = await world.pod("hello-pod", containers=[container], volumes=volumes)
        await world.pod("once", restartPolicy="Never")
        await world.until("hello-pod", ready)
        await world.until("once", ready)
        (before,) = [c.id for c in world.runtime.containers.values() if c.name == "c"]
        (mounted(world, before, "/disk") / "kept").write_text("1")
        folder = mounted(world, before, "/conf")
        await world.stop()
        # the power goes: no process lives, and what was in memory is gone
        shutil.rmtree(world.folder / "node" / "memory")
        world.mounts.points.clear()
        for sandbox in world.runtime.sandboxes.values():
            sandbox.state = SandboxState.NOT_READY
        for status in list(world.runtime.containers.values()):
            world.runtime.finish(status.id, 137, "ContainerStatusUnknown")

        await world.start()
        pod = await world.until("hello-pod", lambda p: ready(p) and p.status.container_statuses[0].restart_count == 1)
        assert pod.metadata.uid == first.metadata.uid
        ended = pod.status.container_statuses[0].last_state.terminated
        assert ended is not None
        assert (ended.exit_code, ended.reason) == (137, "ContainerStatusUnknown")
        (after,) = [c.id for c in world.runtime.containers.values() if c.state is ContainerState.RUNNING]
        assert (mounted(world, after, "/disk") / "kept").read_text() == "1"
        assert mounted(world, after, "/conf") == folder
        assert (folder / "a").read_text() == "one"
        assert str(mounted(world, after, "/memory")) in world.mounts.points
        failed = await world.until("once", lambda p: p.status.phase == "Failed")
        assert failed.status.container_statuses[0].restart_count == 0
        (sandbox,) = [s for s in world.runtime.sandboxes.values() if s.state is SandboxState.READY]
        assert pod.status.pod_ip == sandbox.ips[0]

    in_world(tmp_path, body)


@pytest.mark.slow
def test_what_happened_while_the_api_was_away_is_told_when_it_returns(tmp_path: Path) -> None:
    async def body(world: World) -> None:
        await world.pod()
        await world.until("hello-pod", ready)
        world.road.cut = True
        world.runtime.finish(world.running(), 1)
        await eventually(lambda: len(world.runtime.containers) == 2)
        await asyncio.sleep(0.5)
        assert (await world.client.get(core_v1.Pod, "hello-pod", "default")).status.container_statuses[0].ready
        world.road.cut = False
        async with asyncio.timeout(1.2):
            await world.until("hello-pod", lambda p: ready(p) and p.status.container_statuses[0].restart_count == 1)

    in_world(tmp_path, body)


def test_a_node_that_was_deleted_comes_back(tmp_path: Path) -> None:
    async def body(world: World) -> None:
        node = world.kubelet.node
        await eventually(lambda: node.node is not None)
        await world.client.delete(core_v1.Node, NODE)
        await eventually(lambda: node.node is None)
        await node._tell_status()
        assert (await world.client.get(core_v1.Node, NODE)).status.capacity["pods"] == "110"

    in_world(tmp_path, body)


def test_what_others_say_that_a_node_has_may_be_asked_for(tmp_path: Path) -> None:
    async def body(world: World) -> None:
        node = world.kubelet.node
        await eventually(lambda: node.node is not None)
        dongles = "example.com/dongle"

        def says(amount: str | None) -> bool:
            return node.node is not None and node.node.status.capacity.get(dongles) == amount

        for amount in ("4", None):
            said = {"status": {"capacity": {dongles: amount}}}
            await world.client.patch(core_v1.Node, NODE, patch=said, subresource="status")
            await eventually(partial(says, amount))
            await node._tell_status()
            status = (await world.client.get(core_v1.Node, NODE)).status
            assert (status.capacity.get(dongles), status.allocatable.get(dongles)) == (amount, amount)

    in_world(tmp_path, body)


def test_a_pod_deleted_while_the_agent_was_away_goes(tmp_path: Path) -> None:
    async def body(world: World) -> None:
        await world.pod()
        await world.until("hello-pod", ready)
        await world.stop()
        await world.client.delete(core_v1.Pod, "hello-pod", "default")
        await world.start()
        await world.gone("hello-pod")

    in_world(tmp_path, body)


def test_a_new_pod_of_the_same_name_is_another_pod(tmp_path: Path) -> None:
    async def body(world: World) -> None:
        await world.pod()
        await world.until("hello-pod", ready)
        await world.client.delete(core_v1.Pod, "hello-pod", "default", grace_period_seconds=0)
        new = await world.pod()
        pod = await world.until("hello-pod", ready)
        assert pod.metadata.uid == new.metadata.uid
        await eventually(lambda: {s.config.uid for s in world.runtime.sandboxes.values()} == {new.metadata.uid})

    in_world(tmp_path, body)


def test_logs_are_served(tmp_path: Path) -> None:
    async def body(world: World) -> None:
        await world.pod()
        await world.until("hello-pod", ready)
        stamp = "2026-11-23T05:53:00.123456789+00:00"
        log = world.runtime.containers[world.running()].log_path
        write_log(log, f"{stamp} stdout F one\n{stamp} stderr P tw\n{stamp} stderr F o\n")
        path = "/containerLogs/default/hello-pod/hello-ctr"
        assert await world.ask(path) == (200, "one\ntwo\n")
        assert await world.ask(path, "tailLines=2") == (200, "two\n")
        assert await world.ask(path, "timestamps=true&limitBytes=34") == (200, "2026-11-23T05:53:00.123456789Z one")
        status, text = await world.ask(path, "previous=true")
        assert (status, text) == (400, 'previous terminated container "hello-ctr" in pod "hello-pod" not found')
        assert (await world.ask("/containerLogs/default/hello-pod/other"))[0] == 404

    in_world(tmp_path, body)
