"""What CSI drivers and labels of old say of nodes: how many volumes, in which zones, how much space."""

from __future__ import annotations

from typing import Any

import pytest

from carob.api import codec
from carob.api.types import core_v1, storage_v1
from carob.scheduler import filter as filters
from carob.scheduler.decision import Unschedulable, decide
from carob.scheduler.pod_volumes import StorageView, look
from carob.scheduler.pods import PodInfo
from carob.scheduler.snapshot import Snapshot
from carob.scheduler.volume_limits import VolumeLimits
from tests.unit.scheduler.worlds import node_view, pod, snapshot

DRIVER = "disks.example.com"


def claim(name: str, to: str = "", class_name: str = "", size: str = "1Gi") -> core_v1.PersistentVolumeClaim:
    tree = {
        "metadata": {
            "name": name,
            "namespace": "default",
            "uid": f"uid-{name}",
            "annotations": {"pv.kubernetes.io/bind-completed": "yes"} if to else {},
        },
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": size}},
            "volumeName": to,
            "storageClassName": class_name,
        },
        "status": {"phase": "Bound" if to else "Pending"},
    }
    return codec.from_tree(core_v1.PersistentVolumeClaim, tree)


def volume(name: str, driver: str = DRIVER, **labels: str) -> core_v1.PersistentVolume:
    spec: dict[str, Any] = {"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"]}
    spec |= {"csi": {"driver": driver, "volumeHandle": name}} if driver else {"hostPath": {"path": "/x"}}
    return codec.from_tree(core_v1.PersistentVolume, {"metadata": {"name": name, "labels": labels}, "spec": spec})


def class_(name: str, provisioner: str = DRIVER) -> storage_v1.StorageClass:
    tree = {"metadata": {"name": name}, "provisioner": provisioner, "volumeBindingMode": "WaitForFirstConsumer"}
    return codec.from_tree(storage_v1.StorageClass, tree)


def csi_node(**limits: int | None) -> storage_v1.CSINode:
    drivers = [
        {"name": name.replace("_", "."), "nodeID": "n", "topologyKeys": []}
        | ({"allocatable": {"count": limit}} if limit is not None else {})
        for name, limit in limits.items()
    ]
    return codec.from_tree(storage_v1.CSINode, {"metadata": {"name": "node-0"}, "spec": {"drivers": drivers}})


def user(name: str, *claims: str, node: str = "") -> PodInfo:
    volumes = [{"name": one, "persistentVolumeClaim": {"claimName": one}} for one in claims]
    return pod(name, volumes=volumes, nodeName=node)


class Stored:
    """Claims, volumes, classes; `see` gives a Pod its look."""

    def __init__(self, *objects: Any, csi: storage_v1.CSINode | None = None, attached: tuple[str, ...] = ()) -> None:
        def of(kind: type[Any], prefix: str = "") -> dict[str, Any]:
            return {prefix + one.metadata.name: one for one in objects if isinstance(one, kind)}

        self.claims = of(core_v1.PersistentVolumeClaim, "default/")
        self.volumes, self.classes = of(core_v1.PersistentVolume), of(storage_v1.StorageClass)
        self.drivers, self.capacities = of(storage_v1.CSIDriver), of(storage_v1.CSIStorageCapacity)
        self.csi, self.attached = csi, attached

    def see(self, who: PodInfo) -> PodInfo:
        limits = VolumeLimits(
            self.claims.get, self.volumes, self.classes, lambda name: self.csi, lambda name: self.attached
        )
        view = StorageView(
            claims=self.claims,
            volumes=self.volumes,
            classes=self.classes,
            limits=limits,
            drivers=self.drivers,
            capacities=self.capacities.values(),
        )
        who.volumes = look(who, view, {})
        return who


def full() -> Stored:
    """Two disks on the node, of three that it can have; one is used by both of its Pods."""
    return Stored(
        claim("a", "pv-a"),
        claim("b", "pv-b"),
        claim("c", "pv-c"),
        claim("d", "pv-d"),
        claim("later", class_name="fast"),
        claim("plain", "pv-plain"),
        claim("other", "pv-other"),
        *(volume(f"pv-{name}") for name in "abcd"),
        volume("pv-plain", ""),
        volume("pv-other", "files.example.com"),
        class_("fast"),
        csi=csi_node(disks_example_com=3, files_example_com=None),
    )


def with_pods(*placed: PodInfo) -> Snapshot:
    world = snapshot(node_view("node-0"))
    for one in placed:
        world.set_pod(one)
    return world


