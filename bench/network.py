"""Network figures without a cluster: programming services (in a namespace of its own), answering names.

`python -m bench.network` as root. Units: milliseconds; answers a second of one core.
"""

from __future__ import annotations

import ctypes
import os
import statistics
import threading
import time

from carob.host.conntrack import Conntrack
from carob.host.nftables import open_nftables
from carob.network.dns import messages
from carob.network.dns.messages import Question
from carob.network.dns.zone import Record, Zone
from carob.network.layout import NetworkLayout
from carob.network.services import Backends, Endpoint, ServicePort, ServiceTable

CLONE_NEWNET = 0x40000000
SERVICES, ENDPOINTS, CHANGES, QUESTIONS = 1000, 5, 50, 2000


def measure_services() -> dict[str, float]:
    """A thousand Services at once, then one endpoint of one of them, again and again."""
    table = ServiceTable(NetworkLayout(cluster="bench"), open_nftables(), Conntrack())
    table.reset({})
    wanted = {
        ServicePort(f"10.43.{n // 250 + 1}.{n % 250 + 1}", "tcp", 80): Backends(
            tuple(Endpoint(f"10.42.{n % 250}.{e + 2}", 8080) for e in range(ENDPOINTS))
        )
        for n in range(SERVICES)
    }
    started = time.perf_counter()
    table.apply(dict(wanted))
    whole = time.perf_counter() - started
    port, backends = next(iter(wanted.items()))
    times = []
    for number in range(CHANGES):
        changed = Backends((*backends.endpoints[:-1], Endpoint("10.42.255.1", 8000 + number)))
        started = time.perf_counter()
        table.apply({port: changed})
        times.append(time.perf_counter() - started)
    return {"services_1000_ms": 1000 * whole, "one_endpoint_p50_ms": 1000 * statistics.median(times)}


def measure_names() -> dict[str, float]:
    """Answers made anew; those that are kept cost a dictionary look-up and two system calls."""
    import dnslib

    zone = Zone("cluster.local")
    for number in range(SERVICES):
        zone.put(str(number), [Record(f"web-{number}.shop.svc.cluster.local", "A", "10.43.0.7")])
    packets = [
        bytes(dnslib.DNSRecord.question(f"web-{n % SERVICES}.shop.svc.cluster.local").pack()) for n in range(QUESTIONS)
    ]
    started = time.process_time()
    for packet in packets:
        question = messages.read_question(packet)
        assert isinstance(question, Question)
        messages.write_answer(question, zone.lookup(question.name, question.kind), zone.domain)
    return {"dns_fresh_answers_per_second": QUESTIONS / (time.process_time() - started)}


def main() -> None:
    """Print the figures."""
    found: dict[str, float] = {}

    def apart() -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.unshare(CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        found.update(measure_services())

    thread = threading.Thread(target=apart)
    thread.start()
    thread.join()
    found.update(measure_names())
    for name, value in found.items():
        print(f"{name:32} {value:10.1f}")


if __name__ == "__main__":
    main()
