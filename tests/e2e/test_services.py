"""Services, with real Pods behind them."""

from __future__ import annotations

import json
import socket
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import dnslib
import pytest
from clusters import WEB_IMAGE, Cluster

pytestmark = [pytest.mark.root, pytest.mark.slow]


def web_pod(name: str, **labels: str) -> dict[str, Any]:
    ports = [{"name": "http", "containerPort": 8080}]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": labels},
        "spec": {
            "terminationGracePeriodSeconds": 0,
            "containers": [{"name": "web", "image": WEB_IMAGE, "ports": ports}],
        },
    }


def service(name: str, selector: dict[str, str], **spec: Any) -> dict[str, Any]:
    ports = [{"name": "http", "port": 80, "targetPort": "http"}]
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {"selector": selector, "ports": ports} | spec,
    }


def create(cluster: Cluster, *objects: dict[str, Any]) -> None:
    manifest = {"apiVersion": "v1", "kind": "List", "items": list(objects)}
    cluster.carob("create", "-f", "-", stdin=json.dumps(manifest)).check()


def get(cluster: Cluster, what: str, path: str) -> str:
    return cluster.carob("get", what, "-o", f"jsonpath={{{path}}}").check().out


def page(address: str, port: int, timeout: float = 2.0) -> str:
    with urllib.request.urlopen(f"http://{address}:{port}/", timeout=timeout) as answer:
        return str(answer.read().decode())


def fetch(address: str, port: int = 80) -> str:
    """The page, as soon as somebody serves it; what is refused is tried again for a while."""
    end = time.monotonic() + 10
    while True:
        try:
            return page(address, port)
        except (urllib.error.URLError, OSError):
            if time.monotonic() > end:
                raise
            time.sleep(0.02)


def refused(address: str, port: int = 80) -> bool:
    """Whether connections come to be refused, within a while."""
    end = time.monotonic() + 10
    while time.monotonic() < end:
        try:
            page(address, port)
        except urllib.error.URLError as error:
            if isinstance(error.reason, ConnectionRefusedError):
                return True
        time.sleep(0.02)
    return False


def test_a_service_leads_to_its_pods_from_everywhere(cluster: Cluster) -> None:
    create(cluster, web_pod("svc-a", app="svc"), service("svc", {"app": "svc"}, type="NodePort"))
    cluster.wait_ready("svc-a")
    address, port = (
        get(cluster, "service/svc", ".spec.clusterIP"),
        get(cluster, "service/svc", ".spec.ports[0].nodePort"),
    )
    assert "Hello from a Pod" in fetch(address)
    assert "Hello from a Pod" in fetch("127.0.0.1", int(port))
    # from the Pod to itself, through its own Service
    request = f"printf 'GET / HTTP/1.0\\r\\n\\r\\n' | nc {address} 80"
    assert "Hello from a Pod" in cluster.carob("exec", "svc-a", "--", "sh", "-c", request).check().out
    cluster.carob("delete", "pod", "svc-a").check()
    assert refused(address)
    assert refused("127.0.0.1", int(port))
    cluster.carob("delete", "service", "svc").check()


def test_endpoints_written_by_hand_are_served(cluster: Cluster) -> None:
    create(cluster, web_pod("by-hand"), service("by-hand", {}))
    cluster.wait_ready("by-hand")
    ip, address = get(cluster, "pod/by-hand", ".status.podIP"), get(cluster, "service/by-hand", ".spec.clusterIP")
    assert refused(address)
    metadata = {"name": "by-hand-1", "labels": {"kubernetes.io/service-name": "by-hand"}}
    by_hand = {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": metadata,
        "addressType": "IPv4",
        "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
        "endpoints": [{"addresses": [ip]}],
    }
    create(cluster, by_hand)
    assert "Hello from a Pod" in fetch(address)
    cluster.carob("delete", "service/by-hand", "pod/by-hand", "endpointslice/by-hand-1").check()


def ask(cluster: Cluster, pod: str, name: str) -> str:
    """What the Pod's own resolver says."""
    done = cluster.carob("exec", pod, "--", "nslookup", name)
    return done.out + done.err


@contextmanager
def resolver(address: str) -> Iterator[int]:
    """The port of somebody on this machine who says of every name that it is at `address`."""

    def serve() -> None:
        while True:
            data, client = listening.recvfrom(512)
            if not data:
                return
            question = dnslib.DNSRecord.parse(data)
            reply = question.reply()
            if question.q.qtype == dnslib.QTYPE.A:
                reply.add_answer(dnslib.RR(question.q.qname, rdata=dnslib.A(address), ttl=1))
            listening.sendto(reply.pack(), client)

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listening:
        listening.bind(("127.0.0.1", 0))
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listening.getsockname()[1]
        listening.sendto(b"", listening.getsockname())
        thread.join(10)


def test_names_are_answered_inside_pods(cluster: Cluster) -> None:
    database = web_pod("names", app="names")
    database["spec"] |= {"hostname": "db-0", "subdomain": "names-headless"}
    create(
        cluster,
        database,
        service("names", {"app": "names"}),
        service("names-headless", {"app": "names"}, clusterIP="None"),
        service("names-alias", {}, type="ExternalName", externalName="names.default.svc.cluster.local", ports=[]),
    )
    cluster.wait_ready("names")
    address, ip = get(cluster, "service/names", ".spec.clusterIP"), get(cluster, "pod/names", ".status.podIP")
    assert "Hello from a Pod" in fetch(address)
    assert address in ask(cluster, "names", "names")
    assert address in ask(cluster, "names", "names-alias.default.svc.cluster.local.")
    assert ip in ask(cluster, "names", "names-headless.default.svc.cluster.local.")
    assert ip in ask(cluster, "names", "db-0.names-headless.default.svc.cluster.local.")
    assert "db-0.names-headless.default.svc.cluster.local" in ask(cluster, "names", ip)
    assert "NXDOMAIN" in ask(cluster, "names", "nobody.default.svc.cluster.local.")
    with resolver("192.0.2.77") as port:
        domains = json.dumps({"acme.test": [f"127.0.0.1:{port}"]})
        words = ("kube-dns", "-n", "kube-system", f"--from-literal=stubDomains={domains}")
        cluster.carob("create", "configmap", *words).check()
        end = time.monotonic() + 30
        while "192.0.2.77" not in ask(cluster, "names", "www.acme.test."):
            assert time.monotonic() < end
        cluster.carob("delete", "configmap", "kube-dns", "-n", "kube-system").check()
    cluster.carob("delete", "pod/names", "service/names", "service/names-headless", "service/names-alias").check()


