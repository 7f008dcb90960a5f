"""A cluster of real processes that is to be fuzzed, without root: a server, and nodes that run nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from carob.base.layout import Cluster

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def fuzzed_cluster(faults: list[str]) -> Iterator[tuple[Cluster, int]]:
    """The cluster and its server's process id. A traceback in the server's log becomes a fault when the body ends."""
    with tempfile.TemporaryDirectory(prefix="carob-soak-") as folder:
        name = f"soak-{os.getpid() % 100000}"
        environment = {**os.environ, "KUBECONFIG": f"{folder}/kubeconfig", "HOME": folder}
        carob = [sys.executable, "-m", "carob"]
        where = ["--name", name, "--data-dir", folder]
        subprocess.run([*carob, "up", "--nodes", "0", "--simulated-nodes", "5", *where], env=environment, check=True)
        try:
            cluster = Cluster.load(Path(folder) / name / "cluster.json")
            yield cluster, json.loads((Path(cluster.run_dir) / "server.json").read_text())["pid"]
            log = "".join(f.read_text(errors="replace") for f in Path(cluster.log_dir).glob("server*.log"))
            if "Traceback" in log:
                at = log.index("Traceback")
                faults.append(f"the server's log has a traceback:\n{log[max(0, at - 500) : at + 4000]}")
        finally:
            subprocess.run([*carob, "down", *where], env=environment, check=True)


def report(faults: list[str], of: str) -> int:
    """Print the faults; the exit code."""
    for fault in faults[:40]:
        print(f"FAULT {fault}\n")
    print(f"{of}, {len(faults)} faults")
    return 1 if faults else 0
