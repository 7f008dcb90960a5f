"""Documents of an issuer of tokens, fetched when somebody needs them.

Invariants of a `SharedFetch`: one fetch at a time; at most one in `LEAST_SECONDS_BETWEEN`, so that nobody makes us call the
issuer as often as they like; an answer has at most `MAX_BYTES`.

Touches: the network, through the `Fetcher` alone.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from carob.base.clock import Clock

LEAST_SECONDS_BETWEEN = 10.0
FETCH_SECONDS = 30.0
MAX_BYTES = 1 << 20


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


class SharedFetch:
    """One thing that is fetched again and again; who comes while it is on its way shares the fetch."""

    def __init__(self, what: str, clock: Clock) -> None:
        self._what = what
        self._clock = clock
        self._tried_at = float("-inf")
        self._task: asyncio.Task[None] | None = None

    async def fetch(self) -> None:
        """Have it. Raises: FetchError, OSError, ValueError, TimeoutError."""
        raise NotImplementedError

    def failed(self, why: str) -> None:
        """It could not be had."""
        raise NotImplementedError

    @property
    def may_fetch(self) -> bool:
        """Whether it is worth waiting for `refreshed`."""
        return self._task is not None or self._clock.monotonic() >= self._tried_at + LEAST_SECONDS_BETWEEN

    async def refreshed(self) -> None:
        """Return when it has been fetched, or could not be."""
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._refresh(), name=self._what)
        # one impatient client must not end what others wait for
        await asyncio.shield(self._task)

    async def close(self) -> None:
        """End a fetch that is under way."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait((self._task,))

    async def _refresh(self) -> None:
        try:
            async with asyncio.timeout(FETCH_SECONDS):
                await self.fetch()
        except (FetchError, OSError, ValueError, TimeoutError) as error:
            self.failed(str(error) or type(error).__name__)
        finally:
            self._tried_at = self._clock.monotonic()
            self._task = None
