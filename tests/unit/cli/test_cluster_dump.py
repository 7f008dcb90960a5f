"""`cluster-info dump`: what is asked for, in which order it is written, and where."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from carob.cli import cluster_dump
from carob.cli.cluster_dump import Dump
from carob.cli.errors import CommandError
from carob.cli.flags import Arguments, Flags

POD = {
    "metadata": {"name": "p", "managedFields": []},
    "spec": {"initContainers": [{"name": "i"}], "containers": [{"name": "c"}]},
}


class Answer:
    def __init__(self, status: int, body: bytes) -> None:
        self.status = status
        self._body = body

    def read(self) -> bytes:
        return self._body


class Connection:
    """A server with one Pod in the namespace a; its second container has no log."""

    namespace = "a"

    def json(self, method: str, path: str) -> dict[str, Any]:
        if path == "/api/v1/namespaces":
            return {"items": [{"metadata": {"name": "b"}}]}
        items = [POD] if path == "/api/v1/namespaces/a/pods" else []
        return {"kind": "XList", "metadata": {"resourceVersion": "7"}, "items": items}

    def open(self, method: str, path: str, query: dict[str, str]) -> Answer:
        assert path == "/api/v1/namespaces/a/pods/p/log"
        if query["container"] == "c":
            return Answer(400, b'{"kind":"Status","message":"not yet","code":400}')
        return Answer(200, b"hello\n")


def parsed(*given: str) -> Arguments:
    flags = Flags("carob cluster-info dump")
    cluster_dump.add_flags(flags)
    return flags.parse(given)


def dumped(*given: str) -> None:
    Dump(Connection(), parsed(*given)).run()  # type: ignore[arg-type]


LOGS = (
    "==== START logs for container i of pod a/p ====\nhello\n==== END logs for container i of pod a/p ====\n"
    "==== START logs for container c of pod a/p ====\nRequest log error: not yet\n==== END logs for container c of pod a/p ====\n"
)


def test_to_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    dumped()
    text = capsys.readouterr().out
    kinds = [line.split('"')[3] for line in text.splitlines() if line.startswith('    "kind"')]
    of_each = ["Event", "ReplicationController", "Service", "DaemonSet", "Deployment", "ReplicaSet", "Pod"]
    assert kinds == [f"{kind}List" for kind in ("Node", *of_each, *of_each)]
    assert text.endswith(LOGS)
    assert "managedFields" not in text
    assert '"items": null' in text


def test_into_files(tmp_path: Path) -> None:
    dumped("--output-directory", str(tmp_path), "--namespaces", "a")
    assert (tmp_path / "a" / "p" / "logs.txt").read_text() == LOGS
    (pod,) = json.loads((tmp_path / "a" / "pods.json").read_text())["items"]
    assert pod["metadata"] == {"name": "p"}
    dumped("--output-directory", str(tmp_path), "-A", "-o", "yaml")
    assert (
        (tmp_path / "b" / "replication-controllers.yaml").read_text().startswith("---\napiVersion: v1\nitems: null\n")
    )
    assert not (tmp_path / "b" / "pods.json").exists()


def test_another_format() -> None:
    with pytest.raises(CommandError, match='suitable for the output format "wide"'):
        cluster_dump.run(parsed("-o", "wide"))
