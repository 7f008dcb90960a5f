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
from carob.cli.selection import Selected, Selection, exists, read_manifests

if TYPE_CHECKING:
    from carob.api.resources import Resource
    from carob.cli.flags import Arguments, Flags


def add_flags(flags: Flags) -> None:
    """kubectl describe's flags."""
    flags.usage = "TYPE[/NAME] [NAME...] [flags]"
    flags.texts("filename", "f", meta="FILE", help="what the files name")
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
    if arguments.filename:
        files = read_manifests(arguments.filename, selection, recursive=arguments.recursive)
        selected = [Selected(m.resource, m.name) for m in files]
    else:
        selected = selection.parse(arguments.words)
    if not selected:
        raise CommandError("error: You must specify the type of resource to describe. See 'carob get --help'.")
    namespace = "" if arguments.all_namespaces else connection.namespace
    failed = False
    texts = []
    for one in selected:
        try:
            objects = _objects(connection, one, namespace, arguments.selector)
        except ApiError as error:
            if error.reason != "NotFound":
                raise
            failed = True
            print(server_error(error), file=sys.stderr)
            continue
        texts += [describe_object(connection, one.resource, tree, events=arguments.show_events) for tree in objects]
    if not texts and not failed:
        where = f" in {namespace} namespace." if namespace and selected[0].resource.namespaced else ""
        print(f"No resources found{where}", file=sys.stderr)
    sys.stdout.write("\n\n".join(texts))
    return 1 if failed else 0


def _objects(connection: Connection, one: Selected, namespace: str, selector: str) -> list[dict[str, Any]]:
    scope = namespace if one.resource.namespaced else None
    if one.name is None:
        query: dict[str, str | list[str]] = {"labelSelector": selector} if selector else {}
        listing = connection.json("GET", one.resource.path(scope), query)
        kind = {"apiVersion": one.resource.api_version, "kind": one.resource.kind}
        return [{**kind, **item} for item in listing.get("items") or []]
    found = exists(connection, one.resource, scope or "", one.name)
    if found is not None:
        return [found]
    # as kubectl does: a name that is no object's may be the beginning of some
    listing = connection.json("GET", one.resource.path(scope))
    matching = [i for i in listing.get("items") or [] if i["metadata"]["name"].startswith(one.name)]
    if not matching:
        connection.json("GET", one.resource.path(scope, one.name))
    kind = {"apiVersion": one.resource.api_version, "kind": one.resource.kind}
    return [{**kind, **item} for item in matching]


def describe_object(connection: Connection, resource: Resource, tree: dict[str, Any], *, events: bool) -> str:
    """The text about one object, by the describer of its kind."""
    about = _events(connection, resource, tree) if events else None
    if (resource.group, resource.kind) == ("", "Pod"):
        from carob.cli.describers.pod import describe_pod

        return describe_pod(tree, about)
    if (resource.group, resource.kind) == ("", "Node"):
        return _describe_node(connection, tree, about)
    from carob.cli.describers.simple import SIMPLE

    if (resource.group, resource.kind) in SIMPLE:
        return SIMPLE[resource.group, resource.kind](tree, about)
    from carob.cli.describers.generic import describe_generic

    return describe_generic(tree, about)


def _describe_node(connection: Connection, tree: dict[str, Any], events: list[dict[str, Any]] | None) -> str:
    from carob.cli.describers.node import describe_node

    name = tree["metadata"]["name"]
    selector = f"spec.nodeName={name},status.phase!=Succeeded,status.phase!=Failed"
    pods = connection.json("GET", "/api/v1/pods", {"fieldSelector": selector}).get("items") or []
    try:
        lease = connection.json("GET", f"/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/{name}")
    except ApiError:
        lease = None
    return describe_node(tree, pods, lease, events)


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
