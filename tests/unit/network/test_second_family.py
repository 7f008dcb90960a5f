"""Rules of a dual-stack node: IPv6 is added, and nothing changes for IPv4 nor for clusters without it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from carob.host.netlink_answers import Link, Route
from carob.network.addresses import HostPort, Lease
from carob.network.host_ports import render_elements
from carob.network.layout import ROUTE_PROTOCOL, NetworkLayout
from carob.network.node import render_node_table
from carob.network.policy import render_base as render_policies
from carob.network.second_family import Before, leads_to, who_may_hear
from carob.network.service_rules import (
    ANY_NODE6,
    Backends,
    Endpoint,
    ServicePort,
    elements_of,
    how_of,
    render_base,
    render_chains,
    service_networks,
)

ONE = NetworkLayout(cluster="c", dns_address="10.43.0.10", load_balancer_range="10.42.255.0/24")
DUAL = replace(
    ONE,
    inside_address6="fd00:42::1",
    pod_range6="fd00:42::/64",
    cluster_range6="fd00:42::/56",
    service_range6="fd00:43::/108",
    dns_address6="fd00:43::a",
    load_balancer_range6="fd00:42:0:ff::/64",
)


def tables(layout: NetworkLayout) -> list[str]:
    before = Before("0", ("eth0", "eth1")) if layout.dual else None
    return [render_node_table(layout, "0", [], before), render_base(layout, ["10.90.0.0/24"]), render_policies(layout)]


def test_a_cluster_of_one_family_has_no_word_of_the_other_and_a_dual_one_has_its_text_unchanged() -> None:
    for one, dual in zip(tables(ONE), tables(DUAL), strict=True):
        assert not any(word in one for word in ("ip6", "ipv6", "fd00"))
        assert dual.startswith(one)
        assert "fd00:42" in dual or "ipv6_addr" in dual.removeprefix(one)


def test_a_pod_s_second_address_is_as_far_into_its_range_as_the_first() -> None:
    layout = replace(DUAL, pod_range="10.42.7.0/24", pod_range6="fd00:42:0:9::/64")
    assert layout.address6_of("10.42.7.2") == "fd00:42:0:9::2"
    assert layout.address6_of("10.42.7.254") == "fd00:42:0:9::fe"


def test_further_ranges_count_for_families_that_the_node_has() -> None:
    further = ["10.90.0.0/24", "fd00:90::/112", "fd00:42:0:1::/64"]
    assert "fd00:90::/112" not in map(str, service_networks(ONE, further))
    found = [str(one) for one in service_networks(DUAL, further)]
    assert "fd00:90::/112" in found
    assert "fd00:42:0:1::/64" not in found, "Pods of another node have addresses there"


backends = st.builds(
    Backends,
    st.lists(st.builds(Endpoint, st.integers(2, 9).map("10.42.0.{}".format), st.just(80)), unique=True).map(tuple),
    st.none() | st.lists(st.builds(Endpoint, st.integers(2, 9).map("10.42.0.{}".format), st.just(80))).map(tuple),
    st.sampled_from([0, 60]),
    st.sampled_from([(), ("10.9.0.0/25", "10.9.0.128/25")]),
    st.booleans(),
)


def six(text: str) -> str:
    return text.replace("10.42.0.", "fd00:42::").replace("10.43.0.", "fd00:43::").replace("10.9.0.0/24", "fd00:9::/120")


@given(backends, st.booleans())
def test_a_port_in_ipv6_is_programmed_as_one_in_ipv4(found: Backends, on_node: bool) -> None:
    port = ServicePort("" if on_node else "10.43.0.7", "tcp", 80)
    port6 = ServicePort(ANY_NODE6 if on_node else "fd00:43::7", "tcp", 80)

    def moved(endpoints: Any) -> Any:
        return endpoints and tuple(Endpoint(six(one.address), one.port) for one in endpoints)

    sources = ("fd00:9::/121", "fd00:9::80/121") if found.sources else ()
    other = found._replace(endpoints=moved(found.endpoints), outside=moved(found.outside), sources=sources)
    how, how6 = how_of(port, found), how_of(port6, other)
    assert (how is None) == (how6 is None)
    if how is not None and how6 is not None:
        assert how6.chain == how.chain.replace("pick", "pick6")
    mine, theirs = elements_of(port, found), elements_of(port6, other)
    if found.sticky_seconds:
        # lasting numbers are made of addresses
        assert len(mine) == len(theirs)
        return
    assert theirs == {(f"{n}6", six(key)): six(value).replace("pick", "pick6") for (n, key), value in mine.items()}


@pytest.mark.parametrize("sticky", [0, 60])
def test_chains_speak_of_one_family_alone(sticky: int) -> None:
    found = Backends((Endpoint("fd00:42::2", 80),), outside=(Endpoint("fd00:42::3", 80),), sticky_seconds=sticky)
    how = how_of(ServicePort("fd00:43::7", "tcp", 80), found)
    assert how is not None
    script = render_chains(DUAL, [how, how._replace(outside=-1)])
    assert "ip6 saddr fd00:42::/56" in script
    assert "ip saddr" not in script
    assert "ip daddr" not in script
    assert "@endpoints6" in script
    assert "@endpoints " not in script


def test_host_ports_are_of_the_families_that_are_asked_for() -> None:
    ports = [
        HostPort("TCP", 80 + n, 8080, ip) for n, ip in enumerate(("", "0.0.0.0", "::", "192.0.2.1", "2001:db8::1"))
    ]
    lease = Lease("s", "10.42.0.2", tuple(ports))
    table = "add element inet carob-c-node"
    assert render_elements("c", "add", [lease]).splitlines() == [
        f"{table} host_ports {{ tcp . 80 : 10.42.0.2 . 8080 }}",
        f"{table} host_ports {{ tcp . 81 : 10.42.0.2 . 8080 }}",
        f"{table} host_address_ports {{ 192.0.2.1 . tcp . 83 : 10.42.0.2 . 8080 }}",
    ]
    assert render_elements("c", "add", [lease], DUAL.address6_of).splitlines() == [
        f"{table} host_ports {{ tcp . 80 : 10.42.0.2 . 8080 }}",
        f"{table} host_ports6 {{ tcp . 80 : fd00:42::2 . 8080 }}",
        f"{table} host_ports {{ tcp . 81 : 10.42.0.2 . 8080 }}",
        f"{table} host_ports6 {{ tcp . 82 : fd00:42::2 . 8080 }}",
        f"{table} host_address_ports {{ 192.0.2.1 . tcp . 83 : 10.42.0.2 . 8080 }}",
        f"{table} host_address_ports6 {{ 2001:db8::1 . tcp . 84 : fd00:42::2 . 8080 }}",
    ]


def test_only_our_routes_into_our_ranges_are_ours() -> None:
    ranges = ("fd00:42::/56",)
    ours = Route("fd00:42:0:1::", 64, 3, "fe80::1", protocol=ROUTE_PROTOCOL)
    assert leads_to(ours, ranges)
    assert not leads_to(replace(ours, protocol=4), ranges)
    assert not leads_to(replace(ours, destination="fd00:43::"), ranges)
    assert not leads_to(Route("::", 0, 3, "fe80::1", protocol=ROUTE_PROTOCOL), ("::/0",))


def test_a_machine_goes_on_listening_where_routers_are_or_may_be() -> None:
    links = [
        Link(1, "lo", True),
        Link(2, "eth0", True),
        Link(3, "veth1", True, kind="veth"),
        Link(4, "wlan0", True),
        Link(5, "bond0", True, kind="bond"),
    ]
    assert who_may_hear(links, {5}) == ["bond0", "eth0", "wlan0"]
    assert who_may_hear(links[:1], set()) == []
