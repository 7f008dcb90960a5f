"""Whatever a client sends, the server answers, and never with a 5xx: `scripts/soak requests` in short.

A failure prints the request; the seed and the count of requests before it repeat it.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from carob.api.resources import BUILT_IN, Resource
from carob.api.user import UserInfo
from carob.apiserver.options import ApiServerOptions
from carob.apiserver.pki import PkiOptions, ensure_pki
from carob.apiserver.server import ApiServer
from carob.base.clock import SystemClock
from carob.base.ids import SeededRandomness
from carob.store.memory import MemoryStore
from carob.transport.memory import MemoryTransport
from tests.fuzzing.judge import NAMESPACE, Judge
from tests.fuzzing.requests import Requests, Wanted
from tests.fuzzing.values import Values

ADMIN = UserInfo("admin", ("system:masters", "system:authenticated"))
KINDS = [row for row in BUILT_IN if row.kind and "create" in row.verbs and row.plural != "namespaces"]


@pytest.fixture(scope="module")
def options(tmp_path_factory: pytest.TempPathFactory) -> ApiServerOptions:
    pki = ensure_pki(tmp_path_factory.mktemp("pki"), PkiOptions(), SystemClock().now())
    return ApiServerOptions(
        client_ca_pem=pki.ca.certificate.read_bytes(), service_account_key_pem=pki.service_account_key.read_bytes()
    )


def judged(options: ApiServerOptions, body: Callable[[Judge], Awaitable[None]]) -> None:
    """Run `body` against a new server; fail with what the server should not have answered."""

    async def main() -> None:
        server = ApiServer(MemoryStore(), options, SystemClock(), SeededRandomness(1))
        await server.start()
        transport = MemoryTransport(server.handle, ADMIN)
        try:
            judge = Judge(transport)
            await judge.prepare()
            await body(judge)
        finally:
            await transport.close()
            await server.close()
        assert not judge.faults, "\n\n".join(judge.faults[:10])

    asyncio.run(main())


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
def test_requests_of_every_sort(options: ApiServerOptions, seed: int) -> None:
    async def body(judge: Judge) -> None:
        requests = Requests(seed, await judge.schemas())
        await judge.run(requests, 2000)
        # a stream of nothing but refusals would prove little
        assert judge.codes[201] > 100
        assert judge.codes[200] > 200
        assert judge.codes[422] > 100

    judged(options, body)


@pytest.mark.slow
def test_manifests_that_hypothesis_makes(options: ApiServerOptions) -> None:
    """Created, applied, merged into what is there, listed as a table: each made from nothing but its schema."""

    async def body(judge: Judge) -> None:
        schemas = await judge.schemas()
        by_kind = {
            (f"{it['group']}/{it['version']}".removeprefix("/"), it["kind"]): schema
            for schema in schemas.values()
            for it in schema.get("x-kubernetes-group-version-kind", ())
        }
        wanted: list[Wanted] = []

        @settings(
            max_examples=30,
            derandomize=True,
            database=None,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            phases=(Phase.generate,),
        )
        @given(st.randoms(use_true_random=False), st.lists(st.sampled_from(KINDS), min_size=2, max_size=4))
        def make(random: Random, rows: list[Resource]) -> None:
            values = Values(random, schemas)
            for row in rows:
                wanted.extend(requests_for(row, values.value(by_kind[row.api_version, row.kind])))

        make()
        for one in wanted:
            status, _, answer = await judge.ask(one)
            assert status < 500, (one, answer)

    judged(options, body)


def requests_for(row: Resource, tree: Any) -> list[Wanted]:
    if isinstance(tree, dict):
        tree |= {"kind": row.kind, "apiVersion": row.api_version}
        if isinstance(tree.get("metadata", {}), dict):
            tree["metadata"] = {**tree.get("metadata", {}), "name": "made"}
    text = json.dumps(tree).encode()
    path = row.path(NAMESPACE if row.namespaced else None)
    return [
        Wanted("POST", path, {"content-type": "application/json"}, text),
        Wanted("PATCH", f"{path}/made?fieldManager=me", {"content-type": "application/apply-patch+yaml"}, text),
        Wanted("PATCH", f"{path}/made", {"content-type": "application/merge-patch+json"}, text),
        Wanted("GET", path, {"accept": "application/json;as=Table;v=v1;g=meta.k8s.io"}, b""),
    ]
