"""Large answers are packed for clients of other machines that ask for it."""

from __future__ import annotations

import asyncio
import gzip

import orjson
import pytest

from carob.base.clock import SystemClock
from carob.transport.http import Request, Response
from carob.transport.server import Server
from tests.api.asking import ADMIN, Asker, WithServer
from tests.fakes.engine_world import MAPS, config_map

LARGE = 200_000


async def got(api: Asker, target: str, from_afar: bool = True, **headers: str) -> Response:
    path, _, query = target.partition("?")
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    answer = api.server.handle(Request("GET", path, query, sent, user=ADMIN, from_afar=from_afar))
    return answer if isinstance(answer, Response) else await answer


def plain(response: Response) -> bytes:
    return response.body or b"".join(response.segments or ())


@pytest.mark.parametrize("target", [f"{MAPS}/m1", MAPS, f"{MAPS}?limit=2"])
def test_what_is_large_is_packed_for_who_asks(with_server: WithServer, target: str) -> None:
    async def body(api: Asker) -> None:
        json = {"content-type": "application/json"}
        for name in ("m1", "m2", "m3"):
            tree = config_map(name, k=name * (LARGE // 2))
            assert (await api.ask("POST", MAPS, tree, headers=json))[0] == 201
        whole = plain(await got(api, target, accept="application/json"))
        packed = await got(api, target, accept_encoding="deflate, gzip")
        headers = dict(packed.headers)
        assert (headers["Content-Encoding"], headers["Vary"]) == ("gzip", "Accept-Encoding")
        assert len(packed.body) < len(whole) // 10
        assert orjson.loads(gzip.decompress(packed.body)) == orjson.loads(whole)
        for refused in (
            await got(api, target),
            await got(api, target, accept_encoding="gzip;q=0, br"),
            await got(api, target, from_afar=False, accept_encoding="gzip"),
        ):
            assert "Content-Encoding" not in dict(refused.headers)
            assert orjson.loads(plain(refused)) == orjson.loads(whole)

    with_server(body)


def test_what_is_small_travels_as_it_is(with_server: WithServer) -> None:
    async def body(api: Asker) -> None:
        answer = await got(api, "/api/v1/namespaces", accept_encoding="gzip")
        assert "Content-Encoding" not in dict(answer.headers)
        assert orjson.loads(answer.body)["kind"] == "NamespaceList"

    with_server(body)


@pytest.mark.parametrize(("source", "afar"), [("127.0.0.1", False), ("127.0.0.2", True)])
def test_a_connection_knows_whether_it_comes_from_afar(source: str, afar: bool) -> None:
    """Another address than the server's own stands for another machine here."""

    async def main() -> None:
        seen: list[bool] = []

        def handle(request: Request) -> Response:
            seen.append(request.from_afar)
            return Response(200, b"{}")

        async with Server(handle, SystemClock()) as server:
            port = await server.listen("127.0.0.1", 0)
            reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(source, 0))
            writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            assert (await reader.readline()).startswith(b"HTTP/1.1 200")
            writer.close()
        assert seen == [afar]

    asyncio.run(main())
