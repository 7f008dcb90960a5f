"""carob's own exec, attach, run, cp, port-forward, edit and watches, on real containers and real terminals."""

from __future__ import annotations

import concurrent.futures
import os
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from terminals import Terminal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from clusters import Cluster

pytestmark = [pytest.mark.root, pytest.mark.slow]

CAROB = (sys.executable, "-m", "carob")
MEGABYTES = 3

POD = """\
apiVersion: v1
kind: Pod
metadata: {name: sessions}
spec:
  terminationGracePeriodSeconds: 1
  containers:
    - {name: web, image: "carob.local/web:v1", ports: [{containerPort: 8080, name: http}]}
    - name: echo
      image: carob.local/web:v1
      stdin: true
      tty: true
      command: [sh, -c, 'while read line; do echo "heard $line"; done']
"""


@pytest.fixture(scope="module")
def pod(cluster: Cluster) -> Iterator[str]:
    cluster.carob("apply", "-f", "-", stdin=POD).check()
    cluster.wait_ready("sessions")
    yield "sessions"
    cluster.carob("delete", "pod", "sessions").check()


def _popen(cluster: Cluster, *words: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [*CAROB, *words],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=cluster.environment,
    )


def test_a_shell_on_a_terminal(cluster: Cluster, pod: str) -> None:
    """Keys pass through (Ctrl-C too), sizes follow, the exit code comes back, the terminal is as it was."""
    terminal = Terminal([*CAROB, "exec", "-it", pod, "-c", "web", "--", "sh"], cluster.environment)
    terminal.expect("#")
    assert terminal.mode() != terminal.before
    terminal.resize(111, 33)
    time.sleep(0.3)
    terminal.type("stty size\n")
    terminal.expect("33 111")
    terminal.type("sleep 100\n")
    time.sleep(0.3)
    terminal.type("\x03")
    terminal.type("echo back $((40+2))\n")
    terminal.expect("back 42")
    terminal.type("exit 9\n")
    terminal.process.wait(timeout=15)
    assert terminal.mode() == terminal.before
    assert terminal.end() == 9


def test_a_terminal_is_given_back_when_the_command_is_told_to_end(cluster: Cluster, pod: str) -> None:
    terminal = Terminal([*CAROB, "exec", "-it", pod, "-c", "web", "--", "sh"], cluster.environment)
    terminal.expect("#")
    terminal.process.send_signal(signal.SIGTERM)
    terminal.process.wait(timeout=15)
    assert terminal.mode() == terminal.before
    assert terminal.end() == 128 + signal.SIGTERM


def test_bytes_pass_unchanged_both_ways(cluster: Cluster, pod: str) -> None:
    data = os.urandom(MEGABYTES << 20)
    process = _popen(cluster, "exec", "-i", pod, "-c", "web", "--", "cat")
    out, err = process.communicate(data, timeout=60)
    assert (process.returncode, err) == (0, b"")
    assert out == data


def test_a_slow_reader_holds_up_the_command_and_not_our_memory(cluster: Cluster, pod: str) -> None:
    process = _popen(cluster, "exec", pod, "-c", "web", "--", "head", "-c", str(40 << 20), "/dev/zero")
    assert process.stdout is not None
    time.sleep(1.0)
    status = Path(f"/proc/{process.pid}/status").read_text()
    resident_kib = int(next(line for line in status.splitlines() if line.startswith("VmRSS:")).split()[1])
    assert resident_kib < 60_000
    count = 0
    while block := process.stdout.read(1 << 20):
        count += len(block)
    assert count == 40 << 20
    process.communicate(timeout=15)
    assert process.returncode == 0


def test_streams_and_exit_codes_stay_apart(cluster: Cluster, pod: str) -> None:
    done = cluster.carob("exec", pod, "-c", "web", "--", "sh", "-c", "echo out; echo err >&2; exit 5")
    assert (done.code, done.out, done.err) == (5, "out\n", "err\ncommand terminated with exit code 5\n")
    assert cluster.carob("exec", "-i", pod, "-c", "web", "--", "wc", "-c", stdin="12345").check().out.strip() == "5"
    assert cluster.carob("exec", "-i", pod, "-c", "web", "--", "true", stdin="never read").code == 0


def test_attaching_to_a_process_on_a_terminal(cluster: Cluster, pod: str) -> None:
    terminal = Terminal([*CAROB, "attach", "-it", pod, "-c", "echo"], cluster.environment)
    terminal.expect("try pressing enter.")
    terminal.type("something\n")
    terminal.expect("heard something")
    terminal.process.terminate()
    terminal.end()


def test_running_to_an_end_with_input(cluster: Cluster) -> None:
    words = ("run", "ran", "--image=carob.local/web:v1", "--restart=Never", "-i", "--rm", "-q")
    done = cluster.carob(*words, "--", "sh", "-c", "cat; echo done", stdin="typed\n")
    assert (done.code, done.out, done.err) == (0, "typed\ndone\n", "")
    assert "NotFound" in cluster.carob("get", "pod", "ran").err
    failing = cluster.carob(*words, "--", "sh", "-c", "cat; exit 6", stdin="")
    assert failing.code == 6
    assert "terminated (Error)" in failing.err


def test_running_a_shell_on_a_terminal(cluster: Cluster) -> None:
    command = [*CAROB, "run", "shell", "--image=carob.local/web:v1", "--restart=Never", "-it", "--rm", "--", "sh"]
    terminal = Terminal(command, cluster.environment)
    terminal.expect("try pressing enter.")
    terminal.type("\necho I am $(hostname)\n")
    terminal.expect("I am shell")
    terminal.type("exit 0\n")
    terminal.expect('pod "shell" deleted from default namespace')
    assert terminal.end() == 0


