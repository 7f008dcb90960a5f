"""A registry of images for the end-to-end tests, and images to push to it."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import socket
import subprocess
import tarfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from carob.runtime.images import manifests
from carob.runtime.images.skopeo import Mirror
from tests.ports import free_port

# user "carob", password "secret"
HTPASSWD = "carob:$2b$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW\n"
Mirrors = Mapping[str, list[Mirror]]
ImagesOf = dict[str, list[bytes]]


def layer(files: dict[str, bytes], mode: int = 0o644) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            info.mode = mode
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


def digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def config(*layers: bytes, **more: Any) -> bytes:
    rootfs = {"type": "layers", "diff_ids": [digest(data) for data in layers]}
    return json.dumps(
        {"architecture": manifests.architecture(), "os": "linux", "config": more, "rootfs": rootfs}
    ).encode()


def docker_archive(path: Path, contents: ImagesOf, **more: Any) -> Path:
    """What `docker save` writes; `contents` is layers by tag."""
    files: dict[str, bytes] = {}
    entries = []
    for tag, layers in contents.items():
        data = config(*layers, Cmd=["sh", tag], **more)
        name = f"{digest(data)[7:]}.json"
        files[name] = data
        paths = [f"{digest(one)[7:]}/layer.tar" for one in layers]
        files.update(zip(paths, layers, strict=True))
        entries.append({"Config": name, "RepoTags": [tag], "Layers": paths})
    files["manifest.json"] = json.dumps(entries).encode()
    path.write_bytes(layer(files))
    return path


@dataclass
class Registry:
    """Debian's docker-registry on a port of its own."""

    port: int
    folder: Path

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def push(self, name: str, layers: list[bytes], *flags: str, user: str = "", **more: Any) -> None:
        path = docker_archive(self.folder / "push.tar", {"x:y": layers}, **more)
        where = f"docker://{self.address}/{name}"
        credentials = ["--dest-creds", user] if user else []
        command = ["skopeo", "copy", "-q", "--dest-tls-verify=false", *credentials, *flags, f"docker-archive:{path}"]
        subprocess.check_call([*command, where])

    @property
    def mirrors(self) -> Mirrors:
        return {"docker.io": [Mirror(self.address, insecure=True)]}


def start_registry(folder: Path, *, private: bool) -> Iterator[Registry]:
    if shutil.which("docker-registry") is None:
        pytest.skip("the package docker-registry is not installed")
    folder.mkdir()
    registry = Registry(free_port(), folder)
    settings: dict[str, Any] = {
        "version": 0.1,
        "storage": {"filesystem": {"rootdirectory": str(folder / "data")}},
        "http": {"addr": registry.address},
    }
    if private:
        (folder / "htpasswd").write_text(HTPASSWD)
        settings["auth"] = {"htpasswd": {"realm": "carob", "path": str(folder / "htpasswd")}}
    (folder / "config.yml").write_text(json.dumps(settings))
    with open(folder / "log", "wb") as log:
        process = subprocess.Popen(
            ["docker-registry", "serve", str(folder / "config.yml")], stdout=log, stderr=log, env={"PATH": "/usr/bin"}
        )
    try:
        for _ in range(500):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", registry.port)) == 0:
                    break
            time.sleep(0.01)
        yield registry
    finally:
        process.terminate()
        process.wait(10)
