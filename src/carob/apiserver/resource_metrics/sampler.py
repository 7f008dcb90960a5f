"""Asks kubelets for their summaries, when somebody wants to know, and remembers the few that rates need.

Nothing is asked at rest. Bounded: a handful of points per container that somebody has asked for lately.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import orjson

from carob.api.status import ApiError
from carob.apiserver.resource_metrics import rates
from carob.base.log import get_logger, pairs
from carob.transport.http import Request

if TYPE_CHECKING:
    from collections.abc import Iterable

    from carob.apiserver.nodes.connections import NodeConnections
    from carob.apiserver.resource_metrics.rates import Key, Sample, Use
    from carob.base.clock import Clock

_log = get_logger("apiserver.metrics")
PATH, QUERY = "/stats/summary", "only_cpu_and_memory=true"
AT_ONCE = 32
MAX_NODES = 4096
ANSWER_SECONDS = 10.0
# the same answer serves who asks again so soon
REUSE_SECONDS = 0.2


class _Node:
    """What is known of one node."""

    def __init__(self) -> None:
        self.samples: list[Sample] = []
        self.lock = asyncio.Lock()
        self.uses: dict[Key, Use] = {}
        self.answered = float("-inf")


class Sampler:
    """`uses_of` is the only verb."""

    def __init__(self, connections: NodeConnections, clock: Clock) -> None:
        self._connections = connections
        self._clock = clock
        self._nodes: dict[str, _Node] = {}
        self._slots = asyncio.Semaphore(AT_ONCE)

    async def uses_of(self, nodes: Iterable[str]) -> dict[str, dict[Key, Use]]:
        """What each node and its containers use now; who does not answer is left out."""
        wanted = list(dict.fromkeys(nodes))
        found = await asyncio.gather(*(self._uses(name) for name in wanted))
        return {name: uses for name, uses in zip(wanted, found, strict=True) if uses is not None}

    async def _uses(self, name: str) -> dict[Key, Use] | None:
        if name not in self._nodes and len(self._nodes) >= MAX_NODES:
            self._nodes.clear()
        node = self._nodes.setdefault(name, _Node())
        async with self._slots, node.lock:
            now = self._clock.monotonic()
            if now - node.answered < REUSE_SECONDS:
                return node.uses
            try:
                node.uses = await self._measure(node, name)
            except (ApiError, OSError, TimeoutError, KeyError, TypeError, ValueError) as error:
                _log.info("no metrics %s", pairs(node=name, error=f"{type(error).__name__}: {error}"))
                return None
            node.answered = self._clock.monotonic()
            return node.uses

    async def _measure(self, node: _Node, name: str) -> dict[Key, Use]:
        newest = await self._ask(name)
        older = rates.base_for(node.samples, newest.taken)
        if older is None:
            # nobody has asked lately: two looks, close to each other
            await self._clock.sleep(rates.SHORTEST_SECONDS)
            older, newest = newest, await self._ask(name)
            node.samples = [older]
        node.samples = rates.kept([*node.samples, newest], newest.taken)
        return rates.uses(older, newest)

    async def _ask(self, name: str) -> Sample:
        transport = self._connections.to(name)
        request = Request("GET", PATH, QUERY, raw_target=f"{PATH}?{QUERY}")
        async with asyncio.timeout(ANSWER_SECONDS):
            answer = await transport.send(request)
        if answer.status != 200:
            raise ConnectionError(f"the kubelet answered {answer.status}")
        return rates.sample(orjson.loads(answer.body), self._clock.monotonic())
