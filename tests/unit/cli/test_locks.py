"""Two commands never change a cluster at once, and what keeps them apart leaves nothing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

BODY = """
import os, sys
from pathlib import Path
from carob.cli import clusters

clusters.RUN_ROOT = Path(sys.argv[1]) / "run"
counter = Path(sys.argv[1]) / "counter"
for _ in range(200):
    with clusters.locked("one"):
        inside = Path(sys.argv[1]) / "inside"
        os.close(os.open(inside, os.O_CREAT | os.O_EXCL))
        counter.write_text(str(int(counter.read_text() or 0) + 1))
        inside.unlink()
"""


def test_many_take_turns_and_leave_nothing(tmp_path: Path) -> None:
    (tmp_path / "counter").write_text("")
    children = [
        subprocess.Popen([sys.executable, "-c", BODY, str(tmp_path)], stderr=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    for child in children:
        _, said = child.communicate(timeout=100)
        assert child.returncode == 0, said
    assert (tmp_path / "counter").read_text() == "800"
    assert [path.name for path in tmp_path.iterdir()] == ["counter"]
