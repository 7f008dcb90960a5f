"""The volumes of a Pod or a Pod template."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from carob.cli.describers.parts import Tree
    from carob.cli.describers.writer import Writer


def volumes(writer: Writer, values: Sequence[Tree] | None, *, template: bool = False) -> None:
    """`Volumes:` and what each one is."""
    indent = "  " if template else ""
    if not values:
        writer.line(0, f"{indent}Volumes:\t<none>")
        return
    writer.line(0, f"{indent}Volumes:")
    for volume in values:
        writer.line(1, f"{' ' if template else ''}{volume.get('name')}:")
        kind = next((k for k in _KINDS if volume.get(k) is not None), "")
        if kind:
            _KINDS[kind](writer, volume[kind])
        else:
            writer.line(2, "<unknown>")


def _boolean(value: object) -> str:
    return "true" if value else "false"


def _empty_dir(writer: Writer, source: Tree) -> None:
    writer.line(2, "Type:\tEmptyDir (a temporary directory that shares a pod's lifetime)")
    writer.line(2, f"Medium:\t{source.get('medium', '')}")
    writer.line(2, f"SizeLimit:\t{source.get('sizeLimit') or '<unset>'}")


def _host_path(writer: Writer, source: Tree) -> None:
    writer.line(2, "Type:\tHostPath (bare host directory volume)")
    writer.line(2, f"Path:\t{source.get('path', '')}")
    writer.line(2, f"HostPathType:\t{source.get('type', '<none>')}")


def _secret(writer: Writer, source: Tree) -> None:
    writer.line(2, "Type:\tSecret (a volume populated by a Secret)")
    writer.line(2, f"SecretName:\t{source.get('secretName', '')}")
    writer.line(2, f"Optional:\t{_boolean(source.get('optional'))}")


def _config_map(writer: Writer, source: Tree) -> None:
    writer.line(2, "Type:\tConfigMap (a volume populated by a ConfigMap)")
    writer.line(2, f"Name:\t{source.get('name', '')}")
    writer.line(2, f"Optional:\t{_boolean(source.get('optional'))}")


def _claim(writer: Writer, source: Tree) -> None:
    writer.line(2, "Type:\tPersistentVolumeClaim (a reference to a PersistentVolumeClaim in the same namespace)")
    writer.line(2, f"ClaimName:\t{source.get('claimName', '')}")
    writer.line(2, f"ReadOnly:\t{_boolean(source.get('readOnly'))}")


def _downward(writer: Writer, source: Tree) -> None:
    writer.line(2, "Type:\tDownwardAPI (a volume populated by information about the pod)")
    writer.line(2, "Items:")
    for item in source.get("items") or []:
        what = (item.get("fieldRef") or {}).get("fieldPath") or (item.get("resourceFieldRef") or {}).get("resource", "")
        writer.line(3, f"{what} -> {item.get('path', '')}")


def _projected(writer: Writer, source: Tree) -> None:
    writer.line(2, "Type:\tProjected (a volume that contains injected data from multiple sources)")
    for part in source.get("sources") or []:
        if part.get("secret") is not None:
            writer.line(2, f"SecretName:\t{part['secret'].get('name', '')}")
            writer.line(2, f"Optional:\t{_boolean(part['secret'].get('optional'))}")
        elif part.get("downwardAPI") is not None:
            writer.line(2, "DownwardAPI:\ttrue")
        elif part.get("configMap") is not None:
            writer.line(2, f"ConfigMapName:\t{part['configMap'].get('name', '')}")
            writer.line(2, f"Optional:\t{_boolean(part['configMap'].get('optional'))}")
        elif part.get("serviceAccountToken") is not None:
            writer.line(2, f"TokenExpirationSeconds:\t{part['serviceAccountToken'].get('expirationSeconds', 0)}")


def _image(writer: Writer, source: Tree) -> None:
    writer.line(2, "Type:\tImage (a container image or OCI artifact)")
    writer.line(2, f"Reference:\t{source.get('reference', '')}")
    writer.line(2, f"PullPolicy:\t{source.get('pullPolicy', '')}")


def _nfs(writer: Writer, source: Tree) -> None:
    writer.line(2, "Type:\tNFS (an NFS mount that lasts the lifetime of a pod)")
    writer.line(2, f"Server:\t{source.get('server', '')}")
    writer.line(2, f"Path:\t{source.get('path', '')}")
    writer.line(2, f"ReadOnly:\t{_boolean(source.get('readOnly'))}")


def _local(writer: Writer, source: Tree) -> None:
    writer.line(2, "Type:\tLocalVolume (a persistent volume backed by local storage on a node)")
    writer.line(2, f"Path:\t{source.get('path', '')}")


def _iscsi(writer: Writer, source: Tree) -> None:
    writer.line(
        2,
        "Type:\tISCSI (an ISCSI Disk resource that is attached to a kubelet's host machine and then exposed to the pod)",
    )
    writer.line(2, f"TargetPortal:\t{source.get('targetPortal', '')}")
    writer.line(2, f"IQN:\t{source.get('iqn', '')}")
    writer.line(2, f"Lun:\t{source.get('lun', 0)}")
    writer.line(2, f"ISCSIInterface\t{source.get('iscsiInterface', '')}")
    writer.line(2, f"FSType:\t{source.get('fsType', '')}")
    writer.line(2, f"ReadOnly:\t{_boolean(source.get('readOnly'))}")
    writer.line(2, f"Portals:\t[{' '.join(source.get('portals') or [])}]")
    writer.line(2, f"DiscoveryCHAPAuth:\t{_boolean(source.get('chapAuthDiscovery'))}")
    writer.line(2, f"SessionCHAPAuth:\t{_boolean(source.get('chapAuthSession'))}")
    secret = source.get("secretRef")
    shown = (
        f"&SecretReference{{Name:{secret.get('name', '')},Namespace:{secret.get('namespace', '')},}}"
        if secret
        else "nil"
    )
    writer.line(2, f"SecretRef:\t{shown}")
    writer.line(2, f"InitiatorName:\t{source.get('initiatorName', '<none>')}")


def _fibre_channel(writer: Writer, source: Tree) -> None:
    writer.line(2, "Type:\tFC (a Fibre Channel disk)")
    writer.line(2, f"TargetWWNs:\t{', '.join(source.get('targetWWNs') or [])}")
    writer.line(2, f"LUN:\t{source.get('lun', '<none>')}")
    writer.line(2, f"FSType:\t{source.get('fsType', '')}")
    writer.line(2, f"ReadOnly:\t{_boolean(source.get('readOnly'))}")


def _csi(writer: Writer, source: Tree) -> None:
    writer.line(2, "Type:\tCSI (a Container Storage Interface (CSI) volume source)")
    writer.line(2, f"Driver:\t{source.get('driver', '')}")
    writer.line(2, f"FSType:\t{source.get('fsType', '')}")
    if "volumeHandle" in source:
        writer.line(2, f"VolumeHandle:\t{source['volumeHandle']}")
    writer.line(2, f"ReadOnly:\t{_boolean(source.get('readOnly'))}")
    writer.write(2, "VolumeAttributes:\t")
    attributes = source.get("volumeAttributes") or {}
    if not attributes:
        writer.line(0, "<none>")
    for index, key in enumerate(sorted(attributes)):
        if index:
            writer.write(4, "\t")
        writer.line(2, f"{key}={attributes[key]}")


def _ephemeral(writer: Writer, source: Tree) -> None:
    from carob.cli.describers.claims import claim_lines

    writer.line(
        2,
        "Type:\tEphemeralVolume (an inline specification for a volume that gets created and deleted with the pod)",
    )
    if source.get("volumeClaimTemplate"):
        claim_lines(writer, source["volumeClaimTemplate"], level=2, whole=False)


def persistent_source(writer: Writer, spec: Tree) -> None:
    """Where a PersistentVolume's data are."""
    for kind in ("hostPath", "nfs", "iscsi", "local", "fc", "csi"):
        if spec.get(kind) is not None:
            _KINDS[kind](writer, spec[kind])
            return
    writer.line(1, "<unknown>")


_KINDS = {
    "hostPath": _host_path,
    "emptyDir": _empty_dir,
    "secret": _secret,
    "configMap": _config_map,
    "persistentVolumeClaim": _claim,
    "downwardAPI": _downward,
    "projected": _projected,
    "image": _image,
    "nfs": _nfs,
    "local": _local,
    "iscsi": _iscsi,
    "fc": _fibre_channel,
    "csi": _csi,
    "ephemeral": _ephemeral,
}
