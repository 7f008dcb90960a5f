"""Print the supported API versions on the server, in the form of "group/version".

Examples:
  carob api-versions
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from carob.api.status import ApiError
from carob.cli.connection import add_connection_flags, connect
from carob.cli.discovery import group_versions
from carob.cli.failures import server_error

if TYPE_CHECKING:
    from carob.cli.flags import Arguments, Flags


def add_flags(flags: Flags) -> None:
    """kubectl api-versions' flags."""
    add_connection_flags(flags)


def run(arguments: Arguments) -> int:
    """One a line, sorted."""
    connection = connect(arguments)
    try:
        print("\n".join(sorted(group_versions(connection))))
        return 0
    except ApiError as error:
        raise server_error(error) from error
    finally:
        connection.close()