def test_forwarding_ports(cluster: Cluster, pod: str) -> None:
    process = _popen(cluster, "port-forward", f"pod/{pod}", ":http")
    try:
        assert process.stdout is not None
        port = int(process.stdout.readline().split(b"127.0.0.1:")[1].split()[0])

        def fetch(_: int) -> bytes:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=10) as answer:
                body: bytes = answer.read()
                return body

        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            for body in pool.map(fetch, range(40)):
                assert b"Hello from a Pod" in body
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=15)
    assert process.returncode == 0


def test_forwarding_to_a_port_where_nobody_listens(cluster: Cluster, pod: str) -> None:
    process = _popen(cluster, "port-forward", pod, ":9")
    assert process.stdout is not None
    port = int(process.stdout.readline().split(b"127.0.0.1:")[1].split()[0])
    with pytest.raises(OSError):  # noqa: PT011 - reset or closed, as it comes
        urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=10)
    _, err = process.communicate(timeout=15)
    assert process.returncode == 1
    assert b"Connection refused" in err or b"connection refused" in err
    assert err.endswith(b"error: lost connection to pod\n")


def test_a_taken_local_port_is_told(cluster: Cluster, pod: str) -> None:
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = cluster.carob("port-forward", "--address=127.0.0.1", pod, f"{port}:8080")
    assert done.code == 1
    assert f"Unable to listen on port {port}: Listeners failed to create" in done.err
    assert "error: unable to listen on any of the requested ports" in done.err


def test_copying_files_and_folders(cluster: Cluster, pod: str, tmp_path: Path) -> None:
    folder = tmp_path / "sent"
    (folder / "deep").mkdir(parents=True)
    (folder / "deep" / "data").write_bytes(os.urandom(MEGABYTES << 20))
    (folder / "run").write_text("#!/bin/sh\n")
    (folder / "run").chmod(0o750)
    cluster.carob("cp", folder, f"{pod}:/tmp/got", "-c", "web").check()
    assert cluster.carob("exec", pod, "-c", "web", "--", "stat", "-c", "%a", "/tmp/got/run").check().out == "750\n"
    # the folder is there now, so a second copy goes into it
    cluster.carob("cp", folder / "run", f"default/{pod}:/tmp/got/", "-c", "web").check()
    cluster.carob("cp", f"{pod}:/tmp/got", tmp_path / "back", "-c", "web").check()
    assert (tmp_path / "back" / "deep" / "data").read_bytes() == (folder / "deep" / "data").read_bytes()
    cluster.carob("cp", f"{pod}:/tmp/got/run", tmp_path, "-c", "web").check()
    assert (tmp_path / "run").read_text() == "#!/bin/sh\n"
    missing = cluster.carob("cp", f"{pod}:/no/such", tmp_path / "x", "-c", "web")
    assert missing.code != 0
    assert "/no/such" in missing.err


def test_editing_with_an_editor(cluster: Cluster, tmp_path: Path) -> None:
    cluster.carob("create", "configmap", "edited", "--from-literal=a=before").check()
    editor = tmp_path / "editor"
    editor.write_text("#!/bin/sh\nsed -i 's/a: before/a: after/' \"$1\"\n")
    editor.chmod(0o755)
    cluster.environment["EDITOR"] = str(editor)
    try:
        assert cluster.carob("edit", "configmap", "edited").check().out == "configmap/edited edited\n"
        assert cluster.carob("get", "cm", "edited", "-o", "jsonpath={.data.a}").check().out == "after"
        again = cluster.carob("edit", "configmap", "edited").check()
        assert again.err == "Edit cancelled, no changes made.\n"
    finally:
        del cluster.environment["EDITOR"]
        cluster.carob("delete", "configmap", "edited").check()


def test_watching_and_following(cluster: Cluster, pod: str) -> None:
    watch = _popen(cluster, "get", "pod", pod, "-w", "--show-labels", "--output-watch-events")
    assert watch.stdout is not None
    try:
        assert watch.stdout.readline().split()[:2] == [b"EVENT", b"NAME"]
        assert watch.stdout.readline().startswith(b"ADDED")
        cluster.carob("label", "pod", pod, "seen=yes").check()
        line = watch.stdout.readline()
        assert line.startswith(b"MODIFIED")
        assert line.rstrip().endswith(b"seen=yes")
    finally:
        watch.send_signal(signal.SIGINT)
        watch.communicate(timeout=15)


def test_deleting_waits_until_it_is_gone(cluster: Cluster) -> None:
    manifest = (
        "apiVersion: v1\nkind: Pod\nmetadata: {name: leaving}\nspec:\n  terminationGracePeriodSeconds: 1\n  containers:\n"
        "    - {name: c, image: 'carob.local/web:v1', command: [sleep, '3600']}\n"
    )
    cluster.carob("apply", "-f", "-", stdin=manifest).check()
    cluster.wait_ready("leaving")
    told = cluster.carob("delete", "pod", "leaving", "--wait=false").check()
    assert told.out == 'pod "leaving" deleted from default namespace\n'
    assert cluster.carob("get", "pod", "leaving", "-o", "name").check().out == "pod/leaving\n"
    cluster.carob("wait", "--for=delete", "pod/leaving").check()
    assert "NotFound" in cluster.carob("get", "pod", "leaving").err
