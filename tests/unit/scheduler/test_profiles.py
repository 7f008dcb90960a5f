"""Profiles: what a KubeSchedulerConfiguration may say, and what follows from it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from worlds import node_view, pod, snapshot

from carob.scheduler.configuration import API_VERSION, KIND, ConfigurationError, read
from carob.scheduler.decision import Unschedulable, decide, nodes_to_find
from carob.scheduler.nodes import NodeInfo
from carob.scheduler.pod_volumes import PodVolumes
from carob.scheduler.pods import PodInfo
from carob.scheduler.profiles import DEFAULT, Profile
from carob.scheduler.queue import SchedulingQueue
from carob.scheduler.score import balanced_allocation, inter_pod_affinity
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
    made.profiles = dict(read(config(**profile), find).profiles)
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
    ).profiles
    assert set(profiles) == {"default-scheduler", "packer"}
    world: Snapshot = snapshot(node_view("a"), node_view("b"))
    world.profiles = dict(profiles)
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
            'profiles[0].plugins.score.enabled[0].name: Invalid value: "Nix": ScorePlugin "Nix" does not exist, '
            "nor an entry point of this name",
        ),
        (
            config(**strategy("Odd")),
            'profiles[0].pluginConfig[0].args.scoringStrategy.type: Unsupported value: "Odd": '
            'supported values: "LeastAllocated", "MostAllocated", "RequestedToCapacityRatio"',
        ),
        (
            config(pluginConfig=[{"name": "InterPodAffinity", "args": {"hardPodAffinityWeight": 101}}]),
            "profiles[0].pluginConfig[0].args.hardPodAffinityWeight: Invalid value: 101: not in valid range [0, 100]",
        ),
        (
            {"apiVersion": API_VERSION, "kind": KIND, "profiles": [{}, {}]},
            'profiles[1].schedulerName: Duplicate value: "profiles[0].schedulerName"',
        ),
    ],
)
def test_mistakes_are_named(tree: Any, words: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        read(tree, find)
    assert str(caught.value) == words


def at(point: str, **sets: Any) -> dict[str, Any]:
    """A profile that enables and disables the plugins of these names at a point."""
    return {"plugins": {point: {key: [{"name": name} for name in names] for key, names in sets.items()}}}


@pytest.mark.parametrize(
    ("profile", "words"),
    [
        (
            at("multiPoint", enabled=["Nix"]),
            'multiPoint.enabled[0].name: Invalid value: "Nix": PreFilterPlugin "Nix" does not exist, '
            "nor an entry point of this name",
        ),
        (
            at("reserve", enabled=["ImageLocality"]),
            'reserve.enabled[0].name: Invalid value: "ImageLocality": '
            'plugin "ImageLocality" does not extend ReservePlugin plugin',
        ),
        (
            at("preBind", enabled=["OddNodes"]),
            'preBind.enabled[0].name: Invalid value: "OddNodes": plugin "OddNodes" does not extend PreBindPlugin plugin',
        ),
        (
            at("score", enabled=["ByNumber", "ByNumber"]),
            'score.enabled[1].name: Invalid value: "ByNumber": plugin "ByNumber" already registered as "ScorePlugin"',
        ),
        (
            at("queueSort", disabled=["*"]),
            'queueSort: only one queue sort plugin required for profile with scheduler name "mine", but got 0',
        ),
        (
            at("bind", disabled=["DefaultBinder"]),
            'bind: at least one bind plugin is needed for profile with scheduler name "mine"',
        ),
        (
            at("preFilter", disabled=["NodeResourcesFit"]),
            'preFilter.disabled: Invalid value: "NodeResourcesFit": what it does at filter needs what it does at '
            "preFilter: disable both, or neither",
        ),
        (
            at("preScore", disabled=["*"]),
            'preScore.disabled: Invalid value: "TaintToleration": what it does at score needs what it does at preScore: '
            "disable both, or neither",
        ),
        (
            at("preBind", disabled=["VolumeBinding"]),
            'preBind.disabled: Invalid value: "VolumeBinding": what it does at filter needs what it does at preBind: '
            "disable both, or neither",
        ),
    ],
)
def test_plugins_that_cannot_work_so_are_named(profile: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        read(config(schedulerName="mine", **profile), find)
    assert str(caught.value) == f"profiles[0].plugins.{words}"


def only(profile: dict[str, Any]) -> Profile:
    (found,) = read(config(**profile), find).profiles.values()
    return found


def test_plugins_are_where_upstream_has_them() -> None:
    assert only({}) == DEFAULT
    # what is enabled anew without a weight has the weight 1, whatever it had before
    assert only(at("multiPoint", enabled=["TaintToleration"])).weights["TaintToleration"] == 1
    assert only(at("score", enabled=["NodeAffinity"])).weights["NodeAffinity"] == 1
    assert only({}).weights["NodeAffinity"] == 2
    # one that is enabled everywhere can be disabled at one point, and what is named at a point stays there
    mixed = at("multiPoint", disabled=["ImageLocality"], enabled=["ByNumber"])
    mixed["plugins"] |= at("score", disabled=["PodTopologySpread"], enabled=["ImageLocality"])["plugins"]
    weights = only(mixed).weights
    assert (weights["ImageLocality"], weights["ByNumber"]) == (1, 1)
    assert "PodTopologySpread" not in weights
    assert not only(mixed).disabled_filters
    alone = at("multiPoint", disabled=["*"], enabled=["PrioritySort", "DefaultBinder", "NodeName"])
    assert only(alone).disabled_filters >= {"NodeResourcesFit", "InterPodAffinity"}
    assert "NodeName" not in only(alone).disabled_filters
    assert only(alone).weights == {}
    assert not only(alone).post_filters
    # their feature gates are closed
    assert only(at("multiPoint", enabled=["GangScheduling", "NodeDeclaredFeatures"])) == DEFAULT


def test_gates_are_heeded_unless_that_is_disabled() -> None:
    gated = pod("x", schedulingGates=[{"name": "example.com/wait"}])
    for profile, heeds in (({}, True), (at("preEnqueue", disabled=["SchedulingGates"]), False)):
        assert only(profile).heeds_gates is heeds
        queue = SchedulingQueue()
        queue.add(gated, heed_gates=heeds)
        assert (queue.pop(0.0) is None) is heeds


def test_what_filters_say_before_any_node_can_be_disabled() -> None:
    names = {"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["node-1"]}]}
    required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [names]}}
    told = {}
    for point in ("preFilter", "filter"):
        world = world_with(at(point, disabled=["NodeAffinity"]), nodes=2)
        found = decide(pod("full", {"cpu": "99"}, affinity={"nodeAffinity": required}), world)
        assert isinstance(found, Unschedulable)
        told[point] = found.message.partition(". ")[0]
    assert told == {
        "preFilter": "0/2 nodes are available: 1 Insufficient cpu, 1 node(s) didn't match Pod's node affinity/selector",
        "filter": "0/2 nodes are available: 1 Insufficient cpu, 1 node(s) didn't satisfy plugin(s) [NodeAffinity]",
    }
    for profile, fits in (({}, False), (at("multiPoint", disabled=["VolumeBinding"]), True)):
        world = world_with(profile, nodes=1)
        claiming = pod("x")
        claiming.volumes = PodVolumes(refusal="pod has unbound immediate PersistentVolumeClaims")
        assert isinstance(decide(claiming, world), NodeInfo) is fits
    for profile, fits in (({}, False), (at("multiPoint", disabled=["VolumeRestrictions"]), True)):
        world = world_with(profile, nodes=1)
        claiming = pod("x")
        claiming.volumes = PodVolumes(busy=True)
        assert isinstance(decide(claiming, world), NodeInfo) is fits


def args(name: str, **more: Any) -> dict[str, Any]:
    return {"pluginConfig": [{"name": name, "args": more}]}


def zoned(profile: dict[str, Any]) -> Snapshot:
    made: Snapshot = snapshot(*(node_view(f"node-{i}", labels={"zone": "ab"[i % 2]}) for i in range(4)))
    made.profiles = dict(read(config(**profile), find).profiles)
    return made


def wanted_zone(*values: str) -> dict[str, Any]:
    return {"matchExpressions": [{"key": "zone", "operator": "In", "values": list(values)}]}


def test_added_affinity_is_enforced_and_preferred() -> None:
    required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [wanted_zone("b")]}}
    world = zoned(args("NodeAffinity", addedAffinity=required))
    found = decide(pod("x"), world)
    assert isinstance(found, NodeInfo)
    assert found.name == "node-1"
    nowhere = decide(pod("y", nodeSelector={"zone": "a"}), world)
    assert isinstance(nowhere, Unschedulable)
    assert nowhere.message.startswith(
        "0/4 nodes are available: 2 node(s) didn't match Pod's node affinity/selector, "
        "2 node(s) didn't match scheduler-enforced node affinity. "
    )
    preferred = {"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 5, "preference": wanted_zone("b")}]}
    world = zoned(args("NodeAffinity", addedAffinity=preferred))
    for i in range(3):
        found = decide(pod(f"p{i}"), world)
        assert isinstance(found, NodeInfo)
        assert found.labels["zone"] == "b"


def test_default_constraints_hold_for_pods_that_somebody_selects() -> None:
    rule = {"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule"}
    world = zoned(args("PodTopologySpread", defaultingType="List", defaultConstraints=[rule]))
    world.selecting.set_service("default", "web", {"app": "web"})
    world.assume(pod("there", labels={"app": "web"}), "node-0")
    refused = decide(pod("new", labels={"app": "web"}, nodeSelector={"zone": "a"}), world)
    # only zone a counts for it, so there is nothing to be skewed against
    assert isinstance(refused, NodeInfo)
    placed = decide(pod("new", labels={"app": "web"}), world)
    assert isinstance(placed, NodeInfo)
    assert placed.labels["zone"] == "b"
    for node in ("node-1", "node-3"):
        world.assume(pod(f"full-{node}", {"cpu": "4"}), node)
    found = decide(pod("new", {"cpu": "1"}, labels={"app": "web"}), world)
    assert isinstance(found, Unschedulable)
    assert "2 node(s) didn't match pod topology spread constraints" in found.message
    # nobody selects this one
    assert isinstance(decide(pod("other", {"cpu": "1"}, labels={"app": "x"}), world), NodeInfo)


def test_resources_can_be_ignored() -> None:
    fit = args("NodeResourcesFit", ignoredResources=["example.com/gpu"], ignoredResourceGroups=["acme.io"])
    world = world_with(fit)
    assert isinstance(decide(pod("a", {"example.com/gpu": "1", "acme.io/x": "1"}), world), NodeInfo)
    assert isinstance(decide(pod("b", {"example.com/tpu": "1"}), world), Unschedulable)


def test_preferences_of_others_can_be_ignored() -> None:
    likes = [{"weight": 9, "podAffinityTerm": {"topologyKey": "zone", "labelSelector": {"matchLabels": {"app": "x"}}}}]
    fan = pod("fan", affinity={"podAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": likes}})
    for ignored in (False, True):
        world = zoned(args("InterPodAffinity", ignorePreferredTermsOfExistingPods=ignored))
        world.assume(fan, "node-1")
        scores = inter_pod_affinity.score(pod("new", labels={"app": "x"}), world.nodes(), world)
        assert scores == (None if ignored else [0, 100, 0, 100])


def test_nobody_goes_where_preemption_is_off() -> None:
    world = world_with({"plugins": {"postFilter": {"disabled": [{"name": "DefaultPreemption"}]}}}, nodes=1)
    world.assume(pod("low", {"cpu": "4"}), "node-0")
    found = decide(pod("new", {"cpu": "4"}, priority=9), world)
    assert isinstance(found, Unschedulable)
    assert found.message == "0/1 nodes are available: 1 Insufficient cpu. no new claims to deallocate"
    assert found.nomination is None


def test_the_balance_that_counts_can_be_of_other_resources() -> None:
    resources = [{"name": "cpu", "weight": 1}, {"name": "memory"}, {"name": "example.com/gpu", "weight": 1}]
    world = world_with(args("NodeResourcesBalancedAllocation", resources=resources))
    world.set_node(node_view("node-0", extended={"example.com/gpu": "2"}))
    (node, other) = world.nodes()[:2]
    rates = {}
    for name, asked in (("all", {"cpu": "2", "memory": "4Gi", "example.com/gpu": "1"}), ("one", {"cpu": "4"})):
        balance = balanced_allocation.rate(pod(name, asked), world)
        assert balance is not None
        rates[name] = (balance(node), balance(other))
    # half of each is as balanced as nothing of any; all of one is not
    assert rates["all"] == (75, 75)
    assert rates["one"] == (50, 50)
    assert balanced_allocation.rate(pod("none"), world) is None


def test_percentages_and_pauses() -> None:
    assert [nodes_to_find(5000, percentage) for percentage in (0, 1, 50, 100)] == [500, 100, 2500, 5000]
    tree = {"apiVersion": API_VERSION, "kind": KIND, "percentageOfNodesToScore": 30}
    tree |= {"podInitialBackoffSeconds": 2, "podMaxBackoffSeconds": 3}
    tree |= {"profiles": [{}, {"schedulerName": "b", "percentageOfNodesToScore": 70}]}
    found = read(tree, find)
    assert [one.percentage_of_nodes for one in found.profiles.values()] == [30, 70]
    queue = SchedulingQueue(found.first_pause_seconds, found.longest_pause_seconds)
    queue.add(pod("x"))
    for attempt in range(3):
        waiting = queue.pop(100.0 * attempt)
        assert waiting is not None
        queue.retry(waiting)
        assert waiting.ready_at == 100.0 * attempt + (2, 3, 3)[attempt]


URL = {"urlPrefix": "http://localhost"}
WHERE = "profiles[0].pluginConfig[0].args"


@pytest.mark.parametrize(
    ("name", "arguments", "words"),
    [
        (
            "DefaultPreemption",
            {"minCandidateNodesPercentage": 101},
            f"{WHERE}.minCandidateNodesPercentage: Invalid value: 101: not in valid range [0, 100]",
        ),
        (
            "DefaultPreemption",
            {"minCandidateNodesPercentage": 0, "minCandidateNodesAbsolute": 0},
            f"[{WHERE}.minCandidateNodesPercentage: Invalid value: 0: cannot be zero at the same time as "
            f"minCandidateNodesAbsolute, {WHERE}.minCandidateNodesAbsolute: Invalid value: 0: cannot be zero at the "
            "same time as minCandidateNodesPercentage]",
        ),
        (
            "PodTopologySpread",
            {"defaultConstraints": [{"maxSkew": 1, "topologyKey": "a", "whenUnsatisfiable": "ScheduleAnyway"}]},
            f'{WHERE}.defaultingType: Invalid value: "System": when .defaultConstraints are not empty',
        ),
        (
            "PodTopologySpread",
            {"defaultingType": "List", "defaultConstraints": [{"maxSkew": 0, "labelSelector": {}}]},
            f"[{WHERE}.defaultConstraints[0].maxSkew: Invalid value: 0: not in valid range (0, inf), "
            f"{WHERE}.defaultConstraints[0].topologyKey: Required value: can not be empty, "
            f"{WHERE}.defaultConstraints[0].whenUnsatisfiable: Required value: can not be empty, "
            f"{WHERE}.defaultConstraints[0].labelSelector: Forbidden: constraint must not define a selector, as they "
            "deduced for each pod]",
        ),
        (
            "PodTopologySpread",
            {"defaultingType": "Odd"},
            f'{WHERE}.defaultingType: Unsupported value: "Odd": supported values: "System", "List"',
        ),
        (
            "NodeAffinity",
            {
                "addedAffinity": {
                    "requiredDuringSchedulingIgnoredDuringExecution": {
                        "nodeSelectorTerms": [{"matchExpressions": [{"key": "a", "operator": "In"}]}]
                    }
                }
            },
            f"{WHERE}.addedAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[0]."
            "matchExpressions[0].values: Invalid value: []: for 'in', 'notin' operators, values set can't be empty",
        ),
        (
            "NodeResourcesBalancedAllocation",
            {"resources": [{"name": "cpu", "weight": 2}, {"name": "cpu"}]},
            f"[{WHERE}.resources[0].weight: Invalid value: 2: must be 1, "
            f'{WHERE}.resources[1].name: Duplicate value: "cpu"]',
        ),
        (
            "VolumeBinding",
            {"bindTimeoutSeconds": -1},
            f"{WHERE}.bindTimeoutSeconds: Invalid value: -1: invalid BindTimeoutSeconds, should not be a negative value",
        ),
        (
            "NodeResourcesFit",
            {"scoringStrategy": {"type": "RequestedToCapacityRatio"}, "ignoredResourceGroups": ["a/b"]},
            f"[{WHERE}.ignoredResourceGroups[0]: Invalid value: \"a/b\": resource group name can't contain '/', "
            f"{WHERE}.scoringStrategy.requestedToCapacityRatio: Required value: must be specified when type is "
            "RequestedToCapacityRatio]",
        ),
        ("InterPodAffinity", {"hardWeight": 1}, f'strict decoding error: unknown field "{WHERE}.hardWeight"'),
        ("VolumeBinding", {"bindTimeoutSeconds": "x"}, f"{WHERE}.bindTimeoutSeconds: Expected `int | null`, got `str`"),
    ],
)
def test_mistakes_in_arguments_are_named(name: str, arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        read(config(**args(name, **arguments)), find)
    assert str(caught.value) == words


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"percentageOfNodesToScore": 101}, "percentageOfNodesToScore: Invalid value: 101: not in valid range [0-100]"),
        ({"parallelism": 0}, "parallelism: Invalid value: 0: should be an integer value greater than zero"),
        ({"podInitialBackoffSeconds": 0}, "podInitialBackoffSeconds: Invalid value: 0: must be greater than 0"),
        (
            {"podInitialBackoffSeconds": 20},
            "podMaxBackoffSeconds: Invalid value: 10: must be greater than or equal to PodInitialBackoffSeconds",
        ),
        (
            {"extenders": [URL | {"prioritizeVerb": "p", "bindVerb": "b"}, URL | {"bindVerb": "b"}]},
            "[extenders[0].weight: Invalid value: 0: must have a positive weight applied to it, extenders: Invalid "
            'value: "found 2 extenders implementing bind": only one extender can implement bind]',
        ),
        (
            {"extenders": [URL | {"managedResources": [{"name": "cpu"}]}]},
            'extenders[0].managedResources[0].name: Invalid value: "cpu": is an invalid extended resource name',
        ),
        ({"profile": []}, 'strict decoding error: unknown field "profile"'),
        (
            {"profiles": [{"plugins": {"filters": {}}}]},
            'strict decoding error: unknown field "profiles[0].plugins.filters"',
        ),
    ],
)
def test_mistakes_outside_of_profiles_are_named(more: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        read({"apiVersion": API_VERSION, "kind": KIND} | more, find)
    assert str(caught.value) == words
