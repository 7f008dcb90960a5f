"""When the node is short of something: which conditions hold, who goes first, what is said, which images go."""

from __future__ import annotations

from typing import Any

import pytest

from carob.api.types import core_v1
from carob.kubelet.eviction import image_gc, ranking
from carob.kubelet.eviction.ranking import ContainerUse, PodUse
from carob.kubelet.eviction.thresholds import (
    DEFAULT_HARD,
    TRANSITION_SECONDS,
    Met,
    Observation,
    Pressures,
    Threshold,
    crossed,
    observations,
    thresholds,
)
from carob.kubelet.machine import Usage
from carob.runtime.types import FilesystemUsage, Image
from tests.unit.kubelet.pods import pod

MIB, GIB = 1 << 20, 1 << 30


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


@pytest.mark.parametrize(
    ("changes", "condition"),
    [
        ({}, set()),
        ({"memory_available_bytes": 99 * MIB}, {"MemoryPressure"}),
        ({"disk_available_bytes": 9 * GIB}, {"DiskPressure"}),
        ({"inodes_free": 49}, {"DiskPressure"}),
        ({"inodes_free": 0, "inodes": 0}, set()),
        ({"processes": 995}, {"PIDPressure"}),
    ],
)
def test_what_is_crossed(changes: dict[str, int], condition: set[str]) -> None:
    limits = thresholds({**DEFAULT_HARD, "pid.available": "10", "nodefs.unknown": "1", "imagefs.available": "0%"})
    assert len(limits) == 4
    found = crossed(limits, observations(8 * GIB, usage(**changes), None))
    assert {met.condition for met in found} == condition


def met(signal: str = "memory.available", value: str = "100Mi", available: int = 50 * MIB, grace: float = 0.0) -> Met:
    return Met(Threshold(signal, value, grace), Observation(available, 8 * GIB))


def test_a_condition_stays_for_a_while_and_a_soft_threshold_has_its_grace() -> None:
    pressures = Pressures()
    assert pressures.observe([met(grace=60)], 1000.0) == []
    assert pressures.holding(1000.0) == {"MemoryPressure"}
    assert len(pressures.observe([met(grace=60), met()], 1030.0)) == 1
    assert len(pressures.observe([met(grace=60)], 1060.0)) == 1
    assert pressures.observe([], 1061.0) == []
    assert pressures.observe([met(grace=60)], 1070.0) == [], "the grace begins anew"
    assert pressures.holding(1070.0 + TRANSITION_SECONDS - 1) == {"MemoryPressure"}
    assert pressures.holding(1070.0 + TRANSITION_SECONDS) == set()


def one(name: str, used: int, asked: str = "", priority: int = 0, **metadata: Any) -> PodUse:
    requests = {"memory": asked} if asked else {}
    made = pod(
        metadata={"name": name, "uid": name, **metadata},
        containers=[{"name": "c", "image": "i", "resources": {"requests": requests}}],
        priority=priority,
    )
    return PodUse(made, [ContainerUse("c", memory_bytes=used * MIB, disk_bytes=used * MIB, inodes=used)])


@pytest.mark.parametrize(
    ("pods", "order"),
    [
        ([one("within", 90, "100Mi"), one("beyond", 20, "10Mi")], ["beyond", "within"]),
        ([one("important", 90, "", 10), one("not", 20)], ["not", "important"]),
        ([one("little", 11, "10Mi"), one("much", 15, "10Mi"), one("most", 10)], ["most", "much", "little"]),
        ([one("critical", 90, "", 2_000_000_000), one("other", 1)], ["other"]),
        ([one("static", 90, annotations={"kubernetes.io/config.source": "file"}), one("other", 1)], ["other"]),
    ],
)
def test_who_goes_first(pods: list[PodUse], order: list[str]) -> None:
    assert [use.pod.metadata.name for use in ranking.ranked("memory", pods)] == order


def test_memory_comes_before_the_disk() -> None:
    disk = met("nodefs.available", "10%", 5)
    assert ranking.first([disk, met()]) == met()
    assert ranking.first([]) is None


