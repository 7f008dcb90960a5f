"""How many volumes of each CSI driver a node can have, and how many it has.

Pure, over one look. Source: scheduler plugin NodeVolumeLimits (`nodevolumelimits/csi.go`).
Differs: volumes of the sources of old that upstream translates to CSI are not counted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct, field

from carob.api import claims
from carob.scheduler.verdict import Rejection

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from carob.api.types import core_v1, storage_v1
    from carob.scheduler.nodes import NodeInfo

NAME = "NodeVolumeLimits"
_TOO_MANY = Rejection(NAME, ("node(s) exceed max volume count",), resolvable=True)


def limits_of(node: storage_v1.CSINode | None) -> dict[str, int]:
    """The most volumes of each driver; a driver that says nothing has no limit."""
    drivers = node.spec.drivers if node is not None else None
    return {
        one.name: one.allocatable.count
        for one in drivers or ()
        if one.allocatable is not None and one.allocatable.count is not None
    }


def volume_of(volume: core_v1.PersistentVolume | None) -> tuple[str, str] | None:
    """A volume's name among all, and its driver; None for what no CSI driver brings."""
    source = volume.spec.csi if volume is not None else None
    return (f"{source.driver}/{source.volume_handle}", source.driver) if source is not None else None


class VolumeLimits(Struct):
    """One look. `attached` gives the PersistentVolumes that are attached to a node, by name."""

    claim_of: Callable[[str], core_v1.PersistentVolumeClaim | None]
    volumes: Mapping[str, core_v1.PersistentVolume]
    classes: Mapping[str, storage_v1.StorageClass]
    node_of: Callable[[str], storage_v1.CSINode | None]
    attached: Callable[[str], Iterable[str]] = lambda node: ()
    new: dict[str, str] = field(default_factory=dict)
    """What the Pod brings: drivers by volumes."""
    _known: dict[str, tuple[str, str] | None] = field(default_factory=dict)

    def bring(self, keys: Iterable[str]) -> None:
        """The claims of the Pod that is looked at."""
        for key in keys:
            found = self._of_claim(key)
            if found is not None:
                self.new[found[0]] = found[1]

    def _of_claim(self, key: str) -> tuple[str, str] | None:
        if key not in self._known:
            self._known[key] = self._find(key)
        return self._known[key]

    def _find(self, key: str) -> tuple[str, str] | None:
        claim = self.claim_of(key)
        if claim is None:
            return None
        volume = self.volumes.get(claim.spec.volume_name) if claim.spec.volume_name else None
        if volume is not None:
            return volume_of(volume)
        # it will be a volume of the driver that makes it
        class_ = self.classes.get(claims.class_of(claim))
        if class_ is None or class_.provisioner.startswith("kubernetes.io/"):
            return None
        return f"{class_.provisioner}/{key}", class_.provisioner

    def rejection(self, node: NodeInfo) -> Rejection | None:
        """Why the node cannot have the Pod's volumes too; None if it can."""
        if not self.new:
            return None
        limits = limits_of(self.node_of(node.name))
        if limits.keys().isdisjoint(self.new.values()):
            return None
        there: dict[str, str] = {}
        for pod in node.pods.values():
            for key, _ in pod.claims:
                found = self._of_claim(key)
                if found is not None:
                    there[found[0]] = found[1]
        for name in self.attached(node.name):
            found = volume_of(self.volumes.get(name))
            if found is not None:
                there[found[0]] = found[1]
        for driver, limit in limits.items():
            wanted = sum(1 for name, one in self.new.items() if one == driver and name not in there)
            if wanted and wanted + sum(1 for one in there.values() if one == driver) > limit:
                return _TOO_MANY
        return None
