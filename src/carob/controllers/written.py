"""What a controller wrote and its informer has not yet shown it: until it has, the controller must not count.

Nothing here needs to survive a restart: a new server lists everything before it acts. A creation is known by the
version that the server gave it, and informers pass every version, so even a Pod that came and went unseen is settled.
A deletion is settled when the object is gone or is shown to end.
Source: the purpose of kube-controller-manager's ControllerExpectations and ResourceVersionTracker (KEP-5647).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from carob.client.informer import Informer


class Written:
    """Bookkeeping by the key of the owner. Bounded by the number of owners and of deletions in flight."""

    def __init__(self, informer: Informer[Any]) -> None:
        self._informer = informer
        self._versions: dict[str, int] = {}
        self._deleted: dict[str, dict[str, str]] = {}

    def note(self, owner: str, resource_version: str) -> None:
        """The server answered a write with this version."""
        version = int(resource_version or 0)
        if version > self._versions.get(owner, 0):
            self._versions[owner] = version

    def note_deleted(self, owner: str, key: str, uid: str) -> None:
        """The server accepted this deletion."""
        self._deleted.setdefault(owner, {})[uid] = key

    def settled(self, owner: str) -> bool:
        """Whether the informer shows everything that was written for this owner."""
        version = self._versions.get(owner)
        if version is not None:
            if self._informer.version < version:
                return False
            del self._versions[owner]
        deleted = self._deleted.get(owner)
        if not deleted:
            return True
        for uid, key in list(deleted.items()):
            obj = self._informer.get(key)
            if obj is None or obj.metadata.uid != uid or obj.metadata.deletion_timestamp is not None:
                del deleted[uid]
        if deleted:
            return False
        del self._deleted[owner]
        return True

    def forget(self, owner: str) -> None:
        """The owner is gone."""
        self._versions.pop(owner, None)
        self._deleted.pop(owner, None)
