"""A claim that does not stand in the token: the token names an endpoint that has it, in a token of its own (`_claim_names`,
`_claim_sources`). Upstream asks so for the claim of groups alone.

Such a token is fetched once, and counts as long as it says; its issuer may be another one, whose keys are discovered. Only
endpoints that a verified token names are asked, over TLS, with the issuer's authority.

Source: OpenID Connect Core 1.0 section 5.6.2; kubernetes `plugin/pkg/authenticator/token/oidc/oidc.go` (`claimResolver`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from carob.apiserver.authn.fetching import SharedFetch
from carob.apiserver.authn.issuer_keys import IssuerKeys
from carob.apiserver.authn.keys_wanted import KeysWanted
from carob.apiserver.authn.token_checks import Refused, check_use, verify
from carob.base.jws import InvalidToken, unverified_claims

if TYPE_CHECKING:
    from carob.apiserver.authn.fetching import Fetcher
    from carob.apiserver.authn.jwt_issuers import JwtIssuer
    from carob.base.clock import Clock

MAX_SOURCES = 1024
MAX_ISSUERS = 64


class _Source(SharedFetch):
    """An endpoint, and the token that it gave."""

    def __init__(self, url: str, access_token: str, authority_pem: str, fetcher: Fetcher, clock: Clock) -> None:
        super().__init__(f"claims of {url}", clock)
        self._url, self._access_token, self._authority_pem = url, access_token, authority_pem
        self._fetcher = fetcher
        self.token = ""
        self.why = ""

    async def fetch(self) -> None:
        """See `SharedFetch`."""
        found = await self._fetcher.get(self._url, self._authority_pem, self._access_token)
        self.token, self.why = found.decode().strip(), ""

    def failed(self, why: str) -> None:
        """See `SharedFetch`."""
        self.token, self.why = "", why


class DistributedClaims:
    """What the tokens of all issuers keep elsewhere."""

    def __init__(self, fetcher: Fetcher, clock: Clock) -> None:
        self._fetcher = fetcher
        self._clock = clock
        self._sources: dict[tuple[str, str, str], _Source] = {}
        self._keys: dict[tuple[str, str], IssuerKeys] = {}

    async def close(self) -> None:
        """End what is being fetched."""
        for source in self._sources.values():
            await source.close()
        for keys in self._keys.values():
            await keys.close()

    def claim(self, name: str, claims: dict[str, Any], issuer: JwtIssuer) -> tuple[Any, float] | None:
        """The value of a claim and until when it counts; None if the token does not say where it stands.

        Shape: `claims` are those of a token of `issuer` that is verified. Raises: Refused, KeysWanted.
        """
        names = claims.get("_claim_names")
        label = names.get(name) if isinstance(names, dict) else None
        if label is None:
            return None
        sources = claims.get("_claim_sources")
        place = sources.get(label) if isinstance(sources, dict) and isinstance(label, str) else None
        url = place.get("endpoint") if isinstance(place, dict) else None
        access = place.get("access_token", "") if isinstance(place, dict) else ""
        if not isinstance(url, str) or not url or not isinstance(access, str) or not access.isascii():
            raise Refused(f"could not expand distributed claims: no endpoint for the claim {name!r}")
        try:
            return self._fetched(name, issuer, self._source(url, access, issuer))
        except (InvalidToken, Refused) as error:
            raise Refused(f"could not expand distributed claims: {url}: {error}") from None

    def _source(self, url: str, access: str, issuer: JwtIssuer) -> _Source:
        key = (issuer.url, url, access)
        source = self._sources.get(key)
        if source is None:
            if len(self._sources) >= MAX_SOURCES:
                del self._sources[next(iter(self._sources))]
            made = _Source(url, access, issuer.certificate_authority, self._fetcher, self._clock)
            source = self._sources[key] = made
        return source

    def _fetched(self, name: str, issuer: JwtIssuer, source: _Source) -> tuple[Any, float]:
        if not source.token:
            if source.may_fetch:
                raise KeysWanted(source)
            raise Refused(source.why or "no answer")
        claims = unverified_claims(source.token)
        issued_by = claims.get("iss")
        if not isinstance(issued_by, str) or not issued_by.startswith("https://"):
            raise Refused(f"a token of the issuer {issued_by!r}")
        other = replace(issuer, url=issued_by, discovery_url=issuer.discovery_url if issued_by == issuer.url else "")
        try:
            verify(source.token, other, self._keys_of(issuer.url, other))
            end = check_use(claims, other, self._clock.now())
        except Refused:
            source.token = ""
            if source.may_fetch:
                raise KeysWanted(source) from None  # it has ended, perhaps
            raise
        if name not in claims:
            raise Refused(f"the token there has no claim {name!r}")
        return claims[name], end

    def _keys_of(self, asked_by: str, other: JwtIssuer) -> IssuerKeys:
        key = (asked_by, other.url)
        found = self._keys.get(key)
        if found is None:
            if len(self._keys) >= MAX_ISSUERS:
                del self._keys[next(iter(self._keys))]
            found = self._keys[key] = IssuerKeys(other, self._fetcher, self._clock)
        return found
