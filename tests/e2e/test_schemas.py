"""Everything that a running cluster holds fits upstream's schemas: nodes, running Pods, leases, events, slices."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from test_bad_input import Raw

from carob.api.resources import BUILT_IN
from tests import schemas

if TYPE_CHECKING:
    from clusters import Cluster

pytestmark = [pytest.mark.root, pytest.mark.slow]

POD = """\
apiVersion: v1
kind: Pod
metadata: {name: judged, labels: {app: judged}}
spec:
  initContainers: [{name: before, image: carob.local/web:v1, command: ["true"]}]
  containers:
    - name: main
      image: carob.local/web:v1
      ports: [{containerPort: 8080}]
      readinessProbe: {httpGet: {path: /, port: 8080}}
      resources: {requests: {cpu: 10m}, limits: {memory: 64Mi}}
      volumeMounts: [{name: v, mountPath: /v}]
  volumes: [{name: v, emptyDir: {}}]
"""


def test_all_that_a_running_cluster_holds_fits_the_schemas(cluster: Cluster) -> None:
    cluster.carob("apply", "-f", "-", stdin=POD).check()
    cluster.wait_ready("judged")
    raw, kinds, wrong = Raw(cluster), set(), set()
    for row in BUILT_IN:
        if "list" not in row.verbs:
            continue
        code, answer = raw.ask("GET", row.path(None))
        assert code == 200, answer
        for tree in schemas.objects_in(answer):
            kinds.add(tree["kind"])
            wrong |= set(schemas.complaints(tree))
    cluster.carob("delete", "pod", "judged", "--now").check()
    assert {"Pod", "Node", "Lease", "Event", "Service", "EndpointSlice", "Namespace", "ServiceAccount"} <= kinds
    assert not wrong, "\n".join(sorted(wrong))
