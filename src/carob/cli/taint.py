"""Update the taints on one or more nodes.

KEY=VALUE:EFFECT sets, KEY:EFFECT- or KEY- removes; --overwrite allows to change one that is there.

Examples:
  carob taint nodes node-0 dedicated=builds:NoSchedule
  carob taint nodes node-0 dedicated:NoSchedule-
  carob taint nodes --all dedicated-
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from carob.api.status import ApiError
from carob.api.validation import names
from carob.cli.connection import add_connection_flags, connect
from carob.cli.errors import CommandError
from carob.cli.failures import server_error
from carob.cli.results import ResultPrinter, add_dry_run_flag, add_output_flags
from carob.cli.targets import fetch, targets_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from carob.cli.connection import Connection
    from carob.cli.flags import Arguments, Flags
    from carob.cli.targets import Target

    Tree = dict[str, Any]

EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")


def add_flags(flags: Flags) -> None:
    """kubectl taint's flags."""
    flags.usage = "NODE NAME KEY_1=VAL_1:TAINT_EFFECT_1 ... KEY_N=VAL_N:TAINT_EFFECT_N [flags]"
    flags.text("selector", "l", meta="SELECTOR", help="nodes with these labels")
    flags.switch("all", help="all nodes")
    flags.switch("overwrite", help="change taints that are there")
    flags.text("validate", default="strict", meta="MODE", bare="strict")
    flags.text("field-manager", default="kubectl-taint")
    add_dry_run_flag(flags)
    add_output_flags(flags)
    add_connection_flags(flags)


def run(arguments: Arguments) -> int:
    """Change each node."""
    words, specs = _split(arguments.words)
    added, removed = _parse(specs)
    arguments.filename = []
    connection = connect(arguments)
    try:
        if words and words[0].lower() not in ("node", "nodes", "no") and "/" not in words[0]:
            raise CommandError(f"error: invalid resource type {words[0]}, only node types are supported")
        if not specs:
            raise CommandError("error: at least one taint update is required")
        printer = ResultPrinter(arguments)
        if len(words) == 1 and "/" not in words[0] and not arguments.all and not arguments.selector:
            raise CommandError("error: at least one resource name must be specified since 'all' parameter is not set")
        for target in targets_of(connection, arguments, words):
            _one(connection, arguments, printer, target, added, removed)
            sys.stdout.flush()
        return 0
    except ApiError as error:
        raise server_error(error) from error
    finally:
        connection.close()


def _split(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """What names nodes, and from the first taint on what is to be changed."""
    for index, word in enumerate(words):
        if index and ("=" in word or ":" in word or word.endswith("-")):
            return list(words[:index]), list(words[index:])
    return list(words), []


def _parse(specs: Sequence[str]) -> tuple[list[Tree], list[tuple[str, str]]]:
    """Taints to set; and key and effect (or none: all of them) of those to remove. Raises: CommandError."""
    added: list[Tree] = []
    removed: list[tuple[str, str]] = []
    for spec in specs:
        if spec.endswith("-"):
            key, _, effect = spec[:-1].partition(":")
            key = key.partition("=")[0]
            if effect and effect not in EFFECTS:
                raise _mistake(f"invalid taint effect: {effect}, unsupported taint effect")
            removed.append((key, effect))
            continue
        key, value, effect = _read(spec)
        if any((one["key"], one["effect"]) == (key, effect) for one in added):
            raise _mistake(f"duplicated taints with the same key and effect: {{{key} {value} {effect} <nil>}}")
        added.append({"effect": effect, "key": key} | ({"value": value} if value else {}))
    return added, removed


def _read(spec: str) -> tuple[str, str, str]:
    """Key, value and effect of `KEY=VALUE:EFFECT` or `KEY:EFFECT`. Raises: CommandError."""
    pair, colon, effect = spec.partition(":")
    if ":" in effect:
        raise _mistake(f"invalid taint spec: {spec}")
    key, _, value = pair.partition("=") if colon else (pair, "", "")
    if "=" in value:
        raise _mistake(f"invalid taint spec: {spec}")
    if colon and effect not in EFFECTS:
        raise _mistake(f"invalid taint effect: {effect}, unsupported taint effect")
    problems = [*names.qualified_name(key), *(names.label_value(value) if value else ())]
    if problems:
        raise _mistake(f"invalid taint spec: {spec}, {'; '.join(problems)}")
    return key, value, effect


def _mistake(text: str) -> CommandError:
    return CommandError(f"error: {text}\nSee 'carob taint -h' for help and examples")


def _one(
    connection: Connection,
    arguments: Arguments,
    printer: ResultPrinter,
    target: Target,
    added: list[Tree],
    removed: list[tuple[str, str]],
) -> None:
    tree = target.tree or fetch(connection, target)
    present: list[Tree] = tree["spec"].get("taints") or []
    if not arguments.overwrite:
        there = [one for one in added if any(_place(one) == _place(other) for other in present)]
        if there:
            keys = ", ".join(f"{one['key']}" for one in there)
            raise CommandError(
                f"error: node {target.name} already has {keys} taint(s) with same effect(s) and --overwrite is false"
            )
    left = list(present)
    for key, effect in removed:
        gone = [one for one in left if one["key"] == key and effect in ("", one["effect"])]
        if not gone:
            shown = f"{key}:{effect}" if effect else key
            raise CommandError(f'error: taint "{shown}" not found')
        left = [one for one in left if one not in gone]
    kept = [one for one in left if not any(_place(one) == _place(new) for new in added)]
    wanted = [*added, *kept]
    if printer.dry_run == "client":
        tree = {**tree, "spec": {**tree["spec"], "taints": wanted}}
    else:
        query: dict[str, str | list[str]] = {"fieldManager": arguments.field_manager}
        if printer.dry_run == "server":
            query["dryRun"] = "All"
        # the whole list: two taints of one key would be one to a merge by key
        patch = {
            "metadata": {"resourceVersion": tree["metadata"]["resourceVersion"]},
            "spec": {"taints": wanted or None},
        }
        content_type = "application/merge-patch+json"
        tree = connection.json("PATCH", target.path(), query, patch, content_type=content_type)
    done = "modified" if added and removed else "untainted" if removed else "tainted"
    printer.show(tree, done, plain=True)


def _place(taint: Tree) -> tuple[str, str]:
    return taint["key"], taint["effect"]
