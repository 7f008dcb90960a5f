"""Services of a node: changes go in, one nftables transaction comes out, stale UDP flows are forgotten.

What the elements mean is in `network/service_rules.py`. Blocking; used from several threads.

May touch: the table `carob-<cluster>-services`, the kernel's connection table.
"""

from __future__ import annotations

import ipaddress
import threading
from collections import Counter
from typing import TYPE_CHECKING

from carob.base.log import get_logger
from carob.host.nftables import NftablesError
from carob.network.layout import NetworkFailure
from carob.network.service_rules import (
    ANY_NODE6,
    Backends,
    Elements,
    Endpoint,
    How,
    Network,
    ServicePort,
    elements_of,
    family_mark,
    how_of,
    needed_chains,
    render_base,
    render_chains,
    render_changes,
    service_networks,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

    from carob.host.conntrack import Flow, Flows
    from carob.host.nftables import Nftables
    from carob.network.layout import NetworkLayout

__all__ = ["ANY_NODE6", "Backends", "Endpoint", "ServicePort", "ServiceTable"]

_log = get_logger("network")


class ServiceTable:
    """The service rules of this node."""

    def __init__(
        self, layout: NetworkLayout, nftables: Nftables, flows: Flows, own_addresses: Callable[[], Collection[str]]
    ) -> None:
        """`own_addresses`: those that the node has now."""
        self._layout = layout
        self._nftables = nftables
        self._flows = flows
        self._own_addresses = own_addresses
        self._lock = threading.Lock()
        self._ranges = service_networks(layout)
        self._applied: dict[ServicePort, Backends] = {}
        self._addresses: Counter[str] = Counter()
        self._chains: set[How] = set()

    def reset(self, wanted: Mapping[ServicePort, Backends], further: Iterable[str] = ()) -> None:
        """Make the table anew with these services and further ranges, in one transaction. Raises: NftablesError."""
        with self._lock:
            self._applied, self._addresses, self._chains = {}, Counter(), set()
            self._ranges = service_networks(self._layout, further)
            try:
                self._change(wanted, render_base(self._layout, further))
            except NftablesError:
                # either the kernel cannot be told how long to remember connections, or this fails again
                self._change(wanted, render_base(self._layout, further, patient=False))

    def set_ranges(self, further: Iterable[str]) -> list[Network]:
        """Let Services alone have the addresses of these ranges too; what is theirs now. Raises: NetworkFailure."""
        with self._lock:
            ranges = service_networks(self._layout, further)
            old: Elements = {_of_ranges(one): "" for one in self._ranges}
            new: Elements = {_of_ranges(one): "" for one in ranges}
            touched = set(self._addresses)
            old |= self._range_addresses(touched, self._addresses, self._ranges)
            new |= self._range_addresses(touched, self._addresses, ranges)
            script = render_changes(self._layout.cluster, old, new)
            try:
                if script:
                    self._nftables.run(script)
            except NftablesError as error:
                raise NetworkFailure(f"cannot change the ranges of services: {error}") from error
            self._ranges = ranges
            return ranges

    def apply(self, changes: Mapping[ServicePort, Backends | None]) -> None:
        """Let these ports have these backends (None: exist no more); all others stay.

        Raises: NetworkFailure; then nothing has changed.
        """
        try:
            with self._lock:
                self._change(changes, "")
        except (NftablesError, ValueError) as error:
            raise NetworkFailure(f"cannot change services: {error}") from error
        changed = {service for service in changes if service.protocol == "udp"}
        if changed:
            self._forget(changed)

    def ports(self) -> dict[ServicePort, Backends]:
        """What is there now."""
        return dict(self._applied)

    def _change(self, changes: Mapping[ServicePort, Backends | None], base: str) -> None:
        old: Elements = {}
        new: Elements = {}
        chains: set[How] = set()
        addresses = self._addresses.copy()
        for service, backends in changes.items():
            before = self._applied.get(service)
            if before == backends:
                continue
            if before is not None:
                old.update(elements_of(service, before))
            else:
                addresses[service.address] += 1
            if backends is None:
                addresses[service.address] -= 1
                continue
            new.update(elements_of(service, backends))
            how = how_of(service, backends)
            if how is not None:
                chains.update(needed_chains(how))
        touched = {service.address for service in changes}
        old |= self._range_addresses(touched, self._addresses, self._ranges)
        new |= self._range_addresses(touched, addresses, self._ranges)
        chains -= self._chains
        plain = {how for how in chains if how.outside < 0}
        made = render_chains(self._layout, plain) + render_chains(self._layout, chains - plain)
        script = base + made + render_changes(self._layout.cluster, old, new)
        if script:
            self._nftables.run(script)
        self._chains |= chains
        self._addresses = +addresses
        for service, backends in changes.items():
            if backends is None:
                self._applied.pop(service, None)
            else:
                self._applied[service] = backends

    @staticmethod
    def _range_addresses(touched: set[str], counted: Counter[str], ranges: Iterable[Network]) -> Elements:
        return {
            (f"addresses{family_mark(address)}", address): ""
            for address in touched
            if address and counted[address] > 0 and any(ipaddress.ip_address(address) in one for one in ranges)
        }

    def _forget(self, changed: set[ServicePort]) -> None:
        """Flows to these ports that are answered by whom no one would be led to now."""
        own: Collection[str] = ()

        def stale(flow: Flow) -> bool:
            service = ServicePort(flow.address, "udp", flow.port)
            if service not in changed:
                service = ServicePort(ANY_NODE6 if family_mark(flow.address) else "", "udp", flow.port)
                # a node port is met by its number: others' flows pass by to the same one elsewhere
                if service not in changed or flow.address not in own:
                    return False
            backends = self._applied.get(service, Backends())
            answered = Endpoint(flow.answers_from, flow.answers_port)
            return answered not in backends.endpoints and answered not in (backends.outside or ())

        try:
            if any(service.on_node for service in changed):
                own = self._own_addresses()
            self._flows.forget(stale)
        except OSError as error:
            # the rules are right; only clients that never pause may go on to the old place for a while
            _log.warning("stale UDP flows stay: %s", error)


def _of_ranges(one: Network) -> tuple[str, str]:
    """The set and the element of a range."""
    return f"ranges{family_mark(str(one))}", str(one)
