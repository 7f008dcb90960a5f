"""DaemonSets: which nodes fit, and updates that keep their promises."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from carob.api import codec
from carob.api.types import core_v1
from carob.controllers.daemonset import Fit, limits, reconcile
from carob.controllers.revisions import HASH_LABEL
from carob.controllers.views import PodView
from carob.controllers.workload_views import DaemonSetView
from tests.unit.controllers.workload_objects import NOW, pod, template


def node(name: str = "node-0", taints: list[dict[str, str]] | None = None, **labels: str) -> core_v1.Node:
    tree = {"metadata": {"name": name, "labels": labels}, "spec": {"taints": taints or []}}
    return codec.from_tree(core_v1.Node, tree)


def taint(key: str, effect: str) -> list[dict[str, str]]:
    return [{"key": key, "effect": effect}]


def affinity(**term: Any) -> dict[str, Any]:
    required = {"nodeSelectorTerms": [term]}
    return {"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required}}}


@pytest.mark.parametrize(
    ("spec", "on", "verdict"),
    [
        ({}, node(), (True, True)),
        ({"nodeName": "node-1"}, node(), (False, False)),
        ({"nodeSelector": {"disk": "fast"}}, node(disk="fast"), (True, True)),
        ({"nodeSelector": {"disk": "fast"}}, node(disk="slow"), (False, False)),
        (affinity(matchExpressions=[{"key": "disk", "operator": "Exists"}]), node(disk="x"), (True, True)),
        (affinity(matchExpressions=[{"key": "disk", "operator": "Exists"}]), node(), (False, False)),
        (
            affinity(matchFields=[{"key": "metadata.name", "operator": "NotIn", "values": ["node-0"]}]),
            node(),
            (False, False),
        ),
        ({}, node(taints=taint("mine", "NoSchedule")), (False, True)),
        ({}, node(taints=taint("mine", "NoExecute")), (False, False)),
        ({}, node(taints=taint("mine", "PreferNoSchedule")), (True, True)),
        (
            {"tolerations": [{"key": "mine", "operator": "Exists"}]},
            node(taints=taint("mine", "NoExecute")),
            (True, True),
        ),
        ({}, node(taints=taint("node.kubernetes.io/unschedulable", "NoSchedule")), (True, True)),
        ({}, node(taints=taint("node.kubernetes.io/unreachable", "NoExecute")), (True, True)),
        ({}, node(taints=taint("node.kubernetes.io/network-unavailable", "NoSchedule")), (False, True)),
        (
            {"hostNetwork": True},
            node(taints=taint("node.kubernetes.io/network-unavailable", "NoSchedule")),
            (True, True),
        ),
    ],
)
def test_which_nodes_fit(spec: dict[str, Any], on: core_v1.Node, verdict: tuple[bool, bool]) -> None:
    made = template()
    made["spec"] |= spec
    assert Fit(made).judge(on) == verdict


def daemon(**rolling: Any) -> DaemonSetView:
    strategy = {"type": "RollingUpdate", "rollingUpdate": rolling}
    tree = {
        "metadata": {"name": "web", "namespace": "default", "uid": "uid-web", "generation": 1},
        "spec": {"selector": {"matchLabels": {"app": "web"}}, "template": template(), "updateStrategy": strategy},
    }
    return codec.decode(DaemonSetView, codec.encode(tree))


class World:
    """Nodes, and Pods by node."""

    def __init__(self, nodes: int, **rolling: Any) -> None:
        self.daemon = daemon(**rolling)
        self.nodes = [node(f"node-{i}") for i in range(nodes)]
        self.pods: list[PodView] = []
        self.digest = "one"

    def sync(self) -> bool:
        plan = reconcile(self.daemon, Fit(template()), self.nodes, self.pods, self.digest, {}, NOW)
        for doomed in plan.delete:
            doomed.metadata.deletion_timestamp = "2026-01-01T00:00:00Z"
        for name in plan.create:
            self.pods.append(
                pod(phase="Pending", spec={"nodeName": name}, metadata={"labels": {HASH_LABEL: self.digest}})
            )
        self.daemon.status = plan.status
        return bool(plan.create or plan.delete)

    def happen(self, what: int, which: int) -> None:
        if what == 0:
            self.sync()
        elif self.pods:
            index = which % len(self.pods)
            old = self.pods[index]
            if what == 1 and not old.is_ending:
                fresh = pod(old.metadata.name, ready=NOW - 10, spec={"nodeName": old.spec.node_name})
                fresh.metadata = old.metadata
                self.pods[index] = fresh
            elif what == 2 and old.is_ending:
                del self.pods[index]

    def settle(self) -> None:
        for _ in range(200):
            acted = self.sync()
            at_rest = all(p.is_ready and not p.is_ending for p in self.pods)
            for i in range(len(self.pods)):
                self.happen(1, i)
            for i in reversed(range(len(self.pods))):
                self.happen(2, i)
            if not acted and at_rest:
                return
        raise AssertionError("it does not come to rest")

    def served(self) -> int:
        return len({p.spec.node_name for p in self.pods if p.is_ready and not p.is_ending})


events = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 20)), max_size=100)
amounts = st.one_of(st.integers(0, 3), st.sampled_from(["0%", "30%", "100%"]))


@pytest.mark.slow
@settings(max_examples=80, deadline=None)
@given(st.integers(1, 6), amounts, amounts, events)
def test_an_update_keeps_its_promises(
    nodes: int, surge: int | str, unavailable: int | str, order: list[tuple[int, int]]
) -> None:
    if surge not in (0, "0%"):
        unavailable = 0
    world = World(nodes, maxSurge=surge, maxUnavailable=unavailable)
    world.settle()
    most_surge, most_missing = limits(world.daemon, nodes)
    world.digest = "two"
    for what, which in order:
        world.happen(what, which)
        assert world.served() >= nodes - most_missing
        doubled = len([p for p in world.pods if not p.is_ending]) - len(
            {p.spec.node_name for p in world.pods if not p.is_ending}
        )
        assert doubled <= most_surge
    world.settle()
    assert [p.metadata.labels[HASH_LABEL] for p in world.pods] == ["two"] * nodes
    status = world.daemon.status
    assert status.desired_number_scheduled == nodes


def test_a_failed_daemon_waits_while_it_is_held() -> None:
    failed = pod("sick", phase="Failed", metadata={"labels": {HASH_LABEL: "one"}})
    plan = reconcile(daemon(), Fit(template()), [node()], [failed], "one", {"node-0": NOW + 7}, NOW)
    assert (plan.delete, plan.recheck_seconds) == ([], 7)
    plan = reconcile(daemon(), Fit(template()), [node()], [failed], "one", {}, NOW)
    assert (plan.delete, plan.killed) == ([failed], ["node-0"])
    assert plan.events == [
        ("Warning", "FailedDaemonPod", "Found failed daemon pod default/sick on node node-0, will try to kill it")
    ]


def test_pods_where_none_should_be_are_counted() -> None:
    plan = reconcile(daemon(), Fit(template()), [node(taints=taint("x", "NoSchedule"))], [pod()], "one", {}, NOW)
    assert (plan.status.number_misscheduled, plan.status.desired_number_scheduled, plan.delete) == (1, 0, [])
