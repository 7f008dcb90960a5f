"""Every filter and every score against the plain reference, on random clusters: verdicts, words, numbers, decisions."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from carob.api import codec
from carob.scheduler import filter as filters
from carob.scheduler import score as scores
from carob.scheduler.decision import Unschedulable, decide
from carob.scheduler.nodes import NodeInfo
from carob.scheduler.pods import PodInfo
from carob.scheduler.snapshot import Snapshot
from carob.scheduler.views import NodeView, PodView
from tests.fakes.plain_scheduler import HOST, MEBI, WEIGHTS, ZONE, Plain, Tree

pytestmark = pytest.mark.slow

WORLDS = 300
"""Enough that every filter and every score has something to say dozens of times; a failure names its world."""


class Chance:
    """Draws Pods and nodes; most ask for little, so that the later filters and the scores are reached too."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def one(self, *choices: Any) -> Any:
        return self._random.choice(choices)

    def often(self, share: float) -> bool:
        return self._random.random() < share

    def some(self, make: Callable[[], Any], most: int = 2) -> list[Any]:
        return [make() for _ in range(self._random.randint(0, most))]

    def maybe(self, share: float, **values: Callable[[], Any]) -> Tree:
        return {name: make() for name, make in values.items() if self.often(share)}

    def labels(self) -> dict[str, str]:
        return self.maybe(0.7, app=lambda: self.one("web", "web", "db"), version=lambda: self.one("1", "2"))

    def node(self, number: int) -> Tree:
        more = {
            ZONE: lambda: self.one("a", "b", "c"),
            "rack": lambda: self.one("a", "b"),
            "disk": lambda: self.one("ssd", "hdd"),
            "cores": lambda: self.one("4", "16", "many"),
        }
        name = f"node-{number}"
        offered = {
            "cpu": self.one("0", "4", "8", "8", "16"),
            "memory": self.one("0", str(4 << 30), str(10 << 30), str(64 << 30)),
            "pods": self.one("1", "4", "110", "110"),
            "example.com/gpu": self.one("0", "2"),
        }
        return {
            "metadata": {"name": name, "labels": {HOST: name} | self.maybe(0.8, **more)},
            "spec": {"taints": self.some(self.taint) if self.often(0.4) else [], "unschedulable": self.often(0.1)},
            "status": {"allocatable": offered, "images": self.images()},
        }

    def taint(self) -> Tree:
        effect = self.one("NoSchedule", "PreferNoSchedule", "PreferNoSchedule", "PreferNoSchedule", "NoExecute")
        return {"key": "dedicated", "effect": effect} | self.maybe(0.5, value=lambda: self.one("db", "web"))

    def images(self) -> list[Tree]:
        names = [name for name in ("web:latest", "example.com:5000/web:latest", "db:1") if self.often(0.4)]
        sizes = (10, 100, 333, 700, 1500)
        return [{"names": [name, f"{name}@sha256:0"], "sizeBytes": self.one(*sizes) * MEBI} for name in names]

    def pod(self, number: int) -> Tree:
        metadata = {
            "name": f"pod-{number}",
            "namespace": self.one("default", "default", "other"),
            "uid": f"uid-{number}",
            "labels": self.labels(),
        }
        spec = {
            "schedulerName": "default-scheduler",
            "containers": [self.container() for _ in range(self.one(1, 1, 2))],
        }
        more = {
            "initContainers": lambda: self.some(self.init_container),
            "tolerations": lambda: self.some(self.toleration),
            "affinity": self.affinity,
            "topologySpreadConstraints": lambda: self.some(self.rule),
        }
        spec |= self.maybe(0.4, **more)
        spec |= self.maybe(0.1, nodeSelector=lambda: self.one({"disk": "ssd"}, {ZONE: "a"}))
        spec |= self.maybe(0.1, overhead=lambda: {"cpu": "50m"})
        return {"metadata": metadata, "spec": spec, "status": {}}

    def requests(self) -> dict[str, str]:
        usual = {
            "cpu": lambda: self.one("0", "100m", "500m", "1", "3"),
            "memory": lambda: self.one("0", str(64 * MEBI), str(1 << 30), str(3 << 30)),
        }
        return self.maybe(0.6, **usual) | self.maybe(0.1, **{"example.com/gpu": lambda: self.one("1", "2")})

    def container(self) -> Tree:
        ports = [{"hostPort": self.one(80, 81)} | self.port()] if self.often(0.2) else []
        image = self.one("web", "example.com:5000/web", "db:1", "other")
        return {"name": "main", "image": image, "resources": {"requests": self.requests()}, "ports": ports}

    def port(self) -> Tree:
        addresses = {"hostIP": lambda: self.one("127.0.0.1", "0.0.0.0", "192.0.2.1")}
        return self.maybe(0.4, **addresses, protocol=lambda: self.one("TCP", "UDP"))

    def init_container(self) -> Tree:
        found = {"name": "init", "image": "web", "resources": {"requests": self.requests()}}
        return found | self.maybe(0.5, restartPolicy=lambda: "Always")

    def toleration(self) -> Tree:
        more = {
            "key": lambda: self.one("dedicated", "node.kubernetes.io/unschedulable"),
            "value": lambda: self.one("", "db"),
            "effect": lambda: self.one("NoSchedule", "NoExecute", "PreferNoSchedule"),
        }
        return {"operator": self.one("Exists", "Equal")} | self.maybe(0.5, **more)

    def expression(self) -> Tree:
        kind = self.one("set", "set", "there", "number")
        if kind == "set":
            values = self.one(["a"], ["b", "c"], ["ssd"], ["a", "hdd"])
            return {"key": self.one(ZONE, "rack", "disk"), "operator": self.one("In", "In", "NotIn"), "values": values}
        if kind == "there":
            return {"key": self.one(ZONE, "disk"), "operator": self.one("Exists", "DoesNotExist")}
        return {"key": "cores", "operator": self.one("Gt", "Lt"), "values": [self.one("2", "8")]}

    def node_term(self) -> Tree:
        return {"matchExpressions": self.some(self.expression)}

    def selector(self) -> Tree | None:
        app = {"matchLabels": {"app": self.one("web", "db")}}
        version = {"matchExpressions": [{"key": "version", "operator": self.one("Exists", "DoesNotExist")}]}
        found: Tree | None = self.one(app, app, version, {}, None)
        return found

    def pod_term(self) -> Tree:
        selector = self.selector()
        team = {"namespaceSelector": {"matchLabels": {"team": "x"}}}
        space = self.one({}, {}, {"namespaces": ["other"]}, {"namespaceSelector": {}}, team)
        found: Tree = {"topologyKey": self.one(HOST, ZONE, "rack")} | space
        return found | ({"labelSelector": selector} if selector is not None else {})

    def affinity(self) -> Tree:
        return self.maybe(
            0.4,
            nodeAffinity=self.node_affinity,
            podAffinity=lambda: self.pod_affinity(0.2),
            podAntiAffinity=lambda: self.pod_affinity(0.4),
        )

    def node_affinity(self) -> Tree:
        weighted = [{"weight": self.one(1, 10, 99), "preference": one} for one in self.some(self.node_term, 3)]
        found: Tree = {"preferredDuringSchedulingIgnoredDuringExecution": weighted}
        if self.often(0.4):
            terms = [self.node_term() for _ in range(self.one(1, 2))]
            found["requiredDuringSchedulingIgnoredDuringExecution"] = {"nodeSelectorTerms": terms}
        return found

    def pod_affinity(self, share: float) -> Tree:
        weighted = [{"weight": self.one(1, 7, 100), "podAffinityTerm": one} for one in self.some(self.pod_term)]
        found: Tree = {"preferredDuringSchedulingIgnoredDuringExecution": weighted}
        if self.often(share):
            found["requiredDuringSchedulingIgnoredDuringExecution"] = self.some(self.pod_term)
        return found

    def rule(self) -> Tree:
        when = self.one("DoNotSchedule", "ScheduleAnyway")
        selector = self.selector()
        found: Tree = {"topologyKey": self.one(HOST, ZONE, ZONE, "rack"), "maxSkew": self.one(1, 1, 2, 3)}
        found |= {"whenUnsatisfiable": when}
        found |= self.one({}, {"nodeTaintsPolicy": "Honor"}, {"nodeAffinityPolicy": "Ignore"})
        if selector is not None:
            found |= {"labelSelector": selector} | self.maybe(0.2, matchLabelKeys=lambda: ["version"])
        return found | (self.maybe(0.3, minDomains=lambda: self.one(1, 3, 4)) if when == "DoNotSchedule" else {})


