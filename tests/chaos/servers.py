"""Several `carob server` processes over one etcd, and what clients of theirs have seen: the history that is judged."""

from __future__ import annotations

import asyncio
import os
import re
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from carob.api.status import ApiError
from carob.api.types import core_v1, meta_v1
from carob.apiserver.pki import Pki
from carob.base.clock import parse_rfc3339
from carob.base.readiness import STAGES_FD_VARIABLE
from carob.client.rest import Client
from carob.transport.client import SocketTransport
from carob.transport.failover import FailoverTransport
from carob.transport.tls import client_context
from tests.etcd import Etcd
from tests.ports import free_port

PATIENCE_SECONDS = 60
# short, so that a test sees leaders change; a server that gets no turn on a busy machine for as long as the first two
# differ would be found working beside its successor
TERMS = ("--leader-elect-lease-duration=6s", "--leader-elect-renew-deadline=2s", "--leader-elect-retry-period=250ms")
_LEADS = re.compile(r"^(\S+) \S+ +leader: (\S+): (\S+) (leads|no longer leads)$", re.M)


class ServerProcess:
    """One server; it can be killed and started again."""

    def __init__(self, folder: Path, etcd: Etcd, number: int, authority: Pki | None) -> None:
        self.folder = folder / f"server-{number}"
        self.folder.mkdir()
        self.port = free_port()
        self.killed: list[float] = []
        self.peers: list[ServerProcess] = []
        self._etcd = etcd
        self._authority = authority
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def log_file(self) -> Path:
        return self.folder / "log"

    @property
    def pki(self) -> Pki:
        return Pki(self.folder / "c" / "server" / "pki")

    def start(self) -> int:
        """Begin; the answer is the pipe on which it says how far it is."""
        reading, writing = os.pipe()
        command = [sys.executable, "-m", "carob", "server", "--name", "c", "--data-dir", str(self.folder)]
        command += ["--api-port", str(self.port), "--store", "etcd://" + ",".join(self._etcd.options.endpoints), *TERMS]
        if self.peers:
            command += ["--peer-servers", ",".join(f"https://127.0.0.1:{peer.port}" for peer in self.peers)]
        if self._authority is not None:
            command += ["--pki-from", str(self._authority.directory)]
        with self.log_file.open("ab") as log:
            self._process = subprocess.Popen(
                command,
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                pass_fds=[writing],
                env={**os.environ, STAGES_FD_VARIABLE: str(writing)},
            )
        os.close(writing)
        return reading

    def wait(self, reading: int) -> None:
        """Return when it is ready."""
        said = b""
        try:
            while b"ready" not in said:
                there, _, _ = select.select([reading], [], [], PATIENCE_SECONDS)
                piece = os.read(reading, 100) if there else b""
                assert piece, f"the server does not become ready:\n{self.log()}"
                said += piece
        finally:
            os.close(reading)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self.killed.append(time.time())
            self._process = None

    def stop(self) -> None:
        """As a service manager does."""
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(PATIENCE_SECONDS)
            finally:
                self.kill()

    @property
    def kubeconfig(self) -> Path:
        return self.folder / "c" / "server" / "admin.kubeconfig"

    def log(self) -> str:
        return self.log_file.read_text(errors="replace")

    def identities(self) -> set[str]:
        """Under which names it has led."""
        return {found[2] for found in _LEADS.findall(self.log())}


@dataclass
class History:
    """What was acknowledged, and what each watcher was told."""

    acknowledged: dict[int, tuple[str, str]] = field(default_factory=dict)
    """resourceVersion → (event that it must be, name)"""
    unknown: int = 0
    told: list[list[tuple[int, str, str]]] = field(default_factory=list)

    def note(self, version: str, event: str, name: str) -> None:
        number = int(version)
        assert number not in self.acknowledged, f"{number} was given out twice"
        self.acknowledged[number] = (event, name)


