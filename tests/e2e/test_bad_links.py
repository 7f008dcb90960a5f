"""Nodes whose links are cut, lose packets by chance and are slow: what the cluster promises stays true all the while.

A history is written while the faults go on, then each promise has its judge. `scripts/soak links SECONDS` goes on for
longer. A failure prints the seed; CAROB_SOAK_SEED repeats the choices.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import re
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from clusters import Cluster, start
from test_several_nodes import fetches, pods, ready, web, workload

from carob.api.status import ApiError
from carob.api.types import core_v1
from carob.api.types.meta_v1 import ObjectMeta
from carob.base.layout import Cluster as Layout
from carob.client.rest import Client
from carob.transport.client import SocketTransport
from carob.transport.tls import client_context

pytestmark = [pytest.mark.root, pytest.mark.slow]

SECONDS = float(os.environ.get("CAROB_SOAK_SECONDS", "12"))
PATIENCE_SECONDS = 120
GRACE_SECONDS = 6
APART = ("node-1", "node-2")
FAULTS = ("cut", "drop", "slow", "drop and slow")
COUNTER = "counter"


@dataclass
class History:
    """What was acknowledged, and what a watch of Pods told."""

    written: int = 0
    pods: list[tuple[int, str, str, str, str]] = field(default_factory=list)
    """resourceVersion, event, name, uid, phase"""


class Links:
    """The wires of the nodes that live apart."""

    def __init__(self, cluster: Cluster, layout: Layout) -> None:
        self._cluster = cluster
        self._layout = layout

    def inside(self, node: str, *command: str, text: str = "") -> None:
        """Run a command in the node's network namespace."""
        where = f"--net={self._layout.netns(node)}"
        done = subprocess.run(["nsenter", where, *command], input=text, capture_output=True, text=True, timeout=30)
        assert done.returncode == 0, f"{command}: {done.stderr}"

    def drop(self, node: str, percent: int) -> None:
        """Lose so many of a hundred packets, each way."""
        lost = f"iifname eth0 numgen random mod 100 < {percent} drop"
        sent = f"oifname eth0 numgen random mod 100 < {percent} drop"
        rules = f"""
            add table inet soak
            delete table inet soak
            table inet soak {{
              chain come {{ type filter hook prerouting priority -400; {lost}; }}
              chain go {{ type filter hook postrouting priority 400; {sent}; }}
            }}
        """
        self.inside(node, "nft", "-f", "-", text=rules)

    def slow(self, node: str, kilobits: int) -> None:
        """Send no faster than this."""
        bucket = ("rate", f"{kilobits}kbit", "burst", "16kb", "latency", "400ms")
        self.inside(node, "tc", "qdisc", "replace", "dev", "eth0", "root", "tbf", *bucket)

    def cut(self, node: str) -> None:
        self._cluster.carob("node", "cut", node).check()

    def mend(self, node: str) -> None:
        self._cluster.carob("node", "start", node).check()
        self.inside(node, "nft", "-f", "-", text="add table inet soak\ndelete table inet soak\n")
        subprocess.run(
            ["nsenter", f"--net={self._layout.netns(node)}", "tc", "qdisc", "del", "dev", "eth0", "root"],
            capture_output=True,
            timeout=30,
        )

    def hurt(self, node: str, fault: str, chance: random.Random) -> None:
        if fault == "cut":
            self.cut(node)
        if "drop" in fault:
            self.drop(node, chance.choice((5, 20, 40)))
        if "slow" in fault:
            self.slow(node, chance.choice((128, 512, 2000)))


@pytest.fixture
def three(tmp_path: Path) -> Iterator[Cluster]:
    flags = ("--node-monitor-grace-period", f"{GRACE_SECONDS}s", "--pod-eviction-timeout", "1s")
    cluster = start(f"links-{os.getpid() % 10000}", tmp_path, "--nodes", "3", *flags)
    yield cluster
    cluster.carob("down", timeout=120).check()


