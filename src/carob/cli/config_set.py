"""`config set` and `config unset`: one value by its dotted name.

Source: kubectl pkg/cmd/config/set.go, unset.go.
"""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING, Any

from carob.cli.connection import add_connection_flags
from carob.cli.errors import CommandError
from carob.cli.kubeconfig_files import KINDS, Kubeconfig

if TYPE_CHECKING:
    from carob.cli.flags import Arguments, Flags

_BYTES = frozenset(("certificate-authority-data", "client-certificate-data", "client-key-data"))
_SWITCHES = frozenset(("insecure-skip-tls-verify", "disable-compression"))
_TEXTS = {
    "clusters": ("server", "tls-server-name", "certificate-authority", "proxy-url"),
    "contexts": ("cluster", "user", "namespace"),
    "users": ("client-certificate", "client-key", "token", "tokenFile", "as", "as-uid", "username", "password"),
}


def _parts(config: Kubeconfig, text: str) -> tuple[str, str, str]:
    """Kind, name (which may have dots) and field of `users.ann.token`. Raises: CommandError."""
    kind, _, rest = text.partition(".")
    if kind not in KINDS or not rest:
        raise CommandError(f"error: unable to parse {text} after [] at api.Config")
    if rest in config.entries(kind):
        return kind, rest, ""
    name, dot, field = rest.rpartition(".")
    return (kind, name, field) if dot else (kind, rest, "")


class Set:
    """Set an individual value in a kubeconfig file.

    Examples:
      carob config set current-context carob-default
      carob config set contexts.carob-default.namespace staging
      carob config set users.ann.token secret
    """

    @staticmethod
    def add_flags(flags: Flags) -> None:
        flags.usage = "PROPERTY_NAME PROPERTY_VALUE [flags]"
        flags.switch("set-raw-bytes", help="a value of bytes is not base64 encoded")
        add_connection_flags(flags)

    @staticmethod
    def run(arguments: Arguments) -> int:
        if len(arguments.words) != 2:
            raise CommandError(f"error: Unexpected args: [{' '.join(arguments.words)}]\nSee 'carob config set -h' for help and examples")  # fmt: skip
        text, value = arguments.words
        config = Kubeconfig(arguments.kubeconfig)
        if text == "current-context":
            config.set_current(value)
        else:
            kind, name, field = _parts(config, text)
            content = dict(config.entries(kind).get(name, {}))
            content[field] = _value(kind, field, value, text, raw=arguments.set_raw_bytes)
            config.put(kind, name, content)
        print(f'Property "{text}" set.')
        return 0


def _value(kind: str, field: str, value: str, text: str, *, raw: bool) -> Any:
    if field in _BYTES:
        if raw:
            return base64.b64encode(value.encode()).decode()
        try:
            base64.b64decode(value, validate=True)
        except (binascii.Error, ValueError) as error:
            raise CommandError("error: error decoding input value: illegal base64 data at input byte 0") from error
        return value
    if field in _SWITCHES:
        if value not in ("true", "false"):
            raise CommandError(f'error: strconv.ParseBool: parsing "{value}": invalid syntax')
        return value == "true"
    if field not in _TEXTS[kind]:
        kind_of = {"clusters": "Cluster", "contexts": "Context", "users": "AuthInfo"}[kind]
        raise CommandError(f"error: unable to parse {text} after {text.rpartition('.')[0]} at api.{kind_of}")
    return value


class Unset:
    """Unset an individual value in a kubeconfig file.

    Examples:
      carob config unset current-context
      carob config unset contexts.carob-default.namespace
      carob config unset users.ann
    """

    @staticmethod
    def add_flags(flags: Flags) -> None:
        flags.usage = "PROPERTY_NAME [flags]"
        add_connection_flags(flags)

    @staticmethod
    def run(arguments: Arguments) -> int:
        if len(arguments.words) != 1:
            raise CommandError(f"error: Unexpected args: [{' '.join(arguments.words)}]\nSee 'carob config unset -h' for help and examples")  # fmt: skip
        text = arguments.words[0]
        config = Kubeconfig(arguments.kubeconfig)
        if text == "current-context":
            config.set_current("")
        else:
            kind, name, field = _parts(config, text)
            there = config.entries(kind).get(name)
            if there is not None and not field:
                config.remove(kind, name)
            elif there is not None:
                config.put(kind, name, {key: value for key, value in there.items() if key != field})
        print(f'Property "{text}" unset.')
        return 0
