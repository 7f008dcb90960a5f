"""Every filter speaks, not only the first; every score is named; and the report agrees with the decision."""

from __future__ import annotations

from typing import Any

from worlds import node_view, pod, snapshot

from carob.scheduler.pods import PodInfo
from carob.scheduler.report import report
from carob.scheduler.snapshot import Snapshot

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
    assert found.nodes[2].hints == ("taint dedicated=db:NoSchedule", "asks for 500m cpu, 400m of 1 is left")


def test_nobody_fits_and_somebody_could_go() -> None:
    world = snapshot(node_view("a", cpu="1"))
    world.assume(pod("low", {"cpu": "1"}), "a")
    found = report(pod("new", {"cpu": "1"}, priority=5), world)
    assert (found.chosen, found.nominated, found.preempts) == ("", "a", ("default/low",))
    assert found.message == "0/1 nodes are available: 1 Insufficient cpu."


def only(rejection: str, wanted: PodInfo, world: Snapshot, node: int = 0) -> list[str]:
    """The hints of one node that only the named filter rejects."""
    found = {one.node: one for one in report(wanted, world).nodes}[world.nodes()[node].name]
    assert list(found.rejections) == [rejection]
    return list(found.hints)


def apart(app: str, key: str = "kubernetes.io/hostname", kind: str = "podAntiAffinity") -> dict[str, Any]:
    term = {"topologyKey": key, "labelSelector": {"matchLabels": {"app": app}}}
    return {kind: {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}


def test_each_filter_says_what_would_have_to_change() -> None:
    world = snapshot(node_view("a", labels={"zone": "1", "disk": "hdd"}), node_view("b", labels={"zone": "2"}))
    web = [{"hostPort": 80, "containerPort": 80}]
    world.assume(pod("shy", ports=web, labels={"app": "shy"}, affinity=apart("web", "zone")), "a")
    assert only("NodePorts", pod("x", ports=web), world) == ["port 80/TCP belongs to default/shy"]
    assert only("NodeAffinity", pod("x", nodeSelector={"disk": "ssd"}), world) == [
        "nodeSelector wants disk=ssd, the label is hdd"
    ]
    assert only("NodeAffinity", pod("x", nodeSelector={"disk": "hdd"}), world, 1) == [
        "nodeSelector wants disk=hdd, there is no such label"
    ]
    expression = {"key": "zone", "operator": "In", "values": ["3", "4"]}
    terms = {"nodeSelectorTerms": [{"matchExpressions": [expression]}]}
    required = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": terms}}
    assert only("NodeAffinity", pod("x", affinity=required), world) == ["the Pod requires (zone In 3, 4)"]
    assert only("InterPodAffinity", pod("x", labels={"app": "web"}), world) == [
        "there are 1 Pods at zone=1, which want no Pod of app=web there"
    ]
    assert only("InterPodAffinity", pod("x", affinity=apart("shy")), world) == [
        "there is default/shy of app=shy at kubernetes.io/hostname=a"
    ]
    assert only("InterPodAffinity", pod("x", affinity=apart("shy", "zone", "podAffinity")), world, 1) == [
        "no Pod of app=shy is at zone=2"
    ]
    rule = {"topologyKey": "zone", "maxSkew": 1, "whenUnsatisfiable": "DoNotSchedule"}
    rule |= {"labelSelector": {"matchLabels": {"app": "shy"}}}
    spread = pod("x", labels={"app": "shy"}, topologySpreadConstraints=[rule])
    assert only("PodTopologySpread", spread, world) == ["zone=1 has 1 Pods of app=shy, the fewest are 0, maxSkew is 1"]
    world.set_node(node_view("a", unschedulable=True))
    assert only("NodeUnschedulable", pod("x"), world) == ["is cordoned: `kubectl uncordon a`"]


def test_filters_without_anything_to_check_are_named_too() -> None:
    found = report(pod("x", nodeSelector={"a": "b"}), snapshot(node_view("a")))
    assert "NodeAffinity" in found.filters
    assert "NodeResourcesFit" in found.filters
    assert {"NodePorts", "InterPodAffinity", "PodTopologySpread", "VolumeBinding"} <= set(found.idle)
