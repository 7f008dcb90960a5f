"""Control groups over recorded machines: cgroup v1, v2 and hybrid."""

from __future__ import annotations

import errno
from collections.abc import Callable, Mapping

import pytest

from carob.host.cgroup import CgroupLimits, Cgroups, DeviceCounters, _mount_hierarchy, claim_hybrid, detect
from carob.host.cgroup_v2 import group_weight, weight
from carob.host.pressure import Pressure, Stall
from carob.host.recording import FakeHost, faulty

POD = "/carob-x/kubepods/burstable/pod1"
V1 = ("cpu,cpuacct", "cpuset", "memory", "pids", "hugetlb", "name=systemd")
LIMITS = CgroupLimits(
    cpu_shares=512, cpu_weight=59, cpu_quota=50_000, memory_limit=1 << 26, pids_limit=100, cpuset_cpus="0"
)


def mount_line(number: int, point: str, fstype: str, options: str) -> str:
    return f"{number} 1 0:{number} / {point} rw,relatime shared:{number} - {fstype} {fstype} rw,{options}"


def v1_files(path: str) -> Mapping[str, str]:
    """What the kernel puts into a new v1 group, by its hierarchy."""
    own = {
        "cpu,cpuacct": {"cpu.shares": "1024", "cpu.cfs_quota_us": "-1", "cpu.cfs_period_us": "100000"},
        "cpuset": {"cpuset.cpus": "", "cpuset.mems": ""},
        "memory": {
            "memory.limit_in_bytes": "9223372036854771712",
            "memory.oom_control": "oom_kill_disable 0\noom_kill 0",
        },
        "pids": {"pids.max": "max"},
    }
    files = {"cgroup.procs": ""}
    for name, more in own.items():
        if path.startswith(f"/sys/fs/cgroup/{name}/"):
            files.update(more)
    return files


V2_FILES = {
    "cgroup.procs": "",
    "cgroup.kill": "",
    "cgroup.controllers": "cpu memory pids cpuset",
    "cgroup.subtree_control": "",
    "cpu.weight": "100",
    "cpu.max": "max 100000",
    "memory.max": "max",
    "memory.swap.max": "max",
    "memory.oom.group": "0",
    "pids.max": "max",
    "cpuset.cpus": "",
    "memory.events": "low 0\nhigh 0\nmax 3\noom 1\noom_kill 1",
}


_UNIFIED = {"cgroup.procs": "1", "cgroup.controllers": "misc", "cgroup.subtree_control": ""}


def v1_host(unified: bool = False) -> FakeHost:
    lines = [mount_line(n, f"/sys/fs/cgroup/{c}", "cgroup", c) for n, c in enumerate(V1, 30)]
    files = {f"/sys/fs/cgroup/{c}/cgroup.procs": "1" for c in V1}
    files |= {"/sys/fs/cgroup/cpuset/cpuset.cpus": "0-3\n", "/sys/fs/cgroup/cpuset/cpuset.mems": "0\n"}
    if unified:
        lines.append(mount_line(50, "/sys/fs/cgroup/unified", "cgroup2", "nsdelegate"))
        files |= {f"/sys/fs/cgroup/unified/{n}": t for n, t in _UNIFIED.items()}
    files["/proc/thread-self/mountinfo"] = "\n".join(lines)
    files["/proc/self/cgroup"] = "1:cpu,cpuacct:/\n2:perf_event:/\n0::/\n"

    def born(path: str) -> Mapping[str, str]:
        if path.startswith("/sys/fs/cgroup/unified/"):
            return {"cgroup.procs": "", "cgroup.kill": ""}
        return v1_files(path)

    return FakeHost(files, born)


class V2Host(FakeHost):
    """Enables controllers as the kernel does."""

    def write(self, path: str, text: str) -> None:
        if path.endswith("/cgroup.subtree_control"):
            text = " ".join([*self.files[path].split(), *(word.removeprefix("+") for word in text.split())])
        super().write(path, text)


def v2_host() -> FakeHost:
    root = {"cgroup.procs": "1", "cgroup.controllers": "cpu memory pids cpuset", "cgroup.subtree_control": "cpu"}
    files = {f"/sys/fs/cgroup/{name}": text for name, text in root.items()}
    files["/proc/thread-self/mountinfo"] = mount_line(30, "/sys/fs/cgroup", "cgroup2", "nsdelegate")
    return V2Host(files, lambda _: V2_FILES)


