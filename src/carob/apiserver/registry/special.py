"""Which resources have a strategy class of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from carob.apiserver.registry.certificates import CertificateSigningRequestStrategy
from carob.apiserver.registry.core import ClaimStrategy, LeaseStrategy, NodeStrategy, VolumeStrategy
from carob.apiserver.registry.devices import DeviceClaimStrategy, DeviceClaimTemplateStrategy
from carob.apiserver.registry.extensions import DefinitionStrategy, SliceStrategy
from carob.apiserver.registry.namespaces import NamespaceStrategy
from carob.apiserver.registry.pods import PodStrategy
from carob.apiserver.registry.services import ServiceStrategy
from carob.apiserver.registry.workloads import DaemonSetStrategy, JobStrategy, TemplateStrategy

if TYPE_CHECKING:
    from carob.apiserver.registry.strategy import Strategy


def special() -> dict[tuple[str, str], type[Strategy]]:
    """Strategy classes by group and plural name."""
    return {
        ("", "namespaces"): NamespaceStrategy,
        ("", "nodes"): NodeStrategy,
        ("", "persistentvolumeclaims"): ClaimStrategy,
        ("", "persistentvolumes"): VolumeStrategy,
        ("", "pods"): PodStrategy,
        ("", "podtemplates"): TemplateStrategy,
        ("", "replicationcontrollers"): TemplateStrategy,
        ("", "services"): ServiceStrategy,
        ("apiextensions.k8s.io", "customresourcedefinitions"): DefinitionStrategy,
        ("apps", "daemonsets"): DaemonSetStrategy,
        ("apps", "deployments"): TemplateStrategy,
        ("apps", "replicasets"): TemplateStrategy,
        ("apps", "statefulsets"): TemplateStrategy,
        ("batch", "cronjobs"): TemplateStrategy,
        ("batch", "jobs"): JobStrategy,
        ("coordination.k8s.io", "leases"): LeaseStrategy,
        ("resource.k8s.io", "resourceclaims"): DeviceClaimStrategy,
        ("resource.k8s.io", "resourceclaimtemplates"): DeviceClaimTemplateStrategy,
        ("resource.k8s.io", "resourceslices"): SliceStrategy,
        ("certificates.k8s.io", "certificatesigningrequests"): CertificateSigningRequestStrategy,
    }
