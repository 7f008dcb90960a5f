"""A cluster of simulated nodes alone: with `carob up`, real kubectl and a Deployment; `carob down` leaves nothing."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from clusters import Cluster

PACKER = """
apiVersion: kubescheduler.config.k8s.io/v1
kind: KubeSchedulerConfiguration
profiles:
- schedulerName: default-scheduler
- schedulerName: packer
  pluginConfig:
  - name: NodeResourcesFit
    args: {scoringStrategy: {type: MostAllocated}}
"""

pytestmark = pytest.mark.root

STATEFUL_SET = """
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db}
spec:
  replicas: 2
  selector: {matchLabels: {app: db}}
  template:
    metadata: {labels: {app: db}}
    spec: {containers: [{name: db, image: db, volumeMounts: [{name: data, mountPath: /data}]}]}
  volumeClaimTemplates:
    - metadata: {name: data}
      spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}
"""


def test_a_deployment_on_nodes_that_are_not_there(tmp_path: Path) -> None:
    cluster = Cluster(f"sim-{os.getpid() % 10000}", tmp_path)
    config = tmp_path / "scheduler.yaml"
    config.write_text(PACKER)
    wrong = cluster.carob("up", "--nodes", "0", "--simulated-nodes", "1", "--scheduler-config", "/dev/null")
    assert wrong.code == 1
    assert "no KubeSchedulerConfiguration" in wrong.err
    flags = (
        "--nodes",
        "0",
        "--simulated-nodes",
        "20",
        "--simulated-capacity",
        "cpu=8",
        "--simulated-labels",
        "disk=ssd",
    )
    try:
        cluster.carob("up", *flags, "--scheduler-config", config, timeout=120).check()
        nodes = cluster.kubectl("1.37", "get", "nodes", "-l", "disk=ssd", "--no-headers").check().out.splitlines()
        assert len(nodes) == 20
        assert all(" Ready " in line for line in nodes)
        cluster.kubectl("1.37", "create", "deployment", "web", "--image=nginx", "--replicas=40").check()
        cluster.kubectl("1.37", "rollout", "status", "deployment/web", "--timeout=60s").check()
        cluster.kubectl("1.37", "create", "job", "once", "--image=nginx").check()
        cluster.kubectl("1.37", "wait", "--for=condition=Complete", "job/once", "--timeout=60s").check()
        cluster.kubectl("1.37", "apply", "-f", "-", stdin=STATEFUL_SET).check()
        cluster.kubectl("1.37", "rollout", "status", "statefulset/db", "--timeout=60s").check()
        cluster.kubectl("1.37", "delete", "statefulset,pvc", "--all").check()
        cluster.kubectl("1.37", "wait", "--for=delete", "pv", "--all", "--timeout=60s")
        assert cluster.kubectl("1.37", "get", "pv", "-o", "name").check().out == ""
        overrides = json.dumps({"spec": {"schedulerName": "packer"}})
        for number in range(2):
            packed = (f"packed-{number}", "--image=x", f"--overrides={overrides}")
            cluster.kubectl("1.37", "run", *packed).check()
            cluster.kubectl("1.37", "wait", "--for=condition=Ready", f"pod/packed-{number}", "--timeout=60s").check()
        cluster.kubectl("1.37", "taint", "nodes", "--all", "busy=yes:NoSchedule").check()
        cluster.kubectl("1.37", "run", "late", "--image=nginx").check()
        why = cluster.carob("explain-scheduling", "late")
        assert why.code == 1
        assert "0/20 nodes are available: 20 node(s) had untolerated taint(s)." in why.out
        assert why.out.count("taint busy=yes:NoSchedule") == 20
        assert "judged by default-scheduler" in why.out
        path = "/api/v1/namespaces/default/pods/packed-0/scheduling?profile=packer"
        told = json.loads(cluster.kubectl("1.37", "get", "--raw", path).check().out)
        assert (told["pod"], told["schedulerName"]) == ("default/packed-0", "packer")
        assert len(told["nodes"]) == 20
        again = cluster.carob("up", "--nodes", "0", "--simulated-nodes", "5")
        assert again.code == 1
        assert "runs with other simulated nodes" in again.err
        # what is kept stays, and comes back
        cluster.carob("down", "--keep-data", timeout=60).check()
        cluster.carob("up", "--nodes", "0", timeout=120).check()
        cluster.kubectl("1.37", "rollout", "status", "deployment/web", "--timeout=60s").check()
    finally:
        cluster.carob("down", timeout=60).check()
    assert not (cluster.data_dir / cluster.name).exists()
