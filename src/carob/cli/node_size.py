"""How much of the machine each of its nodes has: flags of `carob up`, `carob node` and `carob node add`.

Without them every node has all of it, as nodes of kind and minikube do; with them a node promises no more, and its Pods
together get no more.
"""

from __future__ import annotations

from carob.cli import processes
from carob.cli.errors import CommandError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from carob.base.layout import Cluster, NodeLayout
    from carob.cli.flags import Arguments, Flags

LEAST_MEMORY_BYTES = 64 << 20


def add_flags(flags: Flags) -> None:
    """`--node-cpus`, `--node-memory`."""
    flags.text("node-cpus", meta="AMOUNT", help="how many processors a node has, such as 2 or 500m (default: all)")
    flags.text("node-memory", meta="AMOUNT", help="how much memory a node has, such as 2Gi (default: all)")


def apply(node: NodeLayout, arguments: Arguments) -> bool:
    """Write into the node's description what the flags say; whether that changed it. Raises: CommandError."""
    before = node.cpus, node.memory
    if "node-cpus" in arguments.changed:
        node.cpus = _checked("node-cpus", arguments.node_cpus, "500m or 2")
    if "node-memory" in arguments.changed:
        node.memory = _checked("node-memory", arguments.node_memory, "512Mi or 2Gi")
    return before != (node.cpus, node.memory)


def apply_to_all(cluster: Cluster, arguments: Arguments) -> None:
    """As `apply`, to every node of the cluster here. Raises: CommandError, also for a node that runs otherwise."""
    for node in cluster.nodes:
        if apply(node, arguments) and processes.find(cluster.run_dir, node.name) is not None:
            raise CommandError(
                f"error: --node-cpus, --node-memory: {node.name} runs with another size; `carob down --name "
                f"{cluster.name} --keep-data` stops it, then it can be started with this one"
            )


def _checked(flag: str, text: str, such_as: str) -> str:
    """The quantity, or empty. Raises: CommandError."""
    from carob.api import quantity

    if not text:
        return ""
    try:
        amount = quantity.cpu_millicores(text) if flag == "node-cpus" else quantity.memory_bytes(text)
    except ValueError:
        raise CommandError(f'error: --{flag}: "{text}" is not a quantity such as {such_as}') from None
    if amount <= 0:
        raise CommandError(f"error: --{flag}: a node without any runs nothing")
    if flag == "node-memory" and amount < LEAST_MEMORY_BYTES:
        raise CommandError(f"error: --{flag}: {text} is less than 64Mi, which no Pod could use")
    return text