def both(nodes: list[Tree]) -> tuple[Plain, Snapshot]:
    plain, world = Plain(), Snapshot()
    for name, found in (("default", {"team": "x"}), ("other", {})):
        plain.namespaces[name] = found
        world.set_namespace(name, found)
    plain.services = [{"metadata": {"name": "web", "namespace": "default"}, "spec": {"selector": {"app": "web"}}}]
    world.selecting.set_service("default", "web", {"app": "web"})
    for tree in nodes:
        plain.nodes.append(tree)
        world.set_node(codec.from_tree(NodeView, tree))
    return plain, world


def compare(seed: int, seen: Counter[str]) -> None:
    chance = Chance(seed)
    plain, world = both([chance.node(number) for number in range(1 + seed % 6)])
    for number in range(12):
        tree = chance.pod(number)
        pod = PodInfo(codec.from_tree(PodView, tree))
        prepared = filters.prepare(pod, world)
        feasible: list[NodeInfo] = []
        said: Counter[str] = Counter()
        for node, info in zip(plain.nodes, world.nodes(), strict=True):
            expected = plain.rejection(tree, node)
            rejection = prepared.rejection(info)
            assert list(rejection.reasons if rejection is not None else ()) == expected, (seed, number)
            said.update(expected)
            if not expected:
                feasible.append(info)
        seen.update(said)
        wanted = plain.scores(tree, [plain.nodes[info.position] for info in feasible])
        found = scores.by_name(pod, feasible, world) if feasible else {}
        for name, values in wanted.items():
            if name in found:
                assert found[name] == (WEIGHTS.get(name, 1), values), (seed, number, name)
            # what is left out may not make a difference
            assert name in found or len(set(values)) <= 1, (seed, number, name)
            seen[name] += len(set(values)) > 1
        totals = [sum(WEIGHTS.get(name, 1) * one[i] for name, one in wanted.items()) for i in range(len(feasible))]
        best = {info.name for info, total in zip(feasible, totals, strict=True) if total == max(totals)}
        for keep in (False, True, True):
            decision = decide(pod, world, keep=keep)
            if isinstance(decision, Unschedulable):
                listed = ", ".join(sorted(f"{count} {reason}" for reason, count in said.items()))
                words = f"0/{len(plain.nodes)} nodes are available: {listed}. "
                assert not feasible, (seed, number)
                assert decision.message.startswith(words), (seed, number)
            else:
                assert decision.name in best, (seed, number)
        if best:
            plain.placed.append((tree, min(best)))
            world.assume(pod, min(best))
        if number % 4 == 3 and plain.placed:
            gone, _ = plain.placed.pop(0)
            world.remove_pod(f"{gone['metadata']['namespace']}/{gone['metadata']['name']}")


def test_verdicts_words_scores_and_decisions_are_the_references() -> None:
    seen: Counter[str] = Counter()
    for seed in range(WORLDS):
        compare(seed, seen)
    # the comparison is worth something only if every filter and every score had something to say
    reasons = {
        "node(s) were unschedulable",
        "node(s) had untolerated taint(s)",
        "node(s) didn't match Pod's node affinity/selector",
        "node(s) didn't have free ports for the requested pod ports",
        "Too many pods",
        "Insufficient cpu",
        "Insufficient memory",
        "Insufficient example.com/gpu",
        "node(s) didn't match pod topology spread constraints",
        "node(s) didn't match pod topology spread constraints (missing required label)",
        "node(s) didn't match pod affinity rules",
        "node(s) didn't match pod anti-affinity rules",
        "node(s) didn't satisfy existing pods anti-affinity rules",
    }
    names = {name for name, _ in scores.OWN} | {name for name, _, _ in scores.SCALED}
    names |= {name for name, _ in scores.COMPARED} - {"DynamicResources"}
    assert {name for name in reasons | names if seen[name] < 10} == set()
