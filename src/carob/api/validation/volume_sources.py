"""Rules of places that both Pods and PersistentVolumes can take their bytes from: disks of clouds, file servers.

Pure. Source: `pkg/apis/core/validation`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from carob.api.types import core_v1
from carob.api.validation import field, meta, names, paths

if TYPE_CHECKING:
    from carob.api.validation.field import Cause

HOST_PATH_TYPES = ("", "BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket")
ISCSI_FORMS = {
    "iqn": re.compile(r"iqn\.\d{4}-\d{2}\.([0-9A-Za-z\-.]+)(:[^,;*&$|\s]+)$", re.ASCII),
    "eui": re.compile(r"^eui.[0-9A-Za-z]{16}$", re.ASCII),
    "naa": re.compile(r"^naa.[0-9A-Za-z]{32}$", re.ASCII),
}


def needs(out: list[Cause], path: str, source: Any, *fields: str) -> None:
    """Texts and lists that must not be empty; a field is given as `jsonName` or `jsonName:attribute`."""
    for entry in fields:
        name, _, attribute = entry.partition(":")
        if not getattr(source, attribute or name):
            out.append(field.required(f"{path}.{name}"))


def host_path(out: list[Cause], path: str, source: core_v1.HostPathVolumeSource) -> None:
    """A path of the node."""
    if not source.path:
        out.append(field.required(f"{path}.path"))
        return
    paths.no_backsteps(out, f"{path}.path", source.path)
    if source.type is not None and source.type not in HOST_PATH_TYPES:
        out.append(field.not_supported(f"{path}.type", source.type, HOST_PATH_TYPES))


def _partition(out: list[Cause], path: str, number: int) -> None:
    if not 0 <= number <= 255:
        out.append(field.invalid(f"{path}.partition", number, "must be between 0 and 255, inclusive"))


def gce_disk(out: list[Cause], path: str, source: core_v1.GCEPersistentDiskVolumeSource) -> None:
    """A disk of Google's cloud."""
    needs(out, path, source, "pdName:pd_name")
    _partition(out, path, source.partition)


def aws_disk(out: list[Cause], path: str, source: core_v1.AWSElasticBlockStoreVolumeSource) -> None:
    """A disk of Amazon's cloud."""
    needs(out, path, source, "volumeID:volume_id")
    _partition(out, path, source.partition)


def nfs(out: list[Cause], path: str, source: core_v1.NFSVolumeSource) -> None:
    """A share of a file server."""
    needs(out, path, source, "server", "path")
    if not source.path.startswith("/"):
        out.append(field.invalid(f"{path}.path", source.path, "must be an absolute path"))


def iscsi(out: list[Cause], path: str, source: core_v1.ISCSIVolumeSource) -> None:
    """A disk behind iSCSI."""
    needs(out, path, source, "targetPortal:target_portal")
    _iscsi_names(out, path, source, " starting with iqn, eui, or naa")


def persistent_iscsi(out: list[Cause], path: str, source: core_v1.ISCSIPersistentVolumeSource, volume: str) -> None:
    """The same behind a PersistentVolume, whose name counts."""
    needs(out, path, source, "targetPortal:target_portal")
    if source.initiator_name is not None:
        initiator_length(out, f"{path}.targetportal", source.target_portal, volume, source.target_portal)
    _iscsi_names(out, path, source, "")


def initiator_length(out: list[Cause], path: str, shown: str, volume: str, portal: str) -> None:
    """A volume's name and its portal must fit into the name of the initiator's interface."""
    if len(f"{volume}:{portal}") > 64:
        words = (
            "Total length of <volume name>:<iscsi.targetPortal> must be under 64 characters if iscsi.initiatorName "
            "is specified."
        )
        out.append(field.invalid(path, shown, words))


