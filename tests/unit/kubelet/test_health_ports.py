"""What load balancers outside are told."""

from __future__ import annotations

import json
from typing import Any

from carob.api import codec
from carob.api.types import core_v1, discovery_v1
from carob.kubelet.health_ports import answer, local_endpoints


def slice_of(*endpoints: dict[str, Any]) -> discovery_v1.EndpointSlice:
    tree = {"metadata": {"name": "web-1"}, "addressType": "IPv4", "endpoints": list(endpoints)}
    return codec.from_tree(discovery_v1.EndpointSlice, tree)


def test_only_ready_endpoints_of_the_node_count_each_once() -> None:
    here = {"addresses": ["10.42.0.2"], "nodeName": "a"}
    there = {"addresses": ["10.42.1.2"], "nodeName": "b"}
    unready = {"addresses": ["10.42.0.3"], "nodeName": "a", "conditions": {"ready": False}}
    assert local_endpoints([slice_of(here, there, unready), slice_of(here)], "a") == 1
    assert local_endpoints([], "a") == 0


def test_the_answer_says_how_many() -> None:
    service = codec.from_tree(core_v1.Service, {"metadata": {"name": "web", "namespace": "shop"}})
    head, _, body = answer(service, 2).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 ")
    assert json.loads(body) == {
        "service": {"namespace": "shop", "name": "web"},
        "localEndpoints": 2,
        "serviceProxyHealthy": True,
    }
    assert answer(service, 0).startswith(b"HTTP/1.1 503 ")
