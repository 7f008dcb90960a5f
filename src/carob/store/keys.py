"""Keys in order: a sorted collection that stays cheap with many thousands of keys and many inserts.

Pure. Python's strings sort by code point, which is the order of their UTF-8 bytes, so SQLite and etcd agree with it.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from itertools import chain
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

# An insert moves at most one bucket's pointers (4 KiB), a search looks at one entry per bucket first.
BUCKET_KEYS = 512

_FIRST_SURROGATE = 0xD800
_AFTER_SURROGATES = 0xE000
_LAST_CODE_POINT = 0x10FFFF


def prefix_end(prefix: str) -> str | None:
    """The first string behind every string that begins with `prefix`; None if nothing can be behind them.

    Surrogates are skipped: they cannot be written as UTF-8.
    """
    while prefix:
        successor = ord(prefix[-1]) + 1
        prefix = prefix[:-1]
        if successor <= _LAST_CODE_POINT:
            return prefix + chr(_AFTER_SURROGATES if successor == _FIRST_SURROGATE else successor)
    return None


class SortedKeys:
    """A set of strings in order, in buckets of at most `2 * BUCKET_KEYS`.

    Invariant: no bucket is empty, and `_lasts[i]` is the last key of `_buckets[i]`.
    """

    def __init__(self, keys: Iterable[str] = ()) -> None:
        ordered = sorted(keys)
        self._buckets = [ordered[at : at + BUCKET_KEYS] for at in range(0, len(ordered), BUCKET_KEYS)]
        self._lasts = [bucket[-1] for bucket in self._buckets]
        self._count = len(ordered)

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[str]:
        return chain.from_iterable(self._buckets)

    def add(self, key: str) -> None:
        """Put in a key that is not there yet."""
        self._count += 1
        if not self._buckets:
            self._buckets.append([key])
            self._lasts.append(key)
            return
        at = bisect_left(self._lasts, key)
        if at == len(self._lasts):
            at -= 1
            self._buckets[at].append(key)
            self._lasts[at] = key
        else:
            insort(self._buckets[at], key)
        if len(self._buckets[at]) > 2 * BUCKET_KEYS:
            self._split(at)

    def _split(self, at: int) -> None:
        bucket = self._buckets[at]
        tail = bucket[BUCKET_KEYS:]
        del bucket[BUCKET_KEYS:]
        self._buckets.insert(at + 1, tail)
        self._lasts[at : at + 1] = [bucket[-1], tail[-1]]

    def remove(self, key: str) -> None:
        """Take out a key that is there."""
        at = bisect_left(self._lasts, key)
        bucket = self._buckets[at]
        del bucket[bisect_left(bucket, key)]
        self._count -= 1
        if bucket:
            self._lasts[at] = bucket[-1]
        else:
            del self._buckets[at], self._lasts[at]

    def between(self, start: str, end: str | None, limit: int = 0) -> tuple[list[str], int]:
        """The first `limit` keys (0: all) from `start` up to but without `end`, and how many there are in all."""
        first = self._position(start)
        last = self._position(end) if end is not None else (len(self._buckets), 0)
        total = self._rank(last) - self._rank(first)
        if total <= 0:
            return [], 0
        return self._take(first, min(limit, total) if limit else total), total

    def _position(self, key: str) -> tuple[int, int]:
        at = bisect_left(self._lasts, key)
        return at, bisect_left(self._buckets[at], key) if at < len(self._buckets) else 0

    def _rank(self, position: tuple[int, int]) -> int:
        return sum(map(len, self._buckets[: position[0]])) + position[1]

    def _take(self, position: tuple[int, int], count: int) -> list[str]:
        at, offset = position
        taken = self._buckets[at][offset : offset + count]
        while len(taken) < count:
            at += 1
            taken += self._buckets[at][: count - len(taken)]
        return taken
