"""A node of another machine joins what `carob up --nodes 2` made: its own node, one that lives apart, and the new one behind
a router reach each other's Pods, each pair in both directions."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import time
from pathlib import Path

import pytest
from clusters import WEB_IMAGE, Result
from machines import Machine, Rack, carob

pytestmark = [pytest.mark.root, pytest.mark.slow]

WAIT_SECONDS = 60
ADDRESSES = ("192.168.87.11", "192.168.88.21")


class Pair:
    """Two machines; the first one has the cluster."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.rack = Rack()
        self.first, self.second = (self.rack.add(address) for address in ADDRESSES)
        mark = f"ju{os.getpid() % 10000}"
        self.data = ["--data-dir", str(folder / "data")]
        self.names = {self.first: ["--name", f"{mark}-a", *self.data], self.second: ["--name", f"{mark}-b", *self.data]}
        self.environment = {**os.environ, "HOME": str(folder), "KUBECONFIG": str(folder / "kubeconfig"), "TZ": "UTC"}

    def call(self, machine: Machine, *words: str, stdin: str | None = None) -> Result:
        """A verb of the cluster gets its name where `@` stands."""
        given = [part for word in words for part in (self.names[machine] if word == "@" else [word])]
        done = subprocess.run(
            machine.inside(*carob(*given)),
            input=stdin,
            capture_output=True,
            text=True,
            timeout=120,
            env=self.environment,
        )
        return Result(done.returncode, done.stdout, done.stderr)

    def until_fetched(self, pod: str, address: str) -> None:
        """The Pod gets the page from there, within a minute."""
        script = f"printf 'GET / HTTP/1.0\\r\\n\\r\\n' | timeout 5 nc {address} 8080"
        end = time.monotonic() + WAIT_SECONDS
        while "Hello" not in self.call(self.first, "exec", pod, "--", "sh", "-c", script).out:
            assert time.monotonic() < end, f"{pod} does not reach {address}"


def test_nodes_that_live_apart_and_nodes_of_other_machines_reach_each_other(tmp_path: Path) -> None:
    pair = Pair(tmp_path)
    try:
        pair.call(pair.first, "up", "@", "--nodes", "2", "--bind-address", ADDRESSES[0]).check()
        said = pair.call(pair.first, "token", "create", "@", "--print-join-command").check().out.split()
        assert said[:4] == ["carob", "node", "--server", said[3]]
        assert said[3].startswith(f"https://{ADDRESSES[0]}:")
        join = [*said[2:], "--node-name", "far"]
        # once a member, a node may also be started in the background
        joined = pair.second.start(tmp_path / "far.log", *carob("node", *pair.names[pair.second], *join))
        done = pair.call(pair.first, "wait", "--for=create", "node/far", "--timeout=60s")
        assert done.code == 0, (tmp_path / "far.log").read_text()
        pair.call(pair.first, "wait", "--for=condition=Ready", "node/far", "--timeout=60s").check()
        joined.terminate()
        joined.wait(60)
        pair.call(pair.second, "node", "start", "@", "far").check()
        assert "Running" in pair.call(pair.second, "status", *pair.names[pair.second]).check().out
        for machine in (pair.first, pair.second):
            pair.call(machine, "image", "build", "@", "--web", "-t", WEB_IMAGE).check()
        nodes = ("node-0", "node-1", "far")
        pods = [
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {"name": f"on-{node}"},
                "spec": {
                    "nodeName": node,
                    "terminationGracePeriodSeconds": 0,
                    "containers": [{"name": "web", "image": WEB_IMAGE}],
                },
            }
            for node in nodes
        ]
        manifest = json.dumps({"apiVersion": "v1", "kind": "List", "items": pods})
        pair.call(pair.first, "create", "-f", "-", stdin=manifest).check()
        names = [f"on-{node}" for node in nodes]
        ready = [f"pod/{name}" for name in names]
        pair.call(pair.first, "wait", "--for=condition=Ready", *ready, "--timeout=60s").check()
        found = pair.call(pair.first, "get", "pods", "-o", "json").check().out
        addresses = {one["metadata"]["name"]: one["status"]["podIP"] for one in json.loads(found)["items"]}
        for one, other in itertools.permutations(names, 2):
            pair.until_fetched(one, addresses[other])
        for name in names:
            assert pair.call(pair.first, "logs", name).check().out.count("response:200") >= 2
    finally:
        for machine in (pair.second, pair.first):
            pair.call(machine, "down", "@")
        pair.rack.close()
