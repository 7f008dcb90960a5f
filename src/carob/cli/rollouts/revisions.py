"""The revisions that a workload keeps: ReplicaSets of a Deployment, ControllerRevisions of the others.

Source: kubectl pkg/polymorphichelpers/history.go.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from carob.api.resources import TABLE
from carob.cli.rollouts.chosen import WORKLOADS, not_implemented
from carob.cli.targets import listed

if TYPE_CHECKING:
    from carob.cli.connection import Connection
    from carob.cli.targets import Target

    Tree = dict[str, Any]

REVISION = "deployment.kubernetes.io/revision"
CHANGE_CAUSE = "kubernetes.io/change-cause"
HASH = "pod-template-hash"


class Kept:
    """One revision: its number, the Pod template, and the object that keeps it."""

    __slots__ = ("number", "template", "tree")

    def __init__(self, number: int, template: Tree, tree: Tree) -> None:
        self.number = number
        self.template = template
        self.tree = tree

    @property
    def change_cause(self) -> str:
        """Why somebody made it, if he said so."""
        return str((self.tree["metadata"].get("annotations") or {}).get(CHANGE_CAUSE, ""))


def revisions(connection: Connection, target: Target, tree: Tree) -> list[Kept]:
    """All that are kept, oldest first. Raises: ApiError, CommandError for a kind without a history."""
    kind = target.resource.kind
    if kind not in WORKLOADS:
        raise not_implemented(target, "history")
    keeper = TABLE.by_kind("apps/v1", "ReplicaSet" if kind == "Deployment" else "ControllerRevision")
    assert keeper is not None
    from carob.cli.pods import selector_of

    found = []
    for one in listed(connection, keeper, target.namespace, selector_of(tree), ""):
        owners = one.tree["metadata"].get("ownerReferences") or []
        if any(owner.get("controller") and owner["uid"] == tree["metadata"]["uid"] for owner in owners):
            found.append(_of_replica_set(one.tree) if kind == "Deployment" else _of_revision(one.tree))
    return sorted(found, key=lambda kept: kept.number)


def _of_replica_set(tree: Tree) -> Kept:
    text = (tree["metadata"].get("annotations") or {}).get(REVISION, "0")
    return Kept(int(text) if text.isdigit() else 0, tree["spec"]["template"], tree)


def _of_revision(tree: Tree) -> Kept:
    template = dict(((tree.get("data") or {}).get("spec") or {}).get("template") or {})
    template.pop("$patch", None)
    return Kept(int(tree.get("revision", 0)), template, tree)


def without_hash(template: Tree) -> Tree:
    """The template as a Deployment has it: a ReplicaSet's carries its hash among the labels."""
    metadata = dict(template.get("metadata") or {})
    labels = {key: value for key, value in (metadata.get("labels") or {}).items() if key != HASH}
    return {**template, "metadata": {**metadata, "labels": labels}}