class NestedHost(V2Host):
    """A container with a cgroup namespace: the root that it sees is a group like others, and its processes live there."""

    ROOT = "/sys/fs/cgroup"

    def __init__(self, unnamed: bool = False) -> None:
        plain = v2_host()
        root = {"cgroup.type": "domain", "cgroup.procs": "1\n7\n" + "0\n" * unnamed, "cgroup.subtree_control": ""}
        super().__init__({**plain.files, **{f"{self.ROOT}/{n}": t for n, t in root.items()}}, lambda _: V2_FILES)

    def write(self, path: str, text: str) -> None:
        folder, _, name = path.rpartition("/")
        if name == "cgroup.subtree_control":
            if text.startswith("+") and self.files[f"{folder}/cgroup.procs"]:
                if self.files[f"{folder}/cgroup.type"] != "domain":
                    raise OSError(errno.EOPNOTSUPP, "Operation not supported", path)
                if not {"+cpu", "+cpuset", "+pids"}.issuperset(text.split()):
                    raise OSError(errno.EBUSY, "Device or resource busy", path)
                # these the kernel hands on beside processes, and the group is another one from then on
                self.files[f"{folder}/cgroup.type"] = "domain threaded"
            if text.startswith("-"):
                self.files[path] = " ".join(n for n in self.files[path].split() if n != text[1:])
                return
        if name == "cgroup.procs":
            if text == "7":
                self.files[f"{self.ROOT}/cgroup.procs"] = self.files[f"{self.ROOT}/cgroup.procs"].replace("7\n", "")
                raise ProcessLookupError(errno.ESRCH, "No such process")
            if self.files[f"{folder}/cgroup.subtree_control"]:
                raise OSError(errno.EBUSY, "Device or resource busy", path)
            for file in [f for f in self.files if f.endswith("/cgroup.procs")]:
                self.files[file] = self.files[file].replace(f"{text}\n", "")
            self.files[path] += f"{text}\n"
            return
        super().write(path, text)


def test_a_containers_processes_make_room_for_groups_and_come_back() -> None:
    host = NestedHost()
    groups = Cgroups(host)
    groups.create(POD, LIMITS)
    assert host.files["/sys/fs/cgroup/cgroup.subtree_control"] == "cpu memory pids cpuset"
    assert host.files["/sys/fs/cgroup/cgroup.procs"] == ""
    assert host.files["/sys/fs/cgroup/carob.processes/cgroup.procs"] == "1\n"
    assert host.files[f"/sys/fs/cgroup{POD}/memory.max"] == str(1 << 26)
    groups.take_back()
    assert groups.exists("/carob.processes"), "others have groups there"
    groups.remove("/carob-x")
    groups.take_back()
    assert host.files["/sys/fs/cgroup/cgroup.procs"] == "1\n"
    assert host.files["/sys/fs/cgroup/cgroup.subtree_control"] == ""
    assert not groups.exists("/carob.processes")


def test_processes_that_a_container_cannot_name_are_told() -> None:
    host = NestedHost(unnamed=True)
    with pytest.raises(OSError, match="processes from outside of this container") as refused:
        Cgroups(host).create(POD)
    assert refused.value.errno == errno.EBUSY
    assert host.files["/sys/fs/cgroup/cgroup.subtree_control"] == ""
    assert host.files["/sys/fs/cgroup/cgroup.type"] == "domain"


@pytest.mark.parametrize("make", [v1_host, v2_host])
def test_processes_of_a_whole_machine_are_left_where_they_are(make: type) -> None:
    host: FakeHost = make()
    groups = Cgroups(host)
    groups.create(POD)
    groups.take_back()
    assert not groups.exists("/carob.processes")
    assert groups.exists(POD)


def test_the_layout_is_found() -> None:
    assert detect(v1_host()).mode == "v1"
    assert detect(v1_host(unified=True)).mode == "hybrid"
    assert detect(v2_host()).mode == "v2"
    layout = detect(v1_host(unified=True))
    assert layout.v1["cpuacct"] == "/sys/fs/cgroup/cpu,cpuacct"
    assert layout.v1["name=systemd"] == "/sys/fs/cgroup/name=systemd"
    assert len(layout.mounts()) == len(V1) + 1


