"""Two servers over an etcd of three, killed one after the other under load: what clients were promised stays true.

`scripts/soak SECONDS` goes on killing at random for longer.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from carob.api import codec
from carob.api.types import apps_v1, coordination_v1, core_v1
from carob.client.rest import Client
from tests.chaos.servers import PATIENCE_SECONDS, Servers, judge_leases, judge_watches
from tests.etcd import Etcd

pytestmark = [pytest.mark.slow]

SOAK_SECONDS = float(os.environ.get("CAROB_SOAK_SECONDS", "0"))
SCHEDULER = "kube-scheduler"


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[Servers]:
    etcd = Etcd(tmp_path / "etcd", 3)
    asyncio.run(etcd.start())
    servers = Servers(tmp_path, etcd, 2)
    try:
        servers.start()
        yield servers
    finally:
        servers.stop()
        etcd.stop()
        for server in servers.all:
            print(f"--- {server.folder.name}\n{server.log()[-4000:]}")


@contextlib.asynccontextmanager
async def load(servers: Servers) -> AsyncIterator[None]:
    """Writers and watchers on every server; at the end every watcher has been told all there is."""
    count = len(servers.all)
    watching = [asyncio.create_task(servers.watch(n)) for n in range(count)]
    async with asyncio.timeout(PATIENCE_SECONDS):
        while len(servers.history.told) < count:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    writing = [asyncio.create_task(servers.write(f"w{n}", n % count)) for n in range(2 * count)]
    try:
        yield
        await until_ended(writing)
        last = await servers.client().patch(
            core_v1.ConfigMap, "kube-root-ca.crt", "default", patch={"data": {"z": "z"}}
        )
        version = int(last.metadata.resource_version)
        async with asyncio.timeout(PATIENCE_SECONDS):
            while any(not told or told[-1][0] < version for told in servers.history.told):  # noqa: ASYNC110
                await asyncio.sleep(0.05)
    finally:
        await until_ended([*writing, *watching])
        await servers.hang_up()


async def until_ended(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    for task in tasks:
        if not task.cancelled():
            task.result()


async def until(question: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            with contextlib.suppress(ConnectionError):
                if await question():
                    return
            await asyncio.sleep(0.1)


async def holder(client: Client, lease: str) -> str:
    found = await client.get(coordination_v1.Lease, lease, "kube-system")
    return found.spec.holder_identity or ""


def deployment(replicas: int) -> apps_v1.Deployment:
    template = {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "c", "image": "web"}]}}
    spec = {"replicas": replicas, "selector": {"matchLabels": {"app": "web"}}, "template": template}
    return codec.from_tree(apps_v1.Deployment, {"metadata": {"name": "web", "namespace": "default"}, "spec": spec})


async def add_node(client: Client) -> None:
    """A node that nobody runs, fit for Pods."""
    await client.create(codec.from_tree(core_v1.Node, {"metadata": {"name": "n"}}))
    capacity = {"cpu": "64", "memory": "64Gi", "pods": "110"}
    status = {"capacity": capacity, "allocatable": capacity, "conditions": [{"type": "Ready", "status": "True"}]}
    await client.patch(core_v1.Node, "n", patch={"status": status}, subresource="status")


async def bound(client: Client) -> int:
    pods = (await client.list(core_v1.Pod, "default", label_selector="app=web")).items
    return sum(pod.spec.node_name == "n" for pod in pods)


def asked_with(kubeconfig: Path) -> str:
    """What carob's own command says with the kubeconfig of a server that is gone."""
    command = [sys.executable, "-m", "carob", "get", "namespace", "default", "-o", "name"]
    command += ["--kubeconfig", str(kubeconfig)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_SECONDS)
    return done.stdout.strip() or done.stderr


def test_servers_and_members_die_and_no_promise_is_broken(servers: Servers) -> None:
    anybody: Client

    async def main() -> None:
        nonlocal anybody
        client = anybody = servers.client()
        await add_node(client)
        await client.create(deployment(2))
        async with load(servers):
            await until(lambda: at_least(2))
            await servers.progress()
            first = await holder(client, SCHEDULER)
            leader = next(server for server in servers.all if first in server.identities())
            other = next(server for server in servers.all if server is not leader)
            leader.kill()
            alone = servers.client(servers.all.index(other), only=True)
            await servers.progress()
            assert await asyncio.to_thread(asked_with, leader.kubeconfig) == "namespace/default"
            await until(lambda: moved(alone, first))
            # the new leaders work
            await alone.patch(apps_v1.Deployment, "web", "default", patch={"spec": {"replicas": 5}})
            await until(lambda: at_least(5))
            servers.etcd.members[0].kill()
            await servers.progress()
            servers.etcd.members[0].start(servers.etcd.peers, "existing")
            leader.wait(leader.start())
            await servers.progress()

    async def at_least(count: int) -> bool:
        return await bound(anybody) >= count

    async def moved(client: Client, before: str) -> bool:
        return await holder(client, SCHEDULER) not in ("", before)

    asyncio.run(main())
    servers.stop()
    judge_watches(servers.history)
    judge_leases(servers)
    assert len({begin for lease, begin, _, _ in servers.terms() if lease == SCHEDULER}) >= 2


def soak(servers: Servers) -> None:
    seed = int(os.environ.get("CAROB_SOAK_SEED", time.time_ns() % 1_000_000))
    print(f"CAROB_SOAK_SEED={seed}")
    chance = random.Random(seed)

    async def main() -> None:
        until_then = time.monotonic() + SOAK_SECONDS
        async with load(servers):
            while time.monotonic() < until_then:
                await servers.progress(chance.randint(1, 100))
                if chance.random() < 0.5:
                    server = chance.choice(servers.all)
                    server.kill()
                    await servers.progress(chance.randint(1, 100))
                    await asyncio.to_thread(server.wait, server.start())
                else:
                    member = chance.choice(servers.etcd.members)
                    if dies := chance.random() < 0.5:
                        member.kill()
                    else:
                        member.pause()
                    await servers.progress(chance.randint(1, 100))
                    if dies:
                        member.start(servers.etcd.peers, "existing")
                    else:
                        member.resume()

    asyncio.run(main())
    servers.stop()
    judge_watches(servers.history)
    judge_leases(servers)
    history = servers.history
    print(f"{len(history.acknowledged)} writes acknowledged, {history.unknown} unanswered, none lost")


if SOAK_SECONDS:  # otherwise there is no such test

    @pytest.mark.timeout(SOAK_SECONDS * 2 + 300)
    def test_soak(servers: Servers) -> None:
        soak(servers)
