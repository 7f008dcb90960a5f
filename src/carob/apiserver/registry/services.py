"""Services: addresses and node ports, each given out once, and the fields that belong to one type alone.

Source: upstream `pkg/registry/core/service/{strategy.go,storage/storage.go,storage/alloc.go}`.
"""

from __future__ import annotations

import ipaddress
from functools import partial
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from carob.api.status import ApiError, invalid
from carob.api.types import core_v1
from carob.apiserver.registry import allocation, service_addresses, service_families
from carob.apiserver.registry.allocation import Claim, Claims, Exhausted, Taken
from carob.apiserver.registry.service_addresses import given_to
from carob.apiserver.registry.service_families import IPV4, IPV6
from carob.apiserver.registry.strategy import Companion, Strategy

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from carob.api.types import networking_v1
    from carob.apiserver.registry.strategy import WriteContext
    from carob.apiserver.types import Reader

_VERSIONS = {IPV4: 4, IPV6: 6}


class ServiceStrategy(Strategy):
    """See the module's docstring. It is the one strategy that holds state: the claims."""

    accompanied = True

    def __init__(self, row: Any) -> None:
        super().__init__(row)
        self._addresses: Claims[str] = Claims()
        self._ports: Claims[int] = Claims()
        self._loaded = False
        self._known: dict[str, tuple[list[str], list[int]]] = {}

    # -- before validation -----------------------------------------------------------------------------------------

    def prepare_create(self, obj: core_v1.Service, context: WriteContext) -> None:
        """No status from the client; one address may be given in either field."""
        obj.status = type(obj.status)()
        spec = obj.spec
        if spec.cluster_ip and not spec.cluster_ips:
            spec.cluster_ips = [spec.cluster_ip]

    def prepare_update(self, new: core_v1.Service, old: core_v1.Service, context: WriteContext) -> None:
        """What was given out stays unless the type no longer has it."""
        new.status = old.status
        if old.spec.type == "LoadBalancer" and new.spec.type != "LoadBalancer":
            new.status = replace(old.status, load_balancer=core_v1.LoadBalancerStatus())
        self._normalize(new.spec, old.spec)
        _keep_given(new.spec, old.spec)
        _drop_foreign(new.spec, old.spec)

    @staticmethod
    def _normalize(new: core_v1.ServiceSpec, old: core_v1.ServiceSpec) -> None:
        changed, list_changed = new.cluster_ip != old.cluster_ip, new.cluster_ips != old.cluster_ips
        if not old.cluster_ip and new.cluster_ip and not new.cluster_ips:
            new.cluster_ips = [new.cluster_ip]
        elif changed and not new.cluster_ip and not list_changed:
            new.cluster_ips = []
        elif list_changed and not new.cluster_ips and not changed:
            new.cluster_ip = ""
        elif changed and new.cluster_ip and not list_changed and new.cluster_ips:
            new.cluster_ips = [new.cluster_ip, *new.cluster_ips[1:]]

    def prepare_status(self, new: core_v1.Service, old: core_v1.Service, context: WriteContext) -> None:
        """The status alone."""
        new.spec = old.spec

    # -- what is given out ------------------------------------------------------------------------------------------

    def reserve(self, new: core_v1.Service, old: core_v1.Service | None, context: WriteContext) -> None:
        """Claim what the Service needs and give back what it no longer has. Raises: ApiError 422, 500."""
        if old is not None and _same_needs(new.spec, old.spec):
            return
        self._load(context)
        holder = _holder(new)
        found = service_addresses.known(context.reader)
        families = service_addresses.families(found)
        causes = service_families.settle(new.spec, old.spec if old is not None else None, families)
        if causes:
            raise invalid(self.row, new.metadata.name, causes)
        self._reserve_address(new, holder, service_addresses.ranges(found), context)
        self._reserve_ports(new, holder, context)
        if old is not None:
            self._release_unused(new, old, holder, context)

    def prepare_delete(self, obj: core_v1.Service, context: WriteContext) -> None:
        """Everything goes back once the Service is gone."""
        holder = _holder(obj)
        for address in given_to(obj.spec):
            self._let_go(self._addresses, address, holder, obj, context)
        for port in _ports_of(obj.spec):
            self._let_go(self._ports, port, holder, obj, context)

    def companions(self, new: core_v1.Service | None, old: core_v1.Service | None) -> Sequence[Companion]:
        """The IPAddress of each address that comes or goes."""
        ours = given_to(new.spec) if new is not None else []
        before = given_to(old.spec) if old is not None else []
        if ours == before:
            return ()
        service = new or old
        assert service is not None
        row, holder = service_addresses.ROW, _holder(service)

        def mine(obj: networking_v1.IPAddress) -> bool:
            return service_addresses.service_of(obj) == holder

        come = [one for one in ours if one not in before]
        gone = [one for one in before if one not in ours]
        return [
            *(Companion(row, one, service_addresses.address_of(service, one), mine) for one in come),
            *(Companion(row, one, None, mine) for one in gone),
        ]

    def uses(self, claim: Claim, reader: Reader) -> bool:
        """Whether the Service is there and has the address or the port."""
        namespace, _, name = claim.holder.partition("/")
        service = reader.get(self.row, namespace, name)
        if service is None or service.metadata.uid != claim.uid:
            return False
        return claim.value in (*given_to(service.spec), *map(str, _ports_of(service.spec)))

    def _hold(self, claims: Claims[Any], value: Any, holder: str, obj: core_v1.Service, context: WriteContext) -> None:
        """Take a value until the write has happened or not. Raises: Taken."""
        if claims.claim(value, holder):
            context.undo.append(lambda: self._undo(claims, value, holder))
            context.claimed.append(self._claim(claims, value, holder, obj))

    def _undo(self, claims: Claims[Any], value: Any, holder: str) -> None:
        claims.release(value, holder)
        # while we held it another server may have made a Service that has it
        for other, (addresses, ports) in self._known.items():
            if value in addresses or value in ports:
                self._claim_known(claims, value, other)

    def _let_go(
        self, claims: Claims[Any], value: Any, holder: str, obj: core_v1.Service, context: WriteContext
    ) -> None:
        context.done.append(lambda: claims.release(value, holder))
        context.released.append(self._claim(claims, value, holder, obj))

    def _claim(self, claims: Claims[Any], value: Any, holder: str, obj: core_v1.Service) -> Claim:
        kind = "serviceips" if claims is self._addresses else "servicenodeports"
        return Claim(kind, str(value), holder, obj.metadata.uid)

    def _load(self, context: WriteContext) -> None:
        """Find the claims of the Services that are there; the first use does it."""
        if self._loaded:
            return
        self._loaded = True
        for service in context.reader.list(self.row):
            self._follow(service.metadata.namespace, service.metadata.name, context.reader)
        reader = context.reader
        # another server of the same store writes, too, and so does a reset to a snapshot
        reader.on_change(self.row, lambda namespace, name: self._follow(namespace, name, reader))

    def _follow(self, namespace: str, name: str, reader: Reader) -> None:
        """Claim what a Service has, whichever server gave it, and let go what it no longer has."""
        holder = f"{namespace}/{name}"
        service = reader.get(self.row, namespace, name)
        addresses = given_to(service.spec) if service is not None else []
        ports = _ports_of(service.spec) if service is not None else []
        before = self._known.pop(holder, ([], []))
        for address in {*before[0]} - {*addresses}:
            self._addresses.release(address, holder)
        for port in {*before[1]} - {*ports}:
            self._ports.release(port, holder)
        for address in addresses:
            self._claim_known(self._addresses, address, holder)
        for port in ports:
            self._claim_known(self._ports, port, holder)
        if addresses or ports:
            self._known[holder] = addresses, ports

    @staticmethod
    def _claim_known(claims: Claims[Any], value: Any, holder: str) -> None:
        if claims.free(value):
            claims.claim(value, holder)

    def _reserve_address(self, obj: core_v1.Service, holder: str, ranges: Sequence[str], context: WriteContext) -> None:
        spec = obj.spec
        if spec.type == "ExternalName" or spec.cluster_ips[:1] == ["None"]:
            return
        chosen = spec.cluster_ips
        free = self._free_address(holder, context)
        for family in spec.ip_families[len(chosen) :]:
            version = _VERSIONS.get(family)
            if version is None:
                break  # validation says so
            try:
                address = allocation.pick_address(free, ranges, context.randomness, version)
            except Exhausted as error:
                raise self._exhausted(obj, "spec.clusterIPs", f"failed to allocate a serviceIP: {error}") from None
            spec.cluster_ips = [*spec.cluster_ips, address]
        if spec.cluster_ips != chosen:
            spec.cluster_ip = spec.cluster_ips[0]
            context.unpick.append(lambda: _forget_addresses(spec, chosen))
        for address in given_to(spec):
            self._claim_address(obj, address, ranges, holder, context)

    def _free_address(self, holder: str, context: WriteContext) -> Callable[[str], bool]:
        """Tells which addresses neither a Service nor an IPAddress of somebody else has."""

        def free(address: str) -> bool:
            owner = service_addresses.owner_of(context.reader, address)
            return owner in (None, holder) and self._addresses.free(address)

        return free

    def _claim_address(
        self, obj: core_v1.Service, address: str, ranges: Sequence[str], holder: str, context: WriteContext
    ) -> None:
        try:
            where = ipaddress.ip_address(address)
        except ValueError:
            return  # validation says so
        shown = "[" + ",".join(f'"{one}"' for one in obj.spec.cluster_ips) + "]"
        known = not self._addresses.free(address)
        if not known and not service_addresses.within(where, ranges):
            why = f"Invalid value: {shown}: failed to allocate IP {address}: the provided network does not match the current range"
            raise self._refusal(obj, "spec.clusterIPs", why)
        try:
            if service_addresses.owner_of(context.reader, address) not in (None, holder):
                raise Taken(address)
            self._hold(self._addresses, address, holder, obj, context)
        except Taken:
            why = f"Invalid value: {shown}: failed to allocate IP {address}: provided IP is already allocated"
            raise self._refusal(obj, "spec.clusterIPs", why) from None

    def _reserve_ports(self, obj: core_v1.Service, holder: str, context: WriteContext) -> None:
        spec = obj.spec
        if not _has_node_ports(spec):
            return
        mine: dict[int, set[str]] = {}
        for number, port in enumerate(spec.ports):
            if port.node_port:
                protocols = mine.setdefault(port.node_port, set())
                if port.protocol in protocols:
                    # upstream answers 500 here; a client's mistake is a 422
                    why = f"Invalid value: {port.node_port}: duplicate nodePort: {{{port.protocol} {port.node_port}}}"
                    raise self._refusal(obj, f"spec.ports[{number}].nodePort", why)
                protocols.add(port.protocol)
                self._claim_port(obj, port.node_port, f"spec.ports[{number}].nodePort", holder, context)
        if spec.type == "NodePort" or spec.allocate_load_balancer_node_ports is not False:
            for number, port in enumerate(spec.ports):
                if not port.node_port:
                    shared = [n for n, used in mine.items() if port.protocol not in used and self._twin(spec, port, n)]
                    port.node_port = (
                        shared[0] if shared else self._free_port(obj, f"spec.ports[{number}].nodePort", holder, context)
                    )
                    context.unpick.append(partial(setattr, port, "node_port", 0))
                    mine.setdefault(port.node_port, set()).add(port.protocol)
        if spec.type == "LoadBalancer" and spec.external_traffic_policy == "Local":
            if spec.health_check_node_port:
                self._claim_port(obj, spec.health_check_node_port, "spec.healthCheckNodePort", holder, context)
            else:
                spec.health_check_node_port = self._free_port(obj, "spec.healthCheckNodePort", holder, context)
                context.unpick.append(partial(setattr, spec, "health_check_node_port", 0))

    @staticmethod
    def _twin(spec: core_v1.ServiceSpec, port: core_v1.ServicePort, node_port: int) -> bool:
        """Whether the same port number of another protocol has this node port: the two share it."""
        return any(other.port == port.port and other.node_port == node_port for other in spec.ports)

    def _free_port(self, obj: core_v1.Service, field: str, holder: str, context: WriteContext) -> int:
        try:
            port = allocation.pick_port(self._ports, context.randomness)
        except Exhausted as error:
            raise self._exhausted(obj, field, f"failed to allocate a nodePort: {error}") from None
        self._hold(self._ports, port, holder, obj, context)
        return port

    def _claim_port(self, obj: core_v1.Service, port: int, field: str, holder: str, context: WriteContext) -> None:
        first, last = allocation.FIRST_NODE_PORT, allocation.LAST_NODE_PORT
        if not first <= port <= last:
            why = f"provided port is not in the valid range. The range of valid ports is {first}-{last}"
            raise self._refusal(obj, field, f"Invalid value: {port}: {why}")
        try:
            self._hold(self._ports, port, holder, obj, context)
        except Taken:
            why = f"Invalid value: {port}: provided port is already allocated"
            raise self._refusal(obj, field, why) from None

    def _release_unused(self, new: core_v1.Service, old: core_v1.Service, holder: str, context: WriteContext) -> None:
        for address in set(given_to(old.spec)) - set(given_to(new.spec)):
            self._let_go(self._addresses, address, holder, new, context)
        for port in set(_ports_of(old.spec)) - set(_ports_of(new.spec)):
            self._let_go(self._ports, port, holder, new, context)

    def _refusal(self, obj: core_v1.Service, field: str, message: str, reason: str = "FieldValueInvalid") -> ApiError:
        return invalid(self.row, obj.metadata.name, [{"reason": reason, "message": message, "field": field}])

    def _exhausted(self, obj: core_v1.Service, field: str, why: str) -> ApiError:
        """Upstream answers 500 here, although nothing is wrong with the server."""
        return self._refusal(obj, field, f"Internal error: {why}", "InternalError")


