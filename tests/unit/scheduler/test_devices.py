"""Devices for claims: what fits, what is taken, what is written; tables, and a law over small worlds."""

from __future__ import annotations

from itertools import combinations, product
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from carob.api import codec
from carob.api.types import resource_v1
from carob.scheduler.decision import Unschedulable, decide
from carob.scheduler.devices.pod_devices import PodDevices
from carob.scheduler.devices.pools import Offer
from carob.scheduler.nodes import NodeInfo
from tests.unit.scheduler.devices import (
    DRIVER,
    allocated,
    claim,
    class_,
    device,
    exactly,
    first_of,
    offer,
    seen,
    user,
)
from tests.unit.scheduler.worlds import node_view, snapshot

NOT_ALL = "cannot allocate all claims"


def node(name: str = "node-0", **labels: str) -> NodeInfo:
    found = NodeInfo(name)
    found.set_view(node_view(name, labels=labels))
    return found


def got(devices: PodDevices, name: str = "claim", on: NodeInfo | None = None) -> list[str]:
    """The devices that a claim gets, `request:device`; what the filter says where it gets none."""
    where = on or node()
    rejection = devices.rejection(where)
    if rejection is not None:
        return list(rejection.reasons)
    results = devices.plan(where).allocations[f"default/{name}"].devices.results
    return [f"{one.request}:{one.device}" for one in results]


def of_one(wanted: resource_v1.ResourceClaim, *offers: Offer, **more: Any) -> list[str]:
    return got(seen(user(wanted), wanted, offers=list(offers), **more))


THREE = offer(
    device("a", attributes={"model": "small", "numa": 0}),
    device("b", attributes={"model": "large", "numa": 1}),
    device("c", attributes={"model": "large", "numa": 1}),
)


def test_what_was_found_on_nodes_can_be_forgotten_and_is_found_again() -> None:
    wanted = claim("claim", exactly(count=2))
    devices = seen(user(wanted), wanted, offers=[THREE])
    assert got(devices) == ["r:a", "r:b"]
    devices.forget()
    assert got(devices) == ["r:a", "r:b"]


LARGE = f'device.attributes["{DRIVER}"].model == "large"'


@pytest.mark.parametrize(
    ("requests", "wanted"),
    [
        ([exactly()], ["r:a"]),
        ([exactly(count=2)], ["r:a", "r:b"]),
        ([exactly(count=4)], [NOT_ALL]),
        ([exactly(where=LARGE)], ["r:b"]),
        ([exactly(where=LARGE, count=3)], [NOT_ALL]),
        ([exactly("x"), exactly("y", where=LARGE, count=2)], ["x:a", "y:b", "y:c"]),
        # the first choice of the first request must give way
        ([exactly("x", where=LARGE), exactly("y", count=2)], ["x:b", "y:a", "y:c"]),
        ([exactly(allocationMode="All")], ["r:a", "r:b", "r:c"]),
        ([exactly(allocationMode="All", where=LARGE)], ["r:b", "r:c"]),
        ([exactly(allocationMode="All", where="false")], [NOT_ALL]),
        ([exactly("x"), exactly("y", allocationMode="All")], [NOT_ALL]),
        ([first_of(exactly("best", count=4), exactly("good", count=2))], ["r/good:a", "r/good:b"]),
        ([first_of(exactly("best", where=LARGE), exactly("good"))], ["r/best:b"]),
        # the best alternative of the first leaves too little for the second
        ([first_of(exactly("two", count=2), exactly("one")), exactly("y", count=2)], ["r/one:a", "y:b", "y:c"]),
    ],
)
def test_which_devices_a_claim_gets(requests: list[Any], wanted: list[str]) -> None:
    assert of_one(claim("claim", *requests), THREE) == wanted


def test_the_class_and_the_claim_choose_together() -> None:
    wanted = claim("claim", exactly(where=f'device.attributes["{DRIVER}"].numa == 1'))
    assert of_one(wanted, THREE, classes=[class_(where=LARGE)]) == ["r:b"]
    assert of_one(wanted, THREE, classes=[class_(where="false")]) == [NOT_ALL]


