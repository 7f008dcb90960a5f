"""What the server tells a client of a write that it accepts, by kind.

Pure. Source: `WarningsOnCreate` and `WarningsOnUpdate` of upstream's registry.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from carob.api import codec
from carob.apiserver.registry.pod_warnings import pod_warnings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from carob.api.types import apiextensions_v1, core_v1, discovery_v1, networking_v1, storage_v1

_RECYCLE = (
    "spec.persistentVolumeReclaimPolicy: The Recycle reclaim policy is deprecated. Instead, the recommended approach is "
    "to use dynamic provisioning."
)
_TOKENS = (
    "spec.serviceAccountTokenInSecrets is unset; if supported by this CSI driver, set to true to prevent possible "
    "logging of tokens in volume attributes"
)
_INGRESS_CLASS = "kubernetes.io/ingress.class"


def _pod(obj: core_v1.Pod) -> list[str]:
    return pod_warnings(obj.spec, obj.metadata)


def _template(obj: Any) -> list[str]:
    template = obj.spec.template
    return [] if template is None else pod_warnings(template.spec, template.metadata, "spec.template.")


def _pod_template(obj: core_v1.PodTemplate) -> list[str]:
    return pod_warnings(obj.template.spec, obj.template.metadata, "template.")


def _cron_job(obj: Any) -> list[str]:
    template = obj.spec.job_template.spec.template
    return pod_warnings(template.spec, template.metadata, "spec.jobTemplate.spec.template.")


def _service(obj: core_v1.Service) -> list[str]:
    out = []
    if obj.spec.external_ips:
        out.append("spec.externalIPs is deprecated and may no longer be implemented in some clusters")
    if obj.spec.traffic_distribution == "PreferClose":
        out.append('spec.trafficDistribution: "PreferClose" is deprecated; use "PreferSameZone"')
    return out


def _ingress(obj: networking_v1.Ingress) -> list[str]:
    if _INGRESS_CLASS in obj.metadata.annotations:
        return [f"annotation \"{_INGRESS_CLASS}\" is deprecated, please use 'spec.ingressClassName' instead"]
    return []


_VOLUME_SOURCES = (
    ("photon_persistent_disk", "photonPersistentDisk", "deprecated in v1.11, non-functional in v1.16+"),
    ("scale_io", "scaleIO", "deprecated in v1.16, non-functional in v1.22+"),
    ("storageos", "storageOS", "deprecated in v1.22, non-functional in v1.25+"),
    ("glusterfs", "glusterfs", "deprecated in v1.25, non-functional in v1.26+"),
    ("cephfs", "cephfs", "deprecated in v1.28, non-functional in v1.31+"),
    ("rbd", "rbd", "deprecated in v1.28, non-functional in v1.31+"),
)


def _volume(obj: core_v1.PersistentVolume) -> list[str]:
    out = [
        f"spec.{name}: {text}"
        for attribute, name, text in _VOLUME_SOURCES
        if getattr(obj.spec, attribute, None) is not None
    ]
    return [_RECYCLE, *out] if obj.spec.persistent_volume_reclaim_policy == "Recycle" else out


def _csi_driver(obj: storage_v1.CSIDriver) -> list[str]:
    unset = getattr(obj.spec, "service_account_token_in_secrets", None) is None
    return [_TOKENS] if obj.spec.token_requests and unset else []


def _endpoint_slice(obj: discovery_v1.EndpointSlice) -> list[str]:
    return ["spec.addressType: FQDN endpoints are deprecated"] if obj.address_type == "FQDN" else []


# what a schema of a custom resource may say of the form of a text or a number and is checked
_FORMATS = frozenset(
    (
        *("bsonobjectid", "uri", "email", "hostname", "ipv4", "ipv6", "cidr", "mac", "uuid", "uuid3", "uuid4", "uuid5"),
        *("isbn", "isbn10", "isbn13", "creditcard", "ssn", "hexcolor", "rgbcolor", "byte", "password", "date"),
        *("duration", "datetime", "date-time", "int32", "int64", "float", "double"),
        *("k8s-short-name", "k8s-long-name"),
    )
)


def _definition(obj: apiextensions_v1.CustomResourceDefinition) -> list[str]:
    found: list[str] = []
    for version in obj.spec.versions:
        if version.schema is not None and version.schema.open_apiv3_schema is not None:
            for one in _formats(codec.to_tree(version.schema.open_apiv3_schema)):
                if one not in _FORMATS and one not in found:
                    found.append(one)
    return [f'unrecognized format "{one}"' for one in sorted(found)]


def _formats(schema: Any) -> Iterator[str]:
    if isinstance(schema, list):
        for one in schema:
            yield from _formats(one)
    if not isinstance(schema, dict):
        return
    if schema.get("format"):
        yield schema["format"]
    for key in ("items", "additionalProperties", "allOf", "anyOf", "oneOf", "not"):
        yield from _formats(schema.get(key))
    for one in (schema.get("properties") or {}).values():
        yield from _formats(one)


WARNINGS: dict[tuple[str, str], Callable[[Any], list[str]]] = {
    ("", "persistentvolumes"): _volume,
    ("", "pods"): _pod,
    ("", "podtemplates"): _pod_template,
    ("", "replicationcontrollers"): _template,
    ("", "services"): _service,
    ("apiextensions.k8s.io", "customresourcedefinitions"): _definition,
    ("apps", "daemonsets"): _template,
    ("apps", "deployments"): _template,
    ("apps", "replicasets"): _template,
    ("apps", "statefulsets"): _template,
    ("batch", "cronjobs"): _cron_job,
    ("batch", "jobs"): _template,
    ("discovery.k8s.io", "endpointslices"): _endpoint_slice,
    ("networking.k8s.io", "ingresses"): _ingress,
    ("storage.k8s.io", "csidrivers"): _csi_driver,
}
