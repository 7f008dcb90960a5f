"""Many requests of every sort to a real server process over TLS: no 5xx, no hang, flat memory, no traceback in its log.

`scripts/soak requests [COUNT] [SEED]`. Four clients speak at once, each in a namespace's worth of objects that is emptied now
and then, so that what the server holds does not grow by itself. Needs no root; nothing is left behind.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from carob.api.resources import BUILT_IN
from carob.apiserver.pki import Pki
from carob.base.layout import Cluster
from carob.transport.client import SocketTransport
from carob.transport.tls import client_context
from tests.fuzzing.judge import NAMESPACE, Judge
from tests.fuzzing.requests import Requests, Wanted

CLIENTS = 4
PIECE = 5000
# the first requests load code, fill caches and make the allocator's pools
WARM_UP_PIECES = 8
GROWTH = 1.25
_KEPT = frozenset(
    (
        "namespaces",
        "nodes",
        "serviceaccounts",
        "leases",
        "priorityclasses",
        "flowschemas",
        "prioritylevelconfigurations",
        "clusterroles",
        "clusterrolebindings",
        "apiservices",
        "servicecidrs",
        "ipaddresses",
    )
)


def resident_kib(pid: int) -> int:
    """The proportional set size of a process."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1])
    raise LookupError(pid)


async def empty(judge: Judge) -> None:
    """Delete what the requests made."""
    background = {"content-type": "application/json"}
    for row in BUILT_IN:
        if row.stored and "deletecollection" in row.verbs and row.plural not in _KEPT:
            path = row.path(NAMESPACE if row.namespaced else None)
            query = "?propagationPolicy=Background&gracePeriodSeconds=0"
            await judge.ask(Wanted("DELETE", path + query, background, b""))


async def soak(cluster: Cluster, pid: int, count: int, seed: int) -> list[str]:
    """What went wrong."""
    pki = Pki(cluster.pki_dir)
    tls = client_context(
        ca_file=str(pki.ca.certificate),
        certificate_file=str(pki.admin.certificate),
        key_file=str(pki.admin.key),
    )
    transport = SocketTransport(f"https://127.0.0.1:{cluster.api_port}", tls=tls)
    judge = Judge(transport)
    schemas = await judge.schemas()
    await judge.prepare()
    streams = [Requests(seed * CLIENTS + number, schemas) for number in range(CLIENTS)]
    sizes: list[int] = []
    began = time.monotonic()
    for piece in range(max(1, count // PIECE)):
        await asyncio.gather(*(judge.run(one, PIECE // CLIENTS) for one in streams))
        await empty(judge)
        sizes.append(resident_kib(pid))
        done = (piece + 1) * PIECE
        print(
            f"{done} requests, {done / (time.monotonic() - began):.0f}/s, {sizes[-1] / 1024:.1f} MiB, {dict(judge.codes)}",
            flush=True,
        )
    await transport.close()
    faults = judge.faults
    if len(sizes) > 2 * WARM_UP_PIECES:
        after_warm_up, end = sizes[WARM_UP_PIECES], min(sizes[-2:])
        if end > after_warm_up * GROWTH:
            faults.append(f"memory grew from {after_warm_up / 1024:.1f} to {end / 1024:.1f} MiB")
    return faults


def main(count: int, seed: int) -> int:
    """The exit code."""
    with tempfile.TemporaryDirectory(prefix="carob-soak-") as folder:
        name = f"soak-{os.getpid() % 100000}"
        environment = {**os.environ, "KUBECONFIG": f"{folder}/kubeconfig", "HOME": folder}
        carob = [sys.executable, "-m", "carob"]
        where = ["--name", name, "--data-dir", folder]
        subprocess.run([*carob, "up", "--nodes", "0", "--simulated-nodes", "5", *where], env=environment, check=True)
        try:
            cluster = Cluster.load(Path(folder) / name / "cluster.json")
            pid = json.loads((Path(cluster.run_dir) / "server.json").read_text())["pid"]
            print(f"seed {seed}, server {pid}", flush=True)
            faults = asyncio.run(soak(cluster, pid, count, seed))
            log = "".join(f.read_text(errors="replace") for f in Path(cluster.log_dir).glob("server*.log"))
            if "Traceback" in log:
                at = log.index("Traceback")
                faults.append(f"the server's log has a traceback:\n{log[max(0, at - 500) : at + 4000]}")
        finally:
            subprocess.run([*carob, "down", *where], env=environment, check=True)
    for fault in faults[:40]:
        print(f"FAULT {fault}\n")
    print(f"{count} requests, {len(faults)} faults")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(
        main(
            int(sys.argv[1]) if len(sys.argv) > 1 else 100_000,
            int(sys.argv[2]) if len(sys.argv) > 2 else time.time_ns() % 1_000_000,
        )
    )
