"""`describe node`: conditions, capacity, and what the Pods on it ask for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from carob.api import quantity
from carob.cli.describers import parts
from carob.cli.describers.writer import Writer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from carob.cli.describers.parts import Tree

ROLE_PREFIX = "node-role.kubernetes.io/"


def describe_node(node: Tree, pods: Sequence[Tree], lease: Tree | None, events: Sequence[Tree] | None) -> str:
    """The whole text; `pods` are those on the node that have not ended."""
    writer = Writer()
    metadata, spec, status = node["metadata"], node.get("spec") or {}, node.get("status") or {}
    labels = metadata.get("labels") or {}
    roles = sorted(k.removeprefix(ROLE_PREFIX) for k in labels if k.startswith(ROLE_PREFIX))
    writer.line(0, f"Name:\t{metadata.get('name')}")
    writer.line(0, f"Roles:\t{','.join(roles) or '<none>'}")
    parts.labels(writer, "Labels", labels)
    parts.annotation_lines(writer, "Annotations", metadata.get("annotations"))
    writer.line(0, f"CreationTimestamp:\t{parts.rfc1123(metadata['creationTimestamp'])}")
    parts.taints(writer, spec.get("taints"))
    writer.line(0, f"Unschedulable:\t{'true' if spec.get('unschedulable') else 'false'}")
    _lease(writer, lease)
    _conditions(writer, status.get("conditions") or [])
    _addresses(writer, status)
    _node_info(writer, status.get("nodeInfo") or {})
    if spec.get("podCIDR"):
        writer.line(0, f"PodCIDR:\t{spec['podCIDR']}")
    if spec.get("podCIDRs"):
        writer.line(0, f"PodCIDRs:\t{','.join(spec['podCIDRs'])}")
    if spec.get("providerID"):
        writer.line(0, f"ProviderID:\t{spec['providerID']}")
    _pods(writer, pods, status)
    if events is not None:
        parts.events(writer, events)
    return writer.text()


def _lease(writer: Writer, lease: Tree | None) -> None:
    spec = (lease or {}).get("spec") or {}
    writer.line(0, "Lease:")
    writer.line(1, f"HolderIdentity:\t{spec.get('holderIdentity') or '<unset>'}")
    for field, title in (("acquireTime", "AcquireTime"), ("renewTime", "RenewTime")):
        writer.line(1, f"{title}:\t{parts.rfc1123(spec[field]) if spec.get(field) else '<unset>'}")


def _conditions(writer: Writer, conditions: Sequence[Tree]) -> None:
    if not conditions:
        return
    writer.line(0, "Conditions:\n  Type\tStatus\tLastHeartbeatTime\tLastTransitionTime\tReason\tMessage")
    writer.line(1, "----\t------\t-----------------\t------------------\t------\t-------")
    for c in conditions:
        heartbeat, transition = (
            parts.rfc1123(c[field]) if c.get(field) else "Mon, 01 Jan 0001 00:00:00 +0000"
            for field in ("lastHeartbeatTime", "lastTransitionTime")
        )
        cells = (c.get("type"), c.get("status"), heartbeat, transition, c.get("reason", ""), c.get("message", ""))
        writer.line(1, " \t".join(str(cell) for cell in cells))


def _addresses(writer: Writer, status: Tree) -> None:
    writer.line(0, "Addresses:")
    for address in status.get("addresses") or []:
        writer.line(1, f"{address.get('type')}:\t{address.get('address')}")
    for field, title in (("capacity", "Capacity"), ("allocatable", "Allocatable")):
        parts.resource_list(writer, title, status.get(field), 0)


def _node_info(writer: Writer, info: Tree) -> None:
    writer.line(0, "System Info:")
    for field, title in (
        ("machineID", "Machine ID"),
        ("systemUUID", "System UUID"),
        ("bootID", "Boot ID"),
        ("kernelVersion", "Kernel Version"),
        ("osImage", "OS Image"),
        ("operatingSystem", "Operating System"),
        ("architecture", "Architecture"),
        ("containerRuntimeVersion", "Container Runtime Version"),
        ("kubeletVersion", "Kubelet Version"),
        ("kubeProxyVersion", "Kube-Proxy Version"),
    ):
        if field != "kubeProxyVersion" or info.get(field):
            writer.line(1, f"{title}:\t{info.get(field, '')}")


def _pods(writer: Writer, pods: Sequence[Tree], status: Tree) -> None:
    """The two tables: what each Pod asks for, and the sums."""
    allocatable = status.get("allocatable") or status.get("capacity") or {}
    cpu_all = quantity.cpu_millicores(allocatable.get("cpu", "0"))
    memory_all = quantity.memory_bytes(allocatable.get("memory", "0"))
    writer.line(0, f"Non-terminated Pods:\t({len(pods)} in total)")
    writer.line(1, "Namespace\tName\t\tCPU Requests\tCPU Limits\tMemory Requests\tMemory Limits\tAge")
    writer.line(1, "---------\t----\t\t------------\t----------\t---------------\t-------------\t---")
    sums = {(kind, name): 0 for kind in ("requests", "limits") for name in ("cpu", "memory")}
    for pod in sorted(pods, key=lambda p: (p["metadata"].get("namespace", ""), p["metadata"].get("name", ""))):
        asked = pod_resources(pod)
        for key in sums:
            sums[key] += asked[key]
        cells = [pod["metadata"].get("namespace", ""), pod["metadata"].get("name", ""), ""]
        cells += [_share(_cpu(asked[kind, "cpu"]), asked[kind, "cpu"], cpu_all) for kind in ("requests", "limits")]
        cells += [
            _share(_memory(asked[kind, "memory"]), asked[kind, "memory"], memory_all) for kind in ("requests", "limits")
        ]
        cells.append(parts.since(pod["metadata"].get("creationTimestamp")))
        writer.line(1, "\t".join(cells))
    writer.line(0, "Allocated resources:\n  (Total limits may be over 100 percent, i.e., overcommitted.)")
    writer.line(1, "Resource\tRequests\tLimits")
    writer.line(1, "--------\t--------\t------")
    for name, show, whole in (("cpu", _cpu, cpu_all), ("memory", _memory, memory_all)):
        requests, limits = sums["requests", name], sums["limits", name]
        writer.line(1, f"{name}\t{_share(show(requests), requests, whole)}\t{_share(show(limits), limits, whole)}")
    for name in sorted(allocatable):
        if name == "ephemeral-storage" or name.startswith("hugepages-"):
            whole = quantity.memory_bytes(allocatable[name])
            amounts = [sum(pod_amount(pod, kind, name) for pod in pods) for kind in ("requests", "limits")]
            writer.line(1, f"{name}\t" + "\t".join(_share(_memory(a), a, whole) for a in amounts))


def pod_resources(pod: Tree) -> dict[tuple[str, str], int]:
    """What a Pod asks for and may use: millicores and bytes by (requests|limits, cpu|memory)."""
    return {(kind, name): pod_amount(pod, kind, name) for kind in ("requests", "limits") for name in ("cpu", "memory")}


def pod_amount(pod: Tree, kind: str, name: str) -> int:
    """One of them, of any resource.

    Source: kubectl PodRequestsAndLimits: the sum of the containers, at least the largest init container, plus overhead.
    """
    parse = quantity.cpu_millicores if name == "cpu" else quantity.memory_bytes
    spec = pod.get("spec") or {}

    def of(container: Tree) -> int:
        value = ((container.get("resources") or {}).get(kind) or {}).get(name)
        return int(parse(value)) if value is not None else 0

    running = sum(of(c) for c in spec.get("containers") or [])
    peak = sidecars = 0
    for container in spec.get("initContainers") or []:
        if container.get("restartPolicy") == "Always":
            sidecars += of(container)
            peak = max(peak, sidecars)
        else:
            peak = max(peak, sidecars + of(container))
    overhead = (spec.get("overhead") or {}).get(name)
    return max(running + sidecars, peak) + (int(parse(overhead)) if overhead else 0)


def _share(text: str, part: int, whole: int) -> str:
    return f"{text} ({part * 100 // whole if whole else 0}%)"


def _cpu(millicores: int) -> str:
    return str(quantity.canonical(f"{millicores}m"))


def _memory(amount: int) -> str:
    for unit, size in (("Gi", 1 << 30), ("Mi", 1 << 20), ("Ki", 1 << 10)):
        if amount and amount % size == 0:
            return f"{amount // size}{unit}"
    return str(amount)
