"""The cluster's state as a file: take it, start from it, go back to it.

`save` works while the cluster runs. `restore` puts a state into a cluster that does not run: into its own database, or
with `--store` into a new etcd; uids and resource versions are kept. `reset` takes a running cluster back to a state in
place: what was made since is gone, what was deleted is there again, with the same uids.

Examples:
  carob snapshot save before.snapshot
  carob snapshot reset before.snapshot
  carob snapshot restore before.snapshot --name copy
  carob snapshot restore before.snapshot --name big --store etcd://10.0.0.1:2379,10.0.0.2:2379,10.0.0.3:2379
"""

from __future__ import annotations

import time
from pathlib import Path

from carob.cli import clusters
from carob.cli.errors import CommandError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from carob.base.layout import Cluster
    from carob.cli.flags import Arguments, Flags

VERBS = {
    "save": ("snapshot:Save", "Write the present state into a file"),
    "restore": ("snapshot:Restore", "Begin with the state of a file; the cluster must not run"),
    "reset": ("snapshot:Reset", "Take the running cluster back to the state of a file"),
}


def _file(arguments: Arguments) -> Path:
    if len(arguments.words) != 1:
        raise CommandError("error: name one file, such as before.snapshot")
    return Path(arguments.words[0]).absolute()


def _cluster(arguments: Arguments) -> Cluster:
    """The cluster of the arguments; with `--store` one that need not be known here."""
    from carob.base.layout import Cluster
    from carob.cli.server import store_of

    if not arguments.store:
        return clusters.existing(arguments)
    state = Path(arguments.data_dir) / arguments.name
    return Cluster(arguments.name, str(state), str(state / "run"), str(state / "log"), store=store_of(arguments))


def _work(work: Callable[[Cluster, Path], int], cluster: Cluster, file: Path) -> tuple[int, float]:
    from carob.store.types import StoreError

    started = time.monotonic()
    try:
        return work(cluster, file), time.monotonic() - started
    except StoreError as error:
        raise CommandError(f"error: {error}") from error


class Save:
    """Write the present state into a file, also while the cluster runs. It holds Secrets: only its owner can read it.

    Examples:
      carob snapshot save before.snapshot
    """

    @staticmethod
    def add_flags(flags: Flags) -> None:
        """The verb's flags."""
        from carob.cli.server import add_store_flags

        flags.usage = "FILE [flags]"
        clusters.add_name_flags(flags)
        add_store_flags(flags)

    @staticmethod
    def run(arguments: Arguments) -> int:
        """Take the snapshot."""
        from carob.standalone import snapshots

        file = _file(arguments)
        count, seconds = _work(snapshots.save, _cluster(arguments), file)
        print(f"{count} objects saved in {file} ({seconds * 1000:.0f} ms)")
        return 0


class Restore:
    """Put the state of a file into a cluster that does not run; uids and resource versions are kept.

    An etcd must be a new one, for it counts its revisions itself.

    Examples:
      carob snapshot restore before.snapshot --name copy
      carob snapshot restore before.snapshot --store etcd://127.0.0.1:2379
    """

    @staticmethod
    def add_flags(flags: Flags) -> None:
        """The verb's flags."""
        Save.add_flags(flags)

    @staticmethod
    def run(arguments: Arguments) -> int:
        """Put the snapshot into the cluster's store."""
        from carob.cli import processes
        from carob.standalone import snapshots

        cluster = _cluster(arguments)
        if processes.find(cluster.run_dir, "server") is not None:
            raise CommandError(
                f'error: the cluster "{cluster.name}" runs; `carob down --keep-data` stops it, `carob snapshot reset` '
                "takes it back while it runs"
            )
        count, seconds = _work(snapshots.restore, cluster, _file(arguments))
        print(f"{count} objects restored ({seconds * 1000:.0f} ms)")
        if arguments.store:
            # a cluster that is not told of the etcd begins anew, in a file of its own
            print(f"`carob up --name {arguments.name} --store {arguments.store}` starts from them")
        return 0


class Reset:
    """Take the running cluster back to the state of a file of the server's machine, in place.

    Leases and nodes stay as they are. Resource versions go on, so that every watcher hears of it.

    Examples:
      carob snapshot reset before.snapshot
    """

    @staticmethod
    def add_flags(flags: Flags) -> None:
        """The verb's flags."""
        from carob.cli.connection import add_connection_flags

        flags.usage = "FILE [flags]"
        add_connection_flags(flags)

    @staticmethod
    def run(arguments: Arguments) -> int:
        """Ask the server to go back."""
        from carob.cli.connection import connect

        file = _file(arguments)
        started = time.monotonic()
        answer = connect(arguments).json("POST", "/carob/v1/reset", None, {"file": str(file)})
        seconds = time.monotonic() - started
        print(
            f"reset to {file}: {answer['created']} objects created, {answer['updated']} updated, "
            f"{answer['deleted']} deleted ({seconds * 1000:.0f} ms)"
        )
        return 0
