"""Rules of volumes and their sources.

Pure. Source: `pkg/apis/core/validation` (ValidateVolumes and below); the order of sources is upstream's.
"""

from __future__ import annotations

import re
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from carob.api import quantity
from carob.api.validation import claims, field, meta, names, paths
from carob.api.validation.downward import field_selector, resource_selector

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from carob.api.types import core_v1, meta_v1
    from carob.api.validation.field import Cause

HOST_PATH_TYPES = ("", "BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket")
FIELD_PATHS = ("metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace", "metadata.uid")
ISCSI_FORMS = {
    "iqn": re.compile(r"iqn\.\d{4}-\d{2}\.([0-9A-Za-z\-.]+)(:[^,;*&$|\s]+)$", re.ASCII),
    "eui": re.compile(r"^eui.[0-9A-Za-z]{16}$", re.ASCII),
    "naa": re.compile(r"^naa.[0-9A-Za-z]{32}$", re.ASCII),
}
ONE_TYPE = "may not specify more than 1 volume type"
TEN_MINUTES = 600


def volumes(
    out: list[Cause], path: str, found: Sequence[core_v1.Volume], pod: meta_v1.ObjectMeta | None
) -> dict[str, core_v1.Volume]:
    """The volumes of a Pod or template by name; broken ones are left out, so that mounts of them are reported too."""
    made = {f"{pod.name}-{v.name}" for v in found if v.ephemeral is not None} if pod is not None and pod.name else set()
    good: dict[str, core_v1.Volume] = {}
    for i, volume in enumerate(found):
        here = f"{path}[{i}]"
        before = len(out)
        _source(out, here, volume, pod)
        if not volume.name:
            out.append(field.required(f"{here}.name"))
        elif wrong := names.dns_label(volume.name):
            meta.wrong_name(out, f"{here}.name", volume.name, wrong)
        if volume.name in good:
            out.append(field.duplicate(f"{here}.name", volume.name))
        if len(out) == before:
            good[volume.name] = volume
        claim = volume.persistent_volume_claim
        if claim is not None and claim.claim_name in made:
            words = "must not reference a PVC that gets created for an ephemeral volume"
            out.append(field.invalid(f"{here}.persistentVolumeClaim.claimName", claim.claim_name, words))
    return good


def _source(out: list[Cause], path: str, volume: core_v1.Volume, pod: meta_v1.ObjectMeta | None) -> None:
    count = 0
    for source, (attribute, shown, check) in zip(_all_sources(volume), _SOURCES, strict=True):
        if source is None:
            continue
        if count:
            out.append(field.forbidden(f"{path}.{_FORBIDDEN_AS.get(shown, shown)}", ONE_TYPE))
            continue
        count += 1
        check(out, f"{path}.{shown}", source)
        if attribute == "iscsi" and source.initiator_name is not None:
            _iscsi_name_length(out, f"{path}.name", volume.name, source.target_portal)
        if attribute == "ephemeral" and pod is not None and pod.name and volume.name:
            name = f"{pod.name}-{volume.name}"
            for why in names.dns_subdomain(name):
                out.append(field.invalid(f"{path}.name", volume.name, f'PVC name "{name}": {why}'))
    if not count:
        out.append(field.required(path, "must specify a volume type"))


def _iscsi_name_length(out: list[Cause], path: str, name: str, portal: str) -> None:
    if len(f"{name}:{portal}") > 64:
        words = (
            "Total length of <volume name>:<iscsi.targetPortal> must be under 64 characters if iscsi.initiatorName "
            "is specified."
        )
        out.append(field.invalid(path, name, words))


def _empty_dir(out: list[Cause], path: str, source: core_v1.EmptyDirVolumeSource) -> None:
    if source.size_limit is not None and quantity.nano(source.size_limit) < 0:
        out.append(field.forbidden(f"{path}.sizeLimit", "SizeLimit field must be a valid resource quantity"))


