"""Service-account tokens: issued by the `token` subresource, accepted as bearer tokens while everything in them lives.

Invariants: a token is good only while its service account, and the Pod, Node or Secret it is bound to, exist with the
same UID; a token that was checked once is trusted until it expires or one of these objects changes.

Source: kubernetes `pkg/serviceaccount/claims.go`, KEP-1205 (bound tokens), KEP-4193 (node, jti).
"""

from __future__ import annotations

import base64
import hmac
import math
from typing import TYPE_CHECKING, Any

from msgspec import Struct, field

from carob.api.resources import TABLE, Resource
from carob.api.user import UserInfo
from carob.apiserver.authn.x509 import AUTHENTICATED, CREDENTIAL_ID
from carob.base.clock import parse_rfc3339
from carob.base.ids import new_uid
from carob.base.jws import InvalidToken, SigningKey, unverified_claims

if TYPE_CHECKING:
    from collections.abc import Sequence

    from carob.apiserver.types import Reader
    from carob.base.clock import Clock
    from carob.base.ids import Randomness

PREFIX = "system:serviceaccount:"
# a bound object that is being deleted keeps its tokens alive for this long, so that clean-up can still speak
LEEWAY_SECONDS = 60.0
YEAR_SECONDS = 365 * 24 * 3600
# Pods' own tokens ask for this odd duration; it marks those whose clients may be too old to reread the file
WARN_ONLY_EXPIRATION_SECONDS = 3607
_PRIVATE = "kubernetes.io"
# tokens without an end, which live in a Secret
_LEGACY_ISSUER, _LEGACY = "kubernetes/serviceaccount", "kubernetes.io/serviceaccount/"
_EXTRA = "authentication.kubernetes.io/"


def row(group: str, version: str, plural: str) -> Resource:
    """The built-in row of this name, which must exist."""
    found = TABLE.by_plural(group, version, plural)
    assert found is not None, plural
    return found


SERVICE_ACCOUNTS = row("", "v1", "serviceaccounts")
PODS = row("", "v1", "pods")
NODES = row("", "v1", "nodes")
SECRETS = row("", "v1", "secrets")
_BOUND = (("pod", PODS), ("node", NODES), ("secret", SECRETS))


class Binding(Struct, frozen=True):
    """What a token is bound to besides its service account."""

    kind: str
    """`pod`, `node` or `secret`."""
    name: str
    uid: str


class _Checked(Struct):
    user: UserInfo
    audiences: tuple[str, ...]
    expires: float
    depends_on: tuple[tuple[str, str, str], ...] = field(default_factory=tuple)


