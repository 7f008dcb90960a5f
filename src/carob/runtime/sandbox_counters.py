"""What a whole sandbox uses: its control group, in which the pause process counts too, and its network. Blocking.

Source: proc_net_dev(5), which shows the network namespace of the process that it is asked of.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from carob.runtime.types import InterfaceStats, SandboxStats

if TYPE_CHECKING:
    from carob.host.cgroup import Cgroups
    from carob.host.types import Host

LOOPBACK = "lo"


def look(host: Host, cgroups: Cgroups, sandbox_id: str, group: str, pid: int, now: float) -> SandboxStats | None:
    """None when it is gone. `pid`: a process in its network; 0 for a sandbox on the machine's own."""
    used = cgroups.stats(group)
    if used is None:
        return None
    return SandboxStats(
        id=sandbox_id,
        timestamp=now,
        cpu_usage_nanoseconds=used.cpu_usage_nanoseconds,
        memory_usage_bytes=used.memory_usage_bytes,
        memory_working_set_bytes=used.memory_working_set_bytes,
        memory_rss_bytes=used.memory_rss_bytes,
        page_faults=used.page_faults,
        major_page_faults=used.major_page_faults,
        process_count=used.process_count,
        pressure=used.pressure,
        interfaces=interfaces(host, pid) if pid else [],
    )


def interfaces(host: Host, pid: int) -> list[InterfaceStats]:
    """Those of the process' network, without the loopback; empty when it has ended."""
    with suppress(OSError, ValueError, IndexError):
        return parse_interfaces(host.read(f"/proc/{pid}/net/dev"))
    return []


def parse_interfaces(text: str) -> list[InterfaceStats]:
    """From proc_net_dev(5)'s text, without the loopback. Raises: ValueError, IndexError."""
    found = []
    for line in text.splitlines()[2:]:
        name, _, rest = line.partition(":")
        n = [int(word) for word in rest.split()]
        if name.strip() != LOOPBACK:
            found.append(InterfaceStats(name.strip(), *n[0:4], *n[8:12]))
    return found
