"""The Pod's `PodScheduled` condition, written when a Pod finds no node.

Pure but for the time that is handed in.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from carob.base.clock import rfc3339

if TYPE_CHECKING:
    from carob.scheduler.views import PodView

UNSCHEDULABLE = "Unschedulable"
SCHEDULER_ERROR = "SchedulerError"


def condition_patch(
    pod: PodView, reason: str, message: str, now: float, nominated: str | None = None
) -> dict[str, Any] | None:
    """The strategic patch of `status` that says why the Pod has no node; None when it is said already.

    `nominated`: the node that it is promised, empty for none, None to leave that as it is.
    Source: scheduler `updatePod`, `podutil.UpdatePodCondition`.
    """
    promise: dict[str, Any] = {}
    if nominated is not None and nominated != pod.status.nominated_node_name:
        promise = {"nominatedNodeName": nominated or None}
    old = next((c for c in pod.status.conditions if c.type == "PodScheduled"), None)
    if old is not None and (old.status, old.reason, old.message) == ("False", reason, message):
        return {"status": promise} if promise else None
    condition: dict[str, Any] = {"type": "PodScheduled", "status": "False", "reason": reason, "message": message}
    condition["lastProbeTime"] = None
    if old is None or old.status != "False":
        condition["lastTransitionTime"] = rfc3339(now)
    if pod.metadata.generation:
        condition["observedGeneration"] = pod.metadata.generation
    return {"status": {"conditions": [condition]} | promise}
