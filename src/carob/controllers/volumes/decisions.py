"""What the binder does next with one claim or one volume: a single write at most, so that a crash between two is none.

Pure, level-triggered. Both sides of a binding are written one after another; whoever finds a half of it finishes it.
Source: kube-controller-manager `volume/persistentvolume/pv_controller.go`; reasons and words are upstream's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec import Struct, field

from carob.api import claims
from carob.api.types import core_v1

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from carob.api.types import storage_v1

YES = "yes"
PV_FINALIZER = "kubernetes.io/pv-controller"


class Write(Struct, frozen=True):
    """A merge patch of one object; it holds only for the version that was looked at."""

    obj: Any
    patch: dict[str, Any]
    subresource: str = ""


class Told(Struct, frozen=True):
    """An event about an object, told after the write."""

    obj: Any
    type: str
    reason: str
    message: str


class Next(Struct):
    """One write, then another look; without a write there is nothing more to do but what is named here."""

    write: Write | None = None
    events: list[Told] = field(default_factory=list)
    provision: bool = False
    """The claim needs a new volume."""
    reclaim: bool = False
    """The volume is no longer used: its reclaim policy decides."""


class World(Struct, frozen=True):
    """What one look sees. `users` gives the Pods of a claim: name and node's name."""

    volumes: Mapping[str, core_v1.PersistentVolume]
    claims: Mapping[str, core_v1.PersistentVolumeClaim]
    classes: Mapping[str, storage_v1.StorageClass]
    users: Callable[[core_v1.PersistentVolumeClaim], Iterable[tuple[str, str]]]


def next_for_claim(claim: core_v1.PersistentVolumeClaim, world: World) -> Next:
    """What a claim needs."""
    if claims.BIND_COMPLETED in claim.metadata.annotations:
        return _bound(claim, world)
    if not claim.spec.volume_name:
        return _unbound(claim, world)
    volume = world.volumes.get(claim.spec.volume_name)
    if volume is None:
        return Next(write=_claim_phase(claim, "Pending"))
    if volume.spec.claim_ref is None:
        why = claims.misfit(volume, claim)
        if why:
            text = f'Cannot bind to requested volume "{volume.metadata.name}": {why}'
            return Next(write=_claim_phase(claim, "Pending"), events=[Told(claim, "Warning", "VolumeMismatch", text)])
        return _bind(volume, claim)
    if claims.refers_to(volume, claim):
        return _bind(volume, claim)
    text = f'volume "{volume.metadata.name}" already bound to a different claim.'
    return Next(write=_claim_phase(claim, "Pending"), events=[Told(claim, "Warning", "FailedBinding", text)])


def _unbound(claim: core_v1.PersistentVolumeClaim, world: World) -> Next:
    waits = claims.waits_for_consumer(claim, world.classes)
    volume = claims.best_match(claim, world.volumes.values(), waits=waits)
    if volume is not None:
        return _bind(volume, claim)
    if claim.spec.storage_class_name is None and claims.CLASS_OF_OLD not in claim.metadata.annotations:
        default = default_class(world.classes.values())
        if default:
            return Next(write=_write(claim, {"spec": {"storageClassName": default}}))
    pending = _claim_phase(claim, "Pending")
    if waits and claims.SELECTED_NODE not in claim.metadata.annotations:
        return Next(write=pending, events=[_waiting(claim, world)])
    if claims.class_of(claim):
        return Next(write=pending, provision=True)
    text = "no persistent volumes available for this claim and no storage class is set"
    return Next(write=pending, events=[Told(claim, "Normal", "FailedBinding", text)])


def _waiting(claim: core_v1.PersistentVolumeClaim, world: World) -> Told:
    """Source: `emitEventForUnboundDelayBindingClaim`."""
    users = list(world.users(claim))
    pods = sorted(name for name, node in users if not node)
    if pods and len(pods) == len(users):
        names = pods[0] if len(pods) == 1 else ",".join(pods)
        noun = "pod" if len(pods) == 1 else "pods"
        return Told(claim, "Normal", "WaitForPodScheduled", f"waiting for {noun} {names} to be scheduled")
    text = "waiting for first consumer to be created before binding"
    return Told(claim, "Normal", "WaitForFirstConsumer", text)


def default_class(classes: Iterable[storage_v1.StorageClass]) -> str:
    """The newest of the default classes; empty if there is none."""
    names = ("storageclass.kubernetes.io/is-default-class", "storageclass.beta.kubernetes.io/is-default-class")
    defaults = [c for c in classes if any(c.metadata.annotations.get(name) == "true" for name in names)]
    # the newest one; of several made at once the first by name
    defaults.sort(key=lambda c: c.metadata.name)
    defaults.sort(key=lambda c: c.metadata.creation_timestamp or "", reverse=True)
    return defaults[0].metadata.name if defaults else ""


def _bound(claim: core_v1.PersistentVolumeClaim, world: World) -> Next:
    """Source: `syncBoundClaim`."""
    if not claim.spec.volume_name:
        text = "Bound claim has lost reference to PersistentVolume. Data on the volume is lost!"
        return _lost(claim, "ClaimLost", text)
    volume = world.volumes.get(claim.spec.volume_name)
    if volume is None:
        return _lost(claim, "ClaimLost", "Bound claim has lost its PersistentVolume. Data on the volume is lost!")
    if volume.spec.claim_ref is None or volume.spec.claim_ref.uid == claim.metadata.uid:
        return _bind(volume, claim)
    text = "Two claims are bound to the same volume, this one is bound incorrectly"
    return _lost(claim, "ClaimMisbound", text)


