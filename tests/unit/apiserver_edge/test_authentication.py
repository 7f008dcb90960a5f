"""Who a certificate, a token or nothing at all speaks for."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from carob.api.status import ApiError
from carob.api.user import ANONYMOUS, UserInfo
from carob.api.x509 import pem_to_der, public_key_digest, subject_and_expiry, validity
from carob.apiserver.authn import impersonation
from carob.apiserver.authn.authenticator import Authenticator
from carob.apiserver.authn.service_accounts import (
    NODES,
    PODS,
    SERVICE_ACCOUNTS,
    Binding,
    ServiceAccountTokens,
    split_user_name,
)
from carob.apiserver.pki import BACKDATE_SECONDS, DAY_SECONDS, Pki, PkiOptions, ensure_client, ensure_pki
from carob.base.clock import VirtualClock, rfc3339
from carob.base.ids import SeededRandomness
from carob.base.jws import InvalidToken, SigningKey
from carob.transport.http import Request

ISSUER = "https://kubernetes.default.svc"
START = 1_700_000_000.0


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return ensure_pki(tmp_path_factory.mktemp("pki"), PkiOptions(hostname="machine"), START)


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock(START)


@pytest.fixture
def tokens(reader: Any, pki: Pki, clock: VirtualClock) -> ServiceAccountTokens:
    reader.put({"kind": "ServiceAccount", "apiVersion": "v1", "metadata": {"name": "sa", "namespace": "a"}})
    key = SigningKey(pki.service_account_key.read_bytes())
    return ServiceAccountTokens(key, ISSUER, reader, clock, SeededRandomness(1))


def authenticator(reader: Any, clock: VirtualClock, tokens: ServiceAccountTokens | None = None) -> Authenticator:
    return Authenticator(reader, clock, tokens, {"sesame": UserInfo("ali", ("thieves",))})


def bearer(token: str) -> Request:
    return Request("GET", "/api", headers={"authorization": f"Bearer {token}"})


def issue(tokens: ServiceAccountTokens, *bound: Binding, seconds: int = 3600) -> str:
    return tokens.issue("a", "sa", "uid-of-sa", [ISSUER], seconds, bound)


def test_a_certificate_names_a_user_and_its_groups(pki: Pki, reader: Any, clock: VirtualClock) -> None:
    der = pem_to_der(ensure_client(pki, "bob", "bob", ("devs", "ops"), START).certificate.read_bytes())
    user = authenticator(reader, clock).authenticate(Request("GET", "/", peer_certificate=der))
    assert (user.name, user.groups) == ("bob", ("devs", "ops", "system:authenticated"))
    assert user.extra["authentication.kubernetes.io/credential-id"][0].startswith("X509SHA256=")


def test_a_certificate_counts_until_it_expires(pki: Pki, reader: Any) -> None:
    der = pem_to_der(pki.admin.certificate.read_bytes())
    _, _, not_after = subject_and_expiry(der)
    assert validity(der) == (START - BACKDATE_SECONDS, not_after)
    late = VirtualClock(not_after + 1)
    assert authenticator(reader, late).authenticate(Request("GET", "/", peer_certificate=der)) is ANONYMOUS


def test_a_pin_is_of_the_key_and_outlives_the_certificate(tmp_path: Path) -> None:
    """As `openssl x509 -pubkey | openssl pkey -pubin -outform der | sha256sum` has it."""
    first = ensure_pki(tmp_path, PkiOptions(hostname="machine"), START).ca.certificate.read_bytes()
    certificate = x509.load_pem_x509_certificate(first)
    encoded = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    assert public_key_digest(pem_to_der(first)) == hashlib.sha256(encoded).hexdigest()
    late = START + 3000 * DAY_SECONDS
    renewed = ensure_pki(tmp_path, PkiOptions(hostname="machine"), late).ca.certificate.read_bytes()
    assert renewed != first
    assert public_key_digest(pem_to_der(renewed)) == public_key_digest(pem_to_der(first))
    with pytest.raises(ValueError, match="DER"):
        public_key_digest(b"nonsense")


def test_what_is_no_certificate_speaks_for_nobody(reader: Any, clock: VirtualClock) -> None:
    for der in (b"", b"\x30\x82\xff\xff", b"\x30\x03\x02\x01\x01", bytes(300)):
        assert authenticator(reader, clock).authenticate(Request("GET", "/", peer_certificate=der)) is ANONYMOUS


def test_credentials_that_are_none_are_anonymous_and_bad_ones_are_refused(reader: Any, clock: VirtualClock) -> None:
    who = authenticator(reader, clock)
    assert who.authenticate(Request("GET", "/")) is ANONYMOUS
    assert who.authenticate(Request("GET", "/", headers={"authorization": "Basic eDp5"})) is ANONYMOUS
    assert who.authenticate(bearer("sesame")).name == "ali"
    with pytest.raises(ApiError) as refused:
        who.authenticate(bearer("nope"))
    assert refused.value.code == 401


def test_a_user_that_the_transport_set_is_believed(reader: Any, clock: VirtualClock) -> None:
    user = UserInfo("system:kube-scheduler")
    assert authenticator(reader, clock).authenticate(Request("GET", "/", user=user)) is user


def test_a_service_account_token(reader: Any, clock: VirtualClock, tokens: ServiceAccountTokens) -> None:
    user = authenticator(reader, clock, tokens).authenticate(bearer(issue(tokens)))
    assert user.name == "system:serviceaccount:a:sa"
    assert user.groups == ("system:serviceaccounts", "system:serviceaccounts:a", "system:authenticated")
    assert user.uid == "uid-of-sa"


def test_a_token_ends_with_its_time(clock: VirtualClock, tokens: ServiceAccountTokens) -> None:
    token = issue(tokens)
    assert tokens.authenticate(token) is not None
    clock._now += 3601
    assert tokens.authenticate(token) is None


def test_a_token_ends_with_its_account(reader: Any, tokens: ServiceAccountTokens) -> None:
    token = issue(tokens)
    assert tokens.authenticate(token) is not None
    reader.delete(SERVICE_ACCOUNTS, "a", "sa")
    assert tokens.authenticate(token) is None
    reader.put(
        {
            "kind": "ServiceAccount",
            "apiVersion": "v1",
            "metadata": {"name": "sa", "namespace": "a", "uid": "another"},
        }
    )
    assert tokens.authenticate(token) is None


def test_a_bound_token_ends_with_its_pod(reader: Any, clock: VirtualClock, tokens: ServiceAccountTokens) -> None:
    tree: dict[str, Any] = {"kind": "Pod", "apiVersion": "v1", "metadata": {"name": "p", "namespace": "a"}}
    reader.put(tree)
    token = issue(tokens, Binding("pod", "p", "uid-of-p"), Binding("node", "n", "uid-of-n"))
    found = tokens.authenticate(token)
    assert found is not None
    assert found[0].extra["authentication.kubernetes.io/pod-name"] == ("p",)
    assert found[0].extra["authentication.kubernetes.io/node-name"] == ("n",)
    # a Pod that is going keeps its token for a minute, so that clean-up can still speak
    reader.put(tree | {"metadata": tree["metadata"] | {"deletionTimestamp": rfc3339(clock.now())}})
    assert tokens.authenticate(token) is not None
    reader.delete(PODS, "a", "p")
    assert tokens.authenticate(token) is None


def test_a_token_that_is_bound_to_a_node_alone_ends_with_the_node(reader: Any, tokens: ServiceAccountTokens) -> None:
    reader.put({"kind": "Node", "apiVersion": "v1", "metadata": {"name": "n"}})
    token = issue(tokens, Binding("node", "n", "uid-of-n"))
    assert tokens.authenticate(token) is not None
    reader.delete(NODES, "", "n")
    assert tokens.authenticate(token) is None


def test_audiences_must_meet(tokens: ServiceAccountTokens) -> None:
    token = tokens.issue("a", "sa", "uid-of-sa", ["vault", "other"], 3600)
    assert tokens.authenticate(token) is None
    found = tokens.authenticate(token, ["vault", "unknown"])
    assert found is not None
    assert found[1] == ("vault",)


def test_a_changed_token_is_no_token(tokens: ServiceAccountTokens) -> None:
    head, claims, signature = issue(tokens).split(".")
    forged = base64.urlsafe_b64encode(base64.urlsafe_b64decode(claims + "==").replace(b":sa", b":xx")).rstrip(b"=")
    for bad in (f"{head}.{forged.decode()}.{signature}", f"{head}.{claims}.{'A' * 86}", f"{head}.{claims}.", "a.b.c"):
        assert tokens.authenticate(bad) is None


def test_another_algorithm_is_refused(pki: Pki) -> None:
    key = SigningKey(pki.service_account_key.read_bytes())
    _, claims, signature = key.sign({"iss": ISSUER}).split(".")
    none = base64.urlsafe_b64encode(b'{"alg":"none"}').rstrip(b"=").decode()
    with pytest.raises(InvalidToken):
        key.verify(f"{none}.{claims}.{signature}")


def secret(**data: str) -> dict[str, Any]:
    encoded = {key.replace("_", "-"): base64.b64encode(value.encode()).decode() for key, value in data.items()}
    return {
        "kind": "Secret",
        "apiVersion": "v1",
        "metadata": {"name": "bootstrap-token-abcdef", "namespace": "kube-system"},
        "type": "bootstrap.kubernetes.io/token",
        "data": encoded,
    }


GOOD = {
    "token_id": "abcdef",
    "token_secret": "0123456789abcdef",
    "usage_bootstrap_authentication": "true",
    "auth_extra_groups": "system:bootstrappers:carob",
}


@pytest.mark.parametrize(
    ("change", "good"),
    [
        ({}, True),
        ({"token_secret": "fedcba9876543210"}, False),
        ({"usage_bootstrap_authentication": "false"}, False),
        ({"expiration": rfc3339(START - 1)}, False),
        ({"expiration": rfc3339(START + 60)}, True),
        ({"expiration": "soon"}, False),
        ({"auth_extra_groups": "system:masters"}, False),
    ],
)
def test_bootstrap_tokens(reader: Any, clock: VirtualClock, change: dict[str, str], good: bool) -> None:
    reader.put(secret(**(GOOD | change)))
    who = authenticator(reader, clock)
    if not good:
        with pytest.raises(ApiError):
            who.authenticate(bearer("abcdef.0123456789abcdef"))
        return
    user = who.authenticate(bearer("abcdef.0123456789abcdef"))
    assert user.name == "system:bootstrap:abcdef"
    assert user.groups[:2] == ("system:bootstrappers", "system:bootstrappers:carob")


def test_impersonating_a_group_needs_a_user() -> None:
    with pytest.raises(ApiError) as refused:
        impersonation.requested({"impersonate-group": "g"})
    assert refused.value.message == (
        'requested &user.DefaultInfo{Name:"", UID:"", Groups:[]string{"g"}, Extra:map[string][]string(nil)} '
        "without impersonating a user name"
    )


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("system:serviceaccount:a:b", ("a", "b")),
        ("system:serviceaccount:bad", None),
        ("system:serviceaccount:a:b:c", None),
        ("bob", None),
    ],
)
def test_names_of_service_accounts(name: str, found: tuple[str, str] | None) -> None:
    assert split_user_name(name) == found


PROTOCOL = "base64url.bearer.authorization.k8s.io."


def offering(protocols: str, upgrade: str = "websocket") -> Request:
    return Request("GET", "/api/v1/pods", headers={"upgrade": upgrade, "sec-websocket-protocol": protocols})


@pytest.mark.parametrize("before", [True, False])
def test_a_websocket_may_bring_its_token_among_the_protocols(reader: Any, clock: VirtualClock, before: bool) -> None:
    """Nobody behind the authenticator sees the token, and who asks twice hears the same."""
    token = PROTOCOL + base64.urlsafe_b64encode(b"sesame").decode().rstrip("=")
    request = offering(f"{token}, v5.channel.k8s.io" if before else f"v5.channel.k8s.io,{token}")
    known = authenticator(reader, clock)
    assert known.authenticate(request).name == known.authenticate(request).name == "ali"
    assert request.headers["sec-websocket-protocol"] == "v5.channel.k8s.io"


def test_tokens_among_protocols_count_for_websockets_alone(reader: Any, clock: VirtualClock) -> None:
    token = PROTOCOL + base64.urlsafe_b64encode(b"sesame").decode().rstrip("=")
    known = authenticator(reader, clock)
    assert known.authenticate(offering(f"{token},x", "SPDY/3.1")) is ANONYMOUS
    assert known.authenticate(offering("x,y")) is ANONYMOUS
    assert known.authenticate(offering(f"{PROTOCOL},x")) is ANONYMOUS


@pytest.mark.parametrize(
    "protocols",
    [
        "{good}",
        "{good},{good},x",
        "{prefix}!,x",
        "{prefix}c2VzYW1=,x",
        "{prefix}a,x",
        "{prefix}_w,x",
        "{prefix}b3BlbiBzZXNhbWU,x",
    ],
)
def test_a_token_among_protocols_that_is_no_good_is_refused(reader: Any, clock: VirtualClock, protocols: str) -> None:
    good = PROTOCOL + base64.urlsafe_b64encode(b"sesame").decode().rstrip("=")
    with pytest.raises(ApiError) as refusal:
        authenticator(reader, clock).authenticate(offering(protocols.format(good=good, prefix=PROTOCOL)))
    assert refusal.value.code == 401
