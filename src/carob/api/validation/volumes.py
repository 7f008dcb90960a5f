"""Rules of volumes and their sources.

Pure. Source: `pkg/apis/core/validation` (ValidateVolumes and below); the order of sources is upstream's.
"""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING, Any

from carob.api import quantity
from carob.api.validation import claims, field, meta, names, paths
from carob.api.validation import volume_sources as places
from carob.api.validation.downward import field_selector, resource_selector
from carob.api.validation.volume_sources import csi_driver_name, needs

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from carob.api.types import core_v1, meta_v1
    from carob.api.validation.field import Cause

FIELD_PATHS = ("metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace", "metadata.uid")
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
        count += 1
        if count > 1:
            out.append(field.forbidden(f"{path}.{_FORBIDDEN_AS.get(shown, shown)}", ONE_TYPE))
        else:
            if attribute == "image" and pod is not None:
                needs(out, f"{path}.image", source, "reference")  # a template's may be filled in later
            check(out, f"{path}.{shown}", source)
        if attribute == "iscsi" and source.initiator_name is not None:
            places.initiator_length(out, f"{path}.name", volume.name, volume.name, source.target_portal)
        if count > 1:
            continue
        if attribute == "ephemeral" and pod is not None and pod.name and volume.name:
            name = f"{pod.name}-{volume.name}"
            for why in names.dns_subdomain(name):
                out.append(field.invalid(f"{path}.name", volume.name, f'PVC name "{name}": {why}'))
    if not count:
        out.append(field.required(path, "must specify a volume type"))


def _empty_dir(out: list[Cause], path: str, source: core_v1.EmptyDirVolumeSource) -> None:
    if source.size_limit is not None and quantity.nano(source.size_limit) < 0:
        out.append(field.forbidden(f"{path}.sizeLimit", "SizeLimit field must be a valid resource quantity"))


def _git_repo(out: list[Cause], path: str, source: core_v1.GitRepoVolumeSource) -> None:
    needs(out, path, source, "repository")
    paths.local_descending(out, f"{path}.directory", source.directory)


def _items(out: list[Cause], path: str, items: Sequence[core_v1.KeyToPath]) -> None:
    for i, item in enumerate(items):
        if item.key and item.mode is None and paths.is_plain(item.path):
            continue
        here = f"{path}.items[{i}]"
        needs(out, here, item, "key", "path")
        paths.local_unreserved(out, f"{here}.path", item.path)
        paths.mode(out, f"{here}.mode", item.mode)


def _secret(out: list[Cause], path: str, source: core_v1.SecretVolumeSource) -> None:
    needs(out, path, source, "secretName:secret_name")
    paths.mode(out, f"{path}.defaultMode", source.default_mode)
    _items(out, path, source.items)


def _config_map(out: list[Cause], path: str, source: core_v1.ConfigMapVolumeSource) -> None:
    needs(out, path, source, "name")
    paths.mode(out, f"{path}.defaultMode", source.default_mode)
    _items(out, path, source.items)


def _claim(out: list[Cause], path: str, source: core_v1.PersistentVolumeClaimVolumeSource) -> None:
    needs(out, path, source, "claimName:claim_name")


def _downward(out: list[Cause], path: str, source: core_v1.DownwardAPIVolumeSource) -> None:
    paths.mode(out, f"{path}.defaultMode", source.default_mode)
    for item in source.items:
        _downward_file(out, path, item)


def _downward_file(out: list[Cause], path: str, item: core_v1.DownwardAPIVolumeFile) -> None:
    if not paths.is_plain(item.path):
        needs(out, path, item, "path")
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
                needs(out, f"{here}.{name}", part, "name")
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
    needs(out, path, bundle, "path")
    paths.local_unreserved(out, f"{path}.path", bundle.path)


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
    meta.of_template(out, f"{here}.metadata", template.metadata)
    claims.spec(out, f"{here}.spec", template.spec)


def _image(out: list[Cause], path: str, source: core_v1.ImageVolumeSource) -> None:
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
    ("host_path", "hostPath", places.host_path),
    ("git_repo", "gitRepo", _git_repo),
    ("gce_persistent_disk", "persistentDisk", places.gce_disk),
    ("aws_elastic_block_store", "awsElasticBlockStore", places.aws_disk),
    ("secret", "secret", _secret),
    ("nfs", "nfs", places.nfs),
    ("iscsi", "iscsi", places.iscsi),
    ("glusterfs", "glusterfs", places.glusterfs),
    ("flocker", "flocker", places.flocker),
    ("persistent_volume_claim", "persistentVolumeClaim", _claim),
    ("rbd", "rbd", places.rbd),
    ("cinder", "cinder", places.cinder),
    ("cephfs", "cephfs", places.cephfs),
    ("quobyte", "quobyte", places.quobyte),
    ("downward_api", "downwardAPI", _downward),
    ("fc", "fc", places.fibre_channel),
    ("flex_volume", "flexVolume", places.flex),
    ("config_map", "configMap", _config_map),
    ("azure_file", "azureFile", places.azure_file),
    ("vsphere_volume", "vsphereVolume", places.vsphere),
    ("photon_persistent_disk", "photonPersistentDisk", places.photon),
    ("portworx_volume", "portworxVolume", places.portworx),
    ("azure_disk", "azureDisk", places.azure_disk),
    ("storageos", "storageos", places.storage_os),
    ("projected", "projected", _projected),
    ("scale_io", "scaleIO", places.scale_io),
    ("csi", "csi", _csi),
    ("ephemeral", "ephemeral", _ephemeral),
    ("image", "image", _image),
)
_all_sources = attrgetter(*(attribute for attribute, _, _ in _SOURCES))
# upstream names these differently when it forbids a second source
_FORBIDDEN_AS = {"persistentDisk": "gcePersistentDisk", "cephfs": "cephFS", "downwardAPI": "downwarAPI"}
