"""What upstream refuses of statuses, of Pods on their way, and of Services: one row a rule."""

from __future__ import annotations

import pytest

from tests.unit.api.ruling import built, said

POD = """
apiVersion: v1
kind: Pod
metadata: {name: p}
spec:
  serviceAccountName: default
  containers: [{name: c, image: i, resources: {requests: {cpu: 1}, claims: [{name: a, request: r}]}}]
  initContainers:
  - {name: side, image: i, restartPolicy: Always, resources: {requests: {cpu: 1}}}
  - {name: first, image: i, resources: {requests: {cpu: 1}}}
  resourceClaims: [{name: a, resourceClaimName: b}]
"""
SERVICE = """
apiVersion: v1
kind: Service
metadata: {name: s}
spec: {clusterIP: 10.0.0.1, clusterIPs: [10.0.0.1], ports: [{port: 1, targetPort: 1}]}
"""
WORKLOADS = {
    "Deployment": "apps/v1",
    "ReplicaSet": "apps/v1",
    "StatefulSet": "apps/v1",
    "DaemonSet": "apps/v1",
    "ReplicationController": "v1",
    "HorizontalPodAutoscaler": "autoscaling/v2",
    "PodDisruptionBudget": "policy/v1",
}
TOO_MANY = "cannot be greater than status.replicas"
NEGATIVE = "must be greater than or equal to 0"


@pytest.mark.parametrize(
    ("kind", "before", "after", "wanted"),
    [
        (
            "Deployment",
            "{collisionCount: 3}",
            "{replicas: 1, updatedReplicas: 2, readyReplicas: 0, availableReplicas: 1, collisionCount: 2}",
            [
                f"updatedReplicas: Invalid value: 2: {TOO_MANY}",
                "availableReplicas: Invalid value: 1: cannot be greater than readyReplicas",
                "collisionCount: Invalid value: 2: cannot be decremented",
            ],
        ),
        (
            "Deployment",
            "{}",
            "{replicas: -1, observedGeneration: -1, terminatingReplicas: -1}",
            [
                f"replicas: Invalid value: -1: {NEGATIVE}",
                f"terminatingReplicas: Invalid value: -1: {NEGATIVE}",
                f"observedGeneration: Invalid value: -1: {NEGATIVE}",
                f"updatedReplicas: Invalid value: 0: {TOO_MANY}",
                f"readyReplicas: Invalid value: 0: {TOO_MANY}",
                f"availableReplicas: Invalid value: 0: {TOO_MANY}",
            ],
        ),
        (
            "ReplicaSet",
            "{}",
            "{replicas: 1, fullyLabeledReplicas: 2}",
            [f"fullyLabeledReplicas: Invalid value: 2: {TOO_MANY}"],
        ),
        (
            "StatefulSet",
            "{collisionCount: 1}",
            "{replicas: 1, currentReplicas: 2, availableReplicas: 1}",
            [
                f"currentReplicas: Invalid value: 2: {TOO_MANY}",
                "availableReplicas: Invalid value: 1: cannot be greater than status.readyReplicas",
                "collisionCount: Invalid value: 0: cannot be decremented",
            ],
        ),
        (
            "DaemonSet",
            "{}",
            "{currentNumberScheduled: -1, desiredNumberScheduled: 0, numberMisscheduled: 0, numberReady: 0, numberUnavailable: -2}",
            [
                f"currentNumberScheduled: Invalid value: -1: {NEGATIVE}",
                f"numberUnavailable: Invalid value: -2: {NEGATIVE}",
            ],
        ),
        (
            "ReplicationController",
            "{}",
            "{replicas: 1, readyReplicas: 2}",
            [f"readyReplicas: Invalid value: 2: {TOO_MANY}"],
        ),
        (
            "HorizontalPodAutoscaler",
            "{}",
            "{currentReplicas: -1, desiredReplicas: -1}",
            [f"{name}: Invalid value: -1: {NEGATIVE}" for name in ("currentReplicas", "desiredReplicas")],
        ),
        (
            "PodDisruptionBudget",
            "{}",
            "{disruptionsAllowed: -1, currentHealthy: 0, desiredHealthy: 0, expectedPods: 0}",
            [f"disruptionsAllowed: Invalid value: -1: {NEGATIVE}"],
        ),
        (
            "PodDisruptionBudget",
            "{}",
            "{disruptionsAllowed: 0, currentHealthy: 0, desiredHealthy: 0, expectedPods: 0, "
            "conditions: [{type: A, status: X, reason: '', lastTransitionTime: null, message: ''}, "
            "{type: A, status: 'True', reason: R-, lastTransitionTime: 2026-01-01T00:00:00Z, message: ''}]}",
            [
                'conditions[0].status: Unsupported value: "X": supported values: "False", "True", "Unknown"',
                "conditions[0].lastTransitionTime: Required value: must be set",
                "conditions[0].reason: Required value: must be set",
                'conditions[1].type: Duplicate value: "A"',
                'conditions[1].reason: Invalid value: "R-": a condition reason must start with alphabetic character',
            ],
        ),
    ],
)
def test_statuses(kind: str, before: str, after: str, wanted: list[str]) -> None:
    head = {"apiVersion": WORKLOADS[kind], "kind": kind, "metadata": {"name": "w"}}
    old, new = (
        built(head, f"status: {status}".replace("2026-01-01T00:00:00Z", "'2026-01-01T00:00:00Z'"))
        for status in (before, after)
    )
    assert [one.split(", optionally")[0] for one in said(new, old, "status")] == [f"status.{one}" for one in wanted]


