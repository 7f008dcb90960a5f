"""The command line by which a machine joins a cluster elsewhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from carob.base.layout import Cluster, NodeLayout
from carob.cli import clusters, membership
from carob.cli.errors import CommandError
from carob.cli.flags import Arguments, Flags


def parsed(folder: Path, *given: str) -> Arguments:
    flags = Flags("carob node")
    clusters.add_name_flags(flags)
    membership.add_flags(flags)
    return flags.parse(("--data-dir", str(folder), "--name", "far", *given))


def known(folder: Path, *servers: str) -> None:
    """The machine has a cluster of this name already, its own or, with servers, one elsewhere."""
    cluster = Cluster("far", str(folder / "far"), str(folder / "run"), str(folder / "log"))
    cluster.nodes, cluster.servers = [NodeLayout("n1", "127.0.0.1", "")], list(servers)
    cluster.save()


def test_nothing_is_joined_that_was_not_asked_for(tmp_path: Path) -> None:
    assert membership.member(parsed(tmp_path)) is None
    known(tmp_path)
    assert membership.member(parsed(tmp_path)) is None
    with pytest.raises(CommandError, match='"far" is a cluster of this machine'):
        membership.member(parsed(tmp_path, "--server", "https://127.0.0.1:1"))


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (("--server", "10.0.0.1:6443"), "--server: .* is not https://HOST:PORT"),
        (("--server", "https://"), "--server: .* is not https://HOST:PORT"),
        (("--server", "https://a:port"), "--server: .* is not https://HOST:PORT"),
        (("--server", "https://127.0.0.1:1"), "--token: without one this machine cannot join"),
        (("--server", "https://127.0.0.1:1", "--node-ip", "here"), "--node-ip: .* is not an IPv4 address"),
        (("--server", "https://127.0.0.1:1", "--node-name", "A_b"), "--node-name: "),
        (("--server", "https://127.0.0.1:1", "--node-name", "server"), "--node-name: "),
        (("--server", "https://127.0.0.1:1", "--labels", "x"), "--labels: "),
        (("--server", "https://127.0.0.1:1", "--taints", "x"), "--taints: "),
        (("--server", "https://127.0.0.1:1", "--token", "x"), "--token: the token is not of the form"),
        (
            ("--server", "https://127.0.0.1:1", "--token", "abcdef.0123456789abcdef"),
            "does not say by what to know the cluster",
        ),
    ],
)
def test_what_cannot_be_is_refused_by_its_name_and_nothing_is_written(
    tmp_path: Path, given: tuple[str, ...], words: str
) -> None:
    with pytest.raises(CommandError, match=f"error: .*{words}"):
        membership.member(parsed(tmp_path, *given))
    assert list(tmp_path.iterdir()) == []


def test_a_member_stays_who_it_is_and_may_have_other_servers_and_another_address(tmp_path: Path) -> None:
    known(tmp_path, "https://127.0.0.1:7")
    given = ("--server", "https://127.0.0.1:8,https://127.0.0.1", "--node-ip", "192.0.2.7", "--labels", "disk=ssd")
    cluster = membership.member(parsed(tmp_path, *given))
    assert cluster is not None
    assert cluster.servers == ["https://127.0.0.1:8", "https://127.0.0.1:6443"]
    (node,) = cluster.nodes
    assert (node.name, node.address, node.labels) == ("n1", "192.0.2.7", {"disk": "ssd"})
    assert Cluster.load(cluster.file).servers == cluster.servers
    # what the user chose stays; what nobody chose follows the machine
    again = membership.member(parsed(tmp_path))
    assert again is not None
    assert again.nodes[0].address == "192.0.2.7"
    again = membership.member(parsed(tmp_path, "--node-ip", ""))
    assert again is not None
    assert again.nodes[0].address == "127.0.0.1"
    with pytest.raises(CommandError, match="has joined as n1"):
        membership.member(parsed(tmp_path, "--node-name", "n2"))


def test_the_token_does_not_stay_on_the_command_line() -> None:
    words = ["node", "--server", "https://a", "--token", "secret", "--labels", "a=b", "--token=secret", "--quiet"]
    assert membership.without_token(words) == ["node", "--server", "https://a", "--labels", "a=b", "--quiet"]
