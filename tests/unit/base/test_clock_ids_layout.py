"""Virtual time, identities, and where a cluster's things lie."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from carob.base import clock, ids, layout

if TYPE_CHECKING:
    from pathlib import Path


def test_sleepers_wake_in_the_order_of_their_deadlines() -> None:
    async def main() -> None:
        virtual = clock.VirtualClock(100.0)
        woken: list[tuple[str, float]] = []

        async def sleeper(name: str, seconds: float) -> None:
            await virtual.sleep(seconds)
            woken.append((name, virtual.now()))

        tasks = [asyncio.create_task(sleeper(n, s)) for n, s in (("b", 2), ("a", 1), ("c", 3))]
        await virtual.advance(2.5)
        assert woken == [("a", 101.0), ("b", 102.0)]
        await virtual.advance(1)
        assert [w[0] for w in woken] == ["a", "b", "c"]
        for task in tasks:
            await task

    asyncio.run(main())


@given(st.floats(min_value=0, max_value=4e9))
def test_times_survive_their_text(seconds: float) -> None:
    assert clock.parse_rfc3339(clock.rfc3339(seconds)) == int(seconds)
    assert abs(clock.parse_rfc3339(clock.rfc3339_micro(seconds)) - seconds) < 1e-5


def test_uids_are_version_four() -> None:
    seen = {ids.new_uid(ids.SystemRandomness()) for _ in range(500)}
    assert len(seen) == 500
    assert all(re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", u) for u in seen)


def test_generated_names_fit_into_a_label() -> None:
    name = ids.generate_name("x" * 100, ids.SeededRandomness(1))
    assert len(name) == 63
    assert ids.generate_name("web-", ids.SeededRandomness(1)) == ids.generate_name("web-", ids.SeededRandomness(1))


def test_clusters_side_by_side_share_nothing() -> None:
    taken: list[layout.Cluster] = []
    for number in range(5):
        taken.append(layout.new_cluster(f"c{number}", taken))
    for attribute in ("api_port", "pod_cidr", "service_cidr", "state_dir", "inside_address"):
        assert len({getattr(c, attribute) for c in taken}) == 5
    assert taken[0].api_port == 6443
    assert (taken[0].inside_address, taken[0].dns_address) == ("10.42.0.1", "10.43.0.10")


def test_ranges_that_the_machine_reaches_itself_are_left_alone() -> None:
    cluster = layout.new_cluster("c", [], foreign=["10.43.7.0/24", "192.168.0.0/16"])
    assert cluster.pod_cidr == "10.44.0.0/16"


def test_a_cluster_survives_its_file(tmp_path: Path) -> None:
    cluster = layout.new_cluster("c", [], tmp_path)
    cluster.run_dir = str(tmp_path / "run")
    cluster.nodes.append(layout.NodeLayout("node-0", "10.42.0.1", "10.42.0.0/24", labels={"a": "b"}))
    cluster.save()
    assert layout.Cluster.load(cluster.file) == cluster
    cluster.file.write_text('{"name": "c"}')
    with pytest.raises(ValueError, match="not a cluster's description"):
        layout.Cluster.load(cluster.file)
