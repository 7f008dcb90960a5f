"""Tokens by which nodes of other machines join a cluster.

Each is a bootstrap token of the API and, in front of it, by what the new node knows the cluster's authority. The API keeps
them as Secrets in kube-system; they end by themselves.

Examples:
  carob token create                          # valid for a day
  carob token create --ttl 1h --print-join-command
  carob token list
  carob token delete abcdef
"""

from __future__ import annotations

import base64
import re
import time

from carob.cli import clusters
from carob.cli.errors import CommandError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from carob.base.layout import Cluster
    from carob.cli.flags import Arguments, Flags

VERBS = {
    "create": ("token:Create", "Make a token, and print it"),
    "list": ("token:List", "The tokens there are"),
    "delete": ("token:Delete", "Take tokens away"),
}
TYPE = "bootstrap.kubernetes.io/token"
SECRETS = "/api/v1/namespaces/kube-system/secrets"
NAME_PREFIX = "bootstrap-token-"
DEFAULT_GROUP = "system:bootstrappers:carob:default-node-token"
DEFAULT_TTL_SECONDS = 24 * 3600.0
USAGES = ("authentication", "signing")
_ALPHABET = "abcdefghijklmnopqrstuvwxyz0123456789"
_GROUP = re.compile(r"system:bootstrappers:[a-z0-9:-]{0,255}[a-z0-9]")
_ID = re.compile(r"[a-z0-9]{6}")


def _flags(flags: Flags, usage: str) -> None:
    flags.usage = usage
    clusters.add_name_flags(flags)


class Create:
    """Make a token, and print it. It tells who has it how to join; keep it as a password.

    Examples:
      carob token create
      carob token create --ttl 0 --description "the rack in the cellar"
    """

    @staticmethod
    def add_flags(flags: Flags) -> None:
        """The verb's flags."""
        _flags(flags, "[TOKEN] [flags]")
        flags.duration("ttl", default=DEFAULT_TTL_SECONDS, help="how long it is valid; 0: for ever")
        flags.text("description", help="for people: what it is for")
        flags.csv("groups", meta="GROUP,...", help=f"as whose members nodes join (default: {DEFAULT_GROUP})")
        flags.csv("usages", meta="USAGE,...", help="what it is for: authentication, signing (default: both)")
        flags.switch("print-join-command", help="print the whole command for the new node's machine")

    @staticmethod
    def run(arguments: Arguments) -> int:
        """Make it and print it."""
        from carob.api.join_token import JoinToken
        from carob.api.status import ApiError
        from carob.api.x509 import pem_to_der, public_key_digest

        token_id, secret = _wanted(arguments)
        body = _secret(arguments, token_id, secret)
        cluster = clusters.existing(arguments)
        connection = clusters.admin(cluster)
        try:
            connection.json("POST", SECRETS, body=body)
        except ApiError as error:
            if error.reason == "AlreadyExists":
                raise CommandError(f'error: a token with id "{token_id}" already exists') from error
            raise CommandError(f"error: {error.message}") from error
        finally:
            connection.close()
        pin = public_key_digest(pem_to_der((cluster.pki_dir / "ca.crt").read_bytes()))
        token = JoinToken(token_id, secret, pin)
        print(_join_command(cluster, token) if arguments.print_join_command else token)
        return 0


class List:
    """The tokens there are, with their secrets.

    Examples:
      carob token list
    """

    @staticmethod
    def add_flags(flags: Flags) -> None:
        """The verb's flags."""
        _flags(flags, "[flags]")

    @staticmethod
    def run(arguments: Arguments) -> int:
        """Print a line a token."""
        from carob.cli.printers.columns import Columns

        clusters.need_no_words(arguments, "carob token list")
        connection = clusters.admin(clusters.existing(arguments))
        try:
            found = connection.json("GET", SECRETS, {"fieldSelector": f"type={TYPE}"})["items"]
        finally:
            connection.close()
        rows = [["TOKEN", "TTL", "EXPIRES", "USAGES", "DESCRIPTION", "EXTRA GROUPS"]]
        rows += sorted(_row(secret.get("data") or {}, time.time()) for secret in found)
        for line in Columns().lines(rows):
            print(line)
        return 0