@pytest.mark.parametrize(
    ("claims", "attached", "fits"),
    [
        (["c"], (), True),
        (["c", "d"], (), False),
        (["a", "b", "c"], (), True),  # two of them are there already
        (["later"], (), True),
        (["c", "later"], (), False),  # it will be a volume of the same driver
        (["plain", "other", "c"], (), True),
        (["c"], ("pv-d",), False),  # attached still, though no Pod uses it any more
        (["c"], ("pv-a",), True),
        (["other"], ("pv-c", "pv-d"), True),
    ],
)
def test_how_many_volumes_a_node_can_have(claims: list[str], attached: tuple[str, ...], fits: bool) -> None:
    stored = full()
    stored.attached = attached
    world = with_pods(user("one", "a", "b", node="node-0"), user("two", "b", node="node-0"))
    found = decide(stored.see(user("new", *claims)), world)
    if fits:
        assert not isinstance(found, Unschedulable)
        return
    assert isinstance(found, Unschedulable)
    assert found.plugins == {"NodeVolumeLimits"}
    assert found.message.startswith("0/1 nodes are available: 1 node(s) exceed max volume count. ")


def test_a_node_without_limits_takes_all() -> None:
    stored = full()
    stored.csi = None
    found = decide(stored.see(user("new", "a", "b", "c", "d")), with_pods())
    assert not isinstance(found, Unschedulable)


def test_a_less_important_pod_can_make_room_for_a_volume() -> None:
    stored = full()
    stored.csi = csi_node(disks_example_com=1)
    world = with_pods(user("small", "a", node="node-0"))
    important = pod("big", priority=10, volumes=[{"name": "c", "persistentVolumeClaim": {"claimName": "c"}}])
    found = decide(stored.see(important), world)
    assert isinstance(found, Unschedulable)
    assert found.nomination is not None
    assert [victim.key for victim in found.nomination.victims] == ["default/small"]


ZONE, OLD_ZONE = "topology.kubernetes.io/zone", "failure-domain.beta.kubernetes.io/zone"


@pytest.mark.parametrize(
    ("labels", "node", "fits"),
    [
        ({ZONE: "a"}, {ZONE: "a"}, True),
        ({ZONE: "a"}, {ZONE: "b"}, False),
        ({ZONE: "a__b"}, {ZONE: "b"}, True),
        ({ZONE: "a"}, {}, True),  # a cluster of one zone
        ({ZONE: "a"}, {"topology.kubernetes.io/region": "r"}, False),
        ({OLD_ZONE: "a"}, {ZONE: "a"}, True),
        ({OLD_ZONE: "a"}, {OLD_ZONE: "b"}, False),
        ({"color": "red"}, {ZONE: "b"}, True),
    ],
)
def test_volumes_in_zones(labels: dict[str, str], node: dict[str, str], fits: bool) -> None:
    stored = Stored(claim("a", "pv-a"), volume("pv-a", **labels))
    world = snapshot(node_view("node-0", labels=node))
    who = stored.see(user("new", "a"))
    rejection = filters.prepare(who, world).rejection(world.nodes()[0])
    assert (rejection is None) is fits
    if rejection is not None:
        assert rejection.reasons == ("node(s) had no available volume zone",)


def capacity(size: str, most: str = "", **labels: str) -> storage_v1.CSIStorageCapacity:
    tree: dict[str, Any] = {
        "metadata": {"name": f"{size}-{most}"},
        "storageClassName": "fast",
        "nodeTopology": {"matchLabels": labels},
        "capacity": size,
    }
    if most:
        tree["maximumVolumeSize"] = most
    return codec.from_tree(storage_v1.CSIStorageCapacity, tree)


def driver(tells: bool) -> storage_v1.CSIDriver:
    return codec.from_tree(storage_v1.CSIDriver, {"metadata": {"name": DRIVER}, "spec": {"storageCapacity": tells}})


@pytest.mark.parametrize(
    ("told", "fits"),
    [
        ([], True),  # a driver that nobody described
        ([driver(False)], True),
        ([driver(True)], False),
        ([driver(True), capacity("20Gi", zone="a")], True),
        ([driver(True), capacity("5Gi", zone="a")], False),
        ([driver(True), capacity("20Gi", "5Gi", zone="a")], False),
        ([driver(True), capacity("20Gi", zone="b")], False),
    ],
)
def test_where_there_is_space_for_a_new_volume(told: list[Any], fits: bool) -> None:
    stored = Stored(claim("new", class_name="fast", size="10Gi"), class_("fast"), *told)
    found = decide(stored.see(user("who", "new")), snapshot(node_view("node-0", labels={"zone": "a"})))
    assert isinstance(found, Unschedulable) is not fits
    if isinstance(found, Unschedulable):
        assert found.message.startswith("0/1 nodes are available: 1 node(s) did not have enough free storage. ")
