"""ConfigMaps, Secrets and the like that Pods of this node use: fetched on first use, watched while a Pod uses them.

One informer an object, limited to its name, because that is all a node may read of most kinds; of ClusterTrustBundles one
a name or signer. An object stays watched for a while
after its last Pod has gone, since the next Pod often wants the same. Touches the API only.

Source: kubelet `util/manager/watch_based_manager.go`.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from msgspec import Struct, field

from carob.base.log import get_logger
from carob.client.informer import Informer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from carob.base.clock import Clock
    from carob.base.tasks import TaskGroup
    from carob.client.rest import Client

_log = get_logger("kubelet.objects")
MAX_UNUSED = 64
FETCH_TIMEOUT_SECONDS = 10.0

Key = tuple[str, str, str]


class _Watched(Struct):
    informer: Informer[Any]
    task: asyncio.Task[None]
    users: set[str] = field(default_factory=set)


class ReferencedObjects:
    """`await get(...)` answers from memory once an object is watched."""

    def __init__(self, client: Client, clock: Clock, changed: Callable[[str], None]) -> None:
        self._client = client
        self._clock = clock
        self._changed = changed
        """Called with the uid of each Pod that uses an object when it has changed."""
        self._watched: dict[Key, _Watched] = {}
        self._group: TaskGroup | None = None

    def open(self, group: TaskGroup) -> None:
        """Watches run in this group; call once before `get`."""
        self._group = group

    async def get(self, kind: type[Any], namespace: str, name: str, user: str) -> Any | None:
        """The object, or None when it does not exist; `user` is told of its changes until `release`.

        Raises: TimeoutError when the API does not answer.
        """
        informer = await self._synced(kind, namespace, f"metadata.name={name}", user)
        return informer.get(f"{namespace}/{name}" if namespace else name)

    async def select(self, kind: type[Any], field_selector: str, user: str) -> list[Any]:
        """The objects of the whole cluster whose fields match, as `get` otherwise. Raises: TimeoutError."""
        informer = await self._synced(kind, "", field_selector, user)
        return list(informer.items())

    async def _synced(self, kind: type[Any], namespace: str, field_selector: str, user: str) -> Informer[Any]:
        key = (kind.__name__, namespace, field_selector)
        watched = self._watched.get(key)
        if watched is None or watched.task.done():
            watched = self._watched[key] = self._watch(kind, key)
        watched.users.add(user)
        async with asyncio.timeout(FETCH_TIMEOUT_SECONDS):
            await watched.informer.wait_synced()
        return watched.informer

    def hurry(self) -> None:
        """The server answers again."""
        for watched in self._watched.values():
            watched.informer.hurry()

    def release(self, user: str, keep: Iterable[Key] = ()) -> None:
        """The Pod no longer uses anything but `keep`."""
        kept = set(keep)
        for key, watched in self._watched.items():
            if key not in kept:
                watched.users.discard(user)
        unused = [key for key, watched in self._watched.items() if not watched.users]
        for key in unused[: max(0, len(unused) - MAX_UNUSED)]:
            self._watched.pop(key).task.cancel()

    def _watch(self, kind: type[Any], key: Key) -> _Watched:
        assert self._group is not None, "open() comes first"
        _, namespace, field_selector = key
        informer: Informer[Any] = Informer(
            self._client,
            kind,
            self._clock,
            namespace=namespace,
            field_selector=field_selector,
            name="/".join(key),
        )
        watched = _Watched(informer, self._group.spawn(informer.run(), f"watch {'/'.join(key)}"))
        informer.subscribe(lambda _key, old, new: self._tell(key, old, new))
        return watched

    def _tell(self, key: Key, old: Any, new: Any) -> None:
        watched = self._watched.get(key)
        if watched is None:
            return
        for user in tuple(watched.users):
            self._changed(user)
