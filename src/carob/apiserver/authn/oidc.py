"""JSON web tokens of issuers outside of the cluster: OpenID Connect.

A token counts if its issuer is one of ours, one of the issuer's keys signed it, it has not ended, and its audience and
required claims fit. Who speaks is then read from its claims. A token whose key we do not have yet raises `KeysWanted`:
whoever can wait does so and asks once more.

Source: kubernetes `plugin/pkg/authenticator/token/oidc/oidc.go`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from carob.api.user import UserInfo
from carob.apiserver.authn.distributed_claims import DistributedClaims
from carob.apiserver.authn.fetching import Fetcher
from carob.apiserver.authn.issuer_keys import IssuerKeys
from carob.apiserver.authn.token_checks import Refused, check_use, verify
from carob.apiserver.authn.x509 import AUTHENTICATED
from carob.base.jws import InvalidToken, unverified_claims
from carob.base.log import get_logger

if TYPE_CHECKING:
    from collections.abc import Sequence

    from carob.apiserver.authn.jwt_issuers import JwtIssuer
    from carob.base.clock import Clock

MAX_TOKEN_BYTES = 64 << 10
_LIMIT = 4096
_log = get_logger("apiserver")


class OidcTokens:
    """Checks the tokens of some issuers."""

    def __init__(
        self, issuers: Sequence[JwtIssuer], api_audiences: Sequence[str], fetcher: Fetcher, clock: Clock
    ) -> None:
        self._issuers = {issuer.url: (issuer, IssuerKeys(issuer, fetcher, clock)) for issuer in issuers}
        self._distributed = DistributedClaims(fetcher, clock)
        self._api_audiences = tuple(api_audiences)
        self._clock = clock
        # token -> generation of the keys, user, end
        self._checked: dict[str, tuple[int, UserInfo, float]] = {}

    async def close(self) -> None:
        """End what is being fetched."""
        for _, keys in self._issuers.values():
            await keys.close()
        await self._distributed.close()

    def authenticate(self, token: str, audiences: Sequence[str] = ()) -> tuple[UserInfo, tuple[str, ...]] | None:
        """The user of a token, and which of the asked audiences of this API it is good for; None if it is not good.

        Raises: KeysWanted.
        """
        shared = tuple(audience for audience in audiences if audience in self._api_audiences)
        if len(token) > MAX_TOKEN_BYTES or (audiences and not shared):
            return None
        try:
            user = self._user(token)
        except InvalidToken:
            return None
        except Refused as why:
            _log.info("a bearer token is refused: %s", why)
            return None
        return (user, shared) if user is not None else None

    def _user(self, token: str) -> UserInfo | None:
        claims = unverified_claims(token)
        name = claims.get("iss")
        found = self._issuers.get(name) if isinstance(name, str) else None
        if found is None:
            return None
        issuer, keys = found
        known = self._checked.get(token)
        if known is not None and known[0] == keys.generation and self._clock.now() <= known[2]:
            return known[1]
        verify(token, issuer, keys)
        user, end = self._judge(claims, issuer)
        if len(self._checked) >= _LIMIT:
            del self._checked[next(iter(self._checked))]
        self._checked[token] = (keys.generation, user, end)
        return user

    def _judge(self, claims: dict[str, Any], issuer: JwtIssuer) -> tuple[UserInfo, float]:
        """Who the claims speak of, and until when. Raises: Refused, KeysWanted."""
        end = check_use(claims, issuer, self._clock.now())
        for claim, wanted in issuer.required_claims.items():
            if claims.get(claim) != wanted:
                raise Refused(
                    f"required claim {claim} value does not match. Got = {claims.get(claim)}, want = {wanted}"
                )
        groups = issuer.groups_claim
        if groups and groups not in claims and "_claim_names" in claims:
            elsewhere = self._distributed.claim(groups, claims, issuer)
            if elsewhere is not None:
                claims, end = claims | {groups: elsewhere[0]}, min(end, elsewhere[1])
        return (_user_by_expressions if _has_expressions(issuer) else _user_of)(claims, issuer), end


def _user_of(claims: dict[str, Any], issuer: JwtIssuer) -> UserInfo:
    """Raises: Refused."""
    name = ""
    if issuer.username_claim:
        name = claims.get(issuer.username_claim) or ""
        if not isinstance(name, str) or not name:
            raise Refused(f"could not parse username from the claim {issuer.username_claim!r}")
        if issuer.username_claim == "email" and claims.get("email_verified", True) is not True:
            raise Refused("email not verified")
    uid = claims.get(issuer.uid_claim) if issuer.uid_claim else ""
    if not isinstance(uid, str):
        raise Refused(f"the claim {issuer.uid_claim!r} is no string")
    return UserInfo(issuer.username_prefix + name, (*_groups(claims, issuer), AUTHENTICATED), uid)


def _has_expressions(issuer: JwtIssuer) -> bool:
    mapped = issuer.username_expression or issuer.groups_expression or issuer.uid_expression
    return bool(mapped or issuer.extra_expressions or issuer.claim_rules or issuer.user_rules)


def _user_by_expressions(claims: dict[str, Any], issuer: JwtIssuer) -> UserInfo:
    """Raises: Refused."""
    from carob.apiserver.authn import claim_expressions as cel

    def answer(text: str, variable: str, value: dict[str, Any]) -> Any:
        return cel.compiled(text, variable).evaluate(value)

    def judge(rules: tuple[tuple[str, str], ...], variable: str, value: dict[str, Any]) -> None:
        for text, message in rules:
            if answer(text, variable, value) is not True:
                raise Refused(message or f"validation expression '{text}' failed")

    try:
        judge(issuer.claim_rules, cel.CLAIMS, claims)
        plain = _user_of(claims, issuer)
        name: Any = plain.name
        uid: Any = plain.uid
        groups = plain.groups[:-1]
        if issuer.username_expression:
            name = answer(issuer.username_expression, cel.CLAIMS, claims)
        if issuer.groups_expression:
            groups = tuple(cel.texts_of(answer(issuer.groups_expression, cel.CLAIMS, claims)))
        if issuer.uid_expression:
            uid = answer(issuer.uid_expression, cel.CLAIMS, claims)
        found = {key: tuple(cel.texts_of(answer(text, cel.CLAIMS, claims))) for key, text in issuer.extra_expressions}
        extra = {key: values for key, values in found.items() if values}
        if not isinstance(name, str) or not name or not isinstance(uid, str):
            raise Refused(
                "the expressions for username and uid must return strings, and the first one that is not empty"
            )
        shown = {"username": name, "uid": uid, "groups": list(groups), "extra": {k: list(v) for k, v in extra.items()}}
        judge(issuer.user_rules, cel.USER, shown)
    except cel.ExpressionError as error:
        raise Refused(f"an expression has no answer: {error}") from error
    return UserInfo(name, (*groups, AUTHENTICATED), uid, extra)


def _groups(claims: dict[str, Any], issuer: JwtIssuer) -> tuple[str, ...]:
    """Raises: Refused."""
    if not issuer.groups_claim or claims.get(issuer.groups_claim) is None:
        return ()
    found = claims[issuer.groups_claim]
    groups = [found] if isinstance(found, str) else found
    if not isinstance(groups, list) or not all(isinstance(group, str) for group in groups):
        raise Refused(f"the claim {issuer.groups_claim!r} is neither a string nor a list of strings")
    return tuple(issuer.groups_prefix + group for group in groups)
