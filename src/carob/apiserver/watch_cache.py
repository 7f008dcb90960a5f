"""The watch cache: every object once, as the bytes that clients get, in the order of its keys.

An entry holds the JSON tail of an object, which begins behind `{"kind":"Pod","apiVersion":"v1",`, its revision, and the
few values that selectors ask for. GET puts the head before it, LIST joins tails, a watch event is made of it once. What
nobody has written for a while is packed (`packing`): there are far more such objects than others.

Invariants: `revision` is that of the last event applied to any resource; what a cache holds is the state of exactly
that revision; what an entry says is never changed, only replaced, so a list that is still being sent stays consistent.

May touch: bytes. It knows neither HTTP nor the store.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections import deque
from heapq import merge
from sys import intern
from typing import TYPE_CHECKING

from carob.apiserver.field_selectors import indexer
from carob.apiserver.packing import Packer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from carob.api.resources import Resource

# Where an object is in the order of keys.
_Place = tuple[str, str]

_METADATA = b'"metadata":{'
_SPLICED_BYTES = len(b'"metadata":{"resourceVersion":"",')

# what a packed object begins with: holes for its revision and its name
_HEAD = b'"metadata":{"resourceVersion":"%d","name":"%b",'
# Larger objects are large for what is their own.
LONGEST_PACKED_BYTES = 16 << 10

# labels that are remembered, for each resource, so that equal ones are kept once
MAX_SHARED = 1024

# Recent changes of all resources that are kept to resume watches without asking the store: whichever limit is reached first.
RECENT_CHANGES = 16_384
RECENT_BYTES = 12 << 20
# What a change takes besides its object's bytes.
CHANGE_BYTES = 512


class Entry:
    """One object at one revision: the JSON of its stored bytes, as they lie or packed."""

    __slots__ = ("_rest", "_values", "fields", "labels", "name", "namespace", "revision", "size")

    def __init__(
        self,
        namespace: str,
        name: str,
        rest: bytes,
        revision: int,
        labels: dict[str, str],
        fields: tuple[str, ...],
    ) -> None:
        """Shape: `rest` is what stands behind `"metadata":{` in the stored value. Revision 0: without resourceVersion."""
        self.namespace = namespace
        self.name = name
        self._rest = rest
        self._values: tuple[bytes, ...] | None = None
        self.revision = revision
        self.labels = labels
        self.fields = fields
        self.size = len(rest) + (_SPLICED_BYTES + len(str(revision)) if revision else len(_METADATA))
        """The length of the tail."""

    @property
    def tail(self) -> bytes:
        """The object's JSON behind its head."""
        if self._values is not None:
            return self._rest % (self.revision, self.name.encode(), *self._values)
        return spliced(self._rest, self.revision) if self.revision else _METADATA + self._rest

    def at(self, revision: int) -> Entry:
        """The same object with another resourceVersion: what a deletion's event carries."""
        other = Entry(self.namespace, self.name, self._rest, revision, self.labels, self.fields)
        other._values = self._values
        other.size = self.size + len(str(revision)) - len(str(self.revision))
        return other

    def pack(self, packer: Packer) -> None:
        """Take less memory; what the entry says stays the same."""
        name = b'"name":"%b",' % self.name.encode()
        if self._values is None and self.size <= LONGEST_PACKED_BYTES and self._rest.startswith(name):
            self._rest, self._values = packer.pack(_HEAD, self._rest[len(name) :])


def spliced(rest: bytes, revision: int) -> bytes:
    """The tail of an object. Shape: `rest` is what stands behind `"metadata":{` in the stored value."""
    return b'%b"resourceVersion":"%d",%b' % (_METADATA, revision, rest)


def head_of(resource: Resource) -> bytes:
    """What the bytes of every object of a row begin with."""
    return f'{{"kind":"{resource.kind}","apiVersion":"{resource.api_version}",'.encode()


class Change:
    """One write as watchers need it. `new` of a deletion is the last state with the deletion's revision."""

    __slots__ = ("deleted", "new", "old", "revision")

    def __init__(self, revision: int, old: Entry | None, new: Entry, deleted: bool) -> None:
        self.revision = revision
        self.old = old
        self.new = new
        self.deleted = deleted


class Recent:
    """Which ring the recent changes of a server lie in, oldest first: one resource may fill the room of all."""

    def __init__(self) -> None:
        self._order: deque[Ring] = deque()
        self._bytes = 0

    def added(self, ring: Ring, size: int) -> None:
        """Count a change that a ring got; the oldest of all go when there are too many."""
        order = self._order
        order.append(ring)
        self._bytes += size
        while len(order) > RECENT_CHANGES or (self._bytes > RECENT_BYTES and len(order) > 1):
            self._bytes -= order.popleft().forget_oldest()