@pytest.mark.parametrize(
    ("constraint", "count", "wanted"),
    [
        ({"matchAttribute": f"{DRIVER}/numa"}, 2, ["r:b", "r:c"]),
        ({"matchAttribute": f"{DRIVER}/numa"}, 3, [NOT_ALL]),
        ({"matchAttribute": f"{DRIVER}/missing"}, 1, [NOT_ALL]),
        ({"matchAttribute": f"{DRIVER}/numa", "requests": ["other"]}, 3, ["r:a", "r:b", "r:c"]),
        ({"distinctAttribute": f"{DRIVER}/numa"}, 2, ["r:a", "r:b"]),
        ({"distinctAttribute": f"{DRIVER}/numa"}, 3, [NOT_ALL]),
    ],
)
def test_constraints(constraint: dict[str, Any], count: int, wanted: list[str]) -> None:
    asked = claim("claim", exactly(count=count), exactly("other", where="false"), constraints=[constraint])
    del asked.spec.devices.requests[1:]  # type: ignore[union-attr]
    assert of_one(asked, THREE) == wanted


def test_a_constraint_over_requests_and_one_of_their_alternatives() -> None:
    same = {"matchAttribute": f"{DRIVER}/numa", "requests": ["x", "r/good"]}
    wanted = claim(
        "claim",
        exactly("x", where=LARGE),
        first_of(exactly("best", where="false"), exactly("good")),
        constraints=[same],
    )
    assert of_one(wanted, THREE) == ["x:b", "r/good:c"]


def test_what_others_have_is_not_given_again() -> None:
    wanted = claim("claim", exactly(count=2))
    other = claim("other", allocation=allocated("a"))
    assert got(seen(user(wanted), wanted, other, offers=[THREE])) == ["r:b", "r:c"]
    more = claim("more", allocation=allocated("b"))
    assert got(seen(user(wanted), wanted, other, more, offers=[THREE])) == [NOT_ALL]
    # the same name in another pool is another device
    elsewhere = claim("elsewhere", allocation=allocated("a", "b", "c", pool="another"))
    assert got(seen(user(wanted), wanted, elsewhere, offers=[THREE])) == ["r:a", "r:b"]


def test_two_claims_of_one_pod_share_nothing() -> None:
    one, two = claim("one", exactly(count=2)), claim("two", exactly(where=f'device.attributes["{DRIVER}"].numa == 0'))
    found = seen(user(one, two), one, two, offers=[THREE])
    assert (got(found, "one"), got(found, "two")) == (["r:b", "r:c"], ["r:a"])


def test_administrators_look_at_what_is_in_use_and_take_nothing() -> None:
    look_at = claim("claim", exactly("all", adminAccess=True, allocationMode="All"))
    other = claim("other", allocation=allocated("a", "b", "c"))
    found = seen(user(look_at), look_at, other, offers=[THREE])
    assert got(found) == ["all:a", "all:b", "all:c"]
    assert all(one.admin_access for one in found.plan(node()).allocations["default/claim"].devices.results)
    looking = claim("looking", allocation=allocated("a", "b", "c", adminAccess=True))
    usual = claim("usual")
    assert got(seen(user(usual), usual, looking, offers=[THREE]), "usual") == ["r:a"]


TAINTED = offer(
    device("a", taints=[{"key": "broken", "value": "fan", "effect": "NoSchedule"}]),
    device("b", taints=[{"key": "old", "effect": "None"}]),
)


@pytest.mark.parametrize(
    ("tolerations", "count", "wanted"),
    [
        ([], 1, ["r:b"]),
        ([], 2, [NOT_ALL]),
        ([{"key": "broken", "operator": "Exists"}], 2, ["r:a", "r:b"]),
        ([{"key": "broken", "operator": "Equal", "value": "fan", "effect": "NoSchedule"}], 2, ["r:a", "r:b"]),
        ([{"key": "broken", "operator": "Equal", "value": "disk"}], 2, [NOT_ALL]),
        ([{"key": "broken", "operator": "Exists", "effect": "NoExecute"}], 2, [NOT_ALL]),
        ([{"operator": "Exists"}], 2, ["r:a", "r:b"]),
    ],
)
def test_taints_of_devices(tolerations: list[Any], count: int, wanted: list[str]) -> None:
    assert of_one(claim("claim", exactly(count=count, tolerations=tolerations)), TAINTED) == wanted


def counter(amount: str) -> list[Any]:
    return [{"counterSet": "memory", "counters": {"size": {"value": amount}}}]


