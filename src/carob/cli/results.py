"""What a verb that changes things says of an object: `pod/web created`, or the object itself with `-o`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from carob.cli.errors import CommandError
from carob.cli.printers.objects import ObjectPrinter, name_of

if TYPE_CHECKING:
    from carob.cli.flags import Arguments, Flags

_SUFFIXES = {"client": " (dry run)", "server": " (server dry run)"}


def add_output_flags(flags: Flags) -> None:
    """`-o`, `--template`, `--show-managed-fields`."""
    flags.text("output", "o", meta="FORMAT", help="json, yaml, kyaml, name, jsonpath=...")
    flags.text("template")
    flags.switch("allow-missing-template-keys", default=True)
    flags.switch("show-managed-fields", help="keep managedFields in json and yaml")


def add_dry_run_flag(flags: Flags) -> None:
    """`--dry-run`."""
    flags.text("dry-run", default="none", meta="HOW", bare="unchanged", help="none, client or server: change nothing")


def dry_run_of(arguments: Arguments) -> str:
    """`none`, `client` or `server`. Raises: CommandError."""
    how = arguments.dry_run
    if how == "unchanged":
        print("W --dry-run is deprecated and can be replaced with --dry-run=client.", file=sys.stderr)
        return "client"
    if how not in ("none", "client", "server"):
        raise CommandError(f'error: Invalid dry-run value ({how}). Must be "none", "server", or "client".')
    return str(how)


class ResultPrinter:
    """Prints results of one command line. Raises: CommandError for a bad `-o`."""

    def __init__(self, arguments: Arguments) -> None:
        self.dry_run = dry_run_of(arguments)
        self._printer = ObjectPrinter(
            arguments.output,
            template=arguments.template,
            managed_fields=arguments.show_managed_fields,
            allow_missing=arguments.allow_missing_template_keys,
        )

    @property
    def wants_object(self) -> bool:
        """Whether `-o` asks for more than a line."""
        return self._printer.format not in ("", "name")

    def show(self, tree: dict[str, Any], operation: str, *, typed: bool = False, plain: bool = False) -> None:
        """Print `tree`, to which `operation` (`created`) was done; `plain`: without a word about dry runs."""
        if not self._printer.format:
            suffix = "" if plain else _SUFFIXES.get(self.dry_run, "")
            print(f"{name_of(tree)} {operation}{suffix}")
            return
        if typed and self._printer.format in ("json", "kyaml"):
            tree = in_type_order(tree)
        sys.stdout.write(self._printer.text(tree, typed=typed))
        sys.stdout.flush()


def in_type_order(tree: dict[str, Any]) -> dict[str, Any]:
    """The tree with its fields in the order of its type, and its maps sorted."""
    import json

    from carob.api import codec
    from carob.api.resources import TABLE

    row = TABLE.by_kind(tree["apiVersion"], tree["kind"])
    if row is None:
        return tree
    ordered: dict[str, Any] = codec.to_tree(codec.from_tree(row.struct, json.loads(json.dumps(tree, sort_keys=True))))
    return ordered
