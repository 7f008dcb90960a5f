"""The difference between two states of services, as nft scripts."""

from __future__ import annotations

from carob.network.services import Endpoint, ServicePort, chain_name, render_difference

API = ServicePort("10.43.0.1", "tcp", 443)
WEB = ServicePort("10.43.7.7", "tcp", 80)
ONE, TWO = Endpoint("10.42.0.5", 8080), Endpoint("10.42.0.6", 8080)
TABLE = "inet carob-c-services"


def test_equal_states_need_nothing() -> None:
    assert render_difference("c", {API: [ONE]}, {API: [ONE]}) == ""


def test_a_new_service() -> None:
    chain = chain_name(WEB)
    assert render_difference("c", {}, {WEB: [ONE, TWO]}).splitlines() == [
        f"add chain {TABLE} {chain}",
        f"flush chain {TABLE} {chain}",
        f"add rule {TABLE} {chain} meta l4proto tcp dnat ip addr . port to numgen random mod 2 map "
        "{ 0 : 10.42.0.5 . 8080, 1 : 10.42.0.6 . 8080 }",
        f"add element {TABLE} services {{ 10.43.7.7 . tcp . 80 : goto {chain} }}",
        f"add element {TABLE} addresses {{ 10.43.7.7 }}",
    ]


def test_a_changed_endpoint_touches_one_chain() -> None:
    script = render_difference("c", {API: [ONE], WEB: [ONE]}, {API: [ONE], WEB: [TWO]})
    assert chain_name(API) not in script
    assert "element" not in script


def test_a_service_that_loses_its_endpoints_keeps_its_address_to_refuse() -> None:
    script = render_difference("c", {WEB: [ONE]}, {WEB: []})
    assert f"delete chain {TABLE} {chain_name(WEB)}" in script
    assert "addresses" not in script
    assert render_difference("c", {WEB: []}, {}) == f"delete element {TABLE} addresses {{ 10.43.7.7 }}\n"
