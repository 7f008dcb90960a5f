"""Every kubectl verb of the main job, with the oldest and the newest kubectl that carob is judged by."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import subprocess
import time
import urllib.request
from typing import TYPE_CHECKING

import pytest
from kubectls import kubectl as kubectl_binary

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from clusters import Cluster, Result

pytestmark = [pytest.mark.root, pytest.mark.slow]

POD = """\
apiVersion: v1
kind: Pod
metadata:
  name: {name}
  labels: {{app: verbs}}
spec:
  terminationGracePeriodSeconds: 2
  containers:
    - name: first
      image: carob.local/web:v1
      ports: [{{containerPort: 8080}}]
    - name: second
      image: carob.local/web:v1
      command: [sh, -c]
      args:
        - |
          trap 'exit 0' TERM
          i=0
          while true; do i=$((i+1)); echo "line $i"; sleep 0.2 & wait $!; done
"""


@pytest.fixture
def kubectl(cluster: Cluster, kubectl_version: str) -> Callable[..., Result]:
    def run(*arguments: str, stdin: str | None = None) -> Result:
        return cluster.kubectl(kubectl_version, *arguments, stdin=stdin)

    return run


@pytest.fixture
def pod(cluster: Cluster, kubectl_version: str) -> Iterator[str]:
    name = f"verbs-{kubectl_version.replace('.', '-')}"
    cluster.carob("apply", "-f", "-", stdin=POD.format(name=name)).check()
    cluster.wait_ready(name)
    yield name
    cluster.carob("delete", "pod", name, "--ignore-not-found").check()


def test_get_in_every_form(kubectl: Callable[..., Result], pod: str) -> None:
    wide = kubectl("get", "pod", pod, "-o", "wide").check().out.splitlines()
    assert wide[0].split()[:7] == ["NAME", "READY", "STATUS", "RESTARTS", "AGE", "IP", "NODE"]
    assert wide[1].split()[1:3] == ["2/2", "Running"]
    assert kubectl("get", "pod", pod, "-o", "name").check().out == f"pod/{pod}\n"
    assert kubectl("get", "pods", "-l", "app=verbs", "-o", "jsonpath={.items[*].metadata.name}").check().out == pod
    columns = kubectl("get", "pod", pod, "-o", "custom-columns=N:.metadata.name,P:.status.phase").check().out
    assert columns.split() == ["N", "P", pod, "Running"]
    by_node = kubectl("get", "pods", "-A", "--field-selector", "spec.nodeName=node-0", "-o", "name").check().out
    assert f"pod/{pod}\n" in by_node
    assert kubectl("get", "pods", "--field-selector", f"metadata.name!={pod}", "-l", "app=verbs").check().out == ""
    kubectl("get", "pods", "--sort-by=.metadata.name").check()
    tree = json.loads(kubectl("get", "pod", pod, "-o", "json").check().out)
    assert tree["spec"]["containers"][0]["terminationMessagePath"] == "/dev/termination-log"
    assert "uid: " in kubectl("get", "pod", pod, "-o", "yaml").check().out


def test_watch_prints_changes(cluster: Cluster, kubectl_version: str, pod: str) -> None:
    process = subprocess.Popen(
        [kubectl_binary(kubectl_version), "get", "pod", pod, "-w", "--show-labels"],
        stdout=subprocess.PIPE,
        text=True,
        env=cluster.environment,
    )
    try:
        assert process.stdout is not None
        lines = [process.stdout.readline(), process.stdout.readline()]
        assert lines[1].startswith(pod)
        cluster.kubectl(kubectl_version, "label", "pod", pod, "seen=yes").check()
        assert "seen=yes" in process.stdout.readline()
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=10)


def test_logs_in_every_form(kubectl: Callable[..., Result], pod: str) -> None:
    default = kubectl("logs", pod).check()
    assert default.out == ""
    assert "Defaulted container" in default.err
    # a Pod is Ready before its loop has said much
    for _ in range(100):
        if "line 3\n" in kubectl("logs", pod, "-c", "second").check().out:
            break
        time.sleep(0.1)
    tail = kubectl("logs", pod, "-c", "second", "--tail=2").check().out.splitlines()
    assert len(tail) == 2
    assert all(line.startswith("line ") for line in tail)
    stamped = kubectl("logs", pod, "-c", "second", "--tail=1", "--timestamps").check().out
    assert stamped[:2] == "20"
    assert "Z line " in stamped
    assert kubectl("logs", pod, "-c", "second", "--since=1h").check().out.startswith("line 1\n")
    assert "line 1\n" in kubectl("logs", pod, "--all-containers").check().out
    assert len(kubectl("logs", pod, "-c", "second", "--limit-bytes=10").check().out) == 10
    missing = kubectl("logs", pod, "-c", "nobody")
    assert missing.code == 1
    assert "container nobody is not valid for pod" in missing.err


def test_following_a_log(cluster: Cluster, kubectl_version: str, pod: str) -> None:
    process = subprocess.Popen(
        [kubectl_binary(kubectl_version), "logs", "-f", pod, "-c", "second", "--tail=1"],
        stdout=subprocess.PIPE,
        text=True,
        env=cluster.environment,
    )
    try:
        assert process.stdout is not None
        numbers = [int(process.stdout.readline().split()[1]) for _ in range(5)]
        assert numbers == list(range(numbers[0], numbers[0] + 5))
    finally:
        process.terminate()
        process.communicate(timeout=10)


def test_previous_log(kubectl: Callable[..., Result], cluster: Cluster, kubectl_version: str) -> None:
    name = f"again-{kubectl_version.replace('.', '-')}"
    manifest = (
        f"apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\nspec:\n  containers:\n    - name: c\n"
        "      image: carob.local/web:v1\n      command: [sh, -c, 'echo run; sleep 1; exit 3']\n"
    )
    cluster.carob("apply", "-f", "-", stdin=manifest).check()
    cluster.wait_for(".status.containerStatuses[0].restartCount", "1", f"pod/{name}")
    assert kubectl("logs", "-p", name).check().out == "run\n"
    described = kubectl("describe", "pod", name).check().out
    assert "Last State:     Terminated" in described
    assert "Exit Code:    3" in described
    cluster.carob("delete", "pod", name, "--grace-period=0", "--force").check()


def test_exec_passes_streams_and_exit_codes(kubectl: Callable[..., Result], pod: str) -> None:
    assert kubectl("exec", pod, "-c", "first", "--", "hostname").check().out == f"{pod}\n"
    both = kubectl("exec", pod, "-c", "first", "--", "sh", "-c", "echo out; echo err >&2; exit 5")
    assert (both.code, both.out) == (5, "out\n")
    assert both.err.startswith("err\n")
    assert kubectl("exec", "-i", pod, "-c", "first", "--", "wc", "-c", stdin="12345").check().out.strip() == "5"
    missing = kubectl("exec", pod, "-c", "first", "--", "no-such-command")
    assert missing.code != 0
    assert "no-such-command" in missing.err


class Terminal:
    """A program on a terminal of its own."""

    def __init__(self, command: list[str | Path], environment: dict[str, str]) -> None:
        self.master, slave = pty.openpty()
        self.process = subprocess.Popen(
            command, stdin=slave, stdout=slave, stderr=slave, env=environment, start_new_session=True
        )
        os.close(slave)
        self.seen = b""

    def type(self, text: str) -> None:
        os.write(self.master, text.encode())

    def expect(self, text: str, seconds: float = 15) -> None:
        deadline = time.monotonic() + seconds
        while text.encode() not in self.seen:
            left = deadline - time.monotonic()
            assert left > 0, f"no {text!r} in {self.seen!r}"
            if select.select([self.master], [], [], left)[0]:
                try:
                    self.seen += os.read(self.master, 4096)
                except OSError:
                    break
        self.seen = self.seen.partition(text.encode())[2]

    def end(self) -> int:
        code = self.process.wait(timeout=15)
        os.close(self.master)
        return code


def test_a_shell_on_a_terminal(cluster: Cluster, kubectl_version: str, pod: str) -> None:
    import fcntl
    import struct
    import termios

    terminal = Terminal(
        [kubectl_binary(kubectl_version), "exec", "-it", pod, "-c", "first", "--", "sh"], cluster.environment
    )
    terminal.expect("#")
    fcntl.ioctl(terminal.master, termios.TIOCSWINSZ, struct.pack("HHHH", 33, 111, 0, 0))
    os.killpg(terminal.process.pid, signal.SIGWINCH)
    time.sleep(0.3)
    terminal.type("stty size\n")
    terminal.expect("33 111")
    terminal.type("sleep 100\n")
    time.sleep(0.3)
    terminal.type("\x03")
    terminal.type("echo back $((40+2))\n")
    terminal.expect("back 42")
    terminal.type("exit 9\n")
    assert terminal.end() == 9


def test_port_forward(cluster: Cluster, kubectl_version: str, pod: str) -> None:
    process = subprocess.Popen(
        [kubectl_binary(kubectl_version), "port-forward", f"pod/{pod}", ":8080"],
        stdout=subprocess.PIPE,
        text=True,
        env=cluster.environment,
    )
    try:
        assert process.stdout is not None
        port = int(process.stdout.readline().split("127.0.0.1:")[1].split()[0])
        for _ in range(3):
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5) as answer:
                assert b"Hello from a Pod" in answer.read()
    finally:
        process.terminate()
        process.communicate(timeout=10)


def test_cp_there_and_back(kubectl: Callable[..., Result], pod: str, tmp_path: Path) -> None:
    sent = tmp_path / "sent.bin"
    sent.write_bytes(os.urandom(3_000_000))
    kubectl("cp", str(sent), f"{pod}:/tmp/sent.bin", "-c", "first").check()
    kubectl("cp", f"{pod}:/tmp/sent.bin", str(tmp_path / "back.bin"), "-c", "first").check()
    assert (tmp_path / "back.bin").read_bytes() == sent.read_bytes()


def test_run_attach_wait_events_explain(kubectl: Callable[..., Result], kubectl_version: str, pod: str) -> None:
    name = f"ran-{kubectl_version.replace('.', '-')}"
    done = kubectl(
        "run", name, "--image=carob.local/web:v1", "--restart=Never", "-i", "--rm", "--", "sh", "-c", "cat; echo done",
        stdin="typed\n",
    )  # fmt: skip
    assert done.code == 0, done.err
    assert "typed\n" in done.out
    assert "done\n" in done.out
    kubectl("wait", "--for=condition=Ready", f"pod/{pod}", "--timeout=10s").check()
    assert "Started" in kubectl("events", "--for", f"pod/{pod}").check().out
    explained = kubectl("explain", "pod.spec.containers.image").check().out
    assert "KIND:       Pod" in explained
    assert "FIELD: image" in explained


def test_create_with_protobuf_bodies(kubectl: Callable[..., Result], kubectl_version: str) -> None:
    space = f"made-{kubectl_version.replace('.', '-')}"
    assert kubectl("create", "namespace", space).check().out == f"namespace/{space} created\n"
    kubectl("create", "configmap", "settings", "--from-literal=a=b", "-n", space).check()
    kubectl("create", "secret", "generic", "hidden", "--from-literal=k=v", "-n", space).check()
    assert kubectl("get", "configmap", "settings", "-n", space, "-o", "jsonpath={.data.a}").check().out == "b"
    assert kubectl("get", "secret", "hidden", "-n", space, "-o", "jsonpath={.data.k}").check().out == "dg=="
    token = kubectl("create", "token", "default", "-n", space).check().out
    assert token.count(".") == 2
    again = kubectl("create", "namespace", space)
    assert again.code == 1
    assert f'namespaces "{space}" already exists' in again.err
    kubectl("delete", "namespace", space).check()
    assert "NotFound" in kubectl("get", "namespace", space).err


def test_delete_forms(kubectl: Callable[..., Result], cluster: Cluster, kubectl_version: str) -> None:
    name = f"stubborn-{kubectl_version.replace('.', '-')}"
    manifest = (
        f"apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\nspec:\n  containers:\n    - name: c\n"
        "      image: carob.local/web:v1\n      command: [sleep, '3600']\n"
    )
    cluster.carob("apply", "-f", "-", stdin=manifest).check()
    cluster.wait_ready(name)
    started = time.monotonic()
    kubectl("delete", "pod", name, "--grace-period=1").check()
    # sleep as process 1 ignores SIGTERM, so the grace period passes before the kill
    assert time.monotonic() - started > 1
    cluster.carob("apply", "-f", "-", stdin=manifest).check()
    cluster.wait_ready(name)
    forced = kubectl("delete", "pod", name, "--grace-period=0", "--force").check()
    assert "force deleted" in forced.out
