"""Show details of a specific resource or group of resources, with the events that concern it.

Examples:
  carob describe pod hello-pod
  carob describe node
  carob describe pods -l app=web
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from carob.api.status import ApiError
from carob.cli.connection import Connection, add_connection_flags, connect
from carob.cli.errors import CommandError
from carob.cli.failures import server_error
from carob.cli.selection import Selected, Selection, get_object
from carob.cli.targets import listed, targets_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from carob.api.resources import Resource
    from carob.cli.flags import Arguments, Flags


def add_flags(flags: Flags) -> None:
    """kubectl describe's flags."""
    flags.usage = "TYPE[/NAME] [NAME...] [flags]"
    flags.csv("kustomize", "k", meta="DIR", help="what the kustomization there gives")
    flags.csv("filename", "f", meta="FILE", help="what the files name")
    flags.switch("recursive", "R", help="folders with their folders")
    flags.text("selector", "l", meta="SELECTOR", help="label selector")
    flags.switch("all-namespaces", "A", help="across all namespaces")
    flags.switch("show-events", default=True, help="with events (default: true)")
    flags.number("chunk-size", default=500, meta="N")
    add_connection_flags(flags)


def run(arguments: Arguments) -> int:
    """Fetch and describe."""
    connection = connect(arguments)
    try:
        return _describe(connection, arguments)
    except ApiError as error:
        raise server_error(error) from error
    finally:
        connection.close()


def _describe(connection: Connection, arguments: Arguments) -> int:
    selection = Selection(connection)
    namespace = "" if arguments.all_namespaces else connection.namespace
    if arguments.filename:
        found = targets_of(connection, arguments)
        selected = [(Selected(t.resource, t.name), t.namespace) for t in found]
    else:
        selected = [(s, namespace if s.resource.namespaced else "") for s in selection.parse(arguments.words)]
    if not selected:
        raise CommandError(
            'error: You must specify the type of resource to describe. Use "carob api-resources" for a complete list of '
            "supported resources."
        )
    failed = False
    objects: list[tuple[Resource, dict[str, Any]]] = []
    by_prefix = False
    for one, scope in selected:
        try:
            trees, guessed = _objects(connection, one, scope, arguments.selector)
        except ApiError as error:
            failed = True
            print(server_error(error), file=sys.stderr)
            continue
        by_prefix = by_prefix or guessed
        objects += [(one.resource, tree) for tree in trees]
    # several at once, or guessed names: kubectl leaves the events out unless told otherwise
    events = arguments.show_events
    if (len(objects) > 1 or by_prefix) and "show-events" not in arguments.changed:
        events = False
    texts = [describe_object(connection, resource, tree, events=events) for resource, tree in objects]
    if not texts and not failed:
        where = f" in {namespace} namespace." if namespace and any(s.resource.namespaced for s, _ in selected) else ""
        print(f"No resources found{where}", file=sys.stderr)
    sys.stdout.write("\n".join(texts) if by_prefix else "\n\n".join(texts))
    if by_prefix:
        sys.stdout.write("\n")
    return 1 if failed else 0


def _objects(connection: Connection, one: Selected, scope: str, selector: str) -> tuple[list[dict[str, Any]], bool]:
    """What is to be described; True when the name was only the beginning of theirs."""
    if one.name is None:
        return [t.tree for t in listed(connection, one.resource, scope, selector, "")], False
    try:
        return [get_object(connection, one.resource.path(scope or None, one.name), scope)], False
    except ApiError as error:
        if error.reason != "NotFound":
            raise
        # as kubectl does: a name that is no object's may be the beginning of some
        matching = [t.tree for t in listed(connection, one.resource, scope, "", "") if t.name.startswith(one.name)]
        if not matching:
            raise
        return matching, True


def describe_object(connection: Connection, resource: Resource, tree: dict[str, Any], *, events: bool) -> str:
    """The text about one object, by the describer of its kind."""
    about = _events(connection, resource, tree) if events else None
    kind = (resource.group, resource.kind)
    if kind == ("", "Pod"):
        from carob.cli.describers.pod import describe_pod

        return describe_pod(tree, about)
    if kind in _WITH_MORE:
        return _WITH_MORE[kind](connection, tree, about)
    from carob.cli.describers.simple import SIMPLE

    if kind in SIMPLE:
        return SIMPLE[kind](tree, about)
    from carob.cli.describers.generic import describe_generic

    return describe_generic(tree, about)


def _node(connection: Connection, tree: dict[str, Any], events: list[dict[str, Any]] | None) -> str:
    from carob.cli.describers.node import describe_node

    name = tree["metadata"]["name"]
    selector = f"spec.nodeName={name},status.phase!=Succeeded,status.phase!=Failed"
    pods = connection.json("GET", "/api/v1/pods", {"fieldSelector": selector}).get("items") or []
    try:
        lease = connection.json("GET", f"/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/{name}")
    except ApiError:
        lease = None
    return describe_node(tree, pods, lease, events)


def _namespace(connection: Connection, tree: dict[str, Any], events: list[dict[str, Any]] | None) -> str:
    from carob.cli.describers.simple import describe_namespace

    base = f"/api/v1/namespaces/{tree['metadata']['name']}"
    quotas = connection.json("GET", f"{base}/resourcequotas").get("items") or []
    limits = connection.json("GET", f"{base}/limitranges").get("items") or []
    return describe_namespace(tree, quotas, limits)


