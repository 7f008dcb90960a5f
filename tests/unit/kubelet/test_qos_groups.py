"""How much processor time each quality of service gets, and what the reserves keep from all Pods."""

from __future__ import annotations

from msgspec.structs import replace

from carob.api.types import core_v1
from carob.kubelet.machine import read_machine
from carob.kubelet.options import KubeletOptions
from carob.kubelet.qos_groups import all_pods_size, group_sizes
from carob.kubelet.sandbox_config import sandbox_config
from carob.runtime.types import DnsConfig
from tests.unit.kubelet.pods import pod

GIB = 1 << 30


def asking(cpu: str = "", memory: str = "", *, limited: bool = False) -> core_v1.Pod:
    amounts = {name: amount for name, amount in (("cpu", cpu), ("memory", memory)) if amount}
    resources = {"requests": amounts, **({"limits": amounts} if limited else {})}
    return pod(containers=[{"name": "c", "image": "i", "resources": resources}])


def test_each_quality_gets_what_its_pods_asked_for() -> None:
    pods = [
        asking("500m", "1Gi", limited=True),
        asking("1500m", "1Gi", limited=True),
        asking("250m"),
        asking(memory="1Gi"),
        asking(),
    ]
    found = {name: size.cpu_shares for name, size in group_sizes(pods).items()}
    assert found == {"guaranteed": 2048, "burstable": 256, "besteffort": 2}
    assert {name: size.cpu_shares for name, size in group_sizes([]).items()} == dict.fromkeys(found, 2)


def test_reserves_are_kept_from_all_pods() -> None:
    machine = replace(read_machine(), cpus=4, memory_bytes=8 * GIB)
    options = KubeletOptions(node_name="n", root="/r", log_root="/l")
    free = all_pods_size(options, machine)
    assert (free.cpu_shares, free.memory_limit) == (4096, 0)
    reserved = replace(
        options,
        system_reserved_memory_bytes=GIB,
        kube_reserved_memory_bytes=GIB,
        kube_reserved_cpu_millicores=500,
        system_reserved_cpu_millicores=500,
    )
    kept = all_pods_size(reserved, machine)
    assert (kept.cpu_shares, kept.memory_limit) == (3072, 6 * GIB)
    assert (free.cpu_quota, kept.cpu_quota) == (0, 0)
    part = all_pods_size(replace(options, cpu_millicores=500, memory_bytes=GIB), machine)
    assert (part.cpu_shares, part.cpu_quota, part.memory_limit) == (512, 50_000, GIB)


def test_a_pod_may_have_so_many_processes() -> None:
    options = KubeletOptions(node_name="n", root="/r", log_root="/l", pod_pids_limit=100)
    config = sandbox_config(pod(), options, 0, DnsConfig(), "n", "")
    assert config.resources.pids_limit == 100
