"""What this machine does without carob, in the same run: each figure is told as a ratio to one of these as well.

The ratios are what can be compared between machines and between days; a noisy neighbour slows both sides.
"""

from __future__ import annotations

import asyncio
import os
import ssl
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

if TYPE_CHECKING:
    from bench.cluster import Bench

ROOT = Path(__file__).resolve().parent.parent
BODY_BYTES = 2000
SYNCS = 300
IDLE = "import asyncio, ssl, msgspec, orjson, uvloop; print(flush=True); input()"


def _milliseconds(command: list[str], times: int) -> float:
    took = []
    for _ in range(times):
        started = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        took.append(1000 * (time.perf_counter() - started))
    return statistics.median(took)


def measure_machine(values: dict[str, float], folder: Path) -> None:
    """Starting a process, syncing a write, making namespaces, writing JSON, the memory of an idle interpreter."""
    values["base_python_ms"] = _milliseconds([sys.executable, "-c", "pass"], 9)
    namespaces = ["unshare", "--mount", "--uts", "--ipc", "--net", "--pid", "--fork", "true"]
    values["base_namespaces_ms"] = _milliseconds(namespaces, 9)
    values["base_syncs"] = _syncs_per_second(folder / "sync")
    for name, pods in (("5k", 5_000), ("30k", 30_000)):
        values[f"base_json_{name}_ms"] = _json_ms(pods)
    values["base_python_mb"] = _idle_mb()


def _syncs_per_second(file: Path) -> float:
    block = b"x" * 1200
    with file.open("wb", buffering=0) as out:
        started = time.perf_counter()
        for _ in range(SYNCS):
            out.write(block)
            os.fdatasync(out.fileno())
        seconds = time.perf_counter() - started
    file.unlink()
    return SYNCS / seconds


def _json_ms(pods: int) -> float:
    from bench.load import pod

    trees = [orjson.loads(pod(f"pod-{n}")) for n in range(pods)]
    took = []
    for _ in range(5):
        started = time.perf_counter()
        orjson.dumps(trees)
        took.append(1000 * (time.perf_counter() - started))
    return statistics.median(took)


def _idle_mb() -> float:
    from bench.cluster import memory_bytes

    with subprocess.Popen([sys.executable, "-c", IDLE], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        amount = memory_bytes(process.pid, "Pss") / 1e6
        process.communicate(b"\n")
    return amount


def measure_wire(bench: Bench, values: dict[str, float], runs: int) -> None:
    """A server that says the same to everybody, over TLS on the same loop, asked by the same clients."""
    pki = bench.cluster.pki_dir
    command = [sys.executable, "-m", "bench.baselines", str(pki / "apiserver.crt"), str(pki / "apiserver.key")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        for clients in (1, 8, 32):
            count = 3000 if clients == 1 else 12000
            found = [bench.load(verb="get", clients=clients, count=count, port=port) for _ in range(runs)]
            values[f"base_wire_{clients}"] = statistics.median(f["per_second"] for f in found)
            values[f"base_wire_{clients}_ms"] = statistics.median(f["p50_ms"] for f in found)
        process.communicate("\n")


class _Constant(asyncio.Protocol):
    """Answers each request with the same bytes, looking at nothing but where it ends."""

    ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (
        BODY_BYTES,
        b"x" * BODY_BYTES,
    )

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._transport.write(self.ANSWER * data.count(b"\r\n\r\n"))


async def _serve(certificate: str, key: str) -> None:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate, key)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(_Constant, "127.0.0.1", 0, ssl=tls)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.readline)
    server.close()


if __name__ == "__main__":
    import uvloop

    uvloop.run(_serve(sys.argv[1], sys.argv[2]))
