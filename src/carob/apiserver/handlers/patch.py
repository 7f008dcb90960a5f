"""PATCH: a change of the present state, computed on it and tried again when somebody else was faster.

Source: apiserver `handlers/patch.go`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson
from msgspec.structs import replace as replace_fields

from carob.api import codec
from carob.api.defaulting import default
from carob.api.patch import JSON_PATCH, MERGE_PATCH, STRATEGIC_MERGE_PATCH, apply_patch
from carob.api.scalars import NOTHING
from carob.api.status import ApiError, bad_request
from carob.apiserver import negotiation
from carob.apiserver.bodies import text_of, validation_of
from carob.apiserver.handlers import ownership, writes
from carob.apiserver.handlers.apply import Configuration, apply_of
from carob.apiserver.handlers.create import create_decoded
from carob.apiserver.handlers.get import form_of, written_entry
from carob.apiserver.handlers.update import replace
from carob.apiserver.list_options import options_invalid
from carob.apiserver.presenters import check_single

if TYPE_CHECKING:
    from carob.api.resources import Resource
    from carob.api.user import UserInfo
    from carob.apiserver.handlers.backend import Backend
    from carob.apiserver.handlers.update import Prepare
    from carob.apiserver.registry.strategy import WriteContext
    from carob.apiserver.types import RequestInfo
    from carob.apiserver.watch_cache import Entry
    from carob.transport.http import Request, Response

APPLY_PATCH = "application/apply-patch+yaml"
APPLY_CBOR_PATCH = "application/apply-patch+cbor"

_TRUE = ("true", "1", "True", "TRUE", "t", "T")
_TYPES = (JSON_PATCH, MERGE_PATCH, STRATEGIC_MERGE_PATCH, APPLY_PATCH)


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
    check_apply(info, kind)
    manager = ownership.manager_of(info, request)
    context = writes.context_of(backend, row, info.namespace, user, dry_run, info.subresource, manager)
    validation = validation_of(info)
    change: Change | Application
    if kind == APPLY_PATCH:
        change = Application(backend, info, context, configuration_of(request), validation)
        if not info.subresource and backend.objects.cache(row).get(info.namespace, info.name) is None:
            obj = change.created()
            _check_name(obj, info)
            entry = await create_decoded(backend, info, user, obj, context)
            return written_entry(backend, info, form, entry, 201, context.warnings)
    else:
        change = Change(row, kind, text_of(request), validation)

    def desired(old: Any, entry: Entry) -> tuple[Any, bool]:
        new = change.applied(old, context.warnings)
        default(new)
        _check_name(new, info)
        writes.match_namespace(row, new.metadata, info.namespace)
        if not new.metadata.resource_version:
            return new, False
        strategy = backend.strategies.of(row)
        writes.check_version(row, strategy, new.metadata, entry)
        return new, change.names_version

    entry = await replace(backend, info, user, context, desired, prepare)
    return written_entry(backend, info, form, entry, 200, context.warnings)


def _check_name(obj: Any, info: RequestInfo) -> None:
    """Raises: ApiError 400."""
    name = obj.metadata.name
    if not name:
        raise bad_request(
            f"the name of the object ({info.name} based on URL) was undeterminable: name must be provided"
        )
    if name != info.name:
        raise bad_request(f"the name of the object ({name}) does not match the name on the URL ({info.name})")


def check_apply(info: RequestInfo, kind: str) -> None:
    """Refuse options that go only with, or only without, an apply. Raises: ApiError 422."""
    if kind == APPLY_PATCH:
        if not info.first("fieldManager"):
            why = "Required value: is required for apply patch"
            raise options_invalid("PatchOptions", [("FieldValueRequired", why, "fieldManager")])
    elif "force" in info.query:
        why = "Forbidden: may not be specified for non-apply patch"
        raise options_invalid("PatchOptions", [("FieldValueForbidden", why, "force")])


def patch_type(row: Resource, request: Request) -> str:
    """The kind of a patch. Raises: ApiError 415."""
    media = negotiation.media_type(request.headers.get("content-type", ""))
    if media == APPLY_CBOR_PATCH:
        return APPLY_PATCH
    if media not in _TYPES:
        raise ApiError(415, "UnsupportedMediaType", "415: Unsupported Media Type", {})
    if row.custom and media == STRATEGIC_MERGE_PATCH:
        raise negotiation.unsupported_media_type(", ".join((JSON_PATCH, MERGE_PATCH, APPLY_PATCH)))
    return media


def configuration_of(request: Request) -> Configuration:
    """The body of an apply. Raises: ApiError 400."""
    if negotiation.media_type(request.headers.get("content-type", "")) != APPLY_CBOR_PATCH:
        return Configuration(text_of(request))
    from carob.api import cbor

    try:
        return Configuration(orjson.dumps(cbor.decode(request.body)))
    except (cbor.CborError, orjson.JSONEncodeError) as error:
        raise bad_request(f"error decoding CBOR: {error}") from None


class Change:
    """One patch, applied to one state or several."""

    def __init__(self, row: Resource, kind: str, body: bytes, validation: str) -> None:
        self._row = row
        self._kind = kind
        self._body = body
        self._validation = validation
        self.names_version = b'"resourceVersion"' in body
        self._names_owners = b"managedFields" in body

    def applied(self, old: Any, warnings: list[str]) -> Any:
        """The state behind the patch, a fresh Struct without new defaults. Raises: ApiError 400, 413, 422."""
        if not self._names_owners and old.metadata.managed_fields is not NOTHING:
            # owners are large; who does not speak of them need not have them read
            bare = replace_fields(old, metadata=replace_fields(old.metadata, managed_fields=NOTHING))
            try:
                return self._patched(bare, warnings)
            except ApiError:
                pass  # a refusal repeats the whole object
        return self._patched(old, warnings)

    def _patched(self, current: Any, warnings: list[str]) -> Any:
        obj, told = apply_patch(self._row, codec.encode(current), self._body, self._kind, self._validation)
        warnings += told
        _same_kind(self._row, obj)
        return obj


class Application:
    """One server-side apply, as `Change` is one patch."""

    def __init__(
        self, backend: Backend, info: RequestInfo, context: WriteContext, config: Configuration, validation: str
    ) -> None:
        row, strategy = context.row, backend.strategies.of(context.row)
        self.names_version = config.names_version
        self._apply = apply_of(backend.objects, row, strategy, context, config, info.first("force") in _TRUE)
        context.warnings += config.complaints(validation)

    def created(self) -> Any:
        """The object that an apply makes where there is none. Raises: ApiError 400, 409."""
        return self._apply.created()

    def applied(self, old: Any, warnings: list[str]) -> Any:
        """The state behind the apply, a fresh Struct without new defaults. Raises: ApiError 400, 409."""
        return self._apply.onto(old)


def _same_kind(row: Resource, obj: Any) -> None:
    """Refuse a patch that makes something else of the object. Raises: ApiError 400."""
    if obj.api_version not in ("", row.api_version):
        raise bad_request(
            f"the API version in the data ({obj.api_version}) does not match the expected API version ({row.api_version})"
        )
    if obj.kind not in ("", row.kind):
        raise bad_request(f"the kind in the data ({obj.kind}) does not match the expected kind ({row.kind})")
