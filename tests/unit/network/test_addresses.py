"""Addresses are unique, survive the agent, and rest before they are given away again."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from carob.base.clock import VirtualClock
from carob.network.addresses import COOL_DOWN_SECONDS, AddressBook, HostPort
from carob.network.layout import NetworkFailure, NetworkLayout, interface_prefix

SMALL = NetworkLayout(pod_range="10.42.0.0/29")


class SettableClock(VirtualClock):
    def move(self, seconds: float) -> None:
        self._now += seconds


def test_an_address_belongs_to_one_sandbox_and_is_found_again(tmp_path: Path) -> None:
    book = AddressBook(tmp_path, SMALL, VirtualClock())
    port = HostPort("TCP", 8080, 80)
    first = book.allocate("one", [port])
    assert book.allocate("one", [port]) == first
    second = book.allocate("two", [])
    again = AddressBook(tmp_path, SMALL, VirtualClock())
    assert {lease.sandbox_id: lease for lease in again.leases()} == {"one": first, "two": second}
    assert again.allocate("three", []).address not in (first.address, second.address)


def test_a_freed_address_rests(tmp_path: Path) -> None:
    clock = SettableClock()
    book = AddressBook(tmp_path, SMALL, clock)
    for name in "abcde":
        book.allocate(name, [])
    assert book.release("a") is not None
    assert book.release("a") is None
    with pytest.raises(NetworkFailure, match="4 in use"):
        book.allocate("f", [])
    clock.move(COOL_DOWN_SECONDS)
    assert book.allocate("f", []).address == "10.42.0.2"


def test_a_half_written_or_damaged_record_is_dropped(tmp_path: Path) -> None:
    (tmp_path / ".torn").write_text("{")
    (tmp_path / "damaged").write_text("{")
    assert AddressBook(tmp_path, SMALL, VirtualClock()).leases() == []
    assert list(tmp_path.iterdir()) == []


@given(
    st.lists(st.tuples(st.sampled_from("abcdefgh"), st.sampled_from(["take", "free", "wait", "restart"])), max_size=40)
)
def test_no_two_sandboxes_share_an_address(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, str]]
) -> None:
    folder = tmp_path_factory.mktemp("addresses")
    clock = SettableClock()
    book = AddressBook(folder, SMALL, clock)
    held: dict[str, str] = {}
    for name, step in steps:
        if step == "take":
            try:
                held[name] = book.allocate(name, []).address
            except NetworkFailure:
                assert name not in held
        elif step == "free":
            book.release(name)
            held.pop(name, None)
        elif step == "wait":
            clock.move(COOL_DOWN_SECONDS)
        else:
            book = AddressBook(folder, SMALL, clock)
        assert {lease.sandbox_id: lease.address for lease in book.leases()} == held
        assert len(set(held.values())) == len(held)
        assert "10.42.0.1" not in held.values()


def test_interface_names_fit_and_tell_clusters_apart() -> None:
    name = NetworkLayout(cluster="a" * 60).interface_name("f" * 64)
    assert len(name) == 15
    assert interface_prefix("a") != interface_prefix("a-node")
