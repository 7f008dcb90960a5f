"""The book's own manifest, unchanged: its image comes from a registry of ours that stands in for docker.io."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import socket
import subprocess
import tarfile
import time
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from clusters import Cluster

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.root, pytest.mark.slow]

MANIFEST = Path(__file__).resolve().parents[2] / "examples" / "pod.yml"
APP = """#!/bin/sh
trap 'exit 0' TERM
httpd -f -p 8080 -h /src &
wait
"""


def docker_archive(file: Path, name: str) -> None:
    """An archive as `docker save` writes it: one layer with busybox, a page and a start script."""
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as tar:
        for folder in ("bin", "etc", "src", "tmp"):
            entry = tarfile.TarInfo(folder)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(entry)
        tar.add("/bin/busybox", "bin/busybox")
        for applet in ("sh", "httpd", "ps", "whoami", "hostname", "id", "cat"):
            entry = tarfile.TarInfo(f"bin/{applet}")
            entry.type, entry.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(entry)
        for path, text, mode in (
            ("src/app", APP, 0o755),
            ("src/index.html", "<h1>Kubernetes rocks!</h1>", 0o644),
            ("etc/passwd", "root:x:0:0:root:/root:/bin/sh\n", 0o644),
        ):
            entry = tarfile.TarInfo(path)
            entry.size, entry.mode = len(text), mode
            tar.addfile(entry, io.BytesIO(text.encode()))
    data = layer.getvalue()
    config = json.dumps(
        {
            "architecture": "amd64",
            "os": "linux",
            "config": {"Cmd": ["./app"], "WorkingDir": "/src", "Env": ["PATH=/bin"]},
            "rootfs": {"type": "layers", "diff_ids": ["sha256:" + hashlib.sha256(data).hexdigest()]},
        }
    ).encode()
    config_name = hashlib.sha256(config).hexdigest() + ".json"
    listing = json.dumps([{"Config": config_name, "RepoTags": [name], "Layers": ["layer.tar"]}]).encode()
    with tarfile.open(file, "w") as tar:
        for path, content in ((config_name, config), ("layer.tar", data), ("manifest.json", listing)):
            entry = tarfile.TarInfo(path)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Debian's docker-registry on 127.0.0.1 with the book's image in it; its address."""
    folder = tmp_path_factory.mktemp("registry")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    address = f"127.0.0.1:{port}"
    config = {
        "version": 0.1,
        "storage": {"filesystem": {"rootdirectory": str(folder / "data")}},
        "http": {"addr": address},
    }
    (folder / "config.yml").write_text(json.dumps(config))
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(["docker-registry", "serve", str(folder / "config.yml")], stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + 20
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                assert time.monotonic() < deadline, (folder / "log").read_text()
                time.sleep(0.05)
        docker_archive(folder / "book.tar", "nigelpoulton/k8sbook:latest")
        subprocess.run(
            ["skopeo", "copy", "-q", "--insecure-policy", "--dest-tls-verify=false", f"docker-archive:{folder}/book.tar",
             f"docker://{address}/nigelpoulton/k8sbook:latest"],
            check=True,
        )  # fmt: skip
        yield address
    finally:
        process.terminate()
        process.wait(10)


@pytest.fixture
def mirrored(registry: str, tmp_path: Path) -> Iterator[Cluster]:
    """A cluster that asks our registry instead of docker.io."""
    cluster = Cluster(f"book-{os.getpid() % 10000}", tmp_path)
    cluster.carob("up", "--registry-mirror", f"docker.io=http://{registry}").check()
    yield cluster
    cluster.carob("down").check()


def test_the_chapter(mirrored: Cluster) -> None:
    cluster = mirrored
    version = "1.37"
    cluster.kubectl(version, "apply", "-f", MANIFEST).check()
    cluster.wait_ready("hello-pod")
    pod = json.loads(cluster.kubectl(version, "get", "pod", "hello-pod", "-o", "json").check().out)
    assert pod["spec"]["containers"][0]["imagePullPolicy"] == "Always"
    image_id = pod["status"]["containerStatuses"][0]["imageID"]
    assert image_id.startswith("docker.io/nigelpoulton/k8sbook@sha256:")
    described = cluster.kubectl(version, "describe", "pods", "hello-pod").check().out
    for words in (
        'Pulling image "nigelpoulton/k8sbook:latest"',
        'Successfully pulled image "nigelpoulton/k8sbook:latest" in ',
        "Successfully assigned default/hello-pod to node-0",
    ):
        assert words in described, described
    with urllib.request.urlopen(f"http://{pod['status']['podIP']}:8080/index.html", timeout=5) as answer:
        assert b"Kubernetes rocks!" in answer.read()
    assert "./app" in cluster.kubectl(version, "exec", "hello-pod", "--", "ps", "aux").check().out
    assert cluster.kubectl(version, "exec", "hello-pod", "--", "whoami").check().out == "root\n"
    assert cluster.kubectl(version, "exec", "hello-pod", "--", "hostname").check().out == "hello-pod\n"
    deleted = cluster.kubectl(version, "delete", "-f", MANIFEST).check().out
    assert deleted.startswith('pod "hello-pod" deleted')


def test_an_archive_is_loaded(cluster: Cluster, tmp_path: Path) -> None:
    archive = tmp_path / "book.tar"
    docker_archive(archive, "carob.local/book:v1")
    assert "carob.local/book:v1" in cluster.carob("image", "load", archive).check().out
    pod = (
        "apiVersion: v1\nkind: Pod\nmetadata: {name: loaded}\nspec:\n"
        "  containers: [{name: c, image: 'carob.local/book:v1'}]\n"
    )
    cluster.carob("apply", "-f", "-", stdin=pod).check()
    cluster.wait_ready("loaded")
    cluster.carob("delete", "pod", "loaded").check()


def test_the_demo_runs(tmp_path: Path) -> None:
    """`scripts/demo`, as a newcomer runs it."""
    script = Path(__file__).resolve().parents[2] / "scripts" / "demo"
    assert shutil.which("bash")
    environment = {k: v for k, v in os.environ.items() if k not in ("KUBECONFIG", "KEEP")}
    done = subprocess.run([script], capture_output=True, text=True, timeout=110, env=environment)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert "That was the main job." in done.stderr
    assert "synchronized at" in done.stdout
