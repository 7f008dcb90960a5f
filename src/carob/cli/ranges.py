"""Which addresses a new cluster's Pods and Services have, where the usual ones are somebody else's.

A second range, of IPv6, makes the cluster dual-stack. They stay as they are for the cluster's whole life.

Source: kube-controller-manager `--cluster-cidr`, kube-apiserver `--service-cluster-ip-range` (k3s: `--service-cidr`);
KEP-563.
Differs: the IPv4 range is the first one.
"""

from __future__ import annotations

import ipaddress
from pathlib import Path

from carob.cli.errors import CommandError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from carob.base.layout import Cluster
    from carob.cli.flags import Arguments, Flags

# each node has a /24 (IPv6: a /64), and two more are kept: fewer than sixteen are no cluster
LONGEST_POD_PREFIX, LONGEST_POD_PREFIX6 = 20, 60
# upstream numbers at most 2^16 nodes and 2^20 Services
SHORTEST_POD_PREFIX6, SHORTEST_SERVICE_PREFIX6 = 48, 108
# the first address is the API's, the tenth the DNS's
LONGEST_SERVICE_PREFIX, LONGEST_SERVICE_PREFIX6 = 27, 123

NO_IPV6 = Path("/proc/sys/net/ipv6/conf/all/disable_ipv6")


def add_flags(flags: Flags) -> None:
    """`--cluster-cidr`, `--service-cidr`."""
    flags.text(
        "cluster-cidr",
        meta="CIDR[,CIDR6]",
        help="the Pods' addresses, a /24 (and a /64) a node (default: 10.42.0.0/16 or the next free)",
    )
    flags.text(
        "service-cidr",
        meta="CIDR[,CIDR6]",
        help="the Services' addresses (default: 10.43.0.0/16 or the next free)",
    )


def apply(cluster: Cluster, arguments: Arguments, *, new: bool) -> None:
    """Write into the cluster's description what the flags say. Raises: CommandError, also for one that has others."""
    before = pods, pods6, services, services6 = (
        cluster.pod_cidr,
        cluster.pod_cidr6,
        cluster.service_cidr,
        cluster.service_cidr6,
    )
    if arguments.cluster_cidr:
        limits = (LONGEST_POD_PREFIX, SHORTEST_POD_PREFIX6, LONGEST_POD_PREFIX6)
        pods, pods6 = _ranges("cluster-cidr", arguments.cluster_cidr, *limits)
    if arguments.service_cidr:
        limits = (LONGEST_SERVICE_PREFIX, SHORTEST_SERVICE_PREFIX6, LONGEST_SERVICE_PREFIX6)
        services, services6 = _ranges("service-cidr", arguments.service_cidr, *limits)
    if (pods, pods6, services, services6) == before:
        return
    if not new:
        raise CommandError(
            f'error: --cluster-cidr, --service-cidr: cluster "{cluster.name}" has {_words(before[0], before[1])} and '
            f"{_words(before[2], before[3])} for its whole life; choose another --name"
        )
    if bool(pods6) != bool(services6):
        one, other = ("cluster-cidr", "service-cidr") if pods6 else ("service-cidr", "cluster-cidr")
        raise CommandError(f"error: --{one} has an IPv6 range, --{other} has none: a dual-stack cluster needs both")
    for mine, theirs in ((pods, services), (pods6, services6)):
        if mine and ipaddress.ip_network(mine).overlaps(ipaddress.ip_network(theirs)):
            raise CommandError(f"error: --cluster-cidr {mine} and --service-cidr {theirs} overlap")
    cluster.pod_cidr, cluster.service_cidr = pods, services
    cluster.pod_cidr6, cluster.service_cidr6 = pods6, services6


def need_room(cluster: Cluster, others: Iterable[Cluster]) -> None:
    """See that a cluster which was kept has its port and ranges for itself still; `others` run, or have left something.

    Raises: CommandError.
    """
    for other in others:
        if other.name == cluster.name:
            continue
        shared = f"port {cluster.api_port}" if other.api_port == cluster.api_port else ""
        if cluster.nodes and other.nodes:
            mine, theirs = ((c.pod_cidr, c.service_cidr, c.pod_cidr6, c.service_cidr6) for c in (cluster, other))
            shared = next((f"the range {a}" for a in mine for b in theirs if _overlap(a, b)), shared)
        if shared:
            raise CommandError(
                f'error: cluster "{cluster.name}" has {shared} for its whole life, but so has the cluster "{other.name}", '
                f"which was started meanwhile; `carob down --name {other.name} --data-dir {Path(other.state_dir).parent}` "
                "ends that one"
            )


def _overlap(one: str, other: str) -> bool:
    if not one or not other or (":" in one) != (":" in other):
        return False
    return ipaddress.ip_network(one).overlaps(ipaddress.ip_network(other))


def has_ipv6() -> bool:
    """Whether this machine has IPv6, and has not switched it off."""
    return NO_IPV6.exists() and NO_IPV6.read_text().strip() == "0"


def need_families(cluster: Cluster) -> None:
    """See that this machine can have nodes of the cluster. Raises: CommandError."""
    if cluster.pod_cidr6 and not has_ipv6():
        raise CommandError(
            f'error: cluster "{cluster.name}" is dual-stack, but this machine has no IPv6, or it is switched off '
            "(net.ipv6.conf.all.disable_ipv6)"
        )


def need_network(cluster: Cluster) -> None:
    """See that this machine's nodes, where it has any, can give Pods addresses of both families. Raises: CommandError."""
    if not cluster.pod_cidr6 or not cluster.nodes:
        return
    for node in cluster.nodes:
        flag = "cni-conf-dir" if node.cni_conf_dir else "container-runtime-endpoint" if node.runtime_endpoint else ""
        if flag:
            raise CommandError(f"error: --{flag}: not for a dual-stack cluster; name IPv4 ranges only")
    need_families(cluster)


def _words(range_: str, range6: str) -> str:
    return ",".join(filter(None, (range_, range6)))


def _ranges(flag: str, text: str, longest: int, shortest6: int, longest6: int) -> tuple[str, str]:
    """The IPv4 range and, if there is one, the IPv6 range."""
    first, comma, second = text.partition(",")
    if ":" in first and comma:
        raise CommandError(f"error: --{flag}: {text}: the IPv4 range comes first")
    try:
        network = ipaddress.IPv4Network(first)
    except ValueError as error:
        raise CommandError(f'error: --{flag}: "{first}" is not an IPv4 range such as 10.100.0.0/16: {error}') from None
    if network.prefixlen > longest:
        raise CommandError(f"error: --{flag}: {first} is too small; at least a /{longest}")
    if not comma:
        return str(network), ""
    try:
        network6 = ipaddress.IPv6Network(second)
    except ValueError as error:
        raise CommandError(f'error: --{flag}: "{second}" is not an IPv6 range such as fd00:42::/56: {error}') from None
    if network6.prefixlen > longest6:
        raise CommandError(f"error: --{flag}: {second} is too small; at least a /{longest6}")
    if network6.prefixlen < shortest6:
        raise CommandError(f"error: --{flag}: {second} is too large; at most a /{shortest6}")
    return str(network), str(network6)
