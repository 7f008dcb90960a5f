"""PUT of an object or of its status, and the optimistic loop that PATCH shares.

Source: apiserver `handlers/update.go`, `registry/generic/registry/store.go` (`Update`), `registry/rest/update.go`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from carob.api import codec
from carob.api.defaulting import default
from carob.api.status import ApiError, bad_request, not_found
from carob.apiserver import bodies, rules
from carob.apiserver.handlers import companions, ownership, writes
from carob.apiserver.handlers.create import create_decoded
from carob.apiserver.handlers.get import form_of, written_entry
from carob.apiserver.presenters import check_single
from carob.apiserver.types import Operation

if TYPE_CHECKING:
    from collections.abc import Callable

    from carob.api.resources import Resource
    from carob.api.user import UserInfo
    from carob.apiserver.handlers.backend import Backend
    from carob.apiserver.registry.strategy import WriteContext
    from carob.apiserver.types import RequestInfo
    from carob.apiserver.watch_cache import Entry
    from carob.transport.http import Request, Response

# A write without a resourceVersion is tried again when somebody else was faster.
CONFLICT_TRIES = 100


class Prepare(Protocol):
    """Brings a new state into order, as `Strategy.prepare_update` and its siblings do."""

    def __call__(self, new: Any, old: Any, context: WriteContext) -> None: ...


async def update(
    backend: Backend, info: RequestInfo, request: Request, user: UserInfo, prepare: Prepare | None = None
) -> Response:
    """A new state of an object, or of its status. Raises: ApiError."""
    row = info.resource
    assert row is not None
    form = form_of(info, request)
    check_single(form)
    dry_run = writes.check_options(info, "UpdateOptions")
    obj, warnings = bodies.decode(row, info, request)
    strategy = backend.strategies.of(row)
    context = writes.context_of(
        backend, row, info.namespace, user, dry_run, info.subresource, ownership.manager_of(info, request)
    )
    context.warnings += warnings
    _match_name(obj, info)
    writes.match_namespace(row, obj.metadata, info.namespace)
    default(obj)
    body = codec.encode(obj)
    created = False

    def desired(old: Any, entry: Entry) -> Any:
        new = codec.decode(row.struct, body)
        return new, writes.check_version(row, strategy, new.metadata, entry)

    if not info.subresource and strategy.create_on_update:
        if backend.objects.cache(row).get(info.namespace, info.name) is None:
            if writes.parse_resource_version(obj.metadata.resource_version):
                raise not_found(row, info.name)
            entry = await create_decoded(backend, info, user, obj, context)
            created = True
        else:
            entry = await replace(backend, info, user, context, desired)
    else:
        entry = await replace(backend, info, user, context, desired, prepare)
    return written_entry(backend, info, form, entry, 201 if created else 200, context.warnings)


def _match_name(obj: Any, info: RequestInfo) -> None:
    name = obj.metadata.name
    if not name:
        obj.metadata.name = info.name
    elif name != info.name:
        raise bad_request(f"the name of the object ({name}) does not match the name on the URL ({info.name})")


async def replace(
    backend: Backend,
    info: RequestInfo,
    user: UserInfo,
    context: WriteContext,
    desired: Callable[[Any, Entry], tuple[Any, bool]],
    prepare: Prepare | None = None,
) -> Entry:
    """Read, change, check, write; again when somebody else was faster, unless the client named a version.

    Shape: `desired(old, entry)` gives the new state, freely changeable, and whether the client named the version that
    it means; `old` is shared and never changed.
    Raises: ApiError.
    """
    row = context.row
    cache = backend.objects.cache(row)
    for tries_left in range(CONFLICT_TRIES - 1, -1, -1):
        entry = cache.get(info.namespace, info.name)
        if entry is None:
            raise not_found(row, info.name)
        old = backend.objects.read(row, entry)
        new, named = desired(old, entry)
        warned = len(context.warnings)
        try:
            written = await _replace_once(backend, info, user, context, entry, old, new, prepare)
        except BaseException as error:
            context.finish(happened=False)
            again = isinstance(error, ApiError) and error.reason == "Conflict" and not named and tries_left
            if not again or cache.get(info.namespace, info.name) is entry:
                raise
            del context.warnings[warned:]
            continue
        context.finish(happened=True)
        return written
    raise AssertionError("the last try returns or raises")


async def _replace_once(
    backend: Backend,
    info: RequestInfo,
    user: UserInfo,
    context: WriteContext,
    entry: Entry,
    old: Any,
    new: Any,
    prepare: Prepare | None,
) -> Entry:
    row = context.row
    strategy = backend.strategies.of(row)
    writes.check_uid(row, new.metadata.uid, old.metadata.uid, entry.name, entry.namespace)
    writes.keep_metadata(new.metadata, old.metadata)
    if not context.owned and not context.subresource:
        new.metadata.managed_fields = ownership.updated(backend.objects, context, new, old, strategy)
    attributes = writes.attributes_of(Operation.UPDATE, info, user, context, new, old)
    backend.admission.admit(attributes)
    if attributes.changed_fields:
        default(new)
    if prepare is None:
        prepare = strategy.prepare_status if context.subresource == "status" else strategy.prepare_update
    prepare(new, old, context)
    if not context.owned and context.subresource:
        # what a subresource cannot write has been put back by now, and what follows from the rest is there
        new.metadata.managed_fields = ownership.updated(backend.objects, context, new, old, strategy)
    if context.subresource != "status":
        await writes.reserve(backend, strategy, new, old, context)
    rules.check_update(row, new, old, context.subresource)
    if context.subresource != "status":
        context.warnings += strategy.warnings(new, old)
    backend.admission.validate(attributes)
    return await commit(backend, row, context, entry, new)


async def commit(backend: Backend, row: Resource, context: WriteContext, entry: Entry, new: Any) -> Entry:
    """Write a checked state: nothing if it changes nothing, a deletion if the last finalizer went."""
    objects, strategy = backend.objects, backend.strategies.of(row)
    value = objects.value_of(row, new)
    metadata = new.metadata
    if metadata.deletion_timestamp is not None and not metadata.finalizers and _may_go(backend, row, new):
        if not context.dry_run:
            strategy.prepare_delete(new, context)
            await companions.gone(backend, context, new, entry)
        return objects.preview(row, entry.namespace, entry.name, value, entry.revision)
    if objects.unchanged(entry, value, row):
        return entry
    if context.dry_run:
        return objects.preview(row, entry.namespace, entry.name, value, entry.revision)
    write = objects.update(row, entry, value)
    if strategy.accompanied:
        return await companions.together(backend, context, new, objects.read(row, entry), write)
    return await write


def _may_go(backend: Backend, row: Resource, obj: Any) -> bool:
    """Whether an object without finalizers that is being deleted can be removed now.

    Source: `store.shouldDeleteDuringUpdate`: graceful kinds wait for the grace period to become zero, namespaces for
    their spec's finalizers.
    """
    if not backend.strategies.of(row).complete(obj):
        return False
    return not obj.metadata.deletion_grace_period_seconds


async def update_internal(backend: Backend, row: Resource, obj: Any, namespace: str, user: UserInfo) -> Any:
    """Update for the server's own parts: no authorization, no admission; status and spec at once."""
    obj = codec.decode(row.struct, codec.encode(obj))
    namespace = namespace or obj.metadata.namespace
    manager = ownership.SERVER_MANAGER
    context = writes.context_of(backend, row, namespace, user, dry_run=False, manager=manager)
    entry = backend.objects.cache(row).get(namespace if row.namespaced else "", obj.metadata.name)
    if entry is None:
        raise not_found(row, obj.metadata.name)
    strategy = backend.strategies.of(row)
    if obj.metadata.resource_version:
        writes.check_version(row, strategy, obj.metadata, entry)
    old = backend.objects.read(row, entry)
    writes.keep_metadata(obj.metadata, old.metadata)
    status = getattr(obj, "status", None)
    default(obj)
    if status is not None and status != old.status:
        context.subresource = "status"
    obj.metadata.managed_fields = ownership.updated(backend.objects, context, obj, old, strategy)
    try:
        strategy.prepare_update(obj, old, context)
        if status is not None:
            obj.status = status
        await writes.reserve(backend, strategy, obj, old, context)
        rules.check_update(row, obj, old)
        entry = await commit(backend, row, context, entry, obj)
    except BaseException:
        context.finish(happened=False)
        raise
    context.finish(happened=True)
    return backend.objects.read(row, entry)
