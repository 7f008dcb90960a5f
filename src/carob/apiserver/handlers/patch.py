"""PATCH: a change of the present state, computed on it and tried again when somebody else was faster.

Source: apiserver `handlers/patch.go`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from carob.api import codec, go_json, strict, yaml_tree
from carob.api.defaulting import default
from carob.api.patch import JSON_PATCH, MERGE_PATCH, STRATEGIC_MERGE_PATCH, apply_patch
from carob.api.status import ApiError, bad_request, conflict
from carob.apiserver import negotiation
from carob.apiserver.bodies import text_of, validation_of
from carob.apiserver.handlers import writes
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
    from carob.apiserver.types import RequestInfo
    from carob.apiserver.watch_cache import Entry
    from carob.transport.http import Request, Response

APPLY_PATCH = "application/apply-patch+yaml"

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
    _check_apply(info, kind)
    context = writes.context_of(backend, row, info.namespace, user, dry_run, info.subresource)
    change = Change(row, kind, text_of(request), validation_of(info))
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
            raise bad_request(
                f"the name of the object ({info.name} based on URL) was undeterminable: name must be provided"
            )
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


def _check_apply(info: RequestInfo, kind: str) -> None:
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
    if media not in _TYPES:
        raise ApiError(415, "UnsupportedMediaType", "415: Unsupported Media Type", {})
    if row.custom and media == STRATEGIC_MERGE_PATCH:
        raise negotiation.unsupported_media_type(", ".join((JSON_PATCH, MERGE_PATCH, APPLY_PATCH)))
    return media


class Change:
    """One patch, applied to one state or several."""

    def __init__(self, row: Resource, kind: str, body: bytes, validation: str) -> None:
        self._row = row
        self._kind = kind
        self._body = body
        self._validation = validation
        if kind == APPLY_PATCH:
            # until server-side apply tracks owners: what is applied is merged by the lists' keys
            self._applied = self._of_yaml(body)
            try:
                self._kind, self._body = STRATEGIC_MERGE_PATCH, orjson.dumps(self._applied)
            except TypeError as error:  # numbers beyond 64 bits, keys that are no text, dates
                raise bad_request(f"error decoding YAML: {error}") from None
        self.names_version = b'"resourceVersion"' in self._body

    @staticmethod
    def _of_yaml(body: bytes) -> Any:
        try:
            value, _ = yaml_tree.parse(body)
        except yaml_tree.YamlError as error:
            raise bad_request(f"error decoding YAML: error converting YAML to JSON: {error}") from None
        tree = go_json.plain(value)
        if not isinstance(tree, dict):
            raise bad_request("error decoding YAML: the applied configuration is not an object")
        metadata = tree.get("metadata")
        if isinstance(metadata, dict):
            metadata.pop("managedFields", None)
        return tree

    def created(self, warnings: list[str]) -> Any:
        """The object that an apply makes where there is none. Raises: ApiError 400, 409."""
        metadata = self._applied.get("metadata")
        uid = metadata.get("uid") if isinstance(metadata, dict) else None
        if uid:
            why = f"uid mismatch: the provided object specified uid {uid}, and no existing object was found"
            raise conflict(self._row, str(metadata.get("name", "")), why)
        obj, told = strict.decode_body(self._row, self._body, strict.JSON, self._validation)
        warnings += told
        _same_kind(self._row, obj)
        return obj

    def applied(self, old: Any, warnings: list[str]) -> Any:
        """The state behind the patch, a fresh Struct without new defaults. Raises: ApiError 400, 413, 422."""
        obj, told = apply_patch(self._row, codec.encode(old), self._body, self._kind, self._validation)
        warnings += told
        _same_kind(self._row, obj)
        return obj


def _same_kind(row: Resource, obj: Any) -> None:
    """Refuse a patch that makes something else of the object. Raises: ApiError 400."""
    if obj.api_version not in ("", row.api_version):
        raise bad_request(
            f"the API version in the data ({obj.api_version}) does not match the expected API version ({row.api_version})"
        )
    if obj.kind not in ("", row.kind):
        raise bad_request(f"the kind in the data ({obj.kind}) does not match the expected kind ({row.kind})")
