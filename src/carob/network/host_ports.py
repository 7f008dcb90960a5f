"""Ports of the node that lead to Pods, as elements of two nftables maps: by port, and by address and port.

May touch: the maps of the table `carob-<cluster>-node`, which `network/node.py` makes. Invariant: a port of an address
leads to one Pod. Used from several threads.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from carob.host.nftables import NftablesError
from carob.network.layout import NetworkFailure, table_name

if TYPE_CHECKING:
    from collections.abc import Iterable

    from carob.host.nftables import Nftables
    from carob.network.addresses import HostPort, Lease

ANY_ADDRESS = ("", "0.0.0.0")


def _key(port: HostPort) -> tuple[str, str]:
    """The map and the element's key."""
    protocol = port.protocol.lower()
    if port.host_ip in ANY_ADDRESS:
        return "host_ports", f"{protocol} . {port.host_port}"
    return "host_address_ports", f"{port.host_ip} . {protocol} . {port.host_port}"


def render_elements(cluster: str, verb: str, leases: Iterable[Lease]) -> str:
    """The script that adds or deletes (`verb`) every host port of these leases."""
    table = f"inet {table_name(cluster, 'node')}"
    lines = []
    for lease in leases:
        for port in lease.host_ports:
            name, key = _key(port)
            value = f" : {lease.address} . {port.container_port}" if verb == "add" else ""
            lines.append(f"{verb} element {table} {name} {{ {key}{value} }}\n")
    return "".join(lines)


class HostPorts:
    """The host ports of this node."""

    def __init__(self, cluster: str, nftables: Nftables) -> None:
        self._cluster = cluster
        self._nftables = nftables
        self._lock = threading.Lock()
        self._owners: dict[tuple[str, str], str] = {}

    def restore(self, leases: Iterable[Lease]) -> None:
        """Take over what an earlier agent gave out; the rules themselves were made with the table."""
        with self._lock:
            self._owners = {_key(port): lease.sandbox_id for lease in leases for port in lease.host_ports}

    def open(self, lease: Lease) -> None:
        """Lead the lease's host ports to its address; idempotent. Raises: NetworkFailure when one is taken."""
        if not lease.host_ports:
            return
        with self._lock:
            keys = [_key(port) for port in lease.host_ports]
            for port, key in zip(lease.host_ports, keys, strict=True):
                if self._owners.get(key, lease.sandbox_id) != lease.sandbox_id:
                    raise NetworkFailure(
                        f"host port {port.host_port}/{port.protocol} is taken by sandbox {self._owners[key]}"
                    )
            if all(key in self._owners for key in keys):
                return
            try:
                self._nftables.run(render_elements(self._cluster, "add", [lease]))
            except NftablesError as error:
                raise NetworkFailure(f"cannot open the host ports of sandbox {lease.sandbox_id}: {error}") from error
            self._owners.update(dict.fromkeys(keys, lease.sandbox_id))

    def close(self, lease: Lease) -> None:
        """Take the lease's host ports back; idempotent."""
        with self._lock:
            keys = {_key(port) for port in lease.host_ports}
            if not keys or not any(self._owners.get(key) == lease.sandbox_id for key in keys):
                return
            try:
                self._nftables.run(render_elements(self._cluster, "delete", [lease]))
            except NftablesError as error:
                raise NetworkFailure(f"cannot close the host ports of sandbox {lease.sandbox_id}: {error}") from error
            for key in keys:
                self._owners.pop(key, None)
