"""Tokens of issuers outside of the cluster: who they speak for, which are refused, and how keys come and change."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import pytest

from carob.api.user import UserInfo
from carob.apiserver.authn.jwt_issuers import USUAL, ConfigError, JwtIssuer, keep, kept, load
from carob.apiserver.authn.keys_wanted import KeysWanted
from carob.apiserver.authn.oidc import OidcTokens
from carob.base.clock import VirtualClock
from tests.fakes.token_issuer import CLIENT, URL, TokenIssuer

NOW = 1_800_000_000.0
API = "https://kubernetes.default.svc"


class World:
    def __init__(self, **settings: Any) -> None:
        self.clock = VirtualClock(NOW)
        self.issuer = TokenIssuer()
        rules = msgspec.structs.replace(JwtIssuer(URL, (CLIENT,)), **settings)
        self.tokens = OidcTokens([rules], (API,), self.issuer, self.clock)

    async def who(self, token: str, *audiences: str) -> UserInfo | None:
        """As the server asks: once more when what is missing is here."""
        for _ in range(5):
            try:
                found = self.tokens.authenticate(token, audiences)
            except KeysWanted as wanted:
                await wanted.keys.refreshed()
            else:
                return found[0] if found else None
        raise AssertionError("it asks for ever")


def run(body: Callable[[], Awaitable[None]]) -> None:
    async def main() -> None:
        await body()

    asyncio.run(main())


def test_claims_become_a_user() -> None:
    async def body() -> None:
        world = World(
            username_claim="email", username_prefix="oidc:", groups_claim="teams", groups_prefix="t:", uid_claim="uuid"
        )
        token = world.issuer.token(NOW, email="j@x", email_verified=True, teams=["a", "b"], uuid="42")
        user = await world.who(token)
        assert user is not None
        assert (user.name, user.uid) == ("oidc:j@x", "42")
        assert user.groups == ("t:a", "t:b", "system:authenticated")
        one = await world.who(world.issuer.token(NOW, email="j@x", teams="only", uuid="1", aud=["other", CLIENT]))
        assert one is not None
        assert one.groups == ("t:only", "system:authenticated")

    run(body)


@pytest.mark.parametrize(
    "claims",
    [
        {"aud": "somebody else"},
        {"aud": None},
        {"exp": int(NOW) - 1},
        {"exp": None},
        {"exp": "later"},
        {"nbf": int(NOW) + 400},
        {"sub": None},
        {"sub": ""},
        {"tenant": "b"},
        {"tenant": None},
        {"groups": 7},
        {"groups": ["a", 7]},
    ],
    ids=str,
)
def test_tokens_that_do_not_count(claims: dict[str, Any]) -> None:
    async def body() -> None:
        world = World(required_claims={"tenant": "a"}, groups_claim="groups")
        good: dict[str, Any] = {"tenant": "a", "groups": ["g"]}
        assert await world.who(world.issuer.token(NOW, **good)) is not None
        assert await world.who(world.issuer.token(NOW, **good | claims)) is None

    run(body)


def test_an_address_that_nobody_verified_is_no_name() -> None:
    async def body() -> None:
        world = World(username_claim="email")
        assert await world.who(world.issuer.token(NOW, email="j@x", email_verified=False)) is None
        assert await world.who(world.issuer.token(NOW, email="j@x")) is not None

    run(body)


def test_what_others_signed_and_what_is_no_token() -> None:
    async def body() -> None:
        world, stranger = World(), TokenIssuer()
        assert await world.who(stranger.token(NOW)) is None
        assert await world.who(world.issuer.token(NOW, iss="https://elsewhere")) is None
        good = world.issuer.token(NOW)
        head, claims, signature = good.split(".")
        for odd in (
            "",
            "a.b.c",
            f"{head}.{claims}.",
            f"{head}.{claims}.AAAA",
            f"{claims}.{head}.{signature}",
            "x" * 99999,
        ):
            assert await world.who(odd) is None
        import jwt

        assert await world.who(jwt.encode({"iss": URL, "aud": CLIENT, "sub": "x", "exp": NOW + 9}, "", "none")) is None

    run(body)


def test_only_the_algorithms_that_are_allowed() -> None:
    async def body() -> None:
        world = World(signing_algorithms=("RS256",))
        world.issuer.add_key("rsa", "RS256")
        world.issuer.add_key("pss", "PS256")
        assert await world.who(world.issuer.token(NOW, "rsa")) is not None
        assert await world.who(world.issuer.token(NOW, "first")) is None
        assert await world.who(world.issuer.token(NOW, "pss")) is None

    run(body)


def test_keys_are_fetched_once_and_again_when_a_new_one_is_named() -> None:
    async def body() -> None:
        world = World()
        tokens = [world.issuer.token(NOW, sub=f"u{number}") for number in range(20)]
        users = await asyncio.gather(*(world.who(token) for token in tokens))
        assert [user.name for user in users if user] == [f"u{number}" for number in range(20)]
        assert len(world.issuer.fetched) == 2
        world.issuer.add_key("second")
        rotated = world.issuer.token(NOW, "second")
        # too soon after the last time: nobody makes us call the issuer as often as they like
        assert await world.who(rotated) is None
        await world.clock.advance(11)
        assert await world.who(rotated) is not None
        assert await world.who(tokens[0]) is not None
        del world.issuer.keys["first"]
        world.issuer.add_key("third")
        await world.clock.advance(11)
        assert await world.who(world.issuer.token(NOW, "third")) is not None
        # what an old key signed is judged anew, and refused
        assert await world.who(tokens[0]) is None
        assert len(world.issuer.fetched) == 6

    run(body)


def test_a_token_without_a_key_name_is_tried_with_each() -> None:
    async def body() -> None:
        world = World()
        world.issuer.add_key("second")
        import jwt

        claims = {"iss": URL, "aud": CLIENT, "sub": "x", "exp": int(NOW) + 60}
        token = jwt.encode(claims, world.issuer.keys["second"][1], "ES256")
        assert await world.who(token) is not None

    run(body)


def test_an_issuer_that_is_broken_for_a_while() -> None:
    async def body() -> None:
        world = World()
        world.issuer.broken = True
        token = world.issuer.token(NOW)
        assert await world.who(token) is None
        assert len(world.issuer.fetched) == 1
        world.issuer.broken = False
        await world.clock.advance(11)
        assert await world.who(token) is not None
        # known tokens need no keys until they end
        world.issuer.broken = True
        assert await world.who(token) is not None
        await world.clock.advance(600)
        assert await world.who(token) is None

    run(body)


PLACE = "https://groups.test/jane"


def elsewhere(**place: Any) -> dict[str, Any]:
    return {"_claim_names": {"groups": "src"}, "_claim_sources": {"src": {"endpoint": PLACE, **place}}}


def test_groups_may_stand_elsewhere() -> None:
    async def body() -> None:
        world = World(groups_claim="groups", groups_prefix="g:")
        other = TokenIssuer("https://groups.test")
        world.issuer.others = [other]
        world.issuer.texts[f"{PLACE} secret"] = other.token(NOW, groups=["a"])
        token = world.issuer.token(NOW, **elsewhere(access_token="secret"))
        user = await world.who(token)
        assert user is not None
        assert user.groups == ("g:a", "system:authenticated")
        fetched = len(world.issuer.fetched)
        assert await world.who(world.issuer.token(NOW, sub="joe", **elsewhere(access_token="secret"))) is not None
        assert len(world.issuer.fetched) == fetched
        # what stands in the token itself counts, and what is said of other claims does not
        own = await world.who(world.issuer.token(NOW, groups=["b"], **elsewhere()))
        assert own is not None
        assert own.groups[0] == "g:b"
        none = await world.who(world.issuer.token(NOW, _claim_names={"email": "src"}))
        assert none is not None
        assert none.groups == ("system:authenticated",)
        # the token there ends first, and is fetched anew
        world.issuer.texts[f"{PLACE} secret"] = other.token(NOW + 500, groups=["c"])
        await world.clock.advance(601)
        later = await world.who(world.issuer.token(NOW + 601, **elsewhere(access_token="secret")))
        assert later is not None
        assert later.groups[0] == "g:c"
        await world.tokens.close()

    run(body)


@pytest.mark.parametrize(
    ("claims", "text"),
    [
        (elsewhere(), None),
        (elsewhere(), "nonsense"),
        (elsewhere(), {"groups": None}),
        (elsewhere(), {"groups": 7}),
        (elsewhere(), {"groups": ["a"], "aud": "somebody else"}),
        (elsewhere(), {"groups": ["a"], "exp": int(NOW) - 1}),
        (elsewhere(), {"groups": ["a"], "iss": "http://issuer.test"}),
        (elsewhere(), {"groups": ["a"], "iss": "https://stranger.test"}),
        (elsewhere(endpoint=7), {"groups": ["a"]}),
        (elsewhere(endpoint=""), {"groups": ["a"]}),
        (elsewhere() | {"_claim_sources": {}}, {"groups": ["a"]}),
        ({"_claim_names": {"groups": ["src"]}}, {"groups": ["a"]}),
    ],
    ids=str,
)
def test_claims_elsewhere_that_do_not_count(claims: dict[str, Any], text: Any) -> None:
    async def body() -> None:
        world = World(groups_claim="groups")
        if text is not None:
            world.issuer.texts[PLACE] = text if isinstance(text, str) else world.issuer.token(NOW, **text)
        assert await world.who(world.issuer.token(NOW, **claims)) is None
        # nobody makes us ask as often as they like
        fetched = len(world.issuer.fetched)
        assert await world.who(world.issuer.token(NOW, sub="joe", **claims)) is None
        assert len(world.issuer.fetched) == fetched
        await world.tokens.close()

    run(body)


EXPRESSIONS = """
apiVersion: apiserver.config.k8s.io/v1
kind: AuthenticationConfiguration
jwt:
- issuer: {url: "https://issuer.test/realm", audiences: [carob]}
  claimValidationRules:
  - {expression: "claims.hd == 'example.com'", message: another domain}
  - {expression: "claims.exp - claims.iat <= 86400"}
  claimMappings:
    username: {expression: "claims.email_verified ? claims.email.split('@')[0] : claims.sub"}
    groups: {expression: "claims.roles.filter(r, r.startsWith('k8s-')).map(r, 'oidc:' + r)"}
    uid: {expression: "string(claims.n)"}
    extra: [{key: example.com/tenant, valueExpression: "claims.hd"}, {key: example.com/none, valueExpression: "''"}]
  userValidationRules:
  - {expression: "!user.username.startsWith('system:')", message: reserved}
  - {expression: "user.groups.all(g, g != 'oidc:k8s-root')"}
