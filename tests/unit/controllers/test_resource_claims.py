"""Claims of devices: what a Pod's claims need, and when a claim is given back."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from carob.api import codec, resource_claims
from carob.api.status import ApiError
from carob.api.types import resource_v1
from carob.base.clock import parse_rfc3339
from carob.controllers.devices.decisions import (
    MAX_BASE_LENGTH,
    generate_name,
    plan_for_claim,
    plan_for_pod,
)
from carob.controllers.devices.taint_eviction import due_at
from carob.controllers.views import PodView

ALLOCATED: dict[str, Any] = {"devices": {"results": [{"request": "r", "driver": "d", "pool": "p", "device": "one"}]}}
USER = {"resource": "pods", "name": "web", "uid": "u1"}


def pod(
    *claims: dict[str, Any], node: str = "", phase: str = "Pending", ending: bool = False, **status: Any
) -> PodView:
    metadata: dict[str, Any] = {"name": "web", "namespace": "default", "uid": "u1"}
    if ending:
        metadata["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    tree = {
        "metadata": metadata,
        "spec": {"nodeName": node, "resourceClaims": list(claims)},
        "status": {"phase": phase} | status,
    }
    return codec.from_tree(PodView, tree)


def claim(
    name: str = "gpu", owner: str = "", users: list[Any] | None = None, **parts: Any
) -> resource_v1.ResourceClaim:
    metadata: dict[str, Any] = {"name": name, "namespace": "default", "uid": f"uid-{name}"} | parts.pop("metadata", {})
    if owner:
        reference = {"apiVersion": "v1", "kind": "Pod", "name": "web", "uid": owner, "controller": True}
        metadata["ownerReferences"] = [reference]
    status = {"reservedFor": users or []} | parts
    return codec.from_tree(resource_v1.ResourceClaim, {"metadata": metadata, "status": status})


def template(name: str = "gpus") -> resource_v1.ResourceClaimTemplate:
    request = {"name": "r", "exactly": {"deviceClassName": "gpu"}}
    inner = {"labels": {"a": "b"}, "annotations": {"c": "d"}}
    spec = {"metadata": inner, "spec": {"devices": {"requests": [request]}}}
    tree = {"metadata": {"name": name, "namespace": "default"}, "spec": spec}
    return codec.from_tree(resource_v1.ResourceClaimTemplate, tree)


FROM_TEMPLATE = {"name": "card", "resourceClaimTemplateName": "gpus"}
BY_NAME = {"name": "card", "resourceClaimName": "gpu"}
NOTED: dict[str, Any] = {"resourceClaimStatuses": [{"name": "card", "resourceClaimName": "web-card-abcde"}]}


def plan(view: PodView, *claims: resource_v1.ResourceClaim, templates: tuple[Any, ...] = ()) -> Any:
    known = {f"default/{one.metadata.name}": one for one in claims}
    owned = [one for one in claims if resource_claims.is_owned_by(one, "u1")]
    return plan_for_pod(view, known.get, owned, {f"default/{t.metadata.name}": t for t in templates}.get)


def test_a_template_becomes_a_claim_that_the_pod_owns() -> None:
    found = plan(pod(FROM_TEMPLATE), templates=(template(),))
    [(name, made)] = found.make
    assert name == "card"
    assert made.metadata.generate_name == "web-card-"
    assert made.metadata.labels == {"a": "b"}
    assert made.metadata.annotations == {"c": "d", "resource.kubernetes.io/pod-claim-name": "card"}
    [owner] = made.metadata.owner_references
    assert (owner.kind, owner.uid, owner.controller, owner.block_owner_deletion) == ("Pod", "u1", True, True)
    assert made.spec == template().spec.spec


def test_without_its_template_no_claim_is_made_and_what_stands_before_it_is() -> None:
    other = {"name": "other", "resourceClaimTemplateName": "missing"}
    found = plan(pod(FROM_TEMPLATE, other), templates=(template(),))
    assert [name for name, _ in found.make] == ["card"]
    text = 'resource claim template "missing": resourceclaimtemplate.resource.k8s.io "missing" not found'
    assert found.refused == ("other", text)


def test_a_claim_that_was_made_but_not_noted_is_found_again() -> None:
    note: dict[str, Any] = {"metadata": {"annotations": {"resource.kubernetes.io/pod-claim-name": "card"}}}
    found = plan(pod(FROM_TEMPLATE), claim("web-card-abcde", owner="u1", **note), templates=(template(),))
    assert (found.make, found.found) == ([], {"card": "web-card-abcde"})


@pytest.mark.parametrize(
    ("view", "claims"),
    [
        (pod(BY_NAME), ()),  # the user has to make it
        (pod(FROM_TEMPLATE, **NOTED), (claim("web-card-abcde", owner="u1"),)),
        (pod(FROM_TEMPLATE, resourceClaimStatuses=[{"name": "card"}]), ()),  # it was decided that none is needed
        (pod(FROM_TEMPLATE, ending=True), ()),
        (pod(FROM_TEMPLATE, phase="Succeeded"), ()),
    ],
)
def test_nothing_is_made(view: PodView, claims: tuple[Any, ...]) -> None:
    assert plan(view, *claims, templates=(template(),)).empty


def test_a_claim_that_was_lost_or_belongs_to_another_pod_is_made_anew() -> None:
    assert plan(pod(FROM_TEMPLATE, **NOTED), templates=(template(),)).make
    stranger = claim("web-card-abcde", owner="another")
    assert plan(pod(FROM_TEMPLATE, **NOTED), stranger, templates=(template(),)).make


def test_a_pod_that_somebody_else_gave_a_node_is_entered_in_its_allocated_claims() -> None:
    wish, ready = pod(BY_NAME, node="n"), claim(allocation=ALLOCATED)
    assert plan(wish, ready).reserve == [ready]
    assert plan(pod(BY_NAME), ready).reserve == []  # the scheduler will do it
    assert plan(wish, claim()).reserve == []  # not allocated
    assert plan(wish, claim(allocation=ALLOCATED, users=[USER])).reserve == []  # it is there
    crowd = [USER | {"uid": f"x{i}"} for i in range(256)]
    assert plan(wish, claim(allocation=ALLOCATED, users=crowd)).reserve == []


@given(st.text("abc-", min_size=1, max_size=253), st.text("xyz", min_size=1, max_size=63))
def test_generated_names_leave_room_for_the_servers_part(pod_name: str, claim_name: str) -> None:
    name = generate_name(pod_name, claim_name)
    assert len(name) <= MAX_BASE_LENGTH
    assert pod_name.startswith(name.split("-")[0])
    if len(pod_name) + len(claim_name) + 2 <= MAX_BASE_LENGTH:
        assert name == f"{pod_name}-{claim_name}-"


FINAL: dict[str, Any] = {"metadata": {"finalizers": [resource_claims.FINALIZER]}}


def of(found: resource_v1.ResourceClaim, *gone: str, pods: dict[str, PodView] | None = None) -> tuple[Any, ...]:
    known = {"default/web": pod(node="n", phase="Running")} if pods is None else pods
    what = plan_for_claim(found, lambda user: user.uid in gone, known.get)
    users = None if what.users is None else [user.uid for user in what.users]
    return users, what.deallocate, what.release, what.delete


def test_users_that_ended_are_struck_and_the_last_one_frees_the_devices() -> None:
    two = claim(users=[USER, USER | {"name": "db", "uid": "u2"}], allocation=ALLOCATED, **FINAL)
    assert of(two) == (None, False, False, False)
    assert of(two, "u1") == (["u2"], False, False, False)
    assert of(two, "u1", "u2") == ([], True, False, False)
    foreign = claim(users=[USER], allocation=ALLOCATED)
    assert of(foreign, "u1") == ([], False, False, False)  # not the scheduler's: it stays allocated


def test_an_unused_claim_ends_when_it_is_to() -> None:
    leaving: dict[str, Any] = {"metadata": FINAL["metadata"] | {"deletionTimestamp": "2026-01-01T00:00:00Z"}}
    assert of(claim(allocation=ALLOCATED, **leaving)) == ([], True, False, False)
    assert of(claim(**leaving)) == (None, False, True, False)
    assert of(claim(users=[USER], allocation=ALLOCATED, **leaving)) == (None, False, False, False)
    assert of(claim(allocation=ALLOCATED, **FINAL)) == (None, False, False, False)  # nobody used it yet


@pytest.mark.parametrize(
    ("owner", "pods", "deleted"),
    [
        ("u1", {"default/web": pod(node="n", phase="Running")}, False),
        ("u1", {"default/web": pod(node="n", phase="Failed")}, True),
        ("u1", {"default/web": pod(ending=True)}, True),  # it never got a node
        ("u0", {"default/web": pod(node="n", phase="Running")}, True),  # another Pod of that name
        ("u1", {}, False),  # perhaps not seen yet; if it is gone, the garbage collector knows
        ("", {"default/web": pod(phase="Failed")}, False),  # a user's own
    ],
)
def test_a_generated_claim_goes_before_its_ended_pod_does(owner: str, pods: dict[str, PodView], deleted: bool) -> None:
    assert of(claim(owner=owner), pods=pods)[3] is deleted


def test_a_user_that_is_no_pod_is_not_understood() -> None:
    with pytest.raises(ApiError, match="unsupported ReservedFor entry"):
        of(claim(users=[{"apiGroup": "example.com", "resource": "things", "name": "x", "uid": "y"}]))


TAINTED_AT = "2026-01-01T00:00:00Z"
BEGIN = parse_rfc3339(TAINTED_AT)
FOREVER: dict[str, Any] = {"key": "broken", "operator": "Exists", "effect": "NoExecute"}


@pytest.mark.parametrize(
    ("taints", "tolerations", "due"),
    [
        ([], [], None),
        (["broken"], [], 0),
        (["broken"], [FOREVER], None),
        (["broken"], [FOREVER | {"tolerationSeconds": 60}], 60),
        (["broken"], [FOREVER | {"tolerationSeconds": 60}, FOREVER | {"tolerationSeconds": 30}], 30),
        (["broken"], [FOREVER | {"tolerationSeconds": 60}, FOREVER], None),
        (["broken"], [FOREVER | {"tolerationSeconds": -5}], 0),
        (["broken"], [FOREVER | {"key": "other"}], 0),
        (["broken"], [{"operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 5}], 5),
        (["broken"], [{"key": "broken", "operator": "Exists"}], 0),  # only those for NoExecute count
        (["broken", "old"], [FOREVER], 0),
    ],
)
def test_when_tainted_devices_drive_pods_away(taints: list[str], tolerations: list[Any], due: float | None) -> None:
    results = [{"request": "r", "driver": "d", "pool": "p", "device": "one", "tolerations": tolerations}]
    found = claim(allocation={"devices": {"results": results}})
    known = [resource_v1.DeviceTaint(key=key, effect="NoExecute", time_added=TAINTED_AT) for key in taints]
    expected = None if due is None else BEGIN + due
    assert due_at(found, lambda device: known, BEGIN + 1000) == expected
