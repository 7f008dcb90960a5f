"""Wait for a specific condition on one or many resources.

Examples:
  carob wait --for=condition=Ready pod/hello-pod --timeout=60s
  carob wait --for=delete pod/hello-pod
  carob wait --for=jsonpath='{.status.phase}'=Running pod/hello-pod
  carob wait --for=create pod/hello-pod
"""

from __future__ import annotations

import json
import sys
import time
from typing import TYPE_CHECKING, Any

from carob.api.status import ApiError
from carob.cli.connection import Connection, add_connection_flags, connect
from carob.cli.delete import wait_gone
from carob.cli.errors import CommandError
from carob.cli.failures import server_error
from carob.cli.results import ResultPrinter, add_output_flags
from carob.cli.targets import Target, add_target_flags, fetch, targets_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from carob.cli.flags import Arguments, Flags

    Tree = dict[str, Any]
    Predicate = Callable[[Tree], bool]

MIN_SECONDS = 0.001
FOREVER_SECONDS = 7 * 24 * 3600.0


def add_flags(flags: Flags) -> None:
    """kubectl wait's flags."""
    flags.usage = "(-f FILE | TYPE NAME | TYPE -l SELECTOR | TYPE --all) --for=CONDITION [flags]"
    flags.texts("for", meta="CONDITION", help="create, delete, condition=NAME[=VALUE], jsonpath={PATH}[=VALUE]")
    flags.duration("timeout", default=30.0, help="how long to wait; 0 looks once, less waits a week")
    add_target_flags(flags)
    flags.switch("local")
    add_output_flags(flags)
    add_connection_flags(flags)


def run(arguments: Arguments) -> int:
    """Wait for each, one after another, all before one deadline."""
    wanted = getattr(arguments, "for")
    if not wanted:
        raise CommandError("error: unrecognized condition: []")
    arguments.dry_run = "none"
    conditions = [_Condition(text) for text in wanted]
    connection = connect(arguments)
    try:
        return _wait(connection, arguments, conditions)
    except ApiError as error:
        raise server_error(error) from error
    finally:
        connection.close()


def _wait(connection: Connection, arguments: Arguments, conditions: list[_Condition]) -> int:
    printer = ResultPrinter(arguments)
    timeout = arguments.timeout if arguments.timeout >= 0 else FOREVER_SECONDS
    deadline = time.monotonic() + (timeout or MIN_SECONDS)
    targets = targets_of(connection, arguments)
    if not targets:
        if any(c.kind == "delete" for c in conditions):
            return 0
        raise CommandError("error: no matching resources found")
    trees = _present(connection, targets, conditions)
    problems = []
    for target in targets:
        for condition in conditions:
            if condition.kind == "delete" and trees.get(id(target)) is None:
                continue
            if target is not targets[0] and arguments.timeout and time.monotonic() >= deadline:
                # one deadline for all: what comes behind it is not even looked at
                problems.append(f"timed out waiting for the condition on {target.resource.plural}/{target.name}")
                continue
            try:
                tree = condition.wait(connection, target, trees.get(id(target)), deadline, once=not arguments.timeout)
            except CommandError as error:
                problems.append(str(error).removeprefix("error: "))
                continue
            printer.show(tree, "condition met", plain=True)
            sys.stdout.flush()
    if problems:
        raise CommandError(f"error: {problems[0]}" if len(problems) == 1 else "\n".join(problems))
    return 0


def _present(connection: Connection, targets: list[Target], conditions: list[_Condition]) -> dict[int, Tree | None]:
    """The objects as they are; missing ones are no error for who waits for their end or their beginning."""
    lenient = {"delete", "create"} & {c.kind for c in conditions}
    trees: dict[int, Tree | None] = {}
    for target in targets:
        try:
            trees[id(target)] = target.tree if target.tree and not target.source else fetch(connection, target)
        except ApiError as error:
            if error.reason != "NotFound" or not lenient:
                raise
            trees[id(target)] = None
    return trees


