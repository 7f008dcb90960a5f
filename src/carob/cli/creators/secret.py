"""Create a secret with the specified type.

Examples:
  carob create secret generic password --from-literal=word=tell-nobody
  carob create secret docker-registry pull --docker-server=registry.example --docker-username=u --docker-password=p
  carob create secret tls web --cert=web.crt --key=web.key
"""

from __future__ import annotations

import json
import os
from base64 import b64encode
from typing import TYPE_CHECKING, Any

from carob.cli.creators.base import add_create_flags, content_hash, create, the_name
from carob.cli.creators.keyed import add_source_flags, values_of
from carob.cli.errors import CommandError

if TYPE_CHECKING:
    from carob.cli.flags import Arguments, Flags

VERBS = {
    "generic": ("creators.secret:Generic", "Create a secret from a local file, directory, or literal value"),
    "docker-registry": ("creators.secret:Registry", "Create a secret for use with a Docker registry"),
    "tls": ("creators.secret:Tls", "Create a TLS secret"),
}


def _secret(arguments: Arguments, name: str, kind: str, values: dict[str, bytes]) -> int:
    tree: dict[str, Any] = {"kind": "Secret", "apiVersion": "v1", "metadata": {"name": name}}
    if values:
        tree["data"] = {key: b64encode(value).decode() for key, value in values.items()}
    if kind:
        tree["type"] = kind
    if arguments.append_hash:
        tree["metadata"]["name"] = f"{name}-{content_hash({'data': {}, 'type': '', **tree}, ('data', 'type'))}"
    return create(arguments, tree)


class Generic:
    """Create a secret from a local file, directory, or literal value.

    Examples:
      carob create secret generic password --from-literal=word=tell-nobody
    """

    @staticmethod
    def add_flags(flags: Flags) -> None:
        flags.usage = "NAME [--type=TYPE] [--from-file=[KEY=]PATH] [--from-literal=KEY=VALUE] [flags]"
        flags.text("type", meta="TYPE", help="the secret's type (default: Opaque)")
        add_source_flags(flags)
        add_create_flags(flags)

    @staticmethod
    def run(arguments: Arguments) -> int:
        name = the_name(arguments, "secret generic")
        return _secret(arguments, name, arguments.type, values_of(arguments, "Secret", name))


class Registry:
    """Create a secret for use with a Docker registry.

    Examples:
      carob create secret docker-registry pull --docker-server=registry.example --docker-username=u --docker-password=p
    """

    @staticmethod
    def add_flags(flags: Flags) -> None:
        flags.usage = "NAME --docker-username=USER --docker-password=PASSWORD [flags]"
        flags.text("docker-server", default="https://index.docker.io/v1/", meta="URL", help="the registry")
        flags.text("docker-username", meta="USER", help="who logs in")
        flags.text("docker-password", meta="PASSWORD", help="the password")
        flags.text("docker-email", meta="EMAIL", help="an e-mail address")
        flags.csv("from-file", meta="[KEY=]PATH", help="a docker configuration instead")
        flags.switch("append-hash", help="append a hash of the content to the name")
        add_create_flags(flags)

    @staticmethod
    def run(arguments: Arguments) -> int:
        name = the_name(arguments, "secret docker-registry")
        if arguments.from_file:
            arguments.from_literal, arguments.from_env_file = [], []
            return _secret(arguments, name, "kubernetes.io/dockerconfigjson", values_of(arguments, "Secret", name))
        user, password = arguments.docker_username, arguments.docker_password
        if not user or not password or not arguments.docker_server:
            raise CommandError(
                "error: either --from-file or the combination of --docker-username, --docker-password and "
                "--docker-server is required"
            )
        entry = {"username": user, "password": password}
        if arguments.docker_email:
            entry["email"] = arguments.docker_email
        entry["auth"] = b64encode(f"{user}:{password}".encode()).decode()
        text = json.dumps({"auths": {arguments.docker_server: entry}}, separators=(",", ":"))
        return _secret(arguments, name, "kubernetes.io/dockerconfigjson", {".dockerconfigjson": text.encode()})


class Tls:
    """Create a TLS secret from a public/private key pair.

    Examples:
      carob create secret tls web --cert=web.crt --key=web.key
    """

    @staticmethod
    def add_flags(flags: Flags) -> None:
        flags.usage = "NAME --cert=FILE --key=FILE [flags]"
        flags.text("cert", meta="FILE", help="the certificate, PEM")
        flags.text("key", meta="FILE", help="its key, PEM")
        flags.switch("append-hash", help="append a hash of the content to the name")
        add_create_flags(flags)

    @staticmethod
    def run(arguments: Arguments) -> int:
        name = the_name(arguments, "secret tls")
        if not arguments.key or not arguments.cert:
            raise CommandError("error: key and cert must be specified")
        values = {"tls.crt": _read(arguments.cert), "tls.key": _read(arguments.key)}
        return _secret(arguments, name, "kubernetes.io/tls", values)


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as stream:
            return stream.read()
    except OSError as error:
        why = os.strerror(error.errno or 0).lower()
        raise CommandError(f"error: Cannot read file {path}, open {path}: {why}") from error
