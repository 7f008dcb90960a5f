"""The plugins that are on, in upstream's order.

Source: kubernetes `pkg/kubeapiserver/options/plugins.go` (AllOrderedPlugins, DefaultOffAdmissionPlugins), and NodeRestriction.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from carob.apiserver.admission import owner_references
from carob.apiserver.admission.certificates import CertificateRequests, TrustBundleAttest
from carob.apiserver.admission.limit_ranges import LimitRanger
from carob.apiserver.admission.namespaces import NamespaceLifecycle
from carob.apiserver.admission.node_restriction import NodeRestriction
from carob.apiserver.admission.pod_security import PodSecurity
from carob.apiserver.admission.policies.mutating import MutatingPolicies
from carob.apiserver.admission.priorities import PriorityAdmission
from carob.apiserver.admission.role_escalation import RoleEscalation
from carob.apiserver.admission.runtime_classes import RuntimeClassAdmission
from carob.apiserver.admission.service_accounts import ServiceAccountAdmission
from carob.apiserver.admission.storage_in_use import (
    ClaimResize,
    DefaultIngressClass,
    DefaultStorageClass,
    StorageObjectInUseProtection,
)
from carob.apiserver.admission.tolerations import DefaultTolerationSeconds, TaintNodesByCondition

if TYPE_CHECKING:
    from carob.api.resources import ResourceTable
    from carob.apiserver.admission.policies.validating import ValidatingPolicies
    from carob.apiserver.admission.resource_quotas import QuotaAdmission
    from carob.apiserver.authz.authorizer import Authorizer
    from carob.apiserver.options import ApiServerOptions
    from carob.apiserver.types import AdmissionPlugin, Reader
    from carob.base.ids import Randomness


def default_plugins(
    reader: Reader,
    authorizer: Authorizer,
    randomness: Randomness,
    policies: ValidatingPolicies,
    quota: QuotaAdmission,
    options: ApiServerOptions,
    table: ResourceTable,
) -> list[AdmissionPlugin]:
    """Every plugin that is on, ready to be put into the chain."""
    wanted: list[AdmissionPlugin] = []
    if owner_references.NAME in options.admission_plugins:
        wanted.append(owner_references.OwnerReferences(authorizer, table))
    return [
        NamespaceLifecycle(reader),
        LimitRanger(reader),
        ServiceAccountAdmission(reader, randomness),
        NodeRestriction(reader),
        TaintNodesByCondition(),
        PodSecurity(reader, options.pod_security),
        PriorityAdmission(reader),
        DefaultTolerationSeconds(options.eviction_seconds),
        DefaultStorageClass(reader),
        StorageObjectInUseProtection(),
        ClaimResize(reader),
        RuntimeClassAdmission(reader),
        CertificateRequests(authorizer),
        TrustBundleAttest(authorizer),
        DefaultIngressClass(reader),
        RoleEscalation(authorizer),
        *wanted,
        MutatingPolicies(reader, authorizer, table),
        policies,
        quota,
    ]
