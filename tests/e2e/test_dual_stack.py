"""A dual-stack cluster of two nodes, with real packets in both families. Source: upstream "[sig-network] DualStack"."""

from __future__ import annotations

import ipaddress
import json
import os
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from clusters import WEB_IMAGE, Cluster, start
from machine import left_behind, look

from carob.cli.ranges import has_ipv6

pytestmark = [
    pytest.mark.root,
    pytest.mark.slow,
    pytest.mark.skipif(not has_ipv6(), reason="needs IPv6"),
]

HOST_PORT = 18086
"""In the network namespace of a node that lives apart, where nobody else has ports."""


@pytest.fixture(scope="module")
def dual(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    before, number = look(), os.getpid() % 10000
    # ranges that no other cluster of the machine has
    pods = f"172.{16 + number % 8}.0.0/16,fd00:{number}:1::/56"
    services = f"172.{24 + number % 8}.0.0/16,fd00:{number}:2::/108"
    flags = ("--cluster-cidr", pods, "--service-cidr", services)
    cluster = start(f"dual-{number}", tmp_path_factory.mktemp("dual"), "--nodes", "2", *flags)
    try:
        furnish(cluster)
        yield cluster
    finally:
        done = cluster.carob("down", timeout=120)
    done.check()
    left = left_behind(before)
    assert not left, "carob down left the machine changed:\n" + "\n".join(left)


def furnish(cluster: Cluster) -> None:
    """A Pod on each node, and a Service of each kind."""
    for name, node in (("one", "node-0"), ("two", "node-1")):
        port = {"containerPort": 8080} | ({"hostPort": HOST_PORT} if name == "two" else {})
        container = {"name": "web", "image": WEB_IMAGE, "ports": [port]}
        create(cluster, "Pod", name, {"nodeName": node, "terminationGracePeriodSeconds": 0, "containers": [container]})
    ports = [{"name": "http", "port": 80, "targetPort": 8080}]
    both = {"selector": {"app": "web"}, "ipFamilyPolicy": "RequireDualStack"}
    create(cluster, "Service", "web", both | {"type": "LoadBalancer", "ports": ports})
    create(cluster, "Service", "head", both | {"clusterIP": "None", "ports": [{"name": "http", "port": 8080}]})
    for name in ("one", "two"):
        cluster.wait_ready(name)


def create(cluster: Cluster, kind: str, name: str, spec: dict[str, Any]) -> None:
    versions = {"NetworkPolicy": "networking.k8s.io/v1"}
    metadata = {"name": name, "labels": {"app": "web", "name": name}}
    tree = {"apiVersion": versions.get(kind, "v1"), "kind": kind, "metadata": metadata, "spec": spec}
    cluster.carob("create", "-f", "-", stdin=json.dumps(tree)).check()


def get(cluster: Cluster, *what: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(cluster.carob("get", *what, "-o", "json").check().out)
    return found


def addresses_of(cluster: Cluster, pod: str) -> list[str]:
    return [one["ip"] for one in get(cluster, "pod", pod)["status"]["podIPs"]]


def families(addresses: list[str]) -> list[int]:
    return [ipaddress.ip_address(text).version for text in addresses]


def fetches(cluster: Cluster, pod: str, address: str, port: int) -> bool:
    line = f"printf 'GET / HTTP/1.0\\r\\n\\r\\n' | timeout 5 nc {address} {port} | grep -q Hello"
    return cluster.carob("exec", pod, "--", "sh", "-c", line).code == 0


def until(cluster: Cluster, what: str, holds: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not holds():
        if time.monotonic() > end:
            pytest.fail(
                f"not within a minute: {what}\n{cluster.carob('get', 'pods,svc,nodes', '-o', 'wide').out}\n{cluster.logs()}"
            )
        time.sleep(0.1)


def test_nodes_and_pods_have_two_addresses(dual: Cluster) -> None:
    for node in ("node-0", "node-1"):
        found = get(dual, "node", node)
        inner = [one["address"] for one in found["status"]["addresses"] if one["type"] == "InternalIP"]
        assert families(inner) == [4, 6]
        ranges = [ipaddress.ip_network(text) for text in found["spec"]["podCIDRs"]]
        assert [one.prefixlen for one in ranges] == [24, 64]
        pod = get(dual, "pod", "one" if node == "node-0" else "two")["status"]
        assert [one["ip"] for one in pod["hostIPs"]] == inner
        own = [one["ip"] for one in pod["podIPs"]]
        assert own[0] == pod["podIP"]
        assert all(ipaddress.ip_address(text) in range_ for text, range_ in zip(own, ranges, strict=True))
    hosts = dual.carob("exec", "one", "--", "cat", "/etc/hosts").check().out
    assert all(f"{address}\tone" in hosts for address in addresses_of(dual, "one"))


def test_pods_services_and_ports_of_nodes_answer_in_both_families(dual: Cluster) -> None:
    service = get(dual, "service", "web")
    assert families(service["spec"]["clusterIPs"]) == [4, 6]

    def balanced() -> list[str]:
        return [one["ip"] for one in get(dual, "service", "web")["status"].get("loadBalancer", {}).get("ingress", [])]

    until(dual, "an address of each family", lambda: len(balanced()) == 2)
    assert families(balanced()) == [4, 6]
    targets = [(address, 8080) for pod in ("one", "two") for address in addresses_of(dual, pod)]
    targets += [(address, 80) for address in (*service["spec"]["clusterIPs"], *balanced())]
    node_port = service["spec"]["ports"][0]["nodePort"]
    for node in ("node-0", "node-1"):
        inner = [
            one["address"] for one in get(dual, "node", node)["status"]["addresses"] if one["type"] == "InternalIP"
        ]
        targets += [(address, node_port) for address in inner]
        targets += [(address, HOST_PORT) for address in inner if node == "node-1"]
    for pod in ("one", "two"):
        for address, port in targets:
            until(dual, f"{pod} reaches {address} {port}", lambda to=(address, port), pod=pod: fetches(dual, pod, *to))  # type: ignore[misc]
    # and from the machine itself
    for address, port in targets:
        done = dual.run(
            "curl",
            "-sg",
            "--max-time",
            "5",
            f"http://[{address}]:{port}/" if ":" in address else f"http://{address}:{port}/",
        )
        assert "Hello" in done.check().out, (address, port)


def test_each_family_has_slices_and_names(dual: Cluster) -> None:
    slices = get(dual, "endpointslices", "-l", "kubernetes.io/service-name=head")["items"]
    found = {one["addressType"]: {a for e in one["endpoints"] for a in e["addresses"]} for one in slices}
    own = [addresses_of(dual, pod) for pod in ("one", "two")]
    assert found == {"IPv4": {one[0] for one in own}, "IPv6": {one[1] for one in own}}
    said = dual.carob("exec", "two", "--", "nslookup", "head.default.svc.cluster.local.").out
    assert all(address in said for one in own for address in one)
    address = get(dual, "service", "web")["spec"]["clusterIPs"][1]
    assert "web.default.svc.cluster.local" in dual.carob("exec", "one", "--", "nslookup", address).out


def test_policies_hold_in_both_families_across_nodes(dual: Cluster) -> None:
    targets = addresses_of(dual, "two")
    assert all(fetches(dual, "one", address, 8080) for address in targets)
    create(dual, "NetworkPolicy", "none", {"podSelector": {"matchLabels": {"name": "two"}}})
    for address in targets:
        until(dual, f"{address} is closed", lambda address=address: not fetches(dual, "one", address, 8080))  # type: ignore[misc]
    peer = {"podSelector": {"matchLabels": {"name": "one"}}}
    some = {"podSelector": {"matchLabels": {"name": "two"}}, "ingress": [{"from": [peer]}]}
    create(dual, "NetworkPolicy", "some", some)
    for address in targets:
        until(dual, f"{address} is open", lambda address=address: fetches(dual, "one", address, 8080))  # type: ignore[misc]
    for address in targets:
        said = dual.carob("explain-flow", "one", f"{address}:8080").check()
        assert "default/one -> default/two 8080/TCP: allowed" in said.out
    assert "denied" in dual.carob("explain-flow", "192.0.2.7", f"{targets[1]}:8080").out
    behind = dual.carob("explain-flow", "one", "svc/web:http").out
    assert behind.count("default/one -> default/two") == 1
    dual.carob("delete", "networkpolicy", "none", "some").check()


def test_a_service_of_the_second_family_alone(dual: Cluster) -> None:
    spec = {"selector": {"app": "web"}, "ipFamilies": ["IPv6"], "ports": [{"port": 80, "targetPort": 8080}]}
    create(dual, "Service", "six", spec)
    address = get(dual, "service", "six")["spec"]["clusterIP"]
    assert families([address]) == [6]
    until(dual, "it answers", lambda: fetches(dual, "two", address, 80))
    page = dual.carob("get", "--raw", "/api/v1/namespaces/default/services/six:80/proxy/").check().out
    assert "Hello" in page
    endpoints = get(dual, "endpoints", "six")["subsets"][0]["addresses"]
    assert {one["ip"] for one in endpoints} == {addresses_of(dual, pod)[1] for pod in ("one", "two")}


def test_pods_in_the_node_s_network_stand_behind_services_in_both_families(dual: Cluster) -> None:
    container = {"name": "web", "image": WEB_IMAGE}
    spec = {"nodeName": "node-1", "hostNetwork": True, "terminationGracePeriodSeconds": 0, "containers": [container]}
    create(dual, "Pod", "host", spec)
    ports = [{"port": 80, "targetPort": 8080}]
    create(dual, "Service", "host", {"selector": {"name": "host"}, "ipFamilyPolicy": "PreferDualStack", "ports": ports})
    dual.wait_ready("host")
    own = [one["address"] for one in get(dual, "node", "node-1")["status"]["addresses"] if one["type"] == "InternalIP"]
    assert addresses_of(dual, "host") == own
    for address in get(dual, "service", "host")["spec"]["clusterIPs"]:
        for pod in ("one", "two"):
            until(dual, f"{pod} reaches {address}", lambda to=address, pod=pod: fetches(dual, pod, to, 80))  # type: ignore[misc]
    dual.carob("delete", "pod,service", "host").check()


def test_a_service_gives_its_second_address_back(dual: Cluster) -> None:
    ports = [{"port": 80, "targetPort": 8080}]
    create(dual, "Service", "late", {"selector": {"name": "one"}, "ports": ports})
    dual.carob("patch", "service", "late", "-p", '{"spec":{"ipFamilyPolicy":"PreferDualStack"}}').check()
    _, second = get(dual, "service", "late")["spec"]["clusterIPs"]
    until(dual, "the second address answers", lambda: fetches(dual, "two", second, 80))
    dual.carob("patch", "service", "late", "-p", '{"spec":{"ipFamilyPolicy":"SingleStack"}}').check()
    assert families(get(dual, "service", "late")["spec"]["clusterIPs"]) == [4]
    until(dual, "the second address is nobody's", lambda: not fetches(dual, "two", second, 80))
    assert dual.carob("get", "ipaddress", second).code == 1
