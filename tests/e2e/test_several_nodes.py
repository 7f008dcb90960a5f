"""Three nodes on one machine, two of them in network namespaces of their own: traffic among them, and what happens when
one is cut off, switched off, taken away."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from clusters import WEB_IMAGE, Cluster, start
from machine import left_behind, look

pytestmark = [pytest.mark.root, pytest.mark.slow]

NODES = ("node-0", "node-1", "node-2")
NODE_PORT = 30780
HOST_PORT = 18080
GRACE_SECONDS = 10


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A cluster of three nodes that notices soon when one is lost; at the end everything is killed, and cleaned up."""
    before = look()
    name, folder = f"three-{os.getpid() % 10000}", tmp_path_factory.mktemp("three")
    flags = ("--node-monitor-grace-period", f"{GRACE_SECONDS}s", "--pod-eviction-timeout", "1s")
    cluster = start(name, folder, "--nodes", "3", *flags)
    yield cluster
    for row in cluster.carob("status").out.splitlines()[1:]:
        if row.split()[3] != "-":
            os.kill(int(row.split()[3]), signal.SIGKILL)
    cluster.carob("down", timeout=120).check()
    left = left_behind(before)
    assert not left, "carob down left the machine changed:\n" + "\n".join(left)


def web(name: str, grace_seconds: int = 0, **spec: Any) -> dict[str, Any]:
    """A Pod's metadata and spec."""
    ports = [{"containerPort": 8080}]
    container = {"name": "web", "image": WEB_IMAGE, "ports": ports}
    spec = {"terminationGracePeriodSeconds": grace_seconds, "containers": [container]} | spec
    return {"metadata": {"labels": {"app": name}}, "spec": spec}


def workload(kind: str, name: str, template: dict[str, Any], **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "apps/v1",
        "kind": kind,
        "metadata": {"name": name},
        "spec": {"selector": {"matchLabels": {"app": name}}, "template": template} | spec,
    }


def pod(name: str, node: str, template: dict[str, Any]) -> dict[str, Any]:
    metadata = {"name": name, **template["metadata"]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"nodeName": node, **template["spec"]}}


def create(cluster: Cluster, *objects: dict[str, Any]) -> None:
    manifest = {"apiVersion": "v1", "kind": "List", "items": list(objects)}
    cluster.carob("create", "-f", "-", stdin=json.dumps(manifest)).check()


def pods(cluster: Cluster, app: str) -> list[dict[str, Any]]:
    found = json.loads(cluster.carob("get", "pods", "-l", f"app={app}", "-o", "json").check().out)
    return list(found["items"])


def ready(found: dict[str, Any]) -> bool:
    conditions = found.get("status", {}).get("conditions", [])
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions) and not leaving(found)


def leaving(found: dict[str, Any]) -> bool:
    return "deletionTimestamp" in found["metadata"]


def node_of(found: dict[str, Any]) -> str:
    return str(found["spec"].get("nodeName", ""))


def wait_until(cluster: Cluster, what: str, holds: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not holds():
        if time.monotonic() > end:
            pods_now = cluster.carob("get", "pods,nodes", "-A", "-o", "wide").out
            pytest.fail(f"not within a minute: {what}\n{pods_now}\n{cluster.logs()}")
        time.sleep(0.1)


def on_each_node(cluster: Cluster, app: str, count: int = 3) -> dict[str, dict[str, Any]]:
    """The ready Pod of each node."""
    wait_until(cluster, f"{count} Pods {app} ready", lambda: sum(map(ready, pods(cluster, app))) == count)
    return {node_of(found): found for found in pods(cluster, app)}


def fetches(cluster: Cluster, pod_name: str, targets: list[tuple[str, int]]) -> list[tuple[str, int]]:
    """Those of the targets that the Pod does not get the page from."""
    lines = [
        f"printf 'GET / HTTP/1.0\\r\\n\\r\\n' | timeout 20 nc {address} {port} | grep -q Hello || echo {address} {port}"
        for address, port in targets
    ]
    out = cluster.carob("exec", pod_name, "--", "sh", "-c", "\n".join(lines)).check().out
    return [(line.split()[0], int(line.split()[1])) for line in out.splitlines()]


def test_pods_services_and_names_on_every_node(three: Cluster) -> None:
    everywhere = web("each")
    everywhere["spec"]["containers"][0]["ports"][0]["hostPort"] = HOST_PORT
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "far"},
        "spec": {
            "type": "NodePort",
            "selector": {"app": "far"},
            "ports": [{"port": 80, "targetPort": 8080, "nodePort": NODE_PORT}],
        },
    }
    on_host = pod("host", "node-1", web("host", hostNetwork=True))
    create(three, workload("DaemonSet", "each", everywhere), service, pod("far", "node-2", web("far")), on_host)
    each = on_each_node(three, "each")
    assert tuple(sorted(each)) == NODES
    three.wait_ready("far")
    address = three.carob("get", "service", "far", "-o", "jsonpath={.spec.clusterIP}").check().out
    nodes = [found["status"]["hostIP"] for found in each.values()]
    assert len(set(nodes)) == 3
    targets = [(found["status"]["podIP"], 8080) for found in each.values()]
    targets += [(address, 80)]
    targets += [(node, port) for node in nodes for port in (NODE_PORT, HOST_PORT)]
    names = {node: found["metadata"]["name"] for node, found in each.items()}
    # the rules of all nodes follow the endpoint, each in its own time
    for node, name in names.items():
        wait_until(three, f"all ways lead from {node}", lambda name=name: not fetches(three, name, targets))  # type: ignore[misc]
        assert address in three.carob("exec", name, "--", "nslookup", "far.default.svc.cluster.local.").out
        assert "response:200" in three.carob("logs", name).check().out
    ranges = {node: found["status"]["podIP"].rsplit(".", 1)[0] for node, found in each.items()}
    assert len(set(ranges.values())) == 3
    three.wait_ready("host")
    named = three.carob("exec", "host", "--", "sh", "-c", "hostname; hostname -i; echo $HOSTNAME").check().out.split()
    assert named == ["node-1", each["node-1"]["status"]["hostIP"], "node-1"]
    three.carob("delete", "service/far", "pod/far", "pod/host").check()