class ServiceAccountTokens:
    """Issues and checks the tokens of one cluster."""

    LIMIT = 8192

    def __init__(self, key: SigningKey, issuer: str, reader: Reader, clock: Clock, randomness: Randomness) -> None:
        self.key = key
        self.issuer = issuer
        self._reader = reader
        self._clock = clock
        self._randomness = randomness
        self._checked: dict[str, _Checked] = {}
        self._by_object: dict[tuple[str, str, str], set[str]] = {}
        for resource in (SERVICE_ACCOUNTS, PODS, NODES, SECRETS):
            reader.on_change(resource, self._forgetter(resource.plural))

    def issue(
        self,
        namespace: str,
        name: str,
        uid: str,
        audiences: Sequence[str],
        expiration_seconds: int,
        bound: Sequence[Binding] = (),
        *,
        extend: bool = False,
    ) -> str:
        """A signed token. `extend`: valid for a year, with a mark that it should have been renewed after the time asked."""
        now = int(self._clock.now())
        private: dict[str, Any] = {"namespace": namespace, "serviceaccount": {"name": name, "uid": uid}}
        for one in bound:
            private[one.kind] = {"name": one.name, "uid": one.uid}
        if extend:
            private["warnafter"] = now + expiration_seconds
        claims = {
            "aud": list(audiences),
            "exp": now + (YEAR_SECONDS if extend else expiration_seconds),
            "iat": now,
            "iss": self.issuer,
            "jti": new_uid(self._randomness),
            _PRIVATE: private,
            "nbf": now,
            "sub": f"{PREFIX}{namespace}:{name}",
        }
        return self.key.sign(claims)

    def is_ours(self, token: str) -> bool:
        """Whether the token names us as its issuer, whoever signed it."""
        if token in self._checked:
            return True
        try:
            return unverified_claims(token).get("iss") in (self.issuer, _LEGACY_ISSUER)
        except InvalidToken:
            return False

    def authenticate(self, token: str, audiences: Sequence[str] = ()) -> tuple[UserInfo, tuple[str, ...]] | None:
        """The user of a token and the audiences that it and we share; None if it is not, or no longer, good.

        `audiences` empty: the API server's own.
        """
        checked = self._checked.get(token)
        if checked is None:
            checked = self._check(token)
            if checked is None:
                return None
            self._remember(token, checked)
        if checked.expires <= self._clock.now():
            self._forget(token)
            return None
        shared = tuple(a for a in audiences or (self.issuer,) if a in checked.audiences)
        return (checked.user, shared) if shared else None

    def _check(self, token: str) -> _Checked | None:
        try:
            claims = self.key.verify(token)
        except InvalidToken:
            return None
        if claims.get("iss") == _LEGACY_ISSUER:
            return self._check_legacy(token, claims)
        now = self._clock.now()
        private = claims.get(_PRIVATE)
        if claims.get("iss") != self.issuer or not isinstance(private, dict) or claims.get("nbf", 0) > now + 10:
            return None
        namespace = private.get("namespace", "")
        account = private.get("serviceaccount") or {}
        name = account.get("name", "")
        if claims.get("sub") != f"{PREFIX}{namespace}:{name}":
            return None
        if not self._alive(SERVICE_ACCOUNTS, namespace, name, account.get("uid", "")):
            return None
        depends_on = [(SERVICE_ACCOUNTS.plural, namespace, name)]
        extra: dict[str, tuple[str, ...]] = {}
        if claims.get("jti"):
            extra[CREDENTIAL_ID] = (f"JTI={claims['jti']}",)
        for kind, resource in _BOUND:
            bound = private.get(kind)
            if not bound:
                continue
            where = namespace if resource.namespaced else ""
            # the Node of a Pod-bound token is told, not checked: the Pod's own life decides
            only_told = kind == "node" and "pod" in private
            if not only_told:
                if not self._alive(resource, where, bound.get("name", ""), bound.get("uid", "")):
                    return None
                depends_on.append((resource.plural, where, bound["name"]))
            if kind != "secret":
                extra[f"{_EXTRA}{kind}-name"] = (bound.get("name", ""),)
                extra[f"{_EXTRA}{kind}-uid"] = (bound.get("uid", ""),)
        user = service_account_user(namespace, name, account.get("uid", ""), extra)
        audience = claims.get("aud")
        audiences = (audience,) if isinstance(audience, str) else tuple(audience or ())
        return _Checked(user, audiences, float(claims.get("exp", 0)), tuple(depends_on))

    def _check_legacy(self, token: str, claims: dict[str, Any]) -> _Checked | None:
        """A token without an end is good while the Secret that holds it does."""
        wanted = ("namespace", "service-account.name", "service-account.uid", "secret.name")
        namespace, name, uid, secret_name = (str(claims.get(_LEGACY + key, "")) for key in wanted)
        secret = self._reader.get(SECRETS, namespace, secret_name)
        if secret is None or secret.metadata.deletion_timestamp:
            return None
        held = secret.data.get("token", "")
        if not hmac.compare_digest(held, base64.b64encode(token.encode()).decode()):
            return None
        if claims.get("sub") != f"{PREFIX}{namespace}:{name}" or not self._alive(
            SERVICE_ACCOUNTS, namespace, name, uid
        ):
            return None
        depends_on = ((SERVICE_ACCOUNTS.plural, namespace, name), (SECRETS.plural, namespace, secret_name))
        return _Checked(service_account_user(namespace, name, uid), (self.issuer,), math.inf, depends_on)

    def _alive(self, resource: Resource, namespace: str, name: str, uid: str) -> bool:
        found = self._reader.get(resource, namespace, name)
        if found is None or found.metadata.uid != uid:
            return False
        deleted = found.metadata.deletion_timestamp
        return not deleted or parse_rfc3339(deleted) + LEEWAY_SECONDS > self._clock.now()

    def _remember(self, token: str, checked: _Checked) -> None:
        if len(self._checked) >= self.LIMIT:
            self._forget(next(iter(self._checked)))
        self._checked[token] = checked
        for key in checked.depends_on:
            self._by_object.setdefault(key, set()).add(token)

    def _forget(self, token: str) -> None:
        checked = self._checked.pop(token, None)
        for key in checked.depends_on if checked else ():
            tokens = self._by_object.get(key)
            if tokens is not None:
                tokens.discard(token)
                if not tokens:
                    del self._by_object[key]

    def _forgetter(self, plural: str) -> Any:
        def changed(namespace: str, name: str) -> None:
            for token in tuple(self._by_object.get((plural, namespace, name), ())):
                self._forget(token)

        return changed


def service_account_user(
    namespace: str, name: str, uid: str = "", extra: dict[str, tuple[str, ...]] | None = None
) -> UserInfo:
    """The user that a service account is to authorization."""
    groups = ("system:serviceaccounts", f"system:serviceaccounts:{namespace}", AUTHENTICATED)
    return UserInfo(f"{PREFIX}{namespace}:{name}", groups, uid, extra or {})


def split_user_name(user: str) -> tuple[str, str] | None:
    """Namespace and name of a service account's user name; None if it is none."""
    if not user.startswith(PREFIX):
        return None
    namespace, separator, name = user[len(PREFIX) :].partition(":")
    return (namespace, name) if separator and namespace and name and ":" not in name else None
