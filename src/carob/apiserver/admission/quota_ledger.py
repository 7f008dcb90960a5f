"""What each ResourceQuota has used: counted from what there is, plus what was just admitted and is not there yet.

The admission charges here, in memory, so two writes at once never both take the last place. One background task counts
anew whenever something in a namespace with quotas came, changed or went, and writes `status.hard` and `status.used`.
Level-triggered: a charge whose object never came is forgotten after a while, and counting again mends everything.

Source: kube-controller-manager `resourcequota/resource_quota_controller.go`; the charges are the admission plugin's.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Protocol

import msgspec
from msgspec import Struct

from carob.api import quantity
from carob.api.status import ApiError
from carob.apiserver.admission import quota_usage
from carob.apiserver.authn.service_accounts import row
from carob.base.tasks import Signal

if TYPE_CHECKING:
    from collections.abc import Iterable

    from carob.api.resources import Resource
    from carob.api.types.core_v1 import ResourceQuota
    from carob.apiserver.admission.quota_usage import Usage
    from carob.apiserver.types import Reader
    from carob.base.clock import Clock

QUOTAS = row("", "v1", "resourcequotas")
Key = tuple[str, str]
Identity = tuple[str, str]
"""Of an object: its resource with the group, its name."""
FORGET_SECONDS = 10.0
# counting may take this share of the time at most
_COUNTING_SHARE = 0.2


class StatusWriter(Protocol):
    """As much of the engine as this needs."""

    async def update_object(self, resource: Resource, obj: Any, namespace: str = "") -> Any: ...


class _Charge(Struct):
    usage: Usage
    since: float
    came: bool = False
    """The object has been written: it is counted like all others, or gone again already."""
    told: bool = False
    """The quota's status counts it already."""


class QuotaLedger:
    """See the module. `run` is the background part."""

    def __init__(self, reader: Reader, writer: StatusWriter, rows: Iterable[Resource], clock: Clock) -> None:
        self._reader = reader
        self._writer = writer
        # each kind in one version
        self._rows = list({r.group_resource: r for r in rows if r.stored and r.namespaced}.values())
        self._clock = clock
        self._charges: dict[Key, dict[Identity, _Charge]] = {}
        # what is being written just now: the charges in it, and `used` as it will then read
        self._writing: dict[Key, tuple[dict[Identity, _Charge], Usage]] = {}
        self._watched: set[Resource] = set()
        self._of_namespace: dict[str, set[str]] = {}
        self._dirty: set[Key] = set()
        self._changed = Signal()
        reader.on_change(QUOTAS, self._quota_changed)

    # -- what admission asks

    def used(self, quota: ResourceQuota) -> Usage:
        """What is taken: as the status says, and what is charged but not yet there."""
        key = (quota.metadata.namespace, quota.metadata.name)
        total = {name: quota.status.used.get(name, quota_usage.ZERO) for name in quota.status.hard}
        written, result = self._writing.get(key, ({}, {}))
        # a write is seen before whoever wrote it goes on
        seen = written if quota.status.used == result else {}
        for identity, charge in self._charges.get(key, {}).items():
            if not charge.told and seen.get(identity) is not charge:
                _add(total, charge.usage)
        return total

    def charge(self, quota: ResourceQuota, resource: Resource, name: str, usage: Usage) -> None:
        """An object was admitted and will soon be there."""
        self._watch(resource)
        key = (quota.metadata.namespace, quota.metadata.name)
        self._charges.setdefault(key, {})[resource.group_resource, name] = _Charge(usage, self._clock.monotonic())
        self._mark(key)

    # -- counting

    def _mark(self, key: Key) -> None:
        self._dirty.add(key)
        self._changed.set()

    def _quota_changed(self, namespace: str, name: str) -> None:
        self._of_namespace.setdefault(namespace, set()).add(name)
        self._mark((namespace, name))

    def _watch(self, resource: Resource) -> None:
        """Hear of changes of what a quota counts; from the first quota on that does."""
        if resource in self._watched:
            return
        self._watched.add(resource)

        def changed(namespace: str, name: str) -> None:
            for quota in self._of_namespace.get(namespace, ()):
                key = (namespace, quota)
                charge = self._charges.get(key, {}).get((resource.group_resource, name))
                if charge is not None:
                    charge.came = True
                self._mark(key)

        self._reader.on_change(resource, changed)

    async def run(self) -> None:
        """Until cancelled."""
        for quota in self._reader.list(QUOTAS):
            self._quota_changed(quota.metadata.namespace, quota.metadata.name)
        while True:
            try:
                async with asyncio.timeout(FORGET_SECONDS if self._charges else None):
                    await self._changed.wait()
            except TimeoutError:
                self._dirty.update(self._charges)
            dirty, self._dirty = self._dirty, set()
            began = self._clock.monotonic()
            for key in dirty:
                await self._sync(key)
            await self._clock.sleep((self._clock.monotonic() - began) * (1 / _COUNTING_SHARE - 1))

    async def _sync(self, key: Key) -> None:
        namespace, name = key
        quota = self._reader.get(QUOTAS, namespace, name)
        if quota is None:
            self._charges.pop(key, None)
            self._of_namespace.get(namespace, set()).discard(name)
            return
        used, counted, came = self._count(quota, key)
        hard = dict(quota.spec.hard)
        if quota.status.hard != hard or not _same(quota.status.used, used):
            self._writing[key] = counted, used
            status = msgspec.structs.replace(quota.status, hard=hard, used=used)
            try:
                await self._writer.update_object(QUOTAS, msgspec.structs.replace(quota, status=status), namespace)
            except ApiError as error:
                if error.reason not in ("Conflict", "NotFound"):
                    raise
                # somebody was faster
                self._mark(key)
                return
            finally:
                self._writing.pop(key, None)
        # only now: until the status is written, nothing but the charges says what has come since
        charges = self._charges.get(key, {})
        for identity, charge in counted.items():
            if charges.get(identity) is not charge:
                continue  # charged again meanwhile
            if identity in came:
                del charges[identity]
            else:
                charge.told = True
        if not charges:
            self._charges.pop(key, None)

    def _count(self, quota: ResourceQuota, key: Key) -> tuple[Usage, dict[Identity, _Charge], set[Identity]]:
        """All that counts, the charges that are in it, and those among them whose objects have come."""
        hard = quota.spec.hard
        used: Usage = dict.fromkeys(hard, quota_usage.ZERO)
        charges = self._charges.get(key, {})
        for resource in self._rows:
            if not any(quota_usage.may_count(name, resource) for name in hard):
                continue
            self._watch(resource)
            for obj in self._reader.list(resource, quota.metadata.namespace):
                if quota_usage.counts(quota, resource, obj):
                    _add(used, quota_usage.usage_of(resource, obj))
        now = self._clock.monotonic()
        for identity in [i for i, c in charges.items() if not c.came and now - c.since > FORGET_SECONDS]:
            del charges[identity]
        for charge in charges.values():
            if not charge.came:
                _add(used, charge.usage)
        return used, dict(charges), {identity for identity, charge in charges.items() if charge.came}


def _add(total: Usage, usage: Usage) -> None:
    for name, amount in usage.items():
        if name in total:
            total[name] = quantity.add(total[name], amount)


def _same(one: Usage, other: Usage) -> bool:
    return one.keys() == other.keys() and all(quantity.compare(one[name], other[name]) == 0 for name in one)
