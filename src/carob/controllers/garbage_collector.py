"""What is owned ends with its owner: in the background, before its owner (foreground), or is let go (orphan).

There is no graph of its own: the informers' copies and their index by owner *are* the graph, so it is never out of
step with them. An owner that the copies do not show is asked for at the server before anything is deleted.

Source: kube-controller-manager garbagecollector.
Differs: an owner of a kind that this server does not have keeps its dependents. A circle of owners that all wait for each
other is seen when it has closed, and one of them goes first; upstream unblocks the references of who closes it, if no
other worker is at it at the same time.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Any

import orjson

from carob.api import codec
from carob.api.status import ApiError
from carob.base.tasks import TaskGroup
from carob.client.informer import Informer, key_of
from carob.client.rest import PATCH_TYPES
from carob.client.workqueue import WorkQueue
from carob.controllers.ownership import (
    BY_OWNER,
    FOREGROUND,
    ORPHAN,
    Action,
    Owned,
    OwnerReference,
    blocks,
    collected_kinds,
    owners_of,
    verdict,
    view_of,
    waits_for_itself,
    without_finalizer,
    without_references,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from carob.api.resources import Resource
    from carob.base.clock import Clock
    from carob.client.rest import Client
    from carob.controllers.views import PodView

WORKERS = 8
MAX_ABSENT = 500


class _Kind:
    """One kind's copies."""

    def __init__(self, number: int, row: Resource, informer: Informer[Owned]) -> None:
        self.number = number
        self.row = row
        self.informer = informer

    def work_key(self, obj_key: str) -> str:
        return f"{self.number} {obj_key}"


class _Waiting:
    """An owner that ends in the foreground, and the work keys of what it still waits for."""

    __slots__ = ("blockers", "work_key")

    def __init__(self, work_key: str, blockers: set[str]) -> None:
        self.work_key = work_key
        self.blockers = blockers