@pytest.mark.parametrize(
    ("status", "wanted"),
    [
        (
            "{containerStatuses: [{name: c, image: i, imageID: i, ready: true, restartCount: 0, "
            "user: {linux: {uid: -1, gid: 0, supplementalGroups: [-2]}}}]}",
            [
                "containerStatuses[0].linux.uid: Invalid value: -1: must be between 0 and 2147483647, inclusive",
                "containerStatuses[0].linux.supplementalGroups[0]: Invalid value: -2: must be between 0 and 2147483647, inclusive",
            ],
        ),
        (
            "{containerStatuses: [{name: c, image: i, imageID: i, ready: true, restartCount: 0, allocatedResourcesStatus: ["
            "{name: gpu, resources: [{resourceID: a, health: Fine}, {resourceID: a, health: Healthy}]}, "
            "{name: 'claim:a/r'}, {name: 'claim:a'}, {name: cpu}]}]}",
            [
                'containerStatuses[0].allocatedResourcesStatus[0].name: Invalid value: "gpu": must match one of the '
                "container's resource requests",
                'containerStatuses[0].allocatedResourcesStatus[0].resources[0].health: Unsupported value: "Fine": '
                'supported values: "Healthy", "Unhealthy", "Unknown"',
                'containerStatuses[0].allocatedResourcesStatus[0].resources[1].resourceID: Duplicate value: "a"',
                'containerStatuses[0].allocatedResourcesStatus[2].name: Invalid value: "claim:a": must match one of the '
                "container's resource claims in a format 'claim:<claimName>/<request>' or 'claim:<claimName>' if request "
                "is empty",
            ],
        ),
        (
            "{ephemeralContainerStatuses: [{name: e, image: i, imageID: i, ready: true, restartCount: 0, "
            "allocatedResourcesStatus: [{name: cpu}]}]}",
            [
                "ephemeralContainerStatuses[0].allocatedResourcesStatus: Forbidden: must not be specified in container status"
            ],
        ),
        (
            "{hostIP: 10.0.0.1, hostIPs: [{ip: 10.0.0.1}, {ip: 10.0.0.1}]}",
            [
                'hostIPs[1]: Duplicate value: {"IP":"10.0.0.1"}',
                'hostIPs: Invalid value: [{"IP":"10.0.0.1"},{"IP":"10.0.0.1"}]: may specify no more than one IP for each '
                "IP family",
            ],
        ),
    ],
)
def test_statuses_of_pods(status: str, wanted: list[str]) -> None:
    assert said(built(POD, f"status: {status}"), built(POD), "status") == [f"status.{one}" for one in wanted]


