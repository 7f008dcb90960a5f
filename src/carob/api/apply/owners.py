"""managedFields: the list of who owns what, read from its bytes and written back.

Shape: an `Owner` is one entry. Its set of fields stays bytes until somebody asks for it, and keeps its bytes while it
does not change. Appliers are one owner whatever version they speak; updaters are one per version.

Source: apimachinery `util/managedfields/internal` (`managedfields.go`, `buildmanagerinfo.go`, `capmanagers.go`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import orjson

from carob.api.apply import field_sets
from carob.api.scalars import NOTHING, ManagedFields
from carob.api.types.meta_v1 import ManagedFieldsEntry

if TYPE_CHECKING:
    from collections.abc import Iterable

    from carob.api.apply.field_sets import FieldSet

APPLY, UPDATE = "Apply", "Update"
FIELDS_V1 = "FieldsV1"
MAX_MANAGER = 128

# The oldest of more updaters than this are counted as one.
MAX_UPDATERS = 10
ANCIENT = "ancient-changes"
UNKNOWN = "unknown"

Identity = tuple[str, str, str, str]


class Owner:
    """One manager and its fields."""

    __slots__ = ("_bytes", "_fields", "api_version", "manager", "operation", "subresource", "time")

    def __init__(
        self,
        manager: str,
        operation: str,
        api_version: str,
        subresource: str = "",
        time: str | None = None,
        fields: FieldSet | None = None,
        data: bytes | memoryview = b"",
    ) -> None:
        self.manager = manager
        self.operation = operation
        self.api_version = api_version
        self.subresource = subresource
        self.time = time
        self._fields: FieldSet | None = fields
        self._bytes = data

    @property
    def identity(self) -> Identity:
        """Whose entry it is. Source: `BuildManagerIdentifier`."""
        return (
            self.manager,
            self.operation,
            "" if self.operation == APPLY else self.api_version,
            self.subresource,
        )

    @property
    def fields(self) -> FieldSet:
        """What it owns; `checked` has looked at bytes of a client's before."""
        if self._fields is None:
            self._fields = orjson.loads(self._bytes) if self._bytes else {}
        return self._fields

    def checked(self) -> Owner:
        """The same owner with its fields in our own form. Raises: ValueError if its bytes are no set of fields."""
        return self.owning(field_sets.loaded(bytes(self._bytes)) if self._bytes else {})

    def owning(self, fields: FieldSet) -> Owner:
        """The same owner with other fields."""
        return Owner(self.manager, self.operation, self.api_version, self.subresource, self.time, fields)

    def at(self, time: str | None) -> Owner:
        """The same owner with another time."""
        return Owner(self.manager, self.operation, self.api_version, self.subresource, time, self._fields, self._bytes)

    def encoded(self) -> bytes:
        """The entry's JSON, its fields in upstream's order."""
        data = bytes(self._bytes) or field_sets.dumped(self.fields)
        time = f'"time":"{self.time}",' if self.time else ""
        version = orjson.dumps(self.api_version).decode()  # a client's, which may hold anything
        manager = f'"manager":{orjson.dumps(self.manager).decode()},' if self.manager else ""
        head = f'{{{manager}"operation":"{self.operation}","apiVersion":{version},{time}"fieldsType":"FieldsV1"'
        tail = f',"subresource":{orjson.dumps(self.subresource).decode()}}}' if self.subresource else "}"
        return b'%b,"fieldsV1":%b%b' % (head.encode(), data, tail.encode())

    def shown(self) -> str:
        """How a conflict names it. Source: `printManager`."""
        text = orjson.dumps(self.manager).decode()
        if self.subresource:
            text += f' with subresource "{self.subresource}"'
        return text if self.operation == APPLY else f"{text} using {self.api_version}"


_entries = msgspec.json.Decoder(list[ManagedFieldsEntry])


def decoded(data: ManagedFields) -> list[Owner]:
    """The owners in an object's managedFields. Raises: ValueError where an entry cannot be understood."""
    if data is NOTHING:
        return []
    found: dict[Identity, Owner] = {}
    for entry in _entries.decode(data):
        if entry.operation not in (APPLY, UPDATE) or entry.fields_type != FIELDS_V1:
            raise ValueError("an entry of managedFields names no operation or no type of fields")
        owner = Owner(
            entry.manager,
            entry.operation,
            entry.api_version,
            entry.subresource,
            entry.time,
            data=memoryview(entry.fields_v1),
        )
        found[owner.identity] = owner
    return list(found.values())


def encoded(owners: Iterable[Owner]) -> ManagedFields:
    """The managedFields of these owners: appliers first, then by time and name."""
    several = sorted(owners, key=lambda o: (o.operation, o.time or "", o.manager, o.api_version, o.subresource))
    if not several:
        return NOTHING
    return ManagedFields(b"[" + b",".join([owner.encoded() for owner in several]) + b"]")


def is_reset(data: ManagedFields) -> bool:
    """Whether a client asks that nobody own anything: no entry, or one, and that empty."""
    try:
        entries = _entries.decode(data)
    except msgspec.DecodeError:
        return False
    return not entries or entries == [ManagedFieldsEntry()]


def capped(owners: list[Owner]) -> list[Owner]:
    """The owners with the oldest updaters joined, version by version, until there are few enough.

    Source: `capManagersManager`.
    """
    updaters = [owner for owner in owners if owner.operation == UPDATE]
    if len(updaters) <= MAX_UPDATERS:
        return owners
    left = {owner.identity: owner for owner in owners}
    updaters.sort(key=lambda o: (o.time or "", o.identity))
    first: dict[str, Owner] = {}
    # the sets of each version's bucket, joined in the end: one by one they would be copied for each owner
    joined: dict[str, list[FieldSet]] = {}
    count = len(updaters)
    for owner in updaters:
        if count <= MAX_UPDATERS:
            break
        version = owner.api_version
        earliest = first.setdefault(version, owner)
        if earliest is owner:
            continue
        bucket = Owner(ANCIENT, UPDATE, version)
        if version not in joined:
            there = left.get(bucket.identity)
            if there is None:
                there = left.pop(earliest.identity)
            joined[version] = [there.fields]
        joined[version].append(owner.fields)
        left.pop(owner.identity, None)
        left[bucket.identity] = Owner(ANCIENT, UPDATE, version, "", owner.time)
        count -= 1
    for version, parts in joined.items():
        bucket = left[Owner(ANCIENT, UPDATE, version).identity]
        left[bucket.identity] = bucket.owning(field_sets.union_of(parts))
    return list(left.values())
