"""What carob promises when it is killed, started twice, or torn down: Pods live on, nothing stays behind."""

from __future__ import annotations

import json
import os
import signal
import time
import urllib.request
from contextlib import suppress
from pathlib import Path

import pytest
from clusters import PATIENCE, Cluster, start
from machine import left_behind, look

pytestmark = [pytest.mark.root, pytest.mark.slow]

POD = """\
apiVersion: v1
kind: Pod
metadata: {name: survivor}
spec:
  containers:
    - name: c
      image: carob.local/web:v1
"""


def _pid(cluster: Cluster, part: str) -> int:
    return int(json.loads(Path(f"/run/carob/{cluster.name}/{part}.json").read_text())["pid"])


def _kill(pid: int) -> None:
    fd = os.pidfd_open(pid)
    os.kill(pid, signal.SIGKILL)
    import select

    assert select.select([fd], [], [], 10)[0]
    os.close(fd)


def _status(cluster: Cluster) -> dict[str, object]:
    pod = json.loads(cluster.carob("get", "pod", "survivor", "-o", "json").check().out)
    status: dict[str, object] = pod["status"]
    return status


def _runs(word: str) -> bool:
    """Whether a process has this among its words."""
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            if word.encode() in file.read_bytes().split(b"\0"):
                return True
    return False


def test_containers_outlive_agent_and_server(own_cluster: Cluster) -> None:
    cluster = own_cluster
    cluster.carob("apply", "-f", "-", stdin=POD).check()
    cluster.wait_ready("survivor")
    before = _status(cluster)
    address = before["podIP"]

    for parts in (["node-0"], ["server"], ["server", "node-0"]):
        for part in parts:
            _kill(_pid(cluster, part))
        # while nobody minds it, the container serves on
        with urllib.request.urlopen(f"http://{address}:8080/", timeout=5) as answer:
            assert answer.status == 200
        cluster.carob("up").check()
        cluster.wait_ready("survivor")
        after = _status(cluster)
        assert after["containerStatuses"] == before["containerStatuses"]
        assert after["podIP"] == address
        assert cluster.carob("logs", "survivor").code == 0
    assert cluster.kubectl("1.37", "exec", "survivor", "--", "hostname").check().out == "survivor\n"


LEAVER = """\
apiVersion: v1
kind: Pod
metadata: {name: leaver}
spec:
  restartPolicy: Never
  containers:
    - name: c
      image: carob.local/web:v1
      command: [sh, -c, "until [ -e /door/open ]; do sleep 0.1; done; exit 4", TOKEN]
      volumeMounts: [{name: door, mountPath: /door}]
  volumes: [{name: door, hostPath: {path: FOLDER}}]
"""


def test_an_exit_while_the_agent_is_away_is_not_missed(own_cluster: Cluster, tmp_path: Path) -> None:
    cluster = own_cluster
    token = f"leaver-of-{cluster.name}"
    door = tmp_path / "door"
    door.mkdir()
    cluster.carob("apply", "-f", "-", stdin=LEAVER.replace("TOKEN", token).replace("FOLDER", str(door))).check()
    cluster.wait_ready("leaver")
    _kill(_pid(cluster, "node-0"))
    assert _runs(token)
    (door / "open").touch()
    end = time.monotonic() + 60 * PATIENCE
    while _runs(token):
        assert time.monotonic() < end
        time.sleep(0.05)
    cluster.carob("up").check()
    cluster.wait_for(".status.phase", "Failed", "pod/leaver")
    pod = json.loads(cluster.carob("get", "pod", "leaver", "-o", "json").check().out)
    assert pod["status"]["containerStatuses"][0]["state"]["terminated"]["exitCode"] == 4


def test_a_pod_deleted_while_the_agent_is_away_ends(own_cluster: Cluster) -> None:
    cluster = own_cluster
    cluster.carob("apply", "-f", "-", stdin=POD).check()
    cluster.wait_ready("survivor")
    address = _status(cluster)["podIP"]
    _kill(_pid(cluster, "node-0"))
    cluster.carob("delete", "pod", "survivor", "--wait=false").check()
    cluster.carob("up").check()
    cluster.carob("wait", "--for=delete", "pod/survivor", "--timeout=30s").check()
    with pytest.raises(OSError, match=r".*"):
        urllib.request.urlopen(f"http://{address}:8080/", timeout=2)


def test_down_after_kill_leaves_nothing(tmp_path: Path) -> None:
    before = look()
    cluster = start(f"kill-{os.getpid() % 10000}", tmp_path)
    cluster.carob("apply", "-f", "-", stdin=POD).check()
    cluster.wait_ready("survivor")
    for part in ("server", "node-0"):
        _kill(_pid(cluster, part))
    cluster.carob("down").check()
    left = left_behind(before)
    assert not left, "\n".join(left)


def test_up_is_idempotent_and_keeps_data(own_cluster: Cluster) -> None:
    cluster = own_cluster
    cluster.carob("apply", "-f", "-", stdin=POD).check()
    cluster.wait_ready("survivor")
    again = cluster.carob("up").check()
    assert "is running already" in again.err
    uid = json.loads(cluster.carob("get", "pod", "survivor", "-o", "json").out)["metadata"]["uid"]
    cluster.carob("down", "--keep-data").check()
    cluster.carob("up").check()
    cluster.wait_ready("survivor")
    pod = json.loads(cluster.carob("get", "pod", "survivor", "-o", "json").check().out)
    assert pod["metadata"]["uid"] == uid


def test_two_clusters_side_by_side(cluster: Cluster, own_cluster: Cluster) -> None:
    addresses = []
    for one in (cluster, own_cluster):
        one.carob("apply", "-f", "-", stdin=POD).check()
        one.wait_ready("survivor")
        addresses.append(_status(one)["podIP"])
    assert addresses[0] != addresses[1]
    for address in addresses:
        with urllib.request.urlopen(f"http://{address}:8080/", timeout=5) as answer:
            assert answer.status == 200
    cluster.carob("delete", "pod", "survivor").check()


def test_a_taken_port_is_named(tmp_path: Path) -> None:
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        cluster = Cluster(f"port-{os.getpid() % 10000}", tmp_path)
        done = cluster.carob("up", "--api-port", str(port))
    assert done.code == 1
    assert f"127.0.0.1:{port} is taken" in done.err
    cluster.carob("down").check()
