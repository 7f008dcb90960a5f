"""Services of each type, and ingresses.

Source: kubectl pkg/cmd/create/create_service.go, create_ingress.go.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from carob.cli.creators.base import add_create_flags, create, the_name
from carob.cli.errors import CommandError

if TYPE_CHECKING:
    from carob.cli.flags import Arguments, Flags

VERBS = {
    "clusterip": ("creators.services:ClusterIP", "Create a ClusterIP service"),
    "nodeport": ("creators.services:NodePort", "Create a NodePort service"),
    "loadbalancer": ("creators.services:LoadBalancer", "Create a LoadBalancer service"),
    "externalname": ("creators.services:ExternalName", "Create an ExternalName service"),
}


def _ports(arguments: Arguments, node_port: int = 0) -> list[dict[str, Any]]:
    """Raises: CommandError."""
    ports = []
    for text in arguments.tcp:
        port, target = _pair(text)
        one: dict[str, Any] = {"name": text.replace(":", "-"), "protocol": "TCP", "port": port, "targetPort": target}
        if node_port:
            one["nodePort"] = node_port
        ports.append(one)
    return ports


def _pair(text: str) -> tuple[int, int | str]:
    first, colon, second = text.partition(":")
    try:
        port = int(first)
    except ValueError:
        port = -1
    if port < 0 or port > 65535 or not first.isascii() or not first.strip("+-").isdigit():
        raise CommandError(_not_a_port(first))
    if not colon:
        return port, port
    if second.isascii() and second.isdigit():
        if not 0 < int(second) < 65536:
            raise CommandError("error: must be between 1 and 65535, inclusive")
        return port, int(second)
    if not re.fullmatch(r"(?=.*[a-z])(?!.*--)[a-z0-9]([-a-z0-9]{0,13}[a-z0-9])?", second):
        raise CommandError(f"error: {_port_name_words(second)}")
    return port, second


def _not_a_port(text: str) -> str:
    if re.fullmatch(r"[-+]?[0-9]+", text):
        return f'error: strconv.ParseUint: parsing "{text}": value out of range'
    return f'error: strconv.ParseUint: parsing "{text}": invalid syntax'


def _port_name_words(text: str) -> str:
    from carob.api.validation.names import port_name

    return ",".join(port_name(text))


def _service(name: str, kind: str, ports: list[dict[str, Any]], **spec: Any) -> dict[str, Any]:
    labels = {"app": name}
    full: dict[str, Any] = {"type": kind}
    if ports:
        full["ports"] = ports
    return {
        "kind": "Service",
        "apiVersion": "v1",
        "metadata": {"name": name, "labels": labels},
        "spec": {**full, "selector": labels, **spec},
        "status": {"loadBalancer": {}},
    }


def _add_flags(flags: Flags, usage: str) -> None:
    flags.usage = usage
    flags.csv("tcp", meta="PORT:TARGET", help="a port and the container's port; may be repeated")
    add_create_flags(flags)


def _need_ports(arguments: Arguments) -> None:
    if not arguments.tcp:
        raise CommandError("error: at least one tcp port specifier must be provided")


class ClusterIP:
    """Create a ClusterIP service with the specified name.

    Examples:
      carob create service clusterip web --tcp=80:8080
      carob create service clusterip web --clusterip=None
    """

    @staticmethod
    def add_flags(flags: Flags) -> None:
        flags.text("clusterip", meta="ADDRESS", help="the address, or None for a headless service")
        _add_flags(flags, "NAME [--tcp=PORT:TARGET] [flags]")

    @staticmethod
    def run(arguments: Arguments) -> int:
        name = the_name(arguments, "service clusterip")
        if arguments.clusterip == "None" and not arguments.tcp:
            return create(arguments, _service(name, "ClusterIP", [], clusterIP="None"))
        _need_ports(arguments)
        more = {"clusterIP": arguments.clusterip} if arguments.clusterip else {}
        return create(arguments, _service(name, "ClusterIP", _ports(arguments), **more))


class NodePort:
    """Create a NodePort service with the specified name.

    Examples:
      carob create service nodeport web --tcp=80:8080 --node-port=30080
    """

    @staticmethod
    def add_flags(flags: Flags) -> None:
        flags.number("node-port", meta="PORT", help="the port on every node")
        _add_flags(flags, "NAME [--tcp=PORT:TARGET] [flags]")

    @staticmethod
    def run(arguments: Arguments) -> int:
        name = the_name(arguments, "service nodeport")
        _need_ports(arguments)
        return create(arguments, _service(name, "NodePort", _ports(arguments, arguments.node_port)))


class LoadBalancer:
    """Create a LoadBalancer service with the specified name.

    Examples:
      carob create service loadbalancer web --tcp=80:8080
    """

    @staticmethod
    def add_flags(flags: Flags) -> None:
        _add_flags(flags, "NAME [--tcp=PORT:TARGET] [flags]")

    @staticmethod
    def run(arguments: Arguments) -> int:
        name = the_name(arguments, "service loadbalancer")
        _need_ports(arguments)
        return create(arguments, _service(name, "LoadBalancer", _ports(arguments)))


class ExternalName:
    """Create an ExternalName service: a name in the DNS for something outside of the cluster.

    Examples:
      carob create service externalname db --external-name=db.example.com
    """

    @staticmethod
    def add_flags(flags: Flags) -> None:
        flags.text("external-name", meta="NAME", help="the name that it stands for")
        _add_flags(flags, "NAME --external-name=NAME [--tcp=PORT:TARGET] [flags]")

    @staticmethod
    def run(arguments: Arguments) -> int:
        if "external-name" not in arguments.changed:
            raise CommandError('error: required flag(s) "external-name" not set')
        name = the_name(arguments, "service externalname")
        _check_external_name(arguments.external_name)
        tree = _service(name, "ExternalName", _ports(arguments), externalName=arguments.external_name)
        return create(arguments, tree)


def _check_external_name(name: str) -> None:
    from carob.api.validation.names import dns_subdomain

    if dns_subdomain(name):
        raise CommandError(f"error: invalid service external name {name}")


_RULE = re.compile(
    r"(?P<host>[\w*\-.]*)(?P<path>/.*)=(?P<service>[\w\-]+):(?P<port>[\w\-]+)(?P<tls>,(tls=(?P<secret>[\w\-]*))?)?",
    re.ASCII,
)
_BACKEND = re.compile(r"(?P<service>[\w\-]+):(?P<port>[\w\-]+)", re.ASCII)


class Ingress:
    """Create an ingress with the specified name.

    Examples:
      carob create ingress web --rule="example.com/=web:80"
      carob create ingress web --class=nginx --rule="example.com/api*=api:http,tls=cert" --default-backend=web:80
    """

    @staticmethod
    def add_flags(flags: Flags) -> None:
        flags.usage = "NAME --rule=host/path=service:port[,tls[=secret]] [flags]"
        flags.text("class", meta="CLASS", help="the ingress class")
        flags.texts("rule", meta="RULE", help="host/path=service:port[,tls[=secret]]; may be repeated")
        flags.text("default-backend", meta="SERVICE:PORT", help="who answers what no rule is about")
        flags.texts("annotation", meta="KEY=VALUE", help="an annotation; may be repeated")
        add_create_flags(flags)

    @staticmethod
    def run(arguments: Arguments) -> int:
        name = the_name(arguments, "ingress")
        _check_ingress(arguments)
        metadata: dict[str, Any] = {"name": name}
        if arguments.annotation:
            metadata["annotations"] = dict(text.split("=", 1) for text in arguments.annotation)
        spec: dict[str, Any] = {}
        if arguments.__dict__["class"]:
            spec["ingressClassName"] = arguments.__dict__["class"]
        if arguments.default_backend:
            found = _BACKEND.fullmatch(arguments.default_backend)
            assert found is not None
            spec["defaultBackend"] = _backend(found)
        rules = [found for text in arguments.rule if (found := _RULE.match(text))]
        if tls := _tls(rules):
            spec["tls"] = tls
        if rules:
            spec["rules"] = _ingress_rules(rules)
        tree = {
            "kind": "Ingress",
            "apiVersion": "networking.k8s.io/v1",
            "metadata": metadata,
            "spec": spec,
            "status": {"loadBalancer": {}},
        }
        return create(arguments, tree)


def _check_ingress(arguments: Arguments) -> None:
    if not arguments.default_backend and not arguments.rule:
        raise CommandError(
            "error: not enough information provided: every ingress has to either specify a default-backend (which "
            "catches all traffic) or a list of rules (which catch specific paths)"
        )
    for text in arguments.rule:
        if not _RULE.match(text):
            raise CommandError(
                f"error: rule {text} is invalid and should be in format host/path=svcname:svcport[,tls[=secret]]"
            )
    for text in arguments.annotation:
        if len(text.split("=", 1)) != 2:
            raise CommandError(f"error: annotation {text} is invalid and should be in format key=[value]")
    if arguments.default_backend and not _BACKEND.fullmatch(arguments.default_backend):
        raise CommandError("error: default-backend should be in format servicename:serviceport")


def _backend(found: re.Match[str]) -> dict[str, Any]:
    port: dict[str, Any] = {"name": found["port"]}
    if found["port"].isdigit():
        port = {"number": int(found["port"])}
    return {"service": {"name": found["service"], "port": port}}


def _tls(rules: list[re.Match[str]]) -> list[dict[str, Any]]:
    tls: list[dict[str, Any]] = []
    seen: set[str] = set()
    for rule in rules:
        if not rule["tls"]:
            continue
        one: dict[str, Any] = {}
        if rule["secret"]:
            one["secretName"] = rule["secret"]
        if not rule["host"]:
            tls.append(one)
        elif rule["host"] not in seen:
            tls.append({"hosts": [rule["host"]], **one})
            seen.add(rule["host"])
    return tls


def _ingress_rules(rules: list[re.Match[str]]) -> list[dict[str, Any]]:
    by_host: dict[str, list[dict[str, Any]]] = {}
    for rule in rules:
        path, kind = rule["path"], "Exact"
        if path.endswith("*"):
            path, kind = path[:-1], "Prefix"
        by_host.setdefault(rule["host"], []).append({"path": path, "pathType": kind, "backend": _backend(rule)})
    return [({"host": host} if host else {}) | {"http": {"paths": paths}} for host, paths in by_host.items()]
