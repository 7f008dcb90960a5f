"""Stop a cluster and remove every trace of it: processes, mounts, namespaces, cgroups, addresses, rules, files.

Works as well when every carob process was killed. With --keep-data the cluster's state stays, and `carob up`
continues from it.

Examples:
  carob down
  carob down --name test --keep-data
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from carob.base.layout import LOG_ROOT, RUN_ROOT, Cluster, new_cluster
from carob.cli import clusters, processes
from carob.cli.errors import CommandError
from carob.cli.progress import Progress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from carob.cli.flags import Arguments, Flags

NODE_GRACE_SECONDS = 10.0
SERVER_GRACE_SECONDS = 10.0


def add_flags(flags: Flags) -> None:
    """The verb's flags."""
    clusters.add_name_flags(flags)
    flags.switch("keep-data", help="keep the state, so that `carob up` goes on with it")
    flags.switch("quiet", "q", help="say nothing while it goes well")


def run(arguments: Arguments) -> int:
    """Stop and remove."""
    clusters.need_no_words(arguments, "carob down")
    known_nodes = clusters.load(arguments)
    if known_nodes is not None and known_nodes.nodes:
        clusters.need_root("carob down")
    progress = Progress(arguments.quiet)
    with clusters.locked(arguments.name):
        cluster = clusters.load(arguments)
        known = cluster is not None
        if cluster is None:
            # traces can outlive cluster.json, for example when a `down` was interrupted
            cluster = new_cluster(arguments.name, [], Path(arguments.data_dir))
        _stop(cluster, progress)
        left = _clean(cluster, progress)
        _remove_files(cluster, keep_data=arguments.keep_data)
    _remove_if_empty(RUN_ROOT, LOG_ROOT, Path(arguments.data_dir))
    if left:
        raise CommandError("error: this could not be removed:\n" + "\n".join(f"  {line}" for line in left))
    progress.note(f'Cluster "{arguments.name}" is gone.' if known else f'There was no cluster "{arguments.name}".')
    return 0


def _stop(cluster: Cluster, progress: Progress) -> None:
    for node in cluster.nodes:
        process = processes.find(cluster.run_dir, node.name)
        if process is not None:
            with progress.step(f"{node.name} stopped"):
                process.end(NODE_GRACE_SECONDS)
    server = processes.find(cluster.run_dir, "server")
    if server is not None:
        with progress.step("server stopped"):
            server.end(SERVER_GRACE_SECONDS)
    for stray in processes.strays(cluster.name):
        with progress.step(f"{stray.part} that nobody knew (pid {stray.pid}) stopped"):
            stray.end(NODE_GRACE_SECONDS)


def _clean(cluster: Cluster, progress: Progress) -> list[str]:
    from carob import standalone

    if os.geteuid() != 0:
        # without root there were no nodes, and nothing but files was made
        return []
    with progress.step("containers, mounts, namespaces, addresses removed"):
        return standalone.remove_traces(cluster)


def _remove_files(cluster: Cluster, *, keep_data: bool) -> None:
    from carob.client import kubeconfig

    kubeconfig.remove_context(f"carob-{cluster.name}")
    shutil.rmtree(cluster.run_dir, ignore_errors=True)
    if not keep_data:
        shutil.rmtree(cluster.log_dir, ignore_errors=True)
        shutil.rmtree(cluster.state_dir, ignore_errors=True)


def _remove_if_empty(*folders: Path) -> None:
    for folder in folders:
        try:
            folder.rmdir()
        except OSError:
            continue  # another cluster's files are in it, or it is gone