def parts() -> list[Offer]:
    """A card as a whole and in halves; the counters stand in a slice of their own."""
    counters = [{"name": "memory", "counters": {"size": {"value": "40Gi"}}}]
    return [
        offer(name="counters", count=2, sharedCounters=counters),
        offer(
            device("half-1", consumesCounters=counter("20Gi")),
            device("half-2", consumesCounters=counter("20Gi")),
            device("whole", consumesCounters=counter("40Gi")),
            name="cards",
            count=2,
        ),
    ]


@pytest.mark.parametrize(
    ("taken", "count", "wanted"),
    [
        ([], 2, ["r:half-1", "r:half-2"]),
        ([], 3, [NOT_ALL]),
        (["half-2"], 1, ["r:half-1"]),
        (["half-2"], 2, [NOT_ALL]),
        (["whole"], 1, [NOT_ALL]),
    ],
)
def test_parts_of_one_device_share_its_counters(taken: list[str], count: int, wanted: list[str]) -> None:
    asked, other = claim("claim", exactly(count=count)), claim("other", allocation=allocated(*taken))
    assert got(seen(user(asked), asked, other, offers=parts())) == wanted


POLICY = {"validRange": {"min": "10", "max": "60", "step": "10"}, "default": "20"}
SHARED = offer(
    device("nic", allowMultipleAllocations=True, capacity={"rate": {"value": "100", "requestPolicy": POLICY}})
)


def rate(amount: str, name: str = "rate") -> dict[str, Any]:
    return {"capacity": {"requests": {name: amount}}}


@pytest.mark.parametrize(
    ("taken", "asked", "gets"),
    [
        ("0", {}, "20"),  # the default
        ("0", rate("5"), "10"),
        ("0", rate("11"), "20"),
        ("0", rate("60", f"{DRIVER}/rate"), "60"),
        ("0", rate("61"), ""),  # more than one may have
        ("40", rate("60"), "60"),
        ("50", rate("60"), ""),  # not left
        ("0", rate("1", "missing"), ""),
    ],
)
def test_shares_of_a_device(taken: str, asked: dict[str, Any], gets: str) -> None:
    wanted = claim("claim", exactly(**asked))
    other = claim("other", allocation=allocated("nic", shareID="one", consumedCapacity={"rate": taken}))
    found = seen(user(wanted), wanted, other, offers=[SHARED])
    if not gets:
        assert got(found) == [NOT_ALL]
        return
    assert got(found) == ["r:nic"]
    [result] = found.plan(node()).allocations["default/claim"].devices.results
    assert result.share_id == ""  # named when it is taken
    assert result.consumed_capacity == {"rate": gets}


def test_a_share_and_the_whole_exclude_each_other_by_capacity() -> None:
    one, two = claim("one", exactly(**rate("60"))), claim("two", exactly(**rate("60")))
    assert got(seen(user(one, two), one, two, offers=[SHARED]), "one") == [NOT_ALL]
    small = claim("two", exactly(**rate("40")))
    found = seen(user(one, small), one, small, offers=[SHARED])
    assert (got(found, "one"), got(found, "two")) == (["r:nic"], ["r:nic"])


def test_pools_count_by_their_newest_generation_and_only_when_whole() -> None:
    wanted = claim()
    old = offer(device("old"), name="one", generation=1)
    new = offer(device("new"), name="two", generation=2)
    assert of_one(wanted, old, new) == ["r:new"]
    half = offer(device("half"), name="two", generation=2, count=2)
    assert of_one(wanted, old, half) == [NOT_ALL]
    words = f"claim default/claim, request r: asks for all devices, but resource pool {DRIVER}/node-0 is currently "
    everything = claim("claim", exactly(allocationMode="All"))
    assert of_one(everything, half) == [words + "being updated"]
    twice = offer(device("a"), device("a"))
    assert of_one(wanted, twice) == ["invalid resource pools were encountered"]
    assert of_one(everything, twice) == [words + "invalid"]


