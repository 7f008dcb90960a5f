"""Modify kubeconfig files: which cluster is meant, and as whom.

Examples:
  carob config get-contexts
  carob config use-context carob-default
  carob config set-context --current --namespace=staging
"""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from carob.cli.connection import add_connection_flags
from carob.cli.errors import CommandError
from carob.cli.kubeconfig_files import KINDS, Kubeconfig

if TYPE_CHECKING:
    from collections.abc import Callable

    from carob.cli.flags import Arguments, Flags

VERBS = {
    "current-context": ("config:CurrentContext", "Display the current-context"),
    "delete-cluster": ("config:DeleteCluster", "Delete the specified cluster from the kubeconfig"),
    "delete-context": ("config:DeleteContext", "Delete the specified context from the kubeconfig"),
    "delete-user": ("config:DeleteUser", "Delete the specified user from the kubeconfig"),
    "get-clusters": ("config:GetClusters", "Display clusters defined in the kubeconfig"),
    "get-contexts": ("config:GetContexts", "Describe one or many contexts"),
    "get-users": ("config:GetUsers", "Display users defined in the kubeconfig"),
    "rename-context": ("config:RenameContext", "Rename a context from the kubeconfig file"),
    "set": ("config_set:Set", "Set an individual value in a kubeconfig file"),
    "set-cluster": ("config:SetCluster", "Set a cluster entry in kubeconfig"),
    "set-context": ("config:SetContext", "Set a context entry in kubeconfig"),
    "set-credentials": ("config:SetCredentials", "Set a user entry in kubeconfig"),
    "unset": ("config_set:Unset", "Unset an individual value in a kubeconfig file"),
    "use-context": ("config:UseContext", "Set the current-context in a kubeconfig file"),
    "view": ("config_view", "Display merged kubeconfig settings or a specified kubeconfig file"),
}
ALIASES = {"use": "use-context"}


def one_word(arguments: Arguments, command: str) -> str:
    """The one NAME. Raises: CommandError in kubectl's words."""
    if len(arguments.words) != 1:
        raise CommandError(f"error: Unexpected args: {_go_list(arguments.words)}\nSee 'carob config {command} -h' for help and examples")  # fmt: skip
    return str(arguments.words[0])


def _go_list(words: list[str]) -> str:
    return f"[{' '.join(words)}]"


class _Verb:
    """A verb without flags of its own. Shape: `run`, `add_flags` and the docstring are those of a verb's module."""

    def __init__(self, run: Callable[[Arguments], int], usage: str, text: str, *examples: str) -> None:
        self.run = run
        self._usage = usage
        self.__doc__ = f"{text}.\n\nExamples:\n" + "".join(f"  carob config {one}\n" for one in examples)

    def add_flags(self, flags: Flags) -> None:
        flags.usage = self._usage
        add_connection_flags(flags)


def _current_context(arguments: Arguments) -> int:
    current = Kubeconfig(arguments.kubeconfig).current
    if not current:
        raise CommandError("error: current-context is not set")
    print(current)
    return 0


def _use_context(arguments: Arguments) -> int:
    name = one_word(arguments, "use-context")
    config = Kubeconfig(arguments.kubeconfig)
    if name not in config.entries("contexts"):
        raise CommandError(f'error: no context exists with the name: "{name}"')
    config.set_current(name)
    print(f'Switched to context "{name}".')
    return 0


def _names(kind: str, arguments: Arguments) -> int:
    print("NAME")
    for name in sorted(Kubeconfig(arguments.kubeconfig).entries(kind)):
        print(name)
    return 0


def _delete(kind: str, arguments: Arguments) -> int:
    one = KINDS[kind]
    if not arguments.words:
        raise CommandError(
            f"error: {one} to delete is required\nSee 'carob config delete-{one} -h' for help and examples"
        )
    name = one_word(arguments, f"delete-{one}")
    config = Kubeconfig(arguments.kubeconfig)
    if name not in config.entries(kind):
        raise CommandError(f"error: cannot delete {one} {name}, not in {config.first}")
    if kind == "contexts" and config.current == name:
        print(
            'warning: this removed your active context, use "carob config use-context" to select a different one',
            file=sys.stderr,
        )
    file = config.remove(kind, name)
    print(f"deleted {one} {name} from {file}")
    return 0


