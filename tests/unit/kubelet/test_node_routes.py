"""Which ranges lead to which nodes."""

from __future__ import annotations

from carob.api import codec
from carob.api.types import core_v1
from carob.kubelet.node_routes import THROUGH, wanted_routes
from carob.network.routes import Way


def node(name: str, cidrs: list[str], *addresses: tuple[str, str]) -> core_v1.Node:
    tree = {
        "metadata": {"name": name},
        "spec": {"podCIDR": cidrs[0] if cidrs else "", "podCIDRs": cidrs},
        "status": {"addresses": [{"type": kind, "address": address} for kind, address in addresses]},
    }
    return codec.from_tree(core_v1.Node, tree)


def test_each_other_node_that_has_a_range_and_an_address() -> None:
    nodes = [
        node("me", ["10.42.0.0/24"], ("InternalIP", "192.0.2.1")),
        node("one", ["10.42.1.0/24"], ("Hostname", "one"), ("InternalIP", "192.0.2.2")),
        node("silent", ["10.42.2.0/24"], ("Hostname", "silent")),
        node("rangeless", [], ("InternalIP", "192.0.2.4")),
    ]
    assert wanted_routes(nodes, "me") == {"10.42.1.0/24": Way("192.0.2.2", "10.42.1.0/24")}


def test_a_second_family_goes_the_same_way() -> None:
    both = node("both", ["10.42.3.0/24", "fd00:1::/64"], ("InternalIP", "192.0.2.5"), ("InternalIP", "fd00::5"))
    way = Way("192.0.2.5", "10.42.3.0/24", "fd00::5")
    assert wanted_routes([both], "me") == {"10.42.3.0/24": way, "fd00:1::/64": way}
    both.metadata.annotations = {THROUGH: "machine"}
    machine = node("machine", ["10.42.0.0/24", "fd00::/64"], ("InternalIP", "192.0.2.1"), ("InternalIP", "fd00::1"))
    way = Way("192.0.2.1", "10.42.0.0/24", "fd00::1")
    ranges = ["10.42.0.0/24", "fd00::/64", "10.42.3.0/24", "fd00:1::/64", "192.0.2.5/32", "fd00::5/128"]
    assert wanted_routes([both, machine], "me") == dict.fromkeys(ranges, way)


def test_a_node_that_lives_apart_is_reached_through_its_machine_s_own() -> None:
    apart = [
        node(name, [f"10.42.{number}.0/24"], ("InternalIP", f"10.42.254.{number}"))
        for number, name in enumerate(("one", "two"), 1)
    ]
    for one in apart:
        one.metadata.annotations = {THROUGH: "machine"}
    machine = node("machine", ["10.42.0.0/24"], ("InternalIP", "192.0.2.1"))
    elsewhere = node("far", ["10.42.253.0/24"], ("InternalIP", "192.0.2.9"))
    nodes = [*apart, machine, elsewhere]
    far = wanted_routes(nodes, "far")
    ranges = ["10.42.0.0/24", "10.42.1.0/24", "10.42.2.0/24", "10.42.254.1/32", "10.42.254.2/32"]
    assert far == dict.fromkeys(ranges, Way("192.0.2.1", "10.42.0.0/24"))
    # on their own machine they are neighbours
    for own in ("machine", "one"):
        near = wanted_routes(nodes, own)
        assert near["10.42.2.0/24"] == Way("10.42.254.2", "10.42.2.0/24")
        assert near["10.42.253.0/24"] == Way("192.0.2.9", "10.42.253.0/24")
        assert "10.42.254.2/32" not in near
    # and nobody knows a way while the machine has not said where it is
    assert wanted_routes(apart, "far") == {}