def test_a_group_is_made_in_every_v1_hierarchy_with_limits() -> None:
    host = v1_host(unified=True)
    Cgroups(host).create(POD, LIMITS)
    for mount in detect(host).mounts():
        assert host.exists(f"{mount}{POD}/cgroup.procs")
    assert host.files[f"/sys/fs/cgroup/cpuset{POD}/cpuset.cpus"] == "0"
    assert host.files[f"/sys/fs/cgroup/cpuset{POD}/cpuset.mems"] == "0"
    assert host.files["/sys/fs/cgroup/cpuset/carob-x/cpuset.cpus"] == "0-3"
    assert host.files[f"/sys/fs/cgroup/memory{POD}/memory.limit_in_bytes"] == str(1 << 26)
    assert host.files[f"/sys/fs/cgroup/cpu,cpuacct{POD}/cpu.cfs_quota_us"] == "50000"
    assert host.files[f"/sys/fs/cgroup/cpu,cpuacct{POD}/cpu.shares"] == "512"
    assert host.files[f"/sys/fs/cgroup/pids{POD}/pids.max"] == "100"


def test_a_v2_group_gets_controllers_from_every_group_above() -> None:
    host = v2_host()
    Cgroups(host).create(POD, LIMITS)
    assert host.files["/sys/fs/cgroup/cgroup.subtree_control"] == "cpu memory pids cpuset"
    for above in ("/carob-x", "/carob-x/kubepods", "/carob-x/kubepods/burstable"):
        assert host.files[f"/sys/fs/cgroup{above}/cgroup.subtree_control"] == "cpu memory pids cpuset"
    folder = f"/sys/fs/cgroup{POD}"
    assert host.files[f"{folder}/cpu.weight"] == "59"
    assert host.files[f"{folder}/cpu.max"] == "50000 100000"
    assert host.files[f"{folder}/memory.max"] == str(1 << 26)
    assert host.files[f"{folder}/pids.max"] == "100"
    assert host.files[f"{folder}/cgroup.subtree_control"] == ""


@pytest.mark.parametrize(("shares", "expected"), [(0, 1), (2, 1), (1024, 100), (262_144, 10_000), (10**9, 10_000)])
def test_shares_become_weight(shares: int, expected: int) -> None:
    assert weight(shares) == expected


@pytest.mark.parametrize(
    ("shares", "expected"), [(0, 1), (2, 1), (102, 4), (1024, 39), (2048, 79), (262_144, 10_000), (10**9, 10_000)]
)
def test_shares_of_groups_become_weight_in_proportion(shares: int, expected: int) -> None:
    assert group_weight(shares) == expected


@pytest.mark.parametrize("of", [weight, group_weight])
def test_weight_grows_with_shares(of: Callable[[int], int]) -> None:
    weights = [of(shares) for shares in range(2, 262_145, 997)]
    assert weights == sorted(weights)


def test_files_of_v2_are_written_by_name() -> None:
    host = v2_host()
    groups = Cgroups(host)
    groups.create(POD, CgroupLimits(unified={"memory.swap.max": "0", "memory.oom.group": "1"}))
    folder = f"/sys/fs/cgroup{POD}"
    assert (host.files[f"{folder}/memory.swap.max"], host.files[f"{folder}/memory.oom.group"]) == ("0", "1")
    plain = v1_host()
    Cgroups(plain).create(POD, CgroupLimits(unified={"memory.oom.group": "1"}))


def test_huge_pages_are_limited_as_used_and_as_promised() -> None:
    for host, folder, end in (
        (v2_host(), "/sys/fs/cgroup", "max"),
        (v1_host(), "/sys/fs/cgroup/hugetlb", "limit_in_bytes"),
    ):
        groups = Cgroups(host)
        groups.create(POD)
        host.files |= {f"{folder}{POD}/hugetlb.2MB.{part}{end}": "-" for part in ("", "rsvd.")}
        # 1GB: a size of another kernel
        groups.update(POD, CgroupLimits(hugepage_limits={"2MB": 0, "1GB": 0}))
        assert [host.files[f"{folder}{POD}/hugetlb.2MB.{part}{end}"] for part in ("", "rsvd.")] == ["0", "0"]


def test_what_limits_groups_is_known() -> None:
    assert Cgroups(v1_host()).has("hugetlb")
    assert not Cgroups(v1_host()).has("rdma")
    assert Cgroups(v2_host()).has("memory")
    assert not Cgroups(v2_host()).has("hugetlb")


