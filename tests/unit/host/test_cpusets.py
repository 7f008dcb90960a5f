"""A new cpuset group gets what its parent has, also when the parent itself has only just been made."""

from __future__ import annotations

from pathlib import Path

from carob.host.cgroup_v1 import inherit_cpuset
from carob.host.real import RealHost


def group(folder: Path, cpus: str = "", mems: str = "") -> Path:
    folder.mkdir()
    (folder / "cpuset.cpus").write_text(f"{cpus}\n")
    (folder / "cpuset.mems").write_text(f"{mems}\n")
    return folder


def test_what_another_thread_has_not_come_to_is_done_for_it(tmp_path: Path) -> None:
    top = group(tmp_path / "top", "0-1", "0")
    middle = group(top / "kubepods")
    low = group(middle / "burstable")
    pod = group(low / "pod")
    inherit_cpuset(RealHost(), str(low), str(pod))
    for folder in (middle, low, pod):
        assert (folder / "cpuset.cpus").read_text().strip() == "0-1"
        assert (folder / "cpuset.mems").read_text().strip() == "0"
    (low / "cpuset.cpus").write_text("1\n")
    inherit_cpuset(RealHost(), str(middle), str(low))
    assert (low / "cpuset.cpus").read_text().strip() == "1", "what is set stays"
