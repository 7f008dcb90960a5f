"""Facts about kinds that need no code: who counts generations, who may be created by PUT, what a DELETE answers.

Source: `PrepareForCreate`, `AllowCreateOnUpdate`, `AllowUnconditionalUpdate`, `ReturnDeletedObject` and
`DefaultGarbageCollectionPolicy` of upstream's registry, and the recorded answers of a v1.36 server.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from carob.apiserver.registry.strategy import ORPHAN

if TYPE_CHECKING:
    from carob.apiserver.registry.strategy import Strategy

_ADMISSION, _STORAGE, _RBAC = "admissionregistration.k8s.io", "storage.k8s.io", "rbac.authorization.k8s.io"
_FLOW, _NETWORK = "flowcontrol.apiserver.k8s.io", "networking.k8s.io"

GENERATION = {
    ("", "pods"),
    ("", "podtemplates"),
    ("", "replicationcontrollers"),
    ("apps", "daemonsets"),
    ("apps", "deployments"),
    ("apps", "replicasets"),
    ("apps", "statefulsets"),
    ("batch", "cronjobs"),
    ("batch", "jobs"),
    ("discovery.k8s.io", "endpointslices"),
    (_NETWORK, "ingresses"),
    (_NETWORK, "ingressclasses"),
    (_NETWORK, "networkpolicies"),
    ("policy", "poddisruptionbudgets"),
    (_ADMISSION, "mutatingadmissionpolicies"),
    (_ADMISSION, "mutatingadmissionpolicybindings"),
    (_ADMISSION, "mutatingwebhookconfigurations"),
    (_ADMISSION, "validatingadmissionpolicies"),
    (_ADMISSION, "validatingadmissionpolicybindings"),
    (_ADMISSION, "validatingwebhookconfigurations"),
    ("apiextensions.k8s.io", "customresourcedefinitions"),
    ("scheduling.k8s.io", "priorityclasses"),
    ("resource.k8s.io", "deviceclasses"),
    ("resource.k8s.io", "resourceslices"),
    (_FLOW, "flowschemas"),
    (_FLOW, "prioritylevelconfigurations"),
}

CREATE_ON_UPDATE = {
    ("", "endpoints"),
    ("", "events"),
    ("", "limitranges"),
    ("", "services"),
    ("events.k8s.io", "events"),
    ("coordination.k8s.io", "leases"),
    (_RBAC, "clusterroles"),
    (_RBAC, "clusterrolebindings"),
    (_RBAC, "roles"),
    (_RBAC, "rolebindings"),
}

CONDITIONAL_UPDATE = {
    ("apiextensions.k8s.io", "customresourcedefinitions"),
    ("certificates.k8s.io", "clustertrustbundles"),
    ("apiregistration.k8s.io", "apiservices"),
    ("coordination.k8s.io", "leases"),
    ("node.k8s.io", "runtimeclasses"),
    ("policy", "poddisruptionbudgets"),
    (_ADMISSION, "mutatingadmissionpolicies"),
    (_ADMISSION, "mutatingadmissionpolicybindings"),
    (_ADMISSION, "mutatingwebhookconfigurations"),
    (_ADMISSION, "validatingadmissionpolicies"),
    (_ADMISSION, "validatingadmissionpolicybindings"),
    (_ADMISSION, "validatingwebhookconfigurations"),
    (_STORAGE, "csidrivers"),
    (_STORAGE, "csinodes"),
    (_STORAGE, "csistoragecapacities"),
    (_STORAGE, "volumeattachments"),
    (_STORAGE, "volumeattributesclasses"),
    (_FLOW, "flowschemas"),
    (_FLOW, "prioritylevelconfigurations"),
}

RETURNS_DELETED = {
    ("", "persistentvolumeclaims"),
    ("", "persistentvolumes"),
    ("", "pods"),
    ("", "podtemplates"),
    ("", "resourcequotas"),
    ("", "serviceaccounts"),
    ("", "services"),
    ("resource.k8s.io", "deviceclasses"),
    ("resource.k8s.io", "resourceclaims"),
    ("resource.k8s.io", "resourceclaimtemplates"),
    ("resource.k8s.io", "resourceslices"),
    (_STORAGE, "csidrivers"),
    (_STORAGE, "csinodes"),
    (_STORAGE, "csistoragecapacities"),
    (_STORAGE, "storageclasses"),
    (_STORAGE, "volumeattachments"),
    (_STORAGE, "volumeattributesclasses"),
}

ORPHANS = {("", "replicationcontrollers"), ("batch", "jobs")}

STATUS_KEEPS_LABELS = {
    ("apps", "deployments"),
}


def apply(strategy: Strategy) -> None:
    """Set what is known of the strategy's row."""
    place = (strategy.row.group, strategy.row.plural)
    strategy.generation = place in GENERATION or strategy.row.custom
    strategy.create_on_update = place in CREATE_ON_UPDATE
    strategy.unconditional_update = place not in CONDITIONAL_UPDATE and not strategy.row.custom
    strategy.returns_deleted = place in RETURNS_DELETED
    strategy.status_keeps_labels = place in STATUS_KEEPS_LABELS
    if place in ORPHANS:
        strategy.propagation = ORPHAN