def test_making_a_group_again_only_sets_limits() -> None:
    host = v1_host()
    groups = Cgroups(host)
    groups.create(POD, LIMITS)
    before = set(host.folder_paths)
    groups.create(POD, CgroupLimits(pids_limit=-1))
    assert host.folder_paths == before
    assert host.files[f"/sys/fs/cgroup/pids{POD}/pids.max"] == "max"


@pytest.mark.parametrize("make", [v1_host, v2_host, lambda: v1_host(unified=True)])
def test_a_group_that_cannot_be_made_leaves_nothing(make: type) -> None:
    nth = 0
    while True:
        nth += 1
        machine: FakeHost = make()
        before = set(machine.folder_paths)
        host, plan = faulty(machine, nth)
        groups = Cgroups(host)
        try:
            groups.create(POD, LIMITS)
        except OSError:
            assert plan.failed
            # the call that fails may be the very one that takes back; all others must
            assert machine.folder_paths == before
            continue
        if not plan.failed:
            break
    assert nth > 10


def test_removing_goes_from_the_inside_out_and_again_succeeds() -> None:
    host = v1_host(unified=True)
    groups = Cgroups(host)
    groups.create(f"{POD}/c1", None)
    groups.create(f"{POD}/c2", None)
    groups.remove(POD)
    assert not groups.exists(POD)
    assert groups.exists("/carob-x/kubepods/burstable")
    groups.remove(POD)


def test_a_group_with_processes_is_busy() -> None:
    host = v1_host()
    groups = Cgroups(host)
    groups.create(POD)
    host.files[f"/sys/fs/cgroup/pids{POD}/cgroup.procs"] = "77\n"
    assert groups.pids(POD) == [77]
    with pytest.raises(OSError, match="busy") as failure:
        groups.remove(POD)
    assert failure.value.errno == errno.EBUSY
    assert not groups.remove_if_empty(POD)


def test_killing_is_one_write_where_the_kernel_can() -> None:
    host = v1_host(unified=True)
    groups = Cgroups(host)
    groups.create(POD)
    host.calls.clear()
    groups.kill(POD)
    assert host.calls == [("write", (f"/sys/fs/cgroup/unified{POD}/cgroup.kill", "1"))]


def test_killing_is_one_by_one_on_v1() -> None:
    host = v1_host()
    groups = Cgroups(host)
    groups.create(f"{POD}/c")
    pid = host.spawn(["sleep"], {})
    host.files[f"/sys/fs/cgroup/memory{POD}/c/cgroup.procs"] = f"{pid}\n"
    host.calls.clear()
    groups.kill(POD)
    assert host.calls == [("kill", (pid, 9))]


def test_memory_and_swap_are_raised_and_lowered_in_the_order_the_kernel_wants() -> None:
    def orders(present: int, limit: int) -> list[str]:
        host = v1_host()
        groups = Cgroups(host)
        groups.create(POD)
        host.files[f"/sys/fs/cgroup/memory{POD}/memory.memsw.limit_in_bytes"] = str(present)
        host.calls.clear()
        groups.update(POD, CgroupLimits(memory_limit=limit, memory_swap_limit=limit))
        return [str(arguments[0]).rsplit("/", 1)[1] for _, arguments in host.calls]

    plain, swap = "memory.limit_in_bytes", "memory.memsw.limit_in_bytes"
    assert orders(100, 200) == [swap, plain]
    assert orders(200, 100) == [plain, swap]


def test_swap_is_left_out_where_the_kernel_does_not_count_it() -> None:
    host = v1_host()
    groups = Cgroups(host)
    groups.create(POD, CgroupLimits(memory_limit=5, memory_swap_limit=5))
    assert host.files[f"/sys/fs/cgroup/memory{POD}/memory.limit_in_bytes"] == "5"


def test_v2_swap_is_counted_alone() -> None:
    host = v2_host()
    Cgroups(host).create(POD, CgroupLimits(memory_limit=100, memory_swap_limit=150))
    assert host.files[f"/sys/fs/cgroup{POD}/memory.swap.max"] == "50"