class Delete:
    """Take tokens away: nobody joins with them any more. Nodes that have joined stay.

    Examples:
      carob token delete abcdef
    """

    @staticmethod
    def add_flags(flags: Flags) -> None:
        """The verb's flags."""
        _flags(flags, "ID... [flags]")

    @staticmethod
    def run(arguments: Arguments) -> int:
        """Take each away."""
        from carob.api.status import ApiError

        if not arguments.words:
            raise CommandError("error: name the tokens, or their ids")
        ids = [text if _ID.fullmatch(text) else _parsed(text).token_id for text in arguments.words]
        connection = clusters.admin(clusters.existing(arguments))
        try:
            for token_id in ids:
                try:
                    connection.json("DELETE", f"{SECRETS}/{NAME_PREFIX}{token_id}")
                except ApiError as error:
                    if error.reason == "NotFound":
                        raise CommandError(f'error: there is no bootstrap token "{token_id}"') from error
                    raise CommandError(f"error: {error.message}") from error
                print(f'bootstrap token "{token_id}" deleted')
        finally:
            connection.close()
        return 0


def _parsed(text: str) -> Any:
    from carob.api import join_token

    try:
        return join_token.parse(text)
    except ValueError as error:
        raise CommandError(f"error: {error}") from error


def _wanted(arguments: Arguments) -> tuple[str, str]:
    """Id and secret, given or made."""
    if len(arguments.words) > 1:
        raise CommandError("error: name one token at most")
    if arguments.words:
        given = _parsed(arguments.words[0])
        return given.token_id, given.secret
    import secrets

    return "".join(secrets.choice(_ALPHABET) for _ in range(6)), "".join(secrets.choice(_ALPHABET) for _ in range(16))


def _secret(arguments: Arguments, token_id: str, secret: str) -> dict[str, Any]:
    """The Secret. Raises: CommandError for what the API would not take as a token later. Source: kubeadm `token create`."""
    if arguments.ttl < 0:
        raise CommandError("error: --ttl: a token cannot end before it begins; 0 is for ever")
    usages = [usage for usage in arguments.usages if usage] or list(USAGES)
    for usage in usages:
        if usage not in USAGES:
            raise CommandError(f'error: --usages: "{usage}" is neither authentication nor signing')
    groups = [group for group in arguments.groups if group] or [DEFAULT_GROUP]
    for group in groups:
        if not _GROUP.fullmatch(group):
            raise CommandError(f'error: --groups: "{group}" does not begin with system:bootstrappers:')
    fields = {"token-id": token_id, "token-secret": secret}
    if "authentication" in usages:
        fields["auth-extra-groups"] = ",".join(groups)
    fields |= {f"usage-bootstrap-{usage}": "true" for usage in usages}
    if arguments.ttl:
        fields["expiration"] = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + arguments.ttl))
    if arguments.description:
        fields["description"] = arguments.description
    data = {name: base64.b64encode(value.encode()).decode() for name, value in fields.items()}
    metadata = {"name": NAME_PREFIX + token_id, "namespace": "kube-system"}
    return {"kind": "Secret", "apiVersion": "v1", "metadata": metadata, "type": TYPE, "data": data}


def _join_command(cluster: Cluster, token: Any) -> str:
    if not cluster.advertise_address:
        import sys

        print(
            "Warning: the server is heard on this machine alone; --bind-address lets others reach it", file=sys.stderr
        )
    return f"carob node --server https://{cluster.advertised}:{cluster.api_port} --token {token}"


def _row(data: dict[str, str], now: float) -> list[str]:
    """A line of the list, with kubeadm's columns."""
    from carob.api.human import human_duration
    from carob.base.clock import parse_rfc3339

    def text(name: str) -> str:
        return base64.b64decode(data.get(name, "")).decode(errors="replace")

    ttl, expires = "<forever>", text("expiration") or "<never>"
    if text("expiration"):
        try:
            left = parse_rfc3339(text("expiration")) - now
            ttl = human_duration(left) if left > 0 else "<invalid>"
        except ValueError:
            ttl = "<invalid>"
    usages = ",".join(usage for usage in USAGES if text(f"usage-bootstrap-{usage}") == "true")
    shown = (f"{text('token-id')}.{text('token-secret')}", ttl, expires, usages, text("description"))
    return [*(cell or "<none>" for cell in shown), text("auth-extra-groups") or "<none>"]
