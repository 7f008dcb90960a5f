"""What all of `create KIND` share: flags, the name, sending, printing."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

from carob.api.resources import TABLE
from carob.api.status import ApiError
from carob.cli.apply import encode_last_applied, field_validation, with_last_applied
from carob.cli.connection import add_connection_flags, connect
from carob.cli.errors import CommandError
from carob.cli.failures import server_error
from carob.cli.results import ResultPrinter, add_dry_run_flag, add_output_flags

if TYPE_CHECKING:
    from carob.cli.flags import Arguments, Flags

# upstream leaves out letters and digits that make words
_HASH_LETTERS = str.maketrans({"0": "g", "1": "h", "3": "k", "a": "m", "e": "t"})


def add_create_flags(flags: Flags) -> None:
    """The flags of every `create KIND`."""
    flags.switch("save-config", help="keep what was given in the annotation that apply reads")
    flags.text("validate", default="strict", meta="MODE", bare="strict", help="strict, warn or ignore")
    flags.text("field-manager", default="kubectl-create")
    add_dry_run_flag(flags)
    add_output_flags(flags)
    add_connection_flags(flags)


def the_name(arguments: Arguments, command: str) -> str:
    """The one NAME. Raises: CommandError."""
    if len(arguments.words) != 1:
        raise CommandError(
            f"error: exactly one NAME is required, got {len(arguments.words)}\n"
            f"See 'carob create {command} -h' for help and examples"
        )
    return arguments.words[0]


def create(arguments: Arguments, tree: dict[str, Any]) -> int:
    """Send the object and print it; the exit code."""
    printer = ResultPrinter(arguments)
    validation = field_validation(arguments.validate)
    connection = connect(arguments)
    row = TABLE.by_kind(tree["apiVersion"], tree["kind"])
    assert row is not None
    if row.namespaced and ("namespace" in arguments.changed or printer.dry_run != "client"):
        metadata = tree["metadata"]
        tree = {**tree, "metadata": {"name": metadata["name"], "namespace": connection.namespace, **metadata}}
    if arguments.save_config:
        tree = with_last_applied(tree, encode_last_applied(tree))
    try:
        if printer.dry_run != "client":
            query: dict[str, str | list[str]] = {
                "fieldManager": arguments.field_manager,
                "fieldValidation": validation,
            }
            if printer.dry_run == "server":
                query["dryRun"] = "All"
            path = row.path(connection.namespace if row.namespaced else None)
            tree = connection.json("POST", path, query, tree)
        printer.show(tree, "created", typed=True)
        return 0
    except ApiError as error:
        raise _failed(error, tree) from error
    finally:
        connection.close()


_PLAIN = frozenset(("Namespace", "Role", "ClusterRole"))
_NAMED = {"PodDisruptionBudget": "poddisruptionbudgets", "ResourceQuota": "quota"}


def _failed(error: ApiError, tree: dict[str, Any]) -> CommandError:
    """Most of kubectl's creators put their own words in front of the server's."""
    kind = tree["kind"]
    if kind in _PLAIN:
        return server_error(error)
    name = f"{tree['spec']['type']} service" if kind == "Service" else _NAMED.get(kind, kind.lower())
    return CommandError(f"error: failed to create {name}: {error.message}")


def content_hash(tree: dict[str, Any], fields: tuple[str, ...]) -> str:
    """The suffix of `--append-hash`: ten letters that depend on the content.

    Source: kubectl pkg/util/hash.
    """
    content = {"kind": tree["kind"], "name": tree["metadata"]["name"]}
    content.update({f: tree[f] for f in fields if f in tree})
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    for sign in "<>&\u2028\u2029":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return hashlib.sha256(text.encode()).hexdigest()[:10].translate(_HASH_LETTERS)
