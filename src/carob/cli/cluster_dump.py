"""Dump what runs: the nodes, and of each namespace its workloads, Services, events and logs, for somebody else to look at.

Examples:
  carob cluster-info dump
  carob cluster-info dump -A --output-directory=/tmp/state
  carob cluster-info dump --namespaces default,kube-system -o yaml

Source: kubectl `pkg/cmd/clusterinfo/clusterinfo_dump.go`.
Differs: fields stand in the server's order.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from carob.api.status import ApiError
from carob.cli.connection import Connection, add_connection_flags, connect
from carob.cli.errors import CommandError
from carob.cli.failures import server_error
from carob.cli.printers.structured import to_json, to_yaml, without_managed_fields

if TYPE_CHECKING:
    from carob.cli.flags import Arguments, Flags

_STDOUT = ("", "-")
_SUFFIXES = {"json": "json", "yaml": "yaml"}
# what of a namespace is dumped: file, API version, kind, plural
_KINDS = (
    ("events", "v1", "Event", "events"),
    ("replication-controllers", "v1", "ReplicationController", "replicationcontrollers"),
    ("services", "v1", "Service", "services"),
    ("daemonsets", "apps/v1", "DaemonSet", "daemonsets"),
    ("deployments", "apps/v1", "Deployment", "deployments"),
    ("replicasets", "apps/v1", "ReplicaSet", "replicasets"),
    ("pods", "v1", "Pod", "pods"),
)


def add_flags(flags: Flags) -> None:
    """kubectl cluster-info dump's flags."""
    flags.switch("all-namespaces", "A", help="dump all namespaces")
    flags.csv("namespaces", meta="NAME,...", help="which namespaces (default: the current one and kube-system)")
    flags.text("output-directory", meta="DIR", help="into files there; empty or -: to standard output")
    flags.text("output", "o", default="json", meta="FORMAT", help="json or yaml")
    flags.duration("pod-running-timeout", default=20.0)
    flags.switch("show-managed-fields")
    add_connection_flags(flags)


def run(arguments: Arguments) -> int:
    """Dump."""
    if arguments.output not in _SUFFIXES:
        raise CommandError(
            f'error: unable to match a printer suitable for the output format "{arguments.output}", '
            "allowed formats are: json,yaml"
        )
    connection = connect(arguments)
    try:
        Dump(connection, arguments).run()
    except ApiError as error:
        raise server_error(error) from error
    finally:
        connection.close()
    if arguments.output_directory not in _STDOUT:
        print(f"Cluster info dumped to {arguments.output_directory}")
    return 0


class Dump:
    """One dump over a connection."""

    def __init__(self, connection: Connection, arguments: Arguments) -> None:
        self._connection = connection
        self._arguments = arguments
        self._suffix = _SUFFIXES[arguments.output]
        self._separator = ""
        self._folder = None if arguments.output_directory in _STDOUT else Path(arguments.output_directory)

    def run(self) -> None:
        self._kind("/api/v1/nodes", "v1", "Node", f"nodes.{self._suffix}")
        for namespace in self._namespaces():
            pods: list[Any] = []
            for file, version, kind, plural in _KINDS:
                root = f"/apis/{version}" if "/" in version else f"/api/{version}"
                path = f"{root}/namespaces/{namespace}/{plural}"
                found = self._kind(path, version, kind, f"{namespace}/{file}.{self._suffix}")
                pods = found if kind == "Pod" else pods
            for pod in pods:
                self._logs(namespace, pod)

    def _namespaces(self) -> list[str]:
        arguments = self._arguments
        if arguments.all_namespaces:
            found = self._connection.json("GET", "/api/v1/namespaces").get("items") or []
            return [one["metadata"]["name"] for one in found]
        return arguments.namespaces or ["kube-system", self._connection.namespace]

    def _kind(self, path: str, version: str, kind: str, file: str) -> list[Any]:
        """The objects of a kind, which are written."""
        answer = self._connection.json("GET", path)
        items = answer.get("items") or []
        tree = {"kind": f"{kind}List", "apiVersion": version, "metadata": answer.get("metadata", {}), "items": items}
        if not self._arguments.show_managed_fields:
            without_managed_fields(tree)
        # as Go writes a list that was never filled
        tree["items"] = items or None
        self._write(file, to_json(tree, sort=False) if self._suffix == "json" else self._separator + to_yaml(tree))
        self._separator = "---\n"
        return items

    def _logs(self, namespace: str, pod: Any) -> None:
        name, spec = pod["metadata"]["name"], pod["spec"]
        containers = [one["name"] for one in (*spec.get("initContainers", ()), *spec["containers"])]
        text = "".join(self._log(namespace, name, container) for container in containers)
        self._write(f"{namespace}/{name}/logs.txt", text)

    def _log(self, namespace: str, pod: str, container: str) -> str:
        where = f"logs for container {container} of pod {namespace}/{pod}"
        path = f"/api/v1/namespaces/{namespace}/pods/{pod}/log"
        response: Any = self._connection.open("GET", path, {"container": container})
        data: bytes = response.read()
        if response.status >= 400:
            data = f"Request log error: {ApiError.from_body(response.status, data).message}\n".encode()
        return f"==== START {where} ====\n{data.decode('utf-8', 'replace')}==== END {where} ====\n"

    def _write(self, file: str, text: str) -> None:
        if self._folder is None:
            sys.stdout.write(text)
            return
        place = self._folder / file
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(text)
        except OSError as error:
            raise CommandError(f"error: {error}") from error
