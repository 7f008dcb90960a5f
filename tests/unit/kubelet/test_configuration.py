"""What users set of a kubelet: flags and a KubeletConfiguration say the same, and mistakes are named."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from carob.cli import node_config
from carob.cli.errors import CommandError
from carob.cli.flags import Flags
from carob.kubelet import configuration, node_status
from carob.kubelet.configuration import ConfigurationError, changes, of_file
from carob.kubelet.eviction.thresholds import DEFAULT_HARD, Observation, Pressures, crossed, thresholds
from carob.kubelet.failures import Rejected
from carob.kubelet.machine import Machine, Usage
from carob.kubelet.options import KubeletOptions
from carob.kubelet.qos_groups import all_pods_size
from carob.kubelet.steps import node_features
from tests.unit.kubelet.pods import pod

GIB = 1 << 30
HEAD = "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\n"
MACHINE = Machine("m", 4, 8 * GIB, 0, "amd64", "6.1", "Linux", "", "", "", {}, max_processes=4000)


def flags(*given: str) -> dict[str, Any]:
    known = Flags("carob up")
    node_config.add_flags(known)
    return node_config.read(known.parse(given))


def options(tree: dict[str, Any]) -> KubeletOptions:
    return replace(KubeletOptions("n", "/r", "/l"), **changes(tree))


def test_nothing_said_changes_nothing() -> None:
    assert flags() == {}
    assert options({}) == KubeletOptions("n", "/r", "/l")


def test_flags_say_what_a_file_says() -> None:
    text = HEAD + (
        "kubeReserved: {cpu: 200m, memory: 1Gi}\nsystemReserved: {ephemeral-storage: 1Gi, pid: 1000}\n"
        "evictionHard: {memory.available: 500Mi, nodefs.available: 5%}\nevictionSoft: {memory.available: 1Gi}\n"
        "evictionSoftGracePeriod: {memory.available: 1m30s}\nevictionMaxPodGracePeriod: 20\nmaxPods: 30\n"
        "podPidsLimit: 100\nallowedUnsafeSysctls: ['net.core.somaxconn', 'kernel.msg*']\ncontainerLogMaxSize: 1Mi\n"
        "seccompDefault: false\n"
    )
    same = flags(
        "--kube-reserved=cpu=200m,memory=1Gi",
        "--system-reserved=ephemeral-storage=1Gi,pid=1000",
        "--eviction-hard=memory.available<500Mi,nodefs.available<5%",
        "--eviction-soft=memory.available<1Gi",
        "--eviction-soft-grace-period=memory.available=1m30s",
        "--eviction-max-pod-grace-period=20",
        "--max-pods=30",
        "--pod-max-pids=100",
        "--allowed-unsafe-sysctls=net.core.somaxconn,kernel.msg*",
        "--container-log-max-size=1Mi",
        "--seccomp-default=false",
    )
    found = options(of_file(text))
    # YAML reads 1000 as a number, a flag as a text
    assert found == options(same)
    assert found.eviction_hard == {"memory.available": "500Mi", "nodefs.available": "5%"}
    assert found.eviction_soft_grace_seconds == {"memory.available": 90.0}
    assert (found.pod_pids_limit, found.log_max_bytes, found.seccomp_default) == (100, 1 << 20, "Unconfined")


def test_what_the_reserves_leave() -> None:
    found = options(
        {"kubeReserved": {"cpu": "500m", "memory": "1Gi"}, "systemReserved": {"pid": "1000"}, "podsPerCore": 10}
    )
    usage = Usage(GIB, 100 * GIB, 50 * GIB, 0, 0, 0, 0)
    left = node_status.allocatable(found, MACHINE, usage)
    assert (left["cpu"], left["pods"]) == ("3500m", "40")
    assert left["memory"] == f"{((7 << 30) - (100 << 20)) >> 10}Ki"
    size = all_pods_size(found, MACHINE)
    assert (size.memory_limit, size.pids_limit) == (7 * GIB, 3000)


def test_defaults_of_eviction_are_kept_only_when_asked_for() -> None:
    assert options({"evictionHard": {"memory.available": "1Gi"}}).eviction_hard == {"memory.available": "1Gi"}
    merged = options({"evictionHard": {"memory.available": "1Gi"}, "mergeDefaultEvictionSettings": True})
    assert merged.eviction_hard == {**DEFAULT_HARD, "memory.available": "1Gi"}


def test_a_crossed_threshold_holds_until_the_reclaim_is_there_too() -> None:
    limits = thresholds({"memory.available": "100Mi"}, reclaim={"memory.available": "50Mi"})

    def seen(mebibytes: int) -> dict[str, Observation]:
        return {"memory.available": Observation(mebibytes << 20, 8 * GIB)}

    assert crossed(limits, seen(120)) == []
    met = crossed(limits, seen(90))
    assert crossed(limits, seen(120), met)
    assert crossed(limits, seen(160), met) == []
    pressures = Pressures(10.0)
    pressures.observe(met, 0.0)
    assert (pressures.holding(9.0), pressures.holding(11.0)) == ({"MemoryPressure"}, set())


def test_sysctls_that_the_node_allows() -> None:
    wanted = pod(securityContext={"sysctls": [{"name": "kernel.msgmax", "value": "1"}]})
    with pytest.raises(Rejected):
        node_features.check(wanted, apparmor=False)
    node_features.check(wanted, apparmor=False, unsafe_sysctls=("kernel.msg*",))
    hosts = pod(hostIPC=True, securityContext={"sysctls": [{"name": "kernel.msgmax", "value": "1"}]})
    with pytest.raises(Rejected, match="host ipc"):
        node_features.check(hosts, apparmor=False, unsafe_sysctls=("kernel.msg*",))


@pytest.mark.parametrize(
    ("tree", "words"),
    [
        ({"kubeReserved": {"gpu": "1"}}, 'kubeReserved: cannot reserve "gpu" resource'),
        ({"kubeReserved": {"cpu": "-1"}}, "cannot be negative"),
        ({"kubeReserved": {"cpu": "much"}}, r"kubeReserved\[cpu\]"),
        ({"kubeReserved": "cpu"}, "an object"),
        ({"evictionHard": {"memory": "1"}}, "unsupported eviction signal memory"),
        ({"evictionHard": {"memory.available": "101%"}}, "<= 100%"),
        ({"evictionHard": {"memory.available": "x%"}}, "no percentage"),
        ({"evictionSoft": {"memory.available": "1Gi"}}, "grace period must be specified"),
        ({"evictionSoftGracePeriod": {"memory.available": "5"}}, "invalid duration"),
        ({"maxPods": -1}, "maxPods: invalid value -1"),
        ({"maxPods": "many"}, "no whole number"),
        ({"imageGCLowThresholdPercent": 90}, "must be less than"),
        ({"allowedUnsafeSysctls": ["vm.swappiness"]}, "not known to be namespaced"),
        ({"allowedUnsafeSysctls": "x"}, "a list"),
        ({"containerLogMaxSize": "0"}, "greater than 0"),
        ({"serializeImagePulls": True, "maxParallelImagePulls": 2}, "cannot be larger than 1"),
    ],
)
def test_mistakes_are_named(tree: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        changes(tree)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[", "no YAML"),
        ("1", "no object"),
        ("kind: Pod", "is not kubelet.config.k8s.io/v1beta1"),
        (HEAD + "maxPodz: 1", 'unknown field "maxPodz"'),
    ],
)
def test_files_that_are_none(text: str, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        of_file(text)


def test_what_has_no_effect_is_told() -> None:
    tree = of_file(HEAD + "cgroupDriver: systemd\nmaxPods: 3\n")
    assert configuration.without_effect(tree) == ["cgroupDriver"]
    assert "cgroupDriver" in node_config.ignored(tree)
    assert node_config.ignored({"maxPods": 3}) == ""


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (["--kube-reserved=cpu"], '--kube-reserved: "cpu" is not NAME=VALUE'),
        (["--kube-reserved=gpu=1"], "--kube-reserved: cannot reserve"),
        (["--eviction-hard=memory.available=1"], "is not NAME<VALUE"),
        (["--eviction-hard=memory.available<1,memory.available<2"], "given twice"),
        (["--eviction-soft=memory.available<1"], "--eviction-soft: grace period must be specified"),
        (["--kubelet-config=/nowhere"], "cannot read /nowhere"),
    ],
)
def test_mistakes_of_flags(given: list[str], words: str) -> None:
    with pytest.raises(CommandError, match=words):
        flags(*given)
