"""What all verbs of `rollout` share: which objects, and whether their kind can do it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from carob.cli.connection import add_connection_flags
from carob.cli.errors import CommandError
from carob.cli.results import add_output_flags
from carob.cli.targets import fetch, targets_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from carob.cli.connection import Connection
    from carob.cli.flags import Arguments, Flags
    from carob.cli.targets import Target

    Tree = dict[str, Any]

WORKLOADS = ("Deployment", "DaemonSet", "StatefulSet")


def add_rollout_flags(flags: Flags, *, field_manager: bool = True) -> None:
    """The flags of every verb of `rollout`."""
    flags.usage = "(TYPE NAME | TYPE/NAME) [flags]"
    if field_manager:
        flags.text("field-manager", default="kubectl-rollout")
    flags.csv("filename", "f", meta="FILE", help="what the file, folder, URL or - (standard input) names")
    flags.csv("kustomize", "k", meta="DIR", help="what the kustomization there gives")
    flags.switch("recursive", "R", help="folders with their folders")
    flags.text("selector", "l", meta="SELECTOR", help="those with these labels")
    add_output_flags(flags)
    add_connection_flags(flags)


def chosen(connection: Connection, arguments: Arguments) -> Iterator[tuple[Target, Tree]]:
    """Each chosen object as it is now. Raises: ApiError, CommandError."""
    for target in choose(connection, arguments):
        yield target, target.tree if target.tree and not target.source else fetch(connection, target)


def choose(connection: Connection, arguments: Arguments) -> list[Target]:
    """The chosen objects; a kind without a name means all of it. Raises: ApiError, CommandError."""
    if not arguments.words and not arguments.filename:
        raise CommandError("error: required resource not specified")
    alone = len(arguments.words) == 1 and "/" not in arguments.words[0]
    arguments.all = alone and not arguments.selector
    return targets_of(connection, arguments)


def not_implemented(target: Target, what: str) -> CommandError:
    """What kubectl says when a kind has no rollouts."""
    kind, group = target.resource.kind, target.resource.group
    shown = f"{kind}.{group}" if group else kind
    return CommandError(
        f'error: error retrieving {what} for "{shown}", no visitor method exists for {{{group} {kind}}}'
    )


def no_such_verb(target: Target, verb: str) -> CommandError:
    """What kubectl says when a kind cannot be paused, restarted or resumed."""
    resource = target.resource
    plural = f"{resource.plural}.{resource.group}" if resource.group else resource.plural
    return CommandError(f'error: {plural} "{target.name}" {verb} is not supported')
