"""Changing labels and annotations: `KEY=VALUE` sets, `KEY-` removes. What `label` and `annotate` have in common.

Source: kubectl pkg/cmd/label, pkg/cmd/annotate.
"""

from __future__ import annotations

import json
import re
import sys
from typing import TYPE_CHECKING, Any

from carob.cli.connection import add_connection_flags
from carob.cli.errors import CommandError
from carob.cli.failures import server_error
from carob.cli.results import ResultPrinter, add_dry_run_flag, add_output_flags
from carob.cli.targets import Target, add_target_flags, fetch_all, targets_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from carob.cli.connection import Connection
    from carob.cli.flags import Arguments, Flags

_VALUE = re.compile(r"(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?")


def add_label_flags(flags: Flags, what: str) -> None:
    """The flags of both verbs."""
    flags.usage = "(-f FILE | TYPE NAME) KEY=VALUE ... KEY- ... [flags]"
    flags.switch("overwrite", help=f"replace {what}s that have another value")
    flags.switch("list", help=f"show the {what}s")
    flags.switch("local", help="change what the file says, and ask no server")
    flags.text("resource-version", meta="VERSION", help="only if the object is still of this version")
    flags.text("field-manager", default=f"kubectl-{'label' if what == 'label' else 'annotate'}")
    add_target_flags(flags)
    add_dry_run_flag(flags)
    add_output_flags(flags)
    add_connection_flags(flags)


class LabelEdit:
    """One command line of `label` (field `labels`) or `annotate` (field `annotations`)."""

    def __init__(self, connection: Connection, arguments: Arguments, field: str) -> None:
        self._connection = connection
        self._arguments = arguments
        self._field = field
        self._what = field.removesuffix("s")
        self._printer = ResultPrinter(arguments)
        words, changes = _split(arguments.words)
        if not arguments.filename and not words:
            raise CommandError(
                "error: one or more resources must be specified as <resource> <name> or <resource>/<name>"
            )
        self._words = words
        self._set = dict(c.partition("=")[::2] for c in changes if "=" in c)
        self._remove = [c.removesuffix("-") for c in changes if "=" not in c]
        self._check(changes)

    def _check(self, changes: Sequence[str]) -> None:
        arguments = self._arguments
        if arguments.all and arguments.selector:
            raise CommandError("error: cannot set --all and --selector at the same time")
        if not changes and not arguments.list:
            raise CommandError(f"error: at least one {self._what} update is required")
        both = [key for key in self._remove if key in self._set]
        if both and self._field == "labels":
            raise CommandError("error: can not both modify and remove a label in the same command")
        if both:
            raise CommandError(
                "error: can not both modify and remove the following annotation(s) in the same command: "
                + ", ".join(both)
            )
        for key, value in self._set.items():
            if self._field == "labels" and (not _VALUE.fullmatch(value) or len(value) > 63):
                raise CommandError(f'error: invalid label value: "{key}={value}": {_why(value)}')

    def run(self) -> int:
        """The exit code."""
        targets = targets_of(self._connection, self._arguments, self._words)
        failed = False
        local = self._arguments.local
        single = len(targets) == 1
        found = [(t, t.tree, None) for t in targets] if local else fetch_all(self._connection, targets)
        for target, tree, error in found:
            if error is not None or tree is None:
                assert error is not None
                failed = True
                print(server_error(error), file=sys.stderr)
            elif self._arguments.list:
                self._list(tree, single=single)
            else:
                self._one(target, tree)
        return 1 if failed else 0

    def _list(self, tree: dict[str, Any], *, single: bool) -> None:
        values = tree["metadata"].get(self._field) or {}
        indent = ""
        if not single:
            group = tree["apiVersion"].rpartition("/")[0]
            print(f"Listing {self._field} for {tree['kind']}.{group}/{tree['metadata']['name']}:")
            indent = " "
        for key in sorted(values):
            print(f"{indent}{key}={values[key]}")

    def _one(self, target: Target, tree: dict[str, Any]) -> None:
        old = tree["metadata"].get(self._field) or {}
        new = self._changed(old)
        result = {**tree, "metadata": {**tree["metadata"], self._field: new}}
        version = self._arguments.resource_version
        if not self._arguments.local and self._printer.dry_run != "client":
            patch: dict[str, Any] = {k: v for k, v in new.items() if old.get(k) != v}
            patch.update({key: None for key in old if key not in new})
            if patch or version:
                body: dict[str, Any] = {"metadata": {self._field: patch} if patch else {}}
                if version:
                    body["metadata"]["resourceVersion"] = version
                result = self._send(target, body)
        self._printer.show(result, self._message(old, new))
        sys.stdout.flush()

    def _send(self, target: Target, body: dict[str, Any]) -> dict[str, Any]:
        query: dict[str, str | list[str]] = {"fieldManager": self._arguments.field_manager}
        if self._printer.dry_run == "server":
            query["dryRun"] = "All"
        made: dict[str, Any] = self._connection.json(
            "PATCH", target.path(), query, body, content_type="application/merge-patch+json"
        )
        return made

    def _changed(self, old: dict[str, str]) -> dict[str, str]:
        if not self._arguments.overwrite:
            taken = [k for k, v in self._set.items() if k in old and old[k] != v]
            shown = "; ".join(f"'{k}' already has a value ({old[k]})" for k in taken)
            if taken and self._field == "labels":
                raise CommandError(
                    f"error: '{taken[0]}' already has a value ({old[taken[0]]}), and --overwrite is false"
                )
            if taken:
                raise CommandError(
                    f"error: --overwrite is false but found the following declared annotation(s): {shown}"
                )
        new = {**old, **self._set}
        for key in self._remove:
            if key not in new and self._field == "labels":
                print(f'label "{key}" not found.')
            new.pop(key, None)
        return new

    def _message(self, old: dict[str, str], new: dict[str, str]) -> str:
        if self._field == "annotations":
            return "annotated"
        if old == new:
            return "not labeled"
        shorter = len(json.dumps(new)) < len(json.dumps(old))
        return "unlabeled" if shorter and not self._arguments.overwrite else "labeled"


def _split(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Kinds and names, and behind them the changes."""
    for index, word in enumerate(words):
        if ("=" in word and not word.startswith("=")) or (word.endswith("-") and len(word) > 1):
            return list(words[:index]), list(words[index:])
    return list(words), []


def _why(value: str) -> str:
    if len(value) > 63:
        return "must be no more than 63 bytes"
    return (
        "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start "
        "and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation "
        "is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
    )
