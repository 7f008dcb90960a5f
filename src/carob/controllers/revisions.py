"""The history of a template as ControllerRevisions: which one is the present one, which are too many.

Pure. Source: kube-controller-manager `controller_history.go`, `daemon/update.go`, `statefulset/stateful_set_control.go`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson
from msgspec import Struct

from carob.controllers.templates import bare, hash_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from carob.controllers.workload_views import RevisionView

HASH_LABEL = "controller-revision-hash"


class Present(Struct, frozen=True):
    """The revision of the present template: `existing`, with the number it should have, or one to create."""

    existing: RevisionView | None
    number: int
    digest: str
    data: dict[str, Any]

    def name(self, owner: str) -> str:
        """What it is called."""
        return self.existing.metadata.name if self.existing is not None else f"{owner}-{self.digest}"


def data_of(template: dict[str, Any]) -> dict[str, Any]:
    """The patch that brings a workload back to this template."""
    return {"spec": {"template": {**template, "$patch": "replace"}}}


def template_of(revision: RevisionView) -> dict[str, Any]:
    """The template that a revision keeps."""
    template: dict[str, Any] = orjson.loads(memoryview(revision.data)).get("spec", {}).get("template", {})
    template.pop("$patch", None)
    return template


def order(revision: RevisionView) -> tuple[int, str, str]:
    """Oldest first."""
    return revision.revision, revision.metadata.creation_timestamp or "", revision.metadata.name


def present(revisions: Iterable[RevisionView], template: dict[str, Any], collisions: int | None) -> Present:
    """Find the present template's revision; a former one that is present again gets the highest number."""
    ordered = sorted(revisions, key=order)
    wanted = bare(template)
    same = [one for one in ordered if bare(template_of(one)) == wanted]
    last = ordered[-1].revision if ordered else 0
    if not same:
        return Present(None, last + 1, hash_of(wanted, collisions), data_of(template))
    found = same[-1]
    number = found.revision if found is ordered[-1] else last + 1
    digest = found.metadata.labels.get(HASH_LABEL, "")
    return Present(found, number, digest, {})


def surplus(revisions: Sequence[RevisionView], live: Iterable[str], limit: int | None) -> list[RevisionView]:
    """Those that nobody uses, beyond the history's limit, oldest first. Shape: `live` are names or hashes in use."""
    used = set(live)
    idle = [
        one
        for one in sorted(revisions, key=order)
        if one.metadata.name not in used and one.metadata.labels.get(HASH_LABEL, "") not in used
    ]
    return idle[: max(len(idle) - (10 if limit is None else limit), 0)]
