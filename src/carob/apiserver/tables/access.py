"""Rows of RBAC, certificates, leases and flow control.

Pure. Source: upstream `pkg/printers/internalversion/printers.go`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from carob.api.human import human_duration
from carob.apiserver.tables.text import NONE, age

if TYPE_CHECKING:
    from carob.api.types import certificates_v1, certificates_v1beta1, coordination_v1, flowcontrol_v1, rbac_v1


def _binding(obj: rbac_v1.RoleBinding | rbac_v1.ClusterRoleBinding, now: float) -> list[Any]:
    users, groups, accounts = [], [], []
    for subject in obj.subjects or []:
        if subject.kind == "User":
            users.append(subject.name)
        elif subject.kind == "Group":
            groups.append(subject.name)
        elif subject.kind == "ServiceAccount":
            accounts.append(f"{subject.namespace}/{subject.name}")
    role = f"{obj.role_ref.kind}/{obj.role_ref.name}"
    return [obj.metadata.name, role, age(obj, now), ", ".join(users), ", ".join(groups), ", ".join(accounts)]


def _signing_request(obj: certificates_v1.CertificateSigningRequest, now: float) -> list[Any]:
    seconds = obj.spec.expiration_seconds
    return [
        obj.metadata.name,
        age(obj, now),
        obj.spec.signer_name or NONE,
        obj.spec.username,
        NONE if seconds is None else human_duration(seconds),
        _certificate_word(obj),
    ]


def _certificate_word(obj: certificates_v1.CertificateSigningRequest) -> str:
    kinds = {one.type for one in obj.status.conditions}
    word = "Denied" if "Denied" in kinds else "Approved" if "Approved" in kinds else "Pending"
    if "Failed" in kinds:
        word += ",Failed"
    return word + ",Issued" if obj.status.certificate else word


def _trust_bundle(obj: certificates_v1beta1.ClusterTrustBundle, now: float) -> list[Any]:
    return [obj.metadata.name, obj.spec.signer_name or NONE]


def _lease(obj: coordination_v1.Lease, now: float) -> list[Any]:
    return [obj.metadata.name, obj.spec.holder_identity or "", age(obj, now)]


def _flow_schema(obj: flowcontrol_v1.FlowSchema, now: float) -> list[Any]:
    method = obj.spec.distinguisher_method
    missing = next((one.status for one in obj.status.conditions if one.type == "Dangling"), "?")
    return [
        obj.metadata.name,
        obj.spec.priority_level_configuration.name,
        obj.spec.matching_precedence,
        NONE if method is None else method.type,
        age(obj, now),
        missing,
    ]


def _priority_level(obj: flowcontrol_v1.PriorityLevelConfiguration, now: float) -> list[Any]:
    shares: Any = NONE
    queues: Any = NONE
    hands: Any = NONE
    length: Any = NONE
    limited, exempt = obj.spec.limited, obj.spec.exempt
    if limited is not None:
        shares = 0 if limited.nominal_concurrency_shares is None else limited.nominal_concurrency_shares
        response = limited.limit_response
        queuing = response.queuing
        if queuing is not None:
            queues, hands, length = queuing.queues, queuing.hand_size, queuing.queue_length_limit
    elif exempt is not None and exempt.nominal_concurrency_shares is not None:
        shares = exempt.nominal_concurrency_shares
    return [obj.metadata.name, obj.spec.type, shares, queues, hands, length, age(obj, now)]


CELLS = {
    "certificatesigningrequests.certificates.k8s.io": _signing_request,
    "clusterrolebindings.rbac.authorization.k8s.io": _binding,
    "clustertrustbundles.certificates.k8s.io": _trust_bundle,
    "flowschemas.flowcontrol.apiserver.k8s.io": _flow_schema,
    "leases.coordination.k8s.io": _lease,
    "prioritylevelconfigurations.flowcontrol.apiserver.k8s.io": _priority_level,
    "rolebindings.rbac.authorization.k8s.io": _binding,
}
