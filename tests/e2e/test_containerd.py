"""The same Pods on another runtime: the node drives Debian's containerd with runc and CNI plugins.

The tests are those of carob's own runtime, run once more with a cluster whose node has `--container-runtime-endpoint`.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import tempfile
import urllib.error
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from clusters import WEB_IMAGE, Cluster
from machine import look
from test_cli_sessions import (  # noqa: F401 - pytest finds them here too
    pod,
    test_a_slow_reader_holds_up_the_command_and_not_our_memory,
    test_attaching_to_a_process_on_a_terminal,
    test_bytes_pass_unchanged_both_ways,
    test_forwarding_ports,
)
from test_main_job import (  # noqa: F401 - pytest finds them here too
    test_a_pod_goes_the_whole_way,
    test_two_containers_share_a_pod,
)
from test_node import (  # noqa: F401
    gone,
    manifest,
    test_a_debug_container_sees_its_target,
    test_a_running_container_is_resized,
    test_a_stubborn_process_is_killed_after_its_grace_period,
    test_environment_and_files_of_config_maps_and_secrets,
    test_init_containers_and_a_sidecar,
    test_last_words_and_hooks,
    test_parts_of_volumes_and_paths_of_the_node,
    test_probes_decide_over_traffic_and_life,
    test_processes_names_and_users,
    test_the_nodes_own_network_and_a_port_of_the_node,
    test_the_nodes_statistics,
)
from test_services import page, test_names_are_answered_inside_pods  # noqa: F401
from test_volumes import test_a_claim_keeps_files_from_pod_to_pod_and_takes_them_with_it  # noqa: F401

from carob.host.real import RealHost
from carob.runtime.images import demo
from tests.containerd import TOLD, Containerd, load_pause, ptp
from tests.ports import free_port

pytestmark = [pytest.mark.root, pytest.mark.slow]


@pytest.fixture(scope="module")
def containerd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Containerd]:
    """A daemon with the images that the Pods need; its network's range is the node's."""
    folder = tmp_path_factory.mktemp("containerd")
    run = Path(tempfile.mkdtemp(prefix="carob-c-"))
    daemon = Containerd(folder / "daemon", run, ptp(TOLD, folder / "addresses"))
    try:
        daemon.start()
        load_pause(daemon)
        root = folder / "web"
        root.mkdir()
        asyncio.run(demo.make_root(RealHost(), str(root), os.environ))
        daemon.load(WEB_IMAGE, root, demo.CONFIG)
        yield daemon
    finally:
        daemon.stop()
    seen = look()
    places = [line for line in (*seen.processes, *seen.mounts) if str(folder) in line or str(run) in line]
    assert places == []


@pytest.fixture
def kubectl_version() -> str:
    """One is enough here."""
    return "1.37"


@pytest.fixture(scope="module")
def cluster(containerd: Containerd, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A cluster whose node runs its containers there."""
    made = Cluster(f"cri-{os.getpid() % 10000}", tmp_path_factory.mktemp("cluster"))
    before, marks = look(), [made.name, str(made.data_dir)]
    try:
        made.carob("up", "--container-runtime-endpoint", containerd.endpoint, timeout=120).check()
        # such as 10.42.0.0/24: the routes and addresses of its Pods
        marks.append(made.carob("get", "nodes", "-o", "jsonpath={..podCIDR}").check().out.removesuffix("0/24"))
        yield made
    finally:
        made.carob("down", timeout=120).check()
    left = [line for line in before.difference(look()) if any(mark in line for mark in marks)]
    assert left == []
    assert containerd.ctr("containers", "ls", "--quiet").stdout == ""


def agent(cluster: Cluster) -> int:
    """The pid of the node's agent."""
    done = cluster.run("pgrep", "-f", f"carob node --name {cluster.name} ").check()
    return int(done.out.split()[0])


def uid(cluster: Cluster, name: str) -> str:
    return cluster.carob("get", "pod", name, "-o", "jsonpath={.metadata.uid}").check().out


def status(cluster: Cluster, name: str) -> dict[str, Any]:
    """Of its first container."""
    found = json.loads(cluster.carob("get", "pod", name, "-o", "json").check().out)
    return dict(found["status"]["containerStatuses"][0])


