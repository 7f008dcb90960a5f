"""carob's verbs for what makes Pods and for nodes: rollout, set image, autoscale, taint, drain. kubectl 1.37 is the judge."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from clusters import Cluster, Result

pytestmark = [pytest.mark.root, pytest.mark.slow]

JUDGE = "1.37"
TRIES = 4
_NAME = re.compile(r"\bkubectl(?:-1\.37)?(?=[ ,'\"`]|$)", re.MULTILINE)
_RANDOM = re.compile(r"(?m)^  uid: .*\n")

WORKLOAD = """\
apiVersion: apps/v1
kind: {kind}
metadata: {{name: {name}, namespace: rolls, annotations: {{kubernetes.io/change-cause: first}}}}
spec:
  {more}
  selector: {{matchLabels: {{app: {name}}}}}
  template:
    metadata: {{labels: {{app: {name}}}}}
    spec:
      terminationGracePeriodSeconds: 0
      containers: [{{name: web, image: "carob.local/web:v1", ports: [{{containerPort: 8080}}]}}]
"""
WORKLOADS = "---\n".join(
    [
        "apiVersion: v1\nkind: Namespace\nmetadata: {name: rolls}\n",
        WORKLOAD.format(kind="Deployment", name="web", more="replicas: 2"),
        WORKLOAD.format(kind="DaemonSet", name="agent", more="minReadySeconds: 0"),
        WORKLOAD.format(kind="StatefulSet", name="db", more="serviceName: db"),
    ]
)

SAME = """\
rollout status deploy/web
rollout status ds/agent
rollout status sts/db
rollout status deploy web --watch=false
rollout status deploy web --revision=2
rollout status cm/kube-root-ca.crt
rollout status deploy/nope
rollout history deploy/web
rollout history ds/agent
rollout history sts/db
rollout history deploy/web --revision=1
rollout history ds/agent --revision=1
rollout history sts/db --revision=1
rollout history deploy/web --revision=9
rollout history deploy/web --revision=-1
rollout history deploy
rollout history
rollout history cm/kube-root-ca.crt
rollout history deploy/web --revision=1 -o yaml
rollout history ds/agent --revision=1 -o yaml
rollout undo ds/agent
rollout undo sts/db
rollout undo cm/kube-root-ca.crt
rollout undo deploy/web --to-revision=1
rollout undo deploy/web --to-revision=1 --dry-run=client
rollout undo deploy/web --to-revision=7
rollout undo sts/db --to-revision=5
rollout undo deploy/web --to-revision=-1
rollout resume deploy/web
rollout pause ds/agent
rollout pause deploy/nope ds/agent
rollout resume ds/agent
rollout restart cm/kube-root-ca.crt
rollout restart deploy/nope deploy/nopes
rollout pause
set image deploy/web web=carob.local/web:v1
set image deploy/web wub=carob.local/web:v1
set image deploy/web
set image web=x
set image cm/kube-root-ca.crt web=x
set image deploy/web web=other:1 --dry-run=client
set image deploy/web web=other:1 --dry-run=server -o name
set image deploy/web web=other:1 --dry-run=client -o yaml
set image deploy/web '*=other:1' web=x --dry-run=client
taint node node-0
taint node node-0 a=b
taint node node-0 a=b:NoWay
taint node node-0 a=b:NoWay-
taint node node-0 =b:NoSchedule
taint node node-0 a=b:NoSchedule --dry-run=client
taint node node-0 a-
taint node node-0 a:NoSchedule-
taint node nope a=b:NoSchedule
taint pods node-0 a=b:NoSchedule
taint nodes a=b:NoSchedule
taint nodes --all a=b:NoSchedule --dry-run=server
taint node node-0 a=b:NoSchedule a=c:NoSchedule --dry-run=client
autoscale deploy web
autoscale deploy web --max=0
autoscale deploy web --max=1 --min=3
autoscale deploy web --max=3 --dry-run=client -o yaml
autoscale deploy web --max=3 --cpu-percent=50 --dry-run=client -o yaml
autoscale deploy web --max=3 --cpu=50% --memory=200Mi --min=1 --dry-run=client -o yaml
autoscale deploy web --max=3 --cpu=50 --dry-run=client -o yaml
autoscale deploy web --max=3 --cpu=abc --dry-run=client
autoscale deploy web --max=3 --cpu=5% --dry-run=server
autoscale ds/agent --max=3
autoscale deploy nope --max=3
drain
drain nope
drain node-0 --dry-run=client -l a=b
drain node-0 --dry-run=client --ignore-daemonsets --pod-selector app=db
"""


@pytest.fixture(scope="module")
def rolls(cluster: Cluster) -> Iterator[Cluster]:
    cluster.kubectl(JUDGE, "apply", "-f", "-", stdin=WORKLOADS).check()
    for what in ("deployment/web", "daemonset/agent", "statefulset/db"):
        cluster.carob("rollout", "status", what, "-n", "rolls", "--timeout=60s").check()
    yield cluster
    cluster.carob("delete", "namespace", "rolls", timeout=120).check()


def _shown(result: Result) -> tuple[int, str, str]:
    return result.code, _RANDOM.sub("", _NAME.sub("carob", result.out)), _NAME.sub("carob", result.err)


@pytest.mark.parametrize("line", SAME.splitlines())
def test_the_words_are_the_same(rolls: Cluster, line: str) -> None:
    words = [*shlex.split(line), "-n", "rolls"]

    def both() -> tuple[tuple[int, str, str], tuple[int, str, str]]:
        return _shown(rolls.carob(*words)), _shown(rolls.kubectl(JUDGE, *words))

    ours, theirs = both()
    for _ in range(TRIES - 1):
        if ours != theirs:
            ours, theirs = both()
    assert ours == theirs


def test_out_and_back_again(rolls: Cluster) -> None:
    def carob(*words: str) -> str:
        return rolls.carob(*words, "-n", "rolls").check().out

    def template(field: str) -> str:
        return carob("get", "deploy/web", "-o", f"jsonpath={{.spec.template.{field}}}")

    assert carob("rollout", "restart", "deploy/web") == "deployment.apps/web restarted\n"
    assert carob("rollout", "status", "deploy/web", "--timeout=60s").endswith("successfully rolled out\n")
    assert "restartedAt" in template("metadata.annotations")
    assert len(carob("rollout", "history", "deploy/web").split("\n")) == 6
    assert carob("rollout", "pause", "deploy/web") == "deployment.apps/web paused\n"
    assert carob("set", "image", "deploy/web", "web=carob.local/web:v9") == "deployment.apps/web image updated\n"
    refused = rolls.carob("rollout", "undo", "deploy/web", "-n", "rolls")
    assert refused.code == 1
    assert "you cannot rollback a paused deployment" in refused.err
    assert carob("rollout", "resume", "deploy/web") == "deployment.apps/web resumed\n"
    waiting = rolls.carob("rollout", "status", "deploy/web", "-n", "rolls", "--timeout=1s")
    assert (waiting.code, waiting.err) == (1, "error: timed out waiting for the condition\n")
    assert carob("rollout", "undo", "deploy/web") == "deployment.apps/web rolled back\n"
    assert template("spec.containers[0].image") == "carob.local/web:v1"
    assert carob("rollout", "undo", "deploy/web", "--to-revision=1") == "deployment.apps/web rolled back\n"
    assert "restartedAt" not in template("metadata.annotations")
    assert carob("rollout", "status", "deploy/web", "--timeout=60s").endswith("successfully rolled out\n")
    assert carob("rollout", "restart", "ds/agent", "sts/db").splitlines() == [
        "daemonset.apps/agent restarted",
        "statefulset.apps/db restarted",
    ]
    for what in ("ds/agent", "sts/db"):
        carob("rollout", "status", what, "--timeout=60s")
        assert carob("rollout", "undo", what).endswith("rolled back\n")
        carob("rollout", "status", what, "--timeout=60s")
        assert "restartedAt" not in carob("get", what, "-o", "jsonpath={.spec.template.metadata.annotations}")


def test_a_node_is_emptied_as_budgets_allow(rolls: Cluster) -> None:
    def carob(*words: str) -> Result:
        return rolls.carob(*words, "-n", "rolls")

    assert carob("taint", "node", "node-0", "gone=soon:PreferNoSchedule").check().out == "node/node-0 tainted\n"
    again = carob("taint", "node", "node-0", "gone=now:PreferNoSchedule")
    assert "already has gone taint(s) with same effect(s) and --overwrite is false" in again.err
    assert carob("taint", "node", "node-0", "gone-").check().out == "node/node-0 untainted\n"
    budget = "apiVersion: policy/v1\nkind: PodDisruptionBudget\nmetadata: {name: web}\nspec: {minAvailable: 2, selector: {matchLabels: {app: web}}}"
    rolls.carob("apply", "-n", "rolls", "-f", "-", stdin=budget).check()
    carob("wait", "pdb/web", "--for=jsonpath={.status.currentHealthy}=2", "--timeout=60s").check()
    chosen = ("--pod-selector", "app in (web, agent)")
    try:
        daemons = carob("drain", "node-0", *chosen)
        assert daemons.code == 1
        assert "cannot delete DaemonSet-managed Pods (use --ignore-daemonsets to ignore): rolls/agent-" in daemons.err
        held = carob("drain", "node-0", *chosen, "--ignore-daemonsets", "--timeout=1s")
        assert held.code == 1
        assert "Cannot evict pod as it would violate the pod's disruption budget." in held.err
        carob("delete", "pdb", "web").check()
        done = carob("drain", "node-0", *chosen, "--ignore-daemonsets", "--timeout=60s").check()
        assert done.out.endswith("node/node-0 drained\n")
        assert done.out.count("pod/web-") == 2
        assert done.err.startswith("Warning: ignoring DaemonSet-managed Pods: rolls/agent-")
    finally:
        assert carob("uncordon", "node-0").check().out == "node/node-0 uncordoned\n"
