"""Where addresses of Services may come from, and the IPAddress objects that say whose each one is.

Pure. Source: upstream `pkg/registry/core/service/ipallocator/{cidrallocator,ipallocator}.go` (KEP-1880).
"""

from __future__ import annotations

import ipaddress
from functools import lru_cache
from typing import TYPE_CHECKING

from carob.api.resources import TABLE
from carob.api.types import networking_v1
from carob.api.types.meta_v1 import ObjectMeta

if TYPE_CHECKING:
    from collections.abc import Sequence

    from carob.api.types import core_v1
    from carob.apiserver.types import Reader

DEFAULT_RANGE = "10.43.0.0/16"
DEFAULT_NAME = "kubernetes"
"""The ServiceCIDR that a cluster begins with: its ranges say which families Services can have."""
FAMILY_LABEL, MANAGER_LABEL = "ipaddress.kubernetes.io/ip-family", "ipaddress.kubernetes.io/managed-by"
MANAGER = "ipallocator.k8s.io"

_RANGES = TABLE.by_plural("networking.k8s.io", "v1", "servicecidrs")
_ADDRESSES = TABLE.by_plural("networking.k8s.io", "v1", "ipaddresses")
assert _RANGES is not None
assert _ADDRESSES is not None
ROW = _ADDRESSES


def known(reader: Reader) -> Sequence[networking_v1.ServiceCIDR]:
    """All ServiceCIDRs."""
    assert _RANGES is not None
    return reader.list(_RANGES)


def ranges(found: Sequence[networking_v1.ServiceCIDR]) -> list[str]:
    """The ranges of all ServiceCIDRs that are ready; one whose condition is not known yet counts as ready.

    Differs: a server that was never bootstrapped has the default range.
    """
    if not found:
        return [DEFAULT_RANGE]
    return list(dict.fromkeys(text for one in found if _ready(one) for text in one.spec.cidrs))


def families(found: Sequence[networking_v1.ServiceCIDR]) -> tuple[str, ...]:
    """The families of the cluster, `IPv4` or `IPv6`, the default one first.

    Differs: upstream has them from a flag; who deletes the first ServiceCIDR has those of the others.
    """
    first = next((one.spec.cidrs for one in found if one.metadata.name == DEFAULT_NAME), None)
    return tuple(dict.fromkeys(map(family_of, ranges(found) if first is None else first))) or ("IPv4",)


def family_of(text: str) -> str:
    """The family of an address or a range."""
    return "IPv6" if ":" in text else "IPv4"


def _ready(one: networking_v1.ServiceCIDR) -> bool:
    if one.metadata.deletion_timestamp is not None:
        return False
    return all(c.type != "Ready" or c.status == "True" for c in one.status.conditions)


def given_to(spec: core_v1.ServiceSpec) -> list[str]:
    """The addresses that a Service was given, each as it is usually written."""
    return [_usual(one) for one in spec.cluster_ips if one != "None"]


def _usual(address: str) -> str:
    """An IPv6 address can be written in many ways; who has it is asked in one."""
    if ":" not in address:
        return address
    try:
        return str(ipaddress.IPv6Address(address))
    except ValueError:
        return address  # validation says so


def owner_of(reader: Reader, address: str) -> str | None:
    """Whose an address is by its IPAddress: `namespace/name` of a Service, something else for others; None: nobody's."""
    found = reader.get(ROW, "", address)
    return None if found is None else service_of(found)


def service_of(obj: networking_v1.IPAddress) -> str:
    """`namespace/name` of the Service that has the address; empty if it is no Service."""
    parent = obj.spec.parent_ref
    if parent is None or parent.group or parent.resource != "services":
        return ""
    return f"{parent.namespace}/{parent.name}"


def within(address: ipaddress.IPv4Address | ipaddress.IPv6Address, networks: Sequence[str]) -> bool:
    """Whether one of these ranges has the address."""
    return any(address in network for network in map(_network, networks))


@lru_cache(maxsize=64)
def _network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    return ipaddress.ip_network(text)


def address_of(service: core_v1.Service, address: str) -> networking_v1.IPAddress:
    """The object that says that the address is this Service's."""
    parent = networking_v1.ParentReference(
        resource="services", namespace=service.metadata.namespace, name=service.metadata.name
    )
    return networking_v1.IPAddress(
        metadata=ObjectMeta(name=address, labels={FAMILY_LABEL: family_of(address), MANAGER_LABEL: MANAGER}),
        spec=networking_v1.IPAddressSpec(parent_ref=parent),
    )