"""


def test_expressions_say_who_it_is() -> None:
    async def body() -> None:
        world = World()
        (rules,) = load(EXPRESSIONS).issuers
        world.tokens = OidcTokens([rules], (API,), world.issuer, world.clock)
        good: dict[str, Any] = {"hd": "example.com", "email": "jane@example.com", "email_verified": True, "n": 7}
        good["roles"] = ["k8s-dev", "other"]
        user = await world.who(world.issuer.token(NOW, **good))
        assert user is not None
        assert (user.name, user.uid, user.groups) == ("jane", "7", ("oidc:k8s-dev", "system:authenticated"))
        assert user.extra == {"example.com/tenant": ("example.com",)}
        other = await world.who(world.issuer.token(NOW, **good | {"email_verified": False}))
        assert other is not None
        assert other.name == "jane"
        for wrong in (
            {"hd": "elsewhere"},
            {"hd": None},
            {"exp": int(NOW) + 100_000},
            {"email_verified": False, "sub": "system:admin"},
            {"email_verified": False, "sub": ""},
            {"roles": ["k8s-root"]},
            {"roles": "k8s-dev"},
            {"roles": [1]},
        ):
            assert await world.who(world.issuer.token(NOW, **good | wrong)) is None, wrong

    run(body)


def test_audiences_of_a_review() -> None:
    async def body() -> None:
        world = World()
        token = world.issuer.token(NOW)
        assert await world.who(token, API, "x") is not None
        assert world.tokens.authenticate(token, ("x", API)) == (await world.who(token), (API,))
        assert await world.who(token, "x") is None

    run(body)


GOOD = """
apiVersion: apiserver.config.k8s.io/v1
kind: AuthenticationConfiguration
jwt:
- issuer: {url: "https://a.test/x", audiences: [one, two], audienceMatchPolicy: MatchAny, discoveryURL: "https://b.test/d"}
  claimValidationRules: [{claim: tenant, requiredValue: t}]
  claimMappings:
    username: {claim: email, prefix: ""}
    groups: {claim: g, prefix: "g:"}
    uid: {claim: u}
