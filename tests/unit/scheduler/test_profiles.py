"""Profiles: what a KubeSchedulerConfiguration may say, and what follows from it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from worlds import node_view, pod, snapshot

from carob.scheduler.decision import Unschedulable, decide
from carob.scheduler.nodes import NodeInfo
from carob.scheduler.pods import PodInfo
from carob.scheduler.profiles import API_VERSION, KIND, ProfileError, read
from carob.scheduler.score.resources_fit import curve, rate
from carob.scheduler.snapshot import Snapshot
from carob.scheduler.verdict import Rejection

ODD = Rejection("OddNodes", ("node(s) had an even number",))


def only_odd(wanted: PodInfo, world: Snapshot) -> Callable[[NodeInfo], Rejection | None]:
    return lambda node: None if int(node.name[-1]) % 2 else ODD


def by_number(wanted: PodInfo, world: Snapshot) -> Callable[[NodeInfo], int]:
    return lambda node: int(node.name[-1])


def find(group: str, name: str) -> Any:
    return {("filter", "OddNodes"): only_odd, ("score", "ByNumber"): by_number}.get((group, name))


def config(**profile: Any) -> dict[str, Any]:
    return {"apiVersion": API_VERSION, "kind": KIND, "profiles": [profile]}


def world_with(profile: dict[str, Any], nodes: int = 4) -> Snapshot:
    made: Snapshot = snapshot(*(node_view(f"node-{i}") for i in range(nodes)))
    made.profiles = read(config(**profile), find)
    return made


def strategy(kind: str, **more: Any) -> dict[str, Any]:
    args = {"scoringStrategy": {"type": kind} | more}
    return {"pluginConfig": [{"name": "NodeResourcesFit", "args": args}]}


RAMP = {"shape": [{"utilization": 0, "score": 0}, {"utilization": 100, "score": 10}]}


@pytest.mark.parametrize(
    ("fit", "chosen"),
    [
        (strategy("LeastAllocated"), "node-1"),
        (strategy("MostAllocated"), "node-0"),
        (strategy("RequestedToCapacityRatio", requestedToCapacityRatio=RAMP), "node-0"),
    ],
)
def test_nodes_are_filled_or_kept_empty(fit: dict[str, Any], chosen: str) -> None:
    off = {"plugins": {"score": {"disabled": [{"name": "NodeResourcesBalancedAllocation"}]}}}
    world = world_with(fit | off, nodes=2)
    world.assume(pod("there", {"cpu": "2", "memory": "2Gi"}), "node-0")
    for number in range(2):
        found = decide(pod(f"new-{number}", {"cpu": "1", "memory": "1Gi"}), world)
        assert isinstance(found, NodeInfo)
        assert found.name == chosen


def test_each_strategy_gives_upstreams_numbers() -> None:
    amounts = [{"name": "cpu", "weight": 3}, {"name": "example.com/gpu", "weight": 1}]
    new = pod("new", {"cpu": "1", "example.com/gpu": "1"})
    expected = {"LeastAllocated": (75 * 3 + 50) // 4, "MostAllocated": (25 * 3 + 50) // 4}
    for kind, value in expected.items():
        world = world_with(strategy(kind, resources=amounts))
        world.set_node(node_view("node-0", extended={"example.com/gpu": "2"}))
        node = world.get("node-0")
        assert node is not None
        assert rate(new, world)(node) == value
    shape = ((0, 0), (50, 100), (100, 20))
    assert [curve(shape, at) for at in (0, 25, 50, 75, 100)] == [0, 50, 100, 60, 20]


def test_filters_can_be_taken_away_and_added() -> None:
    world = world_with(
        {
            "plugins": {
                "filter": {"disabled": [{"name": "NodeResourcesFit"}], "enabled": [{"name": "OddNodes"}]},
                "score": {"disabled": [{"name": "*"}], "enabled": [{"name": "ByNumber", "weight": 5}]},
            }
        }
    )
    for number in range(3):
        found = decide(pod(f"big-{number}", {"cpu": "99"}), world)
        assert isinstance(found, NodeInfo)
        assert found.name == "node-3"
    world = world_with({"plugins": {"multiPoint": {"enabled": [{"name": "OddNodes"}]}}}, nodes=1)
    found = decide(pod("x"), world)
    assert isinstance(found, Unschedulable)
    assert found.message.startswith("0/1 nodes are available: 1 node(s) had an even number. ")


def test_another_name_is_another_profile() -> None:
    profiles = read(
        {
            "apiVersion": API_VERSION,
            "kind": KIND,
            "profiles": [{}, {"schedulerName": "packer"} | strategy("MostAllocated")],
        },
        find,
    )
    assert set(profiles) == {"default-scheduler", "packer"}
    world: Snapshot = snapshot(node_view("a"), node_view("b"))
    world.profiles = profiles
    world.assume(pod("there", {"cpu": "1", "memory": "1Gi"}), "a")
    places = {}
    for name in profiles:
        found = decide(pod(f"new-{name}", {"cpu": "1", "memory": "1Gi"}, schedulerName=name), world)
        assert isinstance(found, NodeInfo)
        places[name] = found.name
    assert places == {"default-scheduler": "b", "packer": "a"}


@pytest.mark.parametrize(
    ("tree", "words"),
    [
        ({}, "no KubeSchedulerConfiguration of kubescheduler.config.k8s.io/v1"),
        (
            config(plugins={"score": {"enabled": [{"name": "Nix"}]}}),
            'profiles[0].plugins.score.enabled[0].name: Invalid value: "Nix": no plugin and no entry point of this name',
        ),
        (
            config(**strategy("Odd")),
            'profiles[0].pluginConfig[NodeResourcesFit].args.scoringStrategy.type: Unsupported value: "Odd": '
            'supported values: "LeastAllocated", "MostAllocated", "RequestedToCapacityRatio"',
        ),
        (
            config(pluginConfig=[{"name": "InterPodAffinity", "args": {"hardPodAffinityWeight": 101}}]),
            "profiles[0].pluginConfig[InterPodAffinity].args.hardPodAffinityWeight: Invalid value: 101: "
            "not in valid range [0-100]",
        ),
        (
            {"apiVersion": API_VERSION, "kind": KIND, "profiles": [{}, {}]},
            'profiles[1].schedulerName: Duplicate value: "default-scheduler"',
        ),
    ],
)
def test_mistakes_are_named(tree: Any, words: str) -> None:
    with pytest.raises(ProfileError) as caught:
        read(tree, find)
    assert str(caught.value) == words
