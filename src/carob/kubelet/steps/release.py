"""Stop steps after the last container has ended: the sandbox goes, the volumes go; later everything else."""

from __future__ import annotations

import asyncio
import shutil
from typing import TYPE_CHECKING

from carob.kubelet.sandbox_config import log_directory
from carob.runtime.types import SandboxState

if TYPE_CHECKING:
    from carob.kubelet.pod_record import PodRecord
    from carob.kubelet.tools import Tools


async def release(tools: Tools, record: PodRecord) -> None:
    """Give back address, cgroup and volumes. Raises: RuntimeFailure, OSError; it is then tried again."""
    sandboxes = [s.id for s in record.sandboxes.values() if s.state is SandboxState.READY]
    await asyncio.gather(*(tools.runtime.stop_sandbox(one) for one in sandboxes), tools.volumes.release(record.uid))
    for one in sandboxes:
        record.sandboxes[one].state = SandboxState.NOT_READY
    await tools.devices.unprepare(record.uid)
    tools.objects.release(record.uid)


async def erase(tools: Tools, record: PodRecord) -> None:
    """Nobody knows the Pod any more: remove its containers, logs and files. Raises: RuntimeFailure, OSError."""
    for sandbox_id in list(record.sandboxes):
        await tools.runtime.remove_sandbox(sandbox_id)
        del record.sandboxes[sandbox_id]
    await tools.volumes.remove(record.uid)
    logs = log_directory(tools.options.log_root, record.pod)
    await asyncio.to_thread(shutil.rmtree, logs, True)
    tools.objects.release(record.uid)
    tools.tokens.forget(record.uid)
    tools.images.forget(record.uid)
