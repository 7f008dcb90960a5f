"""Display merged kubeconfig settings or a specified kubeconfig file.

Secrets are left out unless --raw is given.

Examples:
  carob config view
  carob config view --minify --raw
  carob config view -o jsonpath='{.current-context}'
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from carob.cli.connection import add_connection_flags
from carob.cli.errors import CommandError
from carob.cli.kubeconfig_files import KINDS, Kubeconfig
from carob.cli.printers.objects import ObjectPrinter
from carob.cli.results import add_output_flags

if TYPE_CHECKING:
    from carob.cli.flags import Arguments, Flags

_BYTES = ("certificate-authority-data", "client-certificate-data", "client-key-data")
# as the fields stand in kubectl's types
_ORDER = (
    "cluster",
    "user",
    "namespace",
    "server",
    "tls-server-name",
    "insecure-skip-tls-verify",
    "certificate-authority",
    "certificate-authority-data",
    "proxy-url",
    "client-certificate",
    "client-certificate-data",
    "client-key",
    "client-key-data",
    "token",
    "tokenFile",
    "username",
    "password",
)
_WORDS = ("token", "password")


def add_flags(flags: Flags) -> None:
    """kubectl config view's flags."""
    flags.switch("raw", help="with certificates, keys and tokens")
    flags.switch("flatten", help="with the content of files in place of their names")
    flags.switch("minify", help="only what the current context uses")
    flags.switch("merge", default=True)
    add_output_flags(flags)
    flags.all["output"].default = "yaml"
    add_connection_flags(flags)


def run(arguments: Arguments) -> int:
    """Print it."""
    if arguments.words:
        raise CommandError(
            f"error: unexpected arguments: [{' '.join(arguments.words)}]\nSee 'carob config view -h' for help and examples"
        )
    config = Kubeconfig(arguments.kubeconfig)
    current = arguments.context or config.current
    parts = {kind: config.entries(kind) for kind in KINDS}
    if arguments.minify:
        if not current:
            raise CommandError("error: current-context must exist in order to minify")
        context = parts["contexts"].get(current)
        if context is None:
            raise CommandError(f"error: cannot locate context {current}")
        names = {"contexts": current, "clusters": context.get("cluster"), "users": context.get("user")}
        parts = {kind: {n: c for n, c in found.items() if n == names[kind]} for kind, found in parts.items()}
    tree: dict[str, Any] = {"kind": "Config", "apiVersion": "v1"}
    for kind in ("clusters", "users", "contexts"):
        shown = [
            {"name": name, KINDS[kind]: _shown(content, arguments.raw or arguments.flatten)}
            for name, content in sorted(parts[kind].items())
        ]
        tree[kind] = shown or None
    tree["current-context"] = current
    printer = ObjectPrinter(
        arguments.output, template=arguments.template, allow_missing=arguments.allow_missing_template_keys
    )
    sys.stdout.write(printer.text(tree, typed=True))
    return 0


def _shown(content: dict[str, Any], raw: bool) -> dict[str, Any]:
    content = dict(
        sorted(content.items(), key=lambda pair: _ORDER.index(pair[0]) if pair[0] in _ORDER else len(_ORDER))
    )
    if raw:
        return content
    out = {}
    for key, value in content.items():
        if key in _BYTES:
            out[key] = "DATA+OMITTED"
        elif key in _WORDS and value:
            out[key] = "REDACTED"
        else:
            out[key] = value
    return out
