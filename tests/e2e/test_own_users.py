"""Pods with `hostUsers: false`, on a cluster whose files lie where everybody gets to them, as below /var/lib; and whose
kubelet is set otherwise than usual.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from clusters import Cluster, start
from test_node import run, status_of

pytestmark = [pytest.mark.root, pytest.mark.slow]


@pytest.fixture(scope="module")
def open_cluster() -> Iterator[Cluster]:
    folder = Path(tempfile.mkdtemp(prefix="carob-test-", dir="/var/tmp"))
    folder.chmod(0o711)
    settings = folder / "kubelet.yaml"
    settings.write_text("apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\nmaxPods: 30\n")
    sysctls = "--allowed-unsafe-sysctls=net.core.somaxconn"
    made = start(
        f"users-{os.getpid() % 10000}", folder, f"--kubelet-config={settings}", "--kube-reserved=cpu=100m", sysctls
    )
    yield made
    made.carob("down", timeout=120).check()
    shutil.rmtree(folder)


def test_root_of_a_pod_with_users_of_its_own_is_nobody_on_the_node(open_cluster: Cluster) -> None:
    cluster = open_cluster
    node = json.loads(cluster.carob("get", "node", "node-0", "-o", "json").check().out)
    if not node["status"]["runtimeHandlers"][0]["features"].get("userNamespaces"):
        pytest.skip("this kernel maps no owners of files in memory")
    cluster.carob("create", "configmap", "own-users", "--from-literal=key=value").check()
    volumes = [
        {"name": "config", "configMap": {"name": "own-users", "defaultMode": 0o400}},
        {"name": "scratch", "emptyDir": {}},
        {"name": "memory", "emptyDir": {"medium": "Memory"}},
    ]
    mounts = [{"name": v["name"], "mountPath": f"/{v['name']}"} for v in volumes]
    shell = run(cluster, "own-users", {"volumeMounts": mounts}, hostUsers=False, volumes=volumes)
    inside, outside, count = (int(word) for word in shell("cat /proc/self/uid_map").split())
    assert (inside, count) == (0, 65_536)
    assert outside >= 65_536
    assert shell("id -u; cat /config/key; cat /var/run/secrets/kubernetes.io/serviceaccount/namespace") == (
        "0\nvaluedefault"
    )
    shell("touch /scratch/mine /memory/mine /dev/termination-log /mine")
    assert shell("stat -c %u /scratch/mine /memory/mine /mine /etc/hosts") == "0\n0\n0\n0"
    address = status_of(cluster, "own-users")["podIP"]
    assert shell(f"wget -q -O - http://{address}:8080/")
    assert "capable" not in shell("hostname other 2>&1 || echo refused")


def test_the_kubelet_is_set_as_asked(open_cluster: Cluster) -> None:
    node = json.loads(open_cluster.carob("get", "node", "node-0", "-o", "json").check().out)["status"]
    assert node["allocatable"]["pods"] == "30"
    assert node["allocatable"]["cpu"] == f"{len(os.sched_getaffinity(0)) * 1000 - 100}m"
    context = {"sysctls": [{"name": "net.core.somaxconn", "value": "1234"}]}
    shell = run(open_cluster, "unsafe", securityContext=context)
    assert shell("cat /proc/sys/net/core/somaxconn") == "1234"
    refused = open_cluster.carob("up", "--max-pods=5")
    assert "runs with another configuration of its kubelets" in refused.err
