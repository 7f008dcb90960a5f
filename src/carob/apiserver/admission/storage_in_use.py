"""StorageObjectInUseProtection and DefaultStorageClass: finalizers that keep used volumes, and the default class.

Source: kubernetes `plugin/pkg/admission/storage/storageobjectinuseprotection`, `storage/setdefault`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from carob.api import claims, quantity
from carob.apiserver.admission.refusals import creates, refused, writes
from carob.apiserver.authn.service_accounts import row
from carob.apiserver.types import Operation
from carob.base.clock import parse_rfc3339

if TYPE_CHECKING:
    from carob.apiserver.types import Attributes, Reader

CLAIMS = row("", "v1", "persistentvolumeclaims")
VOLUMES = row("", "v1", "persistentvolumes")
CLASSES = row("storage.k8s.io", "v1", "storageclasses")
INGRESS_CLASSES = row("networking.k8s.io", "v1", "ingressclasses")
INGRESSES = row("networking.k8s.io", "v1", "ingresses")
ATTRIBUTES_CLASSES = row("storage.k8s.io", "v1", "volumeattributesclasses")
_FINALIZERS = (
    (CLAIMS, "kubernetes.io/pvc-protection"),
    (VOLUMES, "kubernetes.io/pv-protection"),
    (ATTRIBUTES_CLASSES, "kubernetes.io/vac-protection"),
)
_DEFAULT_CLASS = "storageclass.kubernetes.io/is-default-class"
_DEFAULT_CLASS_BETA = "storageclass.beta.kubernetes.io/is-default-class"
_DEFAULT_INGRESS_CLASS = "ingressclass.kubernetes.io/is-default-class"


class StorageObjectInUseProtection:
    """Claims, volumes and their classes of attributes outlive their deletion while somebody uses them."""

    name = "StorageObjectInUseProtection"
    phases = ("admit",)
    handles = frozenset(
        (("", "persistentvolumeclaims"), ("", "persistentvolumes"), ("storage.k8s.io", "volumeattributesclasses"))
    )

    def admit(self, attributes: Attributes) -> None:
        """Add the finalizer to a new object."""
        for resource, finalizer in _FINALIZERS:
            if creates(attributes, resource):
                metadata = attributes.obj.metadata
                if finalizer not in metadata.finalizers:
                    metadata.finalizers = [*metadata.finalizers, finalizer]

    def validate(self, attributes: Attributes) -> None:
        """Nothing."""


class DefaultStorageClass:
    """A claim that names no class gets the newest default one, if there is one."""

    name = "DefaultStorageClass"
    phases = ("admit",)
    handles = frozenset((("", "persistentvolumeclaims"),))

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    def admit(self, attributes: Attributes) -> None:
        """Name the class."""
        if not creates(attributes, CLAIMS):
            return
        claim = attributes.obj
        if claim.spec.storage_class_name is not None or "volume.beta.kubernetes.io/storage-class" in (
            claim.metadata.annotations
        ):
            return
        defaults = [
            found
            for found in self._reader.list(CLASSES)
            if "true"
            in (
                found.metadata.annotations.get(_DEFAULT_CLASS),
                found.metadata.annotations.get(_DEFAULT_CLASS_BETA),
            )
        ]
        if defaults:
            newest = sorted(defaults, key=lambda c: (-parse_rfc3339(c.metadata.creation_timestamp), c.metadata.name))
            claim.spec.storage_class_name = newest[0].metadata.name

    def validate(self, attributes: Attributes) -> None:
        """Nothing."""


class ClaimResize:
    """A bound claim may ask for more only where its class lets volumes grow.

    Source: kubernetes `plugin/pkg/admission/storage/persistentvolume/resize`.
    """

    name = "PersistentVolumeClaimResize"
    phases = ("validate",)
    handles = frozenset((("", "persistentvolumeclaims"),))

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    def admit(self, attributes: Attributes) -> None:
        """Nothing."""

    def validate(self, attributes: Attributes) -> None:
        """Raises: ApiError 403."""
        if attributes.operation is not Operation.UPDATE or not writes(attributes, CLAIMS):
            return
        wanted, had = claims.requested(attributes.obj), claims.requested(attributes.old)
        if quantity.compare(wanted, had) <= 0:
            return
        if attributes.old.status.phase != "Bound":
            raise refused(attributes, "Only bound persistent volume claims can be expanded")
        name = claims.class_of(attributes.obj)
        found = self._reader.get(CLASSES, "", name) if name else None
        if found is None or not found.allow_volume_expansion:
            raise refused(
                attributes,
                "only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must "
                "support resize",
            )


class DefaultIngressClass:
    """An Ingress that names no class gets the default one, if there is one."""

    name = "DefaultIngressClass"
    phases = ("admit",)
    handles = frozenset((("networking.k8s.io", "ingresses"),))

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    def admit(self, attributes: Attributes) -> None:
        """Name the class."""
        if not creates(attributes, INGRESSES):
            return
        ingress = attributes.obj
        if ingress.spec.ingress_class_name is not None or "kubernetes.io/ingress.class" in ingress.metadata.annotations:
            return
        defaults = [
            found
            for found in self._reader.list(INGRESS_CLASSES)
            if found.metadata.annotations.get(_DEFAULT_INGRESS_CLASS) == "true"
        ]
        if defaults:
            newest = sorted(defaults, key=lambda c: (-parse_rfc3339(c.metadata.creation_timestamp), c.metadata.name))
            ingress.spec.ingress_class_name = newest[0].metadata.name

    def validate(self, attributes: Attributes) -> None:
        """Nothing."""
