"""What a machine holds that carob could leave behind: taken before and after, and compared."""

from __future__ import annotations

import os
import re
import subprocess
import time
from dataclasses import dataclass, fields
from pathlib import Path

from clusters import PATIENCE

from carob.base.layout import known_clusters
from carob.network.layout import interface_prefix, segment_prefix

SETTLE_SECONDS = 20.0


@dataclass(frozen=True)
class Machine:
    """A picture of the machine: everything that carob makes, and the settings that it may touch."""

    processes: frozenset[str]
    mounts: frozenset[str]
    cgroups: frozenset[str]
    links: frozenset[str]
    addresses: frozenset[str]
    routes: frozenset[str]
    tables: frozenset[str]
    settings: frozenset[str]
    profiles: frozenset[str]
    files: frozenset[str]
    others: tuple[str, ...]
    """Marks of the clusters that somebody else ran at that moment."""

    def difference(self, later: Machine) -> list[str]:
        """What is new and what is gone, a line each; other clusters that run on the machine are left out."""
        marks = {*self.others, *later.others}
        out = []
        for field in fields(self):
            if field.name == "others":
                continue
            before, after = getattr(self, field.name), getattr(later, field.name)
            out += [f"{field.name}: new: {x}" for x in sorted(after - before)]
            if field.name != "processes":  # somebody else's may end whenever they like
                out += [f"{field.name}: gone: {x}" for x in sorted(before - after)]
        return [line for line in out if not any(mark in line for mark in marks)]


def left_behind(before: Machine) -> list[str]:
    """What differs for good: clusters of others come and go, and the kernel needs a moment for a namespace."""
    end = time.monotonic() + SETTLE_SECONDS * PATIENCE
    while left := before.difference(look()):
        if time.monotonic() > end:
            break
        time.sleep(0.2)
    return left


def look() -> Machine:
    """The machine as it is now."""
    return Machine(
        processes=frozenset(_processes()),
        mounts=frozenset(_mount(line) for line in Path("/proc/self/mountinfo").read_text().splitlines()),
        cgroups=frozenset(_cgroups()),
        links=frozenset(_ip("-o", "link", "show", field=1)),
        addresses=frozenset(
            address
            for family in ("-4", "-6")
            for address in _ip("-o", family, "addr", "show", field=3)
            if not address.startswith("fe80:")
        ),
        routes=frozenset(
            # a route that a router announced has an end that comes nearer
            re.sub(r" expires \d+sec", "", line)
            for family in ("-4", "-6")
            for line in _lines("ip", family, "route", "show", "table", "all")
            if "fe80:" not in line and "ff00:" not in line
        ),
        tables=frozenset(_lines("nft", "list", "tables")),
        settings=frozenset(
            f"{name}={Path('/proc/sys', name).read_text().strip()}"
            for name in ("net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding")
            if Path("/proc/sys", name).exists()
        ),
        profiles=frozenset(_profiles()),
        files=frozenset(str(p) for root in ("/var/lib", "/run", "/var/log") for p in Path(root).glob("carob*")),
        others=tuple(_marks_of_running_clusters()),
    )


def _marks_of_running_clusters() -> list[str]:
    """By what the traces of clusters that somebody else runs here are known: names, interfaces, ranges."""
    marks = []
    for cluster in known_clusters():
        ranges = [cidr.removesuffix("0.0/16") for cidr in (cluster.pod_cidr, cluster.service_cidr)]
        ranges += [cidr.partition("::")[0] + ":" for cidr in (cluster.pod_cidr6, cluster.service_cidr6) if cidr]
        marks += [f"carob-{cluster.name}", f"/carob/{cluster.name}", f"--name {cluster.name}"]
        marks += [interface_prefix(cluster.name), segment_prefix(cluster.name), *ranges]
        marks += ["conmon"] if cluster.nodes else []
    return marks


def _processes() -> list[str]:
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
        except OSError:
            continue
        if any(word in command for word in ("conmon", "catatonit", "carob server", "carob node", "crun")):
            found.append(f"{entry.name} {command[:120]}")
    return found


def _profiles() -> list[str]:
    """Of AppArmor: the one of carob's own is there while any cluster is, and no other cluster's mark is on it."""
    file = Path("/sys/kernel/security/apparmor/profiles")
    lines = file.read_text().splitlines() if file.exists() else []
    return [] if _marks_of_running_clusters() else [line for line in lines if line.startswith("carob")]


def _mount(line: str) -> str:
    words = line.split()
    return f"{words[4]} {words[words.index('-') + 1]}"


def _cgroups() -> list[str]:
    root = Path("/sys/fs/cgroup")
    return [str(p) for p in (*root.glob("carob*"), *root.glob("*/carob*"))]


def _ip(*arguments: str, field: int) -> list[str]:
    return [line.split()[field].split("@")[0] for line in _lines("ip", *arguments)]


def _lines(*command: str) -> list[str]:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
