"""Where a server listens for other machines, as its flags say it."""

from __future__ import annotations

import pytest

from carob.base.layout import Cluster
from carob.cli import listening
from carob.cli.errors import CommandError
from carob.cli.flags import Flags


def described(*given: str) -> Cluster:
    cluster, flags = Cluster("c", "s", "r", "l"), Flags("carob server")
    listening.add_flags(flags)
    listening.apply(cluster, flags.parse(given))
    return cluster


def test_it_listens_where_it_is_told_and_says_so_to_others() -> None:
    cluster = described()
    assert (cluster.bind_addresses, cluster.advertised) == ([], cluster.inside_address)
    cluster = described("--bind-address", "192.0.2.7,192.0.2.8")
    assert (cluster.bind_addresses, cluster.advertised) == (["192.0.2.7", "192.0.2.8"], "192.0.2.7")
    cluster = described("--advertise-address", "192.0.2.7")
    assert (cluster.bind_addresses, cluster.advertised) == (["192.0.2.7"], "192.0.2.7")
    cluster = described("--bind-address", "0.0.0.0", "--advertise-address", "192.0.2.9", "--tls-san", "a.example,::1")
    assert (cluster.bind_addresses, cluster.advertised) == (["0.0.0.0"], "192.0.2.9")
    assert cluster.server_names == ["a.example", "::1"]


@pytest.mark.parametrize(
    ("flag", "value"),
    [
        ("--bind-address", "here"),
        ("--bind-address", "::1"),
        ("--advertise-address", "0.0.0.0"),
        ("--advertise-address", "300.1.1.1"),
        ("--tls-san", "not a name"),
    ],
)
def test_what_is_no_address_is_refused_by_the_flags_name(flag: str, value: str) -> None:
    with pytest.raises(CommandError, match=f"error: {flag}: "):
        described(flag, value)


def test_a_change_is_seen_and_what_is_not_given_stays() -> None:
    cluster, flags = described("--bind-address", "192.0.2.7"), Flags("carob up")
    listening.add_flags(flags)
    assert not listening.apply(cluster, flags.parse(()))
    assert not listening.apply(cluster, flags.parse(("--bind-address", "192.0.2.7")))
    assert listening.apply(cluster, flags.parse(("--tls-san", "b.example")))
    assert cluster.bind_addresses == ["192.0.2.7"]
