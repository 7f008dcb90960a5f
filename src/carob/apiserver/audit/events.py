"""One request as the audit log tells it: an `Event` (audit.k8s.io/v1), a JSON line at each of its stages.

Pure. Fields stand in upstream's order; what is empty is left out.
Source: apiserver `pkg/apis/audit/v1/types.go`, `pkg/audit/{event,request}.go`.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import orjson

from carob.base.clock import rfc3339_micro

if TYPE_CHECKING:
    from carob.api.user import UserInfo
    from carob.apiserver.audit.policy import Decision
    from carob.apiserver.types import AuditTrail, RequestInfo
    from carob.transport.http import Request

MAX_USER_AGENT = 1024
LOOPBACK = "127.0.0.1"


class Event:
    """What is known so far."""

    def __init__(
        self, audit_id: str, request: Request, info: RequestInfo, user: UserInfo | None, decision: Decision, now: float
    ) -> None:
        self.audit_id = audit_id
        self.decision = decision
        self.request_object: Any = None
        self.response_object: Any = None
        self.response_status: dict[str, Any] | None = None
        self._received = now
        query = f"?{request.query}" if request.query else ""
        agent = request.headers.get("user-agent", "")
        if len(agent) > MAX_USER_AGENT:
            agent = agent[:MAX_USER_AGENT] + "...TRUNCATED"
        self._head: dict[str, Any] = {
            "requestURI": request.raw_target or request.path + query,
            "verb": info.verb,
            "user": {} if user is None else _user(user),
        }
        self._sources = source_addresses(request)
        self._agent = agent
        self.reference = _reference(info)

    def line(self, stage: str, trail: AuditTrail, now: float) -> bytes:
        """The event at a stage."""
        tree: dict[str, Any] = {
            "kind": "Event",
            "apiVersion": "audit.k8s.io/v1",
            "level": self.decision.level,
            "auditID": self.audit_id,
            "stage": stage,
            **self._head,
        }
        if trail.impersonated is not None:
            tree["impersonatedUser"] = _user(trail.impersonated)
        more = {
            "sourceIPs": self._sources,
            "userAgent": self._agent,
            "objectRef": self.reference,
            "responseStatus": self.response_status,
            "requestObject": self.request_object,
            "responseObject": self.response_object,
        }
        tree |= {name: value for name, value in more.items() if value}
        tree["requestReceivedTimestamp"] = rfc3339_micro(self._received)
        tree["stageTimestamp"] = rfc3339_micro(now)
        if trail.annotations:
            tree["annotations"] = dict(sorted(trail.annotations.items()))
        try:
            return orjson.dumps(tree, option=orjson.OPT_APPEND_NEWLINE)
        except TypeError:
            # what no valid request holds: numbers and texts that cannot be written so
            text = json.dumps(tree, separators=(",", ":"), default=str, ensure_ascii=False)
            return text.encode("utf-8", "replace") + b"\n"

    def name_object(self, tree: Any) -> None:
        """Say which object it is about, where the path does not and the request's object does."""
        metadata = tree.get("metadata") if isinstance(tree, dict) else None
        reference = self.reference
        if reference is None or not isinstance(metadata, dict):
            return
        for name, key in (("namespace", "namespace"), ("name", "name"), ("uid", "uid"), ("resourceVersion",) * 2):
            if key in metadata and not reference.get(name):
                reference[name] = metadata[key]
        self.reference = {name: reference[name] for name in _REFERENCE if name in reference}


_REFERENCE = ("resource", "namespace", "name", "uid", "apiGroup", "apiVersion", "resourceVersion", "subresource")


def _reference(info: RequestInfo) -> dict[str, Any] | None:
    row = info.resource
    if row is None:
        return None
    whole = {
        "resource": row.plural,
        "namespace": info.namespace,
        "name": info.name,
        "apiGroup": row.group,
        "apiVersion": row.version,
        "subresource": info.subresource,
    }
    return {name: value for name, value in whole.items() if value}


def _user(user: UserInfo) -> dict[str, Any]:
    whole = {
        "username": user.name,
        "uid": user.uid,
        "groups": list(user.groups),
        "extra": {name: list(values) for name, values in sorted(user.extra.items())},
    }
    return {name: value for name, value in whole.items() if value}


def source_addresses(request: Request) -> list[str]:
    """From whom it came, as far as it says: proxies first, the connection's other end last. Source: `net.SourceIPs`."""
    found = [part.strip() for part in request.headers.get("x-forwarded-for", "").split(",")]
    found = [one for one in found if _is_address(one)]
    real = request.headers.get("x-real-ip", "").strip()
    if _is_address(real) and real not in found:
        found.append(real)
    peer = request.peer_address or LOOPBACK
    if not found or found[-1] != peer:
        found.append(peer)
    return found


def _is_address(text: str) -> bool:
    from ipaddress import ip_address

    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def without_owners(tree: Any) -> Any:
    """The tree of an object, list or Table without managedFields."""
    if not isinstance(tree, dict):
        return tree
    out = dict(tree)
    if isinstance(metadata := out.get("metadata"), dict):
        out["metadata"] = {key: value for key, value in metadata.items() if key != "managedFields"}
    if isinstance(items := out.get("items"), list):
        out["items"] = [without_owners(one) for one in items]
    if out.get("kind") == "Table" and isinstance(rows := out.get("rows"), list):
        out["rows"] = [one | {"object": without_owners(one.get("object"))} for one in rows]
    return out


def status_of(code: int, tree: Any) -> dict[str, Any]:
    """How the answer went. Shape: `tree` is the answer's object; of a Status more is told than the code."""
    out: dict[str, Any] = {"metadata": {}}
    if isinstance(tree, dict) and tree.get("kind") == "Status":
        out |= {key: tree[key] for key in ("status", "message", "reason", "details") if tree.get(key)}
    return out | {"code": code}
