"""What a Pod's network must be before its first container begins: its policies hold, on this node.

Whoever knows the policies says how to wait (`opened_by`); until then, and for Pods in the node's network, nobody waits.
Nobody waits for ever either: a node whose rules cannot be changed still starts Pods, and says so.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from carob.api.types import core_v1

    Opens: TypeAlias = Callable[[core_v1.Pod, Sequence[str]], Awaitable[None]]

LONGEST_SECONDS = 5.0


class NetworkGate:
    """One a kubelet."""

    def __init__(self) -> None:
        self._opens: Opens | None = None

    def opened_by(self, opens: Opens) -> None:
        """Let Pods wait for this from now on."""
        self._opens = opens

    async def passes(self, pod: core_v1.Pod, addresses: Sequence[str]) -> bool:
        """Wait for a Pod that has just got these addresses; False if that took too long."""
        if self._opens is None or pod.spec.host_network or not addresses:
            return True
        try:
            async with asyncio.timeout(LONGEST_SECONDS):
                await self._opens(pod, addresses)
        except TimeoutError:
            return False
        return True