class _Condition:
    """What --for says. Raises: CommandError for what is none."""

    def __init__(self, text: str) -> None:
        self.kind = "predicate"
        self._holds: Predicate = lambda tree: True
        if text.lower() in ("delete", "create"):
            self.kind = text.lower()
        elif text.startswith("condition="):
            name, _, value = text.removeprefix("condition=").partition("=")
            self._holds = lambda tree: _has_condition(tree, name, value or "True")
        elif text.startswith("jsonpath="):
            self._holds = _jsonpath_predicate(text.removeprefix("jsonpath="))
        else:
            raise CommandError(f'error: unrecognized condition: "{text}"')

    def wait(self, connection: Connection, target: Target, tree: Tree | None, deadline: float, *, once: bool) -> Tree:
        """The object for which it holds (or that has gone). Raises: CommandError at the deadline, ApiError."""
        if self.kind == "delete":
            assert tree is not None
            wait_gone(connection, target, tree["metadata"].get("uid", ""), deadline)
            return tree
        if tree is not None and self._holds(tree):
            return tree
        where = f"{target.resource.plural}/{target.name}"
        if once:
            raise CommandError(f"error: condition not met for {where}")
        found = self._watch(connection, target, deadline)
        if found is None:
            words = "error: timed out waiting for the condition"
            raise CommandError(words if self.kind == "create" else f"{words} on {where}")
        return found

    def _watch(self, connection: Connection, target: Target, deadline: float) -> Tree | None:
        collection = target.resource.path(target.namespace or None)
        head = {"apiVersion": target.resource.api_version, "kind": target.resource.kind}
        query: dict[str, str | list[str]] = {"fieldSelector": f"metadata.name={target.name}"}
        while True:
            listing = connection.json("GET", collection, query)
            items = listing.get("items") or []
            if items and self._holds(items[0]):
                return {**head, **items[0]}
            if not items and self.kind != "create":
                # the server's own words for a missing object
                fetch(connection, target)
            left = deadline - time.monotonic()
            if left <= 0:
                return None
            watch = query | {
                "watch": "true",
                "resourceVersion": listing["metadata"]["resourceVersion"],
                "timeoutSeconds": str(max(1, min(int(left), 300))),
            }
            for line in connection.lines(collection, watch, {"Accept": "application/json"}):
                event = json.loads(line)
                if event["type"] in ("ADDED", "MODIFIED") and self._holds(event["object"]):
                    found: Tree = event["object"]
                    return found
                if event["type"] in ("DELETED", "ERROR"):
                    break


def _jsonpath_predicate(text: str) -> Predicate:
    from carob.cli.printers.jsonpath import JsonPath, relaxed, text_of

    expression, equals, wanted = _split_at_equals(text)
    path = JsonPath(relaxed(expression))
    wanted = wanted.strip("'\"")
    if equals and not wanted:
        raise CommandError(
            "error: jsonpath wait has to have a value after equal sign, like --for=jsonpath='{.status.readyReplicas}'=3"
        )

    def holds(tree: Tree) -> bool:
        values = path.values(tree)
        if len(values) > 1:
            raise CommandError("error: given jsonpath expression matches more than one value")
        return bool(values) and (not equals or text_of(values[0]) == wanted)

    return holds


def _split_at_equals(text: str) -> tuple[str, bool, str]:
    """Path and value: the `=` behind the closing brace, not those of filters inside."""
    depth = 0
    for index, sign in enumerate(text):
        depth += (sign in "{[(") - (sign in "}])")
        if sign == "=" and depth == 0 and text[index + 1 : index + 2] != "=" and text[index - 1 : index] != "=":
            return text[:index], True, text[index + 1 :]
    return text, False, ""


def _has_condition(tree: Tree, name: str, value: str) -> bool:
    for condition in (tree.get("status") or {}).get("conditions") or []:
        if condition.get("type", "").lower() == name.lower():
            observed = condition.get("observedGeneration") or (tree.get("status") or {}).get("observedGeneration")
            generation = tree["metadata"].get("generation")
            if observed and generation and observed < generation:
                return False
            return str(condition.get("status", "")).lower() == value.lower()
    return False
