"""A changed AuthenticationConfiguration is used without a restart; one that is of no use changes nothing."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from carob.apiserver.authn.jwt_issuers import AuthenticationRules, load
from carob.apiserver.options import ApiServerOptions
from carob.apiserver.server import ApiServer
from carob.base.clock import SystemClock, VirtualClock
from carob.base.ids import SystemRandomness
from carob.standalone.authentication_file import INTERVAL_SECONDS, AuthenticationFile
from carob.store.memory import MemoryStore
from carob.transport.http import Request, Response

HEAD = "kind: AuthenticationConfiguration\napiVersion: apiserver.config.k8s.io/v1\n"
NOBODY = HEAD + "anonymous: {enabled: false}\n"


def test_it_is_read_again_when_it_has_changed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        file = tmp_path / "authentication.yml"
        file.write_text(HEAD)
        used: list[AuthenticationRules] = []
        clock = VirtualClock()
        watched = AuthenticationFile(AuthenticationRules(file=str(file)), "own", used.append, clock)
        task = asyncio.get_running_loop().create_task(watched.run())
        await asyncio.sleep(0)
        assert used == []
        for text, times in ((NOBODY, 1), ("nonsense", 1), (NOBODY + "\n", 1), (HEAD, 2)):
            file.write_text(text)
            await clock.advance(INTERVAL_SECONDS)
            assert len(used) == times, text
        assert [one.anonymous for one in used] == [False, True]
        assert caplog.text.count("is not used") == 1
        file.unlink()
        for _ in range(3):
            await clock.advance(INTERVAL_SECONDS)
        assert (len(used), caplog.text.count("is not used")) == (2, 2)
        file.write_text(NOBODY)
        await clock.advance(INTERVAL_SECONDS)
        assert len(used) == 3
        task.cancel()

    asyncio.run(main())


def test_a_server_uses_what_it_is_given() -> None:
    async def main() -> None:
        server = ApiServer(MemoryStore(), ApiServerOptions(), SystemClock(), SystemRandomness())
        await server.start()

        def status() -> int:
            answer = server.handle(Request("GET", "/livez"))
            assert isinstance(answer, Response)
            return answer.status

        assert status() == 200
        server.use_authentication(load(NOBODY))
        assert status() == 401
        server.use_authentication(load(HEAD))
        assert status() == 200
        await server.close()

    asyncio.run(main())