class Servers:
    """The servers, and clients that know all of them."""

    def __init__(self, folder: Path, etcd: Etcd, count: int) -> None:
        self.etcd = etcd
        first = ServerProcess(folder, etcd, 0, None)
        self.all = [first, *(ServerProcess(folder, etcd, number, first.pki) for number in range(1, count))]
        for server in self.all:
            server.peers = [other for other in self.all if other is not server]
        self.history = History()
        self._clients: list[Client] = []

    def start(self) -> None:
        """The first makes the authority, the others take it."""
        for server in self.all:
            server.wait(server.start())

    def stop(self) -> None:
        for server in self.all:
            server.stop()

    def client(self, first: int = 0, *, only: bool = False) -> Client:
        """Asks the server `first`, and the others when that one is gone."""
        pki = self.all[0].pki
        tls = client_context(
            ca_file=str(pki.ca.certificate),
            certificate_file=str(pki.admin.certificate),
            key_file=str(pki.admin.key),
        )
        order = [first] if only else [(first + n) % len(self.all) for n in range(len(self.all))]
        roads = [SocketTransport(f"https://127.0.0.1:{self.all[n].port}", tls=tls) for n in order]
        client = Client(FailoverTransport(roads))
        self._clients.append(client)
        return client

    async def hang_up(self) -> None:
        """Close every client's connections."""
        for client in self._clients:
            await client.transport.close()
        await asyncio.sleep(0)

    # -- the load ---------------------------------------------------------------------------------------------------

    async def write(self, name: str, first: int) -> None:
        """Create, change and delete for ever; note what is acknowledged, and read it back."""
        client = self.client(first)
        for number in range(1_000_000):
            await asyncio.sleep(0.01)  # leave the cores to the servers
            try:
                await self._write_one(client, f"{name}-{number}", number)
            except (ConnectionError, ApiError) as error:
                # a write that nobody answered may have been made, and then repeating it is refused
                if isinstance(error, ApiError) and error.code not in (404, 409, 503, 504):
                    raise
                self.history.unknown += 1
                await asyncio.sleep(0.1)

    async def _write_one(self, client: Client, name: str, number: int) -> None:
        history = self.history
        metadata = meta_v1.ObjectMeta(name=name, namespace="default")
        made = await client.create(core_v1.ConfigMap(metadata=metadata, data={"a": "1"}))
        history.note(made.metadata.resource_version, "ADDED", name)
        seen = await client.get(core_v1.ConfigMap, name, "default")
        assert seen.metadata.resource_version == made.metadata.resource_version, "a read went back in time"
        if number % 2:
            seen.data["a"] = "2"
            changed = await client.update(seen)
            history.note(changed.metadata.resource_version, "MODIFIED", name)
        if number % 3 == 0:
            await client.delete(core_v1.ConfigMap, name, "default")

    async def watch(self, first: int) -> None:
        """Follow for ever, resuming wherever a server answers."""
        client = self.client(first)
        told: list[tuple[int, str, str]] = []
        self.history.told.append(told)
        version = (await client.list(core_v1.ConfigMap, "default")).resource_version
        while True:
            try:
                async with client.watch(core_v1.ConfigMap, "default", resource_version=version) as events:
                    async for event in events:
                        assert not isinstance(event.object, ApiError), event.object
                        version = event.resource_version
                        if event.type != "BOOKMARK":
                            told.append((int(version), event.type, event.object.metadata.name))
            except ConnectionError:
                await asyncio.sleep(0.1)

    async def progress(self, count: int = 40) -> None:
        """Return when so many further writes have been acknowledged."""
        wanted = len(self.history.acknowledged) + count
        async with asyncio.timeout(PATIENCE_SECONDS):
            while len(self.history.acknowledged) < wanted:  # noqa: ASYNC110
                await asyncio.sleep(0.05)

    # -- the judges -------------------------------------------------------------------------------------------------

    def terms(self) -> Iterator[tuple[str, float, float, str]]:
        """Lease, begin, end and holder of every term that a server's log tells of."""
        for server in self.all:
            begun: dict[tuple[str, str], float] = {}
            for stamp, lease, holder, what in _LEADS.findall(server.log()):
                at = parse_rfc3339(stamp)
                if what == "leads":
                    begun[lease, holder] = at
                else:
                    yield lease, begun.pop((lease, holder)), at, holder
            for (lease, holder), at in begun.items():
                yield lease, at, min(killed for killed in server.killed if killed >= at), holder


def judge_watches(history: History) -> None:
    """Ordered, unique, the same for all, and complete: nothing that was acknowledged is missing."""
    longest = max(history.told, key=len)
    for told in history.told:
        versions = [version for version, _, _ in told]
        assert versions == sorted(set(versions)), "a watch went back in time, or told something twice"
        assert set(told) <= set(longest)
    seen = {version: (event, name) for version, event, name in longest}
    missing = {version: what for version, what in history.acknowledged.items() if seen.get(version) != what}
    assert not missing, f"acknowledged, but not told: {missing}"


def judge_leases(servers: Servers) -> None:
    """At no time did two servers hold one lease."""
    terms: dict[str, list[tuple[float, float, str]]] = {}
    for lease, begin, end, holder in servers.terms():
        terms.setdefault(lease, []).append((begin, end, holder))
    for lease, found in terms.items():
        found.sort()
        for (_, end, holder), (begin, _, following) in pairwise(found):
            assert begin >= end, f"{lease}: {following} began at {begin}, {holder} ended at {end}"
