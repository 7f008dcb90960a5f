"""The public keys of one issuer of tokens: found by OpenID Connect discovery, fetched when somebody needs them, again when a
token names a key that is not there.

Invariants: one fetch at a time; at most one in `LEAST_SECONDS_BETWEEN`, so that nobody makes us call the issuer as often as
they like; an answer has at most `MAX_BYTES`. Between fetches the last good keys count.

Touches: the network, through the `Fetcher` alone. `jwt` and `cryptography` are imported with the first keys.

Source: OpenID Connect Discovery 1.0 section 4; go-oidc's remote key set, which apiserver uses.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urlsplit

import orjson

from carob.base.log import get_logger

if TYPE_CHECKING:
    from carob.apiserver.authn.jwt_issuers import JwtIssuer
    from carob.base.clock import Clock

DISCOVERY = "/.well-known/openid-configuration"
LEAST_SECONDS_BETWEEN = 10.0
FETCH_SECONDS = 30.0
MAX_BYTES = 1 << 20
_log = get_logger("apiserver")


class FetchError(Exception):
    """The document could not be had, or is none."""


class Fetcher(Protocol):
    """How documents of an issuer are fetched."""

    async def get(self, url: str, authority_pem: str, access_token: str = "") -> bytes:
        """The body of a 200; an access token is shown as a bearer's. Raises: FetchError, ConnectionError."""
        ...


class SocketFetcher:
    """Over TLS, one connection a document: they are rare."""

    async def get(self, url: str, authority_pem: str, access_token: str = "") -> bytes:
        """See `Fetcher`."""
        from carob.transport.client import SocketTransport
        from carob.transport.http import Request
        from carob.transport.tls import client_context

        parts = urlsplit(url)
        if parts.scheme != "https":
            raise FetchError(f"{url} is not https")
        transport = SocketTransport(f"https://{parts.netloc}", tls=client_context(ca_data=authority_pem))
        try:
            headers = {"accept": "application/json"}
            if access_token:
                headers = {"accept": "*/*", "authorization": f"Bearer {access_token}"}
            request = Request("GET", parts.path or "/", parts.query, headers)
            async with await transport.stream(request) as answer:
                body = b""
                while piece := await answer.read():
                    body += piece
                    if len(body) > MAX_BYTES:
                        raise FetchError(f"{url} answers with more than {MAX_BYTES} bytes")
                if answer.status != 200:
                    raise FetchError(f"{url} answers {answer.status}")
                return body
        finally:
            await transport.close()


class IssuerKeys:
    """The keys of one issuer, by their names."""

    def __init__(self, issuer: JwtIssuer, fetcher: Fetcher, clock: Clock) -> None:
        self._issuer = issuer
        self._fetcher = fetcher
        self._clock = clock
        self._keys: list[tuple[str, Any]] = []
        self._fetched_at = float("-inf")
        self._fetch: asyncio.Task[None] | None = None
        self.generation = 0
        """Counts the times that keys came; what was judged by older ones must be judged again."""

    def named(self, key_id: str) -> list[Any]:
        """The keys of this name, as `jwt` knows them; all of them for a token that names none."""
        return [key for name, key in self._keys if not key_id or name == key_id]

    @property
    def may_fetch(self) -> bool:
        """Whether it is worth waiting for `refreshed`."""
        return self._fetch is not None or self._clock.monotonic() >= self._fetched_at + LEAST_SECONDS_BETWEEN

    async def refreshed(self) -> None:
        """Return when the keys have been fetched, or could not be; who comes meanwhile shares the fetch."""
        if self._fetch is None:
            self._fetch = asyncio.get_running_loop().create_task(self._refresh(), name=f"keys of {self._issuer.url}")
        # one impatient client must not end what others wait for
        await asyncio.shield(self._fetch)

    async def close(self) -> None:
        """End a fetch that is under way."""
        if self._fetch is not None:
            self._fetch.cancel()
            await asyncio.wait((self._fetch,))

    async def _refresh(self) -> None:
        try:
            async with asyncio.timeout(FETCH_SECONDS):
                self._keys = _parsed(await self._document())
            self.generation += 1
        except (FetchError, OSError, ValueError, TimeoutError) as error:
            _log.error("the keys of %s cannot be had: %s", self._issuer.url, str(error) or type(error).__name__)
        finally:
            self._fetched_at = self._clock.monotonic()
            self._fetch = None

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
