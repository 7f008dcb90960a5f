"""Update the labels on one or many resources.

KEY=VALUE sets, KEY- removes; --overwrite allows to change a value that is there.

Examples:
  carob label pod hello-pod zone=prod
  carob label pod hello-pod zone=dev --overwrite
  carob label pods --all status=checked
  carob label -f pod.yml zone-
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from carob.api.status import ApiError
from carob.cli.connection import connect
from carob.cli.failures import server_error
from carob.cli.labels import LabelEdit, add_label_flags

if TYPE_CHECKING:
    from carob.cli.flags import Arguments, Flags


def add_flags(flags: Flags) -> None:
    """kubectl label's flags."""
    add_label_flags(flags, "label")


def run(arguments: Arguments) -> int:
    """Change each."""
    connection = connect(arguments)
    try:
        return LabelEdit(connection, arguments, "labels").run()
    except ApiError as error:
        raise server_error(error) from error
    finally:
        connection.close()
