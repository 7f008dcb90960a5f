"""The example of an Ingress controller (examples/ingress) with real requests: hosts, paths, certificates, defaults.

Answers what the Kubernetes documentation says of Ingress ("Path types", "Examples" with their table, "Hostname wildcards",
"TLS", "Default backend").
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import socket
import ssl
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from clusters import PATIENCE, Cluster, start
from machine import left_behind, look
from test_services import create, get, service

from tests.fakes.certificates import make_certificates

EXAMPLE = Path(__file__).parents[2] / "examples" / "ingress"
IMAGE = "carob.local/ingress:v1"
pytestmark = [
    pytest.mark.root,
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/usr/sbin/nginx").exists(), reason="needs nginx"),
]
# says who was asked, for what, by which name
SERVER = """
import http.server, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        words = sys.argv[1], self.path, self.headers["Host"], self.headers["X-Forwarded-Proto"]
        body = " ".join(words).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
http.server.ThreadingHTTPServer(("", 8080), Handler).serve_forever()
"""
KILL_CONTROLLER = """
import os, pathlib
for process in pathlib.Path("/proc").glob("[0-9]*"):
    if b"/app/controller.py" in (process / "cmdline").read_bytes().split(bytes(1)):
        os.kill(int(process.name), 9)
"""
PATHS = {
    "exact": ("Exact", "/exact", "/slash/"),
    "prefix": ("Prefix", "/prefix", "/aaa/bbb/", "/exact/below", '/odd"};{$x'),
    "longer": ("Prefix", "/prefix/longer", "/aaa"),
    "both": ("Exact", "/prefix/one"),
    "specific": ("ImplementationSpecific", "/specific"),
}
CASES = {
    "/exact": "exact",
    "/exact?a=b": "exact",
    "/exact/": "default",
    "/exact/below": "prefix",
    "/exact/below/that": "prefix",
    "/exactly": "default",
    "/slash/": "exact",
    "/slash": "default",
    "/slash/more": "default",
    "/prefix": "prefix",
    "/prefix/": "prefix",
    "/prefix/sub": "prefix",
    "/prefixed": "default",
    "/prefix/longer": "longer",
    "/prefix/longer/sub": "longer",
    "/prefix/longe": "prefix",
    "/prefix/one": "both",
    "/prefix/one/": "prefix",
    "/aaa/bbb": "prefix",
    "/aaa/bbb/ccc": "prefix",
    "/aaa/bbbxyz": "longer",
    "/aaa": "longer",
    "/specific/sub": "specific",
    '/odd"};{$x/sub': "prefix",
    "/": "default",
}


def backend(name: str) -> list[dict[str, Any]]:
    """A Pod that says its name, and its Service."""
    container: dict[str, Any] = {"name": "web", "image": IMAGE, "command": ["/app/python", "-S", "-c", SERVER, name]}
    container |= {"ports": [{"name": "http", "containerPort": 8080}]}
    container |= {"readinessProbe": {"tcpSocket": {"port": "http"}, "periodSeconds": 1}}
    spec = {"terminationGracePeriodSeconds": 0, "containers": [container]}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": name}}, "spec": spec}
    return [pod, service(name, {"app": name})]


def to(name: str) -> dict[str, Any]:
    return {"service": {"name": name, "port": {"number": 80}}}


def ingress(name: str, class_: str = "nginx", **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": {"name": name},
        "spec": {"ingressClassName": class_} | spec,
    }


def rule(host: str, **backends: tuple[str, ...]) -> dict[str, Any]:
    """Which paths of a host lead where: the type, and the paths."""
    paths = [
        {"path": path, "pathType": kind, "backend": to(name)}
        for name, (kind, *paths) in backends.items()
        for path in paths
    ]
    return ({"host": host} if host else {}) | {"http": {"paths": paths}}


def secret(name: str, certificate: str, key: str) -> dict[str, Any]:
    data = {"tls.crt": certificate, "tls.key": key}
    encoded = {field: base64.b64encode(Path(file).read_bytes()).decode() for field, file in data.items()}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name},
        "type": "kubernetes.io/tls",
        "data": encoded,
    }


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    before = look()
    folder = tmp_path_factory.mktemp("ingress")
    cluster = start(f"ingress-{os.getpid() % 10000}", folder)
    try:
        cluster.run(sys.executable, EXAMPLE / "image.py", folder / "root").check()
        cluster.carob("image", "build", "-t", IMAGE, folder / "root").check()
        cluster.carob("apply", "-f", EXAMPLE / "ingress.yml").check()
        create(cluster, *(one for name in ("default", *PATHS) for one in backend(name)))
        cluster.carob(
            "wait", "-n", "ingress", "--for=condition=Available", "deployment/nginx", "--timeout=90s", timeout=100
        ).check()
        for name in ("default", *PATHS):
            cluster.wait_ready(name)
        yield cluster
    finally:
        cluster.carob("down", timeout=120).check()
    left = left_behind(before)
    assert not left, "\n".join(left)


@pytest.fixture(scope="module")
def address(cluster: Cluster) -> str:
    path = "jsonpath={.status.loadBalancer.ingress[0].ip}"
    return cluster.carob("get", "service", "nginx", "-n", "ingress", "-o", path).check().out


def ask(address: str, host: str, path: str = "/", tls: ssl.SSLContext | None = None) -> tuple[int, str]:
    """Status and body of the answer, by a request written by hand: the path goes as it is."""
    with contextlib.ExitStack() as stack:
        connection = stack.enter_context(socket.create_connection((address, 443 if tls else 80), 10))
        if tls:
            connection = stack.enter_context(tls.wrap_socket(connection, server_hostname=host))
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        head, _, body = connection.makefile("rb").read().partition(b"\r\n\r\n")
    return int(head.split()[1]), body.decode()


def until(address: str, wanted: tuple[int, str], host: str, path: str = "/", tls: ssl.SSLContext | None = None) -> None:
    """Wait for this answer: the status, and how the body begins."""
    end = time.monotonic() + 30 * PATIENCE
    found: Any = None
    while time.monotonic() < end:
        try:
            found = ask(address, host, path, tls)
            if found[0] == wanted[0] and found[1].startswith(wanted[1]):
                return
        except OSError as error:
            found = error
        time.sleep(0.05)
    pytest.fail(f"{host}{path}: {found}, not {wanted}")


def test_paths_lead_where_the_documentation_says(cluster: Cluster, address: str) -> None:
    rules = [rule("paths.example.com", **PATHS), rule("root.example.com", default=("Prefix", "/"))]
    create(cluster, ingress("paths", rules=rules, defaultBackend=to("default")))
    until(address, (200, "default /"), "root.example.com")
    found = {path: ask(address, "paths.example.com", path) for path in CASES}
    assert {path: body.split()[0] for path, (_, body) in found.items()} == CASES
    assert found["/exact?a=b"] == (200, "exact /exact?a=b paths.example.com http")
    assert ask(address, "root.example.com", "/x/%2e%2e/y%20z")[1] == "default /x/%2e%2e/y%20z root.example.com http"
    assert ask(address, "stranger.example.com")[0] == 404
    cluster.wait_for(".status.loadBalancer.ingress[0].ip", address, "ingress/paths")
    assert cluster.carob("get", "ingress", "paths").check().out.splitlines()[1].split()[3] == address
    cluster.carob("delete", "ingress", "paths").check()
    until(address, (404, ""), "root.example.com")


def test_hosts_wildcards_and_defaults(cluster: Cluster, address: str) -> None:
    rules = [
        rule("*.wild.example.com", prefix=("Prefix", "/")),
        rule("own.wild.example.com", exact=("Prefix", "/only")),
        rule("", specific=("Prefix", "/everywhere")),
    ]
    create(cluster, ingress("hosts", rules=rules), ingress("foreign", "other", defaultBackend=to("exact")))
    until(address, (200, "prefix"), "a.wild.example.com")
    answers = {
        ("own.wild.example.com", "/only/that"): (200, "exact"),
        ("own.wild.example.com", "/"): (404, "<html>"),
        ("a.b.wild.example.com", "/"): (404, "<html>"),
        ("wild.example.com", "/"): (404, "<html>"),
        ("wild.example.com", "/everywhere"): (200, "specific"),
        (address, "/everywhere/x"): (200, "specific"),
    }
    assert {key: _short(ask(address, *key)) for key in answers} == answers
    create(cluster, ingress("fallback", defaultBackend=to("default")))
    until(address, (200, "default"), "stranger.example.com")
    assert ask(address, "own.wild.example.com", "/")[1].startswith("default")
    cluster.wait_for(".status.loadBalancer.ingress[0].ip", address, "ingress/fallback")
    assert get(cluster, "ingress/foreign", ".status.loadBalancer") == "{}"
    cluster.carob("delete", "ingress", "hosts", "foreign", "fallback").check()
    until(address, (404, ""), "stranger.example.com")


def _short(answer: tuple[int, str]) -> tuple[int, str]:
    return answer[0], answer[1].split()[0]


def test_certificates_come_from_secrets(cluster: Cluster, address: str, tmp_path: Path) -> None:
    files = make_certificates(tmp_path)
    trust = ssl.create_default_context(cafile=files["ca"])
    trust.check_hostname = False
    rules = [rule(f"{name}.example.com", default=("Prefix", "/")) for name in ("safe", "odd", "plain")]
    tls = [
        {"hosts": ["safe.example.com"], "secretName": "good"},
        {"hosts": ["odd.example.com"], "secretName": "odd"},
        {"hosts": ["plain.example.com"], "secretName": "missing"},
    ]
    # a certificate with somebody else's key must not hurt the others
    create(cluster, secret("odd", files["server"], files["client_key"]), ingress("tls", rules=rules, tls=tls))
    until(address, (200, "default"), "safe.example.com")
    with pytest.raises(ssl.SSLError, match="UNRECOGNIZED_NAME"):
        ask(address, "safe.example.com", tls=trust)
    create(cluster, secret("good", files["server"], files["server_key"]))
    until(address, (200, "default / safe.example.com https"), "safe.example.com", tls=trust)
    for name in ("odd.example.com", "plain.example.com", "stranger.example.com"):
        with pytest.raises(ssl.SSLError, match="UNRECOGNIZED_NAME"):
            ask(address, name, tls=trust)
    cluster.carob("delete", "ingress", "tls").check()
    cluster.carob("delete", "secret", "odd", "good").check()


def test_endpoints_are_followed_and_the_proxy_survives_its_controller(cluster: Cluster, address: str) -> None:
    create(cluster, *backend("late"), ingress("late", rules=[rule("late.example.com", late=("Prefix", "/"))]))
    until(address, (200, "late"), "late.example.com")
    cluster.carob("delete", "pod", "late").check()
    until(address, (503, ""), "late.example.com")
    create(cluster, backend("late")[0])
    until(address, (200, "late"), "late.example.com")
    pods = json.loads(cluster.carob("get", "pods", "-n", "ingress", "-l", "app=nginx", "-o", "json").check().out)
    name = pods["items"][0]["metadata"]["name"]
    cluster.carob(
        "exec", "-n", "ingress", name, "-c", "nginx", "--", "/app/python", "-S", "-c", KILL_CONTROLLER
    ).check()
    assert ask(address, "late.example.com")[1].startswith("late")
    count = "jsonpath={.status.initContainerStatuses[0].restartCount}"
    cluster.carob("wait", "-n", "ingress", f"--for={count}=1", f"pod/{name}", "--timeout=60s", timeout=70).check()
    create(cluster, ingress("later", rules=[rule("later.example.com", late=("Prefix", "/"))]))
    until(address, (200, "late"), "later.example.com")
    cluster.carob("delete", "ingress", "late", "later").check()
