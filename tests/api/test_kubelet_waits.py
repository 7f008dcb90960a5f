"""What a Pod looks like while something that it needs is not there yet, and how soon it goes on when that comes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from carob.api import codec
from carob.api.types import core_v1
from carob.transport.http import Request
from carob.transport.memory import MemoryTransport
from tests.api.kubelet_world import ADMIN, World, eventually, in_world, ready, waiting

if TYPE_CHECKING:
    from pathlib import Path


def container(**more: Any) -> dict[str, Any]:
    return {"name": "c", "image": "web:latest", "imagePullPolicy": "IfNotPresent"} | more


def conditions(pod: core_v1.Pod) -> dict[str, str]:
    return {one.type: one.status for one in pod.status.conditions}


def test_a_pod_whose_volume_is_missing_has_no_sandbox_yet(tmp_path: Path) -> None:
    """Its sandbox is made beside its volumes, and shown with them, as upstream makes it after them."""

    async def body(world: World) -> None:
        mounts = [{"name": "v", "mountPath": "/conf"}]
        volumes = [{"name": "v", "configMap": {"name": "late"}}]
        await world.pod(containers=[container(volumeMounts=mounts)], volumes=volumes)
        await world.events("FailedMount")
        await eventually(lambda: bool(world.runtime.sandboxes))
        pod = await world.until("hello-pod", lambda pod: "PodReadyToStartContainers" in conditions(pod))
        assert conditions(pod)["PodReadyToStartContainers"] == "False"
        assert not pod.status.pod_ip
        config = {"metadata": {"name": "late", "namespace": "default"}, "data": {"x": "1"}}
        await world.client.create(codec.from_tree(core_v1.ConfigMap, config))
        pod = await world.until("hello-pod", ready)
        assert conditions(pod)["PodReadyToStartContainers"] == "True"
        assert pod.status.pod_ip
        failed, pulled, created = await world.events("FailedMount", "Pulled", "Created")
        revisions = [int(one.metadata.resource_version) for one in (failed, pulled, created)]
        assert revisions == sorted(revisions), "nothing is told of images before the volumes stand"

    in_world(tmp_path, body)


def test_a_path_made_of_an_annotation_is_looked_at_again_when_that_changes(tmp_path: Path) -> None:
    """Source: test/e2e/common/node/expansion.go (a failing subpath expansion can be modified)."""

    async def body(world: World) -> None:
        env = [{"name": "P", "valueFrom": {"fieldRef": {"fieldPath": "metadata.annotations['path']"}}}]
        mounts = [{"name": "v", "mountPath": "/v", "subPathExpr": "$(P)"}]
        await world.pod(containers=[container(env=env, volumeMounts=mounts)], volumes=[{"name": "v", "emptyDir": {}}])

        await world.until("hello-pod", waiting("CreateContainerConfigError"))
        (record,) = world.kubelet._records.values()
        record.failures["c"].retry_at += 3600
        patch = {"metadata": {"annotations": {"path": "here"}}}
        await world.client.patch(core_v1.Pod, "hello-pod", "default", patch=patch)
        await world.until("hello-pod", ready)

    in_world(tmp_path, body)


def test_an_image_volume_that_cannot_be_pulled_backs_off_as_an_image_does(tmp_path: Path) -> None:
    """Source: test/e2e/common/node/image_volume.go (should fail if image volume is not existing)."""

    async def body(world: World) -> None:
        mounts = [{"name": "v", "mountPath": "/v"}]
        volumes = [{"name": "v", "image": {"reference": "nowhere/nothing:v1"}}]
        await world.pod(containers=[container(volumeMounts=mounts)], volumes=volumes)
        await world.until("hello-pod", waiting("ErrImagePull"))
        pod = await world.until("hello-pod", waiting("ImagePullBackOff"))
        (status,) = pod.status.container_statuses
        assert status.state.waiting is not None
        assert status.state.waiting.message.startswith('Back-off pulling image "nowhere/nothing:v1": ErrImagePull: ')

    in_world(tmp_path, body)


def test_a_command_for_a_container_that_does_not_run_is_refused_as_upstream_does(tmp_path: Path) -> None:
    """WebSockets of the newest protocol are accepted, and the failure is told on them; others are not upgraded."""

    async def body(world: World) -> None:
        await world.pod(containers=[container(image="nowhere/nothing:v1")])
        await world.until("hello-pod", waiting("ImagePullBackOff"))
        road = MemoryTransport(world.kubelet.handler, ADMIN)
        words = b'container not found ("c")'
        protocol = {"x-stream-protocol-version": "v5.channel.k8s.io"}
        spdy = {"connection": "Upgrade", "upgrade": "SPDY/3.1"} | protocol
        path = "/exec/default/hello-pod/c"
        answer, connection = await road.upgrade(Request("POST", path, "command=ls&output=1", spdy))
        assert (answer.status, answer.body, connection) == (500, words, None)
        socket = {
            "connection": "Upgrade",
            "upgrade": "websocket",
            "sec-websocket-version": "13",
            "sec-websocket-key": "AAAAAAAAAAAAAAAAAAAAAA==",
            "sec-websocket-protocol": "v5.channel.k8s.io",
        }
        answer, connection = await road.upgrade(Request("GET", path, "command=ls&output=1", socket))
        assert answer.status == 101
        assert connection is not None
        told = b""
        while words.replace(b'"', b'\\"') not in told:
            data = await connection.read()
            assert data, told
            told += data
        assert b"Internal error occurred: unable to upgrade connection: " in told
        connection.close()
        await road.close()

    in_world(tmp_path, body)


def test_every_volume_that_is_missing_is_told(tmp_path: Path) -> None:
    async def body(world: World) -> None:
        mounts = [{"name": name, "mountPath": f"/{name}"} for name in "ab"]
        volumes = [{"name": "a", "secret": {"secretName": "x"}}, {"name": "b", "configMap": {"name": "y"}}]
        await world.pod(containers=[container(volumeMounts=mounts)], volumes=volumes)
        wanted = {
            'MountVolume.SetUp failed for volume "a" : secret "x" not found',
            'MountVolume.SetUp failed for volume "b" : configmap "y" not found',
        }
        async with world.client.watch(core_v1.Event, "default", send_initial_events=True) as events:
            async for event in events:
                if isinstance(event.object, core_v1.Event):
                    wanted.discard(event.object.message)
                if not wanted:
                    return

    in_world(tmp_path, body)
