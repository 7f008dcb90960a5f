"""The scheduler's configuration, for `carob up`: checked before anything starts, then kept with the cluster's state."""

from __future__ import annotations

from pathlib import Path

from carob.cli import clusters
from carob.cli.errors import CommandError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from carob.base.layout import Cluster


def read(file: str) -> str:
    """The text of the file; empty where none is named. Raises: CommandError when it is no good."""
    if not file:
        return ""
    from carob.scheduler.configuration import ConfigurationError, load

    try:
        text = Path(file).read_text()
        load(text)
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(f"error: --scheduler-config: cannot read {file}: {error}") from error
    except ConfigurationError as error:
        raise CommandError(f"error: --scheduler-config: {file}: {error}") from error
    return text


def keep(cluster: Cluster, text: str) -> None:
    """Put it where the server finds it. Raises: CommandError when a server runs with another one."""
    clusters.keep_for_server(cluster, cluster.scheduler_file, text, "scheduler")
