"""What a filter says of one node."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from carob.scheduler.nodes import NodeInfo


EXTENDER = "Extender"
"""The filter's name where an extender rejected. Source: `fwk.ExtenderName`."""


class Rejection(NamedTuple):
    """Why a Pod cannot be on a node, in upstream's words. `resolvable`: removing other Pods could help."""

    plugin: str
    reasons: tuple[str, ...]
    resolvable: bool = False


Check: TypeAlias = "Callable[[NodeInfo], Rejection | None]"
"""A filter made ready for one Pod."""
