"""Inter-Pod affinity and topology spread: tables of cases, and the tallies against a plain look at everything."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from worlds import node_view, pod, snapshot

from carob.scheduler.decision import Unschedulable, decide
from carob.scheduler.filter import inter_pod_affinity, pod_topology_spread
from carob.scheduler.nodes import NodeInfo
from carob.scheduler.pods import PodInfo
from carob.scheduler.score import inter_pod_affinity as affinity_score
from carob.scheduler.score import pod_topology_spread as spread_score
from carob.scheduler.snapshot import Snapshot
from tests.fakes import plain_scheduling as reference

HOST, ZONE = "kubernetes.io/hostname", "topology.kubernetes.io/zone"


def term(app: str | None, key: str = HOST, **more: Any) -> dict[str, Any]:
    selector = {"labelSelector": {"matchLabels": {"app": app}}} if app is not None else {}
    return {"topologyKey": key} | selector | more


def near(*terms: dict[str, Any]) -> dict[str, Any]:
    return {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": list(terms)}}


def far(*terms: dict[str, Any]) -> dict[str, Any]:
    return {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": list(terms)}}


def liked(*terms: tuple[int, dict[str, Any]], kind: str = "podAffinity") -> dict[str, Any]:
    weighted = [{"weight": weight, "podAffinityTerm": one} for weight, one in terms]
    return {kind: {"preferredDuringSchedulingIgnoredDuringExecution": weighted}}


def spread(app: str = "web", key: str = ZONE, skew: int = 1, **more: Any) -> dict[str, Any]:
    return {
        "topologyKey": key,
        "maxSkew": skew,
        "whenUnsatisfiable": "DoNotSchedule",
        "labelSelector": {"matchLabels": {"app": app}},
    } | more


def zones(**more: Any) -> Snapshot:
    """Two nodes in zone a, one in zone b, one without a zone."""
    views = [
        node_view("a1", labels={ZONE: "a"}, **more),
        node_view("a2", labels={ZONE: "a"}),
        node_view("b1", labels={ZONE: "b"}),
        node_view("none"),
    ]
    world: Snapshot = snapshot(*views)
    world.set_namespace("default", {"team": "one"})
    world.set_namespace("other", {"team": "two"})
    return world


def web(name: str = "web", app: str = "web", namespace: str = "default", **spec: Any) -> PodInfo:
    made: PodInfo = pod(name, labels={"app": app}, **spec)
    if namespace != "default":
        made.view.metadata.namespace = namespace
        return PodInfo(made.view)
    return made


def allowed(wanted: PodInfo, world: Snapshot) -> list[str]:
    out = []
    for node in world.nodes():
        checks = [m.prepare(wanted, world) for m in (inter_pod_affinity, pod_topology_spread)]
        if all(check is None or check(node) is None for check in checks):
            out.append(node.name)
    return out


EVERYWHERE = ["a1", "a2", "b1", "none"]


@pytest.mark.parametrize(
    ("affinity", "there", "fits"),
    [
        (near(term("db")), [("db", "a1")], ["a1"]),
        (near(term("db", ZONE)), [("db", "a1")], ["a1", "a2"]),
        (near(term("db", ZONE)), [], []),
        # the first of its kind may go anywhere that has the label
        (near(term("web", ZONE)), [], ["a1", "a2", "b1"]),
        (near(term("web", ZONE)), [("web", "none")], ["a1", "a2", "b1"]),
        # both terms must be met by one and the same Pod
        (near(term("db"), term("cache", ZONE)), [("db", "a1"), ("cache", "a2")], []),
        (far(term("db", ZONE)), [("db", "a1")], ["b1", "none"]),
        (far(term("db"), term("cache")), [("db", "a1"), ("cache", "b1")], ["a2", "none"]),
        (near(term(None)), [("db", "a1")], []),
        (far(term("db", namespaces=["other"])), [("db", "a1")], EVERYWHERE),
        (far(term("db", namespaceSelector={})), [("db", "a1")], ["a2", "b1", "none"]),
        (far(term("db", namespaceSelector={"matchLabels": {"team": "two"}})), [("db", "a1")], EVERYWHERE),
        (far(term("db", namespaceSelector={"matchLabels": {"team": "one"}})), [("db", "a1")], ["a2", "b1", "none"]),
    ],
)
def test_required_affinity(affinity: dict[str, Any], there: list[tuple[str, str]], fits: list[str]) -> None:
    world = zones()
    for app, node in there:
        world.assume(web(app, app), node)
    assert allowed(web("new", affinity=affinity), world) == fits


def test_pods_that_are_there_may_not_want_the_new_one() -> None:
    world = zones()
    world.assume(web("shy", "shy", affinity=far(term("web", ZONE))), "a1")
    assert allowed(web(), world) == ["b1", "none"]
    assert allowed(web(app="db"), world) == EVERYWHERE
    assert allowed(web(namespace="other"), world) == EVERYWHERE
    world.set_node(node_view("b1", labels={ZONE: "a"}))
    assert allowed(web(), world) == ["none"]
    world.remove_pod("default/shy")
    assert allowed(web(), world) == EVERYWHERE


@pytest.mark.parametrize(
    ("affinity", "words"),
    [
        (near(term("db")), "1 node(s) didn't match pod affinity rules"),
        (far(term("web")), "1 node(s) didn't match pod anti-affinity rules"),
        (None, "1 node(s) didn't satisfy existing pods anti-affinity rules"),
    ],
)
def test_words_of_affinity(affinity: dict[str, Any] | None, words: str) -> None:
    world = snapshot(node_view())
    # the first rejection counts: the Pod's own rules come before those of others
    world.assume(web("there", affinity=far(term("web"))), "node-0")
    found = decide(web("new", affinity=affinity), world)
    assert isinstance(found, Unschedulable)
    assert found.message.startswith(f"0/1 nodes are available: {words}. ")
    assert found.plugins == {"InterPodAffinity"}


@pytest.mark.parametrize(
    ("constraint", "there", "fits"),
    [
        (spread(), {"a1": 1}, ["b1"]),
        (spread(), {"a1": 1, "b1": 1}, ["a1", "a2", "b1"]),
        (spread(skew=2), {"a1": 1}, ["a1", "a2", "b1"]),
        (spread(key=HOST), {"a1": 1, "a2": 1}, ["b1", "none"]),
        # fewer zones than asked for: the least counts as none
        (spread(minDomains=3), {"a1": 1, "b1": 1}, []),
        (spread(minDomains=2), {"a1": 1, "b1": 1}, ["a1", "a2", "b1"]),
        (spread("other"), {"a1": 5}, ["a1", "a2", "b1"]),
        (spread(matchLabelKeys=["version"]), {"a1": 1}, ["a1", "a2", "b1"]),
    ],
)
def test_required_spread(constraint: dict[str, Any], there: dict[str, int], fits: list[str]) -> None:
    world = zones()
    for node, count in there.items():
        for i in range(count):
            world.assume(web(f"{node}-{i}"), node)
    labels = {"app": "web", "version": "2"}
    assert allowed(pod("new", labels=labels, topologySpreadConstraints=[constraint]), world) == fits


def test_words_of_spread() -> None:
    world = zones()
    world.assume(web("there"), "a1")
    found = decide(web("new", nodeName="", topologySpreadConstraints=[spread()], requests={"cpu": "4"}), world)
    assert isinstance(found, NodeInfo)
    world.assume(web("big", requests={"cpu": "4"}, app="x"), "b1")
    found = decide(web("new", topologySpreadConstraints=[spread()], requests={"cpu": "3"}), world)
    assert isinstance(found, Unschedulable)
    assert found.message.startswith(
        "0/4 nodes are available: 1 Insufficient cpu, 1 node(s) didn't match pod topology spread constraints "
        "(missing required label), 2 node(s) didn't match pod topology spread constraints. "
    )


def test_nodes_that_the_pod_cannot_use_count_only_if_asked() -> None:
    world = zones(taints=[{"key": "x", "effect": "NoSchedule"}])
    world.set_node(node_view("a2", labels={ZONE: "c"}, taints=[{"key": "x", "effect": "NoSchedule"}]))
    world.assume(web("there"), "b1")
    # zones a and c are empty, but tainted
    assert "b1" not in allowed(web("new", topologySpreadConstraints=[spread()]), world)
    assert "b1" in allowed(web("new", topologySpreadConstraints=[spread(nodeTaintsPolicy="Honor")]), world)
    only_b: dict[str, Any] = {"nodeSelector": {ZONE: "b"}}
    assert "b1" in allowed(web("new", topologySpreadConstraints=[spread()], **only_b), world)
    ignoring = [spread(nodeAffinityPolicy="Ignore")]
    assert "b1" not in allowed(web("new", topologySpreadConstraints=ignoring, **only_b), world)


def test_pods_on_their_way_out_do_not_count_for_spreading() -> None:
    world = zones()
    going = web("going")
    going.view.metadata.deletion_timestamp = "2026-01-01T00:00:00Z"
    world.assume(PodInfo(going.view), "a1")
    assert allowed(web("new", topologySpreadConstraints=[spread()]), world) == ["a1", "a2", "b1"]


def test_preferences_of_both_sides_are_weighed() -> None:
    world = zones()
    world.assume(web("db", "db"), "a1")
    world.assume(web("fan", "fan", affinity=liked((10, term("web", ZONE)))), "b1")
    scores = affinity_score.score(web(affinity=liked((30, term("db")))), world.nodes(), world)
    assert scores == [100, 0, 33, 0]
    dislikes = liked((5, term("db", ZONE)), kind="podAntiAffinity")
    assert affinity_score.score(web(app="x", affinity=dislikes), world.nodes(), world) == [0, 0, 100, 100]
    assert affinity_score.score(web(app="x"), world.nodes(), world) is None


def test_preferred_spread_and_the_clusters_own() -> None:
    world = zones()
    world.assume(web("one"), "a1")
    constraint = spread(whenUnsatisfiable="ScheduleAnyway")
    scores = spread_score.score(web("new", topologySpreadConstraints=[constraint]), world.nodes(), world)
    assert scores == [0, 0, 100, 0]
    assert spread_score.score(web("new", app="x"), world.nodes(), world) is None
    # nobody selects it: it belongs together with nobody
    assert spread_score.score(web("new"), world.nodes(), world) is None
    world.selecting.set_service("default", "web", {"app": "web"})
    own = spread_score.score(web("new"), world.nodes(), world)
    assert own is not None
    assert own[2] > own[1] > own[0]


apps = st.sampled_from(["web", "db"])
terms = st.builds(term, apps, st.sampled_from([HOST, ZONE, "rack"]), namespaceSelector=st.sampled_from([None, {}]))
affinities = st.one_of(
    st.none(),
    st.builds(near, terms),
    st.builds(near, terms, terms),
    st.builds(far, terms),
    st.builds(lambda weight, one: liked((weight, one)), st.integers(1, 100), terms),
    st.builds(lambda weight, one: liked((weight, one), kind="podAntiAffinity"), st.integers(1, 100), terms),
)
constraints = st.lists(
    st.builds(spread, apps, st.sampled_from([HOST, ZONE, "rack"]), st.integers(1, 3), minDomains=st.integers(1, 4)),
    max_size=2,
)
steps = st.lists(
    st.tuples(apps, affinities, constraints, st.sampled_from(["default", "other"]), st.integers(0, 7)), max_size=14
)


@given(steps)
@settings(max_examples=150, deadline=None)
def test_tallies_say_what_a_plain_look_says(arrivals: list[tuple[str, Any, Any, str, int]]) -> None:
    """Pods come, go, and nodes change: after every step both agree on every node, and no required rule is broken."""
    world = zones()
    world.set_node(node_view("r1", labels={ZONE: "b", "rack": "1"}))
    for number, (app, affinity, rules, namespace, event) in enumerate(arrivals):
        new = web(f"pod-{number}", app, namespace, affinity=affinity, topologySpreadConstraints=rules)
        expected = [
            node.name
            for node in world.nodes()
            if reference.affinity_allows(new, node, world) and reference.spread_allows(new, node, world)
        ]
        assert allowed(new, world) == expected
        sums = [reference.affinity_sum(new, node, world) for node in world.nodes()]
        scores = affinity_score.score(new, world.nodes(), world)
        if scores is None:
            assert min(sums) == max(sums)
        else:
            # as upstream reckons: in floating point, where 100 * 0.58 is less than 58
            assert scores == [int(100 * ((one - min(sums)) / (max(sums) - min(sums)))) for one in sums]
        found = decide(new, world)
        assert isinstance(found, NodeInfo) is bool(expected)
        if isinstance(found, NodeInfo):
            assert found.name in expected
            world.assume(new, found.name)
        if event == 0:
            world.remove_pod(f"default/pod-{number // 2}")
        elif event == 1:
            world.set_node(node_view("a2", labels={ZONE: "ab"[number % 2], "rack": "2"}))
        elif event == 2:
            world.remove_node("b1")