def test_counters_of_v1() -> None:
    host = v1_host()
    groups = Cgroups(host)
    groups.create(POD)
    host.files |= {
        f"/sys/fs/cgroup/memory{POD}/memory.usage_in_bytes": "5000\n",
        f"/sys/fs/cgroup/memory{POD}/memory.stat": "cache 9\ntotal_inactive_file 1000\ntotal_rss 700\ntotal_pgfault 3\n"
        "total_cache 8\ntotal_swap 7\n",
        f"/sys/fs/cgroup/cpu,cpuacct{POD}/cpu.stat": "nr_periods 6\nnr_throttled 5\nthrottled_time 4000\n",
        f"/sys/fs/cgroup/memory{POD}/memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n",
        f"/sys/fs/cgroup/cpu,cpuacct{POD}/cpuacct.usage": "123\n",
        f"/sys/fs/cgroup/pids{POD}/pids.current": "4\n",
    }
    stats = groups.stats(POD)
    assert stats is not None
    assert (stats.memory_usage_bytes, stats.memory_working_set_bytes, stats.memory_rss_bytes) == (5000, 4000, 700)
    assert (stats.cpu_usage_nanoseconds, stats.process_count, stats.oom_kills, stats.page_faults) == (123, 4, 2, 3)
    assert (stats.cpu_periods, stats.cpu_throttled_periods, stats.cpu_throttled_nanoseconds) == (6, 5, 4000)
    assert (stats.memory_cache_bytes, stats.swap_usage_bytes) == (8, 7)


def test_counters_of_v2() -> None:
    host = v2_host()
    groups = Cgroups(host)
    groups.create(POD)
    folder = f"/sys/fs/cgroup{POD}"
    host.files |= {
        f"{folder}/memory.current": "5000\n",
        f"{folder}/memory.stat": "anon 700\nfile 8\ninactive_file 6000\npgfault 3\npgmajfault 1\n",
        f"{folder}/memory.swap.current": "7\n",
        f"{folder}/cpu.stat": "usage_usec 123\nuser_usec 1\nnr_periods 6\nnr_throttled 5\nthrottled_usec 4\n",
        f"{folder}/pids.current": "4\n",
        f"{folder}/cpu.pressure": "some avg10=1.50 avg60=0.25 avg300=0.00 total=12345\n"
        "full avg10=0.00 avg60=0.00 avg300=0.00 total=6\n",
        f"{folder}/memory.pressure": "what is that\n",
    }
    stats = groups.stats(POD)
    assert stats is not None
    assert stats.pressure == {"cpu": Pressure(Stall(12345, 1.5, 0.25, 0.0), Stall(6))}
    assert (stats.memory_usage_bytes, stats.memory_working_set_bytes, stats.memory_rss_bytes) == (5000, 0, 700)
    assert (stats.cpu_usage_nanoseconds, stats.process_count, stats.major_page_faults) == (123_000, 4, 1)
    assert (stats.cpu_periods, stats.cpu_throttled_periods, stats.cpu_throttled_nanoseconds) == (6, 5, 4000)
    assert (stats.memory_cache_bytes, stats.swap_usage_bytes) == (8, 7)
    assert stats.cpu_user_nanoseconds == 1000
    assert groups.oom_kills(POD) == 1


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_what_a_group_has_read_and_written(version: str) -> None:
    if version == "v1":
        host = v1_host()
        host.files["/proc/thread-self/mountinfo"] += "\n" + mount_line(50, "/sys/fs/cgroup/blkio", "cgroup", "blkio")
        files = {
            f"/sys/fs/cgroup/blkio{POD}/blkio.throttle.io_service_bytes_recursive": (
                "8:0 Read 10\n8:0 Write 20\n8:0 Total 30\n8:16 Read 0\n8:16 Write 0\nTotal 30\n"
            ),
            f"/sys/fs/cgroup/blkio{POD}/blkio.throttle.io_serviced_recursive": "8:0 Read 1\n8:0 Write 2\n",
        }
    else:
        host = v2_host()
        files = {f"/sys/fs/cgroup{POD}/io.stat": "8:0 rbytes=10 wbytes=20 rios=1 wios=2 dbytes=0 dios=0\n"}
    groups = Cgroups(host)
    assert groups.devices(POD) == []
    host.files |= files
    assert groups.devices(POD) == [DeviceCounters(8, 0, 10, 20, 1, 2)]