def _iscsi_names(
    out: list[Cause], path: str, source: core_v1.ISCSIVolumeSource | core_v1.ISCSIPersistentVolumeSource, forms: str
) -> None:
    if not source.iqn:
        out.append(field.required(f"{path}.iqn"))
    else:
        _iscsi_form(out, f"{path}.iqn", source.iqn, forms)
    if not 0 <= source.lun <= 255:
        out.append(field.invalid(f"{path}.lun", source.lun, "must be between 0 and 255, inclusive"))
    if (source.chap_auth_discovery or source.chap_auth_session) and source.secret_ref is None:
        out.append(field.required(f"{path}.secretRef"))
    if isinstance(source, core_v1.ISCSIPersistentVolumeSource) and source.secret_ref is not None:
        needs(out, f"{path}.secretRef", source.secret_ref, "name")
    if source.initiator_name is not None:
        _iscsi_form(out, f"{path}.initiatorname", source.initiator_name, forms)


def _iscsi_form(out: list[Cause], path: str, value: str, forms: str) -> None:
    form = ISCSI_FORMS.get(value[:3])
    if form is None:
        out.append(field.invalid(path, value, f"must be valid format{forms}"))
    elif not form.search(value):
        out.append(field.invalid(path, value, "must be valid format"))


def glusterfs(out: list[Cause], path: str, source: core_v1.GlusterfsVolumeSource) -> None:
    """A Gluster volume."""
    needs(out, path, source, "endpoints", "path")


def persistent_glusterfs(out: list[Cause], path: str, source: core_v1.GlusterfsPersistentVolumeSource) -> None:
    """The same behind a PersistentVolume, which has no namespace of its own."""
    needs(out, path, source, "endpoints", "path")
    here, namespace = f"{path}.endpointsNamespace", source.endpoints_namespace
    if namespace == "":
        words = "if the endpointnamespace is set, it must be a valid namespace name"
        out.append(field.invalid(here, namespace, words))
    elif namespace is not None:
        meta.wrong_name(out, here, namespace, names.dns_label(namespace))


def flocker(out: list[Cause], path: str, source: core_v1.FlockerVolumeSource) -> None:
    """A Flocker dataset."""
    if not source.dataset_name and not source.dataset_uuid:
        out.append(field.required(path, "one of datasetName and datasetUUID is required"))
    if source.dataset_name and source.dataset_uuid:
        words = "datasetName and datasetUUID can not be specified simultaneously"
        out.append(field.invalid(path, "resource", words))
    if "/" in source.dataset_name:
        out.append(field.invalid(f"{path}.datasetName", source.dataset_name, "must not contain '/'"))


def rbd(out: list[Cause], path: str, source: core_v1.RBDVolumeSource) -> None:
    """A Ceph block device."""
    needs(out, path, source, "monitors", "image")


def cinder(out: list[Cause], path: str, source: core_v1.CinderVolumeSource) -> None:
    """A disk of OpenStack."""
    needs(out, path, source, "volumeID:volume_id")
    if source.secret_ref is not None:
        needs(out, f"{path}.secretRef", source.secret_ref, "name")


def cephfs(out: list[Cause], path: str, source: core_v1.CephFSVolumeSource) -> None:
    """A Ceph file system."""
    needs(out, path, source, "monitors")


def quobyte(out: list[Cause], path: str, source: core_v1.QuobyteVolumeSource) -> None:
    """A Quobyte volume."""
    words = "must be a host:port pair or multiple pairs separated by commas"
    if not source.registry:
        out.append(field.required(f"{path}.registry", words))
    elif len(source.tenant) >= 65:
        out.append(field.required(f"{path}.tenant", "must be a UUID and may not exceed a length of 64 characters"))
    else:
        for pair in source.registry.split(","):
            host, colon, _ = pair.rpartition(":")
            if not colon or (":" in host.strip("[]") and not host.startswith("[")):
                out.append(field.invalid(f"{path}.registry", source.registry, words))
    needs(out, path, source, "volume")


def fibre_channel(out: list[Cause], path: str, source: core_v1.FCVolumeSource) -> None:
    """A disk behind Fibre Channel."""
    if not source.target_wwns and not source.wwids:
        out.append(field.required(f"{path}.targetWWNs", "must specify either targetWWNs or wwids, but not both"))
    if source.target_wwns and source.wwids:
        words = "targetWWNs and wwids can not be specified simultaneously"
        out.append(field.invalid(f"{path}.targetWWNs", source.target_wwns, words))
    if source.target_wwns:
        if source.lun is None:
            out.append(field.required(f"{path}.lun", "lun is required if targetWWNs is specified"))
        elif not 0 <= source.lun <= 255:
            out.append(field.invalid(f"{path}.lun", source.lun, "must be between 0 and 255, inclusive"))


