"""The hands of the workload controllers: create, patch and delete objects, tell of it, remember what was written."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeVar

import orjson

from carob.api import codec
from carob.api.resources import resource_of
from carob.api.status import ApiError
from carob.api.types import core_v1
from carob.client.informer import key_of
from carob.client.rest import error_of
from carob.controllers.ownership import BY_OWNER, Owned
from carob.controllers.references import Claim, adoption_patch, claim, release_patch
from carob.controllers.slow_start import at_once
from carob.controllers.views import BY_ORPHANAGE, orphanage_for
from carob.controllers.written import Written

if TYPE_CHECKING:
    from collections.abc import Callable

    from carob.api.selectors import LabelSelector
    from carob.client.informer import Informer
    from carob.client.rest import Client

T = TypeVar("T", bound=Owned)
_JSON = {"content-type": "application/json"}


def reference_to(obj: Owned) -> core_v1.ObjectReference:
    """What an event about a view of an object refers to."""
    row, metadata = resource_of(type(obj)), obj.metadata
    return core_v1.ObjectReference(
        kind=row.kind,
        api_version=row.api_version,
        namespace=metadata.namespace,
        name=metadata.name,
        uid=metadata.uid,
        resource_version=metadata.resource_version,
    )


async def create(client: Client, kind: type[T], namespace: str, tree: dict[str, Any]) -> T:
    """Create an object from a tree and read the answer as `kind`, a view. Raises: ApiError, ConnectionError."""
    body = orjson.dumps(tree)
    answer = await client.raw("POST", resource_of(kind).path(namespace), body=body, headers=_JSON)
    if answer.status >= 300:
        raise error_of(answer)
    return codec.decode(kind, answer.body)


class Dependents(Generic[T]):
    """Objects of one kind that controllers of one kind make: found, adopted, released, created, deleted."""

    def __init__(self, client: Client, kind: type[T], informer: Informer[T], *, finalizer: str = "") -> None:
        """`finalizer` is what the controller puts on what it adopts and takes from what it releases."""
        self._client = client
        self._kind = kind
        self._informer = informer
        self._finalizer = finalizer
        self.written = Written(informer)

    async def claim(
        self, owner: Owned, selector: LabelSelector, fits: Callable[[T], bool] = lambda obj: True
    ) -> list[T]:
        """What the owner controls, after adoption and release; `fits` asks more than the selector. Raises: ApiError."""
        uid, namespace = owner.metadata.uid, owner.metadata.namespace
        owned = self._informer.by_index(BY_OWNER, uid)
        orphans = [] if selector.empty else self._informer.by_index(BY_ORPHANAGE, orphanage_for(selector, namespace))
        found: Claim[T] = claim(owner, selector, filter(fits, owned), filter(fits, orphans))
        if found.release:
            await self._patch_all(owner, found.release, adopt=False)
        if not found.adopt or not await self._still_there(owner):
            return found.mine
        return [*found.mine, *await self._patch_all(owner, found.adopt, adopt=True)]

    async def _still_there(self, owner: Owned) -> bool:
        """Ask the server itself: an adoption by an owner that is gone would delete what was adopted."""
        try:
            fresh: Owned = await self._client.get(type(owner), owner.metadata.name, owner.metadata.namespace)
        except ApiError as error:
            if error.reason == "NotFound":
                return False
            raise
        return fresh.metadata.uid == owner.metadata.uid and not fresh.is_ending

    async def _patch_all(self, owner: Owned, objects: list[T], *, adopt: bool) -> list[T]:
        """Those that were patched."""
        row = resource_of(type(owner))
        patched: list[T] = []

        async def one(obj: T) -> None:
            patch = (
                adoption_patch(row, owner, obj, self._finalizer)
                if adopt
                else release_patch(owner, obj, self._finalizer)
            )
            if await self.patch(owner, obj, patch, "strategic"):
                patched.append(obj)

        failure = await at_once(objects, one)
        if failure is not None:
            raise failure
        return patched

    async def create(self, owner: Owned, tree: dict[str, Any]) -> T:
        """Create one for the owner. Raises: ApiError."""
        made = await create(self._client, self._kind, owner.metadata.namespace, tree)
        self.written.note(key_of(owner), made.metadata.resource_version)
        return made

    async def patch(
        self, owner: Owned, obj: T, patch: dict[str, Any], patch_type: str = "merge", subresource: str = ""
    ) -> bool:
        """Change one; False if it is gone, or no longer the one that is meant. Raises: ApiError."""
        metadata = obj.metadata
        try:
            answer = await self._client.patch(
                self._kind,
                metadata.name,
                metadata.namespace,
                patch=patch,
                patch_type=patch_type,
                subresource=subresource,
            )
        except ApiError as error:
            # a uid that differs answers Conflict or, of old, Invalid
            if error.reason not in ("NotFound", "Conflict") and not (error.code == 422 and "uid" in error.message):
                raise
            return False
        self.written.note(key_of(owner), answer.metadata.resource_version)
        return True

    async def delete(self, owner: Owned, obj: T, **options: Any) -> bool:
        """Delete one; False if it was gone already. Raises: ApiError."""
        metadata = obj.metadata
        try:
            await self._client.delete(self._kind, metadata.name, metadata.namespace, uid=metadata.uid, **options)
        except ApiError as error:
            if error.reason not in ("NotFound", "Conflict"):
                raise
            return False
        self.written.note_deleted(key_of(owner), key_of(obj), metadata.uid)
        return True


def status_patch(old: Any, new: Any, resource_version: str = "") -> dict[str, Any] | None:
    """The merge patch from one status Struct to another; None if they say the same.

    With `resource_version` the patch holds only for that version of the object.
    """
    before, after = codec.to_tree(old), codec.to_tree(new)
    if before == after:
        return None
    change = {key: value for key, value in after.items() if before.get(key) != value}
    change.update({key: None for key in before if key not in after})
    # a merge patch merges objects: what is gone from one must be said
    for key, value in change.items():
        if isinstance(value, dict) and isinstance(before.get(key), dict):
            change[key] = {**dict.fromkeys(before[key]), **value}
    tree: dict[str, Any] = {"status": change}
    if resource_version:
        tree["metadata"] = {"resourceVersion": resource_version}
    return tree