def test_lines_of_devices_without_numbers_hide_no_others() -> None:
    host = v2_host()
    groups = Cgroups(host)
    groups.create(POD)
    lines = [
        "7:0 ",
        "7:1 7:2 8:0 rbytes=10 wbytes=20 rios=1 wios=2 dbytes=0 dios=0",
        "8:16 rbytes=x rios=1",
        "cost.usage=3",
    ]
    host.files[f"/sys/fs/cgroup{POD}/io.stat"] = "\n".join([*lines, "8:32 rbytes=1 rios=1 cost.vrate=1.5"])
    assert groups.devices(POD) == [DeviceCounters(8, 0, 10, 20, 1, 2), DeviceCounters(8, 32, 1, 0, 1, 0)]


def test_counters_of_a_group_that_is_gone() -> None:
    groups = Cgroups(v2_host())
    assert groups.stats("/none") is None
    assert groups.oom_kills("/none") is None
    assert groups.pids("/none") == []


def test_a_hybrid_machines_lonely_controllers_are_claimed() -> None:
    host = v1_host(unified=True)
    assert claim_hybrid(host) == ["perf_event", "misc"]
    assert ("mount", ("misc", "/sys/fs/cgroup/misc", "cgroup", 0, "misc")) in host.calls
    assert claim_hybrid(v1_host(unified=True), live=False) == ["perf_event"]


def test_what_another_programs_groups_have_is_left_to_them_and_hidden_from_crun() -> None:
    host = v1_host(unified=True)
    host.files["/sys/fs/cgroup/unified/cgroup.subtree_control"] = "misc\n"
    assert claim_hybrid(host) == ["perf_event"]
    mounts = [words for verb, words in host.calls if verb == "mount"]
    assert [words[1] for words in mounts] == ["/sys/fs/cgroup/perf_event", "/sys/fs/cgroup/unified/cgroup.controllers"]
    assert mounts[1][0] == "/dev/null"


class Moving(FakeHost):
    """Another agent claims `misc`, or gives it back, after so many looks."""

    UNIFIED = ("/sys/fs/cgroup/unified/cgroup.controllers", "misc", "")
    CLAIMED = ("/proc/self/cgroup", "2:perf_event:/\n", "2:perf_event:/\n3:misc:/\n")

    def __init__(self, looks: int, claims: bool) -> None:
        plain = v1_host(unified=True)
        super().__init__(plain.files, lambda _: {})
        self._looks, self._claims = looks, claims
        self._show(not claims)

    def _show(self, claimed: bool) -> None:
        for file, *texts in (self.UNIFIED, self.CLAIMED):
            self.files[file] = texts[claimed]

    def read(self, path: str) -> str:
        if path in (self.UNIFIED[0], self.CLAIMED[0]):
            if not self._looks:
                self._show(self._claims)
            self._looks -= 1
        return super().read(path)


@pytest.mark.parametrize("claims", [True, False])
@pytest.mark.parametrize("looks", range(4))
def test_what_another_agent_claims_or_gives_back_meanwhile_is_claimed_too(looks: int, claims: bool) -> None:
    assert sorted(claim_hybrid(Moving(looks, claims))) == ["misc", "perf_event"]


@pytest.mark.parametrize("make", [v1_host, v2_host])
def test_nothing_is_claimed_elsewhere(make: type) -> None:
    host: FakeHost = make()
    assert claim_hybrid(host) == []
    assert host.calls == []


def test_a_hierarchy_that_the_kernel_has_not_let_go_of_is_awaited() -> None:
    host, plan = faulty(v1_host(unified=True), 1, lambda verb, _: verb == "mount", errno.EBUSY)
    assert claim_hybrid(host) == ["perf_event", "misc"]
    assert plan.failed.startswith("mount('perf_event'")


def test_who_has_a_controller_for_good_is_told() -> None:
    class Busy(FakeHost):
        def mount(self, source: str, target: str, fstype: str = "none", flags: int = 0, data: str = "") -> None:
            raise OSError(errno.EBUSY, "Device or resource busy", target)

    with pytest.raises(OSError, match="the controller hugetlb cannot be had") as refused:
        _mount_hierarchy(Busy({}), "hugetlb", "/sys/fs/cgroup/hugetlb", tries=2)
    assert refused.value.errno == errno.EBUSY


def test_a_hierarchy_that_cannot_be_mounted_is_not_tried_again() -> None:
    host, _ = faulty(v1_host(unified=True), 1, lambda verb, _: verb == "mount", errno.EPERM)
    with pytest.raises(PermissionError):
        claim_hybrid(host)