def test_containers_and_ends_are_not_lost_with_the_agent(cluster: Cluster) -> None:
    """What must be known again is on the runtime: no container is made twice, no end is missed."""
    pods = {
        "stays": {"command": ["sleep", "3600"]},
        "ends": {"command": ["sh", "-c", "while [ ! -e /e/now ]; do sleep 0.1; done; exit 5"]},
    }
    for name, fields in pods.items():
        mounts = [{"name": "e", "mountPath": "/e"}]
        volumes = [{"name": "e", "emptyDir": {}}]
        text = manifest(name, {**fields, "volumeMounts": mounts}, restartPolicy="Never", volumes=volumes)
        cluster.carob("apply", "-f", "-", stdin=text).check()
    for name in pods:
        cluster.wait_ready(name)
    before = status(cluster, "stays")
    assert before["containerID"].startswith("containerd://")
    (folder,) = cluster.data_dir.rglob(f"*{uid(cluster, 'ends')}/volumes/kubernetes.io~empty-dir/e")
    os.kill(agent(cluster), signal.SIGKILL)
    (folder / "now").touch()
    cluster.carob("up", timeout=120).check()
    cluster.wait_for(".status.phase", "Failed", "pod/ends")
    ended = status(cluster, "ends")
    assert (ended["state"]["terminated"]["exitCode"], ended["restartCount"]) == (5, 0)
    assert status(cluster, "stays") == before
    cluster.carob("delete", "pod", *pods, timeout=120).check()


def test_a_port_of_the_node_leads_to_its_pod(cluster: Cluster) -> None:
    """The CNI configuration has no plugin for it: carob's own rules do it."""
    port = free_port()
    web = {"ports": [{"containerPort": 8080, "hostPort": port}]}
    cluster.carob("apply", "-f", "-", stdin=manifest("ported", web)).check()
    cluster.wait_ready("ported")
    host = cluster.carob("get", "pod", "ported", "-o", "jsonpath={.status.hostIP}").check().out
    assert "Hello from a Pod" in page(host, port)
    os.kill(agent(cluster), signal.SIGKILL)
    cluster.carob("up", timeout=120).check()
    assert "Hello from a Pod" in page(host, port)
    cluster.carob("delete", "pod", "ported", timeout=120).check()
    with pytest.raises(urllib.error.URLError):
        page(host, port)


def test_a_daemon_that_was_away_costs_no_pod(cluster: Cluster, containerd: Containerd) -> None:
    cluster.carob("apply", "-f", "-", stdin=manifest("waits", {"command": ["sleep", "3600"]})).check()
    cluster.wait_ready("waits")
    before = status(cluster, "waits")
    containerd.kill()
    down = '{.status.conditions[?(@.type=="Ready")].message}'
    cluster.wait_for(down[1:-1], "container runtime is down", "node/node-0")
    # asked for meanwhile, it begins when there is somebody to run it
    cluster.carob("apply", "-f", "-", stdin=manifest("later", {"command": ["sleep", "3600"]})).check()
    containerd.start()
    done = cluster.carob("wait", "--for=condition=Ready", "node/node-0", "--timeout=60s")
    assert done.code == 0, done.err
    cluster.wait_ready("later")
    assert status(cluster, "waits") == before
    cluster.carob("delete", "pod", "waits", "later", timeout=120).check()


def test_an_end_is_heard_of_and_the_container_begins_anew(cluster: Cluster) -> None:
    command = ["sh", "-c", "echo try; [ -e /e/second ] && sleep 3600; touch /e/second; exit 3"]
    container = {"command": command, "volumeMounts": [{"name": "e", "mountPath": "/e"}]}
    text = manifest("again", container, volumes=[{"name": "e", "emptyDir": {}}])
    cluster.carob("apply", "-f", "-", stdin=text).check()
    cluster.wait_for(".status.containerStatuses[0].restartCount", "1", "pod/again")
    cluster.wait_ready("again")
    assert status(cluster, "again")["lastState"]["terminated"]["exitCode"] == 3
    assert cluster.carob("logs", "again", "--previous").check().out == "try\n"
    cluster.carob("delete", "pod", "again", timeout=120).check()


def test_what_the_runtime_cannot_is_said(cluster: Cluster, containerd: Containerd) -> None:
    done = cluster.carob("image", "load", "/etc/hostname")
    assert done.code == 1
    assert "ctr --namespace k8s.io images import" in done.err
    assert WEB_IMAGE in cluster.carob("image", "ls").check().out
    nodes = json.loads(cluster.carob("get", "nodes", "-o", "json").check().out)["items"]
    assert nodes[0]["status"]["nodeInfo"]["containerRuntimeVersion"].startswith("containerd://1.")