def test_what_the_status_says() -> None:
    assert ranking.message(met(), one("p", 20, "10Mi")) == (
        "The node was low on resource: memory. Threshold quantity: 100Mi, available: 50Mi. "
        "Container c was using 20Mi, request is 10Mi, has larger consumption of memory. "
    )
    inodes = ranking.message(met("nodefs.inodesFree", "5", 3), one("p", 20))
    assert inodes == "The node was low on resource: inodes. Threshold quantity: 5, available: 3. "


def writer(layer: int, volume: int = 0, *, size_limit: str = "", limit: str = "") -> PodUse:
    limits = {"ephemeral-storage": limit} if limit else {}
    source = {"sizeLimit": size_limit} if size_limit else {}
    made = pod(
        containers=[{"name": "c", "image": "i", "resources": {"limits": limits}}],
        volumes=[{"name": "v", "emptyDir": source}],
    )
    return PodUse(made, [ContainerUse("c", disk_bytes=layer)], {"v": volume})


@pytest.mark.parametrize(
    ("use", "words"),
    [
        (writer(10, 10), ""),
        (writer(10, 2 * MIB, size_limit="1Mi"), 'Usage of EmptyDir volume "v" exceeds the limit "1Mi". '),
        (writer(10, MIB, size_limit="1Mi"), ""),
        (
            writer(MIB, MIB, limit="1Mi"),
            "Pod ephemeral local storage usage exceeds the total limit of containers 1Mi. ",
        ),
        (writer(MIB // 2, limit="1Mi"), ""),
    ],
)
def test_what_a_pod_may_write(use: PodUse, words: str) -> None:
    assert ranking.over_local_limits(use) == words


def test_a_container_among_unlimited_ones_has_its_own_limit() -> None:
    limited = {"name": "c", "image": "i", "resources": {"limits": {"ephemeral-storage": "1Mi"}}}
    made = pod(containers=[limited, {"name": "free", "image": "i"}])
    use = PodUse(made, [ContainerUse("c", disk_bytes=2 * MIB), ContainerUse("free", disk_bytes=9 * MIB)])
    assert ranking.over_local_limits(use) == 'Container c exceeded its local ephemeral storage limit "1Mi". '
    assert ranking.has_local_limits(made)
    assert not ranking.has_local_limits(pod())


@pytest.mark.parametrize(
    ("conditions", "best_effort", "spec", "words"),
    [
        (set(), True, {}, ""),
        ({"MemoryPressure"}, True, {}, "The node had condition: [MemoryPressure]. "),
        ({"MemoryPressure"}, False, {}, ""),
        ({"MemoryPressure"}, True, {"tolerations": [{"key": "node.kubernetes.io/memory-pressure"}]}, ""),
        ({"DiskPressure"}, False, {}, "The node had condition: [DiskPressure]. "),
        ({"DiskPressure"}, False, {"priority": 2_000_000_000}, ""),
    ],
)
def test_who_is_kept_out(conditions: set[str], best_effort: bool, spec: dict[str, Any], words: str) -> None:
    made: core_v1.Pod = pod(**spec)
    assert ranking.keeps_out(made, best_effort, conditions) == words


def image(name: str, size: int = 10, *, pulled: bool = True) -> Image:
    return Image(id=name, tags=[name], digests=[f"{name}@sha256:0"] if pulled else [], size_bytes=size)


@pytest.mark.parametrize(("available", "wanted"), [(50, 0), (16, 0), (15, 5), (0, 20)])
def test_how_much_must_go(available: int, wanted: int) -> None:
    disk = FilesystemUsage(mountpoint="/", used_bytes=0, capacity_bytes=100, available_bytes=available)
    assert image_gc.bytes_to_free(disk) == wanted


def test_which_images_go() -> None:
    ages = image_gc.Ages()
    everything = [image("a"), image("b"), image("used"), image("loaded", pulled=False)]
    ages.note(everything, {"used", "b"}, 0.0)
    ages.note([*everything, image("new")], {"used"}, 500.0)

    def gone(**age: float) -> list[str]:
        return [i.id for i in image_gc.unused([*everything, image("new")], {"used"}, ages, 510.0, **age)]

    assert gone() == ["a", "b"], "what has just come stays"
    assert gone(min_age_seconds=0.0) == ["a", "b", "new"]
