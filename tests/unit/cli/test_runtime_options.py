"""`--cri-socket` and `--container-runtime-endpoint` of `carob up`: what they write into the cluster's description."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from carob.base.layout import Cluster, NodeLayout, new_cluster
from carob.cli import runtime_options
from carob.cli.errors import CommandError
from carob.cli.flags import Flags


@pytest.fixture
def cluster(tmp_path: Path) -> Cluster:
    made = new_cluster("c", [], tmp_path)
    made.run_dir = str(tmp_path / "run")
    made.nodes = [NodeLayout("node-0", "10.42.0.1", "10.42.0.0/24")]
    return made


@pytest.fixture
def listening(tmp_path: Path) -> Iterator[Path]:
    """A socket where somebody listens."""
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        yield path


def apply(cluster: Cluster, *words: str) -> NodeLayout:
    flags = Flags("carob up")
    runtime_options.add_flags(flags)
    runtime_options.apply(cluster, flags.parse(list(words)))
    return cluster.nodes[0]


def test_nothing_said_changes_nothing(cluster: Cluster) -> None:
    node = apply(cluster)
    assert (node.cri_socket, node.runtime_endpoint) == ("", "")


@pytest.mark.parametrize("scheme", ["", "unix://"])
def test_both_are_kept_by_their_paths_and_taken_back(cluster: Cluster, listening: Path, scheme: str) -> None:
    node = apply(
        cluster, "--cri-socket", f"{scheme}/run/x.sock", "--container-runtime-endpoint", f"{scheme}{listening}"
    )
    assert (node.cri_socket, node.runtime_endpoint) == ("/run/x.sock", f"unix://{listening}")
    node = apply(cluster, "--container-runtime-endpoint=")
    assert (node.cri_socket, node.runtime_endpoint) == ("/run/x.sock", "")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--cri-socket", "x.sock"], 'error: --cri-socket: "x.sock" is not the full path of a unix socket'),
        (["--cri-socket", "/" + "x" * 107], "error: --cri-socket: a unix socket's path has at most 107 bytes"),
        (["--cri-socket", "/etc/hostname"], "error: --cri-socket: /etc/hostname is there already and is no socket"),
        (
            ["--container-runtime-endpoint", "tcp://127.0.0.1:1"],
            'error: --container-runtime-endpoint: "tcp://127.0.0.1:1" is not the full path of a unix socket',
        ),
        (
            ["--container-runtime-endpoint", "unix:///run/no-such.sock"],
            "error: --container-runtime-endpoint: nobody listens at /run/no-such.sock",
        ),
    ],
)
def test_what_cannot_be_is_said(cluster: Cluster, words: list[str], message: str) -> None:
    with pytest.raises(CommandError) as failure:
        apply(cluster, *words)
    assert str(failure.value) == message


def test_a_runtime_has_cni_plugins_of_its_own(cluster: Cluster, listening: Path) -> None:
    cluster.nodes[0].cni_conf_dir = "/etc/cni/net.d"
    with pytest.raises(CommandError, match="the runtime has CNI plugins of its own, not --cni-conf-dir"):
        apply(cluster, "--container-runtime-endpoint", str(listening))


def test_a_cluster_without_a_node_of_its_own_network_has_no_such_runtime(cluster: Cluster) -> None:
    cluster.nodes[0].apart = True
    with pytest.raises(CommandError, match="has no node on this machine's own network"):
        apply(cluster, "--cri-socket", "/run/x.sock")