def test_nodes_are_switched_off_and_on_come_and_go(three: Cluster) -> None:
    create(three, workload("DaemonSet", "daemon", web("daemon")))
    before = on_each_node(three, "daemon")["node-1"]
    three.carob("node", "stop", "node-1").check()
    assert three.carob("status").code == 1
    three.carob("node", "start", "node-1").check()

    def restarted() -> bool:
        now = next(p for p in pods(three, "daemon") if node_of(p) == "node-1")
        restarts = now["status"]["containerStatuses"][0]["restartCount"]
        return ready(now) and restarts == 1 and now["metadata"]["uid"] == before["metadata"]["uid"]

    wait_until(three, "the Pod runs again on the node that was off", restarted)
    flags = ("--labels", "disk=ssd", "--taints", "dedicated=db:NoSchedule", "--node-cpus=500m", "--node-memory=512Mi")
    three.carob("node", "add", "late", *flags).check()
    late = json.loads(three.carob("get", "node", "late", "-o", "json").check().out)
    assert late["metadata"]["labels"]["disk"] == "ssd"
    assert {"key": "dedicated", "value": "db", "effect": "NoSchedule"} in late["spec"]["taints"]
    assert {name: late["status"]["capacity"][name] for name in ("cpu", "memory")} == {"cpu": "500m", "memory": "512Mi"}
    group = Path("/sys/fs/cgroup/memory", f"carob-{three.name}", "late", "kubepods", "memory.limit_in_bytes")
    if group.parents[2].exists():  # a machine with cgroup v1
        wait_until(three, "its Pods have no more", lambda: group.read_text().strip() == str(512 << 20))
    assert "late" in three.carob("status").check().out
    three.carob("node", "rm", "late").check()
    assert "late" not in three.carob("get", "nodes").check().out
    refused = three.carob("node", "cut", "node-0")
    assert refused.code == 1
    assert "node-0 lives on the machine's own network" in refused.err
    assert three.carob("node", "start", "nobody").code == 1
    three.carob("delete", "daemonset/daemon", "daemonset/each", "--ignore-not-found").check()


def test_what_a_lost_node_ran_is_replaced_elsewhere_and_ends_when_it_returns(three: Cluster) -> None:
    """Nothing of it runs twice under one name, and a Pod that nobody controls is not made again."""
    # some of them are on the node that will be lost, and may be elsewhere
    rather = [{"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": ["node-2"]}]}]
    preferred = [{"weight": 100, "preference": term} for term in rather]
    affinity = {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": preferred}}
    create(
        three,
        workload("Deployment", "many", web("many", 1, affinity=affinity), replicas=6),
        workload(
            "StatefulSet", "one", web("one", 1, nodeSelector={"kubernetes.io/hostname": "node-2"}), serviceName="one"
        ),
        pod("alone", "node-2", web("alone", 1)),
    )
    wait_until(three, "six Pods", lambda: sum(map(ready, pods(three, "many"))) == 6)
    three.wait_ready("alone")
    three.wait_ready("one-0")
    lost = {found["metadata"]["uid"] for found in pods(three, "many") if node_of(found) == "node-2"}
    assert lost
    (first,) = pods(three, "one")
    three.carob("node", "cut", "node-2").check()
    assert "Cut off" in three.carob("status").out
    three.carob("wait", "--for=condition=Ready=Unknown", "node/node-2", "--timeout=60s").check()

    def replaced() -> bool:
        found = pods(three, "many")
        left = all(leaving(p) for p in found if p["metadata"]["uid"] in lost)
        return left and sum(ready(p) and node_of(p) != "node-2" for p in found) == 6

    wait_until(three, "all six Pods ready elsewhere", replaced)
    wait_until(
        three, "the others are told to leave", lambda: all(map(leaving, pods(three, "one") + pods(three, "alone")))
    )
    (still,) = pods(three, "one")
    assert still["metadata"]["uid"] == first["metadata"]["uid"]
    three.carob("node", "start", "node-2").check()
    three.carob("wait", "--for=condition=Ready", "node/node-2", "--timeout=60s").check()

    def settled() -> bool:
        found = pods(three, "one")
        again = len(found) == 1 and ready(found[0]) and found[0]["metadata"]["uid"] != first["metadata"]["uid"]
        gone = not any(p["metadata"]["uid"] in lost for p in pods(three, "many"))
        return again and gone and not pods(three, "alone")

    wait_until(three, "the node ends what was replaced, and runs the StatefulSet's Pod anew", settled)
    three.carob("delete", "deployment/many", "statefulset/one").check()
