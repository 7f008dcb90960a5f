"""Writes Pod statuses to the API: at once, in order, the newest one only, again until it is there.

"At once" is for what somebody may wait for; a status that only says that a start goes on waits a second,
because most starts are over by then and the write would only hold them up.

A Pod that is being deleted and whose resources have been taken back is deleted for good, with its uid as the
precondition, right after its last status was written. Touches the API only.

Invariants: one write per Pod is under way at any time; a status that was overtaken before it was sent is never sent;
`written` tells what the API is known to have.
Source: kubelet `status/status_manager.go`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from carob.api.status import ApiError
from carob.api.types import core_v1
from carob.base.log import get_logger, pairs
from carob.client.workqueue import WorkQueue
from carob.kubelet.static_pods import is_static
from carob.kubelet.status_patch import is_urgent, status_patch

if TYPE_CHECKING:
    from collections.abc import Callable

    from carob.base.clock import Clock
    from carob.client.rest import Client

_log = get_logger("kubelet.status")
WORKERS = 8
UNURGENT_SECONDS = 1.0
# a server that was away must have the right statuses within a second of its return
LONGEST_RETRY_SECONDS = 1.0


class _Entry(Struct):
    pod: core_v1.Pod
    written: core_v1.PodStatus
    wanted: core_v1.PodStatus
    delete: bool = False
    gone: bool = False
    mirror: core_v1.Pod | None = None
    """Where a static Pod's status is written to; None: nowhere yet."""

    @property
    def shown(self) -> core_v1.Pod | None:
        """The API's Pod."""
        return self.mirror if is_static(self.pod) else self.pod


class StatusManager:
    """`set` and `delete` never wait; the writing happens in `run`."""

    def __init__(self, client: Client, clock: Clock) -> None:
        self._client = client
        self._queue = WorkQueue(clock, longest_delay_seconds=LONGEST_RETRY_SECONDS)
        self._entries: dict[str, _Entry] = {}
        self._gone: Callable[[str], None] = lambda uid: None

    def on_gone(self, callback: Callable[[str], None]) -> None:
        """Call `callback` with the uid when the API no longer has the Pod."""
        self._gone = callback

    def set(self, pod: core_v1.Pod, status: core_v1.PodStatus) -> None:
        """This is the Pod's status now."""
        uid = pod.metadata.uid
        entry = self._entries.get(uid)
        if entry is None:
            entry = self._entries[uid] = _Entry(pod, pod.status, pod.status)
        elif entry.gone:
            return
        entry.pod = pod
        if entry.wanted != status or entry.written is entry.wanted:
            entry.wanted = status
            if is_urgent(entry.written, status):
                self._queue.add(uid)
            elif status != entry.written:
                # that a start goes on is told only if it takes long enough for somebody to look
                self._queue.add_after(uid, UNURGENT_SECONDS)

    def known(self, pod: core_v1.Pod) -> core_v1.PodStatus:
        """The newest status of the Pod: ours when we have one, else the API's."""
        entry = self._entries.get(pod.metadata.uid)
        return entry.wanted if entry is not None else pod.status

    def delete(self, pod: core_v1.Pod) -> None:
        """Nothing of the Pod is left on the node: remove it from the API after its last status."""
        uid = pod.metadata.uid
        entry = self._entries.get(uid)
        if entry is None:
            entry = self._entries[uid] = _Entry(pod, pod.status, pod.status)
        if not entry.delete:
            entry.delete = True
            self._queue.add(uid)

    def set_mirror(self, uid: str, mirror: core_v1.Pod) -> None:
        """This is what the API has of a static Pod, and where its statuses go from now on."""
        entry = self._entries.get(uid)
        if entry is None or (entry.mirror is not None and entry.mirror.metadata.uid == mirror.metadata.uid):
            return
        entry.mirror, entry.written = mirror, mirror.status
        self._queue.add(uid)

    def forget(self, uid: str) -> None:
        """The Pod is no longer ours."""
        self._entries.pop(uid, None)

    async def run(self) -> None:
        """Write until cancelled."""
        await self._queue.work(self._write, WORKERS, "pod status")

    async def _write(self, uid: str) -> None:
        entry = self._entries.get(uid)
        shown = entry.shown if entry is not None else None
        if entry is None or entry.gone or shown is None:
            return
        metadata = shown.metadata
        try:
            wanted = entry.wanted
            patch = status_patch(metadata.uid, entry.written, wanted)
            if patch is not None:
                await self._client.patch(
                    core_v1.Pod,
                    metadata.name,
                    metadata.namespace,
                    patch=patch,
                    patch_type="strategic",
                    subresource="status",
                )
            # without a patch it differs in what others write, if at all
            entry.written = wanted
            if entry.delete and entry.wanted is wanted:
                await self._client.delete(
                    core_v1.Pod, metadata.name, metadata.namespace, grace_period_seconds=0, uid=uid
                )
                self._ended(uid, entry)
        except ApiError as error:
            if error.code == 404 or (error.code == 409 and _other_uid(error)):
                if shown is not entry.pod:
                    # only the mirror went; there will be another
                    entry.mirror = None
                    return
                self._ended(uid, entry)
                return
            if error.code in (400, 403, 422):
                # asking again would not help; the next change asks anew
                _log.warning("status refused %s", pairs(pod=f"{metadata.namespace}/{metadata.name}", error=error))
                return
            raise
        if entry.wanted != entry.written and not entry.gone:
            self._queue.add(uid)

    def _ended(self, uid: str, entry: _Entry) -> None:
        entry.gone = True
        self._gone(uid)


def _other_uid(error: ApiError) -> bool:
    text = error.message.lower()
    return "uid" in text
