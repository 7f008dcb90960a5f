"""Clusters that the end-to-end tests start: commands against them, waits, logs."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
from kubectls import kubectl as kubectl_binary

WEB_IMAGE = "carob.local/web:v1"
PATIENCE = float(os.environ.get("CAROB_TEST_PATIENCE", "1"))
"""How many times longer than usual everything may take: an emulated machine is ten times slower."""


@dataclass(frozen=True)
class Result:
    """What a command printed, and how it ended."""

    code: int
    out: str
    err: str

    def check(self) -> Result:
        """Fail the test with everything that was printed unless it ended well."""
        assert self.code == 0, f"exit code {self.code}\n--- out\n{self.out}\n--- err\n{self.err}"
        return self


class Cluster:
    """A running cluster: commands against it."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self.data_dir = folder / "data"
        self.kubeconfig = folder / "kubeconfig"
        self.environment = {**os.environ, "KUBECONFIG": str(self.kubeconfig), "HOME": str(folder), "TZ": "UTC"}

    def run(self, *command: str | Path, stdin: str | None = None, timeout: float = 60) -> Result:
        """Run a command to its end; what it is to wait for is awaited with patience, too."""
        done = subprocess.run(
            [_LIMIT.sub(_patient, str(word)) for word in command],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=timeout * PATIENCE,
            env=self.environment,
        )
        return Result(done.returncode, done.stdout, done.stderr)

    def carob(self, *arguments: str | Path, stdin: str | None = None, timeout: float = 60) -> Result:
        """Run the carob command; verbs of the cluster get its name and folder."""
        extra: list[str] = []
        if arguments[0] in ("up", "down", "status", "image", "node", "token"):
            extra = ["--name", self.name, "--data-dir", str(self.data_dir)]
        if arguments[0] == "up":
            extra.append("--wait=60s")
        # these have verbs of their own in front of the flags
        head = 2 if arguments[0] in ("image", "node", "token") else 1
        words = [*arguments[:head], *extra, *arguments[head:]]
        return self.run(sys.executable, "-m", "carob", *words, stdin=stdin, timeout=timeout)

    def kubectl(self, version: str, *arguments: str | Path, stdin: str | None = None, timeout: float = 60) -> Result:
        """Run an unmodified kubectl of this minor version."""
        return self.run(kubectl_binary(version), *arguments, stdin=stdin, timeout=timeout)

    def wait_ready(self, pod: str, timeout: str = "60s", namespace: str = "default") -> None:
        """Return when the Pod is Ready; fail with its description otherwise."""
        done = self.carob("wait", "-n", namespace, "--for=condition=Ready", f"pod/{pod}", f"--timeout={timeout}")
        if done.code != 0:
            described = self.carob("describe", "pod", "-n", namespace, pod)
            pytest.fail(f"{pod} is not ready: {done.err}\n{described.out}\n{self.logs()}")

    def wait_for(self, path: str, value: str, what: str, timeout: str = "60s") -> None:
        """Return when the JSONPath of an object has a value."""
        done = self.carob("wait", f"--for=jsonpath={{{path}}}={value}", what, f"--timeout={timeout}")
        if done.code != 0:
            described = self.carob("describe", *what.split("/"))
            pytest.fail(f"{what} {path} is not {value}: {done.err}\n{described.out}\n{self.logs()}")

    def wait_event(self, name: str, text: str, seconds: float = 60) -> None:
        """Return when there is an event of an object of this name whose message has the text."""
        deadline = time.monotonic() + seconds * PATIENCE
        out = ""
        while time.monotonic() < deadline:
            out = self.carob("get", "events", f"--field-selector=involvedObject.name={name}", "-o", "json").check().out
            if any(text in one.get("message", "") for one in json.loads(out)["items"]):
                return
            time.sleep(0.2)
        pytest.fail(f"no event of {name} says {text!r}:\n{out}")

    def logs(self) -> str:
        """The end of every log of the cluster's processes."""
        out = []
        for file in sorted(Path("/var/log/carob", self.name).glob("*.log")):
            out.append(f"--- {file.name}\n" + "\n".join(file.read_text(errors="replace").splitlines()[-40:]))
        return "\n".join(out)


_LIMIT = re.compile(r"^(--(?:timeout|wait)=)(\d+)s$")


def _patient(limit: re.Match[str]) -> str:
    return f"{limit[1]}{int(limit[2]) * PATIENCE:g}s"


def start(name: str, folder: Path, *flags: str) -> Cluster:
    """`carob up` with a web image on the node."""
    cluster = Cluster(name, folder)
    done = cluster.carob("up", *flags, timeout=120)
    if done.code != 0:
        logs = cluster.logs()
        cluster.carob("down", timeout=120)
        pytest.fail(f"carob up: {done.out}{done.err}\n{logs}")
    cluster.carob("image", "build", "--web", "-t", WEB_IMAGE).check()
    return cluster
