"""PATCH: a change of the present state, computed on it and tried again when somebody else was faster.

Source: apiserver `handlers/patch.go`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from carob.api import codec, strict
from carob.api.defaulting import default
from carob.api.status import ApiError, bad_request, not_found
from carob.apiserver import negotiation
from carob.apiserver.bodies import validation_of
from carob.apiserver.handlers import writes
from carob.apiserver.handlers.create import create_decoded
from carob.apiserver.handlers.get import form_of, written_entry
from carob.apiserver.handlers.update import replace
from carob.apiserver.presenters import check_single

if TYPE_CHECKING:
    from carob.api.resources import Resource
    from carob.api.user import UserInfo
    from carob.apiserver.handlers.backend import Backend
    from carob.apiserver.handlers.update import Prepare
    from carob.apiserver.types import RequestInfo
    from carob.apiserver.watch_cache import Entry
    from carob.transport.http import Request, Response

JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_PATCH = "application/strategic-merge-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"

_TYPES = (JSON_PATCH, MERGE_PATCH, STRATEGIC_PATCH, APPLY_PATCH)


async def patch(
    backend: Backend, info: RequestInfo, request: Request, user: UserInfo, prepare: Prepare | None = None
) -> Response:
    """Change an object by a patch. Raises: ApiError."""
    row = info.resource
    assert row is not None
    form = form_of(info, request)
    check_single(form)
    kind = patch_type(row, request)
    dry_run = writes.check_options(info, "PatchOptions")
    context = writes.context_of(backend, row, info.namespace, user, dry_run, info.subresource)
    change = Change(row, kind, request.body, validation_of(info))
    if kind == APPLY_PATCH and not info.subresource:
        entry = backend.objects.cache(row).get(info.namespace, info.name)
        if entry is None:
            obj = change.created(context.warnings)
            entry = await create_decoded(backend, info, user, obj, context)
            return written_entry(backend, info, form, entry, 201, context.warnings)

    def desired(old: Any, entry: Entry) -> tuple[Any, bool]:
        new = change.applied(old, context.warnings)
        default(new)
        if not new.metadata.name:
            raise bad_request(f"the name of the object () does not match the name on the URL ({info.name})")
        if new.metadata.name != info.name:
            name = new.metadata.name
            raise bad_request(f"the name of the object ({name}) does not match the name on the URL ({info.name})")
        writes.match_namespace(row, new.metadata, info.namespace)
        if not new.metadata.resource_version:
            return new, False
        strategy = backend.strategies.of(row)
        writes.check_version(row, strategy, new.metadata, entry)
        return new, change.names_version

    entry = await replace(backend, info, user, context, desired, prepare)
    return written_entry(backend, info, form, entry, 200, context.warnings)


def patch_type(row: Resource, request: Request) -> str:
    """The kind of a patch. Raises: ApiError 415."""
    media = negotiation.media_type(request.headers.get("content-type", ""))
    if media not in _TYPES:
        error = ApiError(415, "UnsupportedMediaType", "415: Unsupported Media Type")
        raise error
    if row.custom and media == STRATEGIC_PATCH:
        raise negotiation.unsupported_media_type(", ".join((JSON_PATCH, MERGE_PATCH, APPLY_PATCH)))
    return media


class Change:
    """One patch, parsed once, applied to one state or several."""

    def __init__(self, row: Resource, kind: str, body: bytes, validation: str) -> None:
        self._row = row
        self._kind = kind
        self._validation = validation
        if kind == APPLY_PATCH:
            import yaml

            self._patch: Any = orjson.loads(orjson.dumps(yaml.load(body, Loader=yaml.CSafeLoader)))
        else:
            try:
                self._patch = orjson.loads(body)
            except orjson.JSONDecodeError as error:
                raise bad_request(f"error decoding patch: {error}") from None
        metadata = self._patch.get("metadata") if isinstance(self._patch, dict) else None
        self.names_version = isinstance(metadata, dict) and bool(metadata.get("resourceVersion"))

    def created(self, warnings: list[str]) -> Any:
        """The object that an apply makes where there is none."""
        obj, told = strict.decode_body(self._row, orjson.dumps(self._patch), strict.JSON, self._validation)
        warnings += told
        return obj

    def applied(self, old: Any, warnings: list[str]) -> Any:
        """The state behind the patch, a fresh Struct without new defaults. Raises: ApiError."""
        tree = codec.to_tree(old)
        result = merged(tree, self._patch)
        obj, told = strict.decode_body(self._row, orjson.dumps(result), strict.JSON, self._validation)
        warnings += told
        return obj


def merged(target: Any, patch: Any) -> Any:
    """RFC 7396."""
    if not isinstance(patch, dict):
        return patch
    out = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            out.pop(key, None)
        else:
            out[key] = merged(out.get(key), value)
    return out
