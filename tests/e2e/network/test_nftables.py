"""The library and the command do the same."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator

import pytest
from network.namespaces import Namespace

from carob.host.nftables import (
    LIBRARY,
    CommandNftables,
    LibraryNftables,
    Nftables,
    NftablesError,
    open_nftables,
    table_names,
)

pytestmark = [pytest.mark.root, pytest.mark.skipif(os.geteuid() != 0, reason="needs root")]


@pytest.fixture(params=["library", "command"])
def nftables(request: pytest.FixtureRequest) -> Iterator[Nftables]:
    """Made in a namespace of its own, used from the test's thread."""
    namespace = Namespace()

    def make() -> Nftables:
        return LibraryNftables(ctypes.CDLL(LIBRARY)) if request.param == "library" else CommandNftables("/usr/sbin/nft")

    made = namespace.call(make)
    yield made
    made.close()
    made.close()
    namespace.close()


def test_a_script_works_in_the_namespace_of_its_maker(nftables: Nftables) -> None:
    nftables.run("table inet carob-test-x {\n set s {\n type ipv4_addr\n elements = { 192.0.2.1 }\n }\n}\n")
    assert table_names(nftables, "carob-test-") == [("inet", "carob-test-x")]
    assert "192.0.2.1" not in nftables.text("list table inet carob-test-x")
    here = open_nftables()
    assert table_names(here, "carob-test-") == []
    here.close()


def test_a_refused_script_changes_nothing_and_says_why(nftables: Nftables) -> None:
    with pytest.raises(NftablesError, match="No such file or directory"):
        nftables.run("add table inet carob-test-x\nadd rule inet nowhere x accept\n")
    assert nftables.query("list tables")[1:] == []
    with pytest.raises(NftablesError, match="syntax error"):
        nftables.run("frobnicate\n")
