"""minikube's five-step benchmark: how long until an application runs and answers by its name on a new cluster.

Command → API answers → the `kubernetes` Service → the DNS Service → the application runs → it answers by its DNS name.
The application's image is brought to the node between the steps, off the clock: images are warm, as minikube has them.
Source: minikube documentation, "Benchmarks" (time-to-k8s).
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import statistics
import time
from typing import TYPE_CHECKING, Any

from carob.api import codec
from carob.api.types import apps_v1, core_v1

if TYPE_CHECKING:
    from bench.cluster import Bench
    from carob.client.rest import Client

STEPS = ("command", "api", "kubernetes", "dns", "running", "answers")
NAME = "app.default.svc.cluster.local"
LABELS = {"app": "app"}


def measure_steps(bench: Bench, values: dict[str, float], runs: int) -> None:
    """Medians of each step and of the whole, each run on a new cluster."""
    import uvloop

    found: dict[str, list[float]] = {step: [] for step in STEPS}
    wholes = []
    for _ in range(runs):
        bench.down()
        command = bench.up()
        took = {"command": command} | uvloop.run(_rest(bench))
        for step in STEPS:
            found[step].append(took[step])
        wholes.append(sum(took.values()))
    for step in STEPS:
        values[f"step_{step}_ms"] = 1000 * statistics.median(found[step])
    values["steps_seconds"] = statistics.median(wholes)


async def _rest(bench: Bench) -> dict[str, float]:
    """Seconds of every step after the command."""
    took = {}
    clock = time.perf_counter
    dns = bench.cluster.dns_address
    async with bench.client() as client:
        started = clock()
        await client.list(core_v1.Namespace)
        took["api"] = clock() - started
        started = clock()
        await client.get(core_v1.Service, "kubernetes", "default")
        took["kubernetes"] = clock() - started
        started = clock()
        await client.get(core_v1.Service, "kube-dns", "kube-system")
        await asyncio.to_thread(_resolve, dns, "kubernetes.default.svc.cluster.local")
        took["dns"] = clock() - started
        await asyncio.to_thread(bench.image)
        started = clock()
        await _run_application(client)
        took["running"] = clock() - started
        started = clock()
        await asyncio.to_thread(_fetch_by_name, dns)
        took["answers"] = clock() - started
    return took


async def _run_application(client: Client) -> None:
    """A Deployment and its Service; returns when its Pod is ready."""
    container = {"name": "app", "image": "carob.local/web:v1", "ports": [{"containerPort": 8080}]}
    pod: dict[str, Any] = {"metadata": {"labels": LABELS}, "spec": {"containers": [container]}}
    metadata = {"name": "app", "namespace": "default"}
    deployment = {"metadata": metadata, "spec": {"selector": {"matchLabels": LABELS}, "template": pod}}
    service = {"metadata": metadata, "spec": {"selector": LABELS, "ports": [{"port": 80, "targetPort": 8080}]}}
    async with client.watch(apps_v1.Deployment, "default", send_initial_events=True) as events:
        await client.create(codec.from_tree(apps_v1.Deployment, deployment))
        await client.create(codec.from_tree(core_v1.Service, service))
        async for event in events:
            if isinstance(event.object, apps_v1.Deployment) and event.object.status.ready_replicas:
                return


def _resolve(server: str, name: str) -> str:
    """The address behind a name, as soon as the server knows it."""
    import dnslib

    question = bytes(dnslib.DNSRecord.question(name).pack())
    end = time.perf_counter() + 30
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(0.2)
        client.connect((server, 53))
        while time.perf_counter() < end:
            with contextlib.suppress(OSError):
                client.send(question)
                records = dnslib.DNSRecord.parse(client.recv(4096)).rr
                if records:
                    return str(records[0].rdata)
    raise SystemExit(f"nobody knows {name}")


def _fetch_by_name(dns: str) -> None:
    """Return when the application's page came from where its name leads."""
    end = time.perf_counter() + 30
    while time.perf_counter() < end:
        with contextlib.suppress(OSError), socket.create_connection((_resolve(dns, NAME), 80), 1) as connection:
            connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
            if connection.recv(100).startswith(b"HTTP/1."):
                return
    raise SystemExit("the application does not answer")
