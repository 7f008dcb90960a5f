"""What a score is: of one node by itself, or of nodes in comparison.

A *rate* looks at one node alone, so that it need be asked anew only for nodes that changed. Where the numbers of a rate
say something only in comparison they are scaled over the nodes that are left to choose from.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from carob.scheduler.nodes import NodeInfo
    from carob.scheduler.pods import PodInfo
    from carob.scheduler.snapshot import Snapshot

Rate: TypeAlias = "Callable[[NodeInfo], int]"
MakeRate: TypeAlias = "Callable[[PodInfo, Snapshot], Rate | None]"
Compare: TypeAlias = "Callable[[PodInfo, Sequence[NodeInfo], Snapshot], list[int] | None]"
