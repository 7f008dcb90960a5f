"""Which names the cluster has, and what is answered."""

from __future__ import annotations

from typing import Any

import dnslib
import pytest

from carob.api import codec
from carob.api.types import core_v1, discovery_v1
from carob.kubelet.dns_records import records_of
from carob.network.dns import messages
from carob.network.dns.messages import Question
from carob.network.dns.zone import Answer, Record, Zone, reverse_name

DOMAIN = "cluster.local"


def service(name: str = "web", **spec: Any) -> core_v1.Service:
    tree = {
        "metadata": {"name": name, "namespace": "shop"},
        "spec": {
            "clusterIP": "10.43.0.7",
            "clusterIPs": ["10.43.0.7"],
            "ports": [{"name": "http", "port": 80, "protocol": "TCP"}],
        }
        | spec,
    }
    return codec.from_tree(core_v1.Service, tree)


def slice_of(*endpoints: dict[str, Any]) -> discovery_v1.EndpointSlice:
    ports = [{"name": "http", "port": 8080, "protocol": "TCP"}]
    tree = {"metadata": {"name": "x"}, "addressType": "IPv4", "ports": ports, "endpoints": list(endpoints)}
    return codec.from_tree(discovery_v1.EndpointSlice, tree)


def headless() -> Zone:
    zone = Zone(DOMAIN, ("10.43.0.0/16", "10.42.0.0/16"))
    endpoints = slice_of(
        {"addresses": ["10.42.0.5"], "hostname": "db-0"},
        {"addresses": ["10.42.0.6"]},
        {"addresses": ["10.42.0.7"], "conditions": {"ready": False}},
    )
    db = service("db", clusterIP="None", clusterIPs=["None"])
    zone.put("shop/db", records_of(db, [endpoints], DOMAIN))
    return zone


@pytest.fixture
def zone() -> Zone:
    made = Zone(DOMAIN, ("10.43.0.0/16", "10.42.0.0/16"))
    made.put("shop/web", records_of(service(), [], DOMAIN))
    made.put("shop/out", records_of(service("out", type="ExternalName", externalName="Example.COM."), [], DOMAIN))
    return made


def data(answer: Answer) -> list[str]:
    return sorted(record.data for record in answer.records)


def test_a_service_has_an_address_ports_and_a_reverse_name(zone: Zone) -> None:
    name = "web.shop.svc.cluster.local"
    assert data(zone.lookup(name, "A")) == ["10.43.0.7"]
    found = zone.lookup(f"_http._tcp.{name}", "SRV")
    assert data(found) == [f"0 100 80 {name}"]
    assert found.extra == (Record(name, "A", "10.43.0.7"),)
    assert zone.covers("7.0.43.10.in-addr.arpa")
    assert data(zone.lookup("7.0.43.10.in-addr.arpa", "PTR")) == [name]


def test_a_headless_service_is_its_ready_endpoints() -> None:
    zone = headless()
    name = "db.shop.svc.cluster.local"
    assert data(zone.lookup(name, "A")) == ["10.42.0.5", "10.42.0.6"]
    assert data(zone.lookup(f"db-0.{name}", "A")) == ["10.42.0.5"]
    assert data(zone.lookup(f"10-42-0-6.{name}", "A")) == ["10.42.0.6"]
    assert data(zone.lookup(f"_http._tcp.{name}", "SRV")) == [f"0 50 8080 10-42-0-6.{name}", f"0 50 8080 db-0.{name}"]
    assert data(zone.lookup("5.0.42.10.in-addr.arpa", "PTR")) == [f"db-0.{name}"]


def test_nothing_of_a_kind_is_not_no_such_name(zone: Zone) -> None:
    assert zone.lookup("web.shop.svc.cluster.local", "AAAA") == Answer(0)
    for name in ("shop.svc.cluster.local", "_tcp.web.shop.svc.cluster.local", "svc.cluster.local", DOMAIN):
        assert zone.lookup(name, "A") == Answer(0), name
    for name in ("nobody.shop.svc.cluster.local", "x.cluster.local", "9.0.43.10.in-addr.arpa"):
        assert zone.covers(name)
        assert zone.lookup(name, "A").code == 3, name


def test_other_names_are_not_ours(zone: Zone) -> None:
    for name in (
        "example.com",
        "cluster.local.example.com",
        "mycluster.local",
        "8.8.8.8.in-addr.arpa",
        "x.in-addr.arpa",
    ):
        assert not zone.covers(name), name


def test_pods_are_found_by_their_address(zone: Zone) -> None:
    assert data(zone.lookup("10-42-0-9.shop.pod.cluster.local", "A")) == ["10.42.0.9"]
    assert zone.lookup("10-42-0-999.shop.pod.cluster.local", "A").code == 3


def test_an_external_name_is_an_alias(zone: Zone) -> None:
    found = zone.lookup("out.shop.svc.cluster.local", "A")
    assert (data(found), found.target) == (["example.com"], "example.com")
    inner = service("in", type="ExternalName", externalName="web.shop.svc.cluster.local")
    zone.put("shop/in", records_of(inner, [], DOMAIN))
    assert data(zone.lookup("in.shop.svc.cluster.local", "A")) == ["10.43.0.7", "web.shop.svc.cluster.local"]


