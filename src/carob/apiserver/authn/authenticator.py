"""Who sends a request: the user that the transport set, the client certificate, a bearer token, or nobody.

A wrong bearer token is refused (401); no credentials at all is the anonymous user, whom authorization lets see little.
"""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING

from carob.api.status import unauthorized
from carob.api.user import ANONYMOUS, UserInfo
from carob.apiserver.authn import bootstrap_tokens
from carob.apiserver.authn.jwt_issuers import USUAL, AuthenticationRules
from carob.apiserver.authn.x509 import CertificateAuthenticator

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from carob.apiserver.authn.oidc import OidcTokens
    from carob.apiserver.authn.service_accounts import ServiceAccountTokens
    from carob.apiserver.types import Reader
    from carob.base.clock import Clock
    from carob.transport.http import Request


class Authenticator:
    """Every way to say who one is, in upstream's order."""

    def __init__(
        self,
        reader: Reader,
        clock: Clock,
        service_accounts: ServiceAccountTokens | None,
        static_tokens: Mapping[str, UserInfo],
        rules: AuthenticationRules = USUAL,
        oidc: OidcTokens | None = None,
    ) -> None:
        self._reader = reader
        self._clock = clock
        self._service_accounts = service_accounts
        self._static_tokens = static_tokens
        self._certificates = CertificateAuthenticator()
        self._rules = rules
        self._oidc = oidc

    def use(self, rules: AuthenticationRules, oidc: OidcTokens | None) -> None:
        """Believe these issuers from now on, and no others."""
        self._rules, self._oidc = rules, oidc

    def authenticate(self, request: Request) -> UserInfo:
        """The user of a request. Raises: ApiError 401 for a credential that is not good, KeysWanted."""
        if request.user is not None:
            return request.user
        if request.peer_certificate is not None:
            user = self._certificates.authenticate(request.peer_certificate, self._clock.now())
            if user is not None:
                return user
        header = request.headers.get("authorization")
        if header is None:
            return self._from_protocols(request) if request.wants_websocket else self._anonymous(request)
        scheme, _, token = header.strip().partition(" ")
        token = token.strip()
        if scheme.lower() != "bearer" or not token:
            return self._anonymous(request)
        found = self.authenticate_token(token)
        if found is None:
            raise unauthorized()
        return found[0]

    def _from_protocols(self, request: Request) -> UserInfo:
        """The user of a token among a WebSocket's protocols, which goes from there once it is good."""
        from carob.apiserver.authn.websocket_tokens import token_of, without_token

        token = token_of(request.headers)
        if not token:
            return self._anonymous(request)
        found = self.authenticate_token(token)
        if found is None:
            raise unauthorized()
        # whoever asks again is told the same, without the token
        request.user, request.headers = found[0], without_token(request.headers)
        return found[0]

    def _anonymous(self, request: Request) -> UserInfo:
        rules = self._rules
        if not rules.anonymous or (rules.anonymous_paths and request.path not in rules.anonymous_paths):
            raise unauthorized()
        return ANONYMOUS

    def authenticate_token(self, token: str, audiences: Sequence[str] = ()) -> tuple[UserInfo, tuple[str, ...]] | None:
        """The user of a bearer token and the audiences in common; None if it is not good. Also serves TokenReview.

        Raises: KeysWanted when an issuer of tokens must be asked for its keys first.
        """
        if self._service_accounts is not None and token.count(".") == 2:
            found = self._service_accounts.authenticate(token, audiences)
            if found is not None:
                return found
        for known, static_user in self._static_tokens.items():
            if hmac.compare_digest(known.encode(), token.encode()):
                return static_user, tuple(audiences)
        user = bootstrap_tokens.authenticate(token, self._reader, self._clock)
        if user is not None:
            return user, tuple(audiences)
        return self._oidc.authenticate(token, audiences) if self._oidc is not None else None
