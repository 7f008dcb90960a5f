"""What a new cluster holds besides roles: namespaces, the `kubernetes` Service, priorities, flow control, API services.

Pure: JSON trees from options and a time. The facts are those of a new v1.36 cluster.
"""

from __future__ import annotations

import base64
import hashlib
import time
from typing import TYPE_CHECKING, Any

from carob.base.clock import rfc3339, rfc3339_micro

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from carob.api.resources import ResourceTable
    from carob.apiserver.options import ApiServerOptions

Tree = dict[str, Any]

_FLOW_CONTROL = "flowcontrol.apiserver.k8s.io/v1"
_AUTOUPDATE = {"apf.kubernetes.io/autoupdate-spec": "true"}
_EVERYTHING = {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "clusterScope": True, "namespaces": ["*"]}
_EVERY_PATH = {"verbs": ["*"], "nonResourceURLs": ["*"]}
_EVERYBODY = ("Group system:unauthenticated", "Group system:authenticated")
_SYSTEM_ACCOUNTS = "ServiceAccount kube-system/*"
_MANAGER, _SCHEDULER = "User system:kube-controller-manager", "User system:kube-scheduler"

# name: precedence, priority level, distinguisher, subjects
_FLOWS: dict[str, tuple[int, str, str, tuple[str, ...]]] = {
    "exempt": (1, "exempt", "", ("Group system:masters",)),
    "probes": (2, "exempt", "", _EVERYBODY),
    "system-leader-election": (100, "leader-election", "ByUser", (_MANAGER, _SCHEDULER, _SYSTEM_ACCOUNTS)),
    "system-node-high": (400, "node-high", "ByUser", ("Group system:nodes",)),
    "system-nodes": (500, "system", "ByUser", ("Group system:nodes",)),
    "kube-controller-manager": (800, "workload-high", "ByNamespace", (_MANAGER,)),
    "kube-scheduler": (800, "workload-high", "ByNamespace", (_SCHEDULER,)),
    "kube-system-service-accounts": (900, "workload-high", "ByNamespace", (_SYSTEM_ACCOUNTS,)),
    "service-accounts": (9000, "workload-low", "ByUser", ("Group system:serviceaccounts",)),
    "global-default": (9900, "global-default", "ByUser", _EVERYBODY),
    "catch-all": (10000, "catch-all", "ByUser", _EVERYBODY),
}
_LEASES = {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "namespaces": ["*"]}
_FLOW_RULES: dict[str, Tree] = {
    "probes": {"nonResourceRules": [{"verbs": ["get"], "nonResourceURLs": ["/healthz", "/readyz", "/livez"]}]},
    "system-leader-election": {"resourceRules": [{"verbs": ["get", "create", "update"], **_LEASES}]},
    "system-node-high": {
        "resourceRules": [
            _EVERYTHING | {"apiGroups": [""], "resources": ["nodes", "nodes/status"]},
            {"verbs": ["*"], **_LEASES},
        ]
    },
}
# name: shares, lendable percent, then queues, hand size and queue length; without queues it rejects
_LEVELS: dict[str, tuple[int, ...]] = {
    "catch-all": (5, 0),
    "global-default": (20, 50, 128, 6, 50),
    "leader-election": (10, 0, 16, 4, 50),
    "node-high": (40, 25, 64, 6, 50),
    "system": (30, 33, 64, 6, 50),
    "workload-high": (40, 50, 128, 6, 50),
    "workload-low": (100, 90, 128, 6, 50),
}
IDENTITY_LEASE_SECONDS = 3600
# upstream's order of API groups: the priority of the group, then of the version
_GROUP_PRIORITIES: dict[str, tuple[int, int]] = {
    "": (18000, 1),
    "apps": (17800, 15),
    "events.k8s.io": (17750, 15),
    "authentication.k8s.io": (17700, 15),
    "authorization.k8s.io": (17600, 15),
    "autoscaling": (17500, 15),
    "batch": (17400, 15),
    "certificates.k8s.io": (17300, 15),
    "networking.k8s.io": (17200, 15),
    "policy": (17100, 15),
    "rbac.authorization.k8s.io": (17000, 15),
    "storage.k8s.io": (16800, 15),
    "admissionregistration.k8s.io": (16700, 15),
    "apiextensions.k8s.io": (16700, 15),
    "scheduling.k8s.io": (16600, 15),
    "coordination.k8s.io": (16500, 15),
    "node.k8s.io": (16300, 15),
    "discovery.k8s.io": (16200, 15),
    "resource.k8s.io": (16200, 21),
    "flowcontrol.apiserver.k8s.io": (16100, 21),
    # as metrics-server has it
    "metrics.k8s.io": (100, 100),
}


