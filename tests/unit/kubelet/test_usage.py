"""What the node and its containers use, in the forms that metrics servers and dashboards read."""

from __future__ import annotations

from msgspec.structs import replace

from carob.host.pressure import Pressure, Stall
from carob.kubelet import cadvisor_metrics, resource_metrics, statistics
from carob.kubelet.disk_use import DiskUse, Filesystem, VolumeUse
from carob.kubelet.exposition import Family, text
from carob.kubelet.machine import NodeUse, Usage, read_machine, read_use
from carob.kubelet.pod_record import PodRecord
from carob.kubelet.probes.counts import Counts
from carob.kubelet.probes.outcome import Outcome
from carob.kubelet.usage import ContainerUse, Look, Rates, SandboxUse
from carob.runtime.types import (
    ContainerStats,
    DeviceStats,
    FilesystemUsage,
    InterfaceStats,
    Resources,
    SandboxConfig,
    SandboxState,
    SandboxStats,
    SandboxStatus,
)
from tests.unit.kubelet.pods import pod, running

NODE = NodeUse(5_000_000_000, 8 << 30, 6 << 30, 1 << 30, 10, 1, 0, 0, 50.0)


def look() -> Look:
    record = PodRecord("u-1", pod(), start_time=90.0)
    status = running()
    record.containers[status.id] = status
    stats = ContainerStats(
        id=status.id, timestamp=200.5, cpu_usage_nanoseconds=1_500_000_000, memory_working_set_bytes=4096
    )
    return Look(200.5, NODE, None, [ContainerUse(record, status, stats, 20_000_000)])


def test_rates_need_two_points_or_a_beginning() -> None:
    rates = Rates()
    assert rates.take(1000.0, {"old": (100.0, 5 * 10**9), "young": (990.0, 10**9)}) == {"young": 100_000_000}
    assert rates.take(1010.0, {"old": (100.0, 6 * 10**9), "young": (990.0, 10**9)}) == {"old": 10**8, "young": 0}
    # too soon: the last rate holds, and the window goes on from the same point
    assert rates.take(1010.1, {"old": (100.0, 7 * 10**9)}) == {"old": 10**8}
    assert rates.take(1020.0, {"old": (100.0, 8 * 10**9)}) == {"old": 2 * 10**8}
    assert rates.take(1030.0, {"old": (1025.0, 10**9)}) == {}, "a counter that went back says nothing"


def test_the_summary() -> None:
    machine = replace(read_machine(), memory_bytes=16 << 30)
    full = Usage(0, 1000, 400, 50, 20, 7, 99)
    images = FilesystemUsage(mountpoint="/x", used_bytes=30, capacity_bytes=1000, available_bytes=400, inodes_used=3)
    memory = Filesystem(64, 60, 8, 6)
    volumes = [
        VolumeUse("scratch", DiskUse(5, 2), Filesystem(1000, 400, 50, 20), scratch=True),
        VolumeUse("data", DiskUse(9, 1), memory, claim="data-0"),
    ]
    disks = statistics.Disks(full, images, {"u-1": {"web": DiskUse(7, 1)}}, {"u-1": volumes})
    tree = statistics.summary(look(), machine, "node-0", disks)
    node, (mine,) = tree["node"], tree["pods"]
    assert node["memory"]["availableBytes"] == 10 << 30
    assert (node["fs"]["usedBytes"], node["fs"]["inodesUsed"]) == (600, 30)
    assert (node["runtime"]["imageFs"]["usedBytes"], node["rlimit"]["maxpid"]) == (30, 99)
    assert mine["podRef"] == {"name": "p", "namespace": "default", "uid": "u-1"}
    assert mine["cpu"]["usageNanoCores"] == 20_000_000
    assert mine["containers"][0]["memory"]["workingSetBytes"] == mine["memory"]["workingSetBytes"] == 4096
    shared = {
        "time": mine["volume"][0]["time"],
        "availableBytes": 400,
        "capacityBytes": 1000,
        "inodes": 50,
        "inodesFree": 20,
    }
    assert mine["volume"][0] == {**shared, "usedBytes": 5, "inodesUsed": 2, "name": "scratch"}
    assert mine["volume"][1]["pvcRef"] == {"name": "data-0", "namespace": "default"}
    assert (mine["volume"][1]["capacityBytes"], mine["volume"][1]["inodes"]) == (64, 8)
    container = mine["containers"][0]
    assert container["logs"] == container["rootfs"] | {"usedBytes": 7, "inodesUsed": 1}
    assert container["rootfs"] | shared == container["rootfs"] | {"time": shared["time"]}
    # a claim's volume is none of the Pod's own disk
    assert mine["ephemeral-storage"] == {**shared, "usedBytes": 12, "inodesUsed": 3}
    (pods,) = node["systemContainers"]
    assert (pods["name"], pods["memory"]["workingSetBytes"]) == ("pods", 4096)
    light = statistics.summary(look(), machine, "node-0", None)
    assert "fs" not in light["node"]
    assert "rootfs" not in light["pods"][0]["containers"][0]


def test_resource_metrics_have_upstreams_names() -> None:
    lines = resource_metrics.page(look()).splitlines()
    labels = 'container="web",namespace="default",pod="p"'
    assert f"container_cpu_usage_seconds_total{{{labels}}} 1.5 200500" in lines
    assert f"container_memory_working_set_bytes{{{labels}}} 4096 200500" in lines
    assert f"container_start_time_seconds{{{labels}}} 100" in lines
    assert "node_cpu_usage_seconds_total 5 200500" in lines
    assert 'pod_memory_working_set_bytes{namespace="default",pod="p"} 4096 200500' in lines
    assert lines[-1] == "resource_scrape_error 0"


