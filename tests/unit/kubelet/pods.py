"""Pods and runtime statuses for tests, from short words."""

from __future__ import annotations

from typing import Any

from carob.api import codec
from carob.api.types import core_v1
from carob.runtime.types import ContainerState, ContainerStatus

SANDBOX = "sandbox-1"


def pod(**spec: Any) -> core_v1.Pod:
    """A Pod with one container `web` unless told otherwise."""
    metadata = {"name": "p", "namespace": "default", "uid": "u-1", "generation": 1} | spec.pop("metadata", {})
    status = spec.pop("status", {})
    spec.setdefault("containers", [{"name": "web", "image": "web:1"}])
    return codec.from_tree(core_v1.Pod, {"metadata": metadata, "spec": spec, "status": status})


def container(**fields: Any) -> core_v1.Container:
    return codec.from_tree(core_v1.Container, {"name": "web", "image": "web:1"} | fields)


def running(name: str = "web", attempt: int = 0, sandbox: str = SANDBOX) -> ContainerStatus:
    return ContainerStatus(
        id=f"{name}-{attempt}",
        sandbox_id=sandbox,
        name=name,
        attempt=attempt,
        state=ContainerState.RUNNING,
        created_at=100.0,
        started_at=100.0,
        image=f"{name}:1",
    )


def exited(
    name: str = "web", code: int = 0, attempt: int = 0, sandbox: str = SANDBOX, reason: str = ""
) -> ContainerStatus:
    status = running(name, attempt, sandbox)
    status.state, status.exit_code, status.finished_at = ContainerState.EXITED, code, 110.0
    status.reason = reason
    return status
