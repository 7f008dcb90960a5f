"""Values that only one object may hold at a time: service addresses and node ports.

Claims are made before a write and given back when it does not happen, or when the holder goes. They live in memory, are
found again from the objects at the first use, and all writers of one server share them. Servers that share a store keep
them there as well (`apiserver/shared_claims.py`).

Pure, except for the randomness that it is given.
"""

from __future__ import annotations

import ipaddress
from itertools import chain
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

from carob.apiserver.keys import CLAIMS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from carob.base.ids import Randomness

T = TypeVar("T", str, int)

FIRST_NODE_PORT, LAST_NODE_PORT = 30000, 32767
RANDOM_TRIES = 64


class Claim(NamedTuple):
    """`holder` (namespace/name of a Service) has the value; `kind` is `serviceips` or `servicenodeports`.

    `uid` tells a Service from an earlier one of its name. `revision` is when this claim was made; 0: at any time.
    """

    kind: str
    value: str
    holder: str
    uid: str
    revision: int = 0

    @property
    def key(self) -> str:
        """Where the claim lies."""
        return f"{CLAIMS}{self.kind}/{self.value}"


class Taken(ValueError):
    """The value is another object's."""


class Exhausted(ValueError):
    """No value is free."""


class Claims(Generic[T]):
    """Who holds which value."""

    def __init__(self) -> None:
        self._holders: dict[T, str] = {}

    def claim(self, value: T, holder: str) -> bool:
        """Take a value; False if the holder had it already. Raises: Taken."""
        present = self._holders.get(value)
        if present == holder:
            return False
        if present is not None:
            raise Taken(value)
        self._holders[value] = holder
        return True

    def release(self, value: T, holder: str) -> None:
        """Give a value back; nothing happens if somebody else holds it."""
        if self._holders.get(value) == holder:
            del self._holders[value]

    def free(self, value: T) -> bool:
        """Whether nobody holds the value."""
        return value not in self._holders

    def __len__(self) -> int:
        return len(self._holders)


def pick_address(free: Callable[[str], bool], ranges: Iterable[str], randomness: Randomness, version: int = 4) -> str:
    """An address of the ranges of this IP version that is `free`, by chance from their upper part, so that fixed ones
    find room below.

    Source: KEP-3070: the first min(max(16, size/16), 256) addresses are kept for those who ask for one.
    Raises: Exhausted.
    """
    for text in ranges:
        network = ipaddress.ip_network(text)
        if network.version != version:
            continue
        size = network.num_addresses
        usable = size - (2 if version == 4 else 1)  # neither the network's own address nor the broadcast address
        if usable <= 0:
            continue
        low = min(max(16, size // 16), 256) if size > 64 else 0
        for _ in range(RANDOM_TRIES):
            offset = low + int.from_bytes(randomness.token(4), "big") % max(usable - low, 1)
            address = str(network[1 + offset])
            if free(address):
                return address
        for offset in chain(range(low, usable), range(low)):
            address = str(network[1 + offset])
            if free(address):
                return address
    raise Exhausted("range is full")


def pick_port(claims: Claims[int], randomness: Randomness) -> int:
    """A free node port, by chance. Raises: Exhausted."""
    count = LAST_NODE_PORT - FIRST_NODE_PORT + 1
    start = int.from_bytes(randomness.token(2), "big") % count
    for offset in range(count):
        port = FIRST_NODE_PORT + (start + offset) % count
        if claims.free(port):
            return port
    raise Exhausted("range is full")
