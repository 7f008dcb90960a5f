"""Network figures: programming services, how soon a change works, Pods against bare wires, answers to names.

`measure_apart` needs no cluster: it works in network namespaces that it makes. `measure_change` needs one.
Units: milliseconds; a share in percent; answers a second of one core.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from carob.base.clock import SystemClock
from carob.host import netlink
from carob.host.conntrack import Conntrack
from carob.host.nftables import open_nftables
from carob.network.layout import NetworkLayout
from carob.network.node import open_network
from carob.network.services import Backends, Endpoint, ServicePort, ServiceTable

if TYPE_CHECKING:
    from bench.cluster import Bench

T = TypeVar("T")
CLONE_NEWNET = 0x40000000
SERVICES, ENDPOINTS, ROUNDS, CHANGES = 1000, 5, 7, 50
PORT = 5201
STREAM_SECONDS, STREAM_ROUNDS, STREAM_BLOCK = 0.15, 50, 1 << 18
CHANGE_ROUNDS = 60
CHANGE_PAUSE_SECONDS, CHANGE_PATIENCE_SECONDS = 0.0005, 60
QUESTIONS, NAMES, WINDOW = 30_000, 1000, 32


class Namespace:
    """A thread in a network namespace of its own, which ends with it."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1)
        self.call(self._enter)

    @staticmethod
    def _enter() -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.unshare(CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        with netlink.Netlink() as inside:
            inside.send(netlink.set_up(1))

    def call(self, function: Callable[[], T]) -> T:
        """What the function says in there."""
        return self._thread.submit(function).result()

    def close(self) -> None:
        """End it."""
        self._thread.shutdown()


@dataclass(frozen=True)
class _Request:
    sandbox_id: str
    port_mappings: tuple[Any, ...] = ()
    namespace: str = "default"
    name: str = "bench"
    annotations: dict[str, str] = field(default_factory=dict)
    uid: str = ""
    netns_path: str = ""


@contextlib.contextmanager
def _namespaces(count: int) -> Iterator[list[Namespace]]:
    made = [Namespace() for _ in range(count)]
    try:
        yield made
    finally:
        for one in made:
            one.close()


def measure_services(values: dict[str, float]) -> None:
    """A thousand Services at once, then one endpoint of one of them, again and again."""
    table = ServiceTable(NetworkLayout(cluster="bench"), open_nftables(), Conntrack(), tuple)
    wanted = {
        ServicePort(f"10.43.{n // 250 + 1}.{n % 250 + 1}", "tcp", 80): Backends(
            tuple(Endpoint(f"10.42.{n % 250}.{e + 2}", 8080) for e in range(ENDPOINTS))
        )
        for n in range(SERVICES)
    }
    times = []
    for _ in range(ROUNDS):
        table.reset({})
        started = time.perf_counter()
        table.apply(dict(wanted))
        times.append(time.perf_counter() - started)
    values["services_1000_ms"] = 1000 * statistics.median(times)
    port, backends = next(iter(wanted.items()))
    times = []
    for number in range(CHANGES):
        changed = Backends((*backends.endpoints[:-1], Endpoint("10.42.255.1", 8000 + number)))
        started = time.perf_counter()
        table.apply({port: changed})
        times.append(time.perf_counter() - started)
    values["one_endpoint_ms"] = 1000 * statistics.median(times)


def measure_throughput(values: dict[str, float]) -> None:
    """A TCP stream from Pod to Pod, and one over a bare veth pair, in turns.

    The share is the median of many short turns, because what else runs on the machine hits one as often as the other.
    """
    with _namespaces(5) as (node, one, two, left, right), tempfile.TemporaryDirectory() as folder:
        layout = NetworkLayout(cluster="bench", pod_range="10.42.0.0/29")
        network = node.call(lambda: open_network(layout, Path(folder), SystemClock()))
        node.call(network.set_up)
        one.call(lambda: network.pods.attach(_Request("bench-one")))
        (server,) = two.call(lambda: network.pods.attach(_Request("bench-two")))
        _wire(left, right)
        pods, bare = [], []
        for _ in range(STREAM_ROUNDS):
            bare.append(_stream(left, right, "192.0.2.2"))
            pods.append(_stream(one, two, server))
        network.close()
    values["base_veth_gbit"], values["pod_gbit"] = statistics.median(bare), statistics.median(pods)
    shares = [pod / wire for pod, wire in zip(pods, bare, strict=True)]
    values["pod_throughput_percent"] = 100 * statistics.median(shares)


def _wire(left: Namespace, right: Namespace) -> None:
    peer = right.call(lambda: os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC))

    def address(text: str) -> None:
        with netlink.Netlink() as inside:
            link = inside.link("eth0")
            assert link is not None
            inside.send(netlink.set_up(link.index), netlink.replace_address(link.index, text, 24))

    def make() -> None:
        with netlink.Netlink() as inside:
            inside.send(netlink.add_veth("eth0", "02:00:00:00:00:01", "eth0", "02:00:00:00:00:02", peer))

    left.call(make)
    os.close(peer)
    left.call(lambda: address("192.0.2.1"))
    right.call(lambda: address("192.0.2.2"))


