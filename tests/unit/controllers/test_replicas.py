"""What all controllers of Pods share, and ReplicaSets."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from carob.api import codec
from carob.api.selectors import LabelSelector, Requirement
from carob.controllers import replicaset
from carob.controllers.ranking import DELETION_COST, deletion_cost, doomed_first
from carob.controllers.references import claim
from carob.controllers.revisions import data_of, present, surplus
from carob.controllers.slow_start import batches, in_batches
from carob.controllers.templates import bare, hash_of
from carob.controllers.views import PodView
from carob.controllers.workload_views import RevisionView
from tests.unit.controllers.workload_objects import NOW, pod, replica_set, template

WEB = LabelSelector((Requirement("app", "=", ("web",)),))


def owned(uid: str, labels: dict[str, str], **metadata: Any) -> PodView:
    reference = {"kind": "ReplicaSet", "apiVersion": "apps/v1", "name": "x", "uid": uid, "controller": True}
    return pod(metadata={"labels": labels, "ownerReferences": [reference]} | metadata)


def test_claims() -> None:
    owner = replica_set()
    uid = owner.metadata.uid
    mine, wrong = owned(uid, {"app": "web"}), owned(uid, {"app": "else"})
    orphan, stranger = pod(metadata={"labels": {"app": "web"}}), pod(metadata={"labels": {"app": "else"}})
    ending = pod(metadata={"labels": {"app": "web"}, "deletionTimestamp": "2026-01-01T00:00:00Z"})
    found = claim(owner, WEB, [mine, wrong], [orphan, stranger, ending])
    assert (found.mine, found.adopt, found.release) == ([mine], [orphan], [wrong])
    owner.metadata.deletion_timestamp = "2026-01-01T00:00:00Z"
    found = claim(owner, WEB, [mine, wrong], [orphan])
    assert (found.mine, found.adopt, found.release) == ([mine], [], [])


RANKED = [
    ("no node", {"spec": {"nodeName": ""}, "phase": "Pending"}),
    ("pending", {"phase": "Pending"}),
    ("unknown", {"phase": "Unknown"}),
    ("not ready", {"metadata": {"creationTimestamp": "2001-01-01T00:00:00Z"}}),
    ("cheap", {"ready": NOW - 5000, "metadata": {"annotations": {DELETION_COST: "-10"}}}),
    ("crowded", {"ready": NOW - 5000, "spec": {"nodeName": "full"}}),
    ("fresh", {"ready": NOW - 10}),
    (
        "restarted",
        {"ready": NOW - 5000, "status": {"containerStatuses": [{"name": "a", "restartCount": 3}]}},
    ),
    ("young", {"ready": NOW - 5000, "metadata": {"creationTimestamp": "2023-11-14T22:10:00Z"}}),
    ("old", {"ready": NOW - 5000, "metadata": {"creationTimestamp": "2001-01-01T00:00:00Z"}}),
    ("dear", {"ready": NOW - 10, "metadata": {"annotations": {DELETION_COST: "10"}}}),
]


@given(st.permutations(RANKED))
def test_the_least_useful_goes_first(order: list[tuple[str, dict[str, Any]]]) -> None:
    pods = [pod(name.replace(" ", "-"), **more) for name, more in order]
    found = doomed_first(pods, {"full": 3, "node-0": 1}, NOW)
    assert [p.metadata.name for p in found] == [name.replace(" ", "-") for name, _ in RANKED]


@pytest.mark.parametrize(
    ("text", "cost"), [("", 0), ("7", 7), ("-7", -7), ("+7", 0), ("07", 0), ("x", 0), (str(2**31), 0)]
)
def test_deletion_cost(text: str, cost: int) -> None:
    assert deletion_cost({DELETION_COST: text} if text else {}) == cost


@given(st.integers(0, 600))
def test_batches_double_and_sum_up(count: int) -> None:
    sizes = list(batches(count))
    assert sum(sizes) == count
    assert all(size == 2**i for i, size in enumerate(sizes[:-1]))


def test_a_failure_stops_after_its_batch() -> None:
    tried = []

    async def act(number: int) -> None:
        tried.append(number)
        if number == 1:
            raise ValueError("no")

    failure = asyncio.run(in_batches(range(100), act))
    assert isinstance(failure, ValueError)
    assert tried == [0, 1, 2]


def test_hashes_tell_templates_apart_and_ignore_their_own_label() -> None:
    one = template()
    labelled = {**one, "metadata": {"labels": {"app": "web", "pod-template-hash": "x"}, "creationTimestamp": None}}
    assert bare(labelled) == bare(one)
    assert hash_of(one) == hash_of(dict(reversed(one.items())))
    assert len({hash_of(one), hash_of(template("v2")), hash_of(one, 0), hash_of(one, 1)}) == 4


def revision(number: int, version: str) -> RevisionView:
    tree = {"metadata": {"name": f"web-{number}"}, "revision": number, "data": data_of(template(version))}
    return codec.decode(RevisionView, codec.encode(tree))


def test_revisions_come_back_with_the_highest_number() -> None:
    past = [revision(1, "v1"), revision(2, "v2")]
    assert present(past, template("v2"), None).number == 2
    back = present(past, template("v1"), None)
    assert back.existing is past[0]
    assert back.number == 3
    new = present(past, template("v3"), None)
    assert new.existing is None
    assert new.number == 3
    assert surplus(past, ["web-2"], 0) == [past[0]]
    assert surplus(past, [], 1) == [past[0]]


@given(st.integers(0, 8), st.lists(st.sampled_from(["Running", "Pending", "Failed", "Succeeded"]), max_size=8))
def test_a_set_comes_to_its_number(replicas: int, phases: list[str]) -> None:
    pods = [pod(phase=phase) for phase in phases]
    active = sum(phase in ("Running", "Pending") for phase in phases)
    plan = replicaset.reconcile(replica_set(replicas=replicas), pods, {}, NOW)
    assert active + plan.create - len(plan.delete) == replicas
    assert not (plan.create and plan.delete)
    assert all(p.is_active for p in plan.delete)


def test_a_set_that_ends_does_nothing() -> None:
    ending = replica_set(metadata={"deletionTimestamp": "2026-01-01T00:00:00Z"})
    assert replicaset.reconcile(ending, [], {}, NOW) == replicaset.Plan()


def test_what_is_available_has_been_ready_for_long_enough() -> None:
    owner = replica_set(spec={"minReadySeconds": 30})
    pods = [pod(ready=NOW - 40), pod(ready=NOW - 10), pod(), pod(phase="Failed")]
    plan = replicaset.reconcile(owner, pods, {}, NOW)
    assert plan.recheck_seconds == 20
    status = replicaset.status_of(owner, pods, None, NOW)
    assert (status.replicas, status.ready_replicas, status.available_replicas) == (3, 2, 1)


def test_a_failure_is_told_and_forgotten() -> None:
    owner = replica_set()
    owner.status = replicaset.status_of(owner, [], ("FailedCreate", "no"), NOW)
    assert [(c.type, c.reason, c.message) for c in owner.status.conditions] == [
        ("ReplicaFailure", "FailedCreate", "no")
    ]
    assert replicaset.status_of(owner, [], None, NOW).conditions == []
