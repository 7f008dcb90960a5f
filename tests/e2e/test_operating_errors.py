"""What an operator can meet: a missing tool, a full disk, a broken archive, things started twice: an error, nothing lost."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from clusters import Cluster, Result

from carob.cli.doctor import TOOLS

pytestmark = [pytest.mark.root, pytest.mark.slow]


def _refused(done: Result, words: str) -> None:
    assert done.code == 1, done.out + done.err
    assert words in done.err
    assert "Traceback" not in done.err + done.out


@pytest.fixture
def without(tmp_path: Path) -> dict[str, str]:
    """An environment whose machine has every tool but crun."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for tool in TOOLS:
        found = shutil.which(tool, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
        if tool != "crun" and found:
            (folder / tool).symlink_to(found)
    return {**os.environ, "PATH": str(folder), "KUBECONFIG": str(tmp_path / "kubeconfig")}


def _carob(environment: dict[str, str], *words: str | Path) -> Result:
    command = [sys.executable, "-m", "carob", *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment)
    return Result(done.returncode, done.stdout, done.stderr)


def test_a_missing_tool_is_named(cluster: Cluster, without: dict[str, str], tmp_path: Path) -> None:
    where = ("--name", "lacking", "--data-dir", tmp_path / "data")
    _refused(_carob(without, "up", *where), "this machine lacks crun; `carob doctor --fix` installs what is missing")
    assert not (tmp_path / "data").exists()
    node = _carob(without, "node", "--name", cluster.name, "--data-dir", cluster.data_dir)
    _refused(node, "this machine lacks crun")
    report = _carob(without, "doctor")
    assert report.code == 1
    assert "✗ crun" in report.out
    assert "apt-get install crun" in report.out


def test_nothing_is_started_twice(cluster: Cluster, tmp_path: Path) -> None:
    where = ("--name", cluster.name, "--data-dir", str(cluster.data_dir))
    assert "is running already" in cluster.carob("up").check().err
    _refused(cluster.run(sys.executable, "-m", "carob", "node", *where), "runs already, in another process")
    _refused(cluster.run(sys.executable, "-m", "carob", "server", *where), "the store is in use by process")
    elsewhere = ("up", "--name", cluster.name, "--data-dir", tmp_path)
    _refused(cluster.run(sys.executable, "-m", "carob", *elsewhere), "name that folder with --data-dir")
    _refused(cluster.run(sys.executable, "-m", "carob", "up", "mistaken"), 'unexpected argument "mistaken"')
    # the one that ran has lost nothing by it
    cluster.carob("image", "ls").check()
    cluster.carob("get", "nodes").check()


def test_a_disk_without_room(tmp_path: Path) -> None:
    cluster = Cluster(f"full-{os.getpid() % 10000}", tmp_path)
    cluster.data_dir.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=32k", "tmpfs", cluster.data_dir], check=True)
    try:
        _refused(cluster.carob("up", timeout=120), "No space left on device")
        cluster.carob("down", timeout=120).check()
        assert not list(cluster.data_dir.iterdir())
    finally:
        subprocess.run(["umount", "-l", cluster.data_dir], check=True)


def _archive(file: Path, **members: bytes) -> Path:
    with tarfile.open(file, "w") as archive:
        for name, content in members.items():
            part = file.with_suffix(".part")
            part.write_bytes(content)
            archive.add(part, name)
    return file


def test_broken_archives(cluster: Cluster, tmp_path: Path) -> None:
    before = cluster.carob("image", "ls").check().out
    index = {"schemaVersion": 2, "manifests": [{"digest": "sha256:" + "0" * 64, "size": 3}]}
    listed = [{"Config": "config.json", "RepoTags": ["a:b"], "Layers": ["layer.tar"]}]
    (tmp_path / "empty.tar").write_bytes(b"")
    for file in (
        tmp_path / "empty.tar",
        _archive(tmp_path / "other.tar", readme=b"x"),
        _archive(tmp_path / "text.tar", **{"manifest.json": b"not json"}),
        _archive(tmp_path / "parts.tar", **{"manifest.json": json.dumps(listed).encode()}),
        _archive(
            tmp_path / "oci.tar",
            **{"oci-layout": b'{"imageLayoutVersion":"1.0.0"}', "index.json": json.dumps(index).encode()},
        ),
    ):
        _refused(cluster.carob("image", "load", file), "error: ")
    assert cluster.carob("image", "ls").check().out == before
