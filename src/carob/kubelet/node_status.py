"""The Node object as a function of the machine. Pure.

Source: kubelet `nodestatus/setters.go`, `kubelet_node_status.go`, `eviction/defaults_linux.go`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from carob.api.quantity import from_bytes, from_millicores
from carob.api.scalars import Quantity
from carob.api.types import core_v1, meta_v1
from carob.kubelet.eviction.thresholds import MEMORY, NODE_DISK, Threshold
from carob.kubelet.resources import GroupFacts

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from carob.kubelet.machine import Machine, Usage
    from carob.kubelet.options import KubeletOptions
    from carob.runtime.types import Image, RuntimeStatus

MAX_IMAGES = 50
MAX_NAMES_PER_IMAGE = 5


def node_object(options: KubeletOptions, machine: Machine) -> core_v1.Node:
    """The Node as it is registered."""
    names = {
        "beta.kubernetes.io/arch": machine.architecture,
        "beta.kubernetes.io/os": "linux",
        "kubernetes.io/arch": machine.architecture,
        "kubernetes.io/hostname": options.node_name,
        "kubernetes.io/os": "linux",
    }
    return core_v1.Node(
        metadata=meta_v1.ObjectMeta(
            name=options.node_name,
            labels={**names, **options.labels},
            annotations={"volumes.kubernetes.io/controller-managed-attach-detach": "true", **options.annotations},
        ),
        spec=core_v1.NodeSpec(
            pod_cidr=options.pod_cidr,
            pod_cidrs=[text for text in (options.pod_cidr, options.pod_cidr6) if text],
            taints=[_taint(text) for text in options.taints],
        ),
    )


def addresses(options: KubeletOptions) -> list[core_v1.NodeAddress]:
    """Where the node is found."""
    inner = [core_v1.NodeAddress(type="InternalIP", address=address) for address in options.node_ips]
    return [*inner, core_v1.NodeAddress(type="Hostname", address=options.node_name)]


def replacing_addresses(status: dict[str, Any]) -> dict[str, Any]:
    """The status as a patch: addresses are merged by their type, so two of one type must replace all there are.

    Source: `fixupPatchForNodeStatusAddresses`.
    """
    found = status.get("addresses", [])
    if len({one["type"] for one in found}) == len(found):
        return status
    return status | {"addresses": [*found, {"$patch": "replace"}]}


def _taint(text: str) -> core_v1.Taint:
    rest, _, effect = text.rpartition(":")
    key, _, value = rest.partition("=")
    return core_v1.Taint(key=key, value=value, effect=effect)


def own_cpu_millicores(options: KubeletOptions, machine: Machine) -> int:
    """What of the machine's processors is the node's: never more than there are."""
    return min(options.cpu_millicores or machine.cpus * 1000, machine.cpus * 1000)


def own_memory_bytes(options: KubeletOptions, machine: Machine) -> int:
    """As `own_cpu_millicores`."""
    return min(options.memory_bytes or machine.memory_bytes, machine.memory_bytes)


def capacity(options: KubeletOptions, machine: Machine, usage: Usage) -> dict[str, Quantity]:
    """All that the node has of the machine."""
    return {
        "cpu": from_millicores(own_cpu_millicores(options, machine)),
        "ephemeral-storage": Quantity(f"{usage.disk_capacity_bytes >> 10}Ki"),
        **{name: from_bytes(size) for name, size in machine.hugepages.items()},
        "memory": Quantity(f"{own_memory_bytes(options, machine) >> 10}Ki"),
        "pods": Quantity(str(most_pods(options, machine))),
    }


def group_facts(options: KubeletOptions, machine: Machine) -> GroupFacts:
    """What decides over the limits of containers: all of one ends when its memory runs out, unless v1 knows no such thing."""
    single = options.single_process_oom_kill
    return GroupFacts(
        memory_bytes=machine.memory_bytes,
        cgroup2=machine.cgroup2,
        swap_limits=machine.swap_limits,
        page_sizes=tuple(name.removeprefix("hugepages-") for name in machine.hugepages),
        single_process_oom_kill=not machine.cgroup2 if single is None else single,
    )


def most_pods(options: KubeletOptions, machine: Machine) -> int:
    """How many Pods the node takes."""
    if options.pods_per_core:
        return min(options.max_pods, options.pods_per_core * -(-own_cpu_millicores(options, machine) // 1000))
    return options.max_pods


def allocatable(options: KubeletOptions, machine: Machine, usage: Usage) -> dict[str, Quantity]:
    """What Pods may ask for: the capacity without reserves and eviction thresholds."""
    memory = own_memory_bytes(options, machine)
    memory -= reserved_memory_bytes(options) + _kept(options, MEMORY, memory)
    memory -= sum(machine.hugepages.values())
    out = capacity(options, machine, usage)
    out["cpu"] = from_millicores(max(0, own_cpu_millicores(options, machine) - reserved_cpu_millicores(options)))
    out["memory"] = Quantity(f"{max(0, memory) >> 10}Ki")
    disk = usage.disk_capacity_bytes - _kept(options, NODE_DISK, usage.disk_capacity_bytes)
    disk -= options.system_reserved_disk_bytes + options.kube_reserved_disk_bytes
    out["ephemeral-storage"] = Quantity(str(max(0, disk)))
    return out


def reserved_memory_bytes(options: KubeletOptions) -> int:
    """What is kept for the system and for us."""
    return options.system_reserved_memory_bytes + options.kube_reserved_memory_bytes


def reserved_cpu_millicores(options: KubeletOptions) -> int:
    """As `reserved_memory_bytes`."""
    return options.system_reserved_cpu_millicores + options.kube_reserved_cpu_millicores


def _kept(options: KubeletOptions, signal: str, capacity: int) -> int:
    """What the hard eviction threshold keeps free."""
    value = options.eviction_hard.get(signal)
    return Threshold(signal, value).amount(capacity) if value else 0


def conditions(pressures: Collection[str], not_ready: str) -> list[tuple[str, bool, str, str]]:
    """Type, holds, reason, message of each condition, in upstream's order; `not_ready` is empty when all is well."""
    return [
        _pressure(
            "MemoryPressure",
            "MemoryPressure" in pressures,
            "KubeletHasInsufficientMemory",
            "kubelet has insufficient memory available",
            "KubeletHasSufficientMemory",
            "kubelet has sufficient memory available",
        ),
        _pressure(
            "DiskPressure",
            "DiskPressure" in pressures,
            "KubeletHasDiskPressure",
            "kubelet has disk pressure",
            "KubeletHasNoDiskPressure",
            "kubelet has no disk pressure",
        ),
        _pressure(
            "PIDPressure",
            "PIDPressure" in pressures,
            "KubeletHasInsufficientPID",
            "kubelet has insufficient PID available",
            "KubeletHasSufficientPID",
            "kubelet has sufficient PID available",
        ),
        (
            "Ready",
            not not_ready,
            "KubeletNotReady" if not_ready else "KubeletReady",
            not_ready or "kubelet is posting ready status",
        ),
    ]