def host_path(out: list[Cause], path: str, source: core_v1.HostPathVolumeSource) -> None:
    """A path of the node."""
    if not source.path:
        out.append(field.required(f"{path}.path"))
        return
    paths.no_backsteps(out, f"{path}.path", source.path)
    if source.type is not None and source.type not in HOST_PATH_TYPES:
        out.append(field.not_supported(f"{path}.type", source.type, HOST_PATH_TYPES))


def _git_repo(out: list[Cause], path: str, source: core_v1.GitRepoVolumeSource) -> None:
    _needs(out, path, source, "repository")
    paths.local_descending(out, f"{path}.directory", source.directory)


def _needs(out: list[Cause], path: str, source: Any, *fields: str) -> None:
    """Texts and lists that must not be empty; a field is given as `jsonName` or `jsonName:attribute`."""
    for entry in fields:
        name, _, attribute = entry.partition(":")
        if not getattr(source, attribute or name):
            out.append(field.required(f"{path}.{name}"))


def _partition(out: list[Cause], path: str, number: int) -> None:
    if not 0 <= number <= 255:
        out.append(field.invalid(f"{path}.partition", number, "must be between 0 and 255, inclusive"))


def gce_disk(out: list[Cause], path: str, source: core_v1.GCEPersistentDiskVolumeSource) -> None:
    """A disk of Google's cloud."""
    _needs(out, path, source, "pdName:pd_name")
    _partition(out, path, source.partition)


def aws_disk(out: list[Cause], path: str, source: core_v1.AWSElasticBlockStoreVolumeSource) -> None:
    """A disk of Amazon's cloud."""
    _needs(out, path, source, "volumeID:volume_id")
    _partition(out, path, source.partition)


def _items(out: list[Cause], path: str, items: Sequence[core_v1.KeyToPath]) -> None:
    for i, item in enumerate(items):
        if item.key and item.mode is None and paths.is_plain(item.path):
            continue
        here = f"{path}.items[{i}]"
        _needs(out, here, item, "key", "path")
        paths.local_unreserved(out, f"{here}.path", item.path)
        paths.mode(out, f"{here}.mode", item.mode)


def _secret(out: list[Cause], path: str, source: core_v1.SecretVolumeSource) -> None:
    _needs(out, path, source, "secretName:secret_name")
    paths.mode(out, f"{path}.defaultMode", source.default_mode)
    _items(out, path, source.items)


def _config_map(out: list[Cause], path: str, source: core_v1.ConfigMapVolumeSource) -> None:
    _needs(out, path, source, "name")
    paths.mode(out, f"{path}.defaultMode", source.default_mode)
    _items(out, path, source.items)


def nfs(out: list[Cause], path: str, source: core_v1.NFSVolumeSource) -> None:
    """A share of a file server."""
    _needs(out, path, source, "server", "path")
    if not source.path.startswith("/"):
        out.append(field.invalid(f"{path}.path", source.path, "must be an absolute path"))


def iscsi(out: list[Cause], path: str, source: core_v1.ISCSIVolumeSource) -> None:
    """A disk behind iSCSI."""
    _needs(out, path, source, "targetPortal:target_portal")
    if not source.iqn:
        out.append(field.required(f"{path}.iqn"))
    else:
        _iscsi_form(out, f"{path}.iqn", source.iqn)
    if not 0 <= source.lun <= 255:
        out.append(field.invalid(f"{path}.lun", source.lun, "must be between 0 and 255, inclusive"))
    if (source.chap_auth_discovery or source.chap_auth_session) and source.secret_ref is None:
        out.append(field.required(f"{path}.secretRef"))
    if source.initiator_name is not None:
        _iscsi_form(out, f"{path}.initiatorname", source.initiator_name)


def _iscsi_form(out: list[Cause], path: str, value: str) -> None:
    form = ISCSI_FORMS.get(value[:3])
    if form is None:
        out.append(field.invalid(path, value, "must be valid format starting with iqn, eui, or naa"))
    elif not form.search(value):
        out.append(field.invalid(path, value, "must be valid format"))


