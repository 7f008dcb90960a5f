"""Which of the machine's ids a Pod with `hostUsers: false` gets: a range of its own, for as long as anything of it is left.

What is given is read off the sandboxes, which the runtime keeps: a restarted agent finds it again. Pure but for that.
Source: KEP-127; kubelet `userns/userns_manager.go`.
Differs: the range is the node's own by its Pod addresses, so that the nodes and clusters of one machine share none.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

from carob.runtime.types import UserNamespace

if TYPE_CHECKING:
    from collections.abc import Mapping

    from carob.kubelet.pod_record import PodRecord

IDS = 65_536
"""Of a Pod, as upstream's default."""
PODS = 256
"""For whom a node has ids."""
BLOCKS = 254
"""How many nodes a machine has ids for; the first block is the machine's own users."""


def first_id(pod_cidr: str) -> int:
    """Where a node's ids begin; 0 when it has no Pod range to tell it from others.

    Eight neighbouring nodes of each cluster, which are 512 addresses apart, never share a block.
    """
    if not pod_cidr:
        return 0
    _, second, third, _ = ipaddress.ip_network(pod_cidr).network_address.packed
    return (1 + (second // 2 * 8 + third) % BLOCKS) * PODS * IDS


class UserNamespaces:
    """`records` are all Pods of the node."""

    def __init__(self, first: int, supported: bool, records: Mapping[str, PodRecord]) -> None:
        self._first = first
        self._supported = supported
        self._records = records

    def of(self, record: PodRecord) -> UserNamespace | None:
        """The Pod's range, its own again after a restart; None for a Pod with the machine's users.

        Raises: ValueError when there is none to give.
        """
        if record.pod.spec.host_users is not False:
            return None
        if not self._supported or not self._first:
            # running it with the node's users instead would silently take a protection away
            raise ValueError("runtime does not support user namespaces")
        if record.users is None:
            taken = {used.first_id for other in self._records.values() for used in _given(other)}
            mine = next(iter(_given(record)), None)
            free = (self._first + number * IDS for number in range(PODS))
            record.users = mine or next((UserNamespace(i, IDS) for i in free if i not in taken), None)
        if record.users is None:
            raise ValueError("no more available user namespaces")
        return record.users


def _given(record: PodRecord) -> list[UserNamespace]:
    found = [sandbox.config.users for sandbox in record.sandboxes.values()]
    return [users for users in (record.users, *found) if users is not None]
