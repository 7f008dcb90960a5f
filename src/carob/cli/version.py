"""Print the client and server version information for the current context.

Examples:
  carob version
  carob version --client
  carob version -o json
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

from carob.api.status import ApiError
from carob.cli.connection import add_connection_flags, connect
from carob.cli.errors import CommandError
from carob.cli.failures import server_error

if TYPE_CHECKING:
    from carob.cli.flags import Arguments, Flags


def add_flags(flags: Flags) -> None:
    """kubectl version's flags."""
    flags.switch("client", help="this program's version alone; no server is needed")
    flags.text("output", "o", meta="FORMAT", help="yaml or json")
    add_connection_flags(flags)


def run(arguments: Arguments) -> int:
    """Print both versions; without a server, ours and why the other is missing."""
    if arguments.words:
        raise CommandError(f"error: extra arguments: [{' '.join(arguments.words)}]")
    if arguments.output not in ("", "yaml", "json"):
        raise CommandError("error: --output must be 'yaml' or 'json'")
    versions: dict[str, Any] = {"clientVersion": _own()}
    failure: CommandError | None = None
    if not arguments.client:
        connection = connect(arguments)
        try:
            versions["serverVersion"] = connection.json("GET", "/version")
        except ApiError as error:
            failure = server_error(error)
        except CommandError as error:
            failure = error
        finally:
            connection.close()
    _print(versions, arguments.output)
    if failure is not None:
        raise failure
    return 0


def _own() -> dict[str, str]:
    """What we are, in the words in which clients say it: the API version that we speak, and our own behind it."""
    from importlib.metadata import version

    from carob.apiserver.well_known import API_VERSION

    major, minor = API_VERSION.removeprefix("v").split(".")[:2]
    machine = os.uname().machine
    platform = f"{sys.platform}/{ {'x86_64': 'amd64', 'aarch64': 'arm64'}.get(machine, machine) }"
    return {
        "major": major,
        "minor": minor,
        "gitVersion": f"{API_VERSION}+carob-{version('carob')}",
        "compiler": f"python{sys.version_info.major}.{sys.version_info.minor}",
        "platform": platform,
    }


def _print(versions: dict[str, Any], form: str) -> None:
    if form == "json":
        from carob.cli.printers.structured import to_json

        sys.stdout.write(to_json(versions, sort=False))
    elif form == "yaml":
        from carob.cli.printers.structured import to_yaml

        sys.stdout.write(to_yaml(versions))
    else:
        print(f"Client Version: {versions['clientVersion']['gitVersion']}")
        if "serverVersion" in versions:
            print(f"Server Version: {versions['serverVersion']['gitVersion']}")
    sys.stdout.flush()
