"""Wait for a specific condition on one or many resources.

Examples:
  carob wait --for=condition=Ready pod/hello-pod --timeout=60s
  carob wait --for=delete pod/hello-pod
  carob wait --for=jsonpath='{.status.phase}'=Running pod/hello-pod
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

from carob.api.status import ApiError
from carob.cli.connection import Connection, add_connection_flags, connect
from carob.cli.delete import Target, wait_gone
from carob.cli.errors import CommandError
from carob.cli.failures import server_error
from carob.cli.selection import Selection, read_manifests

if TYPE_CHECKING:
    from collections.abc import Callable

    from carob.api.resources import Resource
    from carob.cli.flags import Arguments, Flags


def add_flags(flags: Flags) -> None:
    """kubectl wait's flags."""
    flags.usage = "TYPE[/NAME] [NAME...] [flags]"
    flags.texts("filename", "f", meta="FILE", help="what the files name")
    flags.text("for", meta="CONDITION", help="create, delete, condition=NAME[=VALUE], jsonpath={PATH}[=VALUE]")
    flags.text("selector", "l", meta="SELECTOR", help="label selector")
    flags.switch("all", help="all of the kind in the namespace")
    flags.switch("all-namespaces", "A", help="across all namespaces")
    flags.duration("timeout", default=30.0, help="how long to wait")
    add_connection_flags(flags)


def run(arguments: Arguments) -> int:
    """Wait for each, one after another, all before one deadline."""
    connection = connect(arguments)
    try:
        deadline = time.monotonic() + (arguments.timeout or 1)
        targets = _targets(connection, arguments)
        if not targets:
            raise CommandError("error: no matching resources found")
        for target in targets:
            _wait_one(connection, target, getattr(arguments, "for"), deadline)
        return 0
    except ApiError as error:
        raise server_error(error) from error
    finally:
        connection.close()


def _targets(connection: Connection, arguments: Arguments) -> list[Target]:
    selection = Selection(connection)
    namespace = connection.namespace
    if arguments.filename:
        files = read_manifests(arguments.filename, selection)
        return [Target(m.resource, m.namespace(namespace), m.name) for m in files]
    targets = []
    for selected in selection.parse(arguments.words):
        scope = namespace if selected.resource.namespaced else ""
        if selected.name is not None:
            targets.append(Target(selected.resource, scope, selected.name))
            continue
        path = selected.resource.path(None if arguments.all_namespaces else scope or None)
        query: dict[str, str | list[str]] = {"labelSelector": arguments.selector} if arguments.selector else {}
        for item in connection.json("GET", path, query).get("items") or []:
            targets.append(Target(selected.resource, item["metadata"].get("namespace", ""), item["metadata"]["name"]))
    return targets


def _wait_one(connection: Connection, target: Target, condition: str, deadline: float) -> None:
    if condition == "delete":
        try:
            tree = connection.json("GET", target.resource.path(target.namespace or None, target.name))
        except ApiError as error:
            if error.reason == "NotFound":
                _say(target)
                return
            raise
        wait_gone(connection, target, tree["metadata"].get("uid", ""), deadline)
        _say(target)
        return
    holds = _predicate(condition)
    _wait_until(connection, target, holds, deadline, may_be_missing=condition == "create")
    _say(target)


def _predicate(condition: str) -> Callable[[dict[str, Any]], bool]:
    if condition == "create":
        return lambda tree: True
    if condition.startswith("condition="):
        name, _, value = condition.removeprefix("condition=").partition("=")
        return lambda tree: _has_condition(tree, name, value or "True")
    if condition.startswith("jsonpath="):
        return _jsonpath_predicate(condition.removeprefix("jsonpath="))
    raise CommandError(f'error: unrecognized condition: "{condition}"')


def _jsonpath_predicate(text: str) -> Callable[[dict[str, Any]], bool]:
    from carob.cli.printers.jsonpath import JsonPath, relaxed, text_of

    expression, brace, wanted = text.rpartition("}=")
    path = JsonPath(relaxed(expression + "}" if brace else text))
    wanted = wanted.strip("'\"") if brace else ""

    def holds(tree: dict[str, Any]) -> bool:
        values = path.values(tree)
        return bool(values) and (not brace or all(text_of(v) == wanted for v in values))

    return holds


def _has_condition(tree: dict[str, Any], name: str, value: str) -> bool:
    for condition in (tree.get("status") or {}).get("conditions") or []:
        if condition.get("type", "").lower() == name.lower():
            observed = condition.get("observedGeneration") or (tree.get("status") or {}).get("observedGeneration")
            generation = tree["metadata"].get("generation")
            if observed and generation and observed < generation:
                return False
            return str(condition.get("status", "")).lower() == value.lower()
    return False


def _wait_until(
    connection: Connection,
    target: Target,
    holds: Callable[[dict[str, Any]], bool],
    deadline: float,
    *,
    may_be_missing: bool,
) -> None:
    collection = target.resource.path(target.namespace or None)
    query: dict[str, str | list[str]] = {"fieldSelector": f"metadata.name={target.name}"}
    while True:
        listing = connection.json("GET", collection, query)
        items = listing.get("items") or []
        if not items and not may_be_missing:
            # the server's own words for a missing object
            connection.json("GET", target.resource.path(target.namespace or None, target.name))
        if items and holds(items[0]):
            return
        left = deadline - time.monotonic()
        if left <= 0:
            raise _timed_out(target.resource, target.name)
        watch = query | {
            "watch": "true",
            "resourceVersion": listing["metadata"]["resourceVersion"],
            "timeoutSeconds": str(max(1, min(int(left), 300))),
        }
        for line in connection.lines(collection, watch, {"Accept": "application/json"}):
            event = json.loads(line)
            if event["type"] in ("ADDED", "MODIFIED") and holds(event["object"]):
                return
            if event["type"] in ("DELETED", "ERROR"):
                break


def _timed_out(resource: Resource, name: str) -> CommandError:
    return CommandError(f"error: timed out waiting for the condition on {resource.plural}/{name}")


def _say(target: Target) -> None:
    resource = target.resource
    kind = f"{resource.singular_name}.{resource.group}" if resource.group else resource.singular_name
    print(f"{kind}/{target.name} condition met")
