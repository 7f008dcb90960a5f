"""The main job, end to end: the book's chapter with unmodified kubectl, on real containers."""

from __future__ import annotations

import json
import time
import urllib.request
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from clusters import Cluster

pytestmark = [pytest.mark.root, pytest.mark.slow]

HELLO = """\
apiVersion: v1
kind: Pod
metadata:
  name: {name}
  labels: {{zone: prod, version: v1}}
spec:
  containers:
    - name: hello-ctr
      image: carob.local/web:v1
      ports: [{{containerPort: 8080}}]
"""


def test_a_pod_goes_the_whole_way(cluster: Cluster, kubectl_version: str) -> None:
    name = f"hello-{kubectl_version.replace('.', '-')}"
    manifest = HELLO.format(name=name)

    def kubectl(*arguments: str, stdin: str | None = None) -> str:
        return cluster.kubectl(kubectl_version, *arguments, stdin=stdin).check().out

    assert kubectl("apply", "-f", "-", stdin=manifest) == f"pod/{name} created\n"
    cluster.wait_ready(name)
    assert kubectl("apply", "-f", "-", stdin=manifest) == f"pod/{name} unchanged\n"
    changed = manifest.replace("version: v1", "version: v2")
    assert kubectl("apply", "-f", "-", stdin=changed) == f"pod/{name} configured\n"

    pod = json.loads(kubectl("get", "pod", name, "-o", "json"))
    assert "kubectl.kubernetes.io/last-applied-configuration" in pod["metadata"]["annotations"]
    assert pod["spec"]["restartPolicy"] == "Always"
    assert pod["status"]["qosClass"] == "BestEffort"
    assert pod["status"]["phase"] == "Running"

    address = pod["status"]["podIP"]
    with urllib.request.urlopen(f"http://{address}:8080/", timeout=5) as answer:
        assert answer.status == 200

    processes = kubectl("exec", name, "--", "ps")
    assert any(line.split()[:1] == ["1"] and "/bin/web" in line for line in processes.splitlines())
    assert kubectl("exec", name, "--", "hostname").strip() == name

    lines = kubectl("get", "pods", name).splitlines()
    assert lines[0].split() == ["NAME", "READY", "STATUS", "RESTARTS", "AGE"]
    assert lines[1].split()[:4] == [name, "1/1", "Running", "0"]

    described = kubectl("describe", "pod", name)
    for reason in ("Scheduled", "Pulled", "Created", "Started"):
        assert reason in described, described
    assert "QoS Class:                   BestEffort" in described
    assert "node.kubernetes.io/not-ready:NoExecute op=Exists for 300s" in described

    out = kubectl("delete", "pod", name)
    assert out.startswith(f'pod "{name}" deleted')
    gone = cluster.kubectl(kubectl_version, "get", "pod", name)
    assert gone.code == 1
    assert f'pods "{name}" not found' in gone.err


def test_two_containers_share_a_pod(cluster: Cluster) -> None:
    """Web server and synchronizer: one volume, one address, one host name, one /dev/shm; each its own limits."""
    manifest = """\
apiVersion: v1
kind: Pod
metadata: {name: pair}
spec:
  terminationGracePeriodSeconds: 1
  volumes: [{name: site, emptyDir: {}}]
  containers:
    - name: web
      image: carob.local/web:v1
      env: [{name: ROOT, value: /site}]
      resources: {limits: {memory: 64Mi}}
      volumeMounts: [{name: site, mountPath: /site}]
    - name: sync
      image: carob.local/web:v1
      command: [sh, -c, "echo synchronized > /site/index.html; echo shared > /dev/shm/note; sleep 3600"]
      resources: {limits: {memory: 32Mi}}
      volumeMounts: [{name: site, mountPath: /site}]
"""
    cluster.carob("apply", "-f", "-", stdin=manifest).check()
    cluster.wait_ready("pair")

    def inside(container: str, command: str) -> str:
        return cluster.kubectl("1.37", "exec", "pair", "-c", container, "--", "sh", "-c", command).check().out.strip()

    assert inside("sync", "wget -q -O - http://localhost:8080/") == "synchronized"
    assert inside("web", "cat /dev/shm/note") == "shared"
    assert inside("web", "hostname") == inside("sync", "hostname") == "pair"
    assert inside("web", "ip -4 addr show eth0") == inside("sync", "ip -4 addr show eth0")
    taken = cluster.kubectl("1.37", "exec", "pair", "-c", "sync", "--", "timeout", "2", "httpd", "-f", "-p", "8080")
    assert taken.code != 0
    assert "in use" in taken.err

    # one is killed for its memory, the other lives on
    cluster.kubectl("1.37", "exec", "pair", "-c", "sync", "--", "sh", "-c", "tail /dev/zero; true")
    cluster.kubectl("1.37", "exec", "pair", "-c", "sync", "--", "sh", "-c", "kill -9 1; true")
    pod = json.loads(cluster.carob("get", "pod", "pair", "-o", "json").check().out)
    web = next(s for s in pod["status"]["containerStatuses"] if s["name"] == "web")
    assert web["restartCount"] == 0
    assert web["ready"] is True
    cluster.carob("delete", "pod", "pair").check()


