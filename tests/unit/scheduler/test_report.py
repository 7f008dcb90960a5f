"""Every filter speaks, not only the first; every score is named; and the report agrees with the decision."""

from __future__ import annotations

from worlds import node_view, pod, snapshot

from carob.scheduler.report import report

TAINT = [{"key": "dedicated", "value": "db", "effect": "NoSchedule"}]


def test_a_node_is_told_all_that_speaks_against_it() -> None:
    world = snapshot(node_view("full", cpu="1", taints=TAINT), node_view("free"), node_view("half"))
    world.assume(pod("other", {"cpu": "600m"}), "full")
    world.assume(pod("another", {"cpu": "2"}), "half")
    found = report(pod("new", {"cpu": "500m"}), world)
    assert [one.node for one in found.nodes] == ["free", "half", "full"]
    assert found.chosen == "free"
    assert found.nodes[0].total > found.nodes[1].total
    assert set(found.nodes[0].scores) == {"NodeResourcesFit", "NodeResourcesBalancedAllocation"}
    assert found.nodes[2].rejections == {
        "TaintToleration": ("node(s) had untolerated taint(s)",),
        "NodeResourcesFit": ("Insufficient cpu",),
    }
    assert found.nodes[2].hints == ("asks for 500m cpu, 400m of 1 is left", "taint dedicated=db:NoSchedule")


def test_nobody_fits_and_somebody_could_go() -> None:
    world = snapshot(node_view("a", cpu="1"))
    world.assume(pod("low", {"cpu": "1"}), "a")
    found = report(pod("new", {"cpu": "1"}, priority=5), world)
    assert (found.chosen, found.nominated, found.preempts) == ("", "a", ("default/low",))
    assert found.message == "0/1 nodes are available: 1 Insufficient cpu."
