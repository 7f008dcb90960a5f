"""The strategic merge patch that turns one Pod status into another. Pure.

Only what the kubelet changes is in it, so that conditions of other writers are never overwritten.
Source: apimachinery strategic merge patch: `conditions` merge by `type`, `podIPs` and `hostIPs` by `ip`, lists of
container statuses are replaced whole.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from carob.api import codec
from carob.kubelet.status import is_own

if TYPE_CHECKING:
    from carob.api.types import core_v1

_FOREIGN = ("nominatedNodeName", "resourceClaimStatuses", "extendedResourceClaimStatus")
"""Others write these; the kubelet only passes them on."""
_MERGED_BY = {"conditions": "type", "podIPs": "ip", "hostIPs": "ip"}


def status_patch(uid: str, old: core_v1.PodStatus, new: core_v1.PodStatus) -> dict[str, Any] | None:
    """The patch body; None when nothing differs. The uid makes it fail for a Pod of the same name made later."""
    before, after = _own(codec.to_tree(old)), _own(codec.to_tree(new))
    if before == after:
        return None
    changes: dict[str, Any] = {}
    for key, value in after.items():
        if before.get(key) == value:
            continue
        merge_key = _MERGED_BY.get(key)
        changes[key] = value if merge_key is None else _list_changes(merge_key, before.get(key) or [], value)
        if merge_key is not None:
            changes[f"$setElementOrder/{key}"] = [{merge_key: item[merge_key]} for item in value]
    for key, value in before.items():
        if key in after:
            continue
        merge_key = _MERGED_BY.get(key)
        changes[key] = None if merge_key is None else _list_changes(merge_key, value, [])
    return {"metadata": {"uid": uid}, "status": changes}


def _own(status: dict[str, Any]) -> dict[str, Any]:
    """Without what other writers have in it: it may be newer by now than what is known here."""
    out = {key: value for key, value in status.items() if key not in _FOREIGN}
    conditions = [c for c in out.pop("conditions", []) if is_own(c["type"], c.get("reason", ""))]
    return out | {"conditions": conditions} if conditions else out


def _list_changes(merge_key: str, before: list[Any], after: list[Any]) -> list[Any]:
    old = {item[merge_key]: item for item in before}
    kept = {item[merge_key] for item in after}
    gone = [{"$patch": "delete", merge_key: name} for name in old if name not in kept]
    return [
        _emptied(old.get(item[merge_key]) or {}) | item for item in after if old.get(item[merge_key]) != item
    ] + gone


def _emptied(old: dict[str, Any]) -> dict[str, Any]:
    """Entries are merged field by field: one that is no longer there has to be taken away."""
    return dict.fromkeys(old)


URGENT_CONDITIONS = ("Ready", "ContainersReady", "PodResizePending", "PodResizeInProgress")
STARTING = ("ContainerCreating", "PodInitializing")


def is_urgent(old: core_v1.PodStatus, new: core_v1.PodStatus) -> bool:
    """Whether somebody may be waiting for this change; False while it only says that a start goes on."""
    return _essence(old) != _essence(new)


def _essence(status: core_v1.PodStatus) -> tuple[Any, ...]:
    entries = [*status.init_container_statuses, *status.container_statuses, *status.ephemeral_container_statuses]
    return (
        status.phase or "Pending",
        [c.type for c in status.conditions if c.status == "True" and c.type in URGENT_CONDITIONS],
        {entry.name: told for entry in entries if (told := _told(entry)) is not None},
    )


def _told(entry: core_v1.ContainerStatus) -> tuple[Any, ...] | None:
    """What a container has come to; None while it is being started for the first time."""
    waiting = entry.state.waiting
    if waiting is not None and waiting.reason in STARTING and entry.last_state.terminated is None:
        return None
    return (entry.container_id, entry.state, entry.ready, entry.started, entry.restart_count, entry.resources)
