"""What one object costs of a ResourceQuota, and which quotas count it. Pure.

Source: kubernetes `pkg/quota/v1/evaluator/core`, `staging/…/apiserver/pkg/quota/v1/generic`.
Differs: device claims and volume attributes classes are not counted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from carob.api import qos, quantity
from carob.api.scalars import Quantity

if TYPE_CHECKING:
    from collections.abc import Mapping

    from carob.api.resources import Resource
    from carob.api.types.core_v1 import Pod, ResourceQuota

Usage = dict[str, Quantity]

ONE = Quantity("1")
ZERO = Quantity("0")
_OLD_NAMES = frozenset(
    ("configmaps", "persistentvolumeclaims", "replicationcontrollers", "resourcequotas", "secrets", "services")
)
_COMPUTE = ("cpu", "memory", "ephemeral-storage")
_CLASS_SUFFIX = ".storageclass.storage.k8s.io/"


def usage_of(resource: Resource, obj: Any) -> Usage:
    """What the object costs, under every name that a quota may use."""
    used: Usage = {f"count/{resource.group_resource}": ONE}
    if resource.group:
        return used
    if resource.plural in _OLD_NAMES:
        used[resource.plural] = ONE
    if resource.plural == "pods":
        return used | _pod_usage(obj)
    if resource.plural == "services":
        return used | _service_usage(obj)
    if resource.plural == "persistentvolumeclaims":
        return used | _claim_usage(obj)
    return used


def may_count(name: str, resource: Resource) -> bool:
    """Whether a quota's name can be about objects of this resource at all."""
    if name.startswith("count/"):
        return name == f"count/{resource.group_resource}"
    if resource.group:
        return False
    if name in _OLD_NAMES:
        return name == resource.plural
    if name.startswith("services."):
        return resource.plural == "services"
    if name == "requests.storage" or _CLASS_SUFFIX in name:
        return resource.plural == "persistentvolumeclaims"
    return resource.plural == "pods"


def is_compute(name: str) -> bool:
    """Whether a quota's name is about what containers ask for."""
    return name.startswith(("requests.", "limits.")) or name in _COMPUTE


def _pod_usage(pod: Pod) -> Usage:
    if pod.status.phase in ("Succeeded", "Failed"):
        return {}
    used: Usage = {"pods": ONE}
    for name, amount in qos.aggregate_requests(pod.spec).items():
        used[f"requests.{name}"] = amount
        if name in _COMPUTE or name.startswith("hugepages-"):
            used[name] = amount
    for name, amount in qos.aggregate_limits(pod.spec).items():
        if name in _COMPUTE:
            used[f"limits.{name}"] = amount
    return used


def _service_usage(service: Any) -> Usage:
    spec = service.spec
    ports = len(spec.ports)
    node_ports = ports if spec.type == "NodePort" else 0
    if spec.type == "LoadBalancer" and spec.allocate_load_balancer_node_ports is not False:
        node_ports = ports
    balancers = 1 if spec.type == "LoadBalancer" else 0
    return {
        "services.loadbalancers": Quantity(str(balancers)),
        "services.nodeports": Quantity(str(node_ports)),
    }


def _claim_usage(claim: Any) -> Usage:
    storage = claim.spec.resources.requests.get("storage", ZERO)
    used: Usage = {"requests.storage": storage}
    if claim.spec.storage_class_name:
        prefix = claim.spec.storage_class_name + _CLASS_SUFFIX
        used[prefix + "requests.storage"] = storage
        used[prefix + "persistentvolumeclaims"] = ONE
    return used


def missing(resource: Resource, obj: Any, hard: Mapping[str, Quantity]) -> list[str]:
    """What a Pod's containers must say because the quota counts it: `limits.memory for: c`, sorted."""
    if resource.plural != "pods" or resource.group:
        return []
    lacking: dict[str, list[str]] = {}
    for container in (*obj.spec.containers, *obj.spec.init_containers):
        for name in hard:
            kind, _, what = name.partition(".")
            if name in _COMPUTE:
                there = container.resources.requests
                what = name
            elif kind == "requests" and what in _COMPUTE:
                there = container.resources.requests
            elif kind == "limits" and what in _COMPUTE:
                there = container.resources.limits
            else:
                continue
            if what not in there:
                lacking.setdefault(name, []).append(container.name)
    return [f"{name} for: {','.join(sorted(containers))}" for name, containers in sorted(lacking.items())]


def counts(quota: ResourceQuota, resource: Resource, obj: Any) -> bool:
    """Whether the quota's scopes take in the object; scopes are about Pods."""
    selector = quota.spec.scope_selector
    requirements: list[tuple[str, str, list[str]]] = [(scope, "Exists", []) for scope in quota.spec.scopes]
    if selector is not None:
        requirements += [(one.scope_name, one.operator, one.values) for one in selector.match_expressions]
    if not requirements:
        return True
    if resource.plural != "pods" or resource.group:
        return False
    return all(_in_scope(obj, *one) for one in requirements)


def _in_scope(pod: Pod, scope: str, operator: str, values: list[str]) -> bool:
    if scope == "PriorityClass":
        name = pod.spec.priority_class_name
        return {
            "Exists": bool(name),
            "DoesNotExist": not name,
            "In": bool(name) and name in values,
            "NotIn": name not in values,
        }.get(operator, False)
    if scope in ("Terminating", "NotTerminating"):
        ends = pod.spec.active_deadline_seconds is not None
        return ends is (scope == "Terminating")
    if scope in ("BestEffort", "NotBestEffort"):
        return (qos.qos_class(pod) == qos.BEST_EFFORT) is (scope == "BestEffort")
    return scope == "CrossNamespacePodAffinity" and _crosses_namespaces(pod)


def _crosses_namespaces(pod: Pod) -> bool:
    affinity = pod.spec.affinity
    if affinity is None:
        return False
    for kind in (affinity.pod_affinity, affinity.pod_anti_affinity):
        if kind is None:
            continue
        weighted = [one.pod_affinity_term for one in kind.preferred_during_scheduling_ignored_during_execution]
        for term in (*kind.required_during_scheduling_ignored_during_execution, *weighted):
            if term.namespaces or term.namespace_selector is not None:
                return True
    return False


def growth(new: Usage, old: Usage) -> Usage:
    """What grows from `old` to `new`."""
    out: Usage = {}
    for name, amount in new.items():
        more = quantity.subtract(amount, old[name]) if name in old else amount
        if quantity.compare(more, "0") > 0:
            out[name] = more
    return out


def shown(usage: Mapping[str, Quantity]) -> str:
    """`limits.memory=1Gi,pods=1`: as refusals write it."""
    return ",".join(f"{name}={usage[name]}" for name in sorted(usage))
