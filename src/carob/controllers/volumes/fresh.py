"""An informer's copy, with what we have written ourselves and the informer has not yet shown on top of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from carob.client.informer import key_of

if TYPE_CHECKING:
    from carob.client.informer import Informer

T = TypeVar("T")


class Fresh(Mapping[str, T], Generic[T]):
    """Objects by key, never older than our last write. Bounded by the writes that the informer has yet to bring."""

    def __init__(self, informer: Informer[T]) -> None:
        self._informer = informer
        self._written: dict[str, T] = {}

    def note(self, obj: T) -> None:
        """The server answered a write with this object."""
        self._settle()
        self._written[key_of(obj)] = obj

    def __getitem__(self, key: str) -> T:
        mine = self._written.get(key)
        if mine is not None and _version(mine) > self._informer.version:
            return mine
        found = self._informer.get(key)
        if found is None:
            raise KeyError(key)
        return found

    def __iter__(self) -> Iterator[str]:
        self._settle()
        yield from self._informer.keys()
        yield from [key for key in self._written if key not in self._informer.keys()]  # noqa: SIM118 - not a dict

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def _settle(self) -> None:
        seen = self._informer.version
        for key in [key for key, obj in self._written.items() if _version(obj) <= seen]:
            del self._written[key]


def _version(obj: Any) -> int:
    return int(obj.metadata.resource_version or 0)
