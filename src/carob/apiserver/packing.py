"""Objects of one origin differ in little: what they have in common is kept once, and of each what is its own.

A *pattern* is an object's JSON with holes (`%b`) where values stand that differ between objects which are otherwise
alike: times, addresses, uids, names of nodes and of token volumes. `pattern % values` is the object again, byte by byte.

Pure. Limits: what nobody shares is forgotten, and long objects are left as they are.
"""

from __future__ import annotations

import re
from sys import getrefcount

MAX_VALUES = 4096
LEAST_PATTERNS = 256

# behind what all begin with, for which the text is searched quickly
_VALUE = re.compile(
    rb'":"([0-9a-fTZ.:-]{7,}(?=")|kube-api-access-\w{5}|(?<="containerID":")[^"%]*|(?<="nodeName":")[^"%]*)'
)
_HOLE = b'":"%b'
# whose field somebody manages
_ADDRESS = b'{\\"ip\\":\\"'
# to a pattern that no object has: key and value of the table, the loop's variable, the call's argument
_OUR_REFERENCES = 4


class Packer:
    """What the objects of one resource have in common."""

    def __init__(self) -> None:
        self._patterns: dict[bytes, bytes] = {}
        self._values: dict[bytes, bytes] = {}
        self._most = LEAST_PATTERNS

    def pack(self, head: bytes, text: bytes) -> tuple[bytes, tuple[bytes, ...]]:
        """Pattern and values of a JSON text; `head` is put before the pattern, and may have holes itself."""
        first, *others = text.replace(b"%", b"%%").split(_ADDRESS)
        parts = _VALUE.split(first)
        pieces, found = [head, _HOLE.join(parts[::2])], parts[1::2]
        for other in others:
            address, end, behind = other.partition(b"\\")
            parts = _VALUE.split(behind)
            pieces += (_ADDRESS, b"%b", end, _HOLE.join(parts[::2]))
            found += (address.replace(b"%%", b"%"), *parts[1::2])
        pattern = b"".join(pieces)
        known = self._values
        if len(known) >= MAX_VALUES:
            known.clear()
        values = tuple([known.setdefault(value, value) for value in found])
        if len(self._patterns) >= self._most:
            self._forget()
        return self._patterns.setdefault(pattern, pattern), values

    def _forget(self) -> None:
        """Keep the patterns that several objects have."""
        self._patterns = {one: one for one in self._patterns if getrefcount(one) > _OUR_REFERENCES + 1}
        self._most = max(LEAST_PATTERNS, 2 * len(self._patterns))
