"""The patch between two statuses touches only what is the kubelet's."""

from __future__ import annotations

from typing import Any

import orjson

from carob.api import codec
from carob.api.patch import strategic
from carob.api.types import core_v1
from carob.kubelet.status_patch import is_urgent, status_patch


def status(**fields: Any) -> core_v1.PodStatus:
    return codec.from_tree(core_v1.PodStatus, fields)


def condition(kind: str, value: str = "True") -> dict[str, Any]:
    return {"type": kind, "status": value}


def applied(old: core_v1.PodStatus, patch: dict[str, Any] | None) -> core_v1.PodStatus:
    assert patch is not None
    tree = {"metadata": {"uid": "u"}, "status": codec.to_tree(old)}
    merged = strategic.merged(tree, orjson.loads(orjson.dumps(patch)), "core/v1.Pod")
    return codec.from_tree(core_v1.PodStatus, merged["status"])


def test_equal_statuses_need_no_patch() -> None:
    assert status_patch("u", status(phase="Running"), status(phase="Running")) is None


def test_the_patch_makes_the_new_out_of_the_old() -> None:
    old = status(
        phase="Pending",
        reason="old",
        conditions=[condition("Ready", "False"), condition("PodScheduled")],
        podIPs=[{"ip": "10.0.0.1"}],
        podIP="10.0.0.1",
    )
    new = status(
        phase="Running",
        conditions=[condition("Ready"), condition("PodScheduled")],
        podIPs=[{"ip": "10.0.0.2"}],
        podIP="10.0.0.2",
        containerStatuses=[{"name": "web", "ready": True, "restartCount": 0, "image": "", "imageID": ""}],
    )
    assert applied(old, status_patch("u", old, new)) == new


def test_what_is_known_of_others_is_not_written_back() -> None:
    old = status(phase="Running")
    known = status(
        phase="Running",
        conditions=[condition("example.com/gate"), condition("DisruptionTarget")],
        nominatedNodeName="n",
        resourceClaimStatuses=[{"name": "c"}],
    )
    assert status_patch("u", old, known) is None
    own = status(phase="Failed", conditions=[condition("DisruptionTarget") | {"reason": "TerminationByKubelet"}])
    assert applied(old, status_patch("u", old, own)) == own


def test_conditions_of_others_are_left_alone() -> None:
    old = status(conditions=[condition("Ready", "False")])
    patch = status_patch("u", old, status(conditions=[condition("Ready")]))
    theirs = status(conditions=[condition("Ready", "False"), condition("example.com/gate")])
    assert {c.type: c.status for c in applied(theirs, patch).conditions} == {
        "Ready": "True",
        "example.com/gate": "True",
    }


def test_what_a_condition_no_longer_says_is_taken_away() -> None:
    old = status(conditions=[condition("Ready", "False") | {"reason": "ContainersNotReady", "message": "unready: [c]"}])
    new = status(conditions=[condition("Ready", "False") | {"reason": "PodCompleted"}])
    assert applied(old, status_patch("u", old, new)) == new


def test_that_a_start_goes_on_is_not_urgent() -> None:
    creating = [{"name": "web", "state": {"waiting": {"reason": "ContainerCreating"}}}]
    begun = status(phase="Pending", podIP="10.0.0.1", containerStatuses=creating)
    assert not is_urgent(status(), begun)
    assert is_urgent(begun, status(phase="Running", podIP="10.0.0.1"))
    failing = [{"name": "web", "state": {"waiting": {"reason": "ErrImagePull"}}}]
    assert is_urgent(begun, status(phase="Pending", podIP="10.0.0.1", containerStatuses=failing))
