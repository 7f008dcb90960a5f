"""`describe` of the small kinds: Namespace, ConfigMap, Secret, ServiceAccount."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

from carob.cli.describers import parts
from carob.cli.describers.autoscaling import describe_autoscaler
from carob.cli.describers.certificates import describe_signing_request
from carob.cli.describers.ingress import describe_ingress_class, describe_ip_address, describe_service_cidr
from carob.cli.describers.policies import describe_budget, describe_network_policy
from carob.cli.describers.quotas import describe_limits, describe_quota, namespace_limits, namespace_quotas
from carob.cli.describers.rbac import describe_binding, describe_role
from carob.cli.describers.services import describe_endpoints, describe_slice
from carob.cli.describers.sets import describe_cron_job
from carob.cli.describers.storage import (
    describe_attributes_class,
    describe_csi_node,
    describe_storage_class,
    describe_volume,
)
from carob.cli.describers.workloads import describe_job
from carob.cli.describers.writer import Writer
from carob.cli.printers.table import format_labels

if TYPE_CHECKING:
    from collections.abc import Sequence

    from carob.cli.describers.parts import Tree


def describe_namespace(tree: Tree, quotas: Sequence[Tree], limits: Sequence[Tree]) -> str:
    """Name, labels, phase, and what limits it."""
    writer = Writer()
    parts.head(writer, tree["metadata"], namespaced=False)
    writer.line(0, f"Status:\t{(tree.get('status') or {}).get('phase', '')}")
    conditions = (tree.get("status") or {}).get("conditions") or []
    if conditions:
        writer.line(0, "Conditions:\n  Type\tStatus\tLastTransitionTime\tReason\tMessage")
        writer.line(1, "----\t------\t------------------\t------\t-------")
        for c in conditions:
            time = parts.rfc1123(c["lastTransitionTime"]) if c.get("lastTransitionTime") else ""
            writer.line(1, f"{c.get('type')}\t{c.get('status')}\t{time}\t{c.get('reason', '')}\t{c.get('message', '')}")
    writer.line(0, "")
    namespace_quotas(writer, quotas)
    writer.line(0, "")
    namespace_limits(writer, limits)
    return writer.text()


def describe_config_map(tree: Tree, events: Sequence[Tree] | None) -> str:
    """Every key with its value."""
    writer = Writer()
    parts.head(writer, tree["metadata"])
    writer.line(0, "\nData\n====")
    for key in sorted(tree.get("data") or {}):
        writer.line(0, f"{key}:\n----\n{tree['data'][key]}\n")
    writer.line(0, "\nBinaryData\n====")
    for key in sorted(tree.get("binaryData") or {}):
        writer.line(0, f"{key}: {len(base64.b64decode(tree['binaryData'][key]))} bytes")
    writer.line(0, "")
    if events is not None:
        parts.events(writer, events)
    return writer.text()


def describe_secret(tree: Tree, events: Sequence[Tree] | None) -> str:
    """Every key with the size of its value, never the value."""
    writer = Writer()
    parts.head(writer, tree["metadata"])
    writer.line(0, f"\nType:\t{tree.get('type', '')}")
    writer.line(0, "\nData\n====")
    for key in sorted(tree.get("data") or {}):
        raw = base64.b64decode(tree["data"][key])
        if tree.get("type") == "kubernetes.io/service-account-token" and key == "token":
            writer.line(0, f"{key}:\t{raw.decode()}")
        else:
            writer.line(0, f"{key}:\t{len(raw)} bytes")
    return writer.text()


def describe_service_account(tree: Tree, events: Sequence[Tree] | None) -> str:
    """What it may mount and pull with."""
    writer = Writer()
    parts.head(writer, tree["metadata"])
    names = [s.get("name", "") for s in tree.get("imagePullSecrets") or []]
    writer.line(0, "Image pull secrets:\t" + ("\n\t".join(names) or "<none>"))
    if events is not None:
        parts.events(writer, events)
    return writer.text()


def describe_priority_class(tree: Tree, events: Sequence[Tree] | None) -> str:
    """Its number, and what it is for."""
    writer = Writer()
    writer.line(0, f"Name:\t{tree['metadata'].get('name')}")
    writer.line(0, f"Value:\t{tree.get('value', 0)}")
    writer.line(0, f"GlobalDefault:\t{str(bool(tree.get('globalDefault'))).lower()}")
    writer.line(0, f"PreemptionPolicy:\t{tree.get('preemptionPolicy', '')}")
    writer.line(0, f"Description:\t{tree.get('description', '')}")
    writer.line(0, f"Annotations:\t{format_labels(tree['metadata'].get('annotations') or {})}")
    if events is not None:
        parts.events(writer, events)
    return writer.text()


SIMPLE = {
    ("", "ConfigMap"): describe_config_map,
    ("", "Secret"): describe_secret,
    ("", "ServiceAccount"): describe_service_account,
    ("", "ResourceQuota"): describe_quota,
    ("", "LimitRange"): describe_limits,
    ("", "Endpoints"): describe_endpoints,
    ("discovery.k8s.io", "EndpointSlice"): describe_slice,
    ("rbac.authorization.k8s.io", "Role"): describe_role,
    ("rbac.authorization.k8s.io", "ClusterRole"): describe_role,
    ("rbac.authorization.k8s.io", "RoleBinding"): describe_binding,
    ("rbac.authorization.k8s.io", "ClusterRoleBinding"): describe_binding,
    ("scheduling.k8s.io", "PriorityClass"): describe_priority_class,
    ("batch", "Job"): describe_job,
    ("batch", "CronJob"): describe_cron_job,
    ("autoscaling", "HorizontalPodAutoscaler"): describe_autoscaler,
    ("policy", "PodDisruptionBudget"): describe_budget,
    ("networking.k8s.io", "NetworkPolicy"): describe_network_policy,
    ("networking.k8s.io", "IngressClass"): describe_ingress_class,
    ("networking.k8s.io", "ServiceCIDR"): describe_service_cidr,
    ("networking.k8s.io", "IPAddress"): describe_ip_address,
    ("", "PersistentVolume"): describe_volume,
    ("storage.k8s.io", "StorageClass"): describe_storage_class,
    ("storage.k8s.io", "VolumeAttributesClass"): describe_attributes_class,
    ("storage.k8s.io", "CSINode"): describe_csi_node,
    ("certificates.k8s.io", "CertificateSigningRequest"): describe_signing_request,
}
