"""What one cluster holds on the machine: counted before and after, and compared."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

from bench.cluster import memory_bytes
from carob.network.layout import interface_prefix

if TYPE_CHECKING:
    from bench.cluster import Bench

PATIENCE_SECONDS = 30.0


@dataclass(frozen=True)
class Held:
    """Counts, of the cluster's own things alone."""

    server_descriptors: int
    agent_descriptors: int
    threads: int
    mounts: int
    groups: int
    links: int
    processes: frozenset[str]
    """Pids and command lines of monitors, pause processes and commands."""
    folders: frozenset[str]
    """Names below the node's folders, two levels deep."""


def look(bench: Bench) -> Held:
    """Now."""
    pids = bench.pids()
    agent = next(pid for part, pid in pids.items() if part != "server")
    cluster = bench.cluster
    node = Path(cluster.state_dir) / cluster.nodes[0].name
    return Held(
        server_descriptors=len(os.listdir(f"/proc/{pids['server']}/fd")),
        agent_descriptors=len(os.listdir(f"/proc/{agent}/fd")),
        threads=sum(len(os.listdir(f"/proc/{pid}/task")) for pid in pids.values()),
        mounts=len(Path(f"/proc/{agent}/mountinfo").read_text().splitlines()),
        groups=sum(
            one.is_dir() for root in _hierarchies(agent) for one in root.glob(f"carob-{cluster.name}/kubepods/*/*")
        ),
        links=sum(one.name.startswith(interface_prefix(cluster.name)) for one in Path("/sys/class/net").iterdir()),
        processes=frozenset(_of_cluster(cluster.run_dir, cluster.state_dir)),
        folders=frozenset(
            str(path)
            for folder in (node / "kubelet", node / "runtime", node / "pod-logs")
            for pattern in ("*", "*/*", "*/*/*")
            for path in folder.glob(pattern)
            if "seccomp" not in path.parts
        ),
    )


def memory(bench: Bench) -> dict[str, int]:
    """Bytes (PSS) of each process of the cluster."""
    return {part: memory_bytes(pid, "Pss") for part, pid in bench.pids().items()}


def settled(bench: Bench, before: Held, *, restarted: bool = False) -> list[str]:
    """What is more than before, once it does not get less any more; `restarted` processes have other descriptors."""
    end = time.monotonic() + PATIENCE_SECONDS
    while left := _more(before, look(bench), restarted):
        if time.monotonic() > end:
            break
        time.sleep(0.5)
    return left


# connections; threads of pools, which are begun when they are needed and then stay
_COMES_AND_GOES = {"server_descriptors": 5, "agent_descriptors": 5, "threads": 8}


def _more(before: Held, after: Held, restarted: bool) -> list[str]:
    out = [f"left: {path}" for path in sorted(after.folders - before.folders)]
    out += [f"left: {process}" for process in sorted(after.processes - before.processes)]
    for one in fields(Held):
        old, new = getattr(before, one.name), getattr(after, one.name)
        if one.name in ("folders", "processes") or (restarted and one.name in _COMES_AND_GOES):
            continue
        if new > old + _COMES_AND_GOES.get(one.name, 0):
            out.append(f"{one.name}: {old} -> {new}")
    return out


def _hierarchies(pid: int) -> list[Path]:
    points = []
    for line in Path(f"/proc/{pid}/mountinfo").read_text().splitlines():
        left, _, right = line.partition(" - ")
        if right.split(" ")[0] in ("cgroup", "cgroup2"):
            points.append(Path(f"/proc/{pid}/root") / left.split(" ")[4].lstrip("/"))
    return points


def _of_cluster(*places: str) -> list[str]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "cmdline").read_bytes().decode(errors="replace")
            except OSError:
                continue
            if any(place in words for place in places):
                found.append(f"{entry.name} {words.replace(chr(0), ' ')[:300]}")
    return found
