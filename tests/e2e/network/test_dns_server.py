"""The DNS server with real sockets, on addresses of the loopback: UDP, TCP, names that others know."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import dnslib

from carob.base.clock import SystemClock
from carob.base.ids import SystemRandomness
from carob.base.tasks import TaskGroup
from carob.network.dns.forward import Forwarder
from carob.network.dns.server import DnsServer
from carob.network.dns.zone import Record, Zone
from tests.ports import free_port

ADDRESS = "127.0.0.1"


class Upstream(asyncio.DatagramProtocol):
    """Knows that everything is at 192.0.2.1; first answers with a wrong id, and to another question."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, address: Any) -> None:
        question = dnslib.DNSRecord.parse(data)
        self.asked.append(str(question.q.qname))
        reply = question.reply()
        reply.add_answer(dnslib.RR(question.q.qname, rdata=dnslib.A("192.0.2.1"), ttl=60))
        packed = bytes(reply.pack())
        self._transport.sendto(bytes([packed[0] ^ 1]) + packed[1:12] + bytes(20), address)
        other = dnslib.DNSRecord.question("example.org").reply()
        other.add_answer(dnslib.RR("example.org", rdata=dnslib.A("192.0.2.66"), ttl=60))
        self._transport.sendto(packed[:2] + bytes(other.pack())[2:], address)
        self._transport.sendto(packed, address)


class World:
    def __init__(self) -> None:
        self.zone = Zone("cluster.local", ("10.43.0.0/16",))
        self.zone.put("web", [Record("web.shop.svc.cluster.local", "A", "10.43.0.7")])
        self.zone.put("many", [Record("many.cluster.local", "A", f"10.42.0.{n}") for n in range(200)])
        few = [Record("few.cluster.local", "A", f"10.42.1.{n}") for n in range(3)]
        ports = [Record("few.cluster.local", "SRV", f"0 7 80 few-{n}.few.cluster.local") for n in range(12)]
        own = [Record(f"few-{n}.few.cluster.local", "A", f"10.42.1.{n}") for n in range(12)]
        self.zone.put("few", few + ports + own)
        self.zone.put("out", [Record("out.shop.svc.cluster.local", "CNAME", "example.com")])
        self.upstream = Upstream()
        self.stubs: dict[str, list[tuple[str, int]]] = {}
        self.port, self.upstream_port = 0, 0

    async def ask(self, name: str, kind: str = "A", tcp: bool = False, class_: str = "IN", room: int = 0) -> Any:
        question = dnslib.DNSRecord.question(name, kind, class_)
        if room:
            question.add_ar(dnslib.EDNS0(udp_len=room))
        data = await asyncio.to_thread(question.send, ADDRESS, self.port, tcp, 3)
        answer = dnslib.DNSRecord.parse(data)
        assert answer.header.id == question.header.id
        assert len(data) <= (65535 if tcp else max(512, min(1232, room)))
        # resolvers wait on for another answer than one that does not repeat their question
        assert [str(q) for q in answer.questions] == [str(q) for q in question.questions]
        return answer


async def open_somewhere(server: DnsServer, world: World) -> None:
    """A port that is free for UDP may be somebody's for TCP, or taken a moment later: try another."""
    for _ in range(50):
        world.port = free_port()
        try:
            await server.open([ADDRESS], world.port)
        except OSError:
            continue
        return
    raise AssertionError("no port is free for both")


def with_world(test: Callable[[World], Awaitable[None]], resolvers: tuple[str, ...] = (ADDRESS,)) -> None:
    async def run() -> None:
        world = World()
        loop = asyncio.get_running_loop()
        upstream, _ = await loop.create_datagram_endpoint(lambda: world.upstream, local_addr=(ADDRESS, 0))
        world.upstream_port = upstream.get_extra_info("sockname")[1]
        asked = [(address, world.upstream_port) for address in resolvers]
        forwarder = Forwarder(lambda name: world.stubs.get(name, asked), SystemClock(), SystemRandomness())
        server = DnsServer(world.zone, forwarder)
        try:
            await open_somewhere(server, world)
            async with TaskGroup() as group:
                running = group.spawn(server.run(), "server")
                await asyncio.sleep(0)
                async with asyncio.timeout(20):
                    await test(world)
                running.cancel()
        finally:
            server.close()
            upstream.close()

    asyncio.run(run())