def test_which_nodes_reach_a_device() -> None:
    zone = {"matchExpressions": [{"key": "zone", "operator": "In", "values": ["a"]}]}
    places = {
        "far": offer(device("far"), node="node-1"),
        "all": offer(device("all"), allNodes=True),
        "zone": offer(device("zone"), nodeSelector={"nodeSelectorTerms": [zone]}),
        "each": offer(
            device("mine", nodeName="node-0"), device("theirs", nodeName="node-1"), perDeviceNodeSelection=True
        ),
    }
    wanted = claim()

    def on(which: str, where: NodeInfo) -> list[str]:
        return got(seen(user(wanted), wanted, offers=[places[which]]), on=where)

    assert on("far", node()) == [NOT_ALL]
    assert on("all", node()) == ["r:all"]
    assert on("zone", node(zone="a")) == ["r:zone"]
    assert on("zone", node(zone="b")) == [NOT_ALL]
    assert on("each", node()) == ["r:mine"]
    assert on("each", node("node-1")) == ["r:theirs"]


def selector_of(offers: list[Offer], where: NodeInfo | None = None) -> Any:
    wanted = claim("claim", exactly(count=len(offers)))
    found = seen(user(wanted), wanted, offers=offers)
    chosen = where or node(zone="a", rack="1")
    assert found.rejection(chosen) is None
    made = found.plan(chosen).allocations["default/claim"].node_selector
    return codec.to_tree(made) if made is not None else None


