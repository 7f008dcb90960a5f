"""Stop step: preStop hook, stop signal, grace period, SIGKILL.

Source: kubelet `kuberuntime_container.go` (killContainer, executePreStopHook).
Differs: the grace period is kept as asked; upstream never gives less than 2 s.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from carob.kubelet import labels
from carob.kubelet.pod_record import find_container
from carob.runtime.types import NotFound, RuntimeFailure

if TYPE_CHECKING:
    from carob.api.types import core_v1
    from carob.kubelet.pod_record import PodRecord
    from carob.kubelet.tools import Tools

# what a container still gets when its preStop hook has used up the grace period
EXTENSION_SECONDS = 2.0


async def stop_container(
    tools: Tools, record: PodRecord, container_id: str, grace_seconds: float, message: str, *, hook: bool
) -> None:
    """End one container; `hook` False when its preStop hook was begun by an earlier call."""
    status = record.containers.get(container_id)
    if status is None:
        return
    name = status.labels.get(labels.CONTAINER_NAME, status.name)
    container = find_container(record.pod, name)
    if hook:
        tools.events(record).normal("Killing", message or f"Stopping container {name}", name)
    remaining = grace_seconds
    if hook and container is not None and grace_seconds > 0:
        remaining = await _pre_stop(tools, record, container, container_id, grace_seconds)
    try:
        await tools.runtime.stop_container(container_id, remaining)
        record.containers[container_id] = await tools.runtime.container_status(container_id)
    except NotFound:
        record.containers.pop(container_id, None)
    except RuntimeFailure as error:
        tools.events(record).warning("FailedKillPod", f"error killing pod: {error}", name)
        raise


async def _pre_stop(
    tools: Tools, record: PodRecord, container: core_v1.Container, container_id: str, grace_seconds: float
) -> float:
    """Run the hook within the grace period; what is left of it."""
    if container.lifecycle is None or container.lifecycle.pre_stop is None:
        return grace_seconds
    began = tools.clock.monotonic()
    hook = asyncio.create_task(
        tools.hooks.run(record, container, container_id, container.lifecycle.pre_stop), name="preStop"
    )
    timer = asyncio.create_task(tools.clock.sleep(grace_seconds), name="preStop timer")
    try:
        await asyncio.wait((hook, timer), return_when=asyncio.FIRST_COMPLETED)
    finally:
        timer.cancel()
        if not hook.done():
            hook.cancel()
    if hook.done() and not hook.cancelled() and hook.exception() is not None:
        # what the hook wrote may hold secrets
        tools.events(record).warning("FailedPreStopHook", "PreStopHook failed", container.name)
    elif not hook.done() or hook.cancelled():
        tools.events(record).warning(
            "FailedPreStopHook",
            f"Container {container.name} pre-stop hook did not complete in {grace_seconds:g} seconds",
            container.name,
        )
    left = grace_seconds - (tools.clock.monotonic() - began)
    return left if left > 0 else EXTENSION_SECONDS
