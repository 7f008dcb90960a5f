"""How many requests may wait for the disk at one time, and who goes first when it is many.

Most answers come from memory in the very call and are never counted. Of the room for those that wait, a part is kept for
what the cluster itself lives by (leases, node and Pod status, its own controllers), a smaller one for administrators, and
no single user of the others gets more than half of the rest: one client in a loop cannot shut the others out.

Source: API priority and fairness (KEP-1040), in its levels `exempt`, `system`, `leader-election` and `workload-high`.
Differs: nobody waits in a queue: who finds no room is told at once to come back (docs/known-limits.md).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from carob.api.status import too_many_requests

if TYPE_CHECKING:
    from carob.api.user import UserInfo

LIMIT = 2048
ADMINISTRATORS_LIMIT = LIMIT * 9 // 10
OTHERS_LIMIT = LIMIT * 8 // 10
EACH_LIMIT = OTHERS_LIMIT // 2

RETRY_AFTER_SECONDS = 1
_VITAL_GROUPS = frozenset(("system:nodes", "system:serviceaccounts:kube-system"))
_VITAL_USERS = frozenset(("system:kube-controller-manager", "system:kube-scheduler", "system:apiserver"))


WATCHES_LIMIT = 16384
"""How many watches there may be; they share their events, but each has a connection and a place in every round."""


class InFlight:
    """The requests that wait. `check` before; then an `enter` and a `leave` of the same user around the waiting.

    Watches have a second one of these, with room of their own.
    """

    def __init__(self, limit: int = LIMIT) -> None:
        self.count = 0
        self._limit = limit
        self._others_limit = limit * 8 // 10
        self._each_limit = self._others_limit // 2
        self._of_user: dict[str, int] = {}

    def check(self, user: UserInfo) -> None:
        """Raises: ApiError 429 when there is no room for this user."""
        mine = self._of_user.get(user.name, 0)
        # the usual case asks for nothing else
        if (self.count >= self._others_limit or mine >= self._each_limit) and not self._has_room(user, mine):
            raise too_many_requests("too many requests, please try again later", RETRY_AFTER_SECONDS)

    def enter(self, user: UserInfo) -> None:
        """Take a place."""
        self.count += 1
        self._of_user[user.name] = self._of_user.get(user.name, 0) + 1

    def leave(self, user: UserInfo) -> None:
        """Give the place back."""
        self.count -= 1
        mine = self._of_user[user.name] - 1
        if mine:
            self._of_user[user.name] = mine
        else:
            del self._of_user[user.name]

    def _has_room(self, user: UserInfo, mine: int) -> bool:
        if user.name in _VITAL_USERS or not _VITAL_GROUPS.isdisjoint(user.groups):
            return self.count < self._limit
        if "system:masters" in user.groups:
            return self.count < self._limit * 9 // 10
        return self.count < self._others_limit and mine < self._each_limit