def _rename_context(arguments: Arguments) -> int:
    if len(arguments.words) != 2:
        raise CommandError(
            f"error: Unexpected args: {_go_list(arguments.words)}\n"
            "See 'carob config rename-context -h' for help and examples"
        )
    old, new = arguments.words
    config = Kubeconfig(arguments.kubeconfig)
    contexts = config.entries("contexts")
    if old not in contexts:
        raise CommandError(f'error: cannot rename the context "{old}", it\'s not in {config.first}')
    if new in contexts:
        raise CommandError(
            f'error: cannot rename the context "{old}", the context "{new}" already exists in {config.first}'
        )
    was_current = config.current == old
    config.put("contexts", new, contexts[old])
    config.remove("contexts", old)
    if was_current:
        config.set_current(new)
    print(f'Context "{old}" renamed to "{new}".')
    return 0


_ENTRY = "Delete the specified {} from the kubeconfig"
_DISPLAY = "Display {} defined in the kubeconfig"

CurrentContext = _Verb(_current_context, "[flags]", "Display the current-context", "current-context")
UseContext = _Verb(
    _use_context,
    "CONTEXT_NAME [flags]",
    "Set the current-context in a kubeconfig file",
    "use-context carob-default",
)
RenameContext = _Verb(
    _rename_context,
    "CONTEXT_NAME NEW_NAME [flags]",
    "Rename a context from the kubeconfig file",
    "rename-context old new",
)
GetClusters = _Verb(partial(_names, "clusters"), "[flags]", _DISPLAY.format("clusters"), "get-clusters")
GetUsers = _Verb(partial(_names, "users"), "[flags]", _DISPLAY.format("users"), "get-users")
DeleteContext, DeleteCluster, DeleteUser = (
    _Verb(partial(_delete, kind), "NAME [flags]", _ENTRY.format(one), f"delete-{one} carob-test")
    for kind, one in (("contexts", "context"), ("clusters", "cluster"), ("users", "user"))
)


class GetContexts:
    """Display one or many contexts from the kubeconfig file.

    Examples:
      carob config get-contexts
      carob config get-contexts carob-default
    """

    @staticmethod
    def add_flags(flags: Flags) -> None:
        flags.usage = "[(-o|--output=)name)] [NAME ...] [flags]"
        flags.switch("no-headers", help="no line of column names")
        flags.text("output", "o", meta="FORMAT", help="name")
        add_connection_flags(flags)

    @staticmethod
    def run(arguments: Arguments) -> int:
        if arguments.output not in ("", "name"):
            raise CommandError(
                f"error: --output {arguments.output} is not available in carob config get-contexts; resetting to default output "
                "format"
            )
        config = Kubeconfig(arguments.kubeconfig)
        contexts = config.entries("contexts")
        wanted = sorted(arguments.words or contexts)
        missing = [name for name in wanted if name not in contexts]
        rows = (
            []
            if arguments.no_headers or arguments.output
            else [["CURRENT", "NAME", "CLUSTER", "AUTHINFO", "NAMESPACE"]]
        )
        for name in wanted:
            if name not in contexts:
                continue
            if arguments.output:
                rows.append([name])
                continue
            context = contexts[name]
            mark = "*" if name == config.current else ""
            fields = (str(context.get(field) or "") for field in ("cluster", "user", "namespace"))
            rows.append([mark, name, *fields])
        _table(rows)
        for name in missing:
            print(f"error: context {name} not found", file=sys.stderr)
        return 1 if missing else 0


def _table(rows: list[list[str]]) -> None:
    if not rows:
        return
    # at least six wide, three spaces behind the longest
    widths = [max(6, *(len(row[column]) + 3 for row in rows)) for column in range(len(rows[0]))]
    for row in rows:
        print("".join(text.ljust(width) for text, width in zip(row[:-1], widths[:-1], strict=True)) + row[-1])


def _changed(arguments: Arguments, fields: dict[str, str], there: dict[str, Any]) -> dict[str, Any]:
    """The entry with the flags that were given; an empty text takes a field away."""
    content = dict(there)
    for flag, field in fields.items():
        if flag in arguments.changed:
            value = arguments.__dict__[flag.replace("-", "_")]
            if value:
                content[field] = value
            else:
                content.pop(field, None)
    return content


def _embed(content: dict[str, Any], fields: tuple[str, ...]) -> None:
    """Put the files' content where their names are. Raises: CommandError."""
    from base64 import b64encode

    for field in fields:
        name = content.pop(field, None)
        if name:
            try:
                content[f"{field}-data"] = b64encode(Path(name).read_bytes()).decode()
            except OSError as error:
                raise CommandError(f"error: could not stat {field} file {name}: stat {name}: no such file or directory") from error  # fmt: skip


def _absolute(content: dict[str, Any], fields: tuple[str, ...], changed: set[str]) -> None:
    for field in fields:
        if field in changed and content.get(field):
            content[field] = str(Path(content[field]).absolute())
            content.pop(f"{field}-data", None)


