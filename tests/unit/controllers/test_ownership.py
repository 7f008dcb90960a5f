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
