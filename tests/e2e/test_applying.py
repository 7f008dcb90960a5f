"""Server-side apply as real clients use it: kubectl's own, its hand-over from client-side apply, and helm 4."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from kubectls import helm as helm_binary

if TYPE_CHECKING:
    from pathlib import Path

    from clusters import Cluster, Result

pytestmark = [pytest.mark.root, pytest.mark.slow]

KUBECTL = "1.37"
DEPLOYMENT = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: applied}
spec:
  replicas: 0
  selector: {matchLabels: {a: applied}}
  template:
    metadata: {labels: {a: applied}}
    spec: {containers: [{name: c, image: "web:v1", ports: [{containerPort: 80}]}]}
"""
CHART = """\
apiVersion: v1
kind: ConfigMap
metadata: {name: "{{ .Release.Name }}"}
data: {a: "{{ .Values.a }}"{{ if .Values.b }}, b: "1"{{ end }}}
"""
HOOKS = """\
apiVersion: batch/v1
kind: Job
metadata:
  name: "{{ .Release.Name }}-before"
  annotations: {helm.sh/hook: "pre-install,pre-upgrade", helm.sh/hook-delete-policy: before-hook-creation}
spec:
  backoffLimit: 0
  template:
    spec:
      restartPolicy: Never
      containers: [{name: c, image: "carob.local/web:v1", command: [sh, -c, "exit {{ .Values.before }}"]}]
---
apiVersion: v1
kind: Pod
metadata:
  name: "{{ .Release.Name }}-test"
  annotations: {helm.sh/hook: test, helm.sh/hook-delete-policy: before-hook-creation}
spec:
  restartPolicy: Never
  containers: [{name: c, image: "carob.local/web:v1", command: [sh, -c, "test {{ .Values.a }} = two"]}]
"""


def managers(cluster: Cluster, what: str) -> set[tuple[str, str]]:
    done = cluster.kubectl(KUBECTL, "get", what, "-o", "json", "--show-managed-fields").check()
    entries = json.loads(done.out)["metadata"]["managedFields"]
    return {(entry["manager"], entry["operation"]) for entry in entries}


def test_kubectl_applies_on_the_server(cluster: Cluster) -> None:
    def run(*arguments: str, text: str = DEPLOYMENT) -> tuple[int, str]:
        done = cluster.kubectl(KUBECTL, *arguments, "-f", "-", stdin=text)
        return done.code, done.out + done.err

    assert run("apply")[0] == 0
    assert run("apply", "--server-side")[0] == 0
    found = managers(cluster, "deployment/applied")
    assert ("kubectl", "Apply") in found
    assert ("kubectl-client-side-apply", "Update") not in found
    assert run("diff", "--server-side") == (0, "")
    cluster.kubectl(KUBECTL, "patch", "deployment", "applied", "-p", '{"spec":{"paused":true}}').check()
    changed = DEPLOYMENT.replace("web:v1", "web:v2")
    code, text = run("apply", "--server-side", "--field-manager=other", text=changed)
    assert (code, 'conflict with "kubectl": .spec.template.spec.containers[name="c"].image' in text) == (1, True)
    code, text = run("diff", "--server-side", "--field-manager=other", "--force-conflicts", text=changed)
    assert (code, "+      - image: web:v2" in text) == (1, True)
    assert run("apply", "--server-side", "--field-manager=other", "--force-conflicts", text=changed)[0] == 0
    assert ("other", "Apply") in managers(cluster, "deployment/applied")
    assert "managedFields" not in cluster.carob("get", "deployment", "applied", "-o", "yaml").check().out
    cluster.kubectl(KUBECTL, "delete", "deployment", "applied").check()


def test_helm_installs_upgrades_and_rolls_back(cluster: Cluster, tmp_path: Path) -> None:
    templates = tmp_path / "chart" / "templates"
    templates.mkdir(parents=True)
    (templates / "all.yaml").write_text(CHART)
    (templates / "hooks.yaml").write_text(HOOKS)
    (tmp_path / "chart" / "Chart.yaml").write_text("apiVersion: v2\nname: demo\nversion: 0.1.0\n")
    (tmp_path / "chart" / "values.yaml").write_text("a: one\nbefore: 0\n")
    chart = str(tmp_path / "chart")

    def run(*arguments: str) -> Result:
        return cluster.run(str(helm_binary(KUBECTL)), *arguments, timeout=180)

    def helm(*arguments: str) -> None:
        run(*arguments).check()

    def data() -> dict[str, str]:
        done = cluster.kubectl(KUBECTL, "get", "configmap", "released", "-o", "json").check()
        found: dict[str, str] = json.loads(done.out)["data"]
        return found

    helm("install", "released", chart, "--set", "b=1")
    assert managers(cluster, "configmap/released") == {("helm", "Apply")}
    assert data() == {"a": "one", "b": "1"}
    failed = run("test", "released")
    assert failed.code != 0
    assert "released-test" in failed.out + failed.err
    # a hook that fails stops the upgrade before anything changes
    assert run("upgrade", "released", chart, "--set", "a=two,before=1").code != 0
    assert data() == {"a": "one", "b": "1"}
    helm("upgrade", "released", chart, "--set", "a=two")
    assert data() == {"a": "two"}
    helm("test", "released")
    helm("rollback", "released", "1")
    assert data() == {"a": "one", "b": "1"}
    helm("uninstall", "released")
    # hooks are nobody's: helm leaves them
    cluster.kubectl(KUBECTL, "delete", "job/released-before", "pod/released-test").check()
