"""What a Service asks of a node, and how the proxy carries it there."""

from __future__ import annotations

from typing import Any

from carob.api import codec
from carob.api.types import core_v1, discovery_v1
from carob.kubelet.service_ports import Place, listeners, service_of
from carob.network.services import ANY_NODE6, Backends, Endpoint, ServicePort

HERE = Place("node-0", "z1")
CLUSTER, NODE = ServicePort("10.43.0.7", "tcp", 80), ServicePort("", "tcp", 30080)
ONE, TWO = Endpoint("10.42.0.2", 8080), Endpoint("10.42.1.2", 8080)


def service(labels: dict[str, str] | None = None, ingress: list[dict[str, Any]] | None = None, **spec: Any) -> Any:
    tree = {
        "metadata": {"name": "web", "namespace": "default", "labels": labels or {}},
        "spec": {
            "type": "ClusterIP",
            "clusterIP": "10.43.0.7",
            "clusterIPs": ["10.43.0.7"],
            "ports": [{"name": "http", "port": 80, "protocol": "TCP", "nodePort": 30080}],
        }
        | spec,
        "status": {"loadBalancer": {"ingress": ingress or []}},
    }
    return codec.from_tree(core_v1.Service, tree)


def endpoint(
    address: str, node: str = "node-0", ready: bool = True, serving: bool = True, ending: bool = False, **more: Any
) -> dict[str, Any]:
    conditions = {"ready": ready, "serving": serving, "terminating": ending}
    return {"addresses": [address], "nodeName": node, "conditions": conditions} | more


def slice_of(*endpoints: dict[str, Any], **more: Any) -> discovery_v1.EndpointSlice:
    tree = {
        "metadata": {"name": "web-1", "namespace": "default", "labels": {"kubernetes.io/service-name": "web"}},
        "addressType": "IPv4",
        "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
        "endpoints": list(endpoints),
    }
    return codec.from_tree(discovery_v1.EndpointSlice, tree | more)


BOTH = slice_of(endpoint("10.42.0.2"), endpoint("10.42.1.2", "node-1"))


def test_a_cluster_service_has_its_address_alone() -> None:
    assert listeners(service(), [BOTH], HERE) == {CLUSTER: Backends((ONE, TWO))}
    assert service_of(BOTH) == ("default/web",)


def test_nothing_is_programmed_for_what_has_no_address_here() -> None:
    assert listeners(service(clusterIP="None", clusterIPs=["None"]), [BOTH], HERE) == {}
    assert listeners(service(type="ExternalName", clusterIP=""), [BOTH], HERE) == {}
    for label in ("service.kubernetes.io/service-proxy-name", "service.kubernetes.io/headless"):
        assert listeners(service({label: ""}), [BOTH], HERE) == {}


def test_ports_go_by_name_and_only_what_is_ready_serves() -> None:
    other = slice_of(endpoint("10.42.0.9"), ports=[{"name": "metrics", "port": 9090, "protocol": "TCP"}])
    unready = slice_of(endpoint("10.42.0.3", ready=False, serving=False))
    assert listeners(service(), [BOTH, other, unready], HERE) == {CLUSTER: Backends((ONE, TWO))}
    assert listeners(service(), [other, unready], HERE) == {CLUSTER: Backends()}


def test_endpoints_that_end_serve_while_there_is_no_other() -> None:
    ending = slice_of(endpoint("10.42.0.2", ready=False, ending=True), endpoint("10.42.0.3", ready=False))
    assert listeners(service(), [ending], HERE)[CLUSTER].endpoints == (ONE,)
    assert listeners(service(), [ending, slice_of(endpoint("10.42.1.2"))], HERE)[CLUSTER].endpoints == (TWO,)


def test_node_ports_external_and_balanced_addresses() -> None:
    found = listeners(
        service(
            type="LoadBalancer",
            externalIPs=["203.0.113.1"],
            loadBalancerSourceRanges=["10.0.0.0/8"],
            ingress=[{"ip": "192.0.2.1"}, {"ip": "192.0.2.2", "ipMode": "Proxy"}],
        ),
        [BOTH],
        HERE,
    )
    plain = Backends((ONE, TWO))
    assert found == {
        CLUSTER: plain,
        NODE: plain,
        ServicePort("203.0.113.1", "tcp", 80): plain,
        ServicePort("192.0.2.1", "tcp", 80): plain._replace(sources=("10.0.0.0/8",)),
    }


