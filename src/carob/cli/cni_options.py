"""Who gives the Pods of this machine's nodes their addresses: flags of `carob up`.

Source: the flags of the CRI runtimes and of the old kubelet.
"""

from __future__ import annotations

from pathlib import Path

from carob.cli import processes
from carob.cli.errors import CommandError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from carob.base.layout import Cluster
    from carob.cli.flags import Arguments, Flags

# where the CNI project puts them, and where Debian does
BIN_DIRS = ("/opt/cni/bin", "/usr/lib/cni")


def add_flags(flags: Flags) -> None:
    """`--cni-conf-dir`, `--cni-bin-dir`."""
    flags.text(
        "cni-conf-dir",
        meta="DIR",
        help="let CNI plugins attach Pods, as the first configuration in DIR (/etc/cni/net.d) says (default: carob's own)",
    )
    flags.texts(
        "cni-bin-dir",
        meta="DIR",
        help=f"where CNI plugins are; may be repeated (default: {', '.join(BIN_DIRS)})",
    )


def apply(cluster: Cluster, arguments: Arguments) -> None:
    """Write into the nodes' descriptions what the flags say. Raises: CommandError."""
    given = [flag for flag in ("cni-conf-dir", "cni-bin-dir") if flag in arguments.changed]
    if not given:
        return
    if not cluster.nodes:
        raise CommandError(f"error: --{given[0]}: the cluster has no node on this machine")
    conf_dir, bin_dirs = cluster.nodes[0].cni_conf_dir, cluster.nodes[0].cni_bin_dirs
    if "cni-conf-dir" in given:
        conf_dir = _folder("cni-conf-dir", arguments.cni_conf_dir) if arguments.cni_conf_dir else ""
    if "cni-bin-dir" in given:
        bin_dirs = [_folder("cni-bin-dir", text) for text in arguments.cni_bin_dir]
    if not conf_dir and bin_dirs:
        raise CommandError("error: --cni-bin-dir: plugins are asked only with --cni-conf-dir")
    bin_dirs = (bin_dirs or list(BIN_DIRS)) if conf_dir else []
    for node in cluster.nodes:
        if (node.cni_conf_dir, node.cni_bin_dirs) == (conf_dir, bin_dirs):
            continue
        node.cni_conf_dir, node.cni_bin_dirs = conf_dir, bin_dirs
        if processes.find(cluster.run_dir, node.name) is not None:
            raise CommandError(
                f'error: --{given[0]}: {node.name} of the cluster "{cluster.name}" runs with something else; '
                f"`carob down --name {cluster.name} --keep-data` stops it, then it can be started with this"
            )


def _folder(flag: str, text: str) -> str:
    path = Path(text).absolute()
    if not path.is_dir():
        raise CommandError(f"error: --{flag}: there is no folder {path}")
    return str(path)
