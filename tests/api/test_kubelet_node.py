"""The Node that a kubelet registers, and what it says of itself."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from carob.api.types import core_v1
from carob.kubelet.configuration import API_VERSION, KIND, of_file
from tests.api.kubelet_world import NODE, World, eventually, in_world, ready, text_of


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
