"""Workloads on a real cluster, with the newest kubectl: rollouts and their history, scaling, Jobs, daemons."""

from __future__ import annotations

import json
import threading
import urllib.request
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from clusters import Cluster, Result

pytestmark = [pytest.mark.root, pytest.mark.slow]

IMAGE = "carob.local/web:v1"

JOB = """\
apiVersion: batch/v1
kind: Job
metadata: {name: work}
spec:
  completions: 4
  parallelism: 2
  completionMode: Indexed
  template:
    spec:
      restartPolicy: Never
      containers:
        - name: main
          image: carob.local/web:v1
          command: [sh, -c, 'echo "index $JOB_COMPLETION_INDEX"']
"""

DAEMON = """\
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: agent}
spec:
  selector: {matchLabels: {app: agent}}
  template:
    metadata: {labels: {app: agent}}
    spec:
      terminationGracePeriodSeconds: 1
      containers: [{name: main, image: carob.local/web:v1}]
"""

STATEFUL = """\
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db}
spec:
  serviceName: db
  replicas: 2
  selector: {matchLabels: {app: db}}
  template:
    metadata: {labels: {app: db}}
    spec:
      terminationGracePeriodSeconds: 1
      containers: [{name: main, image: carob.local/web:v1}]
"""


@pytest.fixture
def kubectl(cluster: Cluster) -> Callable[..., Result]:
    def run(*arguments: str, stdin: str | None = None) -> Result:
        return cluster.kubectl("1.37", *arguments, stdin=stdin)

    return run


def test_a_deployment_rolls_out_back_and_away(kubectl: Callable[..., Result]) -> None:
    kubectl("create", "deployment", "shop", f"--image={IMAGE}", "--replicas=2").check()
    quick = {"spec": {"template": {"spec": {"terminationGracePeriodSeconds": 1}}}}
    kubectl("patch", "deployment", "shop", "-p", json.dumps(quick)).check()
    status = ("rollout", "status", "deployment/shop", "--timeout=60s")
    assert 'deployment "shop" successfully rolled out' in kubectl(*status).check().out
    kubectl("set", "env", "deployment/shop", "COLOUR=blue").check()
    kubectl(*status).check()
    history = kubectl("rollout", "history", "deployment/shop").check().out.split()
    assert history[-2:] == ["3", "<none>"]
    assert "COLOUR" in kubectl("rollout", "history", "deployment/shop", "--revision=3").check().out
    kubectl("rollout", "undo", "deployment/shop").check()
    kubectl(*status).check()
    assert "COLOUR" not in kubectl("get", "deployment", "shop", "-o", "json").check().out
    kubectl("rollout", "undo", "deployment/shop", "--to-revision=3").check()
    kubectl(*status).check()
    assert "COLOUR" in kubectl("get", "deployment", "shop", "-o", "json").check().out
    kubectl("scale", "deployment/shop", "--replicas=4").check()
    kubectl(*status).check()
    row = kubectl("get", "deployment", "shop").check().out.splitlines()[1].split()
    assert row[:4] == ["shop", "4/4", "4", "4"]
    kubectl("rollout", "restart", "deployment/shop").check()
    kubectl(*status).check()
    kubectl("rollout", "pause", "deployment/shop").check()
    kubectl("rollout", "resume", "deployment/shop").check()
    said = kubectl("events", "--for", "deployment/shop").check().out
    assert "Scaled up replica set shop-" in said
    kubectl("delete", "deployment", "shop", "--cascade=foreground", "--timeout=60s").check()
    left = kubectl("get", "replicasets,pods", "-l", "app=shop", "-o", "name").check().out
    assert left == ""


def test_a_deployment_with_a_bad_image_keeps_the_old_pods(kubectl: Callable[..., Result]) -> None:
    kubectl("create", "deployment", "bad", f"--image={IMAGE}", "--replicas=2").check()
    kubectl("rollout", "status", "deployment/bad", "--timeout=60s").check()
    kubectl("set", "image", "deployment/bad", "web=carob.local/never:v0").check()
    assert kubectl("rollout", "status", "deployment/bad", "--timeout=2s").code != 0
    assert kubectl("get", "deployment", "bad", "-o", "jsonpath={.status.availableReplicas}").check().out == "2"
    kubectl("rollout", "undo", "deployment/bad").check()
    kubectl("rollout", "status", "deployment/bad", "--timeout=60s").check()
    kubectl("delete", "deployment", "bad", "--cascade=orphan").check()
    sets = kubectl("get", "replicasets", "-l", "app=bad", "-o", "name").check().out.split()
    assert sets
    kubectl("delete", *sets, "--timeout=60s").check()


