"""Say whether one Pod may speak to another, and which NetworkPolicy allows or denies it.

FROM and TO are Pods (`web`, `shop/web`), Services (`svc/db`, `shop/svc/db`) or addresses; a Service stands for the Pods
behind it. The exit code is 0 when the flow is allowed, 1 when it is denied.

Examples:
  carob explain-flow web db:5432
  carob explain-flow shop/web data/svc/db:postgres
  carob explain-flow 192.0.2.7 web:8080/UDP
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Any

from carob.api import codec, flows
from carob.api.status import ApiError
from carob.api.types import networking_v1
from carob.cli.connection import add_connection_flags, connect
from carob.cli.errors import CommandError
from carob.cli.failures import server_error

if TYPE_CHECKING:
    from collections.abc import Sequence

    from carob.cli.connection import Connection
    from carob.cli.flags import Arguments, Flags

    Tree = dict[str, Any]

PROTOCOLS = ("TCP", "UDP", "SCTP")
_USAGE = "error: USAGE: explain-flow FROM TO:PORT[/PROTOCOL]\nSee 'carob explain-flow -h' for help and examples"


def add_flags(flags: Flags) -> None:
    """Only those that every verb has."""
    flags.usage = "FROM TO:PORT[/PROTOCOL] [flags]"
    add_connection_flags(flags)


def run(arguments: Arguments) -> int:
    """Judge the flow to each Pod that TO stands for."""
    if len(arguments.words) != 2:
        raise CommandError(_USAGE)
    place, port, protocol = _split(arguments.words[1])
    connection = connect(arguments)
    try:
        policies = _policies(connection)
        targets = _targets(connection, place, port, protocol)
        # who speaks, speaks in the family of whom it reaches
        families = {":" in end.address for end, _ in targets}
        sources = {six: _one_end(connection, arguments.words[0], six=six) for six in families}
        allowed = [_explain(policies, sources[":" in end.address], end, number, protocol) for end, number in targets]
    except ApiError as error:
        raise server_error(error) from error
    finally:
        connection.close()
    return 0 if all(allowed) else 1


def _split(word: str) -> tuple[str, str, str]:
    """The place, the port (a number or a name) and the protocol of `PLACE:PORT/PROTOCOL`. Raises: CommandError."""
    place, colon, rest = word.rpartition(":")
    port, _, protocol = rest.partition("/")
    protocol = protocol.upper() or "TCP"
    if not colon or not place or not port:
        raise CommandError(_USAGE)
    if protocol not in PROTOCOLS:
        raise CommandError(f"error: {protocol} is no protocol: one of {', '.join(PROTOCOLS)} is")
    if port.isdigit() and not 0 < int(port) < 65536:
        raise CommandError(f"error: {port} is no port: it must be between 1 and 65535")
    return place, port, protocol


def _is_address(word: str) -> bool:
    try:
        ipaddress.ip_address(word)
    except ValueError:
        return False
    return True


def _where(connection: Connection, word: str) -> tuple[str, str, str]:
    """Namespace, kind (`pods` or `services`) and name of `web`, `shop/web`, `svc/db`, `shop/svc/db`."""
    parts = word.split("/")
    kinds = {
        "pod": "pods",
        "pods": "pods",
        "po": "pods",
        "svc": "services",
        "service": "services",
        "services": "services",
    }
    name = parts.pop()
    kind = kinds[parts.pop()] if parts and parts[-1] in kinds else "pods"
    if len(parts) > 1 or not name:
        raise CommandError(f"error: {word} names no Pod: NAME, NAMESPACE/NAME, svc/NAME or an address do")
    return (parts[0] if parts else connection.namespace), kind, name


def _one_end(connection: Connection, word: str, *, six: bool) -> flows.End:
    if _is_address(word):
        return _by_address(connection, word)
    namespace, kind, name = _where(connection, word)
    if kind == "services":
        raise CommandError("error: a Service only answers: name the Pod that speaks")
    pod = connection.json("GET", f"/api/v1/namespaces/{namespace}/pods/{name}")
    addresses = [one["ip"] for one in (pod.get("status") or {}).get("podIPs") or ()]
    return _end(connection, pod, next((one for one in addresses if (":" in one) == six), ""))


def _by_address(connection: Connection, address: str) -> flows.End:
    """The Pod that has the address, in whichever family, or nobody that we know."""
    address = str(ipaddress.ip_address(address))
    # a selector finds Pods by their first address alone
    query: dict[str, str | list[str]] = {} if ":" in address else {"fieldSelector": f"status.podIP={address}"}
    found = connection.json("GET", "/api/v1/pods", query)
    pods = [
        pod
        for pod in found.get("items") or []
        if not pod["spec"].get("hostNetwork") and {"ip": address} in pod.get("status", {}).get("podIPs", ())
    ]
    return _end(connection, pods[0], address) if pods else flows.End(address=address, is_pod=False)


def _end(connection: Connection, pod: Tree, address: str = "") -> flows.End:
    metadata, spec = pod["metadata"], pod["spec"]
    namespace = connection.json("GET", f"/api/v1/namespaces/{metadata['namespace']}")
    ports = [port for container in spec.get("containers") or [] for port in container.get("ports") or []]
    return flows.End(
        address=address or (pod.get("status") or {}).get("podIP", ""),
        namespace=metadata["namespace"],
        name=metadata["name"],
        labels=metadata.get("labels") or {},
        namespace_labels=namespace["metadata"].get("labels") or {},
        named_ports={(p.get("protocol", "TCP"), p["name"]): p["containerPort"] for p in ports if p.get("name")},
        is_pod=not spec.get("hostNetwork"),
    )


def _targets(connection: Connection, word: str, port: str, protocol: str) -> list[tuple[flows.End, int]]:
    """Each end that the word stands for, with its own port. Raises: ApiError, CommandError."""
    if _is_address(word):
        end = _by_address(connection, word)
        return [(end, _number(end, port, protocol))]
    namespace, kind, name = _where(connection, word)
    if kind == "pods":
        end = _end(connection, connection.json("GET", f"/api/v1/namespaces/{namespace}/pods/{name}"))
        return [(end, _number(end, port, protocol))]
    return _behind(connection, namespace, name, port, protocol)


def _number(end: flows.End, port: str, protocol: str) -> int:
    if port.isdigit():
        return int(port)
    found = end.named_ports.get((protocol, port))
    if found is None:
        raise CommandError(f'error: {end} has no port named "{port}" for {protocol}')
    return found


def _behind(connection: Connection, namespace: str, name: str, port: str, protocol: str) -> list[tuple[flows.End, int]]:
    """The Pods behind a Service's port."""
    service = connection.json("GET", f"/api/v1/namespaces/{namespace}/services/{name}")
    ports = service["spec"].get("ports") or []
    wanted = [p for p in ports if port in (str(p["port"]), p.get("name")) and p.get("protocol", "TCP") == protocol]
    if not wanted:
        raise CommandError(f"error: Service {namespace}/{name} has no port {port}/{protocol}")
    query: dict[str, str | list[str]] = {"labelSelector": f"kubernetes.io/service-name={name}"}
    slices = connection.json("GET", f"/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices", query)
    found = []
    # a Pod stands in a slice of each family
    family = (service["spec"].get("ipFamilies") or ["IPv4"])[0]
    for one in slices.get("items") or []:
        if one["addressType"] != family:
            continue
        numbers = [p["port"] for p in one.get("ports") or [] if p.get("name", "") == wanted[0].get("name", "")]
        for endpoint in one.get("endpoints") or []:
            found += [(_by_address(connection, endpoint["addresses"][0]), number) for number in numbers]
    if not found:
        raise CommandError(f"error: no Pod stands behind Service {namespace}/{name}")
    return found