COMPUTE = "only cpu and memory resources are mutable"


@pytest.mark.parametrize(
    ("containers", "inits", "wanted"),
    [
        ({"cpu": "2"}, ({"cpu": "2"}, {"cpu": "1"}), []),
        (
            {},
            ({"cpu": "1"}, {"cpu": "1"}),
            ["spec.containers[0].resources.requests: Forbidden: resource requests cannot be removed"],
        ),
        (
            {"cpu": "1"},
            ({"cpu": "1", "ephemeral-storage": "1Gi"}, {"cpu": "1"}),
            ["spec: Forbidden: only cpu and memory resources for sidecar containers are mutable"],
        ),
        (
            {"cpu": "1"},
            ({"cpu": "1"}, {"cpu": "2"}),
            ["spec: Forbidden: resources for non-sidecar init containers are immutable"],
        ),
        ({"cpu": "1", "ephemeral-storage": "1Gi"}, ({"cpu": "1"}, {"cpu": "1"}), [f"spec: Forbidden: {COMPUTE}"]),
    ],
)
def test_resizing(containers: dict[str, str], inits: tuple[dict[str, str], ...], wanted: list[str]) -> None:
    new, old = built(POD), built(POD)
    new["spec"]["containers"][0]["resources"]["requests"] = containers
    for one, amounts in zip(new["spec"]["initContainers"], inits, strict=True):
        one["resources"]["requests"] = amounts
    assert said(new, old, "resize") == wanted


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        (
            "{overhead: {hugepages-2Mi: 3Mi}}",
            [
                'spec.overhead.limits[hugepages-2Mi]: Invalid value: "3Mi": 3Mi is not positive integer multiple of hugepages-2Mi',
                "spec.overhead: Forbidden: HugePages require cpu or memory",
            ],
        ),
        (
            "{overhead: {cpu: -1}}",
            ['spec.overhead.limits[cpu]: Invalid value: "-1": must be greater than or equal to 0'],
        ),
    ],
)
def test_overhead(change: str, wanted: list[str]) -> None:
    assert said(built(POD, f"spec: {change}")) == wanted


OLD_RANGES = "service.beta.kubernetes.io/load-balancer-source-ranges"


@pytest.mark.parametrize(
    ("annotations", "spec", "wanted"),
    [
        (
            "{service.kubernetes.io/topology-mode: Auto, service.kubernetes.io/topology-aware-hints: auto}",
            "{}",
            [
                'metadata.annotations[service.kubernetes.io/topology-mode]: Invalid value: "Auto": must match '
                "annotations[service.kubernetes.io/topology-aware-hints] when both are specified"
            ],
        ),
        (
            f"{{{OLD_RANGES}: '10.0.0.0/8, x'}}",
            "{}",
            [
                f"metadata.annotations[{OLD_RANGES}]: Forbidden: may only be used when `type` is 'LoadBalancer'",
                f'metadata.annotations[{OLD_RANGES}]: Invalid value: "x": must be a valid CIDR value, '
                "(e.g. 10.9.8.0/24 or 2001:db8::/64)",
            ],
        ),
        (f"{{{OLD_RANGES}: ' '}}", "{type: LoadBalancer}", []),
    ],
)
def test_annotations_of_services(annotations: str, spec: str, wanted: list[str]) -> None:
    assert said(built(SERVICE, f"metadata: {{annotations: {annotations}}}\nspec: {spec}")) == wanted


def test_scopes_of_a_selector_conflict_at_their_own_place() -> None:
    quota = """
    apiVersion: v1
    kind: ResourceQuota
    metadata: {name: q}
    spec: {scopeSelector: {matchExpressions: [
      {scopeName: Terminating, operator: Exists}, {scopeName: NotTerminating, operator: Exists}]}}
    """
    assert said(built(quota)) == [
        "spec.scopeSelector.matchExpressions: Invalid value: null: conflicting scopes",
    ]