def test_memory_over_the_limit_is_oomkilled(cluster: Cluster) -> None:
    manifest = """\
apiVersion: v1
kind: Pod
metadata: {name: hungry}
spec:
  restartPolicy: Never
  containers:
    - name: hog
      image: carob.local/web:v1
      command: [tail, /dev/zero]
      resources: {limits: {memory: 32Mi}}
    - name: calm
      image: carob.local/web:v1
      command: [sleep, "3600"]
"""
    cluster.carob("apply", "-f", "-", stdin=manifest).check()
    cluster.wait_for('.status.containerStatuses[?(@.name=="hog")].state.terminated.reason', "OOMKilled", "pod/hungry")
    pod = json.loads(cluster.carob("get", "pod", "hungry", "-o", "json").check().out)
    states = {s["name"]: s["state"] for s in pod["status"]["containerStatuses"]}
    assert states["hog"]["terminated"]["exitCode"] == 137
    assert "running" in states["calm"]
    cluster.carob("delete", "pod", "hungry", "--grace-period=0", "--force").check()


@pytest.mark.parametrize(
    ("name", "spec", "reason"),
    [
        ("no-image", "containers: [{name: c, image: '127.0.0.1:1/none:v1'}]", "ErrImagePull|ImagePullBackOff"),
        ("bad-name", "containers: [{name: c, image: 'UPPER CASE'}]", "InvalidImageName"),
        (
            "no-config",
            "containers: [{name: c, image: carob.local/web:v1, envFrom: [{configMapRef: {name: missing}}]}]",
            "CreateContainerConfigError",
        ),
        ("crashes", "containers: [{name: c, image: carob.local/web:v1, command: ['false']}]", "CrashLoopBackOff|Error"),
    ],
)
def test_a_pod_that_cannot_start_says_why(cluster: Cluster, name: str, spec: str, reason: str) -> None:
    manifest = f"apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\nspec:\n  {spec}\n"
    cluster.carob("apply", "-f", "-", stdin=manifest).check()
    status = _status(cluster, name, reason.split("|"))
    assert status in reason.split("|"), cluster.carob("describe", "pod", name).out
    cluster.carob("delete", "pod", name, "--grace-period=0", "--force").check()


def _status(cluster: Cluster, name: str, wanted: list[str]) -> str:
    """The STATUS column, once it is one of `wanted` (or after a while)."""
    status = ""
    for _ in range(100):
        status = cluster.carob("get", "pod", name, "--no-headers").check().out.split()[2]
        if status in wanted:
            break
        time.sleep(0.2)
    return status


def test_an_unschedulable_pod_is_pending_with_counts(cluster: Cluster) -> None:
    manifest = """\
apiVersion: v1
kind: Pod
metadata: {name: huge}
spec:
  containers:
    - name: c
      image: carob.local/web:v1
      resources: {requests: {cpu: "1000"}}
"""
    cluster.carob("apply", "-f", "-", stdin=manifest).check()
    cluster.wait_for('.status.conditions[?(@.type=="PodScheduled")].reason', "Unschedulable", "pod/huge")
    pod = json.loads(cluster.carob("get", "pod", "huge", "-o", "json").check().out)
    message = next(c for c in pod["status"]["conditions"] if c["type"] == "PodScheduled")["message"]
    assert message.startswith("0/1 nodes are available: 1 Insufficient cpu.")
    cluster.carob("delete", "pod", "huge").check()
