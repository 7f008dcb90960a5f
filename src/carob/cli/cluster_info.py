"""Display addresses of the control plane and services with label kubernetes.io/cluster-service=true.

Examples:
  carob cluster-info
  carob cluster-info dump
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from carob.api.status import ApiError
from carob.cli.connection import add_connection_flags, connect
from carob.cli.failures import server_error

if TYPE_CHECKING:
    from typing import Any

    from carob.cli.flags import Arguments, Flags

VERBS = {"dump": ("cluster_dump", "everything that tells how the cluster is, with the logs of its Pods")}

_GREEN, _YELLOW, _PLAIN = "\x1b[0;32m", "\x1b[0;33m", "\x1b[0m"
_SELECTOR = "kubernetes.io/cluster-service=true"


def add_flags(flags: Flags) -> None:
    """kubectl cluster-info's flags."""
    add_connection_flags(flags)


def run(arguments: Arguments) -> int:
    """Print where the parts of the cluster answer."""
    connection = connect(arguments)
    server = connection.endpoint.server
    namespace = arguments.namespace or "kube-system"
    try:
        query: dict[str, str | list[str]] = {"labelSelector": _SELECTOR, "limit": "500"}
        found = connection.json("GET", f"/api/v1/namespaces/{namespace}/services", query).get("items") or []
    except ApiError as error:
        raise server_error(error) from error
    finally:
        connection.close()
    _line("Kubernetes control plane", server)
    for service in found:
        metadata = service["metadata"]
        _line(metadata.get("labels", {}).get("kubernetes.io/name") or metadata["name"], _address(server, service))
    print("\nTo further debug and diagnose cluster problems, use 'carob cluster-info dump'.")
    return 0


def _line(name: str, address: str) -> None:
    if sys.stdout.isatty():
        name, address = f"{_GREEN}{name}{_PLAIN}", f"{_YELLOW}{address}{_PLAIN}"
    print(f"{name} is running at {address}")


def _address(server: str, service: dict[str, Any]) -> str:
    """A load balancer's own address, else the way through the API server."""
    metadata, spec = service["metadata"], service["spec"]
    ingress = (service.get("status") or {}).get("loadBalancer", {}).get("ingress") or []
    ports = spec.get("ports") or []
    if ingress:
        host = ingress[0].get("ip") or ingress[0].get("hostname") or ""
        return "".join(f"http://{host}:{port['port']} " for port in ports)
    name = metadata["name"]
    if ports:
        port = ports[0]
        scheme = "https:" if port.get("port") == 443 or port.get("name") == "https" else ""
        name = f"{scheme}{name}:{port['name']}" if port.get("name") else (f"{scheme}{name}:" if scheme else name)
    return f"{server}/api/v1/namespaces/{metadata['namespace']}/services/{name}/proxy"
