"""Keeps ControllerRevisions as `revisions` says: creates, renumbers, forgets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from carob.api.resources import resource_of
from carob.api.selectors import LabelSelector
from carob.api.status import ApiError
from carob.client.informer import key_of
from carob.controllers.objects import Dependents
from carob.controllers.references import reference_tree
from carob.controllers.revisions import HASH_LABEL, Present, present, surplus, template_of
from carob.controllers.slow_start import at_once
from carob.controllers.templates import bare
from carob.controllers.workload_views import RevisionView

if TYPE_CHECKING:
    from collections.abc import Iterable

    from carob.client.informer import Informer
    from carob.client.rest import Client
    from carob.controllers.ownership import Owned


class RevisionHistory:
    """The revisions of workloads of one kind."""

    def __init__(self, client: Client, revisions: Informer[RevisionView]) -> None:
        self._client = client
        self._dependents = Dependents(client, RevisionView, revisions)

    def settled(self, key: str) -> bool:
        """Whether the informer shows what was written for this owner."""
        return self._dependents.written.settled(key)

    def forget(self, key: str) -> None:
        """The owner is gone."""
        self._dependents.written.forget(key)

    async def claim(self, owner: Owned, selector: LabelSelector) -> list[RevisionView]:
        """The owner's revisions."""
        return await self._dependents.claim(owner, selector)

    async def keep(
        self, owner: Any, revisions: list[RevisionView], template: dict[str, Any], labels: dict[str, str]
    ) -> tuple[RevisionView, int | None]:
        """The present template's revision, made if it is new; and the count of collisions, if there was one more."""
        collisions: int | None = owner.status.collision_count
        wanted = present(revisions, template, collisions)
        if wanted.existing is not None:
            if wanted.number != wanted.existing.revision:
                await self._dependents.patch(owner, wanted.existing, {"revision": wanted.number})
            return wanted.existing, None
        return await self._create(owner, wanted, template, labels)

    async def _create(
        self, owner: Any, wanted: Present, template: dict[str, Any], labels: dict[str, str]
    ) -> tuple[RevisionView, int | None]:
        collisions: int | None = owner.status.collision_count
        while True:
            name = wanted.name(owner.metadata.name)
            tree = {
                "kind": "ControllerRevision",
                "apiVersion": "apps/v1",
                "metadata": {
                    "name": name,
                    "namespace": owner.metadata.namespace,
                    "labels": {**labels, HASH_LABEL: wanted.digest},
                    "ownerReferences": [reference_tree(resource_of(type(owner)), owner)],
                },
                "data": wanted.data,
                "revision": wanted.number,
            }
            try:
                made = await self._dependents.create(owner, tree)
            except ApiError as error:
                if error.reason != "AlreadyExists":
                    raise
                there = await self._client.get(RevisionView, name, owner.metadata.namespace)
                if bare(template_of(there)) == bare(template):
                    self._dependents.written.note(key_of(owner), there.metadata.resource_version)
                    return there, collisions
                collisions = (collisions or 0) + 1
                wanted = present([], template, collisions)
                continue
            return made, collisions if collisions != owner.status.collision_count else None

    async def trim(self, owner: Any, revisions: list[RevisionView], live: Iterable[str]) -> None:
        """Delete what is too much."""

        async def delete(one: RevisionView) -> None:
            await self._dependents.delete(owner, one)

        failure = await at_once(surplus(revisions, live, owner.spec.revision_history_limit), delete)
        if failure is not None:
            raise failure
