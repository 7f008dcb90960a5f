"""The cluster that is measured, and the Pods that are timed on it."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from carob.base.layout import Cluster
from carob.cli import processes

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from carob.client.rest import Client

ROOT = Path(__file__).resolve().parent.parent


class Bench:
    """`carob up` and `down`, load jobs, process figures."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder = folder
        self.name = name
        self.data = folder / "data"
        self.environment = {**os.environ, "KUBECONFIG": str(folder / "kubeconfig")}
        self.environment.pop("PYTHONDONTWRITEBYTECODE", None)

    def carob(self, *arguments: str) -> str:
        """Run the command; fail loudly."""
        done = subprocess.run(
            [sys.executable, "-m", "carob", *arguments], capture_output=True, text=True, env=self.environment
        )
        if done.returncode != 0:
            raise SystemExit(f"carob {' '.join(arguments)}: {done.stdout}{done.stderr}")
        return done.stdout

    def up(self, *flags: str) -> float:
        """Start the cluster; the seconds of wall time that the command took."""
        started = time.perf_counter()
        self.carob("up", "--name", self.name, "--data-dir", str(self.data), "-q", *flags)
        return time.perf_counter() - started

    def down(self, *flags: str) -> None:
        self.carob("down", "--name", self.name, "--data-dir", str(self.data), "-q", *flags)

    def image(self) -> None:
        """The web image on the node."""
        self.carob(
            "image", "build", "--name", self.name, "--data-dir", str(self.data), "--web", "-t", "carob.local/web:v1"
        )

    @property
    def cluster(self) -> Cluster:
        return Cluster.load(self.data / self.name / "cluster.json")

    def pids(self) -> dict[str, int]:
        """Every carob process of the cluster."""
        found = {}
        for part in ("server", *(n.name for n in self.cluster.nodes)):
            process = processes.find(self.cluster.run_dir, part)
            if process is not None:
                found[part] = process.pid
        return found

    @asynccontextmanager
    async def client(self) -> AsyncIterator[Client]:
        """An administrator's client."""
        from carob.client.rest import Client
        from carob.transport.client import SocketTransport
        from carob.transport.tls import client_context

        pki = self.cluster.pki_dir
        tls = client_context(
            ca_file=str(pki / "ca.crt"), certificate_file=str(pki / "admin.crt"), key_file=str(pki / "admin.key")
        )
        transport = SocketTransport(f"https://127.0.0.1:{self.cluster.api_port}", tls=tls)
        try:
            yield Client(transport)
        finally:
            await transport.close()

    def load(self, **job: Any) -> dict[str, Any]:
        """Run one load job in a process of its own."""
        pki = self.cluster.pki_dir
        full = {
            "host": "127.0.0.1",
            "port": self.cluster.api_port,
            "ca": str(pki / "ca.crt"),
            "certificate": str(pki / "admin.crt"),
            "key": str(pki / "admin.key"),
            "namespace": "default",
            **job,
        }
        done = subprocess.run(
            [sys.executable, "-m", "bench.load"], input=json.dumps(full), capture_output=True, text=True, cwd=ROOT
        )
        if done.returncode != 0:
            raise SystemExit(f"load {job}: {done.stderr}")
        answer: dict[str, Any] = json.loads(done.stdout)
        if answer.get("failures"):
            raise SystemExit(f"load {job}: {answer['failures']} requests failed")
        return answer


def memory_bytes(pid: int, field: str) -> int:
    """`Pss` or `Rss` of a process."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) * 1024
    return 0


def cpu_seconds(pid: int) -> float:
    """User and system time so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def time_pods(bench: Bench, names: list[str], *, at_once: bool) -> tuple[list[float], list[float], float]:
    """Create Pods and delete them: seconds POST→Ready each, DELETE→gone each, and until all were Ready."""
    async with bench.client() as client:
        return await _time_pods(client, names, at_once)


async def _time_pods(client: Client, names: list[str], at_once: bool) -> tuple[list[float], list[float], float]:
    from carob.api.types import core_v1

    ready: dict[str, asyncio.Future[float]] = {}
    gone: dict[str, asyncio.Future[float]] = {}
    loop = asyncio.get_running_loop()
    for name in names:
        ready[name], gone[name] = loop.create_future(), loop.create_future()

    async def follow() -> None:
        async with client.watch(core_v1.Pod, "default", send_initial_events=True) as events:
            async for event in events:
                if not isinstance(event.object, core_v1.Pod) or event.object.metadata.name not in ready:
                    continue
                name, now = event.object.metadata.name, time.perf_counter()
                conditions = {c.type: c.status for c in event.object.status.conditions}
                if conditions.get("Ready") == "True" and not ready[name].done():
                    ready[name].set_result(now)
                if event.type == "DELETED" and not gone[name].done():
                    gone[name].set_result(now)

    async def create(name: str) -> float:
        started = time.perf_counter()
        container = core_v1.Container(name="c", image="carob.local/web:v1")
        spec = core_v1.PodSpec(containers=[container])
        pod = core_v1.Pod(spec=spec)
        pod.metadata.name, pod.metadata.namespace = name, "default"
        await client.create(pod)
        return await asyncio.wait_for(asyncio.shield(ready[name]), 60) - started

    async def delete(name: str) -> float:
        started = time.perf_counter()
        await client.delete(core_v1.Pod, name, "default")
        return await asyncio.wait_for(asyncio.shield(gone[name]), 60) - started

    follower = loop.create_task(follow())
    await asyncio.sleep(0.2)
    started = time.perf_counter()
    if at_once:
        starts = list(await asyncio.gather(*map(create, names)))
        whole = time.perf_counter() - started
        ends = list(await asyncio.gather(*map(delete, names)))
    else:
        starts, ends = [], []
        for name in names:
            starts.append(await create(name))
            ends.append(await delete(name))
        whole = time.perf_counter() - started
    follower.cancel()
    await asyncio.wait([follower])
    return starts, ends, whole
