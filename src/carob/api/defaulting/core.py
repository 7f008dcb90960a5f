"""Defaults of the core group's kinds other than Pods.

Source: `pkg/apis/core/v1/defaults.go`; folding of `stringData` as upstream's conversion does it.
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

from carob.api.defaulting import pod
from carob.api.types import core_v1

if TYPE_CHECKING:
    from collections.abc import Callable

DEFAULT_AFFINITY_SECONDS = 10800


def _namespace(obj: core_v1.Namespace) -> None:
    if obj.metadata.name:
        obj.metadata.labels["kubernetes.io/metadata.name"] = obj.metadata.name
    obj.status.phase = obj.status.phase or "Active"


def _secret(obj: core_v1.Secret) -> None:
    for key, text in obj.string_data.items():
        obj.data[key] = base64.b64encode(text.encode("utf-8", "surrogatepass")).decode()
    obj.string_data = {}
    obj.type = obj.type or "Opaque"


def _node(obj: core_v1.Node) -> None:
    pod.round_up(obj.status.capacity)
    pod.round_up(obj.status.allocatable)
    if not obj.status.allocatable and obj.status.capacity:
        obj.status.allocatable = dict(obj.status.capacity)
    spec = obj.spec
    if spec.pod_cidr and spec.pod_cidrs[:1] != [spec.pod_cidr]:
        spec.pod_cidrs = [spec.pod_cidr]
    elif spec.pod_cidrs:
        spec.pod_cidr = spec.pod_cidrs[0]


def externally_accessible(spec: core_v1.ServiceSpec) -> bool:
    """True for a Service that clients outside the cluster can reach."""
    return spec.type in ("LoadBalancer", "NodePort") or (spec.type == "ClusterIP" and bool(spec.external_ips))


def _service(obj: core_v1.Service) -> None:
    spec = obj.spec
    spec.session_affinity = spec.session_affinity or "None"
    if spec.session_affinity == "None":
        spec.session_affinity_config = None
    elif spec.session_affinity == "ClientIP":
        config = spec.session_affinity_config
        if config is None or config.client_ip is None or config.client_ip.timeout_seconds is None:
            client_ip = core_v1.ClientIPConfig(timeout_seconds=DEFAULT_AFFINITY_SECONDS)
            spec.session_affinity_config = core_v1.SessionAffinityConfig(client_ip=client_ip)
    spec.type = spec.type or "ClusterIP"
    for port in spec.ports:
        port.protocol = port.protocol or "TCP"
        if port.target_port in (0, ""):
            port.target_port = port.port
    if externally_accessible(spec) and not spec.external_traffic_policy:
        spec.external_traffic_policy = "Cluster"
    if spec.internal_traffic_policy is None and spec.type in ("NodePort", "LoadBalancer", "ClusterIP"):
        spec.internal_traffic_policy = "Cluster"
    if spec.type == "LoadBalancer":
        if spec.allocate_load_balancer_node_ports is None:
            spec.allocate_load_balancer_node_ports = True
        for ingress in obj.status.load_balancer.ingress:
            if ingress.ip and ingress.ip_mode is None:
                ingress.ip_mode = "VIP"


def _endpoints(obj: core_v1.Endpoints) -> None:
    for subset in obj.subsets:
        for port in subset.ports:
            port.protocol = port.protocol or "TCP"


def _replication_controller(obj: core_v1.ReplicationController) -> None:
    if obj.spec.replicas is None:
        obj.spec.replicas = 1
    if obj.spec.template is not None:
        labels = obj.spec.template.metadata.labels
        obj.spec.selector = obj.spec.selector or dict(labels)
        obj.metadata.labels = obj.metadata.labels or dict(labels)
        pod.pod_template(obj.spec.template)


def _persistent_volume(obj: core_v1.PersistentVolume) -> None:
    spec = obj.spec
    obj.status.phase = obj.status.phase or "Pending"
    spec.persistent_volume_reclaim_policy = spec.persistent_volume_reclaim_policy or "Retain"
    if spec.volume_mode is None:
        spec.volume_mode = "Filesystem"
    if spec.host_path is not None and spec.host_path.type is None:
        spec.host_path.type = ""
    pod.storage_source("iscsi", spec.iscsi)
    pod.storage_source("rbd", spec.rbd)
    pod.storage_source("azure_disk", spec.azure_disk)
    pod.storage_source("scale_io", spec.scale_io)
    pod.round_up(spec.capacity)


def persistent_volume_claim(obj: core_v1.PersistentVolumeClaim) -> None:
    """Defaults of a claim, alone or as a template of a StatefulSet."""
    obj.status.phase = obj.status.phase or "Pending"
    pod.claim_spec(obj.spec)
    pod.round_up(obj.status.capacity)


def _limit_range(obj: core_v1.LimitRange) -> None:
    for item in obj.spec.limits:
        if item.type == "Container":
            for name, value in item.max.items():
                item.default.setdefault(name, value)
            for name, value in item.default.items():
                item.default_request.setdefault(name, value)
            for name, value in item.min.items():
                item.default_request.setdefault(name, value)
        for resources in (item.max, item.min, item.default, item.default_request, item.max_limit_request_ratio):
            pod.round_up(resources)


def _resource_quota(obj: core_v1.ResourceQuota) -> None:
    pod.round_up(obj.spec.hard)
    pod.round_up(obj.status.hard)
    pod.round_up(obj.status.used)


def _pod_template(obj: core_v1.PodTemplate) -> None:
    pod.pod_template(obj.template)


DEFAULTS: dict[type[Any], Callable[[Any], None]] = {
    core_v1.Pod: pod.pod,
    core_v1.PodTemplate: _pod_template,
    core_v1.Namespace: _namespace,
    core_v1.Secret: _secret,
    core_v1.Node: _node,
    core_v1.Service: _service,
    core_v1.Endpoints: _endpoints,
    core_v1.ReplicationController: _replication_controller,
    core_v1.PersistentVolume: _persistent_volume,
    core_v1.PersistentVolumeClaim: persistent_volume_claim,
    core_v1.LimitRange: _limit_range,
    core_v1.ResourceQuota: _resource_quota,
}
