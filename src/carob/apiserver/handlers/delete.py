"""DELETE of one object and of a collection: preconditions, grace, finalizers, propagation.

A deletion is one of three things: removed at once; marked (deletionTimestamp) because finalizers hold it or because the
kind is deleted gracefully; or nothing, because it is being deleted already.

Source: apiserver `registry/rest/delete.go` and `registry/generic/registry/store.go`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from carob.api import codec, strict
from carob.api.status import ApiError, bad_request, conflict, not_found
from carob.api.types.meta_v1 import DeleteOptions, Preconditions
from carob.apiserver import bodies, list_options, negotiation
from carob.apiserver.handlers import companions, disruption, writes
from carob.apiserver.handlers.get import form_of, warning_headers, written_entry
from carob.apiserver.handlers.list import Listed, find
from carob.apiserver.handlers.selection import select
from carob.apiserver.presenters import check_single, finished, list_response
from carob.apiserver.registry.strategy import BACKGROUND, FOREGROUND, ORPHAN
from carob.apiserver.types import Operation, RequestInfo
from carob.base.clock import parse_rfc3339, rfc3339
from carob.base.tasks import TaskGroup
from carob.transport.http import Response

if TYPE_CHECKING:
    from carob.api.resources import Resource
    from carob.api.user import UserInfo
    from carob.apiserver.handlers.backend import Backend
    from carob.apiserver.handlers.disruption import Disruption
    from carob.apiserver.registry.strategy import Strategy, WriteContext
    from carob.apiserver.types import Attributes
    from carob.apiserver.watch_cache import Entry
    from carob.transport.http import Request

ORPHAN_FINALIZER = "orphan"
FOREGROUND_FINALIZER = "foregroundDeletion"

CONFLICT_TRIES = 100
# Deletions of a collection that are under way at a time: they share commits.
DELETIONS_AT_ONCE = 64


def parse_options(info: RequestInfo, request: Request) -> DeleteOptions:
    """The DeleteOptions of the body and the query. Raises: ApiError 400, 415, 422."""
    options = _from_body(request)
    query = info.query
    if query:
        if "gracePeriodSeconds" in query:
            options.grace_period_seconds = list_options.integer(info.first("gracePeriodSeconds"))
        if "propagationPolicy" in query:
            options.propagation_policy = info.first("propagationPolicy")
        if "orphanDependents" in query:
            options.orphan_dependents = info.first("orphanDependents") in ("true", "1")
        if "dryRun" in query:
            options.dry_run = [value for value in query["dryRun"] if value]
        list_options.check_timeout(info.first("timeout"))
    _check(options)
    return options


def _from_body(request: Request) -> DeleteOptions:
    if not request.body:
        return DeleteOptions()
    media = bodies.media_of(request)
    if media == negotiation.JSON:
        try:
            return codec.decode(DeleteOptions, bodies.text_of(request))
        except msgspec.ValidationError:
            pass  # the slow road says what is wrong in upstream's words
        except (msgspec.DecodeError, ValueError, RecursionError):
            raise bad_request("couldn't get version/kind; json parse error: unexpected end of JSON input") from None
    options: DeleteOptions = strict.decode_as(DeleteOptions, "", request.body, media, strict.IGNORE)[0]
    return options


def _check(options: DeleteOptions) -> None:
    causes = []
    if options.propagation_policy and options.orphan_dependents is not None:
        why = "Invalid value: orphanDependents and deletionPropagation cannot be both set"
        causes.append(("FieldValueInvalid", why, "propagationPolicy"))
    policy = options.propagation_policy
    if policy not in (None, BACKGROUND, FOREGROUND, ORPHAN):
        why = f'Unsupported value: "{policy}": supported values: "{FOREGROUND}", "{BACKGROUND}", "{ORPHAN}", "nil"'
        causes.append(("FieldValueNotSupported", why, "propagationPolicy"))
    if any(value != "All" for value in options.dry_run):
        shown = ",".join(f'"{value}"' for value in options.dry_run)
        causes.append(("FieldValueNotSupported", f'Unsupported value: [{shown}]: supported values: "All"', "dryRun"))
    if causes:
        raise list_options.options_invalid("DeleteOptions", causes)


async def delete(backend: Backend, info: RequestInfo, request: Request, user: UserInfo) -> Response:
    """Delete one object; the answer is the object or a Status. Raises: ApiError."""
    row = info.resource
    assert row is not None
    form = form_of(info, request)
    check_single(form)
    options = parse_options(info, request)
    strategy = backend.strategies.of(row)
    context = writes.context_of(backend, row, info.namespace, user, bool(options.dry_run))
    context.warnings += strategy.delete_warnings(options)
    attributes = writes.attributes_of(Operation.DELETE, info, user, context, None, None, options)
    try:
        entry, gone = await remove(backend, info, context, options, attributes, disruption.wanted(info))
    except ApiError as error:
        error.warnings = context.warnings
        raise
    if entry is None or (gone and not strategy.returns_deleted):
        return _success(row, info.name, form, context, entry)
    code = 200
    if not gone and (options.orphan_dependents is False or options.propagation_policy == FOREGROUND):
        code = 202 if options.orphan_dependents is False else code
    return written_entry(backend, info, form, entry, code, context.warnings)


def _success(row: Resource, name: str, form: negotiation.Form, context: WriteContext, entry: Entry | None) -> Response:
    details: dict[str, Any] = {"name": name}
    if row.group:
        details["group"] = row.group
    details["kind"] = row.plural
    if entry is not None:
        details["uid"] = _uid_of(entry)
    status = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details}
    response = Response(200, finished(form, msgspec.json.encode(status)), form.media)
    response.headers.extend(warning_headers(context.warnings))
    return response


class _Uid(msgspec.Struct):
    uid: str = ""


class _Head(msgspec.Struct):
    metadata: _Uid


def _uid_of(entry: Entry) -> str:
    return msgspec.json.decode(b"{" + entry.tail, type=_Head).metadata.uid


async def remove(
    backend: Backend,
    info: RequestInfo,
    context: WriteContext,
    options: DeleteOptions,
    attributes: Attributes | None,
    why: Disruption | None = None,
) -> tuple[Entry | None, bool]:
    """Carry out a deletion: the object's last state, and whether it is gone. Raises: ApiError.

    `attributes` None: admission has been asked already, about something else. `why`: what a Pod is told.
    """
    row = context.row
    cache = backend.objects.cache(row)
    for tries_left in range(CONFLICT_TRIES - 1, -1, -1):
        entry = cache.get(info.namespace, info.name)
        if entry is None:
            raise not_found(row, info.name)
        if attributes is not None:
            attributes.old = backend.objects.read(row, entry)
            backend.admission.admit(attributes)
            backend.admission.validate(attributes)
        try:
            result = await _remove_once(backend, context, options, entry, why)
        except ApiError as error:
            context.finish(happened=False)
            if error.reason != "Conflict" or not tries_left or cache.get(info.namespace, info.name) is entry:
                raise
            continue
        context.finish(happened=True)
        return result
    raise AssertionError("the last try returns or raises")


async def _remove_once(
    backend: Backend, context: WriteContext, options: DeleteOptions, entry: Entry, why: Disruption | None
) -> tuple[Entry, bool]:
    row = context.row
    strategy = backend.strategies.of(row)
    obj = backend.objects.fresh(row, entry)
    _check_preconditions(row, options, obj)
    changed = why is not None and why.say(obj, backend.clock.now())
    graceful, pending = mark_graceful(obj, strategy, options, backend.clock.now())
    if pending:
        return await _write(backend, context, entry, obj) if changed else entry, False
    changed = strategy.mark_deleted(obj, options, context) or changed
    new_finalizers = finalizers_for(obj, strategy, options)
    if new_finalizers is not None:
        obj.metadata.finalizers = new_finalizers
        changed = True
    own = not strategy.complete(obj)
    held = bool(obj.metadata.finalizers) or own
    if not graceful and held and not own:
        changed = mark_deleting(obj, backend.clock.now()) or changed
    if graceful or changed:
        entry = await _write(backend, context, entry, obj)
    if held or (graceful and obj.metadata.deletion_grace_period_seconds):
        return entry, False
    if context.dry_run:
        return entry, True
    strategy.prepare_delete(obj, context)
    return await companions.gone(backend, context, obj, entry), True


async def _write(backend: Backend, context: WriteContext, entry: Entry, obj: Any) -> Entry:
    row, objects = context.row, backend.objects
    value = objects.value_of(row, obj)
    if context.dry_run:
        return objects.preview(row, entry.namespace, entry.name, value, entry.revision)
    return entry if objects.unchanged(entry, value, row) else await objects.update(row, entry, value)


def _check_preconditions(row: Resource, options: DeleteOptions, obj: Any) -> None:
    wanted = options.preconditions or Preconditions()
    metadata = obj.metadata
    if wanted.uid is not None and wanted.uid != metadata.uid:
        why = (
            f"the UID in the precondition ({wanted.uid}) does not match the UID in record ({metadata.uid}). "
            "The object might have been deleted and then recreated"
        )
        raise _kind_conflict(row, metadata.name, why)
    version = metadata.resource_version
    if wanted.resource_version is not None and wanted.resource_version != version:
        why = (
            f"the ResourceVersion in the precondition ({wanted.resource_version}) does not match the ResourceVersion "
            f"in record ({version}). The object might have been modified"
        )
        raise _kind_conflict(row, metadata.name, why)


def _kind_conflict(row: Resource, name: str, why: str) -> ApiError:
    """Upstream names the kind, not the resource, in these two conflicts."""
    error = conflict(row, name, why)
    group_kind = f"{row.kind}.{row.group}" if row.group else row.kind
    error.message = f'Operation cannot be fulfilled on {group_kind} "{name}": {why}'
    error.details["kind"] = row.kind
    return error


def mark_graceful(obj: Any, strategy: Strategy, options: DeleteOptions, now: float) -> tuple[bool, bool]:
    """Set the deletion's time and grace where the kind is deleted gracefully.

    Shape: (graceful, pending): pending means that a deletion under way needs no change.
    """
    metadata = obj.metadata
    if options.grace_period_seconds is not None and options.grace_period_seconds < 0:
        options.grace_period_seconds = 1
    if metadata.deletion_timestamp is not None:
        return _shorten(metadata, options)
    seconds = strategy.grace_period(obj, options)
    if seconds is None:
        return False, False
    metadata.deletion_timestamp = rfc3339(now + seconds)
    metadata.deletion_grace_period_seconds = seconds
    if metadata.generation:
        metadata.generation += 1
    return True, False


def _shorten(metadata: Any, options: DeleteOptions) -> tuple[bool, bool]:
    current = metadata.deletion_grace_period_seconds
    if not current:
        return False, False
    wanted = options.grace_period_seconds
    if wanted is None or wanted >= current:
        return False, True
    metadata.deletion_timestamp = rfc3339(parse_rfc3339(metadata.deletion_timestamp) - current + wanted)
    metadata.deletion_grace_period_seconds = wanted
    return True, False


def mark_deleting(obj: Any, now: float) -> bool:
    """Mark an object that finalizers hold; True if that changed it."""
    metadata = obj.metadata
    before = (metadata.deletion_timestamp, metadata.deletion_grace_period_seconds)
    if metadata.deletion_timestamp is None:
        if metadata.generation:
            metadata.generation += 1
        metadata.deletion_timestamp = rfc3339(now)
    elif parse_rfc3339(metadata.deletion_timestamp) > now:
        metadata.deletion_timestamp = rfc3339(now)
    metadata.deletion_grace_period_seconds = 0
    return before != (metadata.deletion_timestamp, metadata.deletion_grace_period_seconds)


def finalizers_for(obj: Any, strategy: Strategy, options: DeleteOptions) -> list[str] | None:
    """The finalizers that a propagation policy asks for; None if they are there already.

    Source: `store.deletionFinalizersForGarbageCollection`.
    """
    present = obj.metadata.finalizers
    policy = options.propagation_policy
    if options.orphan_dependents is not None:
        policy = ORPHAN if options.orphan_dependents else BACKGROUND
    if policy is None:
        if ORPHAN_FINALIZER in present:
            policy = ORPHAN
        elif FOREGROUND_FINALIZER in present:
            policy = FOREGROUND
        else:
            policy = strategy.propagation
    wanted = [name for name in present if name not in (ORPHAN_FINALIZER, FOREGROUND_FINALIZER)]
    if policy == ORPHAN:
        wanted.append(ORPHAN_FINALIZER)
    elif policy == FOREGROUND:
        wanted.append(FOREGROUND_FINALIZER)
    return None if set(wanted) == set(present) else wanted


async def delete_collection(backend: Backend, info: RequestInfo, request: Request, user: UserInfo) -> Response:
    """Delete what a selection finds; the answer lists what it found. Raises: ApiError."""
    row = info.resource
    assert row is not None
    form = form_of(info, request)
    options = list_options.parse(info, watch=False)
    delete_options = parse_options(info, request)
    stored = backend.objects.stored_row(row)
    presenter = backend.presenters.get(form, row, stored)
    selection = select(row, stored, info.namespace, options.label_selector, options.field_selector)
    found = find(backend, info, options, selection)
    listed = found if isinstance(found, Listed) else await found
    strategy = backend.strategies.of(row)
    warnings = strategy.delete_warnings(delete_options)

    refused: list[ApiError] = []

    async def delete_one(entry: Entry) -> None:
        one = RequestInfo("delete", info.path, row, entry.namespace, entry.name, "", {})
        context = writes.context_of(backend, row, entry.namespace, user, bool(delete_options.dry_run))
        own = msgspec.structs.replace(delete_options)
        attributes = writes.attributes_of(Operation.DELETE, one, user, context, None, None, own)
        try:
            await remove(backend, one, context, own, attributes)
        except ApiError as error:
            if error.reason != "NotFound":
                refused.append(error)
        warnings.extend(context.warnings)

    for at in range(0, len(listed.entries), DELETIONS_AT_ONCE):
        async with TaskGroup() as group:
            for entry in listed.entries[at : at + DELETIONS_AT_ONCE]:
                group.spawn(delete_one(entry), f"delete {row.plural}/{entry.name}")
        if refused:
            raise refused[0]  # what went with it has gone; the client hears of the first that did not
    response = list_response(presenter, listed.entries, listed.metadata())
    response.headers.extend(warning_headers(warnings))
    return response
