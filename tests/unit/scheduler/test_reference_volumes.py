"""The filters that look at volumes say what the plain reference says, of thousands of Pods and nodes by chance."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

from worlds import node_view, pod

from carob.api import codec
from carob.api.types import core_v1, storage_v1
from carob.scheduler import filter as filters
from carob.scheduler.pod_volumes import StorageView, look
from carob.scheduler.snapshot import Snapshot
from carob.scheduler.volume_limits import VolumeLimits
from tests.fakes.plain_volumes import MAKERS, PlainVolumes, Tree

WORLDS = 300
ZONE, OLD_ZONE = "topology.kubernetes.io/zone", "failure-domain.beta.kubernetes.io/zone"
HOST = "kubernetes.io/hostname"
FILTERS = ("VolumeRestrictions", "NodeVolumeLimits", "VolumeBinding", "VolumeZone")


class Chance:
    """Everything that is stored, by chance."""

    def __init__(self, seed: int) -> None:
        self.lots = random.Random(seed)
        self.plain = PlainVolumes()
        lots, plain = self.lots, self.plain
        for name, maker in (("later", "kubernetes.io/no-provisioner"), ("disks", MAKERS[0]), ("files", MAKERS[1])):
            plain.classes[name] = {
                "metadata": {"name": name},
                "provisioner": maker,
                "volumeBindingMode": "WaitForFirstConsumer",
            }
        for number in range(6):
            plain.volumes[f"v{number}"] = self.volume(f"v{number}")
        for number in range(8):
            plain.claims[f"c{number}"] = self.claim(f"c{number}")
        for number in range(4):
            plain.limits[f"n{number}"] = {maker: lots.randint(0, 3) for maker in MAKERS if lots.random() < 0.4}

    def volume(self, name: str) -> Tree:
        lots = self.lots
        spec: Tree = {
            "capacity": {"storage": f"{lots.randint(1, 3)}Gi"},
            "accessModes": lots.choice((["ReadWriteOnce"], ["ReadWriteOnce", "ReadWriteMany"])),
            "storageClassName": lots.choice(("later", "later", "disks")),
        }
        if lots.random() < 0.5:
            expression = {"key": HOST, "operator": "In", "values": lots.sample(["n0", "n1", "n2", "n3"], 2)}
            spec["nodeAffinity"] = {"required": {"nodeSelectorTerms": [{"matchExpressions": [expression]}]}}
        if lots.random() < 0.5:
            spec["csi"] = {"driver": lots.choice(MAKERS), "volumeHandle": name}
        labels = {lots.choice((ZONE, OLD_ZONE)): lots.choice(("a", "b", "a__b"))} if lots.random() < 0.4 else {}
        return {"metadata": {"name": name, "labels": labels}, "spec": spec, "status": {"phase": "Available"}}

    def claim(self, name: str) -> Tree:
        lots = self.lots
        spec: Tree = {
            "accessModes": [lots.choice(("ReadWriteOnce", "ReadWriteOnce", "ReadWriteMany", "ReadWriteOncePod"))],
            "resources": {"requests": {"storage": f"{lots.randint(1, 3)}Gi"}},
            "storageClassName": lots.choice(("later", "later", "disks", "files")),
        }
        metadata: Tree = {"name": name, "namespace": "default"}
        if lots.random() < 0.5:
            spec["volumeName"] = lots.choice([*self.plain.volumes, "gone"])
            metadata["annotations"] = {"pv.kubernetes.io/bind-completed": "yes"}
            if spec["volumeName"] in self.plain.volumes:
                self.plain.volumes[spec["volumeName"]]["status"]["phase"] = "Bound"
        return {"metadata": metadata, "spec": spec}

    def node(self, number: int) -> Tree:
        zone = {self.lots.choice((ZONE, OLD_ZONE)): self.lots.choice("ab")} if self.lots.random() < 0.7 else {}
        return {"metadata": {"name": f"n{number}", "labels": {HOST: f"n{number}"} | zone}}

    def some(self) -> list[str]:
        return self.lots.sample(sorted(self.plain.claims), self.lots.randint(1, 3))


def of(kind: type[Any], trees: dict[str, Tree], prefix: str = "") -> dict[str, Any]:
    return {prefix + name: codec.from_tree(kind, tree) for name, tree in trees.items()}


def csi_node(limits: dict[str, int]) -> storage_v1.CSINode:
    drivers = [{"name": name, "nodeID": "x", "allocatable": {"count": count}} for name, count in limits.items()]
    return codec.from_tree(storage_v1.CSINode, {"metadata": {"name": "x"}, "spec": {"drivers": drivers}})


def using(name: str, claims: list[str]) -> Any:
    return pod(name, volumes=[{"name": one, "persistentVolumeClaim": {"claimName": one}} for one in claims])


def compare(seed: int, seen: Counter[str]) -> None:
    chance = Chance(seed)
    plain, world = chance.plain, Snapshot()
    nodes = [chance.node(number) for number in range(4)]
    for node in nodes:
        world.set_node(node_view(node["metadata"]["name"], labels=node["metadata"]["labels"]))
    claims = of(core_v1.PersistentVolumeClaim, plain.claims, "default/")
    volumes, classes = of(core_v1.PersistentVolume, plain.volumes), of(storage_v1.StorageClass, plain.classes)
    csi_nodes = {name: csi_node(limits) for name, limits in plain.limits.items()}
    for number in range(4):
        wanted = chance.some()
        users = Counter(f"default/{name}" for _, names in plain.placed for name in names)
        limits = VolumeLimits(claims.get, volumes, classes, csi_nodes.get)
        one = using(f"p{number}", wanted)
        one.volumes = look(one, StorageView(claims, volumes, classes, limits=limits), users)
        assert not one.volumes.refusal
        checks = {name: check for name, check in filters.named(one, world) if name in FILTERS}
        for node, info in zip(nodes, world.nodes(), strict=True):
            found = {name: check(info) for name, check in checks.items() if check is not None}
            told = {name: ", ".join(rejection.reasons) for name, rejection in found.items() if rejection is not None}
            expected = plain.verdicts(wanted, node)
            assert told == expected, (seed, number, node["metadata"]["name"])
            seen.update(expected.values())
        where = chance.lots.choice(nodes)["metadata"]["name"]
        plain.placed.append((where, wanted))
        world.assume(one, where)


def test_verdicts_about_volumes_are_the_references() -> None:
    seen: Counter[str] = Counter()
    for seed in range(WORLDS):
        compare(seed, seen)
    # the comparison is worth something only if every filter had something to say
    reasons = {
        "node has pod using PersistentVolumeClaim with the same name and ReadWriteOncePod access mode",
        "node(s) exceed max volume count",
        "node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s)",
        "node(s) had volume node affinity conflict",
        "node(s) didn't find available persistent volumes to bind",
        "node(s) had no available volume zone",
    }
    assert {words for words in reasons if seen[words] < 50} == set()
