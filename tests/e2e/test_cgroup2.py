"""Pods' limits where control groups are those of version 2 alone, as on most machines; and AppArmor, and systemd.

Elsewhere they are left out, with the reason: `scripts/test-v2` runs them on Debian's own kernel.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from clusters import PATIENCE, Cluster, start
from machine import left_behind, look
from test_node import KUBECTL, manifest, run, status_of

GROUPS = Path("/sys/fs/cgroup")
pytestmark = [
    pytest.mark.root,
    pytest.mark.slow,
    pytest.mark.skipif(
        not (GROUPS / "cgroup.controllers").exists(), reason="control groups of this machine are not version 2 alone"
    ),
]
SYSTEMD = Path("/run/systemd/system").exists()
HUGE = Path("/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages")


@pytest.fixture(autouse=True)
def _gone(request: pytest.FixtureRequest) -> Iterator[None]:
    yield
    for name in ("cluster", "huge_cluster", "tight_cluster"):
        if name in request.fixturenames:
            found: Cluster = request.getfixturevalue(name)
            found.carob("delete", "pods", "--all", "--grace-period=0", "--force", timeout=120).check()


def group(cluster: Cluster, pod: str) -> Path:
    """Of the whole Pod."""
    found = json.loads(cluster.carob("get", "pod", pod, "-o", "json").check().out)
    quality = found["status"]["qosClass"].lower()
    return GROUPS / f"carob-{cluster.name}/kubepods/{quality}/pod{found['metadata']['uid']}"


def values(folder: Path, *names: str) -> list[str]:
    return [(folder / name).read_text().strip() for name in names]


OWN = ("cpu.weight", "cpu.max", "memory.max", "memory.high", "memory.min", "memory.swap.max", "memory.oom.group")


def own(shell: Any, *names: str, container: str = "c0") -> list[str]:
    """Files of the container's group as it sees them itself."""
    lines: str = shell("; ".join(f"cat /sys/fs/cgroup/{name}" for name in names), container)
    return lines.splitlines()


def test_limits_are_the_kernels(cluster: Cluster) -> None:
    first = {"requests": {"cpu": "100m", "memory": "32Mi"}, "limits": {"cpu": "200m", "memory": "128Mi"}}
    second = {"requests": {"cpu": "900m"}, "limits": {"cpu": "1", "memory": "64Mi"}}
    shell = run(cluster, "sized", {"resources": first}, {"resources": second, "command": ["sleep", "600"]})
    assert own(shell, *OWN) == ["17", "20000 100000", str(128 << 20), "max", "0", "0", "1"]
    assert own(shell, *OWN[:3], container="c1") == ["93", "100000 100000", str(64 << 20)]
    # the kubelet's own groups weigh in proportion to what was asked for
    whole = group(cluster, "sized")
    assert values(whole, *OWN[:3]) == ["39", "120000 100000", str(192 << 20)]
    assert values(whole, "memory.swap.max", "memory.oom.group") == ["max", "0"]
    assert "memory" in (whole / "cgroup.subtree_control").read_text().split()
    assert (whole / "cgroup.procs").read_text() == ""
    shell("i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done")
    throttled = re.search(r"nr_throttled (\d+)", shell("cat /sys/fs/cgroup/cpu.stat"))
    assert throttled is not None
    assert int(throttled[1]) > 0


def test_best_effort_weighs_the_least(cluster: Cluster) -> None:
    shell = run(cluster, "least")
    assert own(shell, *OWN[:3]) == ["1", "max 100000", "max"]
    assert values(group(cluster, "least"), *OWN[:3]) == ["1", "max 100000", "max"]


def test_want_of_memory_ends_all_of_a_container(cluster: Cluster) -> None:
    line = "tail /dev/zero & sleep 600"
    hungry = {"command": ["sh", "-c", line], "resources": {"limits": {"memory": "32Mi"}}}
    calm = {"command": ["sleep", "600"]}
    cluster.carob("apply", "-f", "-", stdin=manifest("whole", hungry, calm, restartPolicy="Never")).check()
    cluster.wait_for('.status.containerStatuses[?(@.name=="c0")].state.terminated.reason', "OOMKilled", "pod/whole")
    states = {one["name"]: one["state"] for one in status_of(cluster, "whole")["containerStatuses"]}
    assert states["c0"]["terminated"]["exitCode"] == 137
    assert "running" in states["c1"]