def _lost(claim: core_v1.PersistentVolumeClaim, reason: str, text: str) -> Next:
    write = _claim_phase(claim, "Lost")
    return Next(write=write, events=[Told(claim, "Warning", reason, text)] if write is not None else [])


def _bind(volume: core_v1.PersistentVolume, claim: core_v1.PersistentVolumeClaim) -> Next:
    """The first of the four writes of a binding that is missing. Source: `bind`."""
    reference = volume.spec.claim_ref
    if reference is None or reference.uid != claim.metadata.uid:
        return Next(write=_write(volume, _claim_reference(volume, claim)))
    if volume.status.phase != "Bound":
        return Next(write=phase(volume, "Bound"))
    annotations = {}
    spec = {}
    if claim.spec.volume_name != volume.metadata.name:
        spec = {"spec": {"volumeName": volume.metadata.name}}
        annotations[claims.BOUND_BY_CONTROLLER] = YES
    if claims.BIND_COMPLETED not in claim.metadata.annotations:
        annotations[claims.BIND_COMPLETED] = YES
    if annotations:
        return Next(write=_write(claim, {"metadata": {"annotations": annotations}, **spec}))
    return Next(write=_bound_status(claim, volume))


def _claim_reference(volume: core_v1.PersistentVolume, claim: core_v1.PersistentVolumeClaim) -> dict[str, Any]:
    metadata = claim.metadata
    reference = {
        "kind": "PersistentVolumeClaim",
        "apiVersion": "v1",
        "namespace": metadata.namespace,
        "name": metadata.name,
        "uid": metadata.uid,
        "resourceVersion": metadata.resource_version,
    }
    patch: dict[str, Any] = {"spec": {"claimRef": reference}}
    if volume.spec.claim_ref is None:
        patch["metadata"] = {"annotations": {claims.BOUND_BY_CONTROLLER: YES}}
    return patch


def _bound_status(claim: core_v1.PersistentVolumeClaim, volume: core_v1.PersistentVolume) -> Write | None:
    status = claim.status
    change: dict[str, Any] = {}
    if status.phase != "Bound":
        change["phase"] = "Bound"
    if status.access_modes != volume.spec.access_modes:
        change["accessModes"] = list(volume.spec.access_modes)
    if "storage" not in status.capacity:
        # later the expansion writes it
        change["capacity"] = dict(volume.spec.capacity)
    wanted = volume.spec.volume_attributes_class_name
    if wanted and status.current_volume_attributes_class_name != wanted:
        change["currentVolumeAttributesClassName"] = wanted
    return _write(claim, {"status": change}, "status") if change else None


def next_for_volume(volume: core_v1.PersistentVolume, world: World) -> Next:
    """What a volume needs. Source: `syncVolume`."""
    reference = volume.spec.claim_ref
    if reference is None or not reference.uid:
        return Next(write=phase(volume, "Available"))
    claim = world.claims.get(f"{reference.namespace}/{reference.name}")
    if claim is None or claim.metadata.uid != reference.uid:
        if volume.status.phase not in ("Released", "Failed"):
            return Next(write=phase(volume, "Released"))
        return Next(reclaim=True)
    if not claim.spec.volume_name:
        if claims.mode(volume.spec.volume_mode) == claims.mode(claim.spec.volume_mode):
            return Next()
        name, text = claim.metadata.name, "due to incompatible volumeMode."
        mine = f'Cannot bind PersistentVolume to requested PersistentVolumeClaim "{name}" {text}'
        theirs = f'Cannot bind PersistentVolume "{volume.metadata.name}" to requested PersistentVolumeClaim {text}'
        return Next(
            events=[
                Told(volume, "Warning", "VolumeMismatch", mine),
                Told(claim, "Warning", "VolumeMismatch", theirs),
            ]
        )
    if claim.spec.volume_name == volume.metadata.name:
        return Next(write=phase(volume, "Bound"))
    if claims.PROVISIONED_BY in volume.metadata.annotations and (
        volume.spec.persistent_volume_reclaim_policy == "Delete"
    ):
        # made for a claim that has found another one meanwhile
        if volume.status.phase not in ("Released", "Failed"):
            return Next(write=phase(volume, "Released"))
        return Next(reclaim=True)
    return Next(write=_unbind(volume))


def _unbind(volume: core_v1.PersistentVolume) -> Write:
    """Let go of a claim that has another volume; what an admin bound beforehand stays meant for it."""
    if claims.BOUND_BY_CONTROLLER in volume.metadata.annotations:
        return _write(
            volume,
            {"metadata": {"annotations": {claims.BOUND_BY_CONTROLLER: None}}, "spec": {"claimRef": None}},
        )
    return _write(volume, {"spec": {"claimRef": {"uid": None, "resourceVersion": None}}})


def phase(volume: core_v1.PersistentVolume, name: str, message: str = "") -> Write | None:
    """The write that brings a volume into a phase; None if it is in it."""
    if volume.status.phase == name:
        return None
    return _write(volume, {"status": {"phase": name, "message": message or None}}, "status")


def _claim_phase(claim: core_v1.PersistentVolumeClaim, name: str) -> Write | None:
    if claim.status.phase == name:
        return None
    change: dict[str, Any] = {"phase": name}
    if name != "Bound":
        change |= {"accessModes": None, "capacity": None}
    return _write(claim, {"status": change}, "status")


def _write(obj: Any, patch: dict[str, Any], subresource: str = "") -> Write:
    metadata = {"uid": obj.metadata.uid, "resourceVersion": obj.metadata.resource_version}
    return Write(obj, {**patch, "metadata": {**patch.get("metadata", {}), **metadata}}, subresource)