def _pressure(kind: str, holds: bool, bad: str, bad_text: str, good: str, good_text: str) -> tuple[str, bool, str, str]:
    return (kind, True, bad, bad_text) if holds else (kind, False, good, good_text)


def merged_conditions(
    old: Iterable[core_v1.NodeCondition], new: Iterable[tuple[str, bool, str, str]], now: str
) -> list[core_v1.NodeCondition]:
    """The new conditions with heartbeat and transition times; conditions of others stay as they are."""
    before = {condition.type: condition for condition in old}
    out = [condition for kind, condition in before.items() if kind not in {entry[0] for entry in new}]
    for kind, holds, reason, message in new:
        text = "True" if holds else "False"
        last = before.get(kind)
        out.append(
            core_v1.NodeCondition(
                type=kind,
                status=text,
                last_heartbeat_time=now,
                last_transition_time=last.last_transition_time if last is not None and last.status == text else now,
                reason=reason,
                message=message,
            )
        )
    return out


def node_info(machine: Machine, runtime: tuple[str, str], version: str) -> core_v1.NodeSystemInfo:
    """Names and versions."""
    return core_v1.NodeSystemInfo(
        machine_id=machine.machine_id,
        system_uuid=machine.system_uuid,
        boot_id=machine.boot_id,
        kernel_version=machine.kernel,
        os_image=machine.os_image,
        container_runtime_version=f"{runtime[0]}://{runtime[1]}",
        kubelet_version=version,
        kube_proxy_version="",
        operating_system="linux",
        architecture=machine.architecture,
        swap=core_v1.NodeSwapStatus(capacity=machine.swap_bytes) if machine.swap_bytes else None,
    )


def features(machine: Machine, runtime: RuntimeStatus) -> tuple[core_v1.NodeFeatures, list[core_v1.NodeRuntimeHandler]]:
    """What the runtime can, and by which names it is asked for it."""
    handlers = [
        core_v1.NodeRuntimeHandler(
            name=handler.name,
            features=core_v1.NodeRuntimeHandlerFeatures(
                recursive_read_only_mounts=handler.recursive_readonly_mounts,
                user_namespaces=handler.user_namespaces and machine.user_namespaces,
            ),
        )
        for handler in runtime.handlers
    ]
    return core_v1.NodeFeatures(supplemental_groups_policy=runtime.supplemental_groups_policy), handlers


def runtime_problem(runtime: RuntimeStatus | None) -> str:
    """Why no Pod can run; None: the runtime does not answer. Source: kubelet `runtimeState.runtimeErrors`, its words."""
    if runtime is None:
        return "container runtime is down"
    problems = []
    if runtime.runtime_problem:
        problems.append(f"container runtime not ready: {runtime.runtime_problem}")
    if runtime.network_problem:
        problems.append(f"container runtime network not ready: {runtime.network_problem}")
    return ", ".join(problems) if len(problems) < 2 else f"[{', '.join(problems)}]"


def image_list(images: Iterable[Image]) -> list[core_v1.ContainerImage]:
    """The largest images, at most fifty, with at most five names each."""
    ordered = sorted(images, key=lambda image: image.size_bytes, reverse=True)[:MAX_IMAGES]
    return [
        core_v1.ContainerImage(names=[*image.digests, *image.tags][:MAX_NAMES_PER_IMAGE], size_bytes=image.size_bytes)
        for image in ordered
    ]
