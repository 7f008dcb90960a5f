"""`describe pod`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from carob.cli.describers import parts
from carob.cli.describers.containers import containers
from carob.cli.describers.volumes import volumes
from carob.cli.describers.writer import Writer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from carob.cli.describers.parts import Tree


def describe_pod(pod: Tree, events: Sequence[Tree] | None) -> str:
    """The whole text; `events` None leaves that section out."""
    writer = Writer()
    _head(writer, pod)
    spec, status = pod.get("spec") or {}, pod.get("status") or {}
    for field, statuses, title in (
        ("initContainers", "initContainerStatuses", "Init Containers"),
        ("containers", "containerStatuses", "Containers"),
        ("ephemeralContainers", "ephemeralContainerStatuses", "Ephemeral Containers"),
    ):
        if spec.get(field) or field == "containers":
            containers(writer, title, spec.get(field) or [], status.get(statuses), pod)
    _conditions(writer, spec, status)
    volumes(writer, spec.get("volumes"))
    writer.line(0, f"QoS Class:\t{status.get('qosClass', '')}")
    parts.labels(writer, "Node-Selectors", spec.get("nodeSelector"))
    parts.tolerations(writer, "Tolerations", spec.get("tolerations"))
    parts.spread_constraints(writer, "Topology Spread Constraints", spec.get("topologySpreadConstraints") or [])
    if events is not None:
        parts.events(writer, events)
    return writer.text()


def _head(writer: Writer, pod: Tree) -> None:
    metadata, spec, status = pod["metadata"], pod.get("spec") or {}, pod.get("status") or {}
    writer.line(0, f"Name:\t{metadata.get('name')}")
    writer.line(0, f"Namespace:\t{metadata.get('namespace')}")
    if spec.get("priority") is not None:
        writer.line(0, f"Priority:\t{spec['priority']}")
    for field, title in (
        ("priorityClassName", "Priority Class Name"),
        ("runtimeClassName", "Runtime Class Name"),
        ("serviceAccountName", "Service Account"),
    ):
        if spec.get(field):
            writer.line(0, f"{title}:\t{spec[field]}")
    node = spec.get("nodeName")
    writer.line(0, f"Node:\t{node}/{status.get('hostIP', '')}" if node else "Node:\t<none>")
    if status.get("startTime"):
        writer.line(0, f"Start Time:\t{parts.rfc1123(status['startTime'])}")
    parts.marks(writer, metadata)
    if metadata.get("deletionTimestamp") and status.get("phase") not in ("Failed", "Succeeded"):
        writer.line(0, f"Status:\tTerminating (lasts {parts.since(metadata['deletionTimestamp'])})")
        writer.line(0, f"Termination Grace Period:\t{metadata.get('deletionGracePeriodSeconds', 0)}s")
    else:
        writer.line(0, f"Status:\t{status.get('phase', '')}")
    for field, title in (("reason", "Reason"), ("message", "Message")):
        if status.get(field):
            writer.line(0, f"{title}:\t{status[field]}")
    seccomp = (spec.get("securityContext") or {}).get("seccompProfile")
    if seccomp:
        writer.line(0, f"SeccompProfile:\t{seccomp.get('type')}")
        if seccomp.get("type") == "Localhost":
            writer.line(0, f"LocalhostProfile:\t{seccomp.get('localhostProfile', '')}")
    writer.line(0, f"IP:\t{status.get('podIP', '')}")
    addresses = status.get("podIPs") or []
    writer.line(0, "IPs:" if addresses else "IPs:\t<none>")
    for address in addresses:
        writer.line(1, f"IP:\t{address.get('ip')}")
    owner = parts.controlled_by(pod)
    if owner:
        writer.line(0, f"Controlled By:\t{owner}")
    if status.get("nominatedNodeName"):
        writer.line(0, f"NominatedNodeName:\t{status['nominatedNodeName']}")
    if spec.get("resources"):
        writer.line(0, "Resources:")
        parts.resource_list(writer, "Limits", spec["resources"].get("limits"), 1)
        parts.resource_list(writer, "Requests", spec["resources"].get("requests"), 1)


def _conditions(writer: Writer, spec: Tree, status: Tree) -> None:
    conditions = status.get("conditions") or []
    gates = spec.get("readinessGates") or []
    if gates:
        by_type = {c.get("type"): c.get("status") for c in conditions}
        writer.line(0, "Readiness Gates:\n  Type\tStatus")
        for gate in gates:
            writer.line(1, f"{gate.get('conditionType')} \t{by_type.get(gate.get('conditionType'), '<none>')} ")
    if conditions:
        writer.line(0, "Conditions:\n  Type\tStatus")
        for condition in conditions:
            writer.line(1, f"{condition.get('type')} \t{condition.get('status')} ")
