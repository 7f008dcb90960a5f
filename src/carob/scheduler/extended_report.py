"""The report of a decision, with what extenders say of the nodes that our own filters let through.

Touches nothing itself; it waits for the extenders' answers. Loaded only where extenders are configured and somebody asks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from carob.scheduler.decision import Unschedulable
from carob.scheduler.extended_decision import decide_with
from carob.scheduler.extenders import ExtenderError
from carob.scheduler.report import NodeReport, report

if TYPE_CHECKING:
    from carob.api.types import core_v1
    from carob.scheduler.extenders import Extender, Extenders
    from carob.scheduler.pods import PodInfo
    from carob.scheduler.report import Report
    from carob.scheduler.snapshot import Snapshot

NO_REASON = "rejected, without a reason"


async def report_with(extenders: Extenders, pod: PodInfo, snapshot: Snapshot) -> Report:
    """What the scheduler and its extenders think of every node for this Pod now. Raises: ApiError when it is gone."""
    asked, whole = await extenders.interested(pod)
    with snapshot.without(pod.key):
        own = report(pod, snapshot)
    busy = {_title(one) for one in asked if one.filters or one.prioritizes}
    titles = [_title(one) for one in extenders]
    own = replace(
        own,
        filters=(*own.filters, *(title for title in titles if title in busy)),
        idle=(*own.idle, *(title for title in titles if title not in busy)),
    )
    try:
        nodes = await _judged(extenders, asked, whole, own, snapshot)
        found = await decide_with(extenders, asked, whole, pod, snapshot, keep=False)
    except ExtenderError as error:
        return replace(own, chosen="", message=str(error), preempts=(), nominated="")
    if not isinstance(found, Unschedulable):
        return replace(own, nodes=nodes, chosen=found.name, message="", preempts=(), nominated="")
    made = found.nomination
    going = tuple(victim.key for victim in made.victims) if made is not None else ()
    nominated = made.node if made is not None else ""
    return replace(own, nodes=nodes, chosen="", message=found.message, preempts=going, nominated=nominated)


def _title(one: Extender) -> str:
    return f"extender {one.name}"


async def _judged(
    extenders: Extenders, asked: list[Extender], whole: core_v1.Pod, own: Report, snapshot: Snapshot
) -> tuple[NodeReport, ...]:
    """The nodes with the extenders' verdicts and scores, the best first. Raises: ExtenderError."""
    fitting = {one.node: one for one in own.nodes if not one.rejections}
    left = [node for node in snapshot.nodes() if node.name in fitting]
    for one in asked:
        left, rejections = await extenders.filter([one], whole, left)
        for name, rejection in rejections.items():
            fitting[name] = NodeReport(name, {_title(one): rejection.reasons or (NO_REASON,)})
    for one in asked:
        for name, value in (await extenders.prioritize([one], whole, left)).items():
            if name in fitting and not fitting[name].rejections:
                known = fitting[name]
                fitting[name] = replace(known, scores=known.scores | {_title(one): value})
    judged = [fitting.get(one.node, one) for one in own.nodes]
    return tuple(sorted(judged, key=lambda one: (bool(one.rejections), -one.total)))
