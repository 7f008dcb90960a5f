"""The Node and the lease of a simulated node.

Pure.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from carob.simulated.options import SimulatedOptions

CAPACITY = {"cpu": "32", "memory": "256Gi", "ephemeral-storage": "1Ti", "pods": "110"}
LEASE_NAMESPACE = "kube-node-lease"
LEASE_SECONDS = 40
LABEL = "simulated.carob.dev/node"
MAX_NODES = 16_000
"""As many as have a range of addresses of their own below."""


def node_tree(number: int, options: SimulatedOptions, now: str) -> dict[str, Any]:
    """The Node of this number, ready."""
    name = options.name(number)
    labels = {
        "kubernetes.io/hostname": name,
        "kubernetes.io/os": "linux",
        "kubernetes.io/arch": "amd64",
        "beta.kubernetes.io/os": "linux",
        "beta.kubernetes.io/arch": "amd64",
        LABEL: "true",
    }
    if options.zones > 0:
        zone = number % options.zones
        labels["topology.kubernetes.io/region"] = "simulated"
        labels["topology.kubernetes.io/zone"] = f"zone-{zone}"
    amounts = CAPACITY | options.capacity
    return {
        "metadata": {"name": name, "labels": labels | options.labels},
        "spec": {"taints": options.taints} if options.taints else {},
        "status": {
            "capacity": amounts,
            "allocatable": amounts,
            "addresses": [
                {"type": "InternalIP", "address": host_address(number)},
                {"type": "Hostname", "address": name},
            ],
            "conditions": conditions(True, now),
            "nodeInfo": {
                "machineID": "",
                "systemUUID": "",
                "bootID": "",
                "kernelVersion": "",
                "osImage": "simulated",
                "containerRuntimeVersion": "simulated://1",
                "kubeletVersion": "v1.36.0",
                "kubeProxyVersion": "",
                "operatingSystem": "linux",
                "architecture": "amd64",
            },
        },
    }


def conditions(ready: bool, now: str) -> list[dict[str, Any]]:
    """A node's conditions. Source: kubelet `nodestatus/setters.go`."""
    quiet = (
        ("MemoryPressure", "KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
        ("DiskPressure", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
        ("PIDPressure", "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
    )
    found = [_condition(kind, "False", reason, message, now) for kind, reason, message in quiet]
    if ready:
        return [*found, _condition("Ready", "True", "KubeletReady", "kubelet is posting ready status", now)]
    return [*found, _condition("Ready", "False", "KubeletNotReady", "simulated: made not ready", now)]


def _condition(kind: str, status: str, reason: str, message: str, now: str) -> dict[str, Any]:
    return {
        "type": kind,
        "status": status,
        "reason": reason,
        "message": message,
        "lastHeartbeatTime": now,
        "lastTransitionTime": now,
    }


def lease_tree(name: str, now_micro: str) -> dict[str, Any]:
    """The lease that says that the node lives."""
    return {
        "metadata": {"name": name, "namespace": LEASE_NAMESPACE},
        "spec": {"holderIdentity": name, "leaseDurationSeconds": LEASE_SECONDS, "renewTime": now_micro},
    }


def host_address(number: int) -> str:
    """The n-th node's address, which nobody can reach: 100.64.0.0/10 is nobody's. Source: RFC 6598."""
    return _address(number, 1)


def pod_address(number: int, slot: int) -> str:
    """The address of the n-th node's Pod in this slot; after 250 Pods they begin anew."""
    return _address(number, 2 + slot % 250)


def _address(number: int, last: int) -> str:
    return f"100.{64 + (number >> 8) % 64}.{number & 255}.{last}"
