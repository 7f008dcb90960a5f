"""Which addresses a new cluster has, as its flags say it."""

from __future__ import annotations

import pytest

from carob.base.layout import Cluster
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


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (("--cluster-cidr", "here"), "--cluster-cidr: .* is not an IPv4 range"),
        (("--cluster-cidr", "fd00::/64"), "--cluster-cidr: .* is not an IPv4 range"),
        (("--cluster-cidr", "10.1.2.3/16"), "--cluster-cidr: .* has host bits set"),
        (("--cluster-cidr", "10.1.0.0/21"), "--cluster-cidr: 10.1.0.0/21 is too small"),
        (("--service-cidr", "10.1.0.0/28"), "--service-cidr: 10.1.0.0/28 is too small"),
        (("--service-cidr", "10.42.128.0/24"), "overlap"),
    ],
)
def test_what_no_cluster_could_have_is_refused(given: tuple[str, ...], words: str) -> None:
    cluster = Cluster("c", "s", "r", "l")
    with pytest.raises(CommandError, match=f"error: .*{words}"):
        ranges.apply(cluster, parsed(*given), new=True)
    assert cluster == Cluster("c", "s", "r", "l")
