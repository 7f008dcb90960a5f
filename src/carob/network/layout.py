"""Which ranges and names a cluster uses on one node. Everything that is made can be found again by these names.

Pure.
"""

from __future__ import annotations

import base64
import hashlib
import ipaddress
from functools import cached_property
from pathlib import Path

from msgspec import Struct

INTERFACE_PREFIX = "carob"
ROUTE_PROTOCOL = 202
"""Marks our routes (`ip route show proto 202`)."""
API_PORT = 6443


class NetworkFailure(Exception):
    """The Pod network could not do it; the text says what and why."""


def short_hash(text: str, length: int) -> str:
    """Letters and digits that stand for a text in names that may not be long."""
    return base64.b32encode(hashlib.sha256(text.encode()).digest()).decode().lower()[:length]


def interface_prefix(cluster: str) -> str:
    """How the names of all host-side Pod interfaces of a cluster begin: `carob` and four letters of a hash."""
    return INTERFACE_PREFIX + short_hash(cluster, 4)


def segment_prefix(cluster: str) -> str:
    """How the names of what joins a cluster's nodes begin: never like Pod interfaces, which other rules are for."""
    return f"{INTERFACE_PREFIX}-{short_hash(cluster, 4)}"


def table_name(cluster: str, part: str) -> str:
    """The nftables table of one part (`node`, `services`) of a cluster."""
    return f"carob-{cluster}-{part}"


class CniPlaces(Struct, frozen=True):
    """Where the configurations of CNI networks are, and their plugins."""

    conf_dir: str
    bin_dirs: tuple[str, ...]

    def program(self, kind: str) -> str:
        """A plugin's file. Raises: NetworkFailure."""
        if kind and "/" not in kind:
            for folder in self.bin_dirs:
                path = Path(folder) / kind
                if path.is_file():
                    return str(path)
        raise NetworkFailure(f'failed to find plugin "{kind}" in path {list(self.bin_dirs)}')


class NetworkLayout(Struct, frozen=True, dict=True):
    """The ranges of one node. Ranges are CIDR texts; `mtu` 0: as large as the way out of the machine allows."""

    cluster: str = "default"
    origin: str = ""
    """The name that all its nodes know the cluster by; empty: `cluster`."""
    inside_address: str = "10.42.0.1"
    """The node's own address among the Pods, on `lo`; every Pod's gateway."""
    node_address: str = ""
    """Where other nodes reach this one; empty: at the inside address."""
    behind_router: bool = False
    """Whether the way out leads over a machine that knows the ways to all Pods: where a gateway is, it is the next hop."""
    pod_range: str = "10.42.0.0/24"
    """This node's part of the Pods' range."""
    cluster_range: str = "10.42.0.0/16"
    service_range: str = "10.43.0.0/16"
    segment_range: str = ""
    """Where nodes on this machine that live apart have their addresses; what they send to the world leaves here."""
    api_service_address: str = "10.43.0.1"
    api_address: str = ""
    """Where the API server is; empty: at the inside address."""
    api_port: int = API_PORT
    dns_address: str = ""
    """Where the cluster's DNS is asked: an address of the service range that each node answers itself."""
    load_balancer_range: str = ""
    """Whose addresses LoadBalancer Services have; the node leads them to itself."""
    inside_address6: str = ""
    node_address6: str = ""
    pod_range6: str = ""
    cluster_range6: str = ""
    service_range6: str = ""
    segment_range6: str = ""
    dns_address6: str = ""
    load_balancer_range6: str = ""
    """The same in IPv6, of a dual-stack cluster; empty: it has IPv4 alone."""
    mtu: int = 0
    cni: CniPlaces | None = None
    """Where the CNI plugins are that give Pods their addresses; None: carob does it itself."""

    @cached_property
    def interface_prefix(self) -> str:
        return interface_prefix(self.cluster)

    @cached_property
    def pod_network(self) -> ipaddress.IPv4Network:
        return ipaddress.IPv4Network(self.pod_range)

    @property
    def dual(self) -> bool:
        """Whether Pods have IPv6 addresses too."""
        return bool(self.pod_range6)

    def address6_of(self, address: str) -> str:
        """The second address of a Pod: as far into its range as the first one is into that one."""
        number = int(ipaddress.IPv4Address(address)) - int(self.pod_network.network_address)
        return str(self._pod_network6[number])

    @cached_property
    def _pod_network6(self) -> ipaddress.IPv6Network:
        return ipaddress.IPv6Network(self.pod_range6)

    @cached_property
    def host_mac(self) -> str:
        """The hardware address that every host-side interface has, so that Pods need not ask for their gateway's."""
        return mac_of(self.inside_address)

    @property
    def vxlan_name(self) -> str:
        """The interface to nodes that are not on our segment."""
        return segment_prefix(self.cluster) + "x"

    def interface_name(self, sandbox_id: str) -> str:
        """The host-side interface of a sandbox: 15 characters, always the same for one sandbox."""
        return self.interface_prefix + short_hash(sandbox_id, 6)


def mac_of(address: str) -> str:
    """A locally administered hardware address made from an IPv4 address."""
    return "0a:58:" + ipaddress.IPv4Address(address).packed.hex(":")