def _holder(obj: core_v1.Service) -> str:
    return f"{obj.metadata.namespace}/{obj.metadata.name}"


def _forget_addresses(spec: core_v1.ServiceSpec, chosen: list[str]) -> None:
    """Keep those that the client chose."""
    spec.cluster_ip, spec.cluster_ips = chosen[0] if chosen else "", chosen


def _has_node_ports(spec: core_v1.ServiceSpec) -> bool:
    return spec.type in ("NodePort", "LoadBalancer")


def _has_health_port(spec: core_v1.ServiceSpec) -> bool:
    return spec.type == "LoadBalancer" and spec.external_traffic_policy == "Local"


def _has_external_policy(spec: core_v1.ServiceSpec) -> bool:
    return _has_node_ports(spec) or (spec.type == "ClusterIP" and bool(spec.external_ips))


def _ports_of(spec: core_v1.ServiceSpec) -> list[int]:
    ports = [port.node_port for port in spec.ports if port.node_port]
    return [*ports, spec.health_check_node_port] if spec.health_check_node_port else ports


def _same_needs(new: core_v1.ServiceSpec, old: core_v1.ServiceSpec) -> bool:
    """Whether an update cannot change what was given out."""
    return (
        new.type == old.type
        and new.cluster_ips == old.cluster_ips
        and bool(new.cluster_ips or new.type == "ExternalName")
        and new.ports == old.ports
        and new.ip_families == old.ip_families
        and new.ip_family_policy == old.ip_family_policy
        and new.external_traffic_policy == old.external_traffic_policy
        and new.health_check_node_port == old.health_check_node_port
        and new.allocate_load_balancer_node_ports == old.allocate_load_balancer_node_ports
    )