def test_a_load_balancer_has_an_address_that_works(cluster: Cluster) -> None:
    create(cluster, web_pod("balanced", app="balanced"), service("balanced", {"app": "balanced"}, type="LoadBalancer"))
    cluster.wait_ready("balanced")
    cluster.wait_for(".status.loadBalancer.ingress[0].ipMode", "VIP", "service/balanced")
    address = get(cluster, "service/balanced", ".status.loadBalancer.ingress[0].ip")
    assert "Hello from a Pod" in fetch(address)
    request = f"printf 'GET / HTTP/1.0\\r\\n\\r\\n' | nc {address} 80"
    assert "Hello from a Pod" in cluster.carob("exec", "balanced", "--", "sh", "-c", request).check().out
    cluster.carob("delete", "pod/balanced").check()
    assert refused(address)
    cluster.carob("delete", "service/balanced").check()


def test_a_health_port_tells_of_endpoints_of_this_node(cluster: Cluster) -> None:
    wish = service("healthy", {"app": "healthy"}, type="LoadBalancer", externalTrafficPolicy="Local")
    create(cluster, web_pod("healthy", app="healthy"), wish)
    cluster.wait_ready("healthy")
    port = int(get(cluster, "service/healthy", ".spec.healthCheckNodePort"))
    assert json.loads(fetch("127.0.0.1", port))["localEndpoints"] == 1
    cluster.carob("delete", "pod/healthy").check()
    with pytest.raises(urllib.error.HTTPError, match="503"):
        while True:
            page("127.0.0.1", port)
            time.sleep(0.02)
    cluster.carob("delete", "service/healthy").check()
    assert refused("127.0.0.1", port)


def test_a_further_range_of_services_works_from_pods_and_nodes(cluster: Cluster) -> None:
    """Answers upstream's "Service CIDRs should create Services and serve on different Service CIDRs"."""
    range_ = {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "ServiceCIDR",
        "metadata": {"name": "further"},
        "spec": {"cidrs": ["10.196.196.0/28"]},
    }
    create(cluster, range_)
    cluster.carob("wait", "servicecidr/further", "--for=condition=Ready", "--timeout=60s").check()
    labels = {"app": "further"}
    create(cluster, web_pod("further", **labels), service("further", labels, clusterIP="10.196.196.5"))
    cluster.wait_ready("further")
    assert get(cluster, "ipaddress/10.196.196.5", ".spec.parentRef.name") == "further"
    assert "Hello from a Pod" in fetch("10.196.196.5")
    request = "printf 'GET / HTTP/1.0\\r\\n\\r\\n' | nc 10.196.196.5 80"
    assert "Hello from a Pod" in cluster.carob("exec", "further", "--", "sh", "-c", request).check().out
    cluster.carob("delete", "servicecidr", "further", "--wait=false").check()
    terminating = "--for=jsonpath={.status.conditions[0].reason}=Terminating"
    cluster.carob("wait", "servicecidr/further", terminating, "--timeout=60s").check()
    cluster.carob("delete", "service/further", "pod/further").check()
    cluster.carob("wait", "servicecidr/further", "--for=delete", "--timeout=60s").check()


def test_pages_of_pods_and_services_come_through_the_api_server(cluster: Cluster) -> None:
    """Answers upstream's "[sig-network] Proxy", whose namespace has `proxy` in its name, too."""
    namespace = "proxy-1"
    cluster.carob("create", "namespace", namespace).check()
    pod = web_pod("proxy", app="proxy")
    page = "<a href='/other.html'>other</a>"
    pod["spec"]["containers"][0]["command"] = ["sh", "-c", f'echo "{page}" > /www/index.html; exec web']
    several = [{"name": "http", "port": 80, "targetPort": "http"}, {"name": "none", "port": 81}]
    manifest = {
        "apiVersion": "v1",
        "kind": "List",
        "items": [pod, service("proxy", {"app": "proxy"}) | {"spec": {"selector": {"app": "proxy"}, "ports": several}}],
    }
    cluster.carob("create", "-n", namespace, "-f", "-", stdin=json.dumps(manifest)).check()
    cluster.wait_ready("proxy", namespace=namespace)
    base = f"/api/v1/namespaces/{namespace}"
    for way in (
        "pods/proxy/proxy",
        "pods/http:proxy:8080/proxy",
        "services/proxy:80/proxy",
        "services/proxy:http/proxy",
    ):
        end = time.monotonic() + 30
        while (done := cluster.carob("get", "--raw", f"{base}/{way}/")).code and time.monotonic() < end:
            time.sleep(0.1)  # the Service's endpoints come a moment after its Pod is ready
        assert done.check().out.strip() == f"<a href='{base}/{way}/other.html'>other</a>"
    refusal = cluster.carob("get", "--raw", f"{base}/services/proxy:82/proxy/")
    assert 'no service port 82 found for service "proxy"' in refusal.err
    cluster.carob("delete", "namespace", namespace).check()
