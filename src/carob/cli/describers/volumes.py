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
    writer.line(2, f"HostPathType:\t{source.get('type', '')}")


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


_KINDS = {
    "hostPath": _host_path,
    "emptyDir": _empty_dir,
    "secret": _secret,
    "configMap": _config_map,
    "persistentVolumeClaim": _claim,
    "downwardAPI": _downward,
    "projected": _projected,
    "image": _image,
}