def test_the_allocation_says_which_nodes_reach_it() -> None:
    def labelled(key: str, value: str) -> dict[str, Any]:
        return {"key": key, "operator": "In", "values": [value]}

    name = {"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["node-0"]}]}
    zone = offer(
        device("z"), pool="z", nodeSelector={"nodeSelectorTerms": [{"matchExpressions": [labelled("zone", "a")]}]}
    )
    rack = offer(
        device("y"), pool="y", nodeSelector={"nodeSelectorTerms": [{"matchExpressions": [labelled("rack", "1")]}]}
    )
    local, everywhere = offer(device("l"), pool="l"), offer(device("e"), pool="e", allNodes=True)
    bound = offer(device("b", bindsToNode=True), pool="b", allNodes=True)
    assert selector_of([everywhere]) is None
    assert selector_of([local, zone]) == {"nodeSelectorTerms": [name]}
    assert selector_of([bound]) == {"nodeSelectorTerms": [name]}
    both = {"matchExpressions": [labelled("rack", "1"), labelled("zone", "a")]}
    assert selector_of([zone, rack, everywhere]) == {"nodeSelectorTerms": [both]}


def test_configurations_of_classes_and_of_the_claim() -> None:
    def setting(what: str, *requests: str) -> dict[str, Any]:
        return {"requests": list(requests), "opaque": {"driver": DRIVER, "parameters": {"is": what}}}

    wanted = claim(
        "claim",
        exactly("x"),
        first_of(exactly("best", where="false"), exactly("good", deviceClassName="other")),
        config=[setting("all"), setting("x", "x"), setting("best", "r/best"), setting("good", "r/good")],
    )
    classes = [class_(config=[setting("class")]), class_("other", config=[setting("other")])]
    found = seen(user(wanted), wanted, offers=[THREE], classes=classes)
    assert got(found) == ["x:a", "r/good:b"]
    made = found.plan(node()).allocations["default/claim"].devices.config
    said = [(one.source, one.requests, one.opaque.parameters["is"]) for one in made if one.opaque is not None]
    assert said == [
        ("FromClass", ["x"], "class"),
        ("FromClass", ["r/good"], "other"),
        ("FromClaim", [], "all"),
        ("FromClaim", ["x"], "x"),
        ("FromClaim", ["r/good"], "good"),
    ]


@pytest.mark.parametrize(
    ("where", "words"),
    [
        ("nosuch", "claim default/claim: selector #0: CEL compile error: compilation failed: ERROR: <input>:1:1"),
        (
            f'device.attributes["{DRIVER}"].missing == 1',
            f"claim default/claim: selector #0 on device {DRIVER}/node-0/a: CEL runtime error: no such key: missing",
        ),
    ],
)
def test_a_broken_expression_is_an_error_of_the_claim(where: str, words: str) -> None:
    wanted = claim("claim", exactly(where=where))
    found = seen(user(wanted), wanted, offers=[THREE])
    [said] = got(found)
    assert said.startswith(words)
    assert found.error == said


def test_more_than_a_claim_can_hold() -> None:
    wanted = claim("claim", exactly("x", count=20), exactly("y", count=20))
    words = "claim default/claim: number of requested devices 40 exceeds the claim limit of 32"
    assert of_one(wanted, THREE) == [words]


def test_a_search_without_end_is_given_up() -> None:
    many = offer(*(device(f"d{i:02}", attributes={"n": i}) for i in range(40)))
    wanted = claim(
        "claim",
        exactly("x", count=12),
        exactly("y", where=f'device.attributes["{DRIVER}"].n > 100'),
    )
    assert of_one(wanted, many) == ["timed out trying to allocate devices"]


# one Pod's claims


@pytest.mark.parametrize(
    ("claims", "words", "waits"),
    [
        ([], 'resourceclaim.resource.k8s.io "claim" not found', False),
        (
            [claim(metadata={"deletionTimestamp": "2026-01-01T00:00:00Z"})],
            'resourceclaim "claim" is being deleted',
            False,
        ),
        ([claim("claim", exactly(deviceClassName="none"))], "request r: device class none does not exist", False),
        (
            [claim("claim", first_of(exactly("a", deviceClassName="none")))],
            "request r/a: device class none does not exist",
            False,
        ),
        (
            [
                claim(
                    allocation=allocated("a"),
                    reservedFor=[{"resource": "pods", "name": "p", "uid": str(i)} for i in range(256)],
                )
            ],
            "resourceclaim in use",
            False,
        ),
    ],
)
def test_why_no_node_can_have_it(claims: list[Any], words: str, waits: bool) -> None:
    found = seen(user(claim()), *claims, offers=[THREE])
    assert (found.refusal, found.waiting) == (words, waits)


def test_a_claim_that_is_being_allocated_is_waited_for() -> None:
    wanted = claim()
    found = seen(user(wanted), wanted, offers=[THREE], pending=("uid-claim",))
    assert found.refusal == "resource claim default/claim is in the process of being allocated"


def test_a_claim_of_a_template_is_waited_for_and_must_be_the_pods_own() -> None:
    wish = {"name": "card", "resourceClaimTemplateName": "gpus"}
    new = user(resourceClaims=[wish])
    found = seen(new, offers=[THREE])
    assert (found.refusal, found.waiting) == ('pod "default/pod": ResourceClaim not created yet', True)
    noted = {"resourceClaimStatuses": [{"name": "card", "resourceClaimName": "claim"}]}
    made = user(resourceClaims=[wish], status=noted)
    assert seen(made, offers=[THREE]).waiting
    found = seen(made, claim(), offers=[THREE])
    assert found.refusal == "ResourceClaim default/claim was not created for pod default/pod (pod is not owner)"
    owner = {"kind": "Pod", "name": "pod", "uid": "uid-pod", "controller": True}
    own = claim(metadata={"ownerReferences": [owner]})
    assert got(seen(made, own, offers=[THREE])) == ["r:a"]
    none = user(resourceClaims=[wish], status={"resourceClaimStatuses": [{"name": "card"}]})
    assert seen(none, offers=[THREE]).empty


def test_an_allocated_claim_keeps_the_pod_where_its_devices_are() -> None:
    only = {"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["node-1"]}]}
    there = allocated("a", pool="node-1") | {"nodeSelector": {"nodeSelectorTerms": [only]}}
    wanted = claim(allocation=there)
    found = seen(user(wanted), wanted, offers=[])
    assert found.rejection(node("node-1")) is None
    assert found.plan(node("node-1")).allocations == {}
    rejection = found.rejection(node())
    assert rejection is not None
    assert rejection.reasons == ("resourceclaim not available on the node",)
    assert found.after_filters("uid-pod") == ("deallocation of ResourceClaim completed", wanted)
    busy = claim(allocation=there, reservedFor=[{"resource": "pods", "name": "other", "uid": "other"}])
    found = seen(user(busy), busy, offers=[])
    found.rejection(node())
    assert found.after_filters("uid-pod") == ("still not schedulable", None)


def test_decisions_and_their_words() -> None:
    world = snapshot(node_view("node-0"), node_view("node-1"))
    wanted = claim()
    who = user(wanted)
    seen(who, wanted, offers=[offer(device("a"), node="node-1")])
    found = decide(who, world)
    assert isinstance(found, NodeInfo)
    assert found.name == "node-1"
    seen(who, wanted, offers=[])
    refused = decide(who, world)
    assert isinstance(refused, Unschedulable)
    assert refused.plugins == {"DynamicResources"}
    assert refused.message == (
        "0/2 nodes are available: 2 cannot allocate all claims. still not schedulable, preemption: 0/2 nodes are "
        "available: 2 Preemption is not helpful for scheduling."
    )
    seen(who, offers=[])
    refused = decide(who, world)
    assert isinstance(refused, Unschedulable)
    assert refused.message == (
        '0/2 nodes are available: resourceclaim.resource.k8s.io "claim" not found. no new claims to deallocate, '
        "preemption: 0/2 nodes are available: 2 Preemption is not helpful for scheduling."
    )


def test_the_node_with_the_better_alternative_wins() -> None:
    world = snapshot(*(node_view(f"node-{i}") for i in range(3)))
    wanted = claim("claim", first_of(exactly("best", where=LARGE), exactly("good")))
    who = user(wanted)
    small, large = {"model": "small"}, {"model": "large"}
    offers = [
        offer(device("a", attributes=small), node="node-0"),
        offer(device("a", attributes=large), node="node-1"),
        offer(device("a", attributes=small), node="node-2"),
    ]
    seen(who, wanted, offers=offers)
    found = decide(who, world)
    assert isinstance(found, NodeInfo)
    assert found.name == "node-1"


# the law: what the search finds is a solution, and it finds one whenever there is one

_numa = st.integers(0, 1)
_devices = st.lists(st.tuples(_numa, st.booleans(), st.booleans()), max_size=5)
_requests = st.lists(st.tuples(st.integers(1, 2), st.sampled_from(("", "0", "1"))), min_size=1, max_size=3)


@settings(max_examples=150, deadline=None)
@given(_devices, st.lists(_requests, min_size=1, max_size=2), st.booleans())
def test_a_solution_is_found_whenever_there_is_one(
    offered: list[tuple[int, bool, bool]], wanted: list[list[tuple[int, str]]], together: bool
) -> None:
    tainted = [{"key": "broken", "effect": "NoSchedule"}]
    devices = [
        device(f"d{i}", attributes={"numa": numa}, **({"taints": tainted} if bad else {}))
        for i, (numa, bad, _) in enumerate(offered)
    ]
    constraints = [{"matchAttribute": f"{DRIVER}/numa"}] if together else []
    claims = [
        claim(
            f"c{i}",
            *(
                exactly(f"r{j}", count, **({"where": f'device.attributes["{DRIVER}"].numa == {numa}'} if numa else {}))
                for j, (count, numa) in enumerate(requests)
            ),
            constraints=constraints,
        )
        for i, requests in enumerate(wanted)
    ]
    taken = claim("taken", allocation=allocated(*(f"d{i}" for i, (_, _, used) in enumerate(offered) if used)))
    found = seen(user(*claims), *claims, taken, offers=[offer(*devices)])
    free = {f"d{i}": numa for i, (numa, bad, used) in enumerate(offered) if not bad and not used}
    rejection = found.rejection(node())
    assert not found.error
    assert (rejection is None) == _solvable(free, wanted, together)
    if rejection is not None:
        return
    plan = found.plan(node()).allocations
    names = [one.device for made in plan.values() for one in made.devices.results]
    assert len(names) == len(set(names))
    assert set(names) <= set(free)
    for i, requests in enumerate(wanted):
        results = plan[f"default/c{i}"].devices.results
        for j, (count, numa) in enumerate(requests):
            mine = [one.device for one in results if one.request == f"r{j}"]
            assert len(mine) == count
            assert not numa or all(free[name] == int(numa) for name in mine)
        assert not together or len({free[one.device] for one in results}) == 1


def _solvable(free: dict[str, int], wanted: list[list[tuple[int, str]]], together: bool) -> bool:
    """By trying everything."""
    flat = [(i, count, numa) for i, requests in enumerate(wanted) for count, numa in requests]
    choices = [
        list(combinations([name for name, at in free.items() if not numa or at == int(numa)], count))
        for _, count, numa in flat
    ]
    for chosen in product(*choices):
        names = [name for group in chosen for name in group]
        if len(names) != len(set(names)):
            continue
        places: dict[int, set[int]] = {}
        for (i, _, _), group in zip(flat, chosen, strict=True):
            places.setdefault(i, set()).update(free[name] for name in group)
        if not together or all(len(at) == 1 for at in places.values()):
            return True
    return False
