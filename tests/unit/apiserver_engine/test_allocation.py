"""Claims on addresses and ports: one holder each, everything is used before "full" is said."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from carob.apiserver.registry import allocation
from carob.apiserver.registry.allocation import Claims, Exhausted, Taken
from carob.base.ids import SeededRandomness


def test_a_value_has_one_holder() -> None:
    claims: Claims[int] = Claims()
    assert claims.claim(1, "a")
    assert not claims.claim(1, "a")
    with pytest.raises(Taken):
        claims.claim(1, "b")
    claims.release(1, "b")
    assert not claims.free(1)
    claims.release(1, "a")
    assert claims.claim(1, "b")


@settings(max_examples=10)
@given(st.sampled_from(["10.0.0.0/29", "10.0.0.0/26", "10.0.0.0/25"]), st.integers())
def test_every_usable_address_is_given_out_before_the_range_is_full(network: str, seed: int) -> None:
    claims: Claims[str] = Claims()
    randomness = SeededRandomness(seed)
    usable = {str(address) for address in ipaddress.ip_network(network).hosts()}
    given_out = set()
    for number in range(len(usable)):
        address = allocation.pick_address(claims.free, [network], randomness)
        claims.claim(address, str(number))
        given_out.add(address)
    assert given_out == usable
    with pytest.raises(Exhausted):
        allocation.pick_address(claims.free, [network], randomness)


def test_the_lower_part_of_a_range_is_left_to_those_who_ask_for_it() -> None:
    claims: Claims[str] = Claims()
    for number in range(200):
        address = allocation.pick_address(claims.free, ["10.43.0.0/16"], SeededRandomness(number))
        assert int(ipaddress.ip_address(address)) > int(ipaddress.ip_address("10.43.0.0")) + 256


def test_a_second_range_is_used_when_the_first_is_full() -> None:
    claims: Claims[str] = Claims()
    for address in ipaddress.ip_network("10.0.0.0/30").hosts():
        claims.claim(str(address), "x")
    picked = allocation.pick_address(claims.free, ["fd00::/64", "10.0.0.0/30", "10.9.0.0/30"], SeededRandomness(1))
    assert picked.startswith("10.9.0.")


def test_ports_run_out_only_at_the_end() -> None:
    claims: Claims[int] = Claims()
    for number in range(allocation.LAST_NODE_PORT - allocation.FIRST_NODE_PORT + 1):
        claims.claim(allocation.pick_port(claims, SeededRandomness(number)), "x")
    with pytest.raises(Exhausted):
        allocation.pick_port(claims, SeededRandomness(0))