class SetContext:
    """Set a context entry in kubeconfig; of one that is there, only what is given changes.

    Examples:
      carob config set-context staging --cluster=carob-default --user=carob-default --namespace=staging
      carob config set-context --current --namespace=staging
    """

    @staticmethod
    def add_flags(flags: Flags) -> None:
        flags.usage = "[NAME | --current] [--cluster=NAME] [--user=NAME] [--namespace=NAMESPACE] [flags]"
        flags.switch("current", help="change the current context")
        add_connection_flags(flags)

    @staticmethod
    def run(arguments: Arguments) -> int:
        config = Kubeconfig(arguments.kubeconfig)
        if arguments.current:
            if arguments.words:
                raise CommandError("error: you cannot specify both a context name and --current")
            name = config.current
            if not name:
                raise CommandError("error: no current context is set")
        else:
            if not arguments.words:
                raise CommandError("error: you must specify a non-empty context name or --current")
            name = one_word(arguments, "set-context")
        contexts = config.entries("contexts")
        fields = {"cluster": "cluster", "user": "user", "namespace": "namespace"}
        content = _changed(arguments, fields, contexts.get(name, {}))
        config.put("contexts", name, {"cluster": "", "user": "", **content})
        print(f'Context "{name}" {"modified" if name in contexts else "created"}.')
        return 0


class SetCluster:
    """Set a cluster entry in kubeconfig; of one that is there, only what is given changes.

    Examples:
      carob config set-cluster test --server=https://10.0.0.1:6443 --certificate-authority=ca.crt --embed-certs
    """

    @staticmethod
    def add_flags(flags: Flags) -> None:
        flags.usage = "NAME [--server=URL] [--certificate-authority=FILE] [flags]"
        flags.switch("embed-certs", help="keep the certificates' content, not the files' names")
        flags.text("proxy-url", meta="URL", help="the proxy to the server")
        add_connection_flags(flags)

    @staticmethod
    def run(arguments: Arguments) -> int:
        name = one_word(arguments, "set-cluster")
        config = Kubeconfig(arguments.kubeconfig)
        fields = {
            flag: flag
            for flag in ("server", "certificate-authority", "insecure-skip-tls-verify", "tls-server-name", "proxy-url")
        }
        content = _changed(arguments, fields, config.entries("clusters").get(name, {"server": ""}))
        if arguments.insecure_skip_tls_verify:
            content.pop("certificate-authority", None)
            content.pop("certificate-authority-data", None)
        if arguments.embed_certs:
            if not arguments.certificate_authority:
                raise CommandError("error: you must specify a --certificate-authority to embed")
            _embed(content, ("certificate-authority",))
        _absolute(content, ("certificate-authority",), arguments.changed)
        config.put("clusters", name, content)
        print(f'Cluster "{name}" set.')
        return 0


class SetCredentials:
    """Set a user entry in kubeconfig; of one that is there, only what is given changes.

    Examples:
      carob config set-credentials ann --token=secret
      carob config set-credentials ann --client-certificate=ann.crt --client-key=ann.key --embed-certs
    """

    @staticmethod
    def add_flags(flags: Flags) -> None:
        flags.usage = "NAME [--client-certificate=FILE] [--client-key=FILE] [--token=TOKEN] [flags]"
        flags.switch("embed-certs", help="keep the certificates' content, not the files' names")
        flags.text("username", meta="NAME", help="a name for basic authentication")
        flags.text("password", meta="WORD", help="its password")
        add_connection_flags(flags)

    @staticmethod
    def run(arguments: Arguments) -> int:
        name = one_word(arguments, "set-credentials")
        if arguments.token and (arguments.username or arguments.password):
            raise CommandError("error: you cannot specify more than one authentication method at the same time: --token, --username/--password")  # fmt: skip
        config = Kubeconfig(arguments.kubeconfig)
        fields = {flag: flag for flag in ("client-certificate", "client-key", "token", "username", "password")}
        content = _changed(arguments, fields, config.entries("users").get(name, {}))
        if arguments.token:
            content = {key: value for key, value in content.items() if key not in ("username", "password")}
        elif arguments.username or arguments.password:
            content = {key: value for key, value in content.items() if key not in ("token", "tokenFile")}
        if arguments.embed_certs:
            if not (arguments.client_certificate or arguments.client_key):
                raise CommandError("error: you must specify a --client-certificate or --client-key to embed")
            _embed(content, ("client-certificate", "client-key"))
        _absolute(content, ("client-certificate", "client-key"), arguments.changed)
        config.put("users", name, content)
        print(f'User "{name}" set.')
        return 0
