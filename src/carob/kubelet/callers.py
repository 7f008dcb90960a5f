"""Who may talk to the kubelet, and what about: by client certificate, or by a token that the API server knows.

The API server and cluster admins are known by their certificates; about everybody else the API server is asked, once
in a while: who the token's owner is (TokenReview), and whether they may (SubjectAccessReview).
Source: kubelet `server/auth.go`; its webhooks' caching times.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from carob.api.status import ApiError
from carob.api.types import authentication_v1, authorization_v1
from carob.api.user import UserInfo
from carob.transport.http import Response

if TYPE_CHECKING:
    from collections.abc import Awaitable, Sequence

    from carob.base.clock import Clock
    from carob.client.rest import Client
    from carob.transport.http import Request

API_SERVER = "kube-apiserver-kubelet-client"
ADMINS = "system:masters"
MAX_REMEMBERED = 64
TOKEN_SECONDS, ALLOWED_SECONDS, DENIED_SECONDS = 120.0, 300.0, 30.0
_VERBS = {"POST": "create", "GET": "get", "HEAD": "get", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
# what may be allowed by itself; everything may be by `nodes/proxy`
_FINE = {"pods": "pods", "healthz": "healthz", "configz": "configz"}
_WHOLE = {"stats": "stats", "metrics": "metrics", "logs": "log", "checkpoint": "checkpoint"}


class Question(Struct, frozen=True):
    """A request as authorization sees it: one of the subresources of the node must be allowed."""

    verb: str
    subresources: tuple[str, ...]


def question(request: Request, head: str) -> Question:
    """What a request is about; `head` is the first part of its path."""
    verb = _VERBS.get(request.method, request.method.lower())
    if head in _WHOLE:
        return Question(verb, (_WHOLE[head],))
    return Question(verb, (_FINE[head], "proxy") if head in _FINE else ("proxy",))


class Callers:
    """Remembers what stands in the certificates that it has seen, because parsing one costs a millisecond."""

    def __init__(self, client: Client, clock: Clock, node_name: str) -> None:
        self._client = client
        self._clock = clock
        self._node_name = node_name
        self._seen: dict[bytes, UserInfo] = {}
        self._tokens: dict[str, tuple[float, UserInfo | None]] = {}
        self._answers: dict[tuple[str, tuple[str, ...], str, str], tuple[float, bool]] = {}

    def refuse(self, request: Request, head: str) -> Response | Awaitable[Response | None] | None:
        """The refusal, or None for who may; a promise of it where the API server has to be asked."""
        asked = question(request, head)
        if request.user is not None:
            return self._judge(request.user, asked)
        if request.peer_certificate is not None:
            return self._judge(self._identity(request.peer_certificate), asked)
        kind, _, token = request.headers.get("authorization", "").partition(" ")
        if kind.lower() != "bearer" or not token.strip():
            return _text(401, "Unauthorized")
        return self._by_token(token.strip(), asked)

    def _judge(self, user: UserInfo, asked: Question) -> Response | Awaitable[Response | None] | None:
        if user.name == API_SERVER or ADMINS in user.groups:
            return None
        return self._by_review(user, asked)

    async def _by_token(self, token: str, asked: Question) -> Response | None:
        user = await self._owner(token)
        if user is None:
            return _text(401, "Unauthorized")
        if ADMINS in user.groups:
            return None
        return await self._by_review(user, asked)

    async def _owner(self, token: str) -> UserInfo | None:
        now = self._clock.monotonic()
        known = self._tokens.get(token)
        if known is not None and known[0] > now:
            return known[1]
        spec = authentication_v1.TokenReviewSpec(token=token)
        try:
            review = await self._client.create(authentication_v1.TokenReview(spec=spec))
        except (ApiError, OSError):
            return None
        found = review.status.user
        user = UserInfo(found.username, tuple(found.groups), found.uid) if review.status.authenticated else None
        if len(self._tokens) >= MAX_REMEMBERED:
            self._tokens.clear()
        self._tokens[token] = (now + TOKEN_SECONDS, user)
        return user

    async def _by_review(self, user: UserInfo, asked: Question) -> Response | None:
        for subresource in asked.subresources:
            if await self._may(user, asked.verb, subresource):
                return None
        names = " ".join(asked.subresources)
        words = f"Forbidden (user={user.name}, verb={asked.verb}, resource=nodes, subresource(s)=[{names}])"
        return _text(403, words)

    async def _may(self, user: UserInfo, verb: str, subresource: str) -> bool:
        now = self._clock.monotonic()
        key = (user.name, tuple(user.groups), verb, subresource)
        known = self._answers.get(key)
        if known is not None and known[0] > now:
            return known[1]
        about = authorization_v1.ResourceAttributes(
            verb=verb, version="v1", resource="nodes", subresource=subresource, name=self._node_name
        )
        spec = authorization_v1.SubjectAccessReviewSpec(
            resource_attributes=about, user=user.name, groups=list(user.groups), uid=user.uid
        )
        try:
            review = await self._client.create(authorization_v1.SubjectAccessReview(spec=spec))
        except (ApiError, OSError):
            # nobody can say so: not allowed, and asked again next time
            return False
        if len(self._answers) >= MAX_REMEMBERED:
            self._answers.clear()
        allowed = review.status.allowed
        self._answers[key] = (now + (ALLOWED_SECONDS if allowed else DENIED_SECONDS), allowed)
        return allowed

    def _identity(self, certificate: bytes) -> UserInfo:
        known = self._seen.get(certificate)
        if known is None:
            if len(self._seen) >= MAX_REMEMBERED:
                self._seen.clear()
            known = self._seen[certificate] = _subject(certificate)
        return known


def _subject(certificate: bytes) -> UserInfo:
    from cryptography import x509
    from cryptography.x509.oid import NameOID

    subject = x509.load_der_x509_certificate(certificate).subject
    names: Sequence[str] = [str(a.value) for a in subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    groups = tuple(str(a.value) for a in subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME))
    # whoever shows a certificate that we have verified is authenticated
    return UserInfo(names[0] if names else "", (*groups, "system:authenticated"))


def _text(status: int, text: str) -> Response:
    return Response(status, text.encode(), content_type="text/plain; charset=utf-8")
