"""Which container runtime the machine's first node has, and whether it serves the CRI: flags of `carob up`.

Source: the kubelet's `--container-runtime-endpoint`. Nodes that live apart always have carob's own runtime.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

from carob.cli import processes
from carob.cli.errors import CommandError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from carob.base.layout import Cluster
    from carob.cli.flags import Arguments, Flags

SCHEME = "unix://"
# what a unix socket's address holds; unix(7)
LONGEST_PATH_BYTES = 107
_FLAGS = ("cri-socket", "container-runtime-endpoint")


def add_flags(flags: Flags) -> None:
    """`--cri-socket`, `--container-runtime-endpoint`."""
    flags.text(
        "cri-socket", meta="PATH", help="serve the node's runtime to CRI clients such as crictl, on a unix socket"
    )
    flags.text(
        "container-runtime-endpoint",
        meta="unix://PATH",
        help="run containers by the CRI runtime (containerd, CRI-O) that listens there (default: carob's own)",
    )


def apply(cluster: Cluster, arguments: Arguments) -> None:
    """Write into the first node's description what the flags say. Raises: CommandError."""
    given = [flag for flag in _FLAGS if flag in arguments.changed]
    if not given:
        return
    node = next((node for node in cluster.nodes if not node.apart), None)
    if node is None:
        raise CommandError(f"error: --{given[0]}: the cluster has no node on this machine's own network")
    before = (node.cri_socket, node.runtime_endpoint)
    for flag in given:
        text = arguments.cri_socket if flag == "cri-socket" else arguments.container_runtime_endpoint
        path = _path(flag, text) if text else ""
        if flag == "cri-socket":
            node.cri_socket = path
        else:
            if path and not Path(path).is_socket():
                raise CommandError(f"error: --{flag}: nobody listens at {path}")
            node.runtime_endpoint = path and SCHEME + path
    if node.runtime_endpoint and node.cni_conf_dir:
        raise CommandError(
            "error: --container-runtime-endpoint: the runtime has CNI plugins of its own, not --cni-conf-dir"
        )
    if before == (node.cri_socket, node.runtime_endpoint):
        return
    if processes.find(cluster.run_dir, node.name) is not None:
        raise CommandError(
            f'error: --{given[0]}: {node.name} of the cluster "{cluster.name}" runs with something else; '
            f"`carob down --name {cluster.name} --keep-data` stops it, then it can be started with this"
        )
    if importlib.util.find_spec("grpc") is None:
        raise CommandError(f"error: --{given[0]} needs the Python package grpcio: pip install 'carob[cri]'")


def _path(flag: str, text: str) -> str:
    path = text.removeprefix(SCHEME)
    if not path.startswith("/"):
        raise CommandError(f'error: --{flag}: "{text}" is not the full path of a unix socket')
    if len(path.encode()) > LONGEST_PATH_BYTES:
        raise CommandError(f"error: --{flag}: a unix socket's path has at most {LONGEST_PATH_BYTES} bytes")
    if Path(path).exists() and not Path(path).is_socket():
        raise CommandError(f"error: --{flag}: {path} is there already and is no socket")
    return path
