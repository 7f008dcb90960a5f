"""Admission policies with kubectl, as docs/admission-policies.md shows them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from clusters import Cluster

pytestmark = [pytest.mark.root, pytest.mark.slow]

PAGE = Path(__file__).parents[2] / "docs" / "admission-policies.md"
BINDING = """\
apiVersion: admissionregistration.k8s.io/v1
kind: MutatingAdmissionPolicyBinding
metadata: {name: team}
spec:
  policyName: team
  matchResources:
    objectSelector: {matchLabels: {run: asked}}
"""


def test_the_page_is_true(cluster: Cluster, kubectl_version: str) -> None:
    judging, changing = re.findall(r"```yaml\n(.*?)```", PAGE.read_text(), re.DOTALL)

    def kubectl(*arguments: str, stdin: str | None = None) -> str:
        return cluster.kubectl(kubectl_version, *arguments, stdin=stdin).check().out

    try:
        assert "validatingadmissionpolicy.admissionregistration.k8s.io/replicas created" in kubectl(
            "apply", "-f", "-", stdin=judging
        )
        kubectl("create", "configmap", "limits", "--from-literal", "most=3")
        refused = cluster.kubectl(
            kubectl_version, "create", "deployment", "web", "--image", "carob.local/web:v1", "--replicas", "5"
        )
        words = "ValidatingAdmissionPolicy 'replicas' with binding 'replicas' denied request: at most 3 replicas"
        assert refused.code == 1
        assert f'deployments.apps "web" is forbidden: {words}' in refused.err
        kubectl("create", "deployment", "web", "--image", "carob.local/web:v1", "--replicas", "0")
        scaled = cluster.kubectl(kubectl_version, "scale", "deployment", "web", "--replicas", "9")
        assert scaled.code == 0, "a policy about deployments is none about their scale"
        kubectl("scale", "deployment", "web", "--replicas", "0")
        kubectl("wait", "validatingadmissionpolicy/replicas", "--for", "jsonpath={.status.observedGeneration}=1")
        kubectl("apply", "-f", "-", stdin=changing)
        kubectl("apply", "-f", "-", stdin=BINDING)
        kubectl("run", "asked", "--image", "carob.local/web:v1", "--dry-run=client", "-o", "yaml")
        made = kubectl(
            "run", "asked", "--image", "carob.local/web:v1", "--dry-run=server", "-o", "jsonpath={.metadata}"
        )
        assert '"asked":"yes"' in made
        assert '"team":"' in made
    finally:
        for kind in ("validatingadmissionpolicies", "validatingadmissionpolicybindings"):
            cluster.kubectl(kubectl_version, "delete", kind, "replicas")
        for kind in ("mutatingadmissionpolicies", "mutatingadmissionpolicybindings"):
            cluster.kubectl(kubectl_version, "delete", kind, "team")
        cluster.kubectl(kubectl_version, "delete", "deployment/web", "configmap/limits")