class GarbageCollector:
    """Keys are `<number of the kind> <namespace/name>`."""

    def __init__(self, client: Client, clock: Clock, pods: Informer[PodView]) -> None:
        """`pods` is shared with others, who run it: there are more Pods than of all other kinds together."""
        self._client = client
        self._queue = WorkQueue(clock)
        self._kinds: list[_Kind] = []
        self._own: list[Informer[Owned]] = []
        for number, row in enumerate(collected_kinds()):
            informer: Informer[Any] = pods
            if (row.group, row.plural) != ("", "pods"):
                informer = Informer(client, view_of(row), clock, name=f"owned {row.group_resource}")
                self._own.append(informer)
            informer.add_index(BY_OWNER, owners_of)
            self._kinds.append(_Kind(number, row, informer))
        self._by_name = {(kind.row.group, kind.row.kind): kind for kind in self._kinds}
        self._absent: OrderedDict[str, None] = OrderedDict()
        """Uids of owners that the server was asked for and did not have; a uid never comes back."""
        self._waiting: dict[str, _Waiting] = {}
        """By the owner's uid: so an owner of thousands is looked at when the last of them has gone, not after each."""

    async def run(self) -> None:
        """Until cancelled."""
        async with TaskGroup() as group:
            for informer in self._own:
                group.spawn(informer.run(), informer.name)
            for kind in self._kinds:
                await kind.informer.wait_synced()
            for kind in self._kinds:
                self._subscribe(kind)
            await self._queue.work(self._sync, WORKERS, "garbage collector")

    def _subscribe(self, kind: _Kind) -> None:
        kind.informer.subscribe(lambda key, old, new: self._changed(kind, key, old, new))

    def _changed(self, kind: _Kind, key: str, old: Owned | None, new: Owned | None) -> None:
        work_key = kind.work_key(key)
        if self._waiting:
            self._count(work_key, old, new)
        if new is None:
            if old is not None:
                self._waiting.pop(old.metadata.uid, None)
                self._enqueue_dependents(old.metadata.uid)
            return
        if new.waits_for_dependents:
            # what else changes in it while it waits is nobody's business here
            if old is None or not old.waits_for_dependents or _owners_changed(old, new):
                self._queue.add(work_key)
                self._enqueue_dependents(new.metadata.uid)
        elif new.orphans_dependents or not self._is_solid(new):
            self._queue.add(work_key)

    def _dependents(self, uid: str) -> Iterator[tuple[_Kind, Owned]]:
        for kind in self._kinds:
            for obj in kind.informer.by_index(BY_OWNER, uid):
                yield kind, obj

    def _enqueue_dependents(self, uid: str) -> None:
        for kind, obj in self._dependents(uid):
            self._queue.add(kind.work_key(key_of(obj)))

    def _count(self, work_key: str, old: Owned | None, new: Owned | None) -> None:
        """An owner that ends in the foreground may have waited for just this object, or has to from now on."""
        before, now = _blocked_by(old), _blocked_by(new)
        for uid in before - now:
            waiting = self._waiting.get(uid)
            if waiting is not None:
                waiting.blockers.discard(work_key)
                if not waiting.blockers:
                    self._queue.add(waiting.work_key)
        for uid in now - before:
            waiting = self._waiting.get(uid)
            if waiting is not None:
                waiting.blockers.add(work_key)

    def _find(self, obj: Owned, reference: OwnerReference) -> tuple[_Kind, Owned | None] | None:
        """The owner's kind and our copy of it, if its uid is right; None for a kind that is not known."""
        group = reference.api_version.rpartition("/")[0]
        kind = self._by_name.get((group, reference.kind))
        if kind is None or (kind.row.namespaced and not obj.metadata.namespace):
            return None
        key = f"{obj.metadata.namespace}/{reference.name}" if kind.row.namespaced else reference.name
        owner = kind.informer.get(key)
        return kind, owner if owner is not None and owner.metadata.uid == reference.uid else None

    def _is_solid(self, obj: Owned) -> bool:
        """Whether our copies show all of its owners, and none that waits for its end: then there is nothing to judge.

        So it is for nearly every change of a Pod. Should an owner go or begin to wait, its dependents are told.
        """
        for reference in obj.metadata.owner_references:
            found = self._find(obj, reference)
            if found is None or found[1] is None or found[1].waits_for_dependents:
                return False
        return True

    async def _sync(self, work_key: str) -> None:
        number, _, key = work_key.partition(" ")
        kind = self._kinds[int(number)]
        obj = kind.informer.get(key)
        if obj is None:
            return
        if obj.orphans_dependents:
            await self._orphan(kind, obj)
        elif obj.waits_for_dependents:
            await self._end_in_foreground(kind, obj)
        elif not obj.is_ending and obj.metadata.owner_references:
            await self._judge(kind, obj)

    async def _orphan(self, kind: _Kind, owner: Owned) -> None:
        uid = owner.metadata.uid
        for dependents_kind, dependent in list(self._dependents(uid)):
            await self._patch(dependents_kind, dependent, without_references(dependent, [uid]), "strategic")
        await self._patch(kind, owner, without_finalizer(owner, ORPHAN), "merge")

    async def _end_in_foreground(self, kind: _Kind, owner: Owned) -> None:
        uid = owner.metadata.uid
        dependents = [(of_kind.work_key(key_of(obj)), obj) for of_kind, obj in self._dependents(uid)]
        blockers = {work_key for work_key, dependent in dependents if blocks(dependent, uid)}
        self._waiting[uid] = _Waiting(kind.work_key(key_of(owner)), blockers)
        if not blockers or waits_for_itself(owner, lambda uid: (obj for _, obj in self._dependents(uid))):
            await self._patch(kind, owner, without_finalizer(owner, FOREGROUND), "merge")
            return
        for work_key, dependent in dependents:
            # what ends already needs no judging, and in a circle they would wake each other for ever
            if not dependent.is_ending:
                self._queue.add(work_key)

    async def _judge(self, kind: _Kind, obj: Owned) -> None:
        solid: list[OwnerReference] = []
        dangling: list[OwnerReference] = []
        waiting: list[OwnerReference] = []
        for reference in obj.metadata.owner_references:
            exists, waits = await self._state_of(obj, reference)
            (waiting if waits else solid if exists else dangling).append(reference)
        has_dependents = next(self._dependents(obj.metadata.uid), None) is not None
        found = verdict(obj, solid, dangling, waiting, has_dependents=has_dependents)
        if found.action is Action.DROP_REFERENCES:
            await self._patch(kind, obj, without_references(obj, found.uids), "strategic")
        elif found.action is Action.DELETE:
            await self._delete(kind, obj, found.policy)

    async def _state_of(self, obj: Owned, reference: OwnerReference) -> tuple[bool, bool]:
        """Whether the owner exists, and whether it waits for the object's end."""
        found = self._find(obj, reference)
        if found is None:
            return True, False
        kind, owner = found
        if owner is None:
            owner = await self._ask(kind, obj, reference)
        return owner is not None, owner is not None and owner.waits_for_dependents

    async def _ask(self, kind: _Kind, obj: Owned, reference: OwnerReference) -> Owned | None:
        """The owner as the server has it; our copies may be behind."""
        if reference.uid in self._absent:
            return None
        namespace = obj.metadata.namespace if kind.row.namespaced else ""
        answer = await self._client.raw("GET", kind.row.path(namespace, reference.name))
        if answer.status not in (200, 404):
            raise ApiError.from_body(answer.status, answer.body)
        if answer.status == 200:
            owner = codec.decode(Owned, answer.body)
            if owner.metadata.uid == reference.uid:
                return owner
        self._absent[reference.uid] = None
        if len(self._absent) > MAX_ABSENT:
            self._absent.popitem(last=False)
        return None

    async def _delete(self, kind: _Kind, obj: Owned, policy: str) -> None:
        # the version is a precondition too: somebody may have adopted it meanwhile
        preconditions = {"uid": obj.metadata.uid, "resourceVersion": obj.metadata.resource_version}
        body = {
            "kind": "DeleteOptions",
            "apiVersion": "v1",
            "preconditions": preconditions,
            "propagationPolicy": policy,
        }
        await self._send("DELETE", kind, obj, body, "application/json")

    async def _patch(self, kind: _Kind, obj: Owned, patch: dict[str, Any], patch_type: str) -> None:
        await self._send("PATCH", kind, obj, patch, PATCH_TYPES[patch_type])

    async def _send(self, method: str, kind: _Kind, obj: Owned, body: Any, content_type: str) -> None:
        metadata = obj.metadata
        answer = await self._client.raw(
            method,
            kind.row.path(metadata.namespace, metadata.name),
            body=orjson.dumps(body),
            headers={"content-type": content_type},
        )
        if answer.status >= 400 and answer.status != 404:
            raise ApiError.from_body(answer.status, answer.body)


def _owners_changed(old: Owned, new: Owned) -> bool:
    return old.metadata.owner_references != new.metadata.owner_references


def _blocked_by(obj: Owned | None) -> set[str]:
    """The uids of the owners whose foreground deletion has to wait for an object."""
    if obj is None:
        return set()
    return {reference.uid for reference in obj.metadata.owner_references if reference.block_owner_deletion}
