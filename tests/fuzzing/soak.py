"""Many requests of every sort to a real server process over TLS: no 5xx, no hang, flat memory, no traceback in its log.

Memory goes up and down by what the process gives back when it has grown, so its floor counts: the smallest size within a
quarter of the requests. The first half fills caches, each of which has a limit; after it the floor must stay where it is.

`scripts/soak requests [COUNT] [SEED]`. Four clients speak at once, each in a namespace's worth of objects that is emptied now
and then, so that what the server holds does not grow by itself. Needs no root; nothing is left behind.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from carob.api.resources import BUILT_IN
from carob.apiserver.pki import Pki
from carob.transport.client import SocketTransport
from carob.transport.tls import client_context
from tests.fuzzing.cluster import fuzzed_cluster, report
from tests.fuzzing.judge import NAMESPACE, Judge
from tests.fuzzing.requests import Requests, Wanted

if TYPE_CHECKING:
    from carob.api.resources import Resource
    from carob.base.layout import Cluster

CLIENTS = 4
PIECE = 5000
# fewer requests than these say nothing of memory
JUDGED_PIECES = 16
GROWTH = 1.05
# Where the cluster's own objects are among those that requests made.
_OTHERS_TOO = frozenset(
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


_ROWS = [row for row in BUILT_IN if row.stored and "delete" in row.verbs]
_AT_ONCE = "?propagationPolicy=Background&gracePeriodSeconds=0"


async def names(judge: Judge, row: Resource) -> set[str]:
    """The objects of a kind that is not emptied as a whole."""
    _, _, body = await judge.ask(Wanted("GET", row.path(NAMESPACE if row.namespaced else None), {}, b""))
    return {item["metadata"]["name"] for item in json.loads(body)["items"]}


async def own_names(judge: Judge) -> dict[str, set[str]]:
    """What is the cluster's own, by plural."""
    return {row.plural: await names(judge, row) for row in _ROWS if row.plural in _OTHERS_TOO}


async def bound(judge: Judge) -> None:
    """A ReplicaSet of two thousand million Pods is a right request, and no test of anything but patience."""
    quota = {"metadata": {"name": "bound"}, "spec": {"hard": {"pods": "300"}}}
    body = json.dumps(quota).encode()
    path = f"/api/v1/namespaces/{NAMESPACE}/resourcequotas"
    await judge.ask(Wanted("POST", path, {"content-type": "application/json"}, body))


async def release(judge: Judge) -> None:
    """Let go what waits for somebody who only stands among its finalizers."""
    for row in _ROWS:
        path = row.path(NAMESPACE if row.namespaced else None)
        _, _, body = await judge.ask(Wanted("GET", path, {}, b""))
        for item in json.loads(body)["items"]:
            metadata = item["metadata"]
            if not metadata.get("deletionTimestamp"):
                continue
            where = f"{path}/{quote(metadata['name'])}"
            if metadata.get("finalizers"):
                merge = {"content-type": "application/merge-patch+json"}
                await judge.ask(Wanted("PATCH", where, merge, b'{"metadata":{"finalizers":null}}'))
            if row.kind == "Namespace" and set(item["spec"].get("finalizers", ())) - {"kubernetes"}:
                item["spec"]["finalizers"] = ["kubernetes"]
                body = json.dumps(item).encode()
                await judge.ask(Wanted("PUT", f"{where}/finalize", {"content-type": "application/json"}, body))


async def empty(judge: Judge, own: dict[str, set[str]]) -> int:
    """Delete what the requests made, and say how many objects are left."""
    json_body = {"content-type": "application/json"}
    for row in _ROWS:
        path = row.path(NAMESPACE if row.namespaced else None)
        if row.plural in own:
            for name in await names(judge, row) - own[row.plural]:
                await judge.ask(Wanted("DELETE", f"{path}/{quote(name)}{_AT_ONCE}", json_body, b""))
        elif "deletecollection" in row.verbs:
            await judge.ask(Wanted("DELETE", path + _AT_ONCE, json_body, b""))
    await release(judge)
    # of what lies in no namespace its Events tell here
    await judge.ask(Wanted("DELETE", "/api/v1/namespaces/default/events", json_body, b""))
    await bound(judge)
    _, _, page = await judge.ask(Wanted("GET", "/metrics", {}, b""))
    return sum(int(line.split()[-1]) for line in page.decode().splitlines() if line.startswith(_COUNTED))


_COUNTED = "apiserver_storage_objects{"


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
    await bound(judge)
    own = await own_names(judge)
    sizes: list[int] = []
    began = time.monotonic()
    for piece in range(max(1, count // PIECE)):
        await asyncio.gather(*(judge.run(one, PIECE // CLIENTS) for one in streams))
        left = await empty(judge, own)
        sizes.append(resident_kib(pid))
        done = (piece + 1) * PIECE
        print(
            f"{done} requests, {done / (time.monotonic() - began):.0f}/s, {sizes[-1] / 1024:.1f} MiB, "
            f"{left} objects left, {dict(sorted(judge.codes.items()))}",
            flush=True,
        )
    print(f"slowest: {judge.slowest[0]:.2f} s, {judge.slowest[1]}")
    await transport.close()
    return judge.faults + judged(sizes)


def judged(sizes: list[int]) -> list[str]:
    """What is wrong with memory over the pieces. Units: KiB."""
    each = 2 * PIECE
    per_ten_thousand = [min(sizes[at : at + 2]) / 1024 for at in range(0, len(sizes), 2)]
    print(f"MiB by {each} requests: {' '.join(f'{size:.0f}' for size in per_ten_thousand)}")
    if len(sizes) < JUDGED_PIECES:
        return []
    quarter = len(sizes) // 4
    before, end = (min(part) / 1024 for part in (sizes[-2 * quarter : -quarter], sizes[-quarter:]))
    print(f"floor of the third quarter {before:.1f} MiB, of the last {end:.1f} MiB")
    return [f"memory grew from {before:.1f} to {end:.1f} MiB in a quarter"] if end > before * GROWTH else []


def main(count: int, seed: int) -> int:
    """The exit code."""
    faults: list[str] = []
    with fuzzed_cluster(faults) as (cluster, pid):
        print(f"seed {seed}, server {pid}", flush=True)
        faults += asyncio.run(soak(cluster, pid, count, seed))
    return report(faults, f"{count} requests")


if __name__ == "__main__":
    sys.exit(
        main(
            int(sys.argv[1]) if len(sys.argv) > 1 else 100_000,
            int(sys.argv[2]) if len(sys.argv) > 2 else time.time_ns() % 1_000_000,
        )
    )
