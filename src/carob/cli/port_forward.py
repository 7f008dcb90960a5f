"""Forward one or more local ports to a pod, until Ctrl-C or until the Pod ends.

Examples:
  carob port-forward hello-pod 8080                # 127.0.0.1:8080 is the Pod's 8080
  carob port-forward pod/hello-pod 5000:8080 :80   # 5000 to 8080; any free port to 80
  carob port-forward svc/web 8443:https
  carob port-forward --address 0.0.0.0 hello-pod 8080
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from carob.api.status import ApiError
from carob.cli.connection import add_connection_flags, connect
from carob.cli.errors import CommandError
from carob.cli.failures import server_error
from carob.cli.pods import get_pod, pod_of

if TYPE_CHECKING:
    from carob.cli.connection import Connection
    from carob.cli.flags import Arguments, Flags
    from carob.cli.pods import Tree


def add_flags(flags: Flags) -> None:
    """kubectl port-forward's flags."""
    flags.usage = "TYPE/NAME [LOCAL_PORT:]REMOTE_PORT [...] [flags]"
    flags.csv("address", meta="IP,...", help="addresses to listen on (default: localhost)")
    flags.duration("pod-running-timeout", default=60.0, help="how long to wait until a Pod runs")
    add_connection_flags(flags)


def run(arguments: Arguments) -> int:
    """Listen and forward."""
    if len(arguments.words) < 2:
        raise CommandError(
            "error: TYPE/NAME and list of ports are required for port-forward\n"
            "See 'carob port-forward -h' for help and examples"
        )
    connection = connect(arguments)
    try:
        return _forward(connection, arguments)
    except ApiError as error:
        raise server_error(error) from error
    finally:
        connection.close()


def _forward(connection: Connection, arguments: Arguments) -> int:
    from carob.cli.forwarder import Forwarder, listen_addresses, parse_ports
    from carob.cli.upgrade import upgrade
    from carob.wire.portforward import TUNNEL_PROTOCOL

    word, texts = arguments.words[0], arguments.words[1:]
    pod = pod_of(connection, word, arguments.pod_running_timeout)
    service = _service_of(connection, word)
    ports = [_translated(text, pod, service) for text in texts]
    name = pod["metadata"]["name"]
    phase = (get_pod(connection, name).get("status") or {}).get("phase")
    if phase != "Running":
        raise CommandError(f"error: unable to forward port because pod is not running. Current status={phase}")
    addresses = listen_addresses(arguments.address or ["localhost"])
    pairs = parse_ports(ports)
    connection.close()
    path = f"/api/v1/namespaces/{connection.namespace}/pods/{name}/portforward"
    try:
        sock, early = upgrade(connection, path, None, TUNNEL_PROTOCOL)
    except CommandError as error:
        text = str(error).removeprefix("error: ")
        raise CommandError(f"error: error upgrading connection: {text}") from error
    forwarder = Forwarder(sock, early)
    try:
        forwarder.listen(addresses, pairs)
        sys.stdout.flush()
        forwarder.run()
    except KeyboardInterrupt:
        return 0
    finally:
        forwarder.close()
    return 0


def _service_of(connection: Connection, word: str) -> Tree | None:
    kind, slash, name = word.partition("/")
    if not slash or kind.lower() not in ("svc", "service", "services"):
        return None
    tree: Tree = connection.json("GET", f"/api/v1/namespaces/{connection.namespace}/services/{name}")
    return tree


def _translated(text: str, pod: Tree, service: Tree | None) -> str:
    """`8443:https` with the number of the Pod's port instead of a name or of the Service's port."""
    parts = text.split(":")
    if len(parts) > 2:
        return _translated(parts[0], pod, service)  # as kubectl takes it
    local, remote = parts[0], parts[-1]
    if not remote:
        raise CommandError("error: remote port cannot be empty")
    if service is not None:
        port = _service_port(service, remote)
        if not remote.isdigit() and local == remote:
            local = str(port["port"])
        number = _target(service, port, pod)
    elif remote.lstrip("+-").isdigit():
        return text
    else:
        number = _container_port(pod, remote)
        if local == remote:
            local = str(number)
    _refuse_udp(remote, number, pod if service is None else None, service)
    return f"{local}:{number}" if local != str(number) else str(number)


def _service_port(service: Tree, remote: str) -> dict[str, Any]:
    name = service["metadata"]["name"]
    for port in service["spec"].get("ports") or []:
        if remote in (port.get("name"), str(port["port"])):
            found: dict[str, Any] = port
            return found
    if remote.isdigit():
        raise CommandError(f"error: Service {name} does not have a service port {remote}")
    raise CommandError(f"error: Service '{name}' does not have a named port '{remote}'")


def _target(service: Tree, port: dict[str, Any], pod: Tree) -> int:
    target = port.get("targetPort") or port["port"]
    if service["spec"].get("clusterIP") == "None":
        return int(port["port"])
    return int(target) if isinstance(target, int) else _container_port(pod, target)


def _container_port(pod: Tree, name: str) -> int:
    for container in pod["spec"]["containers"]:
        for port in container.get("ports") or []:
            if port.get("name") == name:
                return int(port["containerPort"])
    raise CommandError(f"error: Pod '{pod['metadata']['name']}' does not have a named port '{name}'")


def _refuse_udp(remote: str, number: int, pod: Tree | None, service: Tree | None) -> None:
    ports = (service or {}).get("spec", {}).get("ports") or []
    protocols = {p.get("protocol", "TCP") for p in ports if remote in (p.get("name"), str(p.get("port")))}
    for container in (pod or {}).get("spec", {}).get("containers") or []:
        protocols |= {p.get("protocol", "TCP") for p in container.get("ports") or [] if p["containerPort"] == number}
    if protocols == {"UDP"}:
        raise CommandError(f"error: UDP protocol is not supported for {remote}")