def flex(out: list[Cause], path: str, source: core_v1.FlexVolumeSource) -> None:
    """A volume of a driver on the node."""
    needs(out, path, source, "driver")
    for key in source.options:
        domain = "." + key.partition("/")[0].lower()
        if domain.endswith((".kubernetes.io", ".k8s.io")):
            words = "kubernetes.io and k8s.io namespaces are reserved"
            out.append(field.invalid(f"{path}.options[{key}]", key, words))


def azure_file(out: list[Cause], path: str, source: core_v1.AzureFileVolumeSource) -> None:
    """A share of Microsoft's cloud."""
    needs(out, path, source, "secretName:secret_name", "shareName:share_name")


def azure_disk(out: list[Cause], path: str, source: core_v1.AzureDiskVolumeSource) -> None:
    """A disk of Microsoft's cloud."""
    needs(out, path, source, "diskName:disk_name", "diskURI:disk_uri")
    if source.caching_mode is not None and source.caching_mode not in ("None", "ReadOnly", "ReadWrite"):
        out.append(field.not_supported(f"{path}.cachingMode", source.caching_mode, ("None", "ReadOnly", "ReadWrite")))
    if source.kind is None:
        return
    if source.kind not in ("Dedicated", "Managed", "Shared"):
        out.append(field.not_supported(f"{path}.kind", source.kind, ("Dedicated", "Managed", "Shared")))
    managed = "/subscriptions/{sub-id}/resourcegroups/{group-name}/providers/microsoft.compute/disks/{disk-id}"
    blob = "https://{account-name}.blob.core.windows.net/{container-name}/{disk-name}.vhd"
    if source.kind == "Managed" and not source.disk_uri.startswith("/subscriptions/"):
        out.append(field.not_supported(f"{path}.diskURI", source.disk_uri, (managed,)))
    if source.kind != "Managed" and not source.disk_uri.startswith("https://"):
        out.append(field.not_supported(f"{path}.diskURI", source.disk_uri, (blob,)))


def vsphere(out: list[Cause], path: str, source: core_v1.VsphereVirtualDiskVolumeSource) -> None:
    """A disk of vSphere."""
    needs(out, path, source, "volumePath:volume_path")


def photon(out: list[Cause], path: str, source: core_v1.PhotonPersistentDiskVolumeSource) -> None:
    """A disk of Photon."""
    needs(out, path, source, "pdID:pd_id")


def portworx(out: list[Cause], path: str, source: core_v1.PortworxVolumeSource) -> None:
    """A Portworx volume."""
    needs(out, path, source, "volumeID:volume_id")


def scale_io(out: list[Cause], path: str, source: core_v1.ScaleIOVolumeSource) -> None:
    """A ScaleIO volume."""
    needs(out, path, source, "gateway", "system", "volumeName:volume_name")


def storage_os(
    out: list[Cause], path: str, source: core_v1.StorageOSVolumeSource | core_v1.StorageOSPersistentVolumeSource
) -> None:
    """A StorageOS volume."""
    if not source.volume_name:
        out.append(field.required(f"{path}.volumeName"))
    else:
        meta.wrong_name(out, f"{path}.volumeName", source.volume_name, names.dns_label(source.volume_name))
    if source.volume_namespace:
        wrong = names.dns_label(source.volume_namespace)
        meta.wrong_name(out, f"{path}.volumeNamespace", source.volume_namespace, wrong)
    if source.secret_ref is not None:
        needs(out, f"{path}.secretRef", source.secret_ref, "name")
        if isinstance(source, core_v1.StorageOSPersistentVolumeSource):
            needs(out, f"{path}.secretRef", source.secret_ref, "namespace")


def csi_driver_name(out: list[Cause], path: str, name: str) -> None:
    """The name of a CSI driver."""
    if not name:
        out.append(field.required(path))
    if len(name) > 63:
        out.append(field.too_long(path, 63))
    meta.wrong_name(out, path, name, names.dns_subdomain(name.lower()))