def namespaces() -> Iterator[Tree]:
    """The four namespaces that are always there."""
    for name in ("kube-system", "kube-public", "kube-node-lease", "default"):
        yield {"kind": "Namespace", "apiVersion": "v1", "metadata": {"name": name}}


def priority_classes() -> Iterator[Tree]:
    """The two classes of the system's own Pods."""
    texts = {
        "system-node-critical": (
            2000001000,
            "Used for system critical pods that must not be moved from their current node.",
        ),
        "system-cluster-critical": (
            2000000000,
            "Used for system critical pods that must run in the cluster, "
            "but can be moved to another node if necessary.",
        ),
    }
    for name, (value, description) in texts.items():
        yield {
            "kind": "PriorityClass",
            "apiVersion": "scheduling.k8s.io/v1",
            "metadata": {"name": name},
            "value": value,
            "description": description,
        }


def _flow_subject(line: str) -> Tree:
    kind, name = line.split()
    if kind == "ServiceAccount":
        namespace, _, name = name.partition("/")
        return {"kind": kind, "serviceAccount": {"namespace": namespace, "name": name}}
    return {"kind": kind, kind.lower(): {"name": name}}


def flow_schemas(now: float) -> Iterator[Tree]:
    """Which requests belong to which priority level."""
    for name, (precedence, level, distinguisher, subjects) in _FLOWS.items():
        rules = _FLOW_RULES.get(name, {"resourceRules": [_EVERYTHING], "nonResourceRules": [_EVERY_PATH]})
        spec: Tree = {"priorityLevelConfiguration": {"name": level}, "matchingPrecedence": precedence}
        if distinguisher:
            spec["distinguisherMethod"] = {"type": distinguisher}
        spec["rules"] = [{"subjects": [_flow_subject(line) for line in subjects], **rules}]
        message = f'This FlowSchema references the PriorityLevelConfiguration object named "{level}" and it exists'
        yield {
            "kind": "FlowSchema",
            "apiVersion": _FLOW_CONTROL,
            "metadata": {"name": name, "annotations": _AUTOUPDATE, "managedFields": [_dangling_owner(now)]},
            "spec": spec,
            "status": {"conditions": [_condition("Dangling", "False", now, "Found", message)]},
        }


def _dangling_owner(now: float) -> Tree:
    """Who looks after the condition, as if it had written it itself."""
    names = (".", "f:lastTransitionTime", "f:message", "f:reason", "f:status", "f:type")
    fields: Tree = {name: {} for name in names}
    return {
        "manager": "api-priority-and-fairness-config-consumer-v1",
        "operation": "Apply",
        "apiVersion": _FLOW_CONTROL,
        "time": rfc3339(now),
        "fieldsType": "FieldsV1",
        "fieldsV1": {"f:status": {"f:conditions": {'k:{"type":"Dangling"}': fields}}},
        "subresource": "status",
    }


def priority_levels() -> Iterator[Tree]:
    """How much of the server each level may use."""
    specs: dict[str, Tree] = {
        "exempt": {"type": "Exempt", "exempt": {"nominalConcurrencyShares": 0, "lendablePercent": 0}}
    }
    for name, (shares, lendable, *queue) in _LEVELS.items():
        response: Tree = {"type": "Reject"}
        if queue:
            queuing = {"queues": queue[0], "handSize": queue[1], "queueLengthLimit": queue[2]}
            response = {"type": "Queue", "queuing": queuing}
        limited = {"nominalConcurrencyShares": shares, "limitResponse": response, "lendablePercent": lendable}
        specs[name] = {"type": "Limited", "limited": limited}
    for name, spec in specs.items():
        metadata = {"name": name, "annotations": _AUTOUPDATE}
        yield {"kind": "PriorityLevelConfiguration", "apiVersion": _FLOW_CONTROL, "metadata": metadata, "spec": spec}