def test_a_job_completes(kubectl: Callable[..., Result]) -> None:
    kubectl("apply", "-f", "-", stdin=JOB).check()
    kubectl("wait", "--for=condition=complete", "job/work", "--timeout=60s").check()
    row = kubectl("get", "job", "work").check().out.splitlines()[1].split()
    assert row[:3] == ["work", "Complete", "4/4"]
    said = kubectl("logs", "-l", "job-name=work", "--tail=-1").check().out.split("\n")
    assert sorted(filter(None, said)) == [f"index {i}" for i in range(4)]
    kubectl("delete", "job", "work", "--timeout=60s").check()
    assert kubectl("get", "pods", "-l", "job-name=work", "-o", "name").check().out == ""


def test_a_cron_job_is_started_by_hand(kubectl: Callable[..., Result]) -> None:
    kubectl("create", "cronjob", "nightly", f"--image={IMAGE}", "--schedule=0 3 * * *", "--", "true").check()
    kubectl("create", "job", "now", "--from=cronjob/nightly").check()
    kubectl("wait", "--for=condition=complete", "job/now", "--timeout=60s").check()
    kubectl("delete", "cronjob", "nightly", "--timeout=60s").check()
    kubectl("delete", "job", "now", "--ignore-not-found", "--timeout=60s").check()


def test_a_daemon_set_runs_rolls_and_rolls_back(kubectl: Callable[..., Result]) -> None:
    kubectl("apply", "-f", "-", stdin=DAEMON).check()
    status = ("rollout", "status", "daemonset/agent", "--timeout=60s")
    kubectl(*status).check()
    kubectl("set", "env", "daemonset/agent", "A=B").check()
    kubectl(*status).check()
    kubectl("rollout", "undo", "daemonset/agent").check()
    kubectl(*status).check()
    assert kubectl("get", "daemonset", "agent").check().out.splitlines()[1].split()[1:6] == ["1"] * 5
    kubectl("delete", "daemonset", "agent", "--cascade=foreground", "--timeout=60s").check()


def test_a_stateful_set_keeps_names_and_rolls(kubectl: Callable[..., Result]) -> None:
    kubectl("apply", "-f", "-", stdin=STATEFUL).check()
    status = ("rollout", "status", "statefulset/db", "--timeout=60s")
    kubectl(*status).check()
    kubectl("set", "env", "statefulset/db", "A=B").check()
    kubectl(*status).check()
    names = kubectl("get", "pods", "-l", "app=db", "-o", "name").check().out.split()
    assert names == ["pod/db-0", "pod/db-1"]
    kubectl("rollout", "undo", "statefulset/db").check()
    kubectl(*status).check()
    kubectl("scale", "statefulset/db", "--replicas=1").check()
    kubectl("wait", "--for=delete", "pod/db-1", "--timeout=60s").check()
    kubectl("delete", "statefulset", "db", "--cascade=foreground", "--timeout=60s").check()


SHOP = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: busy}
spec:
  replicas: 3
  selector: {matchLabels: {app: busy}}
  template:
    metadata: {labels: {app: busy}}
    spec:
      terminationGracePeriodSeconds: 5
      containers:
        - name: main
          image: carob.local/web:v1
          ports: [{containerPort: 8080}]
          readinessProbe: {httpGet: {port: 8080, path: /}, periodSeconds: 1}
          lifecycle: {preStop: {exec: {command: [sleep, "1"]}}}
---
apiVersion: v1
kind: Service
metadata: {name: busy}
spec: {selector: {app: busy}, ports: [{port: 80, targetPort: 8080}]}
"""


class Load(threading.Thread):
    """Asks for a page again and again until it is stopped."""

    def __init__(self, url: str) -> None:
        super().__init__(daemon=True)
        self._url = url
        self._stopped = threading.Event()
        self.answered = 0
        self.failures: list[str] = []

    def run(self) -> None:
        while not self._stopped.wait(0.005):
            try:
                urllib.request.urlopen(self._url, timeout=5).read()
                self.answered += 1
            except OSError as error:
                self.failures.append(str(error))

    def stop(self) -> None:
        self._stopped.set()
        self.join()


def test_an_update_and_its_way_back_lose_no_request(kubectl: Callable[..., Result]) -> None:
    kubectl("apply", "-f", "-", stdin=SHOP).check()
    status = ("rollout", "status", "deployment/busy", "--timeout=60s")
    kubectl(*status).check()
    address = kubectl("get", "service", "busy", "-o", "jsonpath={.spec.clusterIP}").check().out
    load = Load(f"http://{address}/")
    load.start()
    try:
        for words in (("set", "env", "deployment/busy", "A=B"), ("rollout", "undo", "deployment/busy")):
            kubectl(*words).check()
            kubectl(*status).check()
    finally:
        load.stop()
    assert load.failures == []
    assert load.answered > 20
    kubectl("delete", "service/busy", "deployment/busy", "--timeout=60s").check()
    kubectl("wait", "--for=delete", "pod", "-l", "app=busy", "--timeout=60s").check()