def glusterfs(out: list[Cause], path: str, source: core_v1.GlusterfsVolumeSource) -> None:
    """A Gluster volume."""
    _needs(out, path, source, "endpoints", "path")


def flocker(out: list[Cause], path: str, source: core_v1.FlockerVolumeSource) -> None:
    """A Flocker dataset."""
    if not source.dataset_name and not source.dataset_uuid:
        out.append(field.required(path, "one of datasetName and datasetUUID is required"))
    if source.dataset_name and source.dataset_uuid:
        words = "datasetName and datasetUUID can not be specified simultaneously"
        out.append(field.invalid(path, "resource", words))
    if "/" in source.dataset_name:
        out.append(field.invalid(f"{path}.datasetName", source.dataset_name, "must not contain '/'"))


def _claim(out: list[Cause], path: str, source: core_v1.PersistentVolumeClaimVolumeSource) -> None:
    _needs(out, path, source, "claimName:claim_name")


def rbd(out: list[Cause], path: str, source: core_v1.RBDVolumeSource) -> None:
    """A Ceph block device."""
    _needs(out, path, source, "monitors", "image")


def cinder(out: list[Cause], path: str, source: core_v1.CinderVolumeSource) -> None:
    """A disk of OpenStack."""
    _needs(out, path, source, "volumeID:volume_id")
    if source.secret_ref is not None:
        _needs(out, f"{path}.secretRef", source.secret_ref, "name")


def cephfs(out: list[Cause], path: str, source: core_v1.CephFSVolumeSource) -> None:
    """A Ceph file system."""
    _needs(out, path, source, "monitors")


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
    _needs(out, path, source, "volume")


def _downward(out: list[Cause], path: str, source: core_v1.DownwardAPIVolumeSource) -> None:
    paths.mode(out, f"{path}.defaultMode", source.default_mode)
    for item in source.items:
        _downward_file(out, path, item)


def _downward_file(out: list[Cause], path: str, item: core_v1.DownwardAPIVolumeFile) -> None:
    if not paths.is_plain(item.path):
        _needs(out, path, item, "path")
        paths.local_unreserved(out, f"{path}.path", item.path)
    if item.field_ref is not None:
        field_selector(out, f"{path}.fieldRef", item.field_ref, FIELD_PATHS)
        if item.resource_field_ref is not None:
            words = "fieldRef and resourceFieldRef can not be specified simultaneously"
            out.append(field.invalid(path, "resource", words))
    elif item.resource_field_ref is not None:
        resource_selector(out, f"{path}.resourceFieldRef", item.resource_field_ref, in_volume=True)
    else:
        out.append(field.required(path, "one of fieldRef and resourceFieldRef is required"))
    if item.mode is not None:
        paths.mode(out, f"{path}.mode", item.mode)


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
    _needs(out, path, source, "driver")
    for key in source.options:
        domain = "." + key.partition("/")[0].lower()
        if domain.endswith((".kubernetes.io", ".k8s.io")):
            words = "kubernetes.io and k8s.io namespaces are reserved"
            out.append(field.invalid(f"{path}.options[{key}]", key, words))


def azure_file(out: list[Cause], path: str, source: core_v1.AzureFileVolumeSource) -> None:
    """A share of Microsoft's cloud."""
    _needs(out, path, source, "secretName:secret_name", "shareName:share_name")


def azure_disk(out: list[Cause], path: str, source: core_v1.AzureDiskVolumeSource) -> None:
    """A disk of Microsoft's cloud."""
    _needs(out, path, source, "diskName:disk_name", "diskURI:disk_uri")
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
    _needs(out, path, source, "volumePath:volume_path")


def photon(out: list[Cause], path: str, source: core_v1.PhotonPersistentDiskVolumeSource) -> None:
    """A disk of Photon."""
    _needs(out, path, source, "pdID:pd_id")


def portworx(out: list[Cause], path: str, source: core_v1.PortworxVolumeSource) -> None:
    """A Portworx volume."""
    _needs(out, path, source, "volumeID:volume_id")


