"""What services become in nftables: elements, chains, and the difference between two states."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from carob.host.conntrack import Flow
from carob.host.nftables import NftablesError
from carob.network.layout import NetworkFailure, NetworkLayout
from carob.network.service_rules import (
    OUTSIDE,
    How,
    elements_of,
    how_of,
    lasting_numbers,
    render_chains,
    render_changes,
)
from carob.network.services import Backends, Endpoint, ServicePort, ServiceTable

LAYOUT = NetworkLayout(cluster="c", dns_address="10.43.0.10")
WEB = ServicePort("10.43.7.7", "tcp", 80)
DNS = ServicePort("10.43.7.8", "udp", 53)
NODE = ServicePort("", "tcp", 30080)
OWN = "192.0.2.1"
ONE, TWO = Endpoint("10.42.0.5", 8080), Endpoint("10.42.0.6", 8080)
TABLE = "inet carob-c-services"
KEY = "10.43.7.7 . tcp . 80"


class Kernel:
    """Keeps scripts, and refuses when told."""

    def __init__(self) -> None:
        self.scripts: list[str] = []
        self.refuses = False
        self.lacks: list[str] = []
        self.flows: list[Flow] = []

    def run(self, script: str) -> None:
        if self.refuses or any(word in script for word in self.lacks):
            raise NftablesError("no", script)
        self.scripts.append(script)

    def query(self, command: str) -> list[dict[str, Any]]:
        return []

    def text(self, command: str) -> str:
        return ""

    def close(self) -> None:
        pass

    def forget(self, stale: Callable[[Flow], bool]) -> int:
        before = len(self.flows)
        self.flows = [flow for flow in self.flows if flow.protocol != 17 or not stale(flow)]
        return before - len(self.flows)


@pytest.fixture
def kernel() -> Kernel:
    return Kernel()


@pytest.fixture
def table(kernel: Kernel) -> ServiceTable:
    made = ServiceTable(LAYOUT, kernel, kernel, lambda: {OWN})
    made.reset({})
    kernel.scripts.clear()
    return made


def test_a_service_is_elements_alone() -> None:
    assert elements_of(WEB, Backends((ONE, TWO))) == {
        ("services", KEY): "goto pick_2",
        ("endpoints", f"{KEY} . 0"): "10.42.0.5 . 8080",
        ("endpoints", f"{KEY} . 1"): "10.42.0.6 . 8080",
    }


def test_without_endpoints_it_refuses_or_drops() -> None:
    assert elements_of(WEB, Backends()) == {("refused", KEY): ""}
    assert elements_of(NODE, Backends()) == {("node_refused", "tcp . 30080"): ""}
    assert elements_of(WEB, Backends(drops=True)) == {("services", KEY): "drop"}


def test_outside_clients_have_endpoints_of_their_own() -> None:
    backends = Backends((ONE, TWO), outside=(TWO,))
    found = elements_of(NODE, backends)
    assert found["node_services", "tcp . 30080"] == "goto node_pick_2_outside_1"
    assert found["node_endpoints", f"tcp . 30080 . {OUTSIDE}"] == "10.42.0.6 . 8080"
    how = how_of(NODE, backends)
    assert how is not None
    rules = render_chains(LAYOUT, [how])
    assert f"add rule {TABLE} {how.chain} ip saddr 10.42.0.0/24 goto node_pick_2" in rules
    assert "ip saddr 10.42.0.0/16 goto pick_2" in render_chains(LAYOUT, [how._replace(node=False)])


def test_outside_clients_get_nothing_from_a_node_without_endpoints_of_its_own() -> None:
    rules = render_chains(LAYOUT, [How(False, 2, 0)]).splitlines()
    assert rules[-1] == f"add rule {TABLE} pick_2_outside_0 drop"


def test_a_sticky_client_is_remembered_by_a_number_that_does_not_move() -> None:
    before = lasting_numbers([ONE, TWO])
    assert lasting_numbers([TWO])[TWO] == before[TWO]
    found = elements_of(WEB, Backends((ONE, TWO), sticky_seconds=10))
    assert found["services", KEY] == "goto pick_2_sticky_10"
    assert found["choices", f"{KEY} . 1"] == str(before[TWO])
    assert found["endpoints", f"{KEY} . {before[TWO]}"] == "10.42.0.6 . 8080"


def test_source_ranges_are_joined() -> None:
    found = elements_of(WEB, Backends((ONE,), sources=("10.0.0.0/8", "10.1.0.0/16", "192.0.2.7/32")))
    allowed = {key for name, key in found if name == "allowed"}
    assert allowed == {f"{KEY} . 10.0.0.0/8", f"{KEY} . 192.0.2.7/32"}


def test_equal_states_need_nothing(table: ServiceTable, kernel: Kernel) -> None:
    table.apply({WEB: Backends((ONE,))})
    kernel.scripts.clear()
    table.apply({WEB: Backends((ONE,))})
    assert kernel.scripts == []
    assert render_changes("c", {}, {}) == ""


def test_a_changed_endpoint_touches_only_what_changed(table: ServiceTable, kernel: Kernel) -> None:
    table.apply({WEB: Backends((ONE, TWO)), NODE: Backends((ONE, TWO))})
    kernel.scripts.clear()
    table.apply({WEB: Backends((ONE, Endpoint("10.42.0.7", 8080)))})
    assert kernel.scripts == [
        f"delete element {TABLE} endpoints {{ {KEY} . 1 }}\n"
        f"add element {TABLE} endpoints {{ {KEY} . 1 : 10.42.0.7 . 8080 }}\n"
    ]


def test_an_address_is_known_as_long_as_one_of_its_ports_is(table: ServiceTable, kernel: Kernel) -> None:
    other = WEB._replace(port=81)
    table.apply({WEB: Backends((ONE,)), other: Backends((ONE,))})
    assert f"add element {TABLE} addresses {{ 10.43.7.7 }}" in kernel.scripts[0]
    table.apply({WEB: None})
    assert "addresses" not in kernel.scripts[1]
    table.apply({other: None})
    assert f"delete element {TABLE} addresses {{ 10.43.7.7 }}" in kernel.scripts[2]
    assert table.ports() == {}


def test_a_refused_change_is_tried_again(table: ServiceTable, kernel: Kernel) -> None:
    kernel.refuses = True
    with pytest.raises(NetworkFailure):
        table.apply({WEB: Backends((ONE,))})
    kernel.refuses = False
    table.apply({WEB: Backends((ONE,))})
    assert "add chain" in kernel.scripts[0]
    assert table.ports() == {WEB: Backends((ONE,))}


def test_flows_to_an_endpoint_that_has_gone_are_forgotten(table: ServiceTable, kernel: Kernel) -> None:
    table.apply({DNS: Backends((ONE, TWO))})
    to_one, to_two = Flow(17, "10.43.7.8", 53, *ONE), Flow(17, "10.43.7.8", 53, *TWO)
    of_others = Flow(17, "10.43.9.9", 53, *ONE)
    kernel.flows = [to_one, to_two, of_others, to_one._replace(protocol=6)]
    table.apply({DNS: Backends((TWO,))})
    assert kernel.flows == [to_two, of_others, to_one._replace(protocol=6)]
    table.apply({DNS: None})
    assert kernel.flows == [of_others, to_one._replace(protocol=6)]


def test_flows_to_a_port_of_the_node_that_nobody_led_are_forgotten(table: ServiceTable, kernel: Kernel) -> None:
    early, passing = (Flow(17, address, 30053, address, 30053) for address in (OWN, "198.51.100.1"))
    led = Flow(17, OWN, 30053, *ONE)
    kernel.flows = [early, passing, led]
    table.apply({ServicePort("", "udp", 30053): Backends((ONE,))})
    assert kernel.flows == [passing, led]


def test_a_packet_that_meets_a_change_falls_back_to_the_first_endpoint() -> None:
    """It came by the old number of endpoints, and what it drew may have gone: e2e/network proves it with packets."""
    lead = "dnat ip to ip daddr . meta l4proto . th dport . ct mark map @endpoints"
    rules = [line.split(" pick_4 ")[1] for line in render_chains(LAYOUT, [How(False, 4)]).splitlines()[2:]]
    assert rules == ["ct mark set numgen random mod 4", lead, "ct mark set 0", lead]


def test_a_kernel_that_cannot_be_told_how_long_to_remember_does_without(kernel: Kernel) -> None:
    kernel.lacks = ["ct timeout"]
    table = ServiceTable(LAYOUT, kernel, kernel, lambda: {OWN})
    table.reset({WEB: Backends((ONE,))})
    (script,) = kernel.scripts
    assert f"services {{ {KEY} : goto pick_1 }}" in script
    assert table.ports() == {WEB: Backends((ONE,))}
