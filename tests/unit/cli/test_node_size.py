"""How much of the machine a node has, as the flags say it."""

from __future__ import annotations

import pytest

from carob.base.layout import NodeLayout
from carob.cli import node_size
from carob.cli.errors import CommandError
from carob.cli.flags import Flags


def sized(node: NodeLayout, *given: str) -> bool:
    flags = Flags("carob node")
    node_size.add_flags(flags)
    return node_size.apply(node, flags.parse(given))


def test_what_is_given_is_kept_and_what_is_not_stays() -> None:
    node = NodeLayout("n", "10.42.0.1", "10.42.0.0/24")
    assert not sized(node)
    assert sized(node, "--node-cpus", "500m", "--node-memory", "2Gi")
    assert (node.cpus, node.memory) == ("500m", "2Gi")
    assert not sized(node, "--node-memory", "2Gi")
    assert sized(node, "--node-cpus=")
    assert (node.cpus, node.memory) == ("", "2Gi")


@pytest.mark.parametrize(
    ("flag", "value", "words"),
    [
        ("--node-cpus", "two", "is not a quantity such as 500m or 2"),
        ("--node-cpus", "0", "a node without any"),
        ("--node-cpus", "-1", "a node without any"),
        ("--node-memory", "much", "is not a quantity such as 512Mi or 2Gi"),
        ("--node-memory", "2m", "is less than 64Mi"),
        ("--node-memory", "0", "a node without any"),
    ],
)
def test_what_no_node_could_have_is_refused(flag: str, value: str, words: str) -> None:
    with pytest.raises(CommandError, match=f"error: {flag}: .*{words}"):
        sized(NodeLayout("n", "10.42.0.1", "10.42.0.0/24"), flag, value)