def manifests() -> str:
    """A Deployment that may run anywhere, and a StatefulSet on the nodes apart, whose names must not have two owners."""
    apart = {"key": "kubernetes.io/hostname", "operator": "In", "values": list(APART)}
    required = {"nodeSelectorTerms": [{"matchExpressions": [apart]}]}
    affinity = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required}}
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "many"},
        "spec": {"selector": {"app": "many"}, "ports": [{"port": 80, "targetPort": 8080}]},
    }
    owner = web("owner", 1, affinity=affinity)
    sets = workload("StatefulSet", "owner", owner, serviceName="owner", replicas=3, podManagementPolicy="Parallel")
    many = workload("Deployment", "many", web("many", 1), replicas=5)
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": [sets, many, service]})


class Owners:
    """Looks again and again at all processes of the machine: which Pods' containers bear a StatefulSet's name."""

    def __init__(self, cluster: str) -> None:
        self._group = f"/carob-{cluster}/"
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.looks = 0
        self.twice: list[str] = []

    def __enter__(self) -> Owners:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stopped.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopped.wait(0.1):
            found = self._now()
            # one may have ended while the others were looked at: only who is there at the second look counts
            if any(len(groups) > 1 for groups in found.values()):
                again = self._now()
                names = [name for name in found if len(found[name] & again.get(name, set())) > 1]
                self.twice += [f"{name} in {sorted(found[name])}" for name in names]
            self.looks += bool(found)

    def _now(self) -> dict[str, set[str]]:
        found: dict[str, set[str]] = {}
        for process in Path("/proc").iterdir():
            if not process.name.isdigit():
                continue
            try:
                group = (process / "cgroup").read_text()
                if self._group not in group:
                    continue
                environment = (process / "environ").read_bytes().split(b"\0")
            except OSError:
                continue
            name = next((one[9:].decode() for one in environment if one.startswith(b"HOSTNAME=owner-")), "")
            pod = re.search(r"/pod([0-9a-f-]{36})", group)
            if name and pod is not None:
                found.setdefault(name, set()).add(pod[1])
        return found


def client_of(layout: Layout) -> Client:
    pki = layout.pki_dir
    tls = client_context(
        ca_file=str(pki / "ca.crt"), certificate_file=str(pki / "admin.crt"), key_file=str(pki / "admin.key")
    )
    return Client(SocketTransport(f"https://127.0.0.1:{layout.api_port}", tls=tls))


async def follow(client: Client, history: History) -> None:
    """Write down every event of every Pod of the namespace."""
    version = (await client.list(core_v1.Pod, "default")).resource_version
    while True:
        async with client.watch(core_v1.Pod, "default", resource_version=version) as events:
            async for event in events:
                assert not isinstance(event.object, ApiError), event.object
                version = event.resource_version
                if event.type != "BOOKMARK":
                    pod = event.object
                    told = (int(version), event.type, pod.metadata.name, pod.metadata.uid, pod.status.phase)
                    history.pods.append(told)


async def write(client: Client, history: History) -> None:
    """Count for ever in a ConfigMap, and read what was acknowledged."""
    while True:
        number = history.written + 1
        await client.patch(core_v1.ConfigMap, COUNTER, "default", patch={"data": {"n": str(number)}})
        history.written = number
        found = await client.get(core_v1.ConfigMap, COUNTER, "default")
        assert found.data["n"] == str(number), "a read went back in time"
        await asyncio.sleep(0.02)


