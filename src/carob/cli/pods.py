"""The Pod and the container that `POD`, `TYPE/NAME` and `-c` mean.

Source: kubectl pkg/polymorphichelpers (attachablepodforobject, logsforobject), pkg/util/podcmd.
"""

from __future__ import annotations

import json
import sys
import time

from carob.cli.errors import CommandError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from carob.cli.connection import Connection

    Tree = dict[str, Any]

DEFAULT_CONTAINER = "kubectl.kubernetes.io/default-container"
_FIELDS = ("initContainers", "containers", "ephemeralContainers")
# kinds whose Pods are found through spec.selector
SELECTING = ("Deployment", "ReplicaSet", "StatefulSet", "DaemonSet", "Job", "ReplicationController", "Service")


def pod_of(connection: Connection, word: str, timeout_seconds: float = 0.0) -> Tree:
    """The Pod that `pod`, `pod/name` or `deployment/name` means. Raises: ApiError, CommandError."""
    if "/" not in word:
        return get_pod(connection, word)
    from carob.cli.selection import Selection

    selected = Selection(connection).parse([word])[0]
    if selected.resource.kind == "Pod" and not selected.resource.group:
        return get_pod(connection, str(selected.name))
    path = selected.resource.path(connection.namespace if selected.resource.namespaced else None, selected.name)
    tree = connection.json("GET", path)
    if selected.resource.kind not in SELECTING:
        go = f"*{selected.resource.version}.{selected.resource.kind}"
        raise CommandError(f"error: cannot attach to {go}: selector for {go} not implemented")
    need_selector(tree, "cannot attach to")
    found = matching(connection, tree, timeout_seconds)
    if not found:
        raise CommandError("error: timed out waiting for the condition")
    return found[0]


def get_pod(connection: Connection, name: str) -> Tree:
    """Raises: ApiError."""
    tree: Tree = connection.json("GET", f"/api/v1/namespaces/{connection.namespace}/pods/{name}")
    return tree


def need_selector(tree: Tree, what: str) -> None:
    """Raises: CommandError for a Service that selects nothing, not for one that selects everything."""
    if tree["kind"] == "Service" and not (tree.get("spec") or {}).get("selector"):
        name = tree["metadata"]["name"]
        raise CommandError(
            f"error: {what} *v1.Service: invalid service '{name}': Service is defined without a selector"
        )


def selector_of(tree: Tree) -> str:
    """The label selector of an object that selects Pods, as a query takes it."""
    selector = (tree.get("spec") or {}).get("selector") or {}
    labels = selector.get("matchLabels", selector if "matchExpressions" not in selector else {})
    parts = [(k, f"{k}={labels[k]}") for k in labels]
    for e in selector.get("matchExpressions") or []:
        if not isinstance(e, dict):
            continue
        values = ",".join(sorted(e.get("values") or []))
        operator = {"In": f"{e['key']} in ({values})", "NotIn": f"{e['key']} notin ({values})"}
        parts.append((e["key"], operator.get(e["operator"], e["key"] if e["operator"] == "Exists" else f"!{e['key']}")))
    return ",".join(text for _, text in sorted(parts, key=lambda part: part[0]))


def pods_of(connection: Connection, tree: Tree) -> list[Tree]:
    """The Pods that an object selects, in kubectl's order for logs: those that run longest first."""
    found = connection.json(
        "GET", f"/api/v1/namespaces/{connection.namespace}/pods", {"labelSelector": selector_of(tree)}
    )
    return sorted(found.get("items") or [], key=_activity)


def _activity(pod: Tree) -> tuple[bool, int, bool, str]:
    """Bound, running, ready and older Pods first."""
    status = pod.get("status") or {}
    phase = {"Running": 0, "Unknown": 1, "Pending": 1}.get(status.get("phase", ""), 2)
    ready = any(c.get("type") == "Ready" and c.get("status") == "True" for c in status.get("conditions") or [])
    return (not pod["spec"].get("nodeName"), phase, not ready, pod["metadata"].get("creationTimestamp", ""))


def matching(connection: Connection, tree: Tree, timeout_seconds: float) -> list[Tree]:
    """`pods_of`, once there is one; empty when the time was over."""
    deadline = time.monotonic() + timeout_seconds
    while True:
        found = pods_of(connection, tree)
        if found or time.monotonic() >= deadline:
            return found
        query = {"labelSelector": selector_of(tree), "watch": "true", "timeoutSeconds": str(int(timeout_seconds) + 1)}
        next(connection.lines(f"/api/v1/namespaces/{connection.namespace}/pods", query), None)


def container_names(pod: Tree) -> list[str]:
    """All of the Pod's containers."""
    return [c["name"] for field in _FIELDS for c in pod["spec"].get(field) or []]


def container_spec(pod: Tree, name: str) -> Tree | None:
    """The container of this name."""
    return next((c for field in _FIELDS for c in pod["spec"].get(field) or [] if c["name"] == name), None)


def find_container(pod: Tree, name: str, *, quiet: bool = False) -> str:
    """`name`, or the default one; says which, where there are several. Raises: CommandError for a name that is none."""
    if not name:
        return default_container(pod, quiet=quiet)
    if name not in container_names(pod):
        raise CommandError(
            f"error: container {name} is not valid for pod {pod['metadata']['name']} out of: {shown_containers(pod)}"
        )
    return name


def shown_containers(pod: Tree) -> str:
    """`web, sync, debug (ephem), prep (init)`."""
    spec = pod["spec"]
    names = [c["name"] for c in spec["containers"]]
    names += [f"{c['name']} (ephem)" for c in spec.get("ephemeralContainers") or []]
    names += [f"{c['name']} (init)" for c in spec.get("initContainers") or []]
    return ", ".join(names)


def default_container(pod: Tree, *, quiet: bool = False) -> str:
    """The container that is meant when none is named: the annotated one, else the first; says so if there are several."""
    spec = pod["spec"]
    annotated = (pod["metadata"].get("annotations") or {}).get(DEFAULT_CONTAINER, "")
    if annotated in container_names(pod):
        return str(annotated)
    first = str(spec["containers"][0]["name"])
    if len(container_names(pod)) > 1 and not quiet:
        print(f'Defaulted container "{first}" out of: {shown_containers(pod)}', file=sys.stderr)
    return first


def wait_for_pod(
    connection: Connection, name: str, holds: Callable[[Tree], bool], timeout_seconds: float
) -> Tree | None:
    """The Pod once `holds`; None when the time was over. Raises: ApiError, CommandError when it was deleted."""
    path = f"/api/v1/namespaces/{connection.namespace}/pods"
    deadline = time.monotonic() + timeout_seconds
    while (left := deadline - time.monotonic()) > 0:
        pod = get_pod(connection, name)
        if holds(pod):
            return pod
        for event in _events(connection, path, name, pod["metadata"]["resourceVersion"], left):
            if event["type"] == "DELETED":
                raise CommandError(f"error: pod {name} was deleted")
            if event["type"] not in ("ADDED", "MODIFIED"):
                break
            tree: Tree = event["object"]
            if holds(tree):
                return tree
    return None


def _events(connection: Connection, path: str, name: str, version: str, left: float) -> Iterator[Tree]:
    query: dict[str, str | list[str]] = {
        "watch": "true",
        "fieldSelector": f"metadata.name={name}",
        "resourceVersion": version,
        "timeoutSeconds": str(max(1, int(left))),
    }
    for line in connection.lines(path, query):
        yield json.loads(line)
