"""What the binder does next, write by write: a claim and a volume find each other whatever was written before."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Any, TypeAlias

import pytest

from carob.api import claims, codec
from carob.api.patch import merge
from carob.api.types import core_v1, storage_v1
from carob.controllers.volumes.decisions import Next, World, default_class, next_for_claim, next_for_volume, phase
from carob.controllers.volumes.expansion import grows, next_write
from carob.controllers.volumes.local_path import Unprovisionable, check, choose_node, new_volume, node_of

Volume: TypeAlias = core_v1.PersistentVolume
Claim: TypeAlias = core_v1.PersistentVolumeClaim


def volume(name: str, size: str = "1Gi", phase: str = "Available", **more: Any) -> Volume:
    metadata = {"name": name, "uid": f"uid-{name}", "resourceVersion": "1"} | more.pop("metadata", {})
    spec = {"capacity": {"storage": size}, "accessModes": ["ReadWriteOnce"]} | more
    return codec.from_tree(Volume, {"metadata": metadata, "spec": spec, "status": {"phase": phase}})


def claim(name: str, size: str = "1Gi", phase: str = "Pending", **more: Any) -> Claim:
    metadata = {"name": name, "namespace": "default", "uid": f"uid-{name}", "resourceVersion": "1"}
    metadata |= more.pop("metadata", {})
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}, "storageClassName": ""}
    return codec.from_tree(Claim, {"metadata": metadata, "spec": spec | more, "status": {"phase": phase}})


def class_(name: str, mode: str = "Immediate", **more: Any) -> storage_v1.StorageClass:
    metadata = {"name": name} | more.pop("metadata", {})
    tree = {"metadata": metadata, "provisioner": "carob.local/local-path", "volumeBindingMode": mode}
    return codec.from_tree(storage_v1.StorageClass, tree | more)


def world(*things: Any, users: Iterable[tuple[str, str]] = ()) -> World:
    return World(
        {t.metadata.name: t for t in things if isinstance(t, Volume)},
        {f"default/{t.metadata.name}": t for t in things if isinstance(t, Claim)},
        {t.metadata.name: t for t in things if isinstance(t, storage_v1.StorageClass)},
        lambda _: users,
    )


def to(claimed: Claim, uid: str | None = None) -> dict[str, Any]:
    metadata = claimed.metadata
    return {"claimRef": {"name": metadata.name, "namespace": "default", "uid": metadata.uid if uid is None else uid}}


def told(found: Next) -> list[tuple[str, str]]:
    return [(event.reason, event.message) for event in found.events]


@pytest.mark.parametrize(
    ("given", "why"),
    [
        (volume("v", "1Mi"), "requested PV is too small"),
        (volume("v", storageClassName="x"), "storageClassName does not match"),
        (volume("v", volumeMode="Block"), "incompatible volumeMode"),
        (volume("v", accessModes=["ReadOnlyMany"]), "incompatible accessMode"),
        (volume("v", "2Gi", accessModes=["ReadWriteMany", "ReadWriteOnce"]), ""),
    ],
)
def test_why_a_named_volume_does_not_fit(given: Volume, why: str) -> None:
    mine = claim("c", volumeName="v")
    assert claims.misfit(given, mine) == why
    found = next_for_claim(mine, world(given, mine))
    assert told(found) == ([("VolumeMismatch", f'Cannot bind to requested volume "v": {why}')] if why else [])
    assert (found.write is not None) is not bool(why)


def test_the_smallest_that_fits_with_the_fewest_modes() -> None:
    mine = claim("c", "2Gi")
    many = volume("many", "2Gi", accessModes=["ReadWriteOnce", "ReadOnlyMany"])
    given = [volume("small"), many, volume("large", "9Gi"), volume("right", "3Gi"), volume("gone", "2Gi", "Released")]
    given.append(volume("ends", "2Gi", metadata={"deletionTimestamp": "2026-01-01T00:00:00Z"}))
    given.append(volume("class", "2Gi", storageClassName="other"))
    chosen = claims.best_match(mine, given)
    assert chosen is not None
    assert chosen.metadata.name == "right"
    taken = claims.best_match(mine, given, taken=frozenset(("right", "large")))
    assert taken is not None
    assert taken.metadata.name == "many"
    kept = volume("kept", "5Gi", **to(mine, ""))
    assert claims.best_match(mine, [*given, kept], waits=True) is kept, (
        "what was bound beforehand wins, and does not wait"
    )
    assert claims.best_match(mine, given, waits=True) is None
    assert claims.best_match(claim("d", "2Gi", selector={"matchLabels": {"a": "b"}}), given) is None


def test_what_a_claim_without_a_volume_is_told() -> None:
    nothing = claim("c")
    text = "no persistent volumes available for this claim and no storage class is set"
    assert told(next_for_claim(nothing, world(nothing))) == [("FailedBinding", text)]
    later, now = class_("later", "WaitForFirstConsumer"), class_("now")
    waits = claim("c", storageClassName="later")
    first = next_for_claim(waits, world(waits, later))
    assert told(first) == [("WaitForFirstConsumer", "waiting for first consumer to be created before binding")]
    assert not first.provision
    scheduled = next_for_claim(waits, world(waits, later, users=[("web", "")]))
    assert told(scheduled) == [("WaitForPodScheduled", "waiting for pod web to be scheduled")]
    chosen = claim("c", storageClassName="later", metadata={"annotations": {claims.SELECTED_NODE: "node-0"}})
    assert next_for_claim(chosen, world(chosen, later)).provision
    at_once = claim("c", storageClassName="now")
    assert next_for_claim(at_once, world(at_once, now)).provision
    default = class_("default", metadata={"annotations": {"storageclass.kubernetes.io/is-default-class": "true"}})
    old = claim("c", storageClassName=None)
    write = next_for_claim(old, world(old, default, now)).write
    assert write is not None
    assert write.patch["spec"] == {"storageClassName": "default"}
    assert default_class([now, later]) == ""


@pytest.mark.parametrize("order", list(itertools.permutations(("a", "b", "v"))))
@pytest.mark.parametrize("writes", range(6))
def test_two_claims_and_one_volume_whatever_comes_first(order: tuple[str, ...], writes: int) -> None:
    """After any number of writes everything is looked at in any order: one claim gets the volume, the other waits."""
    things: dict[str, Any] = {"a": claim("a"), "b": claim("b"), "v": volume("v", phase="Pending")}
    versions = itertools.count(2)

    def look(name: str) -> bool:
        given = things[name]
        here = world(*things.values())
        found = next_for_volume(given, here) if name == "v" else next_for_claim(given, here)
        if found.write is None:
            return False
        target = found.write.obj
        tree = merge.merged(codec.to_tree(target), found.write.patch)
        tree["metadata"]["resourceVersion"] = str(next(versions))
        things[target.metadata.name] = codec.from_tree(type(target), tree)
        return True

    for _ in range(writes):
        look(order[0])
    for _ in range(20):
        moved = [look(name) for name in order]
        if not any(moved):
            break
    else:
        raise AssertionError("it does not settle")
    winners = [name for name in ("a", "b") if things[name].status.phase == "Bound"]
    assert len(winners) == 1
    assert things["v"].status.phase == "Bound"
    assert things["v"].spec.claim_ref.uid == f"uid-{winners[0]}"
    assert things[winners[0]].spec.volume_name == "v"


def test_what_is_lost_and_what_is_released() -> None:
    annotations: Any = {"metadata": {"annotations": {claims.BIND_COMPLETED: "yes"}}}
    lost = claim("c", phase="Bound", volumeName="v", **annotations)
    found = next_for_claim(lost, world(lost))
    assert found.write is not None
    assert found.write.patch["status"]["phase"] == "Lost"
    assert told(found) == [
        ("ClaimLost", "Bound claim has lost its PersistentVolume. Data on the volume is lost!"),
    ]
    other = claim("other")
    theirs = volume("v", phase="Bound", **to(other))
    assert told(next_for_claim(lost, world(lost, theirs, other)))[0][0] == "ClaimMisbound"
    # a claim of the same name made later is another claim
    orphan = volume("v", phase="Bound", **to(lost, "uid-of-old"))
    write = next_for_volume(orphan, world(orphan, lost)).write
    assert write is not None
    assert write.patch["status"]["phase"] == "Released"
    assert next_for_volume(volume("v", phase="Released", **to(lost, "uid-of-old")), world(lost)).reclaim


def test_a_volume_lets_go_of_a_claim_that_has_another() -> None:
    mine = claim("c", phase="Bound", volumeName="first")
    ours = {"annotations": {claims.BOUND_BY_CONTROLLER: "yes"}}
    by_us = volume("second", metadata=ours, **to(mine))
    write = next_for_volume(by_us, world(by_us, mine)).write
    assert write is not None
    assert write.patch["spec"] == {"claimRef": None}
    by_admin = volume("second", **to(mine))
    write = next_for_volume(by_admin, world(by_admin, mine)).write
    assert write is not None
    assert write.patch["spec"]["claimRef"]["uid"] is None
    made = volume("second", persistentVolumeReclaimPolicy="Delete", **to(mine))
    made.metadata.annotations = {claims.PROVISIONED_BY: "x"}
    write = next_for_volume(made, world(made, mine)).write
    assert write is not None
    assert write.patch["status"]["phase"] == "Released"


def test_a_claim_grows_after_its_volume() -> None:
    mine = claim("c", "3Gi", "Bound", volumeName="v")
    mine.status.capacity = {
        "storage": codec.from_tree(Claim, codec.to_tree(claim("x"))).spec.resources.requests["storage"]
    }
    assert grows(mine)
    small, large = volume("v", "1Gi"), volume("v", "3Gi")
    assert next_write(mine, small)[0] is small
    obj, patch, subresource = next_write(mine, large)
    assert (obj, subresource) == (mine, "status")
    assert patch["status"]["capacity"] == {"storage": "3Gi"}


def node(name: str, ready: bool = True, host: str = "") -> core_v1.Node:
    conditions = [{"type": "Ready", "status": "True" if ready else "False"}]
    tree = {
        "metadata": {"name": name, "labels": {claims.HOSTNAME: host} if host else {}},
        "status": {"conditions": conditions},
    }
    return codec.from_tree(core_v1.Node, tree)


def test_where_a_folder_is_made() -> None:
    mine, usual = claim("c"), class_("local")
    nodes = [node("a", ready=False), node("b", host="host-b"), node("c")]
    chosen = choose_node(mine, usual, nodes, [])
    assert chosen.metadata.name == "b"
    made = codec.from_tree(Volume, new_volume(mine, usual, chosen, "/v/x"))
    assert made.spec.local is not None
    assert made.spec.local.path == "/v/x"
    assert made.spec.persistent_volume_reclaim_policy == "Delete"
    assert claims.refers_to(made, mine)
    assert claims.reaches(made, {claims.HOSTNAME: "host-b"}, "renamed")
    assert node_of(made, nodes) is nodes[1]
    assert choose_node(mine, usual, nodes, [made]).metadata.name == "c", "the one with fewer volumes"
    terms = [{"matchLabelExpressions": [{"key": claims.HOSTNAME, "values": ["host-b"]}]}]
    assert choose_node(mine, class_("t", allowedTopologies=terms), nodes, [made]).metadata.name == "b"
    asked = claim("c", metadata={"annotations": {claims.SELECTED_NODE: "a"}})
    assert choose_node(asked, usual, nodes, []).metadata.name == "a"
    with pytest.raises(Unprovisionable, match="no node is ready"):
        choose_node(mine, usual, nodes[:1], [])
    for wrong, words in (
        (claim("c", selector={}), "Selector is not supported"),
        (claim("c", volumeMode="Block"), "does not support block"),
    ):
        with pytest.raises(Unprovisionable, match=words):
            check(wrong, usual)
    with pytest.raises(Unprovisionable, match='invalid option "x"'):
        check(mine, class_("p", parameters={"x": "y"}))


def test_what_others_say_of_a_volume_in_its_phase_stays() -> None:
    said = volume("v")
    said.status.message = "said by somebody else"
    assert phase(said, "Available") is None
    write = phase(said, "Released")
    assert write is not None
    assert write.patch["status"] == {"phase": "Released", "message": None}