def api_services(table: ResourceTable, now: float) -> Iterator[Tree]:
    """One per group version that this server answers itself."""
    seen: set[tuple[str, str]] = set()
    for resource in table:
        key = (resource.group, resource.version)
        if key in seen or resource.group not in _GROUP_PRIORITIES:
            continue
        seen.add(key)
        group_priority, version_priority = _GROUP_PRIORITIES[resource.group]
        if key == ("autoscaling", "v2"):
            version_priority = 30
        spec: Tree = {"group": resource.group} if resource.group else {}
        spec |= {
            "version": resource.version,
            "groupPriorityMinimum": group_priority,
            "versionPriority": version_priority,
        }
        words = "Local APIServices are always available"
        yield {
            "kind": "APIService",
            "apiVersion": "apiregistration.k8s.io/v1",
            "metadata": {
                "name": f"{resource.version}.{resource.group}",
                "labels": {"kube-aggregator.kubernetes.io/automanaged": "onstart"},
            },
            "spec": spec,
            "status": {"conditions": [_condition("Available", "True", now, "Local", words)]},
        }


def service_range(options: ApiServerOptions, now: float) -> Tree:
    """The ranges that cluster addresses of Services come from; they say which families the cluster has."""
    words = "Kubernetes Service CIDR is ready"
    return {
        "kind": "ServiceCIDR",
        "apiVersion": "networking.k8s.io/v1",
        "metadata": {"name": "kubernetes", "finalizers": ["networking.k8s.io/service-cidr-finalizer"]},
        "spec": {"cidrs": list(filter(None, (options.service_range, options.service_range6)))},
        "status": {"conditions": [_condition("Ready", "True", now, "", words)]},
    }


def kubernetes_service(options: ApiServerOptions) -> Tree:
    """The Service under which Pods find this API."""
    address = options.kubernetes_service_address
    return {
        "kind": "Service",
        "apiVersion": "v1",
        "metadata": {
            "name": "kubernetes",
            "namespace": "default",
            "labels": {"component": "apiserver", "provider": "kubernetes"},
        },
        "spec": {
            "ports": [{"name": "https", "protocol": "TCP", "port": 443, "targetPort": options.port}],
            "clusterIP": address,
            "type": "ClusterIP",
            "sessionAffinity": "None",
            "ipFamilyPolicy": "SingleStack",
            "internalTrafficPolicy": "Cluster",
        },
    }


def dns_service(options: ApiServerOptions) -> Tree:
    """The name and the claim of the cluster's DNS, as people and tools look for it. Nothing stands behind it: each node
    answers this address itself."""
    address = options.dns_service_address
    ports = (("dns", "UDP"), ("dns-tcp", "TCP"))
    return {
        "kind": "Service",
        "apiVersion": "v1",
        "metadata": {
            "name": "kube-dns",
            "namespace": "kube-system",
            "labels": {"k8s-app": "kube-dns"},
        },
        "spec": {
            "ports": [{"name": name, "protocol": protocol, "port": 53, "targetPort": 53} for name, protocol in ports],
            "clusterIP": address,
            "clusterIPs": [address],
            "type": "ClusterIP",
            "sessionAffinity": "None",
            "ipFamilies": ["IPv4"],
            "ipFamilyPolicy": "SingleStack",
            "internalTrafficPolicy": "Cluster",
        },
    }


def local_storage_class(provisioner: str) -> Tree:
    """The default class: folders on the node that the first Pod of a claim gets."""
    return {
        "kind": "StorageClass",
        "apiVersion": "storage.k8s.io/v1",
        "metadata": {
            "name": "local-path",
            "annotations": {"storageclass.kubernetes.io/is-default-class": "true"},
        },
        "provisioner": provisioner,
        "reclaimPolicy": "Delete",
        "volumeBindingMode": "WaitForFirstConsumer",
        "allowVolumeExpansion": True,
    }


