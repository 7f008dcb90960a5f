"""The public keys of one issuer of tokens: found by OpenID Connect discovery, fetched when somebody needs them, again when a
token names a key that is not there.

Invariants: those of a `SharedFetch`; between fetches the last good keys count.

Touches: the network, through the `Fetcher` alone. `jwt` and `cryptography` are imported with the first keys.

Source: OpenID Connect Discovery 1.0 section 4; go-oidc's remote key set, which apiserver uses.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from carob.apiserver.authn.fetching import FetchError, SharedFetch
from carob.base.log import get_logger

if TYPE_CHECKING:
    from carob.apiserver.authn.fetching import Fetcher
    from carob.apiserver.authn.jwt_issuers import JwtIssuer
    from carob.base.clock import Clock

DISCOVERY = "/.well-known/openid-configuration"
_log = get_logger("apiserver")


class IssuerKeys(SharedFetch):
    """The keys of one issuer, by their names."""

    def __init__(self, issuer: JwtIssuer, fetcher: Fetcher, clock: Clock) -> None:
        super().__init__(f"keys of {issuer.url}", clock)
        self._issuer = issuer
        self._fetcher = fetcher
        self._keys: list[tuple[str, Any]] = []
        self.generation = 0
        """Counts the times that keys came; what was judged by older ones must be judged again."""

    def named(self, key_id: str) -> list[Any]:
        """The keys of this name, as `jwt` knows them; all of them for a token that names none."""
        return [key for name, key in self._keys if not key_id or name == key_id]

    async def fetch(self) -> None:
        """See `SharedFetch`."""
        self._keys = _parsed(await self._document())
        self.generation += 1

    def failed(self, why: str) -> None:
        """See `SharedFetch`."""
        _log.error("the keys of %s cannot be had: %s", self._issuer.url, why)

    async def _document(self) -> bytes:
        issuer = self._issuer
        url = issuer.discovery_url or issuer.url.rstrip("/") + DISCOVERY
        found = orjson.loads(await self._fetcher.get(url, issuer.certificate_authority))
        if not isinstance(found, dict) or found.get("issuer") != issuer.url:
            said = found.get("issuer") if isinstance(found, dict) else None
            raise FetchError(f"{url} is the discovery document of {said!r}")
        keys_url = found.get("jwks_uri")
        if not isinstance(keys_url, str):
            raise FetchError(f"{url} has no jwks_uri")
        return await self._fetcher.get(keys_url, issuer.certificate_authority)


def _parsed(document: bytes) -> list[tuple[str, Any]]:
    import jwt

    tree = orjson.loads(document)
    entries = tree.get("keys") if isinstance(tree, dict) else None
    if not isinstance(entries, list):
        raise FetchError("the document of keys has no list of keys")
    found = []
    for entry in entries:
        if not isinstance(entry, dict) or entry.get("use", "sig") != "sig" or entry.get("kty") not in ("RSA", "EC"):
            continue
        try:
            found.append((str(entry.get("kid", "")), jwt.PyJWK(entry).key))
        except (jwt.PyJWTError, ValueError, TypeError, KeyError) as error:
            _log.warning("a key of an issuer is of no use: %s", error)
    return found
