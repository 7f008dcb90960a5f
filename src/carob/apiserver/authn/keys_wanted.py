"""What tells a handler that a token cannot be judged yet. Apart, because most servers never load what raises it."""

from __future__ import annotations

from typing import Protocol


class Keys(Protocol):
    """The public keys of an issuer."""

    async def refreshed(self) -> None:
        """Return when the keys have been fetched, or could not be."""
        ...


class KeysWanted(Exception):
    """The token names a key that we do not have: ask again when `keys.refreshed()` has returned."""

    def __init__(self, keys: Keys) -> None:
        super().__init__("the issuer's keys must be fetched first")
        self.keys = keys
