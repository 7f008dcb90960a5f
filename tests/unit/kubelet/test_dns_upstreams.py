"""Who is asked about names that are not the cluster's."""

from __future__ import annotations

import pytest

from carob.api.types import core_v1, meta_v1
from carob.api.user import UserInfo
from carob.base.clock import SystemClock
from carob.client.rest import Client
from carob.kubelet.dns_upstreams import Upstreams, resolvers
from carob.transport.http import Response
from carob.transport.memory import MemoryTransport

OWN = [("192.0.2.53", 53)]


def upstreams(**data: str) -> Upstreams:
    client = Client(MemoryTransport(lambda request: Response(404), UserInfo("node", ())))
    made = Upstreams(client, lambda: [address for address, _ in OWN], SystemClock())
    made.use(core_v1.ConfigMap(metadata=meta_v1.ObjectMeta(name="kube-dns"), data=data))
    return made


def test_the_longest_domain_decides() -> None:
    stubs = '{"acme.local": ["10.0.0.7"], "Deep.acme.local.": ["10.0.0.8:5353", "10.0.0.9"]}'
    found = upstreams(stubDomains=stubs)
    assert found.servers_of("www.acme.local") == [("10.0.0.7", 53)]
    assert found.servers_of("acme.local") == [("10.0.0.7", 53)]
    assert found.servers_of("a.deep.acme.local") == [("10.0.0.8", 5353), ("10.0.0.9", 53)]
    assert found.servers_of("notacme.local") == OWN


def test_other_names_go_to_the_given_servers_or_the_nodes_own() -> None:
    assert upstreams().servers_of("example.com") == OWN
    assert upstreams(upstreamNameservers='["10.0.0.1"]').servers_of("example.com") == [("10.0.0.1", 53)]


def test_when_the_map_goes_the_nodes_own_are_asked_again() -> None:
    found = upstreams(upstreamNameservers='["10.0.0.1"]', stubDomains='{"x": ["10.0.0.2"]}')
    found.use(None)
    assert found.servers_of("a.x") == OWN


@pytest.mark.parametrize("text", ["nonsense", "[]", '{"acme.local": "10.0.0.7"}', '{"acme.local": ["elsewhere"]}'])
def test_what_cannot_be_read_changes_nothing(text: str) -> None:
    assert upstreams(stubDomains=text).servers_of("www.acme.local") == OWN


def test_addresses_with_and_without_a_port() -> None:
    given = ["10.0.0.1", "10.0.0.2:54", "10.0.0.3:0", "10.0.0.4:x", "::1", "", 7, None]
    assert resolvers(given) == [("10.0.0.1", 53), ("10.0.0.2", 54)]
    assert resolvers("10.0.0.1") == []
