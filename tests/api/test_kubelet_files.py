"""What the kubelet puts before a container in files and variables, and what it reads of it."""

from __future__ import annotations

import json
from pathlib import Path

from carob.api import codec
from carob.api.types import core_v1
from tests.api.kubelet_world import World, eventually, in_world, ready, text_of, waiting, write_log


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
