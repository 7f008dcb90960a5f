"""A server that believes an OpenID Connect issuer, which it finds over TLS: first contact, reviews, the anonymous."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import orjson
import pytest

from carob.api.user import UserInfo
from carob.apiserver.authn.jwt_issuers import AuthenticationRules, JwtIssuer
from carob.apiserver.options import ApiServerOptions
from carob.apiserver.server import ApiServer
from carob.base.clock import SystemClock
from carob.base.ids import SystemRandomness
from carob.store.memory import MemoryStore
from carob.transport.http import Request, Response
from carob.transport.server import Server
from carob.transport.tls import server_context
from tests.fakes.certificates import make_certificates
from tests.fakes.token_issuer import CLIENT, TokenIssuer
from tests.ports import free_port

ADMIN = UserInfo("admin", ("system:masters",))
SELF = "/apis/authentication.k8s.io/v1/selfsubjectreviews"


async def ask(server: ApiServer, method: str, path: str, tree: Any = None, token: str = "", **more: Any) -> Any:
    headers = {"content-type": "application/json"} | ({"authorization": f"Bearer {token}"} if token else {})
    body = b"" if tree is None else orjson.dumps(tree)
    answer = server.handle(Request(method, path, "", headers, body, **more))
    response = answer if isinstance(answer, Response) else await answer
    return response.status, orjson.loads(
        response.body
    ) if response.content_type == "application/json" else response.body


@pytest.mark.slow
def test_tokens_of_an_issuer_over_tls(tmp_path: Path) -> None:
    files = make_certificates(tmp_path)
    authority = Path(files["ca"]).read_text()

    async def main() -> None:
        port = free_port()
        issuer = TokenIssuer(f"https://127.0.0.1:{port}/realm")

        def documents(request: Request) -> Response:
            found = issuer.documents().get(f"https://127.0.0.1:{port}{request.path}")
            return Response(body=orjson.dumps(found)) if found else Response(404)

        web = Server(documents, SystemClock(), tls=server_context(files["server"], files["server_key"]))
        await web.listen("127.0.0.1", port)
        rules = AuthenticationRules(
            (
                JwtIssuer(
                    issuer.url,
                    (CLIENT,),
                    certificate_authority=authority,
                    username_prefix="oidc:",
                    groups_claim="groups",
                ),
                JwtIssuer("https://127.0.0.1:1/nobody", (CLIENT,)),
            ),
            anonymous_paths=("/livez",),
        )
        server = ApiServer(MemoryStore(), ApiServerOptions(authentication=rules), SystemClock(), SystemRandomness())
        await server.start()
        try:
            now = time.time()
            token = issuer.token(now, groups=["devs"])
            status, review = await ask(server, "POST", SELF, {}, token)
            assert status == 201
            user = review["status"]["userInfo"]
            assert (user["username"], user["groups"]) == ("oidc:jane", ["devs", "system:authenticated"])
            status, refused = await ask(server, "GET", "/api/v1/pods", None, token)
            assert status == 403
            assert 'User "oidc:jane" cannot list resource "pods"' in refused["message"]
            # an issuer that cannot be reached, and one that nobody knows
            for other in ("https://127.0.0.1:1/nobody", "https://unknown.test"):
                assert (await ask(server, "POST", SELF, {}, issuer.token(now, iss=other)))[0] == 401
            review = {"spec": {"token": issuer.token(now, sub="joe")}}
            path = "/apis/authentication.k8s.io/v1/tokenreviews"
            _, answer = await ask(server, "POST", path, review, user=ADMIN)
            assert answer["status"]["user"]["username"] == "oidc:joe"
            assert answer["status"]["authenticated"]
            _, answer = await ask(server, "POST", path, {"spec": {"token": token + "x"}}, user=ADMIN)
            assert answer["status"] == {"error": "invalid bearer token", "user": {}}
            assert (await ask(server, "GET", "/livez"))[0] == 200
            assert (await ask(server, "GET", "/version"))[0] == 401
        finally:
            await server.close()
            await web.close()

    asyncio.run(main())


def test_keys_that_are_wanted_by_a_review_first(tmp_path: Path) -> None:
    """TokenReview, too, waits for the issuer's keys: here they cannot be had, and the answer is an honest no."""

    async def main() -> None:
        rules = AuthenticationRules((JwtIssuer("https://127.0.0.1:1/nobody", (CLIENT,)),))
        server = ApiServer(MemoryStore(), ApiServerOptions(authentication=rules), SystemClock(), SystemRandomness())
        await server.start()
        try:
            token = TokenIssuer("https://127.0.0.1:1/nobody").token(time.time())
            path = "/apis/authentication.k8s.io/v1/tokenreviews"
            status, answer = await ask(server, "POST", path, {"spec": {"token": token}}, user=ADMIN)
            assert (status, answer["status"]["error"]) == (201, "invalid bearer token")
        finally:
            await server.close()

    asyncio.run(main())
