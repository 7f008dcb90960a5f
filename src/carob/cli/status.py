"""What runs here: the processes of every cluster, with their memory and CPU.

Examples:
  carob status
  carob status --name test
"""

from __future__ import annotations

import os
import time
from pathlib import Path

from carob.base.layout import Cluster, known_clusters
from carob.cli import clusters, processes
from carob.cli.printers.columns import Columns

TYPE_CHECKING = False
if TYPE_CHECKING:
    from carob.base.layout import NodeLayout
    from carob.cli.flags import Arguments, Flags


def add_flags(flags: Flags) -> None:
    """The verb's flags."""
    clusters.add_name_flags(flags, default="")


def run(arguments: Arguments) -> int:
    """Print a line a process; 1 when the named cluster does not run wholly."""
    clusters.need_no_words(arguments, "carob status")
    found = known_clusters(Path(arguments.data_dir))
    if arguments.name:
        found = [clusters.existing(arguments)]
    if not found:
        print("No clusters here. Start one with: carob up")
        return 0
    rows = [["CLUSTER", "PART", "STATUS", "PID", "MEMORY", "CPU", "AGE"]]
    whole = True
    for cluster in found:
        apart = {node.name: node for node in cluster.nodes if node.apart}
        own_server = () if cluster.servers else ("server",)
        for part in (*own_server, *(node.name for node in cluster.nodes)):
            row, running = _row(cluster, part)
            if running and part in apart and _is_cut(cluster, apart[part]):
                row[2], running = "Cut off", False
            rows.append(row)
            whole = whole and running
    for line in Columns().lines(rows):
        print(line)
    return 0 if whole or not arguments.name else 1


def _is_cut(cluster: Cluster, node: NodeLayout) -> bool:
    from carob.standalone import traces

    return traces.is_cut(cluster, node)


def _row(cluster: Cluster, part: str) -> tuple[list[str], bool]:
    process = processes.find(cluster.run_dir, part)
    if process is None:
        return [cluster.name, part, "Stopped", "-", "-", "-", "-"], False
    from carob.api.human import human_duration

    seconds = _cpu_seconds(process.pid)
    age = _age_seconds(process.start_ticks)
    cpu = f"{100 * seconds / age:.1f}%" if age > 0 else "-"
    memory = f"{_pss_bytes(process.pid) / (1 << 20):.0f}Mi"
    return [cluster.name, part, "Running", str(process.pid), memory, cpu, human_duration(age)], True


def _pss_bytes(pid: int) -> int:
    """Memory that is this process's own, with its share of what it shares; 0 where we may not look."""
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    except OSError:
        return 0
    return 0


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _age_seconds(start_ticks: int) -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME) - start_ticks / os.sysconf("SC_CLK_TCK")
