"""Extended resources that a class of devices stands for."""

from __future__ import annotations

from typing import Any

import pytest

from carob.api.types import resource_v1
from carob.scheduler.decision import Unschedulable, decide
from carob.scheduler.devices.extended import NOT_YET, backed_by, claim_for
from carob.scheduler.devices.pod_devices import DevicesView, look
from carob.scheduler.devices.pools import Offer, Pools
from carob.scheduler.devices.taken import Taken
from carob.scheduler.pods import PodInfo
from tests.unit.scheduler.devices import class_, device, offer
from tests.unit.scheduler.worlds import node_view, pod, snapshot

GPU = "example.com/gpu"


def asks(name: str, *, sidecar: bool = False, **amounts: str) -> dict[str, Any]:
    found = {key.replace("_", "."): value for key, value in amounts.items()}
    requests = {f"example.com/{key}": value for key, value in found.items()}
    made: dict[str, Any] = {"name": name, "image": "x", "resources": {"requests": {"cpu": "1"} | requests}}
    return made | ({"restartPolicy": "Always"} if sidecar else {})


def of(*containers: dict[str, Any], init: tuple[dict[str, Any], ...] = (), name: str = "pod") -> PodInfo:
    return pod(name, containers=list(containers), initContainers=list(init))


def seen(who: PodInfo, *offers: Offer, left: resource_v1.ResourceClaim | None = None, taken: Any = None) -> PodInfo:
    classes = [class_("gpu", extendedResourceName=GPU)]
    view = DevicesView(
        claim_of=lambda key: None,
        classes={one.metadata.name: one for one in classes},
        pools=Pools(offers),
        taken=taken or Taken(),
        backed=backed_by(classes),
        left_over=lambda uid: left,
    )
    who.devices = look(who, view)
    return who


def made(who: PodInfo) -> tuple[dict[str, int], list[tuple[str, str]]]:
    claim, mappings = claim_for(who, {GPU: "gpu"})
    requests = claim.spec.devices.requests or []
    counts = {one.name: one.exactly.count for one in requests if one.exactly is not None}
    return counts, [(one.container_name, one.request_name) for one in mappings]


@pytest.mark.parametrize(
    ("who", "counts", "mapped"),
    [
        (of(asks("a", gpu="2")), {"container-0-request-1": 2}, [("a", "container-0-request-1")]),
        (
            of(asks("a", gpu="1"), asks("b"), asks("c", gpu="3")),
            {"container-0-request-1": 1, "container-2-request-1": 3},
            [("a", "container-0-request-1"), ("c", "container-2-request-1")],
        ),
        # an init container uses what later ones will have, and no more than it needs
        (
            of(asks("a", gpu="2"), init=(asks("i", gpu="1"),)),
            {"container-1-request-1": 2},
            [("a", "container-1-request-1"), ("i", "container-1-request-1")],
        ),
        (
            of(asks("a", gpu="1"), init=(asks("i", gpu="3"),)),
            {"container-0-request-1": 2, "container-1-request-1": 1},
            [("a", "container-1-request-1"), ("i", "container-1-request-1"), ("i", "container-0-request-1")],
        ),
        # init containers run one after another: the largest request does for all
        (
            of(asks("a"), init=(asks("i", gpu="1"), asks("j", gpu="2"))),
            {"container-1-request-1": 2},
            [("i", "container-1-request-1"), ("j", "container-1-request-1")],
        ),
        # a sidecar lives on: what it has is nobody else's
        (
            of(asks("a", gpu="1"), init=(asks("s", gpu="1", sidecar=True),)),
            {"container-0-request-1": 1, "container-1-request-1": 1},
            [("s", "container-0-request-1"), ("a", "container-1-request-1")],
        ),
    ],
)
def test_requests_of_containers_become_requests_of_a_claim(
    who: PodInfo, counts: dict[str, int], mapped: list[tuple[str, str]]
) -> None:
    assert made(who) == (counts, mapped)


