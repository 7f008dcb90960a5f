"""The Node object as a function of the machine."""

from __future__ import annotations

from msgspec.structs import replace

from carob.api.types import core_v1
from carob.kubelet import node_status
from carob.kubelet.machine import Machine, Usage, read_machine, read_usage
from carob.kubelet.options import KubeletOptions
from carob.runtime.types import Image

GIB = 1 << 30
OPTIONS = KubeletOptions(
    node_name="n1",
    root="/r",
    log_root="/l",
    labels={"zone": "a"},
    taints=("dedicated=db:NoSchedule",),
    pod_cidr="10.42.1.0/24",
    system_reserved_cpu_millicores=100,
    system_reserved_memory_bytes=GIB,
)
MACHINE = Machine("host", 4, 8 * GIB, 0, "amd64", "6.1", "Debian", "m", "s", "b", {"hugepages-2Mi": GIB})


def usage(**changes: int) -> Usage:
    full = {
        "memory_available_bytes": 4 * GIB,
        "disk_capacity_bytes": 100 * GIB,
        "disk_available_bytes": 50 * GIB,
        "inodes": 1000,
        "inodes_free": 500,
        "processes": 100,
        "max_processes": 1000,
    }
    return Usage(**{**full, **changes})


def test_the_node_as_it_is_registered() -> None:
    node = node_status.node_object(OPTIONS, MACHINE)
    assert node.metadata.labels == {
        "beta.kubernetes.io/arch": "amd64",
        "beta.kubernetes.io/os": "linux",
        "kubernetes.io/arch": "amd64",
        "kubernetes.io/hostname": "n1",
        "kubernetes.io/os": "linux",
        "zone": "a",
    }
    assert node.spec.taints == [core_v1.Taint(key="dedicated", value="db", effect="NoSchedule")]
    assert node.spec.pod_cidrs == ["10.42.1.0/24"]


def test_a_node_with_two_families_replaces_its_addresses() -> None:
    dual = replace(OPTIONS, node_ip="10.42.0.1", node_ip6="fd00:42::1", pod_cidr6="fd00:42::/64")
    assert node_status.node_object(dual, MACHINE).spec.pod_cidrs == ["10.42.1.0/24", "fd00:42::/64"]
    found = [(one.type, one.address) for one in node_status.addresses(dual)]
    assert found == [("InternalIP", "10.42.0.1"), ("InternalIP", "fd00:42::1"), ("Hostname", "n1")]
    tree = {"addresses": [{"type": kind, "address": address} for kind, address in found]}
    assert node_status.replacing_addresses(tree)["addresses"] == [*tree["addresses"], {"$patch": "replace"}]
    one = {"addresses": tree["addresses"][1:]}
    assert node_status.replacing_addresses(one) == one


def test_what_pods_may_ask_for() -> None:
    assert node_status.capacity(OPTIONS, MACHINE, usage()) == {
        "cpu": "4",
        "ephemeral-storage": f"{100 * (1 << 20)}Ki",
        "hugepages-2Mi": "1Gi",
        "memory": f"{8 * (1 << 20)}Ki",
        "pods": "110",
    }
    allocatable = node_status.allocatable(OPTIONS, MACHINE, usage())
    # without the reserve, the huge pages and what eviction keeps free
    assert allocatable["memory"] == f"{6 * (1 << 20) - 100 * 1024}Ki"
    assert allocatable["cpu"] == "3900m"
    assert allocatable["ephemeral-storage"] == str(90 * GIB)


def test_conditions_tell_of_pressure() -> None:
    found = {kind: (holds, reason) for kind, holds, reason, _ in node_status.conditions({"DiskPressure"}, "no network")}
    assert found == {
        "MemoryPressure": (False, "KubeletHasSufficientMemory"),
        "DiskPressure": (True, "KubeletHasDiskPressure"),
        "PIDPressure": (False, "KubeletHasSufficientPID"),
        "Ready": (False, "KubeletNotReady"),
    }


def test_times_of_conditions() -> None:
    first = node_status.merged_conditions([], node_status.conditions((), ""), "t1")
    assert {c.last_transition_time for c in first} == {"t1"}
    pressed = node_status.conditions({"DiskPressure"}, "")
    others = [*first, core_v1.NodeCondition(type="NetworkUnavailable", status="False")]
    second = {c.type: c for c in node_status.merged_conditions(others, pressed, "t2")}
    assert second["DiskPressure"].last_transition_time == "t2"
    assert second["Ready"].last_transition_time == "t1"
    assert second["Ready"].last_heartbeat_time == "t2"
    assert "NetworkUnavailable" in second


def test_the_largest_images_are_listed() -> None:
    images = [Image(id=str(n), tags=[f"i:{n}"], digests=[f"i@{n}"], size_bytes=n) for n in range(60)]
    listed = node_status.image_list(images)
    assert len(listed) == 50
    assert (listed[0].names, listed[0].size_bytes) == (["i@59", "i:59"], 59)


def test_this_machine_can_be_read() -> None:
    machine = read_machine()
    assert machine.cpus > 0
    assert machine.memory_bytes > 1 << 20
    assert machine.os_image
    assert read_usage("/").disk_capacity_bytes > 0


def test_a_node_with_a_part_of_the_machine_promises_no_more() -> None:
    options = replace(OPTIONS, cpu_millicores=1500, memory_bytes=4 * GIB, pods_per_core=10)
    whole = node_status.capacity(options, MACHINE, usage())
    assert (whole["cpu"], whole["memory"], whole["pods"]) == ("1500m", f"{4 * (1 << 20)}Ki", "20")
    left = node_status.allocatable(options, MACHINE, usage())
    # without a gibibyte for the system, the huge pages, and what eviction keeps free
    assert (left["cpu"], left["memory"]) == ("1400m", f"{2 * (1 << 20) - 100 * 1024}Ki")
    more = replace(OPTIONS, cpu_millicores=64_000, memory_bytes=64 * GIB)
    assert node_status.capacity(more, MACHINE, usage())["cpu"] == "4"
    assert node_status.capacity(more, MACHINE, usage())["memory"] == f"{8 * (1 << 20)}Ki"
