"""What one API server is told when it starts: addresses, keys and who may speak without an account. Plain values."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

from msgspec import Struct, field

from carob.api.features import USUAL as USUAL_FEATURES
from carob.api.features import Features
from carob.apiserver.admission.pod_security_rules import USUAL as USUAL_SECURITY
from carob.apiserver.admission.pod_security_rules import PodSecurityRules
from carob.apiserver.authn.jwt_issuers import USUAL, AuthenticationRules
from carob.apiserver.in_flight import WATCHES_LIMIT

if TYPE_CHECKING:
    from collections.abc import Mapping

    from carob.api.user import UserInfo
    from carob.apiserver.audit.policy import AuditOptions

MAX_REQUEST_BODY_BYTES = 3 * 1024 * 1024


class ApiServerOptions(Struct, frozen=True):
    """Settings of one server.

    Shape: certificates and keys are PEM; addresses are numbers, not names.
    """

    advertise_address: str = "10.42.0.1"
    """Where Pods and nodes reach this server; what the `kubernetes` Service points to."""
    port: int = 6443
    service_range: str = "10.43.0.0/16"
    service_range6: str = ""
    """The second range of a dual-stack cluster; empty: it has IPv4 alone."""
    hostname: str = "localhost"
    issuer: str = "https://kubernetes.default.svc"
    """`iss` of service-account tokens, and their default audience."""
    client_ca_pem: bytes = b""
    """Who signs client certificates; shown in kube-system/extension-apiserver-authentication."""
    service_account_key_pem: bytes = b""
    """Private key that signs service-account tokens (ECDSA P-256 or RSA); empty: TokenRequest answers 404."""
    static_tokens: Mapping[str, UserInfo] = field(default_factory=dict)
    """Bearer tokens that need no object: for first contact and for tests that go over sockets."""
    kubelet_client_certificate_pem: bytes = b""
    """As whom this server speaks to kubelets; empty: logs, exec and the like answer 500."""
    kubelet_client_key_pem: bytes = b""
    kubelet_ca_pem: bytes = b""
    """Who signs the kubelets' serving certificates."""
    eviction_seconds: int = 300
    """How long Pods stay on a node that is not ready or not reachable, unless they say otherwise."""
    local_provisioner: str = ""
    """Who provisions the default StorageClass `local-path`, which a new cluster then has; empty: there is none."""
    pods_through_nodes: bool = False
    """Whether this server has no route to Pods: proxied requests then take the way of port-forward."""
    node_config: Mapping[str, str] = field(default_factory=dict)
    """What a node must know that joins: kube-system/carob-node-config; empty: there is none, and no cluster-info."""
    authentication: AuthenticationRules = USUAL
    """Whose tokens are believed besides our own, and where the anonymous may speak."""
    admission_plugins: tuple[str, ...] = ()
    """Plugins that are off unless they are named here: OwnerReferencesPermissionEnforcement."""
    features: Features = USUAL_FEATURES
    """Feature gates that are open, and group versions that are on besides the usual."""
    watches_limit: int = WATCHES_LIMIT
    """How many watches there may be at one time; further ones are told to come back."""
    audit: AuditOptions | None = None
    """What is written into the audit log, and where that is; None: nothing."""
    pod_security: PodSecurityRules = USUAL_SECURITY
    """The levels of namespaces without labels, and who is exempt."""
    kubelet_preferred_address_types: tuple[str, ...] = ("InternalIP", "Hostname", "ExternalIP")

    @property
    def dns_service_address(self) -> str:
        """The tenth address of the service range: the cluster's DNS, which every node answers itself."""
        return str(ipaddress.ip_network(self.service_range)[10])

    @property
    def kubernetes_service_address(self) -> str:
        """The first address of the service range: where the API is found from inside Pods."""
        return str(ipaddress.ip_network(self.service_range)[1])