def _stream(client: Namespace, server: Namespace, address: str) -> float:
    """Gigabits a second, as the receiver counts them."""
    listening = server.call(lambda: socket.create_server((address, PORT)))
    block = memoryview(bytes(STREAM_BLOCK))

    def send() -> None:
        with socket.create_connection((address, PORT)) as connection:
            end = time.perf_counter() + STREAM_SECONDS
            while time.perf_counter() < end:
                connection.sendall(block)

    thread = threading.Thread(target=client.call, args=(send,))
    thread.start()
    got, room = 0, bytearray(STREAM_BLOCK)
    with listening, listening.accept()[0] as connection:
        started = time.perf_counter()
        while count := connection.recv_into(room):
            got += count
        seconds = time.perf_counter() - started
    thread.join()
    return 8e-9 * got / seconds


def measure_names(values: dict[str, float]) -> None:
    """Answers by UDP a second of processor time of the server: new questions, and ones that were asked before."""
    with subprocess.Popen(
        [sys.executable, "-m", "bench.network", "dns"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        for key, distinct in (("dns_fresh", QUESTIONS), ("dns_known", NAMES)):
            questions = [_question(number) for number in range(distinct)]
            before = _cpu(process.pid)
            _ask_all(port, questions)
            values[f"{key}_per_second"] = QUESTIONS / (_cpu(process.pid) - before)
        process.communicate("\n")


def _cpu(pid: int) -> float:
    """Seconds of processor time, to the nanosecond."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9


def _question(number: int) -> bytes:
    """A name of the zone; what is behind the thousand is asked in other letters, which makes it a new question."""
    import dnslib

    turn = number // NAMES
    shop = "".join(c.upper() if turn >> bit & 1 else c for bit, c in enumerate("shopsvc"))
    return bytes(dnslib.DNSRecord.question(f"web-{number % NAMES}.{shop[:4]}.{shop[4:]}.cluster.local").pack())


def _ask_all(port: int, questions: list[bytes]) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(10)
        client.connect(("127.0.0.1", port))
        for at in range(0, QUESTIONS, WINDOW):
            window = [questions[n % len(questions)] for n in range(at, min(at + WINDOW, QUESTIONS))]
            for question in window:
                client.send(question)
            for _ in window:
                client.recv(4096)


def _serve_names() -> None:
    """The server of `measure_names`: says its port, ends with its input."""
    import asyncio

    import uvloop

    from carob.network.dns.forward import Forwarder
    from carob.network.dns.server import DnsServer
    from carob.network.dns.zone import Record, Zone

    class NoRandomness:
        def token(self, count: int) -> bytes:
            return bytes(count)

    async def main() -> None:
        zone = Zone("cluster.local")
        for number in range(NAMES):
            zone.put(str(number), [Record(f"web-{number}.shop.svc.cluster.local", "A", "10.43.0.7")])
        server = DnsServer(zone, Forwarder(lambda name: [], SystemClock(), NoRandomness()))
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        await server.open(["127.0.0.1"], port)
        print(port, flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
        server.close()

    uvloop.run(main())


def measure_apart(values: dict[str, float]) -> None:
    """Everything that needs no cluster."""
    with _namespaces(1) as (node,):
        node.call(lambda: measure_services(values))
    measure_throughput(values)
    measure_names(values)


def measure_change(bench: Bench, values: dict[str, float]) -> None:
    """From the answer to a changed EndpointSlice to the first connection that reaches the new endpoint."""
    import uvloop

    times = uvloop.run(_changes(bench))
    values["change_p50_ms"] = 1000 * statistics.median(times)
    values["change_p99_ms"] = 1000 * sorted(times)[int(0.99 * len(times))]


async def _changes(bench: Bench) -> list[float]:
    """One Service in front of two servers on the node, of which one at a time is its endpoint."""
    import asyncio

    from carob.api import codec
    from carob.api.types import core_v1, discovery_v1

    inside = bench.cluster.inside_address
    servers = [socket.create_server((inside, 0)) for _ in range(2)]
    for greeting, server in zip((b"0", b"1"), servers, strict=True):
        threading.Thread(target=_greet, args=(server, greeting), daemon=True).start()
    async with bench.client() as client:
        service = {"metadata": {"name": "change", "namespace": "default"}, "spec": {"ports": [{"port": 80}]}}
        address = (await client.create(codec.from_tree(core_v1.Service, service))).spec.cluster_ip
        ports = [server.getsockname()[1] for server in servers]
        slice_ = {
            "metadata": {
                "name": "change-1",
                "namespace": "default",
                "labels": {"kubernetes.io/service-name": "change"},
            },
            "addressType": "IPv4",
            "endpoints": [{"addresses": [inside]}],
            "ports": [{"port": ports[0], "name": ""}],
        }
        await client.create(codec.from_tree(discovery_v1.EndpointSlice, slice_))
        await asyncio.to_thread(_until_greeted, address, b"0")
        times = []
        for number in range(1, CHANGE_ROUNDS + 1):
            patch = {"ports": [{"port": ports[number % 2], "name": ""}]}
            await client.patch(discovery_v1.EndpointSlice, "change-1", "default", patch=patch)
            started = time.perf_counter()
            await asyncio.to_thread(_until_greeted, address, b"%d" % (number % 2))
            times.append(time.perf_counter() - started)
        await client.delete(core_v1.Service, "change", "default")
        await client.delete(discovery_v1.EndpointSlice, "change-1", "default")
    for server in servers:
        server.close()
    return times


def _greet(server: socket.socket, greeting: bytes) -> None:
    while True:
        try:
            connection, _ = server.accept()
        except OSError:
            return  # the server was closed
        # a client that gave up must not keep the next one from being greeted
        with connection, contextlib.suppress(OSError):
            connection.sendall(greeting)


def _until_greeted(address: str, greeting: bytes) -> None:
    """Ask again and again, but leave the processor to the node's agent meanwhile, which is to make the change."""
    met: Counter[str] = Counter()
    end = time.perf_counter() + CHANGE_PATIENCE_SECONDS
    while time.perf_counter() < end:
        try:
            with socket.create_connection((address, 80), 1) as connection:
                answer = connection.recv(10)
        except OSError as error:
            met[repr(error)] += 1
        else:
            if answer == greeting:
                return
            met[repr(answer)] += 1
        time.sleep(CHANGE_PAUSE_SECONDS)
    raise SystemExit(
        f"{address}: no answer from the new endpoint within {CHANGE_PATIENCE_SECONDS} s, but {dict(met)} (an answer is of "
        "the old one: the change was not programmed; errors are packets that were refused or lost)"
    )


if __name__ == "__main__":
    _serve_names()
