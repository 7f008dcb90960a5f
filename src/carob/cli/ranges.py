"""Which addresses a new cluster's Pods and Services have, where the usual ones are somebody else's.

Source: kube-controller-manager `--cluster-cidr`, kube-apiserver `--service-cluster-ip-range` (k3s: `--service-cidr`). They
stay as they are for the cluster's whole life, as there.
"""

from __future__ import annotations

import ipaddress

from carob.cli.errors import CommandError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from carob.base.layout import Cluster
    from carob.cli.flags import Arguments, Flags

# each node has a /24, and two more are kept: fewer than sixteen are no cluster
LONGEST_POD_PREFIX = 20
# the first address is the API's, the tenth the DNS's
LONGEST_SERVICE_PREFIX = 27


def add_flags(flags: Flags) -> None:
    """`--cluster-cidr`, `--service-cidr`."""
    flags.text(
        "cluster-cidr", meta="CIDR", help="the Pods' addresses, a /24 a node (default: 10.42.0.0/16 or the next free)"
    )
    flags.text("service-cidr", meta="CIDR", help="the Services' addresses (default: 10.43.0.0/16 or the next free)")


def apply(cluster: Cluster, arguments: Arguments, *, new: bool) -> None:
    """Write into the cluster's description what the flags say. Raises: CommandError, also for one that has others."""
    pods = _range("cluster-cidr", arguments.cluster_cidr, LONGEST_POD_PREFIX) or cluster.pod_cidr
    services = _range("service-cidr", arguments.service_cidr, LONGEST_SERVICE_PREFIX) or cluster.service_cidr
    if (pods, services) == (cluster.pod_cidr, cluster.service_cidr):
        return
    if not new:
        raise CommandError(
            f'error: --cluster-cidr, --service-cidr: cluster "{cluster.name}" has {cluster.pod_cidr} and '
            f"{cluster.service_cidr} for its whole life; choose another --name"
        )
    if ipaddress.ip_network(pods).overlaps(ipaddress.ip_network(services)):
        raise CommandError(f"error: --cluster-cidr {pods} and --service-cidr {services} overlap")
    cluster.pod_cidr, cluster.service_cidr = pods, services


def _range(flag: str, text: str, longest: int) -> str:
    if not text:
        return ""
    try:
        network = ipaddress.IPv4Network(text)
    except ValueError as error:
        raise CommandError(f'error: --{flag}: "{text}" is not an IPv4 range such as 10.100.0.0/16: {error}') from None
    if network.prefixlen > longest:
        raise CommandError(f"error: --{flag}: {text} is too small; at least a /{longest}")
    return str(network)
