"""Answers why a Pod goes where it goes, from what the scheduler at work knows: the API's `pods/NAME/scheduling`.

Touches the API through `client`, for the Pod as it is now. Loaded when somebody asks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from carob.api.status import bad_request
from carob.scheduler.pods import PodInfo
from carob.scheduler.report import report, tree_of
from carob.scheduler.views import PodView

if TYPE_CHECKING:
    from collections.abc import Callable

    from carob.client.rest import Client
    from carob.scheduler.extenders import Extenders
    from carob.scheduler.snapshot import Snapshot


async def explain(
    client: Client,
    snapshot: Snapshot,
    look: Callable[[PodInfo], None],
    extenders: Extenders | None,
    namespace: str,
    name: str,
    profile: str,
) -> dict[str, Any]:
    """The report of one Pod; of one that has a node as if it had none. `profile`: another one's view of it.

    `look` brings the Pod's view of its claims up to date. Raises: ApiError.
    """
    view = await client.get(PodView, name, namespace)
    placed, view.spec.node_name = view.spec.node_name, ""
    if profile:
        view.spec.scheduler_name = profile
    judge = view.spec.scheduler_name
    if judge not in snapshot.profiles:
        known = ", ".join(f'"{one}"' for one in snapshot.profiles)
        raise bad_request(f'no profile of the scheduler is called "{judge}": supported values: {known}')
    pod = PodInfo(view)
    look(pod)
    if extenders is not None:
        from carob.scheduler.extended_report import report_with

        return tree_of(pod, placed, judge, await report_with(extenders, pod, snapshot))
    with snapshot.without(pod.key):
        return tree_of(pod, placed, judge, report(pod, snapshot))
