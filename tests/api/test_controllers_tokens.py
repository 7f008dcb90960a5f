"""Tokens that live in Secrets: those of service accounts, and those by which nodes join."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest

from carob.api.types import authentication_v1, core_v1
from carob.apiserver.pki import Pki, PkiOptions, ensure_pki
from carob.base.clock import SystemClock, rfc3339
from carob.controllers.bootstrap_tokens import detached_signature
from tests.fakes.controller_world import World, in_world

TOKEN_TYPE = "kubernetes.io/service-account-token"


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    folder: Path = tmp_path_factory.mktemp("pki")
    return ensure_pki(folder, PkiOptions(), SystemClock().now())


def decoded(secret: core_v1.Secret, key: str) -> str:
    return base64.b64decode(secret.data[key]).decode()


def encoded(**fields: str) -> dict[str, str]:
    return {key.replace("_", "-"): base64.b64encode(value.encode()).decode() for key, value in fields.items()}


async def user_of(world: World, token: str) -> str:
    review = authentication_v1.TokenReview(spec=authentication_v1.TokenReviewSpec(token=token))
    answer = await world.client.create(review)
    return answer.status.user.username if answer.status.authenticated else ""


def test_a_secret_that_asks_for_a_token_gets_one_that_lives_as_long_as_it_does(pki: Pki) -> None:
    async def body(world: World) -> None:
        await world.make(core_v1.ServiceAccount, "robot", "default")
        asks: dict[str, Any] = {"annotations": {"kubernetes.io/service-account.name": "robot"}}
        for name in ("first", "second"):
            await world.make(core_v1.Secret, name, "default", type=TOKEN_TYPE, metadata=dict(asks))
            await world.until(core_v1.Secret, name, "default", lambda found: bool(found and found.data.get("token")))
        first = await world.client.get(core_v1.Secret, "first", "default")
        second = await world.client.get(core_v1.Secret, "second", "default")
        assert decoded(first, "namespace") == "default"
        assert decoded(first, "ca.crt") == pki.ca.certificate.read_text()
        token, other = decoded(first, "token"), decoded(second, "token")
        assert await user_of(world, token) == "system:serviceaccount:default:robot"
        await world.client.delete(core_v1.Secret, "first", "default")
        assert await user_of(world, token) == ""
        assert await user_of(world, other) == "system:serviceaccount:default:robot"
        forged = {"token": base64.b64encode(token.encode()).decode()}
        await world.client.patch(core_v1.Secret, "second", "default", patch={"data": forged})
        assert await user_of(world, token) == ""
        await world.client.delete(core_v1.ServiceAccount, "robot", "default")
        await world.gone(core_v1.Secret, "second", "default")
        assert await user_of(world, other) == ""

    in_world(pki, body)


def test_a_secret_without_its_account_is_taken_away(pki: Pki) -> None:
    async def body(world: World) -> None:
        asks = {"annotations": {"kubernetes.io/service-account.name": "nobody"}}
        await world.make(core_v1.Secret, "lost", "default", type=TOKEN_TYPE, metadata=asks)
        await world.gone(core_v1.Secret, "lost", "default")

    in_world(pki, body)


def test_bootstrap_tokens_vouch_for_the_cluster_until_they_expire(pki: Pki) -> None:
    async def body(world: World) -> None:
        until = rfc3339(world.clock.now() + 600)
        fields = {"token_id": "abcdef", "token_secret": "0123456789abcdef", "usage_bootstrap_signing": "true"}
        token = {"type": "bootstrap.kubernetes.io/token", "data": encoded(**fields, expiration=until)}
        await world.make(core_v1.Secret, "bootstrap-token-abcdef", "kube-system", **token)
        await world.make(core_v1.ConfigMap, "cluster-info", "kube-public", data={"kubeconfig": "where: here"})
        name = "jws-kubeconfig-abcdef"

        def vouched(content: str) -> Any:
            signature = detached_signature(content, "abcdef", "0123456789abcdef")
            return lambda found: found is not None and found.data.get(name) == signature

        await world.until(core_v1.ConfigMap, "cluster-info", "kube-public", vouched("where: here"))
        moved = {"data": {"kubeconfig": "where: there"}}
        await world.client.patch(core_v1.ConfigMap, "cluster-info", "kube-public", patch=moved)
        await world.until(core_v1.ConfigMap, "cluster-info", "kube-public", vouched("where: there"))
        await world.clock.advance(601)
        await world.gone(core_v1.Secret, "bootstrap-token-abcdef", "kube-system")
        await world.until(
            core_v1.ConfigMap, "cluster-info", "kube-public", lambda found: found is not None and name not in found.data
        )

    in_world(pki, body)


def test_the_signature_is_a_detached_json_web_signature() -> None:
    """The example of RFC 7515 appendix A.1 has another header; what is checked here is the form and the content."""
    header, content, signature = detached_signature("x", "abcdef", "secret").split(".")
    assert base64.urlsafe_b64decode(header + "==") == b'{"alg":"HS256","kid":"abcdef"}'
    assert content == ""
    assert len(base64.urlsafe_b64decode(signature + "=")) == 32
