"""Pods of the workloads that upstream's scheduler_perf measures, and what must be there before them."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

HOST, ZONE = "kubernetes.io/hostname", "topology.kubernetes.io/zone"
SERVICES = 10
DEVICES = 10
RESOURCES = "/apis/resource.k8s.io/v1"
Tree = dict[str, Any]


@dataclass(frozen=True)
class Workload:
    """`make` gives the n-th Pod. `before`: Pods that are placed first; `backlog`: those that can never be placed."""

    make: Callable[[int], Tree]
    before: Callable[[int], Tree] | None = None
    backlog: Callable[[int], Tree] | None = None
    cpu: str = "32"
    """What a node offers."""
    fills: bool = False
    """Whether `before` fills every node."""
    most_each_node: int = 0
    """How many of the Pods a node can take at most; 0: as many as there is room for."""
    priorities: dict[str, int] = field(default_factory=dict)
    churns: bool = False
    """Whether other things come and go meanwhile."""
    services: bool = False
    """Whether Services select the Pods, so that they are spread without a constraint of their own."""
    devices: bool = False
    """Whether the Pods claim devices: a template for their claims, and a slice of devices for each node."""


def pod(number: int, prefix: str = "pod", labels: dict[str, str] | None = None, cpu: str = "100m", **spec: Any) -> Tree:
    """A Pod as in upstream's pod-default.yaml."""
    container = {
        "name": "pause",
        "image": "registry.k8s.io/pause:3.10",
        "ports": [{"containerPort": 80}],
        "resources": {"requests": {"cpu": cpu, "memory": "500Mi"}},
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": f"{prefix}-{number:06d}", "labels": labels or {}},
        "spec": {"containers": [container], "automountServiceAccountToken": False} | spec,
    }


def service(number: int) -> Tree:
    """A Service that selects a tenth of the Pods, of a type of which no EndpointSlices are made: they are another matter."""
    name = f"app-{number}"
    spec = {"type": "ExternalName", "externalName": "example.com", "selector": {"app": name}}
    return {"metadata": {"name": name}, "spec": spec}


def device_class() -> Tree:
    """A class of all devices of one driver."""
    chosen = {"cel": {"expression": 'device.driver == "bench.example.com"'}}
    return {"metadata": {"name": "bench"}, "spec": {"selectors": [chosen]}}


def claim_template() -> Tree:
    """Each Pod's claim: one device of the class that is big enough."""
    chosen = {"cel": {"expression": 'device.attributes["bench.example.com"].size >= 2'}}
    exactly = {"deviceClassName": "bench", "selectors": [chosen]}
    return {
        "metadata": {"name": "card"},
        "spec": {"spec": {"devices": {"requests": [{"name": "card", "exactly": exactly}]}}},
    }


def slice_of(node: int) -> Tree:
    """What the driver offers on a node."""
    name = f"simulated-{node}"
    return {
        "metadata": {"name": name},
        "spec": {
            "driver": "bench.example.com",
            "nodeName": name,
            "pool": {"name": name, "generation": 1, "resourceSliceCount": 1},
            "devices": [{"name": f"card-{n}", "attributes": {"size": {"int": n + 2}}} for n in range(DEVICES)],
        },
    }


def _claiming(number: int) -> Tree:
    return pod(number, resourceClaims=[{"name": "card", "resourceClaimTemplateName": "card"}])


def _terms(kind: str, key: str, color: str, *, required: bool) -> Tree:
    term = {"labelSelector": {"matchLabels": {"color": color}}, "topologyKey": key}
    if required:
        return {kind: {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}
    weighted = [{"weight": 1, "podAffinityTerm": term}]
    return {kind: {"preferredDuringSchedulingIgnoredDuringExecution": weighted}}


def _near(kind: str, key: str, color: str, *, required: bool, least: int = 0) -> Workload:
    return Workload(
        lambda n: pod(n, labels={"color": color}, affinity=_terms(kind, key, color, required=required)),
        most_each_node=least,
    )


def _spread(when: str) -> Workload:
    rule = {
        "maxSkew": 5,
        "topologyKey": ZONE,
        "whenUnsatisfiable": when,
        "labelSelector": {"matchLabels": {"color": "blue"}},
    }
    return Workload(lambda n: pod(n, labels={"color": "blue"}, topologySpreadConstraints=[rule]))


def _node_affinity(number: int) -> Tree:
    expression = {"key": ZONE, "operator": "In", "values": ["zone-0", "zone-1"]}
    terms = {"nodeSelectorTerms": [{"matchExpressions": [expression]}]}
    return pod(number, affinity={"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": terms}})


def _daemon(number: int) -> Tree:
    expression = {"key": "metadata.name", "operator": "In", "values": [f"simulated-{number}"]}
    terms = {"nodeSelectorTerms": [{"matchFields": [expression]}]}
    return pod(number, affinity={"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": terms}})


WORKLOADS = {
    "basic": Workload(pod),
    "services": Workload(lambda n: pod(n, labels={"app": f"app-{n % SERVICES}"}), services=True),
    "node-affinity": Workload(_node_affinity),
    "spread": _spread("DoNotSchedule"),
    "preferred-spread": _spread("ScheduleAnyway"),
    "affinity": _near("podAffinity", ZONE, "blue", required=True),
    "anti-affinity": _near("podAntiAffinity", HOST, "green", required=True, least=1),
    "preferred-affinity": _near("podAffinity", HOST, "red", required=False),
    "preferred-anti-affinity": _near("podAntiAffinity", HOST, "yellow", required=False),
    "preemption": Workload(
        lambda n: pod(n, cpu="3", priorityClassName="high"),
        # they go at once, as upstream's pod-low-priority.yaml says
        before=lambda n: pod(n, "low", cpu="900m", terminationGracePeriodSeconds=0),
        cpu="4",
        fills=True,
        most_each_node=1,
        priorities={"high": 1000},
    ),
    "unschedulable": Workload(pod, backlog=lambda n: pod(n, "never", cpu="99")),
    "mixed-churn": Workload(pod, churns=True, priorities={"high": 1000}),
    "daemonset": Workload(_daemon, most_each_node=1),
    "devices": Workload(_claiming, most_each_node=DEVICES, devices=True),
}


def encoded(tree: Tree) -> bytes:
    """The body of its create."""
    return json.dumps(tree).encode()
