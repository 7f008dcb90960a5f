"""`describe` of the small kinds: Namespace, ConfigMap, Secret, ServiceAccount."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

from carob.cli.describers import parts
from carob.cli.describers.writer import Writer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from carob.cli.describers.parts import Tree


def _head(writer: Writer, tree: Tree, *, namespaced: bool = True) -> None:
    writer.line(0, f"Name:\t{tree['metadata'].get('name')}")
    if namespaced:
        writer.line(0, f"Namespace:\t{tree['metadata'].get('namespace')}")
    parts.labels(writer, "Labels", tree["metadata"].get("labels"))
    parts.annotation_lines(writer, "Annotations", tree["metadata"].get("annotations"))


def describe_namespace(tree: Tree, events: Sequence[Tree] | None) -> str:
    """Name, labels, phase."""
    writer = Writer()
    _head(writer, tree, namespaced=False)
    writer.line(0, f"Status:\t{(tree.get('status') or {}).get('phase', '')}")
    conditions = (tree.get("status") or {}).get("conditions") or []
    if conditions:
        writer.line(0, "Conditions:\n  Type\tStatus\tLastTransitionTime\tReason\tMessage")
        writer.line(1, "----\t------\t------------------\t------\t-------")
        for c in conditions:
            time = parts.rfc1123(c["lastTransitionTime"]) if c.get("lastTransitionTime") else ""
            writer.line(1, f"{c.get('type')}\t{c.get('status')}\t{time}\t{c.get('reason', '')}\t{c.get('message', '')}")
    writer.line(0, "")
    writer.line(0, "No resource quota.")
    writer.line(0, "")
    writer.line(0, "No LimitRange resource.")
    return writer.text()


def describe_config_map(tree: Tree, events: Sequence[Tree] | None) -> str:
    """Every key with its value."""
    writer = Writer()
    _head(writer, tree)
    writer.line(0, "\nData\n====")
    for key in sorted(tree.get("data") or {}):
        writer.line(0, f"{key}:\n----\n{tree['data'][key]}\n")
    writer.line(0, "\nBinaryData\n====")
    for key in sorted(tree.get("binaryData") or {}):
        writer.line(0, f"{key}: {len(base64.b64decode(tree['binaryData'][key]))} bytes")
    writer.line(0, "")
    if events is not None:
        parts.events(writer, events)
    return writer.text()


def describe_secret(tree: Tree, events: Sequence[Tree] | None) -> str:
    """Every key with the size of its value, never the value."""
    writer = Writer()
    _head(writer, tree)
    writer.line(0, f"\nType:\t{tree.get('type', '')}")
    writer.line(0, "\nData\n====")
    for key in sorted(tree.get("data") or {}):
        raw = base64.b64decode(tree["data"][key])
        if tree.get("type") == "kubernetes.io/service-account-token" and key == "token":
            writer.line(0, f"{key}:\t{raw.decode()}")
        else:
            writer.line(0, f"{key}:\t{len(raw)} bytes")
    return writer.text()


def describe_service_account(tree: Tree, events: Sequence[Tree] | None) -> str:
    """What it may mount and pull with."""
    writer = Writer()
    _head(writer, tree)
    for field, title in (("imagePullSecrets", "Image pull secrets"), ("secrets", "Mountable secrets")):
        names = [s.get("name", "") for s in tree.get(field) or []]
        writer.line(0, f"{title}:\t" + ("\n\t".join(names) or "<none>"))
    writer.line(0, "Tokens:\t<none>")
    if events is not None:
        parts.events(writer, events)
    return writer.text()


SIMPLE = {
    ("", "Namespace"): describe_namespace,
    ("", "ConfigMap"): describe_config_map,
    ("", "Secret"): describe_secret,
    ("", "ServiceAccount"): describe_service_account,
}