def _policies(connection: Connection) -> list[networking_v1.NetworkPolicy]:
    found = connection.json("GET", "/apis/networking.k8s.io/v1/networkpolicies")
    return [codec.from_tree(networking_v1.NetworkPolicy, item) for item in found.get("items") or []]


def _explain(
    policies: Sequence[networking_v1.NetworkPolicy], source: flows.End, target: flows.End, port: int, protocol: str
) -> bool:
    judgements = flows.judge(policies, source, target, protocol, port)
    allowed = all(one.allowed for one in judgements)
    print(f"{source} -> {target} {port}/{protocol}: {'allowed' if allowed else 'denied'}")
    for judgement, own in zip(judgements, (source, target), strict=True):
        print(f"  {judgement.direction.lower():8} {_said(judgement, own)}")
        for line in () if judgement.allowed else judgement.refusals:
            print(f"             {line}")
    return allowed


def _said(judgement: flows.Judgement, own: flows.End) -> str:
    if not judgement.allowed:
        return f"denied   policies select {own}, and none of their rules allows it:"
    if judgement.policy:
        rule = f"{judgement.direction.lower()}[{judgement.rule}]"
        return f"allowed  by NetworkPolicy {own.namespace}/{judgement.policy} {rule}"
    return f"allowed  no NetworkPolicy selects {own} for {judgement.direction.lower()}"
