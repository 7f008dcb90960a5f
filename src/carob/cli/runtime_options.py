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

# what a unix socket's address holds; unix(7)
LONGEST_PATH_BYTES = 107


def add_flags(flags: Flags) -> None:
    """`--cri-socket`."""
    flags.text(
        "cri-socket", meta="PATH", help="serve the node's runtime to CRI clients such as crictl, on a unix socket"
    )


def apply(cluster: Cluster, arguments: Arguments) -> None:
    """Write into the first node's description what the flags say. Raises: CommandError."""
    if "cri-socket" not in arguments.changed:
        return
    node = next((node for node in cluster.nodes if not node.apart), None)
    if node is None:
        raise CommandError("error: --cri-socket: the cluster has no node on this machine's own network")
    socket = _path("--cri-socket", arguments.cri_socket) if arguments.cri_socket else ""
    if socket:
        _need_grpc("--cri-socket")
    if node.cri_socket != socket and processes.find(cluster.run_dir, node.name) is not None:
        raise CommandError(
            f'error: --cri-socket: {node.name} of the cluster "{cluster.name}" runs without; `carob down --name '
            f"{cluster.name} --keep-data` stops it, then it can be started with this"
        )
    node.cri_socket = socket


def _path(flag: str, text: str) -> str:
    path = text.removeprefix("unix://")
    if not path.startswith("/"):
        raise CommandError(f'error: {flag}: "{text}" is not the full path of a unix socket')
    if len(path.encode()) > LONGEST_PATH_BYTES:
        raise CommandError(f"error: {flag}: a unix socket's path has at most {LONGEST_PATH_BYTES} bytes")
    if Path(path).exists() and not Path(path).is_socket():
        raise CommandError(f"error: {flag}: {path} is there already and is no socket")
    return path


def _need_grpc(flag: str) -> None:
    if importlib.util.find_spec("grpc") is None:
        raise CommandError(f"error: {flag} needs the Python package grpcio: pip install 'carob[cri]'")
