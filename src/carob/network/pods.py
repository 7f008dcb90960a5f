"""How a sandbox gets its address: a veth pair, two addresses' worth of routes, no bridge and no ARP.

Inside the Pod: `eth0` with a /32 address and a default route through the node's inside address, which is declared on
the link. On the node: the other end of the pair, and a /32 route to the Pod through it. Both ends know each other's
hardware address for good. In a dual-stack cluster both have the same in IPv6.

The wire itself takes packets of 64 KiB, and from Pod to Pod of one node they are that large: it is the number of packets
that costs, not their size. Every other way keeps to the size of the way out of the machine, which its route says.

`attach` runs in the thread that is inside the new network namespace; the node's side goes through a netlink socket
that was made in the node's namespace. A veth is never deleted when a Pod ends: the kernel does it with the namespace,
off anybody's way.

May touch: netlink, the address records, the host-port maps.
"""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, Protocol

from carob.base.log import get_logger
from carob.host import netlink
from carob.network.addresses import Lease
from carob.network.bandwidth import EGRESS, INGRESS, bucket_of
from carob.network.host_ports import asked_for
from carob.network.layout import ROUTE_PROTOCOL, NetworkFailure, mac_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from carob.network.addresses import AddressBook
    from carob.network.bandwidth import Bucket
    from carob.network.host_ports import HostPorts, PortMapping
    from carob.network.layout import NetworkLayout

POD_INTERFACE = "eth0"
WIRE_MTU = 65535
"""The most that a veth takes."""
BATCH_BYTES = 8 * WIRE_MTU
"""The most that the kernel carries as one."""
LARGEST_SENT_OUT = 65536
"""Beyond this a network card does not cut a batch into packets by itself."""
DEFAULT_MTU = 1500

_log = get_logger("network")


