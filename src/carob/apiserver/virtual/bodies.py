"""Bodies and answers of kinds that are asked and answered but never kept."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import orjson

from carob.api import codec
from carob.api.defaulting import default
from carob.apiserver import bodies
from carob.apiserver.encodings import has_protobuf
from carob.apiserver.handlers import ownership
from carob.apiserver.negotiation import form_of
from carob.base.clock import rfc3339
from carob.transport.http import Response

if TYPE_CHECKING:
    from carob.apiserver.types import RequestInfo
    from carob.base.clock import Clock
    from carob.transport.http import Request

T = TypeVar("T")


def read(struct: type[T], info: RequestInfo, request: Request, clock: Clock) -> T:
    """The Struct that the body holds, with its defaults and with whom it is owned by.

    Raises: ApiError 400 for what is no such object, 406 for a client that takes Tables alone, 415 for an unknown form.
    """
    # what is never kept has no columns
    form_of(request.headers.get("accept", ""), protobuf=has_protobuf(info.resource), tables=False)
    group = struct().api_version.rpartition("/")[0]  # type: ignore[attr-defined]
    obj, _ = bodies.decode_as(struct, group, info, request)
    default(obj)
    manager = ownership.manager_of(info, request)
    obj.metadata.managed_fields = ownership.asked(obj, manager, rfc3339(clock.now()), info.subresource)
    return obj  # type: ignore[no-any-return]


def created(obj: Any) -> Response:
    """201 with the answered object."""
    return Response(201, codec.encode(obj) + b"\n")


def listing(kind: str, api_version: str, items: list[Any]) -> Response:
    """200 with a list of trees."""
    return Response(body=orjson.dumps({"kind": kind, "apiVersion": api_version, "metadata": {}, "items": items}))
