"""Update the images of containers of Pods, or of the Pod templates of what makes them.

Examples:
  carob set image deployment/web main=web:2
  carob set image deployments --all '*=web:2'
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from carob.api.status import ApiError
from carob.cli.connection import add_connection_flags, connect
from carob.cli.errors import CommandError
from carob.cli.failures import server_error
from carob.cli.results import ResultPrinter, add_dry_run_flag, add_output_flags
from carob.cli.targets import MISSING, add_target_flags, fetch, targets_of

if TYPE_CHECKING:
    from carob.cli.connection import Connection
    from carob.cli.flags import Arguments, Flags
    from carob.cli.targets import Target

    Tree = dict[str, Any]

# where the Pod's spec lies
_TEMPLATES = {
    "Pod": ("spec",),
    "CronJob": ("spec", "jobTemplate", "spec", "template", "spec"),
}
_DEFAULT_TEMPLATE = ("spec", "template", "spec")
KINDS = ("Pod", "Deployment", "DaemonSet", "StatefulSet", "ReplicaSet", "ReplicationController", "Job", "CronJob")
_FIELDS = ("initContainers", "containers")


def add_flags(flags: Flags) -> None:
    """kubectl set image's flags."""
    flags.usage = "(-f FILE | TYPE NAME) CONTAINER=IMAGE ... [flags]"
    flags.switch("local", help="do not ask the server")
    flags.text("field-manager", default="kubectl-set")
    add_target_flags(flags)
    add_dry_run_flag(flags)
    add_output_flags(flags)
    add_connection_flags(flags)


def run(arguments: Arguments) -> int:
    """Change each."""
    words = [word for word in arguments.words if "=" not in word]
    pairs = [word.partition("=")[::2] for word in arguments.words if "=" in word]
    mistakes = []
    if not words and not arguments.filename:
        raise CommandError(MISSING)
    if not pairs:
        mistakes.append("at least one image update is required")
    elif len({name for name, _ in pairs}) > 1 and any(name == "*" for name, _ in pairs):
        mistakes.append(
            "all containers are already specified by *, but saw more than one container_name=container_image pairs"
        )
    if mistakes:
        raise CommandError(f"error: {mistakes[0]}" if len(mistakes) == 1 else "\n".join(mistakes))
    connection = connect(arguments)
    try:
        printer = ResultPrinter(arguments)
        problems = []
        for target in targets_of(connection, arguments, words):
            try:
                _one(connection, arguments, printer, target, dict(pairs))
            except CommandError as error:
                problems.append(str(error).removeprefix("error: "))
            sys.stdout.flush()
    except ApiError as error:
        raise server_error(error) from error
    finally:
        connection.close()
    if problems:
        raise CommandError(f"error: {problems[0]}" if len(problems) == 1 else "\n".join(problems))
    return 0


def _one(
    connection: Connection, arguments: Arguments, printer: ResultPrinter, target: Target, images: dict[str, str]
) -> None:
    if target.resource.kind not in KINDS:
        resource = target.resource
        raise CommandError(
            f"error: {resource.plural}/{target.name} the object is not a pod or does not have a pod template: "
            f"*{resource.version}.{resource.kind}"
        )
    known = bool(target.tree and (arguments.local or not target.source))
    tree = target.tree if known else fetch(connection, target)
    path = _TEMPLATES.get(target.resource.kind, _DEFAULT_TEMPLATE)
    spec = tree
    for word in path:
        spec = spec.get(word) or {}
    changes = _changes(spec, images)
    if not any(changes.values()):
        return
    patch: Tree = changes
    for word in reversed(path):
        patch = {word: patch}
    if arguments.local or printer.dry_run == "client":
        for field, items in changes.items():
            chosen = {item["name"]: item["image"] for item in items}
            for container in spec.get(field) or []:
                container["image"] = chosen.get(container["name"], container["image"])
    else:
        query: dict[str, str | list[str]] = {"fieldManager": arguments.field_manager}
        if printer.dry_run == "server":
            query["dryRun"] = "All"
        content_type = "application/strategic-merge-patch+json"
        tree = connection.json("PATCH", target.path(), query, patch, content_type=content_type)
    printer.show(tree, "image updated")


def _changes(spec: Tree, images: dict[str, str]) -> Tree:
    """The containers to change, by their field. Raises: CommandError for a name that no container has."""
    names = {container["name"] for field in _FIELDS for container in spec.get(field) or []}
    for name in images:
        if name != "*" and name not in names:
            raise CommandError(f'error: unable to find container named "{name}"')
    changes: Tree = {}
    for field in _FIELDS:
        wanted = [(c, images.get(c["name"], images.get("*"))) for c in spec.get(field) or []]
        found = [{"name": c["name"], "image": image} for c, image in wanted if image and image != c.get("image")]
        if found:
            changes[field] = found
    return changes
