"""Which addresses a new cluster has, as its flags say it."""

from __future__ import annotations

import pytest

from carob.base.layout import Cluster, NodeLayout
from carob.cli import ranges
from carob.cli.errors import CommandError
from carob.cli.flags import Arguments, Flags


def parsed(*given: str) -> Arguments:
    flags = Flags("carob up")
    ranges.add_flags(flags)
    return flags.parse(given)


def test_a_new_cluster_has_what_is_given_and_keeps_it() -> None:
    cluster = Cluster("c", "s", "r", "l")
    ranges.apply(cluster, parsed("--cluster-cidr", "10.100.0.0/14", "--service-cidr", "172.20.0.0/24"), new=True)
    assert (cluster.pod_cidr, cluster.service_cidr) == ("10.100.0.0/14", "172.20.0.0/24")
    assert (cluster.inside_address, cluster.dns_address) == ("10.100.0.1", "172.20.0.10")
    assert (cluster.segment_range, cluster.load_balancer_range) == ("10.103.254.0/24", "10.103.255.0/24")
    ranges.apply(cluster, parsed("--service-cidr", "172.20.0.0/24"), new=False)
    ranges.apply(cluster, parsed(), new=False)
    with pytest.raises(CommandError, match="for its whole life"):
        ranges.apply(cluster, parsed("--cluster-cidr", "10.42.0.0/16"), new=False)


def test_a_small_range_has_room_for_fewer_nodes() -> None:
    cluster = Cluster("c", "s", "r", "l")
    ranges.apply(cluster, parsed("--cluster-cidr", "10.100.16.0/20"), new=True)
    added = [cluster.add_node(f"n{number}").pod_cidr for number in range(13)]
    assert (added[0], added[-1]) == ("10.100.17.0/24", "10.100.29.0/24")
    assert (cluster.segment_range, cluster.load_balancer_range) == ("10.100.30.0/24", "10.100.31.0/24")
    with pytest.raises(ValueError, match="no room"):
        cluster.add_node("one-more")


def test_a_second_range_makes_a_cluster_dual_stack() -> None:
    cluster = Cluster("c", "s", "r", "l")
    given = parsed("--cluster-cidr", "10.100.0.0/16,fd00:42::/56", "--service-cidr", "10.101.0.0/16,fd00:43::/108")
    ranges.apply(cluster, given, new=True)
    assert (cluster.pod_cidr, cluster.pod_cidr6) == ("10.100.0.0/16", "fd00:42::/56")
    assert (cluster.service_cidr, cluster.service_cidr6) == ("10.101.0.0/16", "fd00:43::/108")
    assert (cluster.inside_address6, cluster.dns_address6) == ("fd00:42::1", "fd00:43::a")
    assert (cluster.segment_range6, cluster.load_balancer_range6) == ("fd00:42:0:fe::/64", "fd00:42:0:ff::/64")
    node = cluster.add_node("n", taken=["10.100.1.0/24", "fd00:42:0:2::/64"])
    assert (node.pod_cidr, node.pod_cidr6) == ("10.100.3.0/24", "fd00:42:0:3::/64")
    assert (node.address6, node.inside_address6) == ("fd00:42:0:fe::4", "fd00:42:0:fe::4")
    ranges.apply(cluster, given, new=False)
    with pytest.raises(CommandError, match=r"has 10\.100\.0\.0/16,fd00:42::/56 and .* for its whole life"):
        ranges.apply(cluster, parsed("--cluster-cidr", "10.100.0.0/16"), new=False)


