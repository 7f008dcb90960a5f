"""What the kubelets of this machine's nodes are set to, for `carob up`, `carob node` and `carob node add`.

The flags are the kubelet's own, by its names; a KubeletConfiguration file says the same, and flags win over it. What was
set is kept with the cluster: as a KubeletConfiguration's fields.
"""

from __future__ import annotations

from pathlib import Path

from carob.cli.errors import CommandError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from carob.base.layout import Cluster
    from carob.cli.flags import Arguments, Flags

# flag -> field: pairs NAME=VALUE, pairs with a separator of their own, numbers, texts
_PAIRS = {
    "kube-reserved": ("kubeReserved", "="),
    "system-reserved": ("systemReserved", "="),
    "eviction-hard": ("evictionHard", "<"),
    "eviction-soft": ("evictionSoft", "<"),
    "eviction-soft-grace-period": ("evictionSoftGracePeriod", "="),
    "eviction-minimum-reclaim": ("evictionMinimumReclaim", "="),
}
_NUMBERS = {
    "eviction-max-pod-grace-period": "evictionMaxPodGracePeriod",
    "max-pods": "maxPods",
    "pods-per-core": "podsPerCore",
    "pod-max-pids": "podPidsLimit",
    "container-log-max-files": "containerLogMaxFiles",
    "image-gc-high-threshold": "imageGCHighThresholdPercent",
    "image-gc-low-threshold": "imageGCLowThresholdPercent",
}
_TEXTS = {
    "eviction-pressure-transition-period": "evictionPressureTransitionPeriod",
    "container-log-max-size": "containerLogMaxSize",
    "minimum-image-ttl-duration": "imageMinimumGCAge",
}


def add_flags(flags: Flags) -> None:
    """The kubelet's flags, under a heading of their own."""
    before, flags.section = flags.section, "Kubelet"
    flags.text("kubelet-config", meta="FILE", help="a KubeletConfiguration; the flags below win over it")
    flags.csv("kube-reserved", meta="NAME=AMOUNT,...", help="kept from Pods for carob, such as cpu=200m,memory=150Mi")
    flags.csv("system-reserved", meta="NAME=AMOUNT,...", help="kept from Pods for the rest of the machine")
    flags.csv("eviction-hard", meta="SIGNAL<VALUE,...", help="end Pods at once below, such as memory.available<500Mi")
    flags.csv("eviction-soft", meta="SIGNAL<VALUE,...", help="end Pods below, after the grace period")
    flags.csv("eviction-soft-grace-period", meta="SIGNAL=T,...", help="how long a soft threshold may be crossed")
    flags.csv("eviction-minimum-reclaim", meta="SIGNAL=AMOUNT,...", help="how much more is to be free afterwards")
    flags.number("eviction-max-pod-grace-period", meta="SECONDS", help="of Pods that a soft threshold ends")
    flags.text("eviction-pressure-transition-period", meta="T", help="how long a pressure stays (default: 5m)")
    flags.number("max-pods", meta="N", help="how many Pods a node takes (default: 110)")
    flags.number("pods-per-core", meta="N", help="and how many for each processor (default: no limit)")
    flags.number("pod-max-pids", meta="N", help="how many processes a Pod may have (default: as many as the node)")
    flags.csv(
        "allowed-unsafe-sysctls", meta="NAME,...", help="that Pods may set, such as net.core.somaxconn,kernel.msg*"
    )
    flags.text("container-log-max-size", meta="AMOUNT", help="when a container's log is rotated (default: 10Mi)")
    flags.number("container-log-max-files", meta="N", help="how many logs of a container are kept (default: 5)")
    flags.number(
        "image-gc-high-threshold", meta="PERCENT", help="how full the disk may be before images go (default: 85)"
    )
    flags.number("image-gc-low-threshold", meta="PERCENT", help="and until when they go (default: 80)")
    flags.text("minimum-image-ttl-duration", meta="T", help="how old an image must be before it goes (default: 2m)")
    flags.switch("seccomp-default", default=True, help="containers that name no seccomp profile get RuntimeDefault")
    flags.section = before


def read(arguments: Arguments) -> dict[str, Any]:
    """What the arguments say, as fields of a KubeletConfiguration; empty when nothing is said. Raises: CommandError."""
    given = arguments.changed & {
        "kubelet-config",
        "allowed-unsafe-sysctls",
        "seccomp-default",
        *_PAIRS,
        *_NUMBERS,
        *_TEXTS,
    }
    if not given:
        return {}
    from carob.kubelet import configuration

    tree: dict[str, Any] = {}
    flag_of: dict[str, str] = {}
    file = arguments.kubelet_config
    if file:
        tree = _of_file(file)
    for flag in given - {"kubelet-config"}:
        value = getattr(arguments, flag.replace("-", "_"))
        name, shaped = _field(flag, value)
        tree[name], flag_of[name] = shaped, flag
    try:
        configuration.changes(tree)
    except configuration.ConfigurationError as error:
        where = flag_of.get(error.field.partition("[")[0])
        shown = f"--{where}: {error.why}" if where else f"--kubelet-config: {file}: {error}"
        raise CommandError(f"error: {shown}") from error
    return tree


def keep(cluster: Cluster, tree: dict[str, Any]) -> None:
    """Have the cluster's nodes set so. Raises: CommandError when one runs that is set otherwise."""
    from carob.cli import processes

    if cluster.kubelet != tree and any(processes.find(cluster.run_dir, node.name) for node in cluster.nodes):
        raise CommandError(
            f'error: cluster "{cluster.name}" runs with another configuration of its kubelets; `carob down --name '
            f"{cluster.name} --keep-data` stops it, then it can be started with this one"
        )
    cluster.kubelet = tree


def _field(flag: str, value: Any) -> tuple[str, Any]:
    if flag in _PAIRS:
        name, separator = _PAIRS[flag]
        return name, _pairs(flag, value, separator)
    if flag == "allowed-unsafe-sysctls":
        return "allowedUnsafeSysctls", value
    if flag == "seccomp-default":
        return "seccompDefault", value
    return _NUMBERS.get(flag) or _TEXTS[flag], value


def _pairs(flag: str, texts: list[str], separator: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for text in texts:
        key, middle, value = (part.strip() for part in text.partition(separator))
        if not key or not middle or not value:
            raise CommandError(f'error: --{flag}: "{text}" is not NAME{separator}VALUE')
        if key in found:
            raise CommandError(f"error: --{flag}: {key} is given twice")
        found[key] = value
    return found


def _of_file(file: str) -> dict[str, Any]:
    from carob.kubelet import configuration

    try:
        return configuration.of_file(Path(file).read_text())
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(f"error: --kubelet-config: cannot read {file}: {error}") from error
    except configuration.ConfigurationError as error:
        raise CommandError(f"error: --kubelet-config: {file}: {error}") from error


def ignored(tree: dict[str, Any]) -> str:
    """What of it has no effect, as a sentence; empty where all has."""
    if not tree:
        return ""
    from carob.kubelet import configuration

    names = configuration.without_effect(tree)
    return f"without effect in a KubeletConfiguration here: {', '.join(names)}" if names else ""
