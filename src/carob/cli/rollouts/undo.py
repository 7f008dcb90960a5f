"""`rollout undo`: the template of an earlier revision becomes the present one.

Source: kubectl pkg/polymorphichelpers/rollback.go.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from carob.api.status import ApiError
from carob.cli.connection import connect
from carob.cli.errors import CommandError
from carob.cli.failures import server_error
from carob.cli.results import ResultPrinter, add_dry_run_flag
from carob.cli.rollouts.chosen import WORKLOADS, add_rollout_flags, chosen, not_implemented
from carob.cli.rollouts.revisions import revisions, without_hash

if TYPE_CHECKING:
    from collections.abc import Sequence

    from carob.cli.connection import Connection
    from carob.cli.flags import Arguments, Flags
    from carob.cli.rollouts.revisions import Kept
    from carob.cli.targets import Target

    Tree = dict[str, Any]

_LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
_WAS_APPLIED = (
    "Warning: resource {} was previously managed with 'carob apply'. Rolling back will not update the "
    f"{_LAST_APPLIED} annotation, which may cause unexpected behavior on future 'carob apply' operations. Consider "
    "using 'carob apply' with your previous configuration file instead."
)
_NOT_FOUND = "error: unable to find specified revision {} in history"
# a rollback keeps what the deployment itself says here
_KEPT_ANNOTATIONS = (
    _LAST_APPLIED,
    "deployment.kubernetes.io/revision",
    "deployment.kubernetes.io/revision-history",
    "deployment.kubernetes.io/desired-replicas",
    "deployment.kubernetes.io/max-replicas",
    "deprecated.deployment.rollback.to",
)


class Undo:
    """Roll back to a previous rollout.

    Examples:
      carob rollout undo deployment/web
      carob rollout undo daemonset/agent --to-revision=3
    """

    @staticmethod
    def add_flags(flags: Flags) -> None:
        flags.number("to-revision", help="which one (0: the one before the present)")
        add_rollout_flags(flags, field_manager=False)
        add_dry_run_flag(flags)

    @staticmethod
    def run(arguments: Arguments) -> int:
        """Roll each back."""
        connection = connect(arguments)
        try:
            printer = ResultPrinter(arguments)
            for target, tree in chosen(connection, arguments):
                printer.show(tree, _undo(connection, target, tree, arguments.to_revision, printer.dry_run))
            return 0
        except ApiError as error:
            raise server_error(error) from error
        finally:
            connection.close()


def _undo(connection: Connection, target: Target, tree: Tree, number: int, dry_run: str) -> str:
    """What was done, as the result says it. Raises: CommandError, ApiError."""
    if target.resource.kind not in WORKLOADS:
        raise not_implemented(target, "rollbacker")
    if _LAST_APPLIED in (tree["metadata"].get("annotations") or {}):
        print(_WAS_APPLIED.format(f"{target.resource.plural}/{target.name}"), file=sys.stderr)
    if number < 0:
        raise CommandError(_NOT_FOUND.format(number))
    if tree["spec"].get("paused"):
        raise CommandError(
            f"error: you cannot rollback a paused deployment; resume it first with "
            f"'kubectl rollout resume deployment/{target.name}' and try again"
        )
    kept = revisions(connection, target, tree)
    wanted = _wanted(kept, number, target, tree)
    template = without_hash(wanted.template) if target.resource.kind == "Deployment" else wanted.template
    if dry_run == "client":
        return _described(wanted.template)
    if _same(template, tree["spec"]["template"]):
        return f"skipped rollback (current template already matches revision {wanted.number})"
    query: dict[str, str | list[str]] = {"dryRun": "All"} if dry_run == "server" else {}
    patch: list[Tree] = [{"op": "replace", "path": "/spec/template", "value": template}]
    if target.resource.kind == "Deployment":
        patch.append({"op": "replace", "path": "/metadata/annotations", "value": _annotations(tree, wanted)})
    connection.json("PATCH", target.path(), query, patch, content_type="application/json-patch+json")
    return "rolled back"


def _wanted(kept: Sequence[Kept], number: int, target: Target, tree: Tree) -> Kept:
    if number:
        found = next((one for one in kept if one.number == number), None)
        if found is None:
            raise CommandError(_NOT_FOUND.format(number))
        return found
    if len(kept) < 2:
        if target.resource.kind == "Deployment":
            raise CommandError(f'error: no rollout history found for deployment "{target.name}"')
        raise CommandError("error: no last revision to roll back to")
    return kept[-2]


def _annotations(tree: Tree, wanted: Kept) -> dict[str, str]:
    of_revision = wanted.tree["metadata"].get("annotations") or {}
    own = tree["metadata"].get("annotations") or {}
    kept = {key: value for key, value in own.items() if key in _KEPT_ANNOTATIONS}
    return {key: value for key, value in of_revision.items() if key not in _KEPT_ANNOTATIONS} | kept


def _same(one: Tree, other: Tree) -> bool:
    """Equal but for what says nothing: an absent map is an empty one."""
    return bool(_plain(one) == _plain(other))


def _plain(tree: Any) -> Any:
    if isinstance(tree, dict):
        return {key: _plain(value) for key, value in tree.items() if value not in (None, {}, [])}
    return [_plain(one) for one in tree] if isinstance(tree, list) else tree


def _described(template: Tree) -> str:
    from carob.cli.describers.workloads import pod_template
    from carob.cli.describers.writer import Writer

    writer = Writer()
    pod_template(writer, template)
    return writer.raw()
