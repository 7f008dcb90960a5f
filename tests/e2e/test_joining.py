"""A cluster of four machines: two servers on one etcd, two nodes that join with a token. Machines are network namespaces;
nothing but packets goes from one to another. Between the nodes is a router, which knows nothing of Pods, nor of IPv6, in
which Pods reach each other too (where the kernel has it)."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from clusters import WEB_IMAGE, Result
from machine import Machine as Picture
from machine import look
from machines import Machine, Rack, carob

from carob.cli.ranges import has_ipv6

pytestmark = [pytest.mark.root, pytest.mark.slow]

WAIT_SECONDS = 60
ETCD_PORT = 2379
GRACE_SECONDS = 10
DUAL = has_ipv6()


class Fleet:
    """The machines and what runs on them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.mark = f"jn{os.getpid() % 10000}"
        self.rack = Rack()
        self.store = self.rack.add("192.168.77.10")
        self.servers = [self.rack.add(f"192.168.77.{n}") for n in (11, 12)]
        # a router is between them
        self.nodes = [self.rack.add(address) for address in ("192.168.77.21", "192.168.78.22")]
        self.agents: dict[int, subprocess.Popen[bytes]] = {}
        self.processes: dict[int, subprocess.Popen[bytes]] = {}
        self.environment = {**os.environ, "HOME": str(folder), "TZ": "UTC"}

    # -- names and places

    def place(self, kind: str, number: int) -> list[str]:
        return ["--name", f"{self.mark}-{kind}{number}", "--data-dir", str(self.folder / "data")]

    def state(self, kind: str, number: int) -> Path:
        return self.folder / "data" / f"{self.mark}-{kind}{number}"

    def log(self, kind: str, number: int) -> Path:
        return self.folder / f"{kind}{number}.log"

    def logs(self) -> str:
        files = sorted(self.folder.glob("*.log"))
        return "\n".join(f"--- {f.name}\n" + "\n".join(f.read_text().splitlines()[-30:]) for f in files)

    def left(self, before: Picture) -> list[str]:
        """What is ours on the machine that was not there before."""
        return [line for line in before.difference(look()) if self.mark in line]

    # -- running things

    def call(self, machine: Machine, *words: str | Path, timeout: float = 60, server: int = 0) -> Result:
        """Run carob there, to its end; kubectl's verbs ask this server first."""
        config = self.state("s", server) / "server" / "admin.kubeconfig"
        environment = {**self.environment, "KUBECONFIG": str(config)}
        done = subprocess.run(
            machine.inside(*carob(*words)), capture_output=True, text=True, timeout=timeout, env=environment
        )
        return Result(done.returncode, done.stdout, done.stderr)

    def ask(self, *words: str | Path, server: int = 0, timeout: float = 60) -> Result:
        """From the second server's machine, which nobody switches off."""
        return self.call(self.servers[1], *words, server=server, timeout=timeout)

    def start_store(self) -> None:
        url = f"http://{self.store.address}:{ETCD_PORT}"
        flags = ["--listen-client-urls", url, "--advertise-client-urls", url]
        peer = f"http://{self.store.address}:2380"
        flags += ["--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer]
        flags += ["--initial-cluster", f"m={peer}", "--name", "m", "--logger", "zap"]
        self.store.start(self.log("etcd", 0), "etcd", "--data-dir", self.folder / "etcd", *flags)

    def start_server(self, number: int, *more: str | Path) -> None:
        machine = self.servers[number]
        flags = ["--store", f"etcd://{self.store.address}:{ETCD_PORT}", "--bind-address", "0.0.0.0"]
        pods, services = ("10.100.0.0/20,fd00:100::/60", "10.110.0.0/24,fd00:110::/108")
        if not DUAL:
            pods, services = (one.partition(",")[0] for one in (pods, services))
        flags += ["--cluster-cidr", pods, "--service-cidr", services]
        flags += ["--advertise-address", machine.address, "--leader-elect-lease-duration", "4s"]
        flags += ["--leader-elect-renew-deadline", "3s", "--leader-elect-retry-period", "500ms"]
        command = carob("server", *self.place("s", number), *flags, *more)
        self.processes[number] = machine.start(self.log("server", number), *command)
        self.until(f"server {number} answers", lambda: self.call(machine, "get", "ns", server=number).code == 0)

    def join_words(self, number: int, token: str, urls: str = "") -> list[str | Path]:
        urls = urls or f"https://{self.servers[0].address}:6443"
        return ["node", *self.place("n", number), "--server", urls, "--token", token, "--node-name", f"n{number}"]

    def start_agent(self, number: int, *words: str | Path) -> None:
        command = carob(*(words or ("node", *self.place("n", number))))
        self.agents[number] = self.nodes[number].start(self.log("node", number), *command)

    def end_agent(self, number: int) -> None:
        """As kill -9 does; its containers live."""
        self.agents[number].kill()
        self.agents[number].wait()

    def token(self, *flags: str) -> str:
        return self.call(self.servers[0], "token", "create", *self.place("s", 0), *flags).check().out.strip()

    # -- waiting

    def until(self, what: str, holds: Callable[[], bool]) -> None:
        end = time.monotonic() + WAIT_SECONDS
        while not holds():
            if time.monotonic() > end:
                pytest.fail(f"not within a minute: {what}\n{self.logs()}")
            time.sleep(0.1)

    def wait(self, *words: str, server: int = 0) -> None:
        done = self.ask("wait", *words, f"--timeout={WAIT_SECONDS}s", server=server, timeout=90)
        if done.code:
            pytest.fail(f"{words}: {done.err}\n{self.ask('get', 'pods,nodes', '-A', '-o', 'wide').out}\n{self.logs()}")

    def get(self, what: str, server: int = 0) -> dict[str, object]:
        found: dict[str, object] = json.loads(
            self.ask("get", *what.split("/"), "-o", "json", server=server).check().out
        )
        return found

    def field(self, what: str, path: str, server: int = 0) -> str:
        return self.ask("get", *what.split("/"), "-o", f"jsonpath={{{path}}}", server=server).check().out

    def run_pod(self, name: str, node: str, server: int = 0) -> str:
        """A web server on this node; its address."""
        container = {"name": "web", "image": WEB_IMAGE}
        spec = {"nodeName": node, "terminationGracePeriodSeconds": 0, "containers": [container]}
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": name}}, "spec": spec}
        file = self.folder / f"{name}.json"
        file.write_text(json.dumps(pod))
        self.ask("create", "-f", file, server=server).check()
        self.wait("--for=condition=Ready", f"pod/{name}", server=server)
        return self.field(f"pod/{name}", ".status.podIP", server)

    def fetches(self, pod: str, address: str, port: int = 8080, server: int = 0) -> bool:
        """Whether the Pod gets the page from there."""
        script = f"printf 'GET / HTTP/1.0\\r\\n\\r\\n' | timeout 5 nc {address} {port}"
        return "Hello" in self.ask("exec", pod, "--", "sh", "-c", script, server=server).out


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """Everything but the nodes runs. At the end everything is killed, and each machine cleaned up."""
    before = look()
    fleet = Fleet(tmp_path_factory.mktemp("fleet"))
    try:
        fleet.start_store()
        fleet.start_server(0)
        first = fleet.state("s", 0) / "server" / "pki"
        fleet.start_server(1, "--pki-from", first, "--peer-servers", f"https://{fleet.servers[0].address}:6443")
        yield fleet
    finally:
        for number in (0, 1):
            if number in fleet.agents:
                fleet.end_agent(number)
            if (fleet.state("n", number) / "cluster.json").exists():
                fleet.call(fleet.nodes[number], "down", *fleet.place("n", number), timeout=120).check()
            fleet.call(fleet.servers[number], "down", *fleet.place("s", number), timeout=120).check()
        fleet.rack.close()
    end = time.monotonic() + WAIT_SECONDS
    while (left := fleet.left(before)) and time.monotonic() < end:
        time.sleep(0.2)
    assert not left, "the machine was left changed:\n" + "\n".join(left)


def test_who_has_no_good_token_is_told_why_and_leaves_no_trace(fleet: Fleet) -> None:
    token = fleet.token("--description", "the right one")
    pin, bare = token.split("::")
    listed = fleet.call(fleet.servers[0], "token", "list", *fleet.place("s", 0)).check().out
    assert re.search(rf"^{re.escape(bare)} .* authentication,signing +the right one ", listed, re.MULTILINE)
    gone = fleet.token()
    fleet.call(fleet.servers[1], "token", "delete", *fleet.place("s", 1), gone).check()
    vouched = f"jws-kubeconfig-{bare.partition('.')[0]}"
    fleet.until("the token vouches", lambda: vouched in fleet.field("cm/cluster-info/-n/kube-public", ".data"))
    cases = {
        f"{pin}::{bare.partition('.')[0]}.{'0' * 16}": "the secret part of the token .* is wrong",
        gone: "the cluster knows no token .* it has expired, or was deleted",
        f"K10{'0' * 64}::{bare}": "is not the pinned one: its key is sha256:[0-9a-f]{64}, the token says sha256:0000",
        bare: "does not say by what to know the cluster",
        f"{pin}::nonsense": "--token: the token is not of the form",
    }
    for wrong, words in cases.items():
        done = fleet.call(fleet.nodes[0], *fleet.join_words(0, wrong))
        assert done.code == 1
        assert re.fullmatch(f"error: .*{words}.*", done.err.strip()), done.err
    assert not (fleet.state("n", 0) / "cluster.json").exists()
    done = fleet.call(fleet.nodes[0], *fleet.join_words(0, token, "https://192.168.77.99:6443"))
    assert done.err.startswith("error: no server can be reached: ")
    # the server is there, but its certificate does not have this address
    fleet.servers[0].run("ip", "addr", "add", "192.168.77.111/24", "dev", "eth0")
    done = fleet.call(fleet.nodes[0], *fleet.join_words(0, token, "https://192.168.77.111:6443"))
    assert "is not whom we trust" in done.err
    assert "--tls-san" in done.err


def test_nodes_of_other_machines_join_and_run_pods_that_reach_each_other(fleet: Fleet) -> None:
    token = fleet.token("--ttl", "10m")
    labels = ("--labels", "disk=ssd", "--taints", "dedicated=db:PreferNoSchedule")
    fleet.start_agent(0, *fleet.join_words(0, token), *labels)
    fleet.start_agent(1, *fleet.join_words(1, token))
    for number in (0, 1):
        fleet.until(f"node {number} joined", lambda name=f"n{number}": fleet.ask("get", "node", name).code == 0)  # type: ignore[misc]
        fleet.wait("--for=condition=Ready", f"node/n{number}")
        fleet.call(fleet.nodes[number], "image", "build", *fleet.place("n", number), "--web", "-t", WEB_IMAGE).check()
    assert fleet.field("node/n0", ".metadata.labels.disk") == "ssd"
    assert fleet.field("node/n0", ".spec.taints[*].key") == "dedicated"
    ranges = {fleet.field(f"node/n{number}", ".spec.podCIDRs[*]") for number in (0, 1)}
    given = {"10.100.13.0/24 fd00:100:0:d::/64", "10.100.12.0/24 fd00:100:0:c::/64"}
    assert ranges == (given if DUAL else {one.partition(" ")[0] for one in given})
    # two machines that call themselves the same
    place = ["--name", f"{fleet.mark}-twin", "--data-dir", str(fleet.folder / "data")]
    urls = ["--server", f"https://{fleet.servers[0].address}:6443", "--token", token, "--node-name", "n0"]
    twin = fleet.call(fleet.store, "node", *place, *urls)
    assert 'a node "n0" is in the cluster already, and Ready; give another name with --node-name' in twin.err
    fleet.call(fleet.store, "node", "leave", *place, timeout=120).check()
    fleet.run_pod("there", "n1")
    fleet.run_pod("here", "n0")
    there = fleet.field("pod/there", ".status.podIPs[*].ip").split()
    assert len(there) == 1 + DUAL
    fleet.until("packets between the machines", lambda: all(fleet.fetches("here", one) for one in there))
    fleet.ask("expose", "pod", "there", "--port=80", "--target-port=8080").check()
    fleet.until("by name", lambda: fleet.fetches("here", "there.default.svc.cluster.local", 80))
    # the API inside Pods, over both servers
    assert fleet.field("endpointslice/kubernetes", ".endpoints[*].addresses[0]") == "192.168.77.11 192.168.77.12"
    # the servers reach the kubelets, whose certificates they know
    assert "response:200" in fleet.ask("logs", "there").check().out
    # and Pods, for which their machines have no routes
    for what in ("pods/there:8080", "services/there:80"):
        page = fleet.ask("get", "--raw", f"/api/v1/namespaces/default/{what}/proxy/").check().out
        assert "Hello" in page


def test_a_server_dies_and_the_nodes_go_on_with_the_other(fleet: Fleet) -> None:
    known = [json.loads((fleet.state("n", n) / f"n{n}" / "membership.json").read_text())["servers"] for n in (0, 1)]
    assert known == [[f"https://{server.address}:6443" for server in fleet.servers]] * 2
    os.kill(fleet.processes[0].pid, signal.SIGKILL)
    renewed = {n: fleet.field(f"lease/n{n}/-n/kube-node-lease", ".spec.renewTime", 1) for n in (0, 1)}

    def again() -> bool:
        return all(fleet.field(f"lease/n{n}/-n/kube-node-lease", ".spec.renewTime", 1) > renewed[n] for n in renewed)

    fleet.until("both nodes say that they live", again)
    fleet.run_pod("after", "n0", server=1)
    # a node that starts now finds the living server by what it has learnt, and needs no token
    before = fleet.field("pod/there", ".status.containerStatuses[0].containerID", 1)
    fleet.end_agent(1)
    fleet.start_agent(1)
    address = fleet.run_pod("late", "n1", server=1)
    fleet.until("packets to it", lambda: fleet.fetches("after", address, server=1))
    assert fleet.field("pod/there", ".status.containerStatuses[0].containerID", 1) == before
    assert fleet.field("pod/there", ".status.containerStatuses[0].restartCount", 1) == "0"
    for number in (0, 1):
        assert fleet.field(f"node/n{number}", ".status.conditions[?(@.type=='Ready')].status", 1) == "True"


def test_a_node_moves_and_leaves(fleet: Fleet) -> None:
    fleet.nodes[1].readdress("192.168.78.23")
    moved = "{.status.addresses[0].address}=192.168.78.23"
    fleet.wait(f"--for=jsonpath={moved}", "node/n1", server=1)
    there = fleet.field("pod/there", ".status.podIPs[*].ip", 1).split()
    fleet.until("packets to where it is now", lambda: all(fleet.fetches("here", one, server=1) for one in there))
    assert "response:200" in fleet.ask("logs", "there", server=1).check().out
    fleet.end_agent(1)
    done = fleet.call(fleet.nodes[1], "node", "leave", *fleet.place("n", 1), timeout=120).check()
    assert "`carob node rm n1` on a server removes it" in done.out
    assert not fleet.state("n", 1).exists()
    fleet.call(fleet.servers[1], "node", "rm", *fleet.place("s", 1), "n1").check()
    assert fleet.ask("get", "node", "n1", server=1).code == 1
    done = fleet.call(fleet.servers[1], "node", "rm", *fleet.place("s", 1), "n1")
    assert 'nodes "n1" not found' in done.err