def addresses(answer: Any) -> list[str]:
    return [str(r.rdata) for r in answer.rr if r.rtype == dnslib.QTYPE.A]


def test_own_names_are_answered_and_follow_what_changes() -> None:
    async def test(world: World) -> None:
        for tcp in (False, True, False):
            assert addresses(await world.ask("web.shop.svc.cluster.local", tcp=tcp)) == ["10.43.0.7"]
        world.zone.put("web", [Record("web.shop.svc.cluster.local", "A", "10.43.0.8")])
        assert addresses(await world.ask("web.shop.svc.cluster.local")) == ["10.43.0.8"]
        world.zone.put("web", ())
        assert (await world.ask("web.shop.svc.cluster.local")).header.rcode == 3
        assert world.upstream.asked == []

    with_world(test)


def test_what_is_cut_over_udp_is_whole_over_tcp() -> None:
    async def test(world: World) -> None:
        for room, fitting in ((0, 29), (1232, 74), (4096, 74)):
            cut = await world.ask("many.cluster.local", room=room)
            assert cut.header.tc
            assert len(addresses(cut)) == fitting, "some resolvers make do with what fits"
        assert len(addresses(await world.ask("many.cluster.local", tcp=True))) == 200

    with_world(test)


def test_what_nobody_asked_for_is_left_out_first() -> None:
    async def test(world: World) -> None:
        told, whole = (
            await world.ask("few.cluster.local", "SRV", room=700),
            await world.ask("few.cluster.local", "SRV", tcp=True),
        )
        assert (len(told.rr), len(whole.rr), len(whole.ar)) == (12, 12, 12)
        assert (told.header.tc, [dnslib.QTYPE[extra.rtype] for extra in told.ar]) == (0, ["OPT"])

    with_world(test)


def test_each_answer_begins_with_another_address() -> None:
    async def test(world: World) -> None:
        told = [addresses(await world.ask("few.cluster.local")) for _ in range(6)]
        assert {one[0] for one in told[:3]} == {one[0] for one in told[3:]} == {f"10.42.1.{n}" for n in range(3)}
        assert {tuple(sorted(one)) for one in told} == {("10.42.1.0", "10.42.1.1", "10.42.1.2")}

    with_world(test)


def test_other_classes_are_refused() -> None:
    async def test(world: World) -> None:
        assert (await world.ask("version.bind", "TXT", class_="CH")).header.rcode == 5

    with_world(test)


def test_other_names_are_asked_elsewhere_once() -> None:
    async def test(world: World) -> None:
        for tcp in (False, False, True):
            assert addresses(await world.ask("example.com", tcp=tcp)) == ["192.0.2.1"]
        assert world.upstream.asked == ["example.com."]

    with_world(test)


def test_an_alias_to_elsewhere_brings_its_addresses() -> None:
    async def test(world: World) -> None:
        assert addresses(await world.ask("out.shop.svc.cluster.local")) == ["192.0.2.1"]

    with_world(test)


def test_without_a_resolver_it_fails_at_once() -> None:
    async def test(world: World) -> None:
        assert (await world.ask("example.com")).header.rcode == 2

    with_world(test, resolvers=())


def test_who_is_asked_depends_on_the_name() -> None:
    async def test(world: World) -> None:
        world.stubs["lost.example.com"] = []
        assert (await world.ask("lost.example.com")).header.rcode == 2
        assert addresses(await world.ask("found.example.com")) == ["192.0.2.1"]

    with_world(test)
