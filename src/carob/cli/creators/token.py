"""Request a service account token.

Examples:
  carob create token default
  carob create token builder --duration=10m --audience=https://example.com
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from carob.api.status import ApiError
from carob.cli.connection import add_connection_flags, connect
from carob.cli.creators.base import the_name
from carob.cli.errors import CommandError
from carob.cli.results import ResultPrinter, add_output_flags

if TYPE_CHECKING:
    from carob.cli.flags import Arguments, Flags

BOUND = {"Pod": "v1", "Secret": "v1", "Node": "v1"}


def add_flags(flags: Flags) -> None:
    """kubectl create token's flags."""
    flags.usage = "SERVICE_ACCOUNT [flags]"
    flags.texts("audience", meta="AUDIENCE", help="who is to accept it; may be repeated")
    flags.duration("duration", help="how long it is to be valid (default: the server decides)")
    flags.text("bound-object-kind", meta="KIND", help="valid only while this object lives: Pod, Secret or Node")
    flags.text("bound-object-name", meta="NAME", help="the object's name")
    flags.text("bound-object-uid", meta="UID", help="the object's uid")
    add_output_flags(flags)
    add_connection_flags(flags)


def run(arguments: Arguments) -> int:
    """Ask for it and print it."""
    name = the_name(arguments, "token")
    body = _request(arguments)
    arguments.dry_run = "none"
    printer = ResultPrinter(arguments)
    connection = connect(arguments)
    path = f"/api/v1/namespaces/{connection.namespace}/serviceaccounts/{name}/token"
    try:
        made = connection.json("POST", path, body=body)
    except ApiError as error:
        raise CommandError(f"error: failed to create token: {error.message}") from error
    finally:
        connection.close()
    token = (made.get("status") or {}).get("token", "")
    if not token:
        raise CommandError("error: failed to create token: no token in server response")
    if arguments.output:
        printer.show(made, "created", typed=True)
    else:
        print(token)
    return 0


def _request(arguments: Arguments) -> dict[str, Any]:
    kind = arguments.bound_object_kind
    if kind and kind not in BOUND:
        raise CommandError(f"error: supported --bound-object-kind values are {', '.join(sorted(BOUND))}")
    if kind and not arguments.bound_object_name:
        raise CommandError("error: --bound-object-name is required if --bound-object-kind is provided")
    if not kind and (arguments.bound_object_name or arguments.bound_object_uid):
        flag = "--bound-object-name" if arguments.bound_object_name else "--bound-object-uid"
        raise CommandError(f"error: {flag} can only be set if --bound-object-kind is provided")
    if arguments.duration < 0 or ("duration" in arguments.changed and not arguments.duration):
        raise CommandError("error: --duration must be greater than or equal to 0")
    if arguments.duration % 1:
        raise CommandError("error: --duration cannot be expressed in units less than seconds")
    spec: dict[str, Any] = {"audiences": arguments.audience or None}
    spec["expirationSeconds"] = int(arguments.duration) or None
    if kind:
        reference = {"kind": kind, "apiVersion": BOUND[kind], "name": arguments.bound_object_name}
        if arguments.bound_object_uid:
            reference["uid"] = arguments.bound_object_uid
        spec["boundObjectRef"] = reference
    spec = {k: v for k, v in spec.items() if v is not None}
    return {"kind": "TokenRequest", "apiVersion": "authentication.k8s.io/v1", "metadata": {}, "spec": spec}
