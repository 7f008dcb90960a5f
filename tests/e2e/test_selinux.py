"""Labels of SELinux, where the kernel has it. Elsewhere this is left out: `scripts/test-v2` can boot a kernel that has.

CAROB_V2_APPEND="security=selinux enforcing=0" scripts/test-v2 tests/e2e/test_selinux.py
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from clusters import Cluster
from test_node import manifest, run

pytestmark = [
    pytest.mark.root,
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/sys/fs/selinux/enforce").exists(), reason="no SELinux on this machine"),
]
LEVEL = "s0:c7,c8"


def root_of(*command: str) -> Path:
    """The root file system of the process that was begun so."""
    wanted = "\0".join(command) + "\0"
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if (process / "cmdline").read_text() == wanted:
                return process / "root"
        except OSError:
            continue
    raise LookupError(wanted)


def label_of(path: Path) -> str:
    return os.getxattr(path, "security.selinux").decode().rstrip("\0")


def test_a_container_and_its_files_have_the_label_that_the_pod_names(cluster: Cluster) -> None:
    first = {
        "command": ["sleep", "4242"],
        "volumeMounts": [{"name": "e", "mountPath": "/e"}, {"name": "h", "mountPath": "/h"}],
    }
    other = {"command": ["sleep", "4243"], "securityContext": {"seLinuxOptions": {"level": "s0:c9"}}}
    volumes = [{"name": "e", "emptyDir": {}}, {"name": "h", "hostPath": {"path": "/opt"}}]
    before = label_of(Path("/opt"))
    shell = run(
        cluster, "labelled", first, other, securityContext={"seLinuxOptions": {"level": LEVEL}}, volumes=volumes
    )
    current = shell("cat /proc/1/attr/current; echo; cat /proc/self/attr/current").replace("\0", "").split()
    assert len(set(current)) == 1, "an exec has the container's label"
    assert current[0].endswith(f":{LEVEL}")
    assert shell("cat /proc/1/attr/current", "c1").rstrip("\0").endswith(":s0:c9")
    shell("touch /e/mine /mine")
    root = root_of("sleep", "4242")
    for place in ("", "e", "e/mine", "mine", "etc/resolv.conf", "dev/shm"):
        assert label_of(root / place).endswith(f":{LEVEL}"), place
    assert label_of(Path("/opt")) == before, "the machine's own files keep theirs"
    cluster.carob("delete", "pod", "labelled").check()


def test_who_names_none_gets_none(cluster: Cluster) -> None:
    cluster.carob("apply", "-f", "-", stdin=manifest("plain")).check()
    cluster.wait_ready("plain")
    own = Path("/proc/self/attr/current").read_text().rstrip("\0\n")
    found = cluster.carob("exec", "plain", "--", "cat", "/proc/1/attr/current").check().out.rstrip("\0\n")
    assert found.split(":")[:3] == own.split(":")[:3]
    cluster.carob("delete", "pod", "plain").check()
