"""`rollout pause`, `resume` and `restart`: one patch each.

Source: kubectl pkg/cmd/rollout, pkg/polymorphichelpers (objectpauser.go, objectresumer.go, objectrestarter.go).
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from carob.api.status import ApiError
from carob.cli.connection import connect
from carob.cli.errors import CommandError
from carob.cli.failures import server_error
from carob.cli.results import ResultPrinter
from carob.cli.rollouts.chosen import WORKLOADS, add_rollout_flags, choose, no_such_verb
from carob.cli.targets import fetch_all

if TYPE_CHECKING:
    from collections.abc import Callable

    from carob.cli.flags import Arguments, Flags
    from carob.cli.targets import Target

    Tree = dict[str, Any]

RESTARTED_AT = "kubectl.kubernetes.io/restartedAt"


def _change(arguments: Arguments, done: str, patch_of: Callable[[Target, Tree], Tree]) -> int:
    """Patch each; what cannot be changed is said at the end, in one error."""
    arguments.dry_run = "none"
    problems = []
    connection = connect(arguments)
    try:
        printer = ResultPrinter(arguments)
        for target, found, missing in fetch_all(connection, choose(connection, arguments)):
            if found is None:
                assert missing is not None
                problems.append(str(server_error(missing)))
                continue
            try:
                patch = patch_of(target, found)
            except CommandError as error:
                problems.append(str(error))
                continue
            query: dict[str, str | list[str]] = {"fieldManager": arguments.field_manager}
            content_type = "application/strategic-merge-patch+json"
            printer.show(connection.json("PATCH", target.path(), query, patch, content_type=content_type), done)
    except ApiError as error:
        raise server_error(error) from error
    finally:
        connection.close()
    if problems:
        raise CommandError("\n".join(problems))
    return 0


def _refused(target: Target, why: str) -> CommandError:
    resource = target.resource
    return CommandError(f'error: {resource.plural}.{resource.group} "{target.name}" {why}')


def _pause_of(target: Target, tree: Tree) -> Tree:
    if target.resource.kind != "Deployment":
        raise no_such_verb(target, "pausing")
    if tree["spec"].get("paused"):
        raise _refused(target, "is already paused")
    return {"spec": {"paused": True}}


def _resume_of(target: Target, tree: Tree) -> Tree:
    if target.resource.kind != "Deployment":
        raise no_such_verb(target, "resuming")
    if not tree["spec"].get("paused"):
        raise _refused(target, "is not paused")
    return {"spec": {"paused": None}}


def _restart_of(target: Target, tree: Tree) -> Tree:
    if target.resource.kind not in WORKLOADS:
        raise no_such_verb(target, "restarting")
    if tree["spec"].get("paused"):
        raise _refused(target, "can't restart paused deployment (run rollout resume first)")
    now = time.strftime("%Y-%m-%dT%H:%M:%S%z")
    now = f"{now[:-2]}:{now[-2:]}".replace("+00:00", "Z")
    annotations = (tree["spec"]["template"].get("metadata") or {}).get("annotations") or {}
    if annotations.get(RESTARTED_AT) == now:
        raise _refused(target, "if restart has already been triggered within the past second, please wait before it")
    return {"spec": {"template": {"metadata": {"annotations": {RESTARTED_AT: now}}}}}


class Pause:
    """Mark the provided resource as paused: its changes wait until it is resumed. Only deployments can be paused.

    Examples:
      carob rollout pause deployment/web
    """

    add_flags = staticmethod(add_rollout_flags)

    @staticmethod
    def run(arguments: Arguments) -> int:
        """Pause each."""
        return _change(arguments, "paused", _pause_of)


class Resume:
    """Resume a paused resource: what was changed meanwhile is rolled out.

    Examples:
      carob rollout resume deployment/web
    """

    add_flags = staticmethod(add_rollout_flags)

    @staticmethod
    def run(arguments: Arguments) -> int:
        """Resume each."""
        return _change(arguments, "resumed", _resume_of)


class Restart:
    """Restart a resource: every Pod is replaced, by the rules of its rollout.

    Examples:
      carob rollout restart deployment/web
      carob rollout restart daemonset/agent
    """

    @staticmethod
    def add_flags(flags: Flags) -> None:
        add_rollout_flags(flags)

    @staticmethod
    def run(arguments: Arguments) -> int:
        """Restart each."""
        return _change(arguments, "restarted", _restart_of)
