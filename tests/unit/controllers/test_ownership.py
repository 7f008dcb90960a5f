"""What an object's owners ask of it."""

from __future__ import annotations

import pytest

from carob.api.resources import resource_of
from carob.controllers.ownership import (
    Action,
    Owned,
    OwnedMeta,
    OwnerReference,
    Verdict,
    blocks,
    collected_kinds,
    verdict,
    view_of,
    waits_for_itself,
    without_finalizer,
    without_references,
)

A, B = OwnerReference(uid="a"), OwnerReference(uid="b", block_owner_deletion=True)


def owned(*finalizers: str, ending: bool = False) -> Owned:
    deletion = "2026-01-01T00:00:00Z" if ending else None
    metadata = OwnedMeta(uid="me", resource_version="7", finalizers=finalizers, deletion_timestamp=deletion)
    return Owned(metadata=metadata)


@pytest.mark.parametrize(
    ("solid", "dangling", "waiting", "has_dependents", "expected"),
    [
        ([], [], [], False, Verdict(Action.KEEP)),
        ([A], [], [], False, Verdict(Action.KEEP)),
        ([A], [B], [], False, Verdict(Action.DROP_REFERENCES, uids=("b",))),
        ([A], [], [B], True, Verdict(Action.DROP_REFERENCES, uids=("b",))),
        ([], [A], [], False, Verdict(Action.DELETE, "Background")),
        ([], [A], [], True, Verdict(Action.DELETE, "Background")),
        ([], [], [A], False, Verdict(Action.DELETE, "Background")),
        ([], [], [A], True, Verdict(Action.DELETE, "Foreground")),
    ],
)
def test_verdicts(
    solid: list[OwnerReference],
    dangling: list[OwnerReference],
    waiting: list[OwnerReference],
    has_dependents: bool,
    expected: Verdict,
) -> None:
    assert verdict(owned(), solid, dangling, waiting, has_dependents=has_dependents) == expected
    ending = verdict(owned(ending=True), solid, dangling, waiting, has_dependents=has_dependents)
    assert ending.action is Action.KEEP


def test_a_deletion_keeps_the_policy_that_was_asked_for() -> None:
    assert verdict(owned("orphan"), [], [A], [], has_dependents=False).policy == "Orphan"
    assert verdict(owned("foregroundDeletion"), [], [A], [], has_dependents=False).policy == "Foreground"


def test_states_and_patches() -> None:
    assert not owned("foregroundDeletion").waits_for_dependents
    assert owned("foregroundDeletion", ending=True).waits_for_dependents
    assert owned("orphan", ending=True).orphans_dependents
    child = Owned(metadata=OwnedMeta(uid="child", owner_references=(A, B)))
    assert (blocks(child, "a"), blocks(child, "b")) == (False, True)
    assert without_references(child, ["a"]) == {
        "metadata": {"uid": "child", "ownerReferences": [{"$patch": "delete", "uid": "a"}]}
    }
    patch = without_finalizer(owned("orphan", "mine"), "orphan")
    assert patch == {"metadata": {"uid": "me", "resourceVersion": "7", "finalizers": ["mine"]}}
    assert without_finalizer(owned("orphan"), "orphan")["metadata"]["finalizers"] is None


def test_every_deletable_kind_takes_part_once() -> None:
    kinds = collected_kinds()
    names = [(row.group, row.plural) for row in kinds]
    assert len(names) == len(set(names))
    assert {("", "pods"), ("apps", "replicasets"), ("", "namespaces"), ("batch", "jobs")} <= set(names)
    assert ("", "events") not in names
    assert resource_of(view_of(kinds[0])) is kinds[0]


@pytest.mark.parametrize(
    ("owners", "idle", "expected"),
    [
        ({"a": "b", "b": "a"}, "", True),
        ({"a": "a"}, "", True),
        ({"a": "b", "b": "c", "c": "a"}, "", True),
        ({"a": "b", "b": "c", "c": "a"}, "c", False),  # c ends by itself
        ({"b": "a", "c": "b"}, "", False),
        ({"b": "a", "c": "b", "d": "c"}, "", False),
        ({"b": "a c", "c": "b"}, "", False),  # a waits for a circle, but is not in it
    ],
)
def test_a_circle_is_seen_by_those_in_it(owners: dict[str, str], idle: str, expected: bool) -> None:
    def waiting(uid: str) -> Owned:
        references = tuple(OwnerReference(uid=o, block_owner_deletion=True) for o in owners.get(uid, "").split())
        finalizers = () if uid == idle else ("foregroundDeletion",)
        stamp = "2026-01-01T00:00:00Z"
        metadata = OwnedMeta(uid=uid, finalizers=finalizers, deletion_timestamp=stamp, owner_references=references)
        return Owned(metadata=metadata)

    objects = [waiting(uid) for uid in "abcd"]
    assert waits_for_itself(objects[0], lambda uid: [obj for obj in objects if blocks(obj, uid)]) is expected