async def until_lost(client: Client, name: str, history: History) -> None:
    """Return when a node counts as lost, and something has become of its Pods."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            node = await client.get(core_v1.Node, name)
            if history.pods and any(c.type == "Ready" and c.status == "Unknown" for c in node.status.conditions):
                return
            await asyncio.sleep(0.1)


async def suffer(links: Links, history: History, client: Client, chance: random.Random) -> list[str]:
    """Faults by chance, with load; all links are whole again at the end."""
    await client.create(core_v1.ConfigMap(metadata=ObjectMeta(name=COUNTER, namespace="default"), data={"n": "0"}))
    tasks = [asyncio.create_task(follow(client, history)), asyncio.create_task(write(client, history))]
    done = []
    try:
        # the first is always a cut that lasts until the node counts as lost and its Pods feel it
        node = chance.choice(APART)
        await asyncio.to_thread(links.cut, node)
        await until_lost(client, node, history)
        await asyncio.to_thread(links.mend, node)
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            node, fault, seconds = chance.choice(APART), chance.choice(FAULTS), chance.uniform(0.5, GRACE_SECONDS + 2)
            done.append(f"{node} {fault} {seconds:.1f}")
            await asyncio.to_thread(links.hurt, node, fault, chance)
            await asyncio.sleep(seconds)
            await asyncio.to_thread(links.mend, node)
            for task in tasks:
                if task.done():
                    task.result()
    finally:
        for node in APART:
            await asyncio.to_thread(links.mend, node)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return done


def judge_pods(history: History) -> None:
    """Events in order, each once; a Pod's phase goes forward; of one name there is one at a time, and none comes back."""
    versions = [told[0] for told in history.pods]
    assert versions == sorted(set(versions)), "the watch went back in time, or told something twice"
    order = {"": 0, "Pending": 1, "Running": 2, "Succeeded": 3, "Failed": 3}
    phases: dict[str, int] = {}
    owners: dict[str, str] = {}
    gone: set[str] = set()
    for _, event, name, uid, phase in history.pods:
        assert uid not in gone, f"{name} came back after it was deleted"
        assert owners.setdefault(name, uid) == uid, f"two Pods are called {name}"
        assert phases.get(uid, 0) <= order[phase], f"{name} went back to {phase}"
        phases[uid] = order[phase]
        if event == "DELETED":
            gone.add(uid)
            del owners[name]


def settled(cluster: Cluster) -> bool:
    nodes = json.loads(cluster.carob("get", "nodes", "-o", "json").check().out)["items"]
    all_ready = all(
        any(c["type"] == "Ready" and c["status"] == "True" for c in n["status"]["conditions"]) for n in nodes
    )
    found = pods(cluster, "many"), pods(cluster, "owner")
    return all_ready and [len(some) for some in found] == [5, 3] and all(ready(one) for some in found for one in some)


def wait_settled(cluster: Cluster) -> None:
    end = time.monotonic() + PATIENCE_SECONDS
    while not settled(cluster):
        if time.monotonic() > end:
            pytest.fail(cluster.carob("get", "pods,nodes", "-o", "wide").out + cluster.logs())
        time.sleep(0.2)


@pytest.mark.timeout(600 + 2 * SECONDS)
def test_promises_hold_on_bad_links(three: Cluster) -> None:
    seed = int(os.environ.get("CAROB_SOAK_SEED", time.time_ns() % 1_000_000))
    chance = random.Random(seed)
    layout = Layout.load(three.data_dir / three.name / "cluster.json")
    three.carob("create", "-f", "-", stdin=manifests()).check()
    wait_settled(three)
    history = History()

    async def body() -> list[str]:
        client = client_of(layout)
        try:
            return await suffer(Links(three, layout), history, client, chance)
        finally:
            await client.transport.close()

    faults: list[str] = []
    try:
        with Owners(three.name) as owners:
            faults = asyncio.run(body())
            wait_settled(three)
        judge_pods(history)
        last = three.carob("get", f"configmap/{COUNTER}", "-o", "jsonpath={.data.n}").check().out
        assert int(last) in (history.written, history.written + 1), "an acknowledged write is lost"
        assert owners.looks, "no process of the StatefulSet was seen"
        assert not owners.twice, f"two at once: {owners.twice}"
        # every node's Pods reach every Pod, and the Service
        address = three.carob("get", "service/many", "-o", "jsonpath={.spec.clusterIP}").check().out
        everybody = [*pods(three, "many"), *pods(three, "owner")]
        targets = [(one["status"]["podIP"], 8080) for one in everybody] + [(address, 80)] * 3
        for one in everybody:
            assert fetches(three, one["metadata"]["name"], targets) == []
    except BaseException:
        print(f"CAROB_SOAK_SEED={seed}, faults so far: {faults}")
        raise
    print(f"seed {seed}: {len(faults)} faults, {history.written} writes, {len(history.pods)} events of Pods")
