"""What we write down beside a sandbox or a container of somebody else's runtime, to find it again after a restart.

It is an annotation of ours: the CRI promises to give annotations back unchanged. It holds what the wire's statuses do
not tell: the whole order for a sandbox, limits and streams for a container. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

import msgspec
from msgspec import Struct, structs

from carob.runtime.cri.sandbox_messages import LinuxContainerResources
from carob.runtime.types import ContainerConfig, Resources, SandboxConfig

ORDER = "carob/order"
OWNER = "carob/owner"
"""The label by which a node knows its own sandboxes on a runtime that it shares with others."""
S = TypeVar("S", bound=Struct)


class ContainerOrder(Struct, kw_only=True, omit_defaults=True):
    """What of a container's config its status does not tell."""

    sandbox_id: str = ""
    image: str = ""
    log_path: str = ""
    stop_signal: str = ""
    stdin: bool = False
    tty: bool = False
    resources: Resources = msgspec.field(default_factory=Resources)


def of_sandbox(config: SandboxConfig, owner: str) -> SandboxConfig:
    """The same, with what we write down."""
    order = structs.replace(config, labels={}, annotations={})
    return structs.replace(
        config,
        labels={**config.labels, OWNER: owner},
        annotations={**config.annotations, ORDER: msgspec.json.encode(order).decode()},
    )


def sandbox_of(labels: Mapping[str, str], annotations: Mapping[str, str]) -> SandboxConfig | None:
    """What we ordered; None where it was not ours."""
    order = _read(annotations, SandboxConfig)
    if order is None:
        return None
    return structs.replace(order, labels=without(labels), annotations=without(annotations))


def of_container(config: ContainerConfig, order: ContainerOrder, owner: str) -> ContainerConfig:
    """The same, with what we write down."""
    return structs.replace(
        config,
        labels={**config.labels, OWNER: owner},
        annotations={**config.annotations, ORDER: msgspec.json.encode(order).decode()},
    )


def container_of(annotations: Mapping[str, str]) -> ContainerOrder:
    """What we ordered; nothing where it was not ours."""
    return _read(annotations, ContainerOrder) or ContainerOrder()


def without(words: Mapping[str, str]) -> dict[str, str]:
    """Labels or annotations as they were before we added ours."""
    return {key: value for key, value in words.items() if key not in (ORDER, OWNER)}


def limits(order: Resources, shown: LinuxContainerResources | None) -> Resources:
    """The limits in force: what the runtime shows, and from the order what it has no word for."""
    if shown is None:
        return order
    return structs.replace(
        order,
        cpu_shares=shown.cpu_shares,
        cpu_quota=max(0, shown.cpu_quota),
        cpu_period=shown.cpu_period if shown.cpu_quota > 0 and shown.cpu_period else order.cpu_period,
        cpuset_cpus=shown.cpuset_cpus,
        memory_limit=shown.memory_limit_in_bytes,
    )


def _read(annotations: Mapping[str, str], kind: type[S]) -> S | None:
    text = annotations.get(ORDER)
    if text is None:
        return None
    try:
        return msgspec.json.decode(text, type=kind)
    except msgspec.MsgspecError:
        return None