def scale_io(out: list[Cause], path: str, source: core_v1.ScaleIOVolumeSource) -> None:
    """A ScaleIO volume."""
    _needs(out, path, source, "gateway", "system", "volumeName:volume_name")


def storage_os(out: list[Cause], path: str, source: core_v1.StorageOSVolumeSource) -> None:
    """A StorageOS volume."""
    if not source.volume_name:
        out.append(field.required(f"{path}.volumeName"))
    else:
        meta.wrong_name(out, f"{path}.volumeName", source.volume_name, names.dns_label(source.volume_name))
    if source.volume_namespace:
        wrong = names.dns_label(source.volume_namespace)
        meta.wrong_name(out, f"{path}.volumeNamespace", source.volume_namespace, wrong)
    if source.secret_ref is not None:
        _needs(out, f"{path}.secretRef", source.secret_ref, "name")


def _projected(out: list[Cause], path: str, projected: core_v1.ProjectedVolumeSource) -> None:
    paths.mode(out, f"{path}.defaultMode", projected.default_mode)
    taken: set[str] = set()

    def take(target: str, shown: str) -> None:
        if target in taken:
            out.append(field.invalid(path, shown, "conflicting duplicate paths"))
        taken.add(target)

    for i, source in enumerate(projected.sources):
        here = f"{path}.sources[{i}]"
        count = 0
        for name, part in (("secret", source.secret), ("configMap", source.config_map)):
            if part is not None:
                count += 1
                _needs(out, f"{here}.{name}", part, "name")
                _items(out, f"{here}.{name}", part.items)
                for item in part.items:
                    if item.path:
                        take(item.path, part.name)
        if source.downward_api is not None:
            count += 1
            for file in source.downward_api.items:
                _downward_file(out, f"{here}.downwardAPI", file)
                if file.path:
                    take(file.path, file.path)
        if source.service_account_token is not None:
            count += 1
            _token(out, path, f"{here}.serviceAccountToken", source.service_account_token)
        if source.cluster_trust_bundle is not None:
            count += 1
            _trust_bundle(out, f"{here}.clusterTrustBundle", source.cluster_trust_bundle)
            take(source.cluster_trust_bundle.path, source.cluster_trust_bundle.path)
        if source.pod_certificate is not None:
            count += 1
        if count > 1:
            out.append(field.forbidden(here, "may not specify more than 1 volume type per source"))


def _token(out: list[Cause], path: str, here: str, token: core_v1.ServiceAccountTokenProjection) -> None:
    seconds = token.expiration_seconds or 0
    if seconds < TEN_MINUTES:
        words = "may not specify a duration less than 10 minutes"
        out.append(field.invalid(f"{here}.expirationSeconds", seconds, words))
    if seconds > 1 << 32:
        words = "may not specify a duration larger than 2^32 seconds"
        out.append(field.invalid(f"{here}.expirationSeconds", seconds, words))
    if not token.path:
        out.append(field.required(f"{path}.path"))
    elif not paths.is_plain(token.path):
        paths.local_unreserved(out, f"{path}.path", token.path)


def _trust_bundle(out: list[Cause], path: str, bundle: core_v1.ClusterTrustBundleProjection) -> None:
    if bundle.name is not None and bundle.signer_name is not None:
        out.append(field.invalid(path, bundle, "only one of name and signerName may be used"))
    elif bundle.name is not None:
        if not bundle.name:
            out.append(field.required(f"{path}.name", "must be a valid object name"))
        for why in names.dns_subdomain(bundle.name.rpartition(":")[2]):
            out.append(field.invalid(f"{path}.name", bundle.name, f"not a valid clustertrustbundlename: {why}"))
        if bundle.label_selector is not None:
            words = "labelSelector must be unset if name is specified"
            out.append(field.invalid(f"{path}.labelSelector", bundle.label_selector, words))
    elif bundle.signer_name is not None:
        if not bundle.signer_name:
            out.append(field.required(f"{path}.signerName", "must be a valid signer name"))
        meta.label_selector(out, f"{path}.labelSelector", bundle.label_selector)
    else:
        out.append(field.required(path, "either name or signerName must be specified"))
    _needs(out, path, bundle, "path")
    paths.local_unreserved(out, f"{path}.path", bundle.path)


