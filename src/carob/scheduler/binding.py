"""Binds a Pod to its node, and does not rest until it is known whether that has happened.

Touches the API through `client`. Differs: upstream takes a binding whose answer was lost for failed, and may give the room
to another Pod before it hears that both have it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from carob.api.status import ApiError
from carob.api.types import core_v1, meta_v1
from carob.base.log import get_logger
from carob.scheduler.views import PodView

if TYPE_CHECKING:
    from collections.abc import Callable

    from carob.base.clock import Clock
    from carob.client.rest import Client
    from carob.scheduler.extenders import Extender
    from carob.scheduler.pods import PodInfo

ASK_AGAIN_SECONDS = 0.5

_log = get_logger("scheduler")


async def bind(
    client: Client, clock: Clock, pod: PodInfo, node_name: str, binder: Extender | None, is_told: Callable[[], bool]
) -> None:
    """The Pod has the node when this returns; it surely has not when it raises.

    `binder` may do it in our stead; `is_told` says whether the API has told meanwhile that the Pod has a node.
    Raises: ApiError, ConnectionError, BindingFailed.
    """
    if binder is not None and await binder.has_bound(pod, node_name):
        return
    metadata = pod.view.metadata
    binding = core_v1.Binding(
        metadata=meta_v1.ObjectMeta(name=metadata.name, namespace=metadata.namespace, uid=metadata.uid),
        target=core_v1.ObjectReference(kind="Node", name=node_name),
    )
    try:
        await client.post(core_v1.Pod, metadata.name, metadata.namespace, "binding", binding, meta_v1.Status)
    except (ApiError, ConnectionError) as error:
        if isinstance(error, ApiError) and error.code < 500:
            raise
        if not await _has_happened(client, clock, pod, node_name, is_told):
            raise
        _log.info("the binding of %s was not answered, but has happened: %s", pod.key, error)


async def _has_happened(
    client: Client, clock: Clock, pod: PodInfo, node_name: str, is_told: Callable[[], bool]
) -> bool:
    """Ask until there is an answer."""
    metadata = pod.view.metadata
    while not is_told():
        try:
            found = await client.get(PodView, metadata.name, metadata.namespace)
        except ApiError as error:
            if error.code < 500:
                return False
        except ConnectionError:
            pass
        else:
            return found.metadata.uid == metadata.uid and found.spec.node_name == node_name
        await clock.sleep(ASK_AGAIN_SECONDS)
    return True
