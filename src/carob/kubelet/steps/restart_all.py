"""Step: the ended containers of a Pod that is to begin anew no longer count.

They go from the runtime, so that a restarted agent does not find them again; how they ended stays in the Pod's status
until the next ones have begun.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from carob.kubelet.pod_record import PodRecord
    from carob.kubelet.tools import Tools


async def supersede_all(tools: Tools, record: PodRecord) -> None:
    """Raises: RuntimeFailure; it is then tried again."""
    spec = record.pod.spec
    names = {container.name for container in (*spec.init_containers, *spec.containers)}
    for status in [one for one in record.containers.values() if one.name in names]:
        await tools.runtime.remove_container(status.id)
        record.superseded.add(status.id)