def kubernetes_endpoints(servers: Iterable[tuple[str, int]]) -> Iterator[Tree]:
    """Where the `kubernetes` Service leads: the servers (address and port), as Endpoints and as an EndpointSlice.

    A slice has one port for all: where servers differ, that of most of them.
    """
    by_port: dict[int, list[str]] = {}
    for address, port in sorted(servers):
        by_port.setdefault(port, []).append(address)
    yield {
        "kind": "Endpoints",
        "apiVersion": "v1",
        "metadata": {
            "name": "kubernetes",
            "namespace": "default",
            "labels": {"endpointslice.kubernetes.io/skip-mirror": "true"},
        },
        "subsets": [
            {
                "addresses": [{"ip": address} for address in addresses],
                "ports": [{"name": "https", "port": port, "protocol": "TCP"}],
            }
            for port, addresses in sorted(by_port.items())
        ],
    }
    port, addresses = max(by_port.items(), key=lambda one: (len(one[1]), -one[0]), default=(0, []))
    yield {
        "kind": "EndpointSlice",
        "apiVersion": "discovery.k8s.io/v1",
        "metadata": {
            "name": "kubernetes",
            "namespace": "default",
            "labels": {"kubernetes.io/service-name": "kubernetes"},
        },
        "addressType": "IPv4",
        "endpoints": [{"addresses": [address], "conditions": {"ready": True}} for address in addresses],
        "ports": [{"name": "https", "protocol": "TCP", "port": port}] if addresses else [],
    }


def config_maps(options: ApiServerOptions, now: float) -> Iterator[Tree]:
    """What extension servers need to trust us, and since when no token secret has been used."""
    if options.client_ca_pem:
        yield _config_map("extension-apiserver-authentication", {"client-ca-file": options.client_ca_pem.decode()})
    if options.client_ca_pem and options.node_config:
        yield _config_map("cluster-info", {"kubeconfig": _public_kubeconfig(options)}, "kube-public")
        yield _config_map("carob-node-config", dict(options.node_config))
    day = time.strftime("%Y-%m-%d", time.gmtime(now))
    yield _config_map("kube-apiserver-legacy-service-account-token-tracking", {"since": day})


def _config_map(name: str, data: dict[str, str], namespace: str = "kube-system") -> Tree:
    return {
        "kind": "ConfigMap",
        "apiVersion": "v1",
        "metadata": {"name": name, "namespace": namespace},
        "data": data,
    }


def _public_kubeconfig(options: ApiServerOptions) -> str:
    """Where the cluster is and who signs for it, without a user: what somebody may know who wants to join.

    Source: kubeadm `phases/bootstraptoken/clusterinfo`.
    """
    authority = base64.b64encode(options.client_ca_pem).decode()
    return (
        "apiVersion: v1\nclusters:\n- cluster:\n"
        f"    certificate-authority-data: {authority}\n"
        f"    server: https://{options.advertise_address}:{options.port}\n"
        '  name: ""\ncontexts: null\ncurrent-context: ""\nkind: Config\npreferences: {}\nusers: null\n'
    )


def identity(hostname: str) -> str:
    """The name of this server's lease: `apiserver-` and 26 letters that the host name determines."""
    digest = base64.b32encode(hashlib.sha256(hostname.encode()).digest()[:16]).decode().rstrip("=").lower()
    return f"apiserver-{digest}"


def identity_lease(options: ApiServerOptions, holder: str, now: float) -> Tree:
    """The lease by which this server tells that it lives."""
    return {
        "kind": "Lease",
        "apiVersion": "coordination.k8s.io/v1",
        "metadata": {
            "name": identity(options.hostname),
            "namespace": "kube-system",
            "labels": {
                "apiserver.kubernetes.io/identity": "kube-apiserver",
                "kubernetes.io/hostname": options.hostname,
            },
            "annotations": {"kubernetes.io/peer-advertise-address": f"{options.advertise_address}:{options.port}"},
        },
        "spec": {
            "holderIdentity": f"{identity(options.hostname)}_{holder}",
            "leaseDurationSeconds": IDENTITY_LEASE_SECONDS,
            "renewTime": rfc3339_micro(now),
        },
    }


def _condition(kind: str, status: str, now: float, reason: str, message: str) -> Tree:
    return {
        "type": kind,
        "status": status,
        "lastTransitionTime": rfc3339(now),
        "reason": reason,
        "message": message,
    }