def test_the_claim_is_the_pods_own() -> None:
    claim, _ = claim_for(of(asks("a", gpu="1"), name="web"), {GPU: "gpu"})
    metadata = claim.metadata
    assert (metadata.name, metadata.generate_name) == (NOT_YET, "web-extended-resources-")
    assert metadata.annotations == {"resource.kubernetes.io/extended-resource-claim": "true"}
    assert [(o.kind, o.uid, o.controller) for o in metadata.owner_references] == [("Pod", "uid-web", True)]


def test_what_classes_stand_for() -> None:
    def of_time(name: str, stamp: str) -> resource_v1.DeviceClass:
        found = class_(name, extendedResourceName=GPU)
        found.metadata.creation_timestamp = stamp
        return found

    old, new = of_time("old", "2026-01-01T00:00:00Z"), of_time("new", "2026-01-02T00:00:00Z")
    prefix = "deviceclass.resource.kubernetes.io/"
    assert backed_by([old, new, class_("plain")]) == {
        GPU: "new",
        f"{prefix}old": "old",
        f"{prefix}new": "new",
        f"{prefix}plain": "plain",
    }


def test_a_node_gives_its_own_or_its_devices() -> None:
    who = of(asks("a", gpu="2"))
    world = snapshot(node_view("own", extended={GPU: "2"}), node_view("devices"), node_view("neither"))
    two = offer(device("x"), device("y"), node="devices")
    seen(who, two)
    assert who.devices is not None
    nodes = {one.name: one for one in world.nodes()}
    assert who.devices.rejection(nodes["own"]) is None
    assert who.devices.plan(nodes["own"]).claims == []
    plan = who.devices.plan(nodes["devices"])
    assert [one.metadata.name for one in plan.claims] == [NOT_YET]
    results = plan.allocations[f"default/{NOT_YET}"].devices.results
    assert [one.device for one in results] == ["x", "y"]
    assert [one.request_name for one in plan.mappings] == ["container-0-request-1"]
    found = decide(who, world)
    assert not isinstance(found, Unschedulable)
    assert found.name in ("own", "devices")


@pytest.mark.parametrize(
    ("amount", "offers", "words"),
    [
        ("3", [offer(device("x"), node="node-0")], "1 cannot allocate all claims"),
        ("1", [], "1 cannot allocate all claims"),
    ],
)
def test_a_node_without_enough_devices(amount: str, offers: list[Offer], words: str) -> None:
    found = decide(seen(of(asks("a", gpu=amount)), *offers), snapshot(node_view("node-0")))
    assert isinstance(found, Unschedulable)
    assert found.message.startswith(f"0/1 nodes are available: {words}. ")


def test_what_a_node_offers_itself_is_reckoned_as_ever() -> None:
    world = snapshot(node_view("node-0", extended={GPU: "1"}))
    found = decide(seen(of(asks("a", gpu="2")), offer(device("x"), device("y"))), world)
    assert isinstance(found, Unschedulable)
    assert found.message.startswith(f"0/1 nodes are available: 1 Insufficient {GPU}. ")


def test_other_resources_are_missed_as_ever() -> None:
    who = seen(of(asks("a", gpu="1", fpga="1")), offer(device("x")))
    found = decide(who, snapshot(node_view("node-0")))
    assert isinstance(found, Unschedulable)
    assert found.message.startswith("0/1 nodes are available: 1 Insufficient example.com/fpga. ")


def test_without_a_class_it_is_a_resource_like_any() -> None:
    who = of(asks("a", gpu="1"))
    found = decide(who, snapshot(node_view("node-0")))
    assert isinstance(found, Unschedulable)
    assert found.plugins == {"NodeResourcesFit"}


def test_a_claim_of_an_earlier_try_must_go_first() -> None:
    left, _ = claim_for(of(asks("a", gpu="1")), {GPU: "gpu"})
    who = seen(of(asks("a", gpu="1")), offer(device("x")), left=left)
    assert who.devices is not None
    assert who.devices.left_over is left
    found = decide(who, snapshot(node_view("node-0")))
    assert isinstance(found, Unschedulable)
    assert "cannot schedule extended resource claim" in found.message


def test_pods_with_and_without_a_class_behind_their_resource_are_not_alike() -> None:
    plain, backed = of(asks("a", gpu="1")), seen(of(asks("a", gpu="1")))
    assert plain.alike_key() != backed.alike_key()
