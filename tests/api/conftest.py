"""What tests of the API server over its handler share."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from carob.apiserver.options import ApiServerOptions
from carob.apiserver.pki import PkiOptions, ensure_pki
from carob.apiserver.server import ApiServer
from carob.base.clock import SystemClock
from carob.base.ids import SystemRandomness
from carob.store.memory import MemoryStore
from tests.api.asking import Asker, WithServer


@pytest.fixture(scope="module")
def options(tmp_path_factory: pytest.TempPathFactory) -> ApiServerOptions:
    pki = ensure_pki(tmp_path_factory.mktemp("pki"), PkiOptions(), SystemClock().now())
    return ApiServerOptions(
        client_ca_pem=pki.ca.certificate.read_bytes(), service_account_key_pem=pki.service_account_key.read_bytes()
    )


@pytest.fixture
def with_server(options: ApiServerOptions) -> WithServer:
    def run(body: Callable[[Asker], Awaitable[None]]) -> None:
        async def main() -> None:
            server = ApiServer(MemoryStore(), options, SystemClock(), SystemRandomness())
            await server.start()
            try:
                await body(Asker(server))
            finally:
                await server.close()

        asyncio.run(main())

    return run
