"""Connections (`exec`, `attach`, `portforward`, `proxy`) as admission sees them: the object is what the query asks for.

Pure. Source: `k8s.io/api/core/v1` PodExecOptions and its siblings; apiserver `handlers/rest.go` (`ConnectResource`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from carob.apiserver.types import Attributes, Operation

if TYPE_CHECKING:
    from carob.api.user import UserInfo
    from carob.apiserver.types import RequestInfo

_FLAGS = ("stdin", "stdout", "stderr", "tty")
_FALSE = ("", "0", "false", "False", "FALSE", "f", "F")


def attributes_of(info: RequestInfo, user: UserInfo) -> Attributes:
    """A connection on its way through admission."""
    row = info.resource
    assert row is not None
    found = row.subresource(info.subresource)
    kind = found.kind if found is not None else ""
    return Attributes(
        Operation.CONNECT,
        row,
        info.namespace,
        info.name,
        user,
        {"kind": kind, "apiVersion": row.api_version} | _options(info),
        subresource=info.subresource,
        annotations=info.trail.annotations if info.trail is not None else None,
        query=info.query,
    )


def _options(info: RequestInfo) -> dict[str, Any]:
    query = info.query
    if info.subresource == "proxy":
        path = info.path.partition("/proxy/")[2]
        return {"path": path} if path else {}
    if info.subresource == "portforward":
        ports = [int(one) for value in query.get("ports", ()) for one in value.split(",") if one.isdigit()]
        return {"ports": ports} if ports else {}
    out: dict[str, Any] = {flag: True for flag in _FLAGS if flag in query and query[flag][0] not in _FALSE}
    if info.first("container"):
        out["container"] = info.first("container")
    if query.get("command"):
        out["command"] = list(query["command"])
    return out
