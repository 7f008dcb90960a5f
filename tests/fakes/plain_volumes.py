"""The filters that look at a Pod's volumes once more, plainly, on the trees that the API shows.

As `plain_scheduler`, and for the same reason: no line is shared with the product. Sizes are whole Gi.
Source: kube-scheduler `volumerestrictions`, `nodevolumelimits`, `volumebinding`, `volumezone`.
"""

from __future__ import annotations

from typing import Any

Tree = dict[str, Any]

MAKERS = ("disks.example.com", "files.example.com")
ZONES = {"failure-domain.beta.kubernetes.io/zone": "topology.kubernetes.io/zone"}


class PlainVolumes:
    """`claims`, `volumes` and `classes` by name; `limits`: by node and driver; `placed`: the claims of Pods by node."""

    def __init__(self) -> None:
        self.claims: dict[str, Tree] = {}
        self.volumes: dict[str, Tree] = {}
        self.classes: dict[str, Tree] = {}
        self.limits: dict[str, dict[str, int]] = {}
        self.placed: list[tuple[str, list[str]]] = []

    def verdicts(self, wanted: list[str], node: Tree) -> dict[str, str]:
        """What each filter says of a node, if it says no."""
        said = {
            "VolumeRestrictions": self.restrictions(wanted),
            "NodeVolumeLimits": self.too_many(wanted, node),
            "VolumeBinding": self.binding(wanted, node),
            "VolumeZone": self.zone(wanted, node),
        }
        return {name: words for name, words in said.items() if words}

    def bound(self, name: str) -> str:
        return str(self.claims[name]["spec"].get("volumeName", ""))

    def restrictions(self, wanted: list[str]) -> str:
        for name in wanted:
            alone = "ReadWriteOncePod" in self.claims[name]["spec"]["accessModes"]
            if alone and any(name in claims for _, claims in self.placed):
                return "node has pod using PersistentVolumeClaim with the same name and ReadWriteOncePod access mode"
        return ""

    def disk(self, name: str) -> tuple[str, str] | None:
        """Driver and handle of the disk that a claim is, or will be."""
        volume = self.volumes.get(self.bound(name))
        if volume is not None:
            source = volume["spec"].get("csi")
            return (source["driver"], source["volumeHandle"]) if source else None
        maker = self.classes[self.claims[name]["spec"]["storageClassName"]]["provisioner"]
        return None if maker.startswith("kubernetes.io/") else (maker, f"default/{name}")

    def too_many(self, wanted: list[str], node: Tree) -> str:
        host = node["metadata"]["name"]
        there = {self.disk(name) for where, claims in self.placed if where == host for name in claims}
        new = {self.disk(name) for name in wanted} - there
        for driver, limit in self.limits.get(host, {}).items():
            more = sum(1 for disk in new if disk is not None and disk[0] == driver)
            have = sum(1 for disk in there if disk is not None and disk[0] == driver)
            if more and more + have > limit:
                return "node(s) exceed max volume count"
        return ""

    def binding(self, wanted: list[str], node: Tree) -> str:
        for name in wanted:
            if self.bound(name):
                volume = self.volumes.get(self.bound(name))
                if volume is None:
                    return "node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s)"
                if not reaches(volume, node):
                    return "node(s) had volume node affinity conflict"
        taken: set[str] = set()
        for name in sorted((one for one in wanted if not self.bound(one)), key=lambda one: size(self.claims[one])):
            fitting = [one for one in self.volumes.values() if one["metadata"]["name"] not in taken]
            fitting = [one for one in fitting if serves(one, self.claims[name]) and reaches(one, node)]
            fitting.sort(key=lambda one: (len(one["spec"]["accessModes"]), capacity(one), one["metadata"]["name"]))
            if fitting:
                taken.add(fitting[0]["metadata"]["name"])
            elif self.classes[self.claims[name]["spec"]["storageClassName"]]["provisioner"] not in MAKERS:
                return "node(s) didn't find available persistent volumes to bind"
        return ""

    def zone(self, wanted: list[str], node: Tree) -> str:
        labels = node["metadata"]["labels"]
        if not any(old in labels or new in labels for old, new in ZONES.items()):
            return ""
        for name in wanted:
            volume = self.volumes.get(self.bound(name))
            for label, value in (volume["metadata"].get("labels", {}) if volume is not None else {}).items():
                today = ZONES.get(label, label)
                if today in ZONES.values() and labels.get(label, labels.get(today)) not in value.split("__"):
                    return "node(s) had no available volume zone"
        return ""


def size(claim: Tree) -> int:
    return int(claim["spec"]["resources"]["requests"]["storage"].removesuffix("Gi"))


def capacity(volume: Tree) -> int:
    return int(volume["spec"]["capacity"]["storage"].removesuffix("Gi"))


def reaches(volume: Tree, node: Tree) -> bool:
    if "nodeAffinity" not in volume["spec"]:
        return True
    (term,) = volume["spec"]["nodeAffinity"]["required"]["nodeSelectorTerms"]
    (asked,) = term["matchExpressions"]
    return node["metadata"]["labels"].get(asked["key"]) in asked["values"]


def serves(volume: Tree, claim: Tree) -> bool:
    """Whether the volume is free, and is what the claim asks for."""
    return (
        volume["status"]["phase"] == "Available"
        and volume["spec"]["storageClassName"] == claim["spec"]["storageClassName"]
        and set(claim["spec"]["accessModes"]) <= set(volume["spec"]["accessModes"])
        and capacity(volume) >= size(claim)
    )
