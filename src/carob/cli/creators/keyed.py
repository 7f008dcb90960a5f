"""Objects made of keys and values: config maps, and what secrets share with them.

Source: kubectl pkg/cmd/create/create_configmap.go, pkg/util (env files, file sources).
"""

from __future__ import annotations

import os
import re
from base64 import b64encode
from typing import TYPE_CHECKING, Any

from carob.cli.creators.base import add_create_flags, content_hash, create, the_name
from carob.cli.errors import CommandError

if TYPE_CHECKING:
    from carob.cli.flags import Arguments, Flags

_KEY = re.compile(r"[-._a-zA-Z0-9]+")
_ENV_NAME = re.compile(r"[-._a-zA-Z][-._a-zA-Z0-9]*")


def add_source_flags(flags: Flags) -> None:
    """Where keys and values come from."""
    flags.texts("from-literal", meta="KEY=VALUE", help="a key and its value; may be repeated")
    flags.csv("from-file", meta="[KEY=]PATH", help="a file as a value, or each file of a folder; may be repeated")
    flags.csv("from-env-file", meta="FILE", help="a file of lines KEY=VALUE; may be repeated")
    flags.switch("append-hash", help="append a hash of the content to the name")


def values_of(arguments: Arguments, kind: str, name: str) -> dict[str, bytes]:
    """What the flags say. Raises: CommandError in kubectl's words."""
    if arguments.from_env_file and (arguments.from_file or arguments.from_literal):
        raise CommandError("error: from-env-file cannot be combined with from-file or from-literal")
    values: dict[str, bytes] = {}

    def add(key: str, value: bytes) -> None:
        if not _KEY.fullmatch(key) or key in (".", "..") or len(key) > 253:
            raise CommandError(f'error: "{key}" is not a valid key name for a {kind}: {_why_key(key)}')
        if key in values:
            raise CommandError(
                f'error: cannot add key "{key}", another key by that name already exists in Data for {kind} "{name}"'
            )
        values[key] = value

    for text in arguments.from_literal:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise CommandError(f"error: invalid literal source {text}, expected key=value")
        add(key, _unquoted(value).encode())
    for text in arguments.from_file:
        for key, path in _files(text):
            add(key, _read(path))
    for path in arguments.from_env_file:
        for key, value in _env_lines(path):
            add(key, value.encode())
    return values


def _why_key(key: str) -> str:
    if key in (".", ".."):
        return f"must not be '{key}'"
    return (
        "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME', "
        " or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')"
    )


def _unquoted(value: str) -> str:
    if len(value) >= 2 and value[0] == value[-1] and value[0] in "\"'":
        return value[1:-1]
    return value


def _files(text: str) -> list[tuple[str, str]]:
    key, equals, path = text.rpartition("=")
    if text.count("=") > 1:
        raise CommandError("error: key names or file paths cannot contain '='")
    if equals and not key:
        raise CommandError(f"error: key name for file path {path} missing")
    if equals and not path:
        raise CommandError(f"error: file path for key name {key} missing")
    if not os.path.exists(path):
        raise CommandError(f"error: error reading {path}: no such file or directory")
    if not os.path.isdir(path):
        return [(key or os.path.basename(path), path)]
    if equals:
        raise CommandError("error: cannot give a key name for a directory path")
    names = [n for n in sorted(os.listdir(path)) if os.path.isfile(os.path.join(path, n))]
    return [(n, os.path.join(path, n)) for n in names]


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as stream:
            return stream.read()
    except OSError as error:
        raise CommandError(f"error: error reading {path}: {str(error.strerror).lower()}") from error


def _env_lines(path: str) -> list[tuple[str, str]]:
    if os.path.isdir(path):
        raise CommandError(f"error: env config file cannot be a directory: {path}")
    found = []
    for raw in _read(path).decode("utf-8-sig").splitlines():
        line = raw.lstrip()
        if not line or line.startswith("#"):
            continue
        key, equals, value = line.partition("=")
        if not _ENV_NAME.fullmatch(key):
            raise CommandError(
                f'error: "{key}" is not a valid key name: a valid environment variable name must consist of alphabetic '
                "characters, digits, '_', '-', or '.', and must not start with a digit (e.g. 'my.env-name',  or "
                "'MY_ENV.NAME',  or 'MyEnvName1', regex used for validation is '[-._a-zA-Z][-._a-zA-Z0-9]*')"
            )
        if not equals:
            value = os.environ.get(key, "")
        found.append((key, value))
    return found


class ConfigMap:
    """Create a config map from a local file, directory or literal value.

    Examples:
      carob create configmap settings --from-literal=level=debug
      carob create configmap site --from-file=./pages
      carob create configmap env --from-env-file=app.env
    """

    @staticmethod
    def add_flags(flags: Flags) -> None:
        flags.usage = "NAME [--from-file=[KEY=]PATH] [--from-literal=KEY=VALUE] [flags]"
        add_source_flags(flags)
        add_create_flags(flags)

    @staticmethod
    def run(arguments: Arguments) -> int:
        name = the_name(arguments, "configmap")
        tree: dict[str, Any] = {"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": name}}
        for key, value in values_of(arguments, "ConfigMap", name).items():
            try:
                tree.setdefault("data", {})[key] = value.decode()
            except UnicodeDecodeError:
                tree.setdefault("binaryData", {})[key] = b64encode(value).decode()
        if arguments.append_hash:
            tree["metadata"]["name"] = f"{name}-{content_hash({'data': {}, **tree}, ('data', 'binaryData'))}"
        return create(arguments, tree)