def test_limits_of_the_whole_pod_hold_for_each_container(cluster: Cluster) -> None:
    whole = {"requests": {"cpu": "200m", "memory": "64Mi"}, "limits": {"cpu": "500m", "memory": "64Mi"}}
    name = [{"name": "LIMIT", "valueFrom": {"resourceFieldRef": {"resource": "limits.memory"}}}]
    shell = run(cluster, "together", {"env": name}, {"command": ["sleep", "600"]}, resources=whole)
    for container in ("c0", "c1"):
        assert own(shell, "cpu.max", "memory.max", container=container) == ["50000 100000", str(64 << 20)]
    assert shell("echo $LIMIT") == str(64 << 20)
    assert values(group(cluster, "together"), "cpu.weight", "cpu.max", "memory.max") == [
        "8",
        "50000 100000",
        str(64 << 20),
    ]
    patch = json.dumps({"spec": {"resources": {"limits": {"memory": "128Mi"}, "requests": {"memory": "128Mi"}}}})
    cluster.kubectl(KUBECTL, "patch", "pod", "together", "--subresource", "resize", "--patch", patch).check()
    cluster.wait_for(".status.resources.limits.memory", "128Mi", "pod/together")
    assert values(group(cluster, "together"), "memory.max") == [str(128 << 20)]
    for container in ("c0", "c1"):
        assert own(shell, "memory.max", container=container) == [str(128 << 20)]


def test_a_resize_says_all_that_a_start_says(cluster: Cluster) -> None:
    asked = {"requests": {"cpu": "100m", "memory": "64Mi"}, "limits": {"cpu": "200m", "memory": "64Mi"}}
    shell = run(cluster, "resized", {"resources": asked})
    wanted = {"requests": {"cpu": "900m"}, "limits": {"cpu": "1", "memory": "128Mi"}}
    patch = json.dumps({"spec": {"containers": [{"name": "c0", "resources": wanted}]}})
    cluster.kubectl(KUBECTL, "patch", "pod", "resized", "--subresource", "resize", "--patch", patch).check()
    cluster.wait_for(".status.containerStatuses[0].resources.limits.memory", "128Mi", "pod/resized")
    assert own(shell, *OWN) == ["93", "100000 100000", str(128 << 20), "max", "0", "0", "1"]
    assert values(group(cluster, "resized"), *OWN[:3]) == ["36", "100000 100000", str(128 << 20)]


def test_pressure_and_devices_are_told(cluster: Cluster) -> None:
    run(cluster, "told", {"command": ["sh", "-c", "while :; do :; done"], "resources": {"limits": {"cpu": "100m"}}})

    def raw(path: str) -> str:
        return cluster.kubectl(KUBECTL, "get", "--raw", f"/api/v1/nodes/node-0/proxy/{path}").check().out

    if not Path("/proc/pressure/cpu").exists():
        pytest.skip("this kernel tells no pressure")
    summary = json.loads(raw("stats/summary"))
    container = next(pod for pod in summary["pods"] if pod["podRef"]["name"] == "told")["containers"][0]
    for part in (container, summary["node"]):
        assert part["cpu"]["psi"]["some"]["total"] >= 0
        assert {"psi"} <= part["memory"].keys()
    page = raw("metrics/cadvisor")
    for name in ("container_pressure_cpu_waiting_seconds_total", "container_cpu_cfs_throttled_periods_total"):
        assert re.search(rf'^{name}{{[^}}]*pod="told"[^}}]*}} ', page, re.MULTILINE), name


@pytest.fixture(scope="module")
def huge_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """On a machine that keeps eight huge pages."""
    if not HUGE.exists() or "hugetlb" not in (GROUPS / "cgroup.controllers").read_text():
        pytest.skip("this kernel has no huge pages, or does not count them")
    before = HUGE.read_text()
    HUGE.write_text("8")
    if int(HUGE.read_text()) < 8:
        HUGE.write_text(before)
        pytest.skip("this machine's memory is too scattered for huge pages")
    made = start(f"huge-{os.getpid() % 10000}", tmp_path_factory.mktemp("huge"))
    yield made
    made.carob("down", timeout=120).check()
    HUGE.write_text(before)