def _service(connection: Connection, tree: dict[str, Any], events: list[dict[str, Any]] | None) -> str:
    from carob.cli.describers.services import describe_service

    metadata = tree["metadata"]
    path = f"/apis/discovery.k8s.io/v1/namespaces/{metadata['namespace']}/endpointslices"
    query: dict[str, str | list[str]] = {"labelSelector": f"kubernetes.io/service-name={metadata['name']}"}
    slices = connection.json("GET", path, query).get("items") or []
    return describe_service(tree, slices, events)


def _deployment(connection: Connection, tree: dict[str, Any], events: list[dict[str, Any]] | None) -> str:
    from carob.cli.describers.workloads import describe_deployment

    metadata = tree["metadata"]
    path = f"/apis/apps/v1/namespaces/{metadata['namespace']}/replicasets"
    found = connection.json("GET", path).get("items") or []
    owned = [
        r for r in found if any(o.get("uid") == metadata["uid"] for o in r["metadata"].get("ownerReferences") or [])
    ]
    return describe_deployment(tree, owned, events)


def _owned_pods(connection: Connection, tree: dict[str, Any]) -> list[dict[str, Any]]:
    """The Pods that it selects and controls."""
    from carob.cli.pods import selector_of

    metadata = tree["metadata"]
    path = f"/api/v1/namespaces/{metadata['namespace']}/pods"
    found = connection.json("GET", path, {"labelSelector": selector_of(tree)}).get("items") or []
    return [
        p for p in found if any(o.get("uid") == metadata["uid"] for o in p["metadata"].get("ownerReferences") or [])
    ]


def _replica_set(connection: Connection, tree: dict[str, Any], events: list[dict[str, Any]] | None) -> str:
    from carob.cli.describers.workloads import describe_replica_set

    return describe_replica_set(tree, _owned_pods(connection, tree), events)


def _daemon_set(connection: Connection, tree: dict[str, Any], events: list[dict[str, Any]] | None) -> str:
    from carob.cli.describers.sets import describe_daemon_set

    return describe_daemon_set(tree, _owned_pods(connection, tree), events)


def _stateful_set(connection: Connection, tree: dict[str, Any], events: list[dict[str, Any]] | None) -> str:
    from carob.cli.describers.sets import describe_stateful_set

    return describe_stateful_set(tree, _owned_pods(connection, tree), events)


def _replication_controller(connection: Connection, tree: dict[str, Any], events: list[dict[str, Any]] | None) -> str:
    from carob.cli.describers.sets import describe_replication_controller

    return describe_replication_controller(tree, _owned_pods(connection, tree), events)


def _claim(connection: Connection, tree: dict[str, Any], events: list[dict[str, Any]] | None) -> str:
    from carob.cli.describers.storage import describe_claim

    pods = connection.json("GET", f"/api/v1/namespaces/{tree['metadata']['namespace']}/pods").get("items") or []
    return describe_claim(tree, pods, events)


def _ingress(connection: Connection, tree: dict[str, Any], events: list[dict[str, Any]] | None) -> str:
    from carob.cli.describers.ingress import describe_ingress
    from carob.cli.describers.services import backend_endpoints

    base = f"/api/v1/namespaces/{tree['metadata']['namespace']}"

    def endpoints(backend: dict[str, Any]) -> str:
        name = backend["service"].get("name", "")
        try:
            service = connection.json("GET", f"{base}/services/{name}")
        except ApiError as error:
            return f"<error: {error.message}>"
        slices = connection.json(
            "GET",
            f"/apis/discovery.k8s.io/v1/namespaces/{tree['metadata']['namespace']}/endpointslices",
            {"labelSelector": f"kubernetes.io/service-name={name}"},
        )
        return backend_endpoints(service, slices.get("items") or [], backend["service"].get("port") or {})

    return describe_ingress(tree, events, endpoints)


_WITH_MORE: dict[tuple[str, str], Callable[[Connection, dict[str, Any], list[dict[str, Any]] | None], str]] = {
    ("", "Node"): _node,
    ("", "Namespace"): _namespace,
    ("", "Service"): _service,
    ("apps", "Deployment"): _deployment,
    ("apps", "ReplicaSet"): _replica_set,
    ("apps", "DaemonSet"): _daemon_set,
    ("apps", "StatefulSet"): _stateful_set,
    ("", "ReplicationController"): _replication_controller,
    ("", "PersistentVolumeClaim"): _claim,
    ("networking.k8s.io", "Ingress"): _ingress,
}


def _events(connection: Connection, resource: Resource, tree: dict[str, Any]) -> list[dict[str, Any]]:
    metadata = tree["metadata"]
    namespace = metadata.get("namespace", "")
    parts = [f"involvedObject.name={metadata['name']}", f"involvedObject.namespace={namespace}"]
    parts.append(f"involvedObject.uid={metadata.get('uid', '')}")
    path = f"/api/v1/namespaces/{namespace}/events" if namespace else "/api/v1/events"
    try:
        found = connection.json("GET", path, {"fieldSelector": ",".join(parts), "limit": "500"}).get("items") or []
        if (resource.group, resource.kind) == ("", "Node"):
            # kubelets tell about their node before they know its uid
            parts[-1] = f"involvedObject.uid={metadata['name']}"
            found += connection.json("GET", path, {"fieldSelector": ",".join(parts), "limit": "500"}).get("items") or []
    except ApiError:
        return []
    return list(found)