def _keep_given(new: core_v1.ServiceSpec, old: core_v1.ServiceSpec) -> None:
    """Fill in what a client left out of a PUT. Source: `patchAllocatedValues`."""
    if new.type != "ExternalName" and old.type != "ExternalName":
        new.cluster_ip = new.cluster_ip or old.cluster_ip
        if not new.cluster_ips and new.cluster_ip == old.cluster_ip:
            new.cluster_ips = old.cluster_ips
        new.ip_families = new.ip_families or old.ip_families
        new.ip_family_policy = new.ip_family_policy or old.ip_family_policy
    if _has_node_ports(new) and _has_node_ports(old):
        used = {port.node_port for port in new.ports}
        before = {(port.protocol, port.port): port.node_port for port in old.ports}
        for port in new.ports:
            given = before.get((port.protocol, port.port), 0)
            if not port.node_port and given not in used:
                port.node_port = given
    if _has_health_port(new) and _has_health_port(old):
        new.health_check_node_port = new.health_check_node_port or old.health_check_node_port


def _drop_foreign(new: core_v1.ServiceSpec, old: core_v1.ServiceSpec) -> None:
    """Clear what the old type had and the new one has not. Source: `dropTypeDependentFields`."""
    if new.type == "ExternalName" and old.type != "ExternalName":
        if new.cluster_ips in ([], old.cluster_ips):
            new.cluster_ip, new.cluster_ips = "", []
        if new.ip_families in ([], old.ip_families):
            new.ip_families, new.ip_family_policy = [], None
        if new.internal_traffic_policy == old.internal_traffic_policy:
            new.internal_traffic_policy = None
    if _has_node_ports(old) and not _has_node_ports(new):
        given = {port.node_port for port in old.ports}
        for port in new.ports:
            if port.node_port in given:
                port.node_port = 0
    lost_health_port = _has_health_port(old) and not _has_health_port(new)
    if lost_health_port and new.health_check_node_port == old.health_check_node_port:
        new.health_check_node_port = 0
    if old.type == "LoadBalancer" and new.type != "LoadBalancer":
        if new.allocate_load_balancer_node_ports == old.allocate_load_balancer_node_ports:
            new.allocate_load_balancer_node_ports = None
        if new.load_balancer_class == old.load_balancer_class:
            new.load_balancer_class = None
    lost_policy = _has_external_policy(old) and not _has_external_policy(new)
    if lost_policy and new.external_traffic_policy == old.external_traffic_policy:
        new.external_traffic_policy = ""
