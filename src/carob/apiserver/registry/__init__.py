"""Strategies by resource: the common case with facts, and a class where a resource behaves specially."""

from __future__ import annotations

from typing import TYPE_CHECKING

from carob.apiserver.registry import facts
from carob.apiserver.registry.strategy import Strategy

if TYPE_CHECKING:
    from collections.abc import Mapping

    from carob.api.resources import Resource


class Strategies:
    """One strategy a row, made when it is first asked for."""

    def __init__(self, special: Mapping[tuple[str, str], type[Strategy]] | None = None) -> None:
        self._special = dict(special or {})
        self._made: dict[tuple[str, str, str], Strategy] = {}

    def of(self, row: Resource) -> Strategy:
        """The strategy of a row."""
        place = (row.group, row.version, row.plural)
        found = self._made.get(place)
        if found is None or found.row is not row:
            kind = self._special.get((row.group, row.plural), Strategy)
            found = self._made[place] = kind(row)
            facts.apply(found)
        return found
