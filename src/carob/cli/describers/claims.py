"""What is said of a PersistentVolumeClaim, whole or as the template of an ephemeral volume."""

from __future__ import annotations

from typing import TYPE_CHECKING

from carob.cli.describers import parts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from carob.cli.describers.parts import Tree
    from carob.cli.describers.writer import Writer

ACCESS_MODES = {
    "ReadWriteOnce": "RWO",
    "ReadOnlyMany": "ROX",
    "ReadWriteMany": "RWX",
    "ReadWriteOncePod": "RWOP",
}


def access_modes(modes: Sequence[str] | None) -> str:
    """`RWO,ROX`, in upstream's order."""
    return ",".join(short for mode, short in ACCESS_MODES.items() if mode in (modes or []))


def finalizers(tree: Tree) -> str:
    """`[a b]`, as Go prints a list."""
    return f"[{' '.join(tree['metadata'].get('finalizers') or [])}]"


def claim_lines(writer: Writer, tree: Tree, *, level: int, whole: bool) -> None:
    """A claim; of a template (`whole` false) only what it can have.

    Differs: labels and annotations of a template are not indented, which is kubectl's own doing too.
    """
    metadata, spec = tree.get("metadata") or {}, tree.get("spec") or {}
    if whole:
        writer.line(level, f"Name:\t{metadata.get('name')}")
        writer.line(level, f"Namespace:\t{metadata.get('namespace')}")
    writer.line(level, f"StorageClass:\t{parts.storage_class(tree)}")
    if whole:
        writer.line(level, f"Status:\t{parts.phase_or_leaving(tree)}")
    writer.line(level, f"Volume:\t{spec.get('volumeName', '')}")
    parts.labels(writer, "  " * level + "Labels", metadata.get("labels"))
    parts.annotation_lines(writer, "  " * level + "Annotations", metadata.get("annotations"))
    if whole:
        writer.line(level, f"Finalizers:\t{finalizers(tree)}")
    capacity = modes = ""
    if spec.get("volumeName"):
        status = tree.get("status") or {}
        modes = access_modes(status.get("accessModes"))
        capacity = (status.get("capacity") or {}).get("storage", "0")
    writer.line(level, f"Capacity:\t{capacity}")
    writer.line(level, f"Access Modes:\t{modes}")
    if spec.get("volumeMode"):
        writer.line(level, f"VolumeMode:\t{spec['volumeMode']}")
    source = spec.get("dataSource")
    if source:
        writer.line(level, "DataSource:")
        if source.get("apiGroup") is not None:
            writer.line(level + 1, f"APIGroup:\t{source['apiGroup']}")
        writer.line(level + 1, f"Kind:\t{source.get('kind', '')}")
        writer.line(level + 1, f"Name:\t{source.get('name', '')}")
