"""Ports of the node that lead to Pods, as elements of two nftables maps: by port, and by address and port.

May touch: the maps of the table `carob-<cluster>-node`, which `network/node.py` makes; the kernel's connection table.
Invariant: a port of an address leads to one Pod. Used from several threads.
"""

from __future__ import annotations

import ipaddress
import threading
from typing import TYPE_CHECKING, Protocol

from carob.base.log import get_logger
from carob.host.nftables import NftablesError
from carob.network.addresses import HostPort
from carob.network.layout import NetworkFailure, table_name

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator

    from carob.host.conntrack import Flows
    from carob.host.nftables import Nftables
    from carob.network.addresses import Lease

_log = get_logger("network")
ANY_ADDRESS = ("", "0.0.0.0")
ANY_ADDRESS6 = ("", "::")


class PortMapping(Protocol):
    """A port of a container as the runtime asks for it; `host_port` 0: it is not one of the node."""

    @property
    def protocol(self) -> str: ...
    @property
    def container_port(self) -> int: ...
    @property
    def host_port(self) -> int: ...
    @property
    def host_ip(self) -> str: ...


def asked_for(mappings: Iterable[PortMapping]) -> list[HostPort]:
    """The host ports among these.

    Raises: NetworkFailure for an address that is none: the API takes any text for one, and a text becomes a rule here.
    """
    found = []
    for one in mappings:
        if not one.host_port:
            continue
        try:
            address = str(ipaddress.ip_address(one.host_ip)) if one.host_ip else ""
        except ValueError as error:
            raise NetworkFailure(f"host port {one.host_port}: invalid host IP: {error}") from error
        found.append(HostPort(one.protocol or "TCP", one.host_port, one.container_port, address))
    return found


def _keys(port: HostPort, *, dual: bool) -> Iterator[tuple[str, str]]:
    """The maps and the keys of the elements, of each family that the port is asked for and the cluster has."""
    key = f"{port.protocol.lower()} . {port.host_port}"
    six = ":" in port.host_ip
    if port.host_ip in ANY_ADDRESS:
        yield "host_ports", key
    elif not six:
        yield "host_address_ports", f"{port.host_ip} . {key}"
    if dual and port.host_ip in ANY_ADDRESS6:
        yield "host_ports6", key
    elif dual and six:
        yield "host_address_ports6", f"{port.host_ip} . {key}"


def render_elements(
    cluster: str, verb: str, leases: Iterable[Lease], second: Callable[[str], str] | None = None
) -> str:
    """The script that adds or deletes (`verb`) every host port of these leases; `second` knows their IPv6 addresses."""
    table = f"inet {table_name(cluster, 'node')}"
    lines = []
    for lease in leases:
        for port in lease.host_ports:
            for name, key in _keys(port, dual=second is not None):
                address = second(lease.address) if second is not None and name.endswith("6") else lease.address
                value = f" : {address} . {port.container_port}" if verb == "add" else ""
                lines.append(f"{verb} element {table} {name} {{ {key}{value} }}\n")
    return "".join(lines)


class HostPorts:
    """The host ports of this node. `second` knows a Pod's IPv6 address by its first one, in a dual-stack cluster;
    `own_addresses` those that the node has now."""

    def __init__(
        self,
        cluster: str,
        nftables: Nftables,
        flows: Flows,
        own_addresses: Callable[[], Collection[str]],
        second: Callable[[str], str] | None = None,
    ) -> None:
        self._cluster = cluster
        self._nftables = nftables
        self._flows = flows
        self._own_addresses = own_addresses
        self._second = second
        self._lock = threading.Lock()
        self._owners: dict[tuple[str, str], str] = {}

    def restore(self, leases: Iterable[Lease]) -> None:
        """Take over what an earlier agent gave out; the rules themselves were made with the table."""
        with self._lock:
            self._owners = {key: lease.sandbox_id for lease in leases for _, key in self._listed(lease)}

    def open(self, lease: Lease) -> None:
        """Lead the lease's host ports to its address; idempotent. Raises: NetworkFailure when one is taken."""
        if not lease.host_ports:
            return
        with self._lock:
            keys = [key for _, key in self._listed(lease)]
            for port, key in self._listed(lease):
                if self._owners.get(key, lease.sandbox_id) != lease.sandbox_id:
                    raise NetworkFailure(
                        f"host port {port.host_port}/{port.protocol} is taken by sandbox {self._owners[key]}"
                    )
            if all(key in self._owners for key in keys):
                return
            try:
                self._nftables.run(render_elements(self._cluster, "add", [lease], self._second))
            except NftablesError as error:
                raise NetworkFailure(f"cannot open the host ports of sandbox {lease.sandbox_id}: {error}") from error
            self._owners.update(dict.fromkeys(keys, lease.sandbox_id))
        self._forget(lease)

    def close(self, lease: Lease) -> None:
        """Take the lease's host ports back; idempotent."""
        with self._lock:
            keys = {key for _, key in self._listed(lease)}
            if not keys or not any(self._owners.get(key) == lease.sandbox_id for key in keys):
                return
            try:
                self._nftables.run(render_elements(self._cluster, "delete", [lease], self._second))
            except NftablesError as error:
                raise NetworkFailure(f"cannot close the host ports of sandbox {lease.sandbox_id}: {error}") from error
            for key in keys:
                self._owners.pop(key, None)
        self._forget(lease)

    def _forget(self, lease: Lease) -> None:
        """Datagrams of clients that never pause would go on to whom the port led before, whoever has that address now.

        Source: CNI plugin `portmap`.
        """
        ports = {port.host_port for port in lease.host_ports if port.protocol == "UDP"}
        if not ports:
            return
        try:
            own = self._own_addresses()
            self._flows.forget(lambda flow: flow.port in ports and flow.address in own)
        except OSError as error:
            _log.warning("stale UDP flows stay: %s", error)

    def _listed(self, lease: Lease) -> list[tuple[HostPort, tuple[str, str]]]:
        dual = self._second is not None
        return [(port, key) for port in lease.host_ports for key in _keys(port, dual=dual)]
