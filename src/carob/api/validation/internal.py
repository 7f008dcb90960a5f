"""Objects as upstream's own (internal) types look in messages: Go's field names, nothing left out.

Pure. Only messages need this; nothing is decoded from it. Types of `meta/v1` have no internal form and look as in JSON.

Source: recorded messages of a v1.36 API server; the order of fields is that of `pkg/apis/core/types.go`.
"""

from __future__ import annotations

import json
from typing import Any

import msgspec

from carob.api import codec

_NAMES = {
    "apiVersion": "APIVersion",
    "apiGroup": "APIGroup",
    "uid": "UID",
    "ip": "IP",
    "tty": "TTY",
    "os": "OS",
    "dnsPolicy": "DNSPolicy",
    "dnsConfig": "DNSConfig",
    "seLinuxOptions": "SELinuxOptions",
    "seLinuxChangePolicy": "SELinuxChangePolicy",
    "fsGroup": "FSGroup",
    "fsGroupChangePolicy": "FSGroupChangePolicy",
    "fsType": "FSType",
    "nfs": "NFS",
    "iscsi": "ISCSI",
    "iqn": "IQN",
    "rbd": "RBD",
    "fc": "FC",
    "csi": "CSI",
    "gcePersistentDisk": "GCEPersistentDisk",
    "awsElasticBlockStore": "AWSElasticBlockStore",
    "cephfs": "CephFS",
    "storageos": "StorageOS",
    "pdName": "PDName",
    "httpGet": "HTTPGet",
    "httpHeaders": "HTTPHeaders",
    "tcpSocket": "TCPSocket",
    "grpc": "GRPC",
    "gmsaCredentialSpec": "GMSACredentialSpec",
    "gmsaCredentialSpecName": "GMSACredentialSpecName",
}
# fields that one internal type alone calls differently
_KINDS_NAMES = {
    ("DeviceAttribute", name): f"{name[:1].upper()}{name[1:].removesuffix('s')}Value{'s' * name.endswith('s')}"
    for name in ("int", "bool", "string", "version", "ints", "bools", "strings", "versions")
}
# fields that the internal type keeps in another order than the API's
_ORDERS = {
    "RoleRef": ["apiGroup", "kind", "name"],
    "PodSpec": [
        "volumes",
        "initContainers",
        "containers",
        "ephemeralContainers",
        "restartPolicy",
        "terminationGracePeriodSeconds",
        "activeDeadlineSeconds",
        "dnsPolicy",
        "nodeSelector",
        "serviceAccountName",
        "automountServiceAccountToken",
        "nodeName",
        "securityContext",
        "imagePullSecrets",
        "hostname",
        "subdomain",
        "setHostnameAsFQDN",
        "affinity",
        "schedulerName",
        "tolerations",
        "hostAliases",
        "priorityClassName",
        "priority",
        "preemptionPolicy",
        "dnsConfig",
        "readinessGates",
        "runtimeClassName",
        "overhead",
        "enableServiceLinks",
        "topologySpreadConstraints",
        "os",
        "schedulingGates",
        "resourceClaims",
        "resources",
        "hostnameOverride",
        "schedulingGroup",
    ],
    "PodSecurityContext": [
        "seLinuxOptions",
        "windowsOptions",
        "runAsUser",
        "runAsGroup",
        "runAsNonRoot",
        "supplementalGroups",
        "supplementalGroupsPolicy",
        "fsGroup",
        "fsGroupChangePolicy",
        "sysctls",
        "seccompProfile",
        "appArmorProfile",
        "seLinuxChangePolicy",
    ],
    "Volume": [
        "name",
        "hostPath",
        "emptyDir",
        "gcePersistentDisk",
        "awsElasticBlockStore",
        "gitRepo",
        "secret",
        "nfs",
        "iscsi",
        "glusterfs",
        "persistentVolumeClaim",
        "rbd",
        "quobyte",
        "flexVolume",
        "cinder",
        "cephfs",
        "flocker",
        "downwardAPI",
        "fc",
        "azureFile",
        "configMap",
        "vsphereVolume",
        "azureDisk",
        "photonPersistentDisk",
        "projected",
        "portworxVolume",
        "scaleIO",
        "storageos",
        "csi",
        "ephemeral",
        "image",
    ],
}
# what the API keeps in the Pod's spec, and the internal type in its security context
_MOVED = (
    ("HostNetwork", "host_network"),
    ("HostPID", "host_pid"),
    ("HostIPC", "host_ipc"),
    ("ShareProcessNamespace", "share_process_namespace"),
    ("HostUsers", "host_users"),
)


def go_name(name: str) -> str:
    """The Go field behind a JSON name."""
    return _NAMES.get(name) or name[:1].upper() + name[1:]


def tree(value: Any) -> Any:
    """The internal form of a value as a JSON tree."""
    if isinstance(value, msgspec.Struct):
        return _struct(value)
    if isinstance(value, dict):
        return {k: tree(v) for k, v in sorted(value.items())} or None
    if isinstance(value, list | tuple):
        return [tree(v) for v in value] or None
    return str(value) if isinstance(value, str) else value


def _struct(value: msgspec.Struct) -> dict[str, Any]:
    kind = type(value)
    if kind.__module__.endswith("meta_v1"):
        return _as_in_json(value)
    attributes = dict(zip(kind.__struct_encode_fields__, kind.__struct_fields__, strict=True))
    out: dict[str, Any] = {}
    for name in _ORDERS.get(kind.__name__, attributes):
        found = getattr(value, attributes[name])
        if name == "metadata":
            out |= _as_in_json(found)
            continue
        out[_KINDS_NAMES.get((kind.__name__, name)) or go_name(name)] = tree(found)
        if kind.__name__ == "PodSpec" and name == "securityContext":
            moved = {go: getattr(value, attribute) for go, attribute in _MOVED}
            out["SecurityContext"] = moved | (out["SecurityContext"] or {})
    return out


def _as_in_json(value: msgspec.Struct) -> dict[str, Any]:
    """A structure of `meta/v1`: maps are sorted, as Go writes them."""
    plain: dict[str, Any] = codec.to_tree(value)
    for name, attribute in zip(value.__struct_encode_fields__, value.__struct_fields__, strict=True):
        if isinstance(getattr(value, attribute), dict) and name in plain:
            plain[name] = dict(sorted(plain[name].items()))
    return plain


def shown(value: Any) -> str:
    """The internal form as compact JSON, as it stands behind `Invalid value:`."""
    plain = tree(value) if isinstance(value, msgspec.Struct) else _plain(value)
    return _escaped(json.dumps(plain, separators=(",", ":"), ensure_ascii=False))


def _plain(value: Any) -> Any:
    """As `tree`, for what a message's author put together: empty lists and objects stay."""
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    return tree(value)


def indented(value: Any) -> str:
    """The internal form as JSON over several lines."""
    return _escaped(json.dumps(tree(value), indent=1, ensure_ascii=False))


def _escaped(text: str) -> str:
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")