def test_a_kept_cluster_needs_its_port_and_ranges_still() -> None:
    kept = Cluster("c", "s", "r", "l", api_port=6443, nodes=[NodeLayout("node-0", "10.42.0.1", "10.42.0.0/24")])
    nodes = [NodeLayout("node-0", "10.44.0.1", "10.44.0.0/24")]
    other = Cluster(
        "d", "/o/d", "r", "l", api_port=6444, pod_cidr="10.44.0.0/16", service_cidr="10.45.0.0/16", nodes=nodes
    )
    ranges.need_room(kept, [kept, other])
    other.service_cidr = "10.43.128.0/17"
    with pytest.raises(CommandError, match=r"the range 10\.43\.0\.0/16 .* so has the cluster \"d\".*--data-dir /o`"):
        ranges.need_room(kept, [kept, other])
    other.nodes = []
    ranges.need_room(kept, [kept, other])
    other.api_port = 6443
    with pytest.raises(CommandError, match="has port 6443 for its whole life"):
        ranges.need_room(kept, [kept, other])


def test_plugins_and_other_runtimes_attach_pods_of_one_family() -> None:
    node = NodeLayout("node-0", "10.42.0.1", "10.42.0.0/24", cni_conf_dir="/etc/cni/net.d")
    ranges.need_network(Cluster("c", "s", "r", "l", nodes=[node]))
    ranges.need_network(Cluster("c", "s", "r", "l", pod_cidr6="fd00:42::/56"))
    with pytest.raises(CommandError, match="--cni-conf-dir: not for a dual-stack cluster"):
        ranges.need_network(Cluster("c", "s", "r", "l", nodes=[node], pod_cidr6="fd00:42::/56"))


def test_a_small_second_range_has_room_for_fewer_nodes() -> None:
    cluster = Cluster("c", "s", "r", "l", pod_cidr6="fd00:42::/60", service_cidr6="fd00:43::/108")
    added = [cluster.add_node(f"n{number}").pod_cidr6 for number in range(13)]
    assert (added[0], added[-1]) == ("fd00:42:0:1::/64", "fd00:42:0:d::/64")
    assert cluster.segment_range6 == "fd00:42:0:e::/64"
    with pytest.raises(ValueError, match="no room"):
        cluster.add_node("one-more")


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (("--cluster-cidr", "here"), "--cluster-cidr: .* is not an IPv4 range"),
        (("--cluster-cidr", "fd00::/64"), "--cluster-cidr: .* is not an IPv4 range"),
        (("--cluster-cidr", "10.1.2.3/16"), "--cluster-cidr: .* has host bits set"),
        (("--cluster-cidr", "10.1.0.0/21"), "--cluster-cidr: 10.1.0.0/21 is too small"),
        (("--service-cidr", "10.1.0.0/28"), "--service-cidr: 10.1.0.0/28 is too small"),
        (("--service-cidr", "10.42.128.0/24"), "overlap"),
        (("--cluster-cidr", "10.1.0.0/16,10.2.0.0/16"), "--cluster-cidr: .* is not an IPv6 range"),
        (("--cluster-cidr", "fd00::/56,10.1.0.0/16"), "--cluster-cidr: .* the IPv4 range comes first"),
        (("--cluster-cidr", "10.1.0.0/16,fd00::/64"), "--cluster-cidr: fd00::/64 is too small; at least a /60"),
        (("--cluster-cidr", "10.1.0.0/16,fd00::/40"), "--cluster-cidr: fd00::/40 is too large; at most a /48"),
        (("--service-cidr", "10.1.0.0/16,fd00::/64"), "--service-cidr: fd00::/64 is too large; at most a /108"),
        (("--cluster-cidr", "10.1.0.0/16,fd00::/56"), "--service-cidr has none: a dual-stack cluster needs both"),
        (
            ("--cluster-cidr", "10.1.0.0/16,fd00::/56", "--service-cidr", "10.2.0.0/16,fd00::/108"),
            "--cluster-cidr fd00::/56 and --service-cidr fd00::/108 overlap",
        ),
    ],
)
def test_what_no_cluster_could_have_is_refused(given: tuple[str, ...], words: str) -> None:
    cluster = Cluster("c", "s", "r", "l")
    with pytest.raises(CommandError, match=f"error: .*{words}"):
        ranges.apply(cluster, parsed(*given), new=True)
    assert cluster == Cluster("c", "s", "r", "l")