anonymous: {enabled: true, conditions: [{path: /livez}]}
"""


def test_a_configuration_is_read_and_kept() -> None:
    rules = load(GOOD)
    assert rules.anonymous_paths == ("/livez",)
    (issuer,) = rules.issuers
    assert issuer == JwtIssuer(
        "https://a.test/x", ("one", "two"), "https://b.test/d", "", "email", "", "g", "g:", "u", {"tenant": "t"}
    )
    assert kept(keep(rules)) == rules
    assert load("{apiVersion: apiserver.config.k8s.io/v1, kind: AuthenticationConfiguration}") == USUAL


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("https://a.test/x", "http://a.test/x", 'jwt[0].issuer.url: Invalid value: "http://a.test/x": URL scheme must be https'),
        ("https://a.test/x", API, "URL must not overlap with disallowed issuers"),
        ("https://a.test/x", "https://u:p@a.test", "URL must not contain a username or password"),
        ("https://b.test/d", "https://a.test/x/", "discoveryURL must be different from URL"),
        ("[one, two]", "[]", "jwt[0].issuer.audiences: Required value"),
        ("audienceMatchPolicy: MatchAny", "audienceMatchPolicy: x", "audienceMatchPolicy must be MatchAny"),
        ('email, prefix: ""', "email", "jwt[0].claimMappings.username.prefix: Required value"),
        ("{claim: u}", '{expression: "claims.u +"}', "jwt[0].claimMappings.uid.expression: Invalid value"),
        ("{claim: u}", '{expression: "1 + 1"}', "must evaluate to string, not int"),
        ("{claim: u}", '{claim: u, expression: "claims.u"}', "claim and expression can't both be set"),
        ('{claim: email, prefix: ""}', '{expression: "claims.email"}', "claims.email_verified must be used"),
        ('{claim: email, prefix: ""}', '{expression: "claims.sub", prefix: x}', "prefix can't be set when expression"),
        ("{claim: u}", '{claim: u}\n    extra: [{key: x, valueExpression: "claims.u"}]', "must be a domain-prefixed path"),
        ("{claim: u}", '{claim: u}\n    extra: [{key: a.k8s.io/x, valueExpression: "claims.u"}]', "are reserved"),
        ("{claim: tenant, requiredValue: t}", "{expression: x}", "claimValidationRules[0].expression: Invalid value"),
        ("{claim: tenant, requiredValue: t}", "{message: x}", "claim or expression is required"),
        ("anonymous:", "  userValidationRules: [{expression: '1'}]\nanonymous:", "must evaluate to bool, not int"),
        ("enabled: true", "enabled: false", "anonymous.conditions: Invalid value"),
        ("jwt:", "jwts:", "jwts: unknown field"),
        ("apiserver.config.k8s.io/v1", "v1", "apiVersion"),
        ("AuthenticationConfiguration", "X", "no AuthenticationConfiguration"),
        ("jwt:", "jwt: [", "no YAML"),
        ("{claim: email", "[{claim: email", "no YAML"),
        ("anonymous: {", "anonymous: 1\nx: {", "anonymous: Invalid value: must be an object"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_configuration(old: str, new: str, words: str) -> None:
    with pytest.raises(ConfigError) as refused:
        load(GOOD.replace(old, new), API)
    assert words in str(refused.value)