class Request(Protocol):
    """What is to be known of a sandbox."""

    @property
    def sandbox_id(self) -> str: ...
    @property
    def namespace(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def uid(self) -> str: ...
    @property
    def netns_path(self) -> str: ...
    @property
    def port_mappings(self) -> Sequence[PortMapping]: ...
    @property
    def annotations(self) -> Mapping[str, str]: ...


class PodNetwork:
    """Attaches sandboxes to the node's network. `node` is a socket in the node's own namespace."""

    def __init__(
        self,
        layout: NetworkLayout,
        node: netlink.Netlink,
        addresses: AddressBook,
        host_ports: HostPorts,
        obstacle: Callable[[], str],
        mtu: int,
    ) -> None:
        self._layout = layout
        self._node = node
        self._addresses = addresses
        self._host_ports = host_ports
        self._obstacle = obstacle
        self._mtu = mtu or DEFAULT_MTU

    def attach(self, request: Request) -> list[str]:
        """Give the sandbox of the calling thread's network namespace its interface; its addresses, IPv4 first.

        Idempotent per sandbox id. Raises: NetworkFailure; then nothing is left.
        """
        host_ports = asked_for(request.port_mappings)
        try:
            lease = self._addresses.allocate(request.sandbox_id, host_ports)
        except OSError as error:
            raise NetworkFailure(f"cannot record the address of sandbox {request.sandbox_id}: {error}") from error
        try:
            self._connect(request, lease)
            self._host_ports.open(lease)
        except BaseException as error:
            self._undo(lease)
            if isinstance(error, OSError):
                raise NetworkFailure(f"sandbox {request.sandbox_id}: {error}") from error
            raise
        return [lease.address, self._layout.address6_of(lease.address)] if self._layout.dual else [lease.address]

    def detach(self, request: Request) -> None:
        """Take back the addresses and host ports; the namespace may be gone already. Idempotent.

        Raises: NetworkFailure when a host port cannot be closed; the address is then kept, to be tried again.
        """
        lease = self._addresses.get(request.sandbox_id)
        if lease is not None:
            self._host_ports.close(lease)
            self._addresses.release(request.sandbox_id)

    def status(self) -> str:
        """Empty when Pods can be attached, else why not."""
        return self._obstacle()

    def leases(self) -> list[Lease]:
        """Which sandboxes hold addresses; the kubelet detaches those that it does not know."""
        return self._addresses.leases()

    def _connect(self, request: Request, lease: Lease) -> None:
        with netlink.Netlink() as inside:
            link = inside.link(POD_INTERFACE)
            if link is None:
                self._make_pair(request.sandbox_id, lease)
                link = inside.link(POD_INTERFACE)
            if link is None:
                raise NetworkFailure(f"{POD_INTERFACE} of sandbox {request.sandbox_id} vanished")
            self._set_up_node_side(request, lease)
            limits = [bucket_of(request.annotations, direction) for direction in (EGRESS, INGRESS)]
            # a bucket that fills slowly is for small packets
            large = not any(limits)
            inside.send(netlink.set_up(link.index), *self._inside(link.index, lease, large=large))
            if self._layout.dual:
                inside.send(*self._second_inside(link.index, lease, large=large))
            # the node's end was up before it had anybody to talk to; until the kernel has time for the change, it loses
            # what it is to send. Who asks for its state gets the change done first (since Linux 6.8).
            self._node.link(self._layout.interface_name(request.sandbox_id))
            # what each end may send: the Pod, and the node to the Pod
            _limit(inside, link.index, limits[0])

    def _inside(self, index: int, lease: Lease, *, large: bool) -> list[netlink.Message]:
        """The Pod's side; `large`: with a way to its neighbours that takes large packets."""
        gateway = self._layout.inside_address
        return [
            netlink.replace_address(index, lease.address, 32),
            netlink.replace_neighbour(index, gateway, self._layout.host_mac),
            *self._ways(index, gateway, "0.0.0.0/0", self._layout.pod_range if large else ""),
        ]

    def _second_inside(self, index: int, lease: Lease, *, large: bool) -> list[netlink.Message]:
        """The Pod's side in IPv6."""
        gateway = self._layout.inside_address6
        return [
            netlink.replace_address(index, self._layout.address6_of(lease.address), 128),
            netlink.replace_neighbour(index, gateway, self._layout.host_mac),
            *self._ways(index, gateway, "::/0", self._layout.pod_range6 if large else ""),
        ]

    def _ways(self, index: int, gateway: str, everywhere: str, near: str) -> list[netlink.Message]:
        """Routes to everywhere, which say how large a packet may be, and to the neighbours, if any."""
        sizes = {everywhere: self._mtu} | ({near: 0} if near else {})
        return [
            netlink.replace_route(network, int(length), index=index, gateway=gateway, onlink=True, mtu=mtu)
            for (network, _, length), mtu in ((range_.partition("/"), mtu) for range_, mtu in sizes.items())
        ]

    def _second_outside(self, index: int, lease: Lease) -> list[netlink.Message]:
        """The node's side in IPv6."""
        layout, address = self._layout, self._layout.address6_of(lease.address)
        return [
            netlink.replace_neighbour(index, address, mac_of(lease.address)),
            netlink.replace_route(address, 128, index=index, source=layout.inside_address6, protocol=ROUTE_PROTOCOL),
        ]

    def _make_pair(self, sandbox_id: str, lease: Lease) -> None:
        name = self._layout.interface_name(sandbox_id)
        namespace = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            pair = netlink.add_veth(
                name,
                self._layout.host_mac,
                POD_INTERFACE,
                mac_of(lease.address),
                namespace,
                WIRE_MTU,
                batch_bytes=BATCH_BYTES,
                # on the way out a batch of small packets stays as small as before
                peer_segments=max(1, LARGEST_SENT_OUT // self._mtu),
            )
            try:
                self._node.send(pair)
            except netlink.NetlinkError as error:
                if error.errno != errno.EEXIST:
                    raise
                # left by an attempt for the same sandbox in a namespace that is on its way out
                self._delete_pair(name)
                self._node.send(pair)
        finally:
            os.close(namespace)

    def _set_up_node_side(self, request: Request, lease: Lease) -> None:
        name = self._layout.interface_name(request.sandbox_id)
        link = self._node.link(name)
        if link is None:
            raise NetworkFailure(f"{name}, the node's side of sandbox {request.sandbox_id}, vanished")
        alias = f"carob {self._layout.cluster} {request.namespace}/{request.name}"
        # host ports and node ports are also open on the node's loopback, so answers to 127.0.0.1 must be allowed in
        # here; what a Pod sends there by itself is dropped by the table of network/node.py
        settings = {"forwarding": 1, "route_localnet": 1}
        self._node.send(
            netlink.set_up(link.index, alias=alias, ipv4=settings),
            netlink.replace_neighbour(link.index, lease.address, mac_of(lease.address)),
            netlink.replace_route(
                lease.address,
                32,
                index=link.index,
                source=self._layout.inside_address,
                protocol=ROUTE_PROTOCOL,
            ),
        )
        if self._layout.dual:
            self._node.send(*self._second_outside(link.index, lease))
        _limit(self._node, link.index, bucket_of(request.annotations, INGRESS))

    def _delete_pair(self, name: str) -> None:
        link = self._node.link(name)
        if link is not None:
            self._node.send(netlink.delete_link(link.index))

    def _undo(self, lease: Lease) -> None:
        name = self._layout.interface_name(lease.sandbox_id)
        self._try(lease, lambda: self._host_ports.close(lease))
        self._try(lease, lambda: self._delete_pair(name))
        self._addresses.release(lease.sandbox_id)

    def _try(self, lease: Lease, step: Callable[[], None]) -> None:
        try:
            step()
        except (OSError, NetworkFailure) as error:
            _log.error("clean-up of sandbox %s failed: %s", lease.sandbox_id, error)


def _limit(where: netlink.Netlink, index: int, bucket: Bucket | None) -> None:
    if bucket is not None:
        where.send(netlink.limit_rate(index, *bucket))