def test_cadvisor_metrics_name_the_container() -> None:
    page = cadvisor_metrics.page(look(), read_machine())
    labels = 'container="web",id="/web-0",image="web:1",name="web-0",namespace="default",pod="p"'
    assert f'container_cpu_usage_seconds_total{{{labels},cpu="total"}} 1.5 200500' in page
    assert f"container_memory_working_set_bytes{{{labels}}} 4096 200500" in page
    assert "# TYPE container_oom_events_total counter" in page


def with_group() -> Look:
    """The same, with the counters of the Pod's own group and network, and of a disk."""
    plain = look()
    (use,) = plain.containers
    use.stats.devices = [DeviceStats(259, 99, 1, 2, 3, 4)]
    use.stats.pressure = {"io": Pressure(Stall(2_500_000, 1.5), Stall(500_000))}
    config = SandboxConfig(name="p", namespace="default", uid="u-1", cgroup_parent="/kubepods/podu-1")
    sandbox = SandboxStatus(id="s-1", config=config, state=SandboxState.READY, created_at=90.0)
    stats = SandboxStats(
        id="s-1",
        timestamp=200.5,
        cpu_usage_nanoseconds=2_000_000_000,
        memory_working_set_bytes=9000,
        process_count=3,
        interfaces=[InterfaceStats("eth0", 11, 12, 13, 14, 15, 16, 17, 18)],
    )
    return replace(plain, sandboxes={"u-1": SandboxUse(use.record, sandbox, stats, 30_000_000)})


def test_a_pods_own_counters_are_its_groups_and_its_networks() -> None:
    machine = read_machine()
    (mine,) = statistics.summary(with_group(), machine, "node-0", None)["pods"]
    assert (mine["cpu"]["usageNanoCores"], mine["memory"]["workingSetBytes"]) == (30_000_000, 9000)
    assert mine["process_stats"] == {"process_count": 3}
    eth0 = {"name": "eth0", "rxBytes": 11, "rxErrors": 13, "txBytes": 15, "txErrors": 17}
    assert mine["network"] == {"time": mine["network"]["time"], **eth0, "interfaces": [eth0]}
    assert 'pod_cpu_usage_seconds_total{namespace="default",pod="p"} 2 200500' in resource_metrics.page(with_group())


def test_the_nodes_network_and_what_memory_is_left() -> None:
    with_limit = with_group()
    (use,) = with_limit.containers
    use.status.resources = Resources(memory_limit=5000)
    links = [InterfaceStats("eth1", 1), InterfaceStats("eth0", 2)]
    tree = statistics.summary(replace(with_limit, node=replace(NODE, interfaces=links)), read_machine(), "node-0", None)
    network = tree["node"]["network"]
    assert (network["name"], network["rxBytes"]) == ("eth0", 2)
    assert [one["name"] for one in network["interfaces"]] == ["eth1", "eth0"]
    assert tree["pods"][0]["containers"][0]["memory"]["availableBytes"] == 904
    assert "availableBytes" not in tree["pods"][0]["memory"]


def test_cadvisor_metrics_of_networks_disks_and_pods() -> None:
    lines = cadvisor_metrics.page(with_group(), read_machine()).splitlines()
    group = 'container="",id="/kubepods/podu-1",image="",name="s-1",namespace="default",pod="p"'
    assert f'container_network_receive_packets_dropped_total{{{group},interface="eth0"}} 14 200500' in lines
    assert f'container_network_transmit_bytes_total{{{group},interface="eth0"}} 15 200500' in lines
    assert f"container_memory_working_set_bytes{{{group}}} 9000 200500" in lines
    one = 'container="web",id="/web-0",image="web:1",name="web-0",namespace="default",pod="p"'
    assert f'container_fs_writes_bytes_total{{{one},device="259:99"}} 2 200500' in lines
    assert f'container_fs_reads_total{{{one},device="259:99"}} 3 200500' in lines


def test_what_waited_for_processors_memory_and_disks_is_told() -> None:
    (mine,) = statistics.summary(with_group(), read_machine(), "node-0", None)["pods"]
    some = {"total": 2_500_000, "avg10": 1.5, "avg60": 0.0, "avg300": 0.0}
    assert mine["containers"][0]["io"]["psi"]["some"] == some
    lines = cadvisor_metrics.page(with_group(), read_machine()).splitlines()
    one = 'container="web",id="/web-0",image="web:1",name="web-0",namespace="default",pod="p"'
    assert f"container_pressure_io_waiting_seconds_total{{{one}}} 2.5 200500" in lines
    assert f"container_pressure_io_stalled_seconds_total{{{one}}} 0.5 200500" in lines


def test_probes_are_counted_and_forgotten_with_their_container() -> None:
    counts = Counts()
    for outcome in (Outcome.SUCCESS, Outcome.SUCCESS, Outcome.FAILURE):
        counts.add("id", pod(), "web", "Liveness", outcome)
    labels = 'container="web",namespace="default",pod="p",pod_uid="u-1",probe_type="Liveness"'
    assert f'prober_probe_total{{{labels},result="successful"}} 2' in counts.text()
    assert f'prober_probe_total{{{labels},result="failed"}} 1' in counts.text()
    counts.forget("id")
    assert counts.text() == ""


def test_labels_are_escaped_and_empty_families_left_out() -> None:
    family = Family("m", "gauge", "Words")
    assert text([family]) == ""
    family.add({"a": 'x"\\\n'}, 0.25)
    assert text([family]).splitlines()[-1] == r'm{a="x\"\\\n"} 0.25'


def test_this_machine_can_be_read() -> None:
    use = read_use()
    assert use.cpu_nanoseconds > 0
    assert 0 < use.memory_working_set_bytes <= use.memory_usage_bytes
    assert use.booted_at > 1e9