def test_traffic_policies() -> None:
    outer = listeners(service(type="NodePort", externalTrafficPolicy="Local"), [BOTH], HERE)
    assert outer[NODE] == Backends((ONE, TWO), outside=(ONE,))
    assert outer[CLUSTER] == Backends((ONE, TWO))
    inner = service(internalTrafficPolicy="Local")
    assert listeners(inner, [BOTH], HERE)[CLUSTER] == Backends((ONE,), drops=True)
    assert listeners(inner, [BOTH], Place("node-9"))[CLUSTER] == Backends(drops=True)
    assert listeners(inner, [], HERE)[CLUSTER] == Backends()


def test_affinity() -> None:
    assert listeners(service(sessionAffinity="ClientIP"), [BOTH], HERE)[CLUSTER].sticky_seconds == 10800
    config = {"clientIP": {"timeoutSeconds": 5}}
    sticky = service(sessionAffinity="ClientIP", sessionAffinityConfig=config)
    assert listeners(sticky, [BOTH], HERE)[CLUSTER].sticky_seconds == 5


def test_hints_keep_traffic_near_if_every_endpoint_has_them() -> None:
    zones = slice_of(
        endpoint("10.42.0.2", hints={"forZones": [{"name": "z1"}]}),
        endpoint("10.42.1.2", "node-1", hints={"forZones": [{"name": "z2"}]}),
    )
    assert listeners(service(), [zones], HERE)[CLUSTER].endpoints == (ONE,)
    assert listeners(service(), [zones], Place("node-9", "z9"))[CLUSTER].endpoints == (ONE, TWO)
    assert listeners(service(), [zones, slice_of(endpoint("10.42.1.2"))], HERE)[CLUSTER].endpoints == (ONE, TWO)
    nodes = slice_of(
        endpoint("10.42.0.2", hints={"forNodes": [{"name": "node-0"}]}),
        endpoint("10.42.1.2", "node-1", hints={"forNodes": [{"name": "node-1"}]}),
    )
    assert listeners(service(), [nodes], Place("node-1"))[CLUSTER].endpoints == (TWO,)


def test_each_family_has_its_own_addresses_and_endpoints() -> None:
    six = slice_of(endpoint("fd00:42::2"), addressType="IPv6")
    both = service(
        None,
        [{"ip": "10.42.255.1", "ipMode": "VIP"}, {"ip": "fd00:42:0:ff::1", "ipMode": "VIP"}],
        type="LoadBalancer",
        clusterIPs=["10.43.0.7", "fd00:43::7"],
        externalIPs=["192.0.2.7", "2001:db8::7"],
        loadBalancerSourceRanges=["192.0.2.0/24", "2001:db8::/32"],
    )
    four, other = Backends((ONE, TWO)), Backends((Endpoint("fd00:42::2", 8080),))
    in_four = {
        CLUSTER: four,
        NODE: four,
        ServicePort("192.0.2.7", "tcp", 80): four,
        ServicePort("10.42.255.1", "tcp", 80): four._replace(sources=("192.0.2.0/24",)),
    }
    in_six = {
        ServicePort("fd00:43::7", "tcp", 80): other,
        ServicePort(ANY_NODE6, "tcp", 30080): other,
        ServicePort("2001:db8::7", "tcp", 80): other,
        ServicePort("fd00:42:0:ff::1", "tcp", 80): other._replace(sources=("2001:db8::/32",)),
    }
    assert listeners(both, [BOTH, six], HERE) == in_four
    assert listeners(both, [BOTH, six], HERE, dual=True) == in_four | in_six
    single = service(type="NodePort", externalIPs=["2001:db8::7"])
    assert set(listeners(single, [BOTH, six], HERE, dual=True)) == {CLUSTER, NODE}
    only_six = service(clusterIP="fd00:43::7", clusterIPs=["fd00:43::7"], type="NodePort")
    assert set(listeners(only_six, [six], HERE, dual=True)) == set(in_six) - {
        ServicePort("2001:db8::7", "tcp", 80),
        ServicePort("fd00:42:0:ff::1", "tcp", 80),
    }
