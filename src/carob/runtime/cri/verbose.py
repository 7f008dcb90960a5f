"""What a runtime tells beyond the CRI's own fields when it is asked for more: process ids, namespaces, limits. Pure.

Source: containerd `pkg/cri/server` (ContainerInfo, SandboxInfo): JSON under the key `info`. Others tell other things,
or nothing: then nothing is known.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from carob.runtime.cri.sandbox_messages import LinuxContainerResources
from carob.runtime.types import LinuxUser


def told(info: Mapping[str, str]) -> dict[str, Any]:
    """The tree; empty where it is none."""
    try:
        tree = msgspec.json.decode(info.get("info") or "{}")
    except msgspec.DecodeError:
        return {}
    return tree if isinstance(tree, dict) else {}


def pid(tree: Mapping[str, Any]) -> int:
    """Of the first process; 0 where it is not known or has ended."""
    found = tree.get("pid")
    return found if isinstance(found, int) else 0


def netns_path(tree: Mapping[str, Any]) -> str:
    """The network namespace's file; empty where it is not known."""
    if isinstance(tree.get("netNamespacePath"), str):
        return str(tree["netNamespacePath"])
    for namespace in _below(tree, "runtimeSpec", "linux").get("namespaces") or []:
        if namespace.get("type") == "network":
            return str(namespace.get("path") or "")
    return ""


def user(tree: Mapping[str, Any]) -> LinuxUser | None:
    """Who the first process is."""
    found = _below(tree, "runtimeSpec", "process", "user")
    if not found:
        return None
    return LinuxUser(
        uid=int(found.get("uid", 0)), gid=int(found.get("gid", 0)), groups=list(found.get("additionalGids") or [])
    )


def resources(tree: Mapping[str, Any]) -> LinuxContainerResources | None:
    """The limits as the container's OCI specification has them by now."""
    found = _below(tree, "runtimeSpec", "linux", "resources")
    if not found:
        return None
    cpu, memory = found.get("cpu") or {}, found.get("memory") or {}
    return LinuxContainerResources(
        cpu_shares=int(cpu.get("shares") or 0),
        cpu_quota=int(cpu.get("quota") or 0),
        cpu_period=int(cpu.get("period") or 0),
        cpuset_cpus=str(cpu.get("cpus") or ""),
        memory_limit_in_bytes=int(memory.get("limit") or 0),
    )


def _below(tree: Mapping[str, Any], *names: str) -> dict[str, Any]:
    found: Any = tree
    for name in names:
        found = found.get(name) if isinstance(found, Mapping) else None
    return found if isinstance(found, dict) else {}