def csi_driver_name(out: list[Cause], path: str, name: str) -> None:
    """The name of a CSI driver."""
    if not name:
        out.append(field.required(path))
    if len(name) > 63:
        out.append(field.too_long(path, 63))
    meta.wrong_name(out, path, name, names.dns_subdomain(name.lower()))


def _csi(out: list[Cause], path: str, source: core_v1.CSIVolumeSource) -> None:
    csi_driver_name(out, f"{path}.driver", source.driver)
    secret = source.node_publish_secret_ref
    if secret is not None:
        if not secret.name:
            out.append(field.required(f"{path}.nodePublishSecretRef.name"))
        else:
            meta.wrong_name(out, f"{path}.name", secret.name, names.dns_subdomain(secret.name))


def _ephemeral(out: list[Cause], path: str, source: core_v1.EphemeralVolumeSource) -> None:
    template = source.volume_claim_template
    if template is None:
        out.append(field.required(f"{path}.volumeClaimTemplate"))
        return
    here = f"{path}.volumeClaimTemplate"
    meta.annotation_map(out, f"{here}.metadata.annotations", template.metadata.annotations)
    meta.labels(out, f"{here}.metadata.labels", template.metadata.labels)
    claims.spec(out, f"{here}.spec", template.spec)


def _image(out: list[Cause], path: str, source: core_v1.ImageVolumeSource) -> None:
    _needs(out, path, source, "reference")
    pull_policy(out, f"{path}.pullPolicy", source.pull_policy)


PULL_POLICIES = ("Always", "IfNotPresent", "Never")


def pull_policy(out: list[Cause], path: str, policy: str) -> None:
    """When an image is fetched."""
    if not policy:
        out.append(field.required(path))
    elif policy not in PULL_POLICIES:
        out.append(field.not_supported(path, policy, PULL_POLICIES))


# attribute, name in paths, rule; in the order in which upstream looks
_SOURCES: tuple[tuple[str, str, Callable[[list[Cause], str, Any], None]], ...] = (
    ("empty_dir", "emptyDir", _empty_dir),
    ("host_path", "hostPath", host_path),
    ("git_repo", "gitRepo", _git_repo),
    ("gce_persistent_disk", "persistentDisk", gce_disk),
    ("aws_elastic_block_store", "awsElasticBlockStore", aws_disk),
    ("secret", "secret", _secret),
    ("nfs", "nfs", nfs),
    ("iscsi", "iscsi", iscsi),
    ("glusterfs", "glusterfs", glusterfs),
    ("flocker", "flocker", flocker),
    ("persistent_volume_claim", "persistentVolumeClaim", _claim),
    ("rbd", "rbd", rbd),
    ("cinder", "cinder", cinder),
    ("cephfs", "cephfs", cephfs),
    ("quobyte", "quobyte", quobyte),
    ("downward_api", "downwardAPI", _downward),
    ("fc", "fc", fibre_channel),
    ("flex_volume", "flexVolume", flex),
    ("config_map", "configMap", _config_map),
    ("azure_file", "azureFile", azure_file),
    ("vsphere_volume", "vsphereVolume", vsphere),
    ("photon_persistent_disk", "photonPersistentDisk", photon),
    ("portworx_volume", "portworxVolume", portworx),
    ("azure_disk", "azureDisk", azure_disk),
    ("storageos", "storageos", storage_os),
    ("projected", "projected", _projected),
    ("scale_io", "scaleIO", scale_io),
    ("csi", "csi", _csi),
    ("ephemeral", "ephemeral", _ephemeral),
    ("image", "image", _image),
)
_all_sources = attrgetter(*(attribute for attribute, _, _ in _SOURCES))
# upstream names these differently when it forbids a second source
_FORBIDDEN_AS = {"persistentDisk": "gcePersistentDisk", "cephfs": "cephFS", "downwardAPI": "downwarAPI"}