class Ring:
    """Recent changes of one resource, complete behind `floor`."""

    def __init__(self, floor: int, recent: Recent, forgotten: Callable[[Change], None] = lambda _: None) -> None:
        """Shape: `forgotten` is told of what is kept no longer."""
        self.floor = floor
        self._recent = recent
        self._forgotten = forgotten
        self._changes: deque[Change] = deque()

    def add(self, change: Change) -> None:
        """Keep a change."""
        self._changes.append(change)
        self._recent.added(self, change.new.size + CHANGE_BYTES)

    def forget_oldest(self) -> int:
        """How many bytes are free now."""
        gone = self._changes.popleft()
        self.floor = gone.revision
        self._forgotten(gone)
        return gone.new.size + CHANGE_BYTES

    def after(self, revision: int) -> list[Change] | None:
        """Every change behind `revision`, oldest first; None when it reaches too far back."""
        if revision < self.floor:
            return None
        start = bisect_right(self._changes, revision, key=lambda change: change.revision)
        return [self._changes[i] for i in range(start, len(self._changes))]


class _Names:
    """The objects of one namespace, by name and in order."""

    __slots__ = ("by_name", "order")

    def __init__(self) -> None:
        self.by_name: dict[str, Entry] = {}
        self.order: list[str] = []


class ResourceCache:
    """The objects of one storage row. Cluster-scoped objects live in the namespace ``""``."""

    def __init__(self, row: Resource, revision: int, recent: Recent) -> None:
        self.row = row
        self.head = head_of(row)
        self.ring = Ring(revision, recent, lambda change: self._pack(change.new))
        self.revision = revision
        """The revision of the last change of this resource."""
        self._index = indexer(row)
        self._namespaces: dict[str, _Names] = {}
        self._order: list[str] = []
        self._start = len(self.head) + len(_METADATA)
        self._labels: dict[tuple[tuple[str, str], ...], dict[str, str]] = {}
        self._packer = Packer()
        self._loaded: list[Entry] = []

    def entry(self, namespace: str, name: str, value: bytes, revision: int) -> Entry:
        """An entry from stored bytes. Raises: ValueError if they are not of this row's form."""
        if not value.startswith(self.head) or value[len(self.head) : self._start] != _METADATA:
            raise ValueError(f"{namespace}/{name} is stored in a form that does not begin with {self.head!r}")
        index = self._index(value)
        labels = index.labels
        if labels:
            if len(self._labels) >= MAX_SHARED:
                self._labels.clear()
            labels = self._labels.setdefault(tuple(labels.items()), labels)
        return Entry(intern(namespace), intern(name), self.rest(value), revision, labels, index.fields)

    def rest(self, value: bytes) -> bytes:
        """What stands behind `"metadata":{` in stored bytes."""
        return value[self._start :]

    def tail(self, value: bytes, revision: int) -> bytes:
        """The tail of stored bytes at a revision."""
        return spliced(self.rest(value), revision)

    def apply(self, namespace: str, name: str, value: bytes | None, revision: int) -> Change | None:
        """Take in one committed write, which must be newer than everything before; None if it changed nothing."""
        old = self.get(namespace, name)
        if value is None:
            if old is None:
                return None
            self._remove(old)
            change = Change(revision, old, old.at(revision), deleted=True)
        else:
            new = self.entry(namespace, name, value, revision)
            self._put(new)
            change = Change(revision, old, new, deleted=False)
        self.revision = revision
        self.ring.add(change)
        return change

    def load(self, namespace: str, name: str, value: bytes, revision: int) -> None:
        """Put in an object while the cache is being filled."""
        entry = self.entry(namespace, name, value, revision)
        self._loaded.append(entry)
        self._put(entry)

    def pack_loaded(self, most: int) -> bool:
        """Pack some of what was loaded, which is too much to do it at once; whether more of it is left."""
        part = self._loaded[-most:]
        del self._loaded[-most:]
        for entry in part:
            self._pack(entry)
        return bool(self._loaded)

    def _pack(self, entry: Entry) -> None:
        # Events are alike in nothing that matters, and gone within the hour
        if self.get(entry.namespace, entry.name) is entry and self.row.plural != "events":
            entry.pack(self._packer)

    def _put(self, entry: Entry) -> None:
        names = self._namespaces.get(entry.namespace)
        if names is None:
            names = self._namespaces[entry.namespace] = _Names()
            insort(self._order, entry.namespace, key=_namespace_order)
        if entry.name not in names.by_name:
            if not names.order or entry.name > names.order[-1]:
                names.order.append(entry.name)
            else:
                insort(names.order, entry.name)
        names.by_name[entry.name] = entry

    def _remove(self, entry: Entry) -> None:
        names = self._namespaces[entry.namespace]
        del names.by_name[entry.name]
        del names.order[bisect_left(names.order, entry.name)]
        if not names.order:
            del self._namespaces[entry.namespace]
            self._order.remove(entry.namespace)

    def get(self, namespace: str, name: str) -> Entry | None:
        """The object of this name, or None."""
        names = self._namespaces.get(namespace)
        return names.by_name.get(name) if names is not None else None

    def entries(self, namespace: str = "") -> list[Entry]:
        """The objects of a namespace, or of all (empty), in the order of their keys."""
        if namespace or not self.row.namespaced:
            names = self._namespaces.get(namespace)
            return [names.by_name[name] for name in names.order] if names is not None else []
        found: list[Entry] = []
        for one in self._order:
            names = self._namespaces[one]
            found += [names.by_name[name] for name in names.order]
        return found

    def count(self, namespace: str = "") -> int:
        """How many objects a namespace, or all of them, holds."""
        if namespace or not self.row.namespaced:
            names = self._namespaces.get(namespace)
            return len(names.order) if names is not None else 0
        return sum(len(names.order) for names in self._namespaces.values())

    def page(
        self, namespace: str, start: str, limit: int, matches: Callable[[Entry], bool] | None
    ) -> tuple[list[Entry], Entry | None, int]:
        """At most `limit` (0: all) matching objects from `start` on.

        Shape: `start` is the part of a key behind the collection's prefix. The answer: the objects; the last one looked
        at if objects follow, else None; how many follow it, matching or not.
        """
        found: list[Entry] = []
        spans = list(self._spans(namespace, start))
        for number, (names, first) in enumerate(spans):
            for position in range(first, len(names.order)):
                entry = names.by_name[names.order[position]]
                if matches is not None and not matches(entry):
                    continue
                found.append(entry)
                if len(found) == limit:
                    remaining = len(names.order) - position - 1
                    remaining += sum(len(later.order) for later, _ in spans[number + 1 :])
                    return found, (entry if remaining else None), remaining
        return found, None, 0

    def page_as_of(
        self, revision: int, namespace: str, start: str, limit: int, matches: Callable[[Entry], bool] | None
    ) -> tuple[list[Entry], Entry | None, int] | None:
        """As `page`, of the objects as they were at a past revision; None when recent changes do not reach back to it."""
        changes = self.ring.after(revision)
        if changes is None:
            return None
        before: dict[_Place, Entry | None] = {}
        for change in changes:
            if not namespace or change.new.namespace == namespace:
                before.setdefault(_place(change.new.namespace, change.new.name), change.old)
        since = _place(*start.split("/", 1)) if "/" in start else _place(namespace, start) if start else ("", "")
        is_there = {place: self.get(place[0][:-1], place[1]) is not None for place in before}
        lost = sorted(p for p, old in before.items() if old is not None and not is_there[p] and p >= since)
        found: list[Entry] = []
        for place in merge(self._places(namespace, start), lost):
            entry = before[place] if place in before else self.get(place[0][:-1], place[1])
            if entry is None or (matches is not None and not matches(entry)):
                continue
            found.append(entry)
            if len(found) == limit:
                behind = f"{entry.namespace}/{entry.name}\0" if not namespace and entry.namespace else f"{entry.name}\0"
                remaining = sum(len(names.order) - first for names, first in self._spans(namespace, behind))
                remaining += sum(one > place for one in lost)
                remaining -= sum(p > place and is_there[p] for p, old in before.items() if old is None)
                return found, (entry if remaining else None), remaining
        return found, None, 0

    def _places(self, namespace: str, start: str) -> Iterator[_Place]:
        """Where the objects from `start` on are, in order."""
        for names, first in self._spans(namespace, start):
            within = _namespace_order(names.by_name[names.order[0]].namespace)
            for position in range(first, len(names.order)):
                yield within, names.order[position]

    def _spans(self, namespace: str, start: str) -> Iterator[tuple[_Names, int]]:
        """The namespaces from `start` on, each with the position of the first name in it."""
        if namespace or not self.row.namespaced:
            names = self._namespaces.get(namespace)
            if names is not None:
                yield names, bisect_left(names.order, start)
            return
        first, _, name = start.partition("/")
        at = bisect_left(self._order, _namespace_order(first), key=_namespace_order) if start else 0
        for one in self._order[at:]:
            names = self._namespaces[one]
            yield names, bisect_left(names.order, name) if one == first else 0


def _namespace_order(namespace: str) -> str:
    # keys compare with the slash behind the namespace: "a-b/x" sorts before "a/x"
    return namespace + "/"


def _place(namespace: str, name: str) -> _Place:
    return _namespace_order(namespace), name