def test_aliases_in_a_circle_end(zone: Zone) -> None:
    zone.put("a", [Record("a.cluster.local", "CNAME", "b.cluster.local")])
    zone.put("b", [Record("b.cluster.local", "CNAME", "a.cluster.local")])
    assert zone.lookup("a.cluster.local", "A").code == 0


def test_a_service_that_goes_leaves_no_name(zone: Zone) -> None:
    before = zone.generation
    zone.put("shop/web", records_of(service(), [], DOMAIN))
    assert zone.generation == before, "nothing has changed"
    zone.put("shop/web", ())
    zone.put("shop/out", ())
    assert zone.lookup("web.shop.svc.cluster.local", "A").code == 3
    assert zone.lookup("shop.svc.cluster.local", "A").code == 3


# packets


def asked(name: str, kind: str = "A", edns: int = 0) -> Question:
    question = dnslib.DNSRecord.question(name, kind)
    if edns:
        question.add_ar(dnslib.EDNS0(udp_len=edns))
    found = messages.read_question(bytes(question.pack()))
    assert isinstance(found, Question)
    return found


def test_an_answer_keeps_the_name_as_it_was_asked(zone: Zone) -> None:
    question = asked("WEB.shop.svc.cluster.LOCAL")
    packed = messages.write_answer(question, zone.lookup(question.name, question.kind), DOMAIN)
    answer = dnslib.DNSRecord.parse(packed)
    assert answer.header.aa
    assert str(answer.rr[0].rname) == "WEB.shop.svc.cluster.LOCAL."
    assert str(answer.rr[0].rdata) == "10.43.0.7"


def test_no_such_name_says_for_how_long(zone: Zone) -> None:
    question = asked("nobody.shop.svc.cluster.local", edns=4096)
    packed = messages.write_answer(question, zone.lookup(question.name, question.kind), DOMAIN)
    answer = dnslib.DNSRecord.parse(packed)
    assert answer.header.rcode == 3
    assert answer.auth[0].rtype == dnslib.QTYPE.SOA
    assert answer.ar[0].rtype == dnslib.QTYPE.OPT
    assert question.room_bytes == messages.MAX_UDP_BYTES


def test_what_does_not_fit_is_cut_and_marked() -> None:
    zone = Zone(DOMAIN)
    zone.put("a", [Record("many.cluster.local", "A", f"10.42.0.{n}") for n in range(200)])
    question = asked("many.cluster.local")
    packed = messages.write_answer(question, zone.lookup(question.name, "A"), DOMAIN)
    assert len(packed) > 512
    cut = messages.fit(packed, question.room_bytes)
    assert len(cut) <= 512
    assert dnslib.DNSRecord.parse(cut).header.tc
    assert messages.fit(packed, 65535) == packed


@pytest.mark.parametrize("junk", [b"", b"short", b"\0\1\x81\0" + bytes(8)])
def test_what_is_no_question_gets_no_answer(junk: bytes) -> None:
    assert messages.read_question(junk) is None


def test_malformed_questions_are_refused() -> None:
    head = b"\0\1\1\0\0\1\0\0\0\0\0\0"
    found = messages.read_question(head + b"\xff")
    assert isinstance(found, bytes)
    assert dnslib.DNSRecord.parse(found).header.rcode == 1
    assert isinstance(messages.read_question(b"\0\1\1\0\0\0\0\0\0\0\0\0"), bytes)


def test_kept_answers_grow_old() -> None:
    reply = dnslib.DNSRecord.question("example.com").reply()
    reply.add_answer(dnslib.RR("example.com", rdata=dnslib.A("192.0.2.1"), ttl=20))
    packed = bytes(reply.pack())
    assert messages.time_to_live(packed, 30) == 20
    assert messages.time_to_live(packed, 10) == 10
    assert dnslib.DNSRecord.parse(messages.aged(packed, 5)).rr[0].ttl == 15
    reply.header.rcode = 2
    assert messages.time_to_live(bytes(reply.pack()), 30) == 0


def test_a_second_family_has_names_and_addresses_too() -> None:
    zone = Zone(DOMAIN, ["10.43.0.0/16", "fd00:43::/108"])
    zone.put(
        "a",
        [
            Record("web.cluster.local", "AAAA", "fd00:43::7"),
            Record(reverse_name("fd00:43::7"), "PTR", "web.cluster.local"),
        ],
    )
    assert zone.lookup(reverse_name("fd00:43::7"), "PTR").records[0].data == "web.cluster.local"
    assert zone.covers(reverse_name("fd00:43::8")), "ours, though nobody has it"
    assert not zone.covers(reverse_name("2001:db8::1"))
    for strange in ("ip6.arpa", "x.ip6.arpa", "7.0.ip6.arpa", "g" + reverse_name("fd00:43::8")[1:]):
        assert not zone.covers(strange)
    (found,) = zone.lookup("fd00-42--7.shop.pod.cluster.local", "AAAA").records
    assert found.data == "fd00:42::7"
    assert zone.lookup("fd00-zz.shop.pod.cluster.local", "AAAA").code == 3
