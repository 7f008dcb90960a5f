"""What every token of an issuer must pass, also one that holds another token's claims: signature, audience, time.

Source: kubernetes `plugin/pkg/authenticator/token/oidc/oidc.go` (`idTokenVerifier`), go-oidc.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from carob.apiserver.authn.keys_wanted import KeysWanted
from carob.base.jws import unverified_header

if TYPE_CHECKING:
    from carob.apiserver.authn.issuer_keys import IssuerKeys
    from carob.apiserver.authn.jwt_issuers import JwtIssuer

NOT_BEFORE_LEEWAY_SECONDS = 300.0


class Refused(Exception):
    """Why a token does not count; only the log hears of it."""


def verify(token: str, issuer: JwtIssuer, keys: IssuerKeys) -> None:
    """Return if one of the issuer's keys signed it. Raises: Refused, KeysWanted, InvalidToken."""
    header = unverified_header(token)
    algorithm, key_id = header.get("alg"), header.get("kid", "")
    if algorithm not in issuer.signing_algorithms or not isinstance(key_id, str):
        raise Refused(f"signed with {algorithm!r}, which is none of {list(issuer.signing_algorithms)}")
    candidates = keys.named(key_id)
    if candidates:
        import jwt

        for key in candidates:
            try:
                jwt.api_jws.decode(token, key, algorithms=[algorithm])
                return
            except (jwt.PyJWTError, TypeError, ValueError):
                continue
    # a key may have been exchanged under its old name, too
    if keys.may_fetch:
        raise KeysWanted(keys)
    raise Refused("failed to verify id token signature")


def check_use(claims: dict[str, Any], issuer: JwtIssuer, now: float) -> float:
    """Until when a token for one of our audiences counts. Raises: Refused."""
    audience = claims.get("aud")
    named = [audience] if isinstance(audience, str) else audience
    if not isinstance(named, list) or not any(one in named for one in issuer.audiences):
        raise Refused(f"expected audience in {list(issuer.audiences)} got {named}")
    end, begin = claims.get("exp"), claims.get("nbf")
    if not isinstance(end, (int, float)) or isinstance(end, bool) or now > end:
        raise Refused(f"token is expired (Token Expiry: {end})")
    if isinstance(begin, (int, float)) and now + NOT_BEFORE_LEEWAY_SECONDS < begin:
        raise Refused(f"current time {now} before the nbf (not before) time: {begin}")
    return float(end)
