"""`describe` of storage: PersistentVolume, PersistentVolumeClaim, StorageClass, VolumeAttributesClass, CSINode.

Source: kubectl pkg/describe/describe.go.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from carob.cli.describers import parts
from carob.cli.describers.claims import access_modes, claim_lines, finalizers
from carob.cli.describers.volumes import persistent_source
from carob.cli.describers.writer import Writer
from carob.cli.printers.table import format_labels

if TYPE_CHECKING:
    from collections.abc import Sequence

    from carob.cli.describers.parts import Tree

DEFAULT_CLASS = ("storageclass.kubernetes.io/is-default-class", "storageclass.beta.kubernetes.io/is-default-class")


def describe_volume(tree: Tree, events: Sequence[Tree] | None) -> str:
    """The whole text about a PersistentVolume."""
    writer = Writer()
    metadata, spec, status = tree["metadata"], tree.get("spec") or {}, tree.get("status") or {}
    parts.head(writer, metadata, namespaced=False)
    writer.line(0, f"Finalizers:\t{finalizers(tree)}")
    writer.line(0, f"StorageClass:\t{parts.storage_class(tree)}")
    writer.line(0, f"Status:\t{parts.phase_or_leaving(tree)}")
    claim = spec.get("claimRef")
    writer.line(0, "Claim:\t" + (f"{claim.get('namespace', '')}/{claim.get('name', '')}" if claim else ""))
    writer.line(0, f"Reclaim Policy:\t{spec.get('persistentVolumeReclaimPolicy', '')}")
    writer.line(0, f"Access Modes:\t{access_modes(spec.get('accessModes'))}")
    if spec.get("volumeMode"):
        writer.line(0, f"VolumeMode:\t{spec['volumeMode']}")
    writer.line(0, f"Capacity:\t{(spec.get('capacity') or {}).get('storage', '0')}")
    _node_affinity(writer, (spec.get("nodeAffinity") or {}).get("required"))
    writer.line(0, f"Message:\t{status.get('message', '')}")
    writer.line(0, "Source:")
    persistent_source(writer, spec)
    if events is not None:
        parts.events(writer, events)
    return writer.text()


def _node_affinity(writer: Writer, required: Tree | None) -> None:
    if required is None:
        writer.line(0, "Node Affinity:\t<none>")
        return
    writer.line(0, "Node Affinity:\t")
    terms = required.get("nodeSelectorTerms") or []
    writer.line(1, "Required Terms:\t" + ("" if terms else "<none>"))
    for number, term in enumerate(terms):
        texts = []
        for one in term.get("matchExpressions") or []:
            text = f"{one.get('key')} {one.get('operator', '').lower()}"
            texts.append(f"{text} [{', '.join(one['values'])}]" if one.get("values") else text)
        _term(writer, 2, number, texts)


def _term(writer: Writer, level: int, number: int, texts: Sequence[str]) -> None:
    writer.write(level, f"Term {number}:\t")
    if not texts:
        writer.line(0, "<none>")
    for index, text in enumerate(texts):
        if index:
            writer.write(level, "\t")
        writer.line(0, text)


def describe_claim(tree: Tree, pods: Sequence[Tree], events: Sequence[Tree] | None) -> str:
    """The whole text about a PersistentVolumeClaim; `pods` are those of its namespace."""
    writer = Writer()
    claim_lines(writer, tree, level=0, whole=True)
    parts.names(writer, "Used By", _users(tree, pods))
    conditions = (tree.get("status") or {}).get("conditions") or []
    if conditions:
        writer.line(0, "Conditions:")
        writer.line(1, "Type\tStatus\tLastProbeTime\tLastTransitionTime\tReason\tMessage")
        writer.line(1, "----\t------\t-----------------\t------------------\t------\t-------")
        for c in conditions:
            times = [parts.rfc1123_or_zero(c.get(field)) for field in ("lastProbeTime", "lastTransitionTime")]
            cells = [c.get("type", ""), c.get("status", ""), *times, c.get("reason", ""), c.get("message", "")]
            writer.line(1, " \t".join(str(cell) for cell in cells))
    if events is not None:
        parts.events(writer, events)
    return writer.text()


def _users(tree: Tree, pods: Sequence[Tree]) -> list[str]:
    """Those that name it, and those that own it because it was made for them."""
    name = tree["metadata"].get("name")
    owners = {o.get("uid") for o in tree["metadata"].get("ownerReferences") or [] if o.get("kind") == "Pod"}
    found: list[str] = []
    for pod in pods:
        claims = [v.get("persistentVolumeClaim") or {} for v in (pod.get("spec") or {}).get("volumes") or []]
        found += [pod["metadata"]["name"] for claim in claims if claim.get("claimName") == name]
    for pod in pods:
        if pod["metadata"].get("uid") in owners and pod["metadata"]["name"] not in found:
            found.append(pod["metadata"]["name"])
    return found


def describe_storage_class(tree: Tree, events: Sequence[Tree] | None) -> str:
    """The whole text about a StorageClass."""
    writer = Writer()
    annotations = tree["metadata"].get("annotations") or {}
    writer.line(0, f"Name:\t{tree['metadata'].get('name')}")
    default = any(annotations.get(name) == "true" for name in DEFAULT_CLASS)
    writer.line(0, f"IsDefaultClass:\t{'Yes' if default else 'No'}")
    writer.line(0, f"Annotations:\t{format_labels(annotations)}")
    writer.line(0, f"Provisioner:\t{tree.get('provisioner', '')}")
    writer.line(0, f"Parameters:\t{format_labels(tree.get('parameters') or {})}")
    expands = tree.get("allowVolumeExpansion")
    writer.line(0, f"AllowVolumeExpansion:\t{'<unset>' if expands is None else expands}")
    options = tree.get("mountOptions") or []
    writer.line(0, "MountOptions:" if options else "MountOptions:\t<none>")
    for option in options:
        writer.line(1, option)
    for field, title in (("reclaimPolicy", "ReclaimPolicy"), ("volumeBindingMode", "VolumeBindingMode")):
        if tree.get(field):
            writer.line(0, f"{title}:\t{tree[field]}")
    if tree.get("allowedTopologies"):
        writer.line(0, "AllowedTopologies:\t")
        for number, term in enumerate(tree["allowedTopologies"]):
            texts = [
                f"{one.get('key')} in [{', '.join(one.get('values') or [])}]"
                for one in term.get("matchLabelExpressions") or []
            ]
            _term(writer, 1, number, texts)
    if events is not None:
        parts.events(writer, events)
    return writer.text()


def describe_attributes_class(tree: Tree, events: Sequence[Tree] | None) -> str:
    """The whole text about a VolumeAttributesClass."""
    writer = Writer()
    writer.line(0, f"Name:\t{tree['metadata'].get('name')}")
    writer.line(0, f"Annotations:\t{format_labels(tree['metadata'].get('annotations') or {})}")
    writer.line(0, f"DriverName:\t{tree.get('driverName', '')}")
    writer.line(0, f"Parameters:\t{format_labels(tree.get('parameters') or {})}")
    if events is not None:
        parts.events(writer, events)
    return writer.text()


def describe_csi_node(tree: Tree, events: Sequence[Tree] | None) -> str:
    """The whole text about a CSINode."""
    writer = Writer()
    metadata = tree["metadata"]
    parts.head(writer, metadata, namespaced=False)
    writer.line(0, f"CreationTimestamp:\t{parts.rfc1123(metadata['creationTimestamp'])}")
    writer.line(0, "Spec:")
    drivers = (tree.get("spec") or {}).get("drivers")
    if drivers is not None:
        writer.line(1, "Drivers:")
    for driver in drivers or []:
        writer.line(2, f"{driver.get('name')}:")
        writer.line(3, f"Node ID:\t{driver.get('nodeID', '')}")
        count = (driver.get("allocatable") or {}).get("count")
        if count is not None:
            writer.line(3, "Allocatables:")
            writer.line(4, f"Count:\t{count}")
        if driver.get("topologyKeys") is not None:
            writer.line(3, f"Topology Keys:\t[{' '.join(driver['topologyKeys'])}]")
    if events is not None:
        parts.events(writer, events)
    return writer.text()