def test_huge_pages_are_given_to_who_asks_for_them(huge_cluster: Cluster) -> None:
    cluster = huge_cluster
    asked = {"limits": {"hugepages-2Mi": "4Mi", "memory": "64Mi", "cpu": "100m"}}
    volumes = [{"name": "huge", "emptyDir": {"medium": "HugePages"}}]
    mounts = [{"name": "huge", "mountPath": "/huge"}]
    shell = run(
        cluster, "pages", {"resources": asked, "volumeMounts": mounts}, {"command": ["sleep", "600"]}, volumes=volumes
    )
    assert own(shell, "hugetlb.2MB.max", "hugetlb.2MB.rsvd.max") == [str(4 << 20)] * 2
    assert own(shell, "hugetlb.2MB.max", container="c1") == ["0"]
    assert values(group(cluster, "pages"), "hugetlb.2MB.max") == [str(4 << 20)]
    assert shell("fallocate -l 4M /huge/two && stat -c %s /huge/two") == str(4 << 20)
    assert shell("fallocate -l 2M /huge/third 2>/dev/null || echo no") == "no"
    plain = run(cluster, "plain")
    assert own(plain, "hugetlb.2MB.max") == ["0"]


@pytest.fixture(scope="module")
def tight_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Whose node takes three hundred megabytes less than are free for too little."""
    if subprocess.run(["systemd-detect-virt", "-q"], check=False).returncode or not SYSTEMD:
        pytest.skip("other processes of this machine decide when its memory runs low")
    found = re.search(r"MemAvailable: +(\d+) kB", Path("/proc/meminfo").read_text())
    assert found is not None
    least = int(found[1]) // 1024 - 800
    made = start(
        f"tight-{os.getpid() % 10000}", tmp_path_factory.mktemp("tight"), f"--eviction-hard=memory.available<{least}Mi"
    )
    yield made
    made.carob("down", timeout=120).check()


def test_who_takes_the_nodes_memory_is_evicted(tight_cluster: Cluster) -> None:
    cluster = tight_cluster
    run(cluster, "modest", {"resources": {"requests": {"memory": "64Mi"}}})
    line = "dd if=/dev/zero of=/memory/big bs=1M count=900; exec sleep 600"
    mounts, volumes = [{"name": "m", "mountPath": "/memory"}], [{"name": "m", "emptyDir": {"medium": "Memory"}}]
    taker = {"command": ["sh", "-c", line], "volumeMounts": mounts}
    cluster.carob("apply", "-f", "-", stdin=manifest("taker", taker, volumes=volumes)).check()
    cluster.wait_for(".status.reason", "Evicted", "pod/taker", timeout="120s")
    assert status_of(cluster, "taker")["message"].startswith("The node was low on resource: memory. ")
    assert status_of(cluster, "modest")["phase"] == "Running"
    node = json.loads(cluster.carob("get", "node", "node-0", "-o", "json").check().out)["status"]
    assert {c["type"]: c["status"] for c in node["conditions"]}["MemoryPressure"] == "True"


PROFILE = """\
profile carob-test-no-writes flags=(attach_disconnected) {
  file,
  network,
  capability,
  signal,
  ptrace,
  deny /tmp/** w,
}
"""


@pytest.fixture
def profile(tmp_path: Path) -> Iterator[str]:
    """A profile of AppArmor that the kernel knows."""
    enabled = Path("/sys/module/apparmor/parameters/enabled")
    if not enabled.exists() or enabled.read_text().strip() != "Y" or shutil.which("apparmor_parser") is None:
        pytest.skip("no AppArmor on this machine")
    file = tmp_path / "profile"
    file.write_text(PROFILE)
    subprocess.run(["apparmor_parser", "-r", str(file)], check=True)
    yield "carob-test-no-writes"
    subprocess.run(["apparmor_parser", "-R", str(file)], check=True)


def confined(kind: str, **more: str) -> dict[str, Any]:
    return {"securityContext": {"appArmorProfile": {"type": kind, **more}}}


def test_profiles_of_apparmor_are_enforced(cluster: Cluster, profile: str) -> None:
    shell = run(
        cluster,
        "confined",
        confined("Localhost", localhostProfile=profile),
        confined("RuntimeDefault") | {"command": ["sleep", "600"]},
    )
    assert shell("cat /proc/1/attr/current") == f"{profile} (enforce)"
    assert shell("cat /proc/self/attr/current") == f"{profile} (enforce)"
    assert (
        "Permission denied" in shell("echo x > /tmp/file; true 2>&1") or shell("test -e /tmp/file || echo no") == "no"
    )
    # a profile of the runtime's own
    assert shell("echo x > /tmp/file && cat /tmp/file", "c1") == "x"
    assert shell("cat /proc/1/attr/current", "c1") == "carob-default (enforce)"
    free = run(
        cluster, "free", confined("Unconfined"), {"securityContext": {"privileged": True}, "command": ["sleep", "600"]}
    )
    assert free("cat /proc/1/attr/current") == free("cat /proc/1/attr/current", "c1") == "unconfined"
    # the profile beyond the capability
    admin = {"securityContext": {"capabilities": {"add": ["SYS_ADMIN"]}}}
    bound = run(cluster, "bound", admin, {**admin, "command": ["sleep", "600"]}, shareProcessNamespace=True)
    assert bound("mkdir -p /tmp/a && mount -t tmpfs none /tmp/a 2>/dev/null || echo no") == "no"
    assert bound("kill -0 $(pidof sleep) && echo may") == "may"
    unknown = manifest("unknown", confined("Localhost", localhostProfile="carob-nobody-knows"))
    cluster.carob("apply", "-f", "-", stdin=unknown).check()
    cluster.wait_for(".status.containerStatuses[0].state.waiting.reason", "CreateContainerError", "pod/unknown")
    waiting = status_of(cluster, "unknown")["containerStatuses"][0]["state"]["waiting"]
    assert "apparmor profile not found carob-nobody-knows" in waiting["message"]


UNIT = """\
[Service]
Type=oneshot
RemainAfterExit=yes
TimeoutStartSec=infinity
TimeoutStopSec=infinity
Environment=KUBECONFIG={kubeconfig} HOME={home}
WorkingDirectory=/
ExecStart={carob} up {flags} --wait={wait}s
ExecStop={carob} down {flags}
"""


@pytest.mark.skipif(not SYSTEMD, reason="no systemd on this machine")
def test_a_service_of_systemd_brings_it_up_and_down(tmp_path: Path) -> None:
    """systemd looks at its groups anew meanwhile, and takes nothing away from what is not its own."""
    before = look()
    cluster = Cluster(f"unit-{os.getpid() % 10000}", tmp_path)
    name = f"carob-test-{os.getpid()}.service"
    unit = Path("/run/systemd/system", name)
    carob = f"{shutil.which('carob')}"
    flags = f"--name {cluster.name} --data-dir {cluster.data_dir}"
    unit.write_text(
        UNIT.format(carob=carob, flags=flags, kubeconfig=cluster.kubeconfig, home=tmp_path, wait=int(60 * PATIENCE))
    )

    def systemctl(*words: str) -> None:
        done = subprocess.run(["systemctl", *words], capture_output=True, text=True, check=False)
        assert done.returncode == 0, (
            done.stderr
            + subprocess.run(["journalctl", "-u", name, "-n", "50"], capture_output=True, text=True, check=False).stdout
        )

    try:
        systemctl("daemon-reload")
        systemctl("start", name)
        from clusters import WEB_IMAGE

        cluster.carob("image", "build", "--web", "-t", WEB_IMAGE).check()
        shell = run(cluster, "served", {"resources": {"limits": {"memory": "64Mi", "cpu": "500m"}}})
        systemctl("daemon-reexec")
        time.sleep(1)
        systemctl("daemon-reload")
        subprocess.run(["systemd-run", "--wait", "--collect", "-q", "-p", "MemoryMax=64M", "true"], check=True)
        assert own(shell, "memory.max", "cpu.max") == [str(64 << 20), "50000 100000"]
        assert values(group(cluster, "served"), "memory.max") == [str(64 << 20)]
        again = run(cluster, "later", {"resources": {"limits": {"memory": "32Mi"}}})
        assert own(again, "memory.max") == [str(32 << 20)]
        systemctl("stop", name)
    finally:
        subprocess.run(["systemctl", "stop", name], check=False)
        cluster.carob("down", timeout=120)
        unit.unlink()
        subprocess.run(["systemctl", "daemon-reload"], check=False)
    left = left_behind(before)
    assert not left, "the service left the machine changed:\n" + "\n".join(left)
