"""Make a Service for a pod, service, deployment, replica set or replication controller.

Examples:
  carob expose pod hello-pod --port=80 --target-port=8080
  carob expose deployment web --port=80 --type=NodePort
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from carob.api.status import ApiError
from carob.cli.connection import add_connection_flags, connect
from carob.cli.errors import CommandError
from carob.cli.failures import server_error
from carob.cli.results import ResultPrinter, add_dry_run_flag, add_output_flags
from carob.cli.targets import add_target_flags, fetch, targets_of

if TYPE_CHECKING:
    from carob.cli.connection import Connection
    from carob.cli.flags import Arguments, Flags

KINDS = ("Pod", "Service", "Deployment", "ReplicaSet", "ReplicationController")
MAX_NAME = 63


def add_flags(flags: Flags) -> None:
    """kubectl expose's flags."""
    flags.usage = "(-f FILE | TYPE NAME) [--port=PORT] [--target-port=PORT] [flags]"
    flags.text("port", meta="PORT", help="the Service's port (default: those of the object)")
    flags.text("target-port", meta="PORT", help="number or name of the Pods' port (default: --port)")
    flags.text("protocol", meta="PROTOCOL", help="TCP, UDP or SCTP (default: TCP)")
    flags.text("name", meta="NAME", help="the Service's name (default: the object's)")
    flags.text("type", meta="TYPE", help="ClusterIP, NodePort, LoadBalancer or ExternalName")
    flags.text("cluster-ip", meta="IP", help="the Service's address, or None")
    flags.text("external-ip", meta="IP", help="an address from outside that leads to the nodes")
    flags.text("load-balancer-ip", meta="IP", help="the load balancer's address")
    flags.text("session-affinity", meta="HOW", help="None or ClientIP")
    flags.text("selector", meta="A=B,...", help="which Pods (default: those of the object)")
    flags.text("labels", "l", meta="A=B,...", help="the Service's labels (default: the object's)")
    flags.text("overrides", meta="JSON", help="merged into the Service")
    flags.text("override-type", default="merge", meta="TYPE", help="json, merge or strategic")
    flags.text("field-manager", default="kubectl-expose")
    flags.switch("save-config")
    add_target_flags(flags, selectors=False)
    add_dry_run_flag(flags)
    add_output_flags(flags)
    add_connection_flags(flags)


def run(arguments: Arguments) -> int:
    """Make a Service for each."""
    # --selector is the Service's here, not a choice of objects
    selector, arguments.selector = arguments.selector, ""
    connection = connect(arguments)
    try:
        printer = ResultPrinter(arguments)
        for target in targets_of(connection, arguments):
            if target.resource.kind not in KINDS:
                raise CommandError(f"error: cannot expose a {target.resource.group_kind}")
            tree = fetch(connection, target)
            printer.show(
                _made(connection, arguments, printer, _service(tree, arguments, selector)), "exposed", typed=True
            )
            sys.stdout.flush()
        return 0
    except ApiError as error:
        raise server_error(error) from error
    finally:
        connection.close()


def _made(
    connection: Connection, arguments: Arguments, printer: ResultPrinter, service: dict[str, Any]
) -> dict[str, Any]:
    if arguments.overrides:
        from carob.cli.patch import apply_locally, parse_patch

        service = apply_locally(service, parse_patch(arguments.overrides), arguments.override_type)
    if printer.dry_run == "client":
        return service
    query: dict[str, str | list[str]] = {"fieldManager": arguments.field_manager}
    if printer.dry_run == "server":
        query["dryRun"] = "All"
    made: dict[str, Any] = connection.json(
        "POST", f"/api/v1/namespaces/{connection.namespace}/services", query, service
    )
    return made


def _service(tree: dict[str, Any], arguments: Arguments, selector: str) -> dict[str, Any]:
    chosen = _pairs(selector) or _selector(tree)
    spec: dict[str, Any] = {"ports": _ports(tree, arguments), "selector": chosen}
    for flag, field in (
        ("type", "type"),
        ("cluster_ip", "clusterIP"),
        ("load_balancer_ip", "loadBalancerIP"),
        ("session_affinity", "sessionAffinity"),
    ):
        if getattr(arguments, flag):
            spec[field] = getattr(arguments, flag)
    if arguments.external_ip:
        spec["externalIPs"] = [arguments.external_ip]
    labels = _pairs(arguments.labels) or tree["metadata"].get("labels") or {}
    metadata: dict[str, Any] = {"name": arguments.name or tree["metadata"]["name"][:MAX_NAME]}
    if labels:
        metadata["labels"] = labels
    if "namespace" in arguments.changed:
        metadata["namespace"] = arguments.namespace
    return {"kind": "Service", "apiVersion": "v1", "metadata": metadata, "spec": spec, "status": {"loadBalancer": {}}}


def _pairs(text: str) -> dict[str, str]:
    return dict(part.partition("=")[::2] for part in text.split(",")) if text else {}


def _selector(tree: dict[str, Any]) -> dict[str, str]:
    if tree["kind"] == "Pod":
        found = tree["metadata"].get("labels")
        why = "the pod has no labels and cannot be exposed"
    else:
        found = (tree.get("spec") or {}).get("selector") or {}
        why = f"the {tree['kind'].lower()} has no pod selector set"
        if "matchLabels" in found or "matchExpressions" in found:
            if found.get("matchExpressions"):
                shown = (
                    f'error: couldn\'t convert expressions - "{found["matchExpressions"]}" to map-based selector format'
                )
                raise CommandError(shown)
            found = found.get("matchLabels")
    if not found:
        raise CommandError(f"error: couldn't retrieve selectors via --selector flag or introspection: {why}")
    return dict(found)


def _ports(tree: dict[str, Any], arguments: Arguments) -> list[dict[str, Any]]:
    protocols: dict[str, str] = {}
    if tree["kind"] == "Service":
        declared = (tree.get("spec") or {}).get("ports") or []
        numbers = [(str(p["port"]), p.get("protocol", "TCP")) for p in declared]
    else:
        pod = tree if tree["kind"] == "Pod" else tree["spec"]["template"]
        declared = [p for c in pod["spec"]["containers"] for p in c.get("ports") or []]
        numbers = [(str(p["containerPort"]), p.get("protocol", "TCP")) for p in declared]
    if not arguments.port and not numbers:
        raise CommandError(
            "error: couldn't find port via --port flag or introspection\nSee 'carob expose -h' for help and examples"
        )
    protocols = dict(numbers)
    wanted = arguments.port.split(",") if arguments.port else list(dict.fromkeys(n for n, _ in numbers))
    ports = []
    for index, number in enumerate(wanted):
        if not number.isdigit():
            raise CommandError(f'error: strconv.Atoi: parsing "{number}": invalid syntax')
        target = arguments.target_port or number
        port: dict[str, Any] = {
            "protocol": arguments.protocol or protocols.get(number, "TCP"),
            "port": int(number),
            "targetPort": int(target) if target.isdigit() else target,
        }
        if len(wanted) > 1:
            port = {"name": f"port-{index + 1}", **port}
        ports.append(port)
    return ports
