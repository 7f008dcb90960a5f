"""componentstatuses, which upstream has deprecated: what we consist of is one process, and it answers.

Pure. Source: upstream `pkg/registry/core/componentstatus`, `printComponentStatus`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from carob.api.status import page_not_found
from carob.apiserver.negotiation import TABLE, form_of
from carob.apiserver.virtual.bodies import listing
from carob.transport.http import Response

if TYPE_CHECKING:
    from carob.api.user import UserInfo
    from carob.apiserver.types import RequestInfo
    from carob.transport.http import Request

_NAMES = ("controller-manager", "etcd-0", "scheduler")
_CONDITION = {"type": "Healthy", "status": "True", "message": "ok"}
_DESCRIPTIONS = {
    "Name": "Name of the component",
    "Status": "Status of the component conditions",
    "Message": "Message of the component conditions",
    "Error": "Error of the component conditions",
}


def component_statuses(info: RequestInfo, request: Request, user: UserInfo) -> Response:
    """Each of them, or all; as a Table when one is asked for."""
    if info.name and info.name not in _NAMES:
        raise page_not_found()
    names = (info.name,) if info.name else _NAMES
    form = form_of(request.headers.get("accept", ""))
    if form.kind == TABLE:
        return _table(names, form.api_version)
    items = [{"metadata": {"name": name}, "conditions": [_CONDITION]} for name in names]
    if not info.name:
        return listing("ComponentStatusList", "v1", items)
    return Response(body=orjson.dumps({"kind": "ComponentStatus", "apiVersion": "v1", **items[0]}))


def _table(names: tuple[str, ...], api_version: str) -> Response:
    columns: list[dict[str, Any]] = [
        {
            "name": name,
            "type": "string",
            "format": "name" if name == "Name" else "",
            "description": description,
            "priority": 0,
        }
        for name, description in _DESCRIPTIONS.items()
    ]
    rows = [
        {
            "cells": [name, "Healthy", "ok", ""],
            "object": {"kind": "PartialObjectMetadata", "apiVersion": api_version, "metadata": {"name": name}},
        }
        for name in names
    ]
    tree = {"kind": "Table", "apiVersion": api_version, "metadata": {}, "columnDefinitions": columns, "rows": rows}
    return Response(body=orjson.dumps(tree))
