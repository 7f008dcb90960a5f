"""POST of a new object.

The order is upstream's: decode and default, metadata, mutating admission, the kind's own preparation, validation,
validating admission, store.

Source: apiserver `handlers/create.go`, `registry/generic/registry/store.go`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from carob.api.defaulting import default
from carob.api.status import already_exists, bad_request
from carob.apiserver import bodies, rules
from carob.apiserver.handlers import companions, ownership, writes
from carob.apiserver.handlers.get import form_of, written_entry
from carob.apiserver.presenters import check_single
from carob.apiserver.types import Operation

if TYPE_CHECKING:
    from carob.api.resources import Resource
    from carob.api.user import UserInfo
    from carob.apiserver.handlers.backend import Backend
    from carob.apiserver.registry.strategy import WriteContext
    from carob.apiserver.types import RequestInfo
    from carob.apiserver.watch_cache import Entry
    from carob.transport.http import Request, Response

# A generated name that is taken is drawn again this often.
# Source: KEP-4420.
GENERATE_NAME_TRIES = 8


async def create(backend: Backend, info: RequestInfo, request: Request, user: UserInfo) -> Response:
    """A new object. Raises: ApiError."""
    row = info.resource
    assert row is not None
    form = form_of(info, request)
    check_single(form)
    dry_run = writes.check_options(info, "CreateOptions")
    obj, warnings = bodies.decode(row, info, request)
    context = writes.context_of(
        backend, row, info.namespace, user, dry_run, manager=ownership.manager_of(info, request)
    )
    context.warnings += warnings
    entry = await create_decoded(backend, info, user, obj, context)
    return written_entry(backend, info, form, entry, 201, context.warnings)


async def create_decoded(backend: Backend, info: RequestInfo, user: UserInfo, obj: Any, context: WriteContext) -> Entry:
    """The way of a decoded object into the store; also that of PUT and apply to a free name."""
    row = context.row
    writes.match_namespace(row, obj.metadata, info.namespace)
    if info.name:
        if not obj.metadata.name:
            obj.metadata.name = info.name
        elif obj.metadata.name != info.name:
            raise bad_request(
                f"the name of the object ({obj.metadata.name}) does not match the name on the URL ({info.name})"
            )
    if obj.metadata.resource_version:
        # upstream answers 500 here; a client's mistake is a 400
        raise bad_request("resourceVersion should not be set on objects to be created")
    empty = ownership.explicitly_empty(row, obj)
    default(obj)
    writes.new_metadata(backend, obj.metadata)
    if not context.owned:
        if empty is not None:
            setattr(*empty, [])
        obj.metadata.managed_fields = ownership.created(row, obj, context, backend.strategies.of(row))
        if empty is not None:
            setattr(*empty, None)
    generated = bool(obj.metadata.generate_name) and not info.name
    attributes = writes.attributes_of(Operation.CREATE, info, user, context, obj)
    if not attributes.name:
        attributes.name = obj.metadata.name
    backend.admission.admit(attributes)
    if attributes.changed_fields:
        default(obj)
    try:
        entry = await _store(backend, row, obj, context, attributes, GENERATE_NAME_TRIES if generated else 1)
    except BaseException:
        context.finish(happened=False)
        raise
    context.finish(happened=True)
    return entry


async def _store(
    backend: Backend, row: Resource, obj: Any, context: WriteContext, attributes: Any, tries: int
) -> Entry:
    strategy = backend.strategies.of(row)
    strategy.prepare_create(obj, context)
    await writes.reserve(backend, strategy, obj, None, context)
    rules.check_create(row, obj)
    context.warnings += strategy.warnings(obj, None)
    backend.admission.validate(attributes)
    metadata, objects = obj.metadata, backend.objects
    cache = objects.cache(row)
    for number in range(tries):
        if cache.get(metadata.namespace, metadata.name) is None:
            break
        if number == tries - 1 or not metadata.generate_name:
            raise already_exists(row, metadata.name)
        metadata.name = ""
        uid, created, generation = metadata.uid, metadata.creation_timestamp, metadata.generation
        writes.new_metadata(backend, metadata)
        metadata.uid, metadata.creation_timestamp, metadata.generation = uid, created, generation
    value = objects.value_of(row, obj)
    if context.dry_run:
        return objects.preview(row, metadata.namespace, metadata.name, value, 0)
    write = objects.create(row, metadata.namespace, metadata.name, value)
    return await (companions.together(backend, context, obj, None, write) if strategy.accompanied else write)


async def create_internal(
    backend: Backend, row: Resource, obj: Any, namespace: str, user: UserInfo, manager: str = ""
) -> Any:
    """Create for the server's own parts: no authorization, no admission; a given status is kept."""
    manager = manager or ownership.SERVER_MANAGER
    context = writes.context_of(backend, row, namespace, user, dry_run=False, manager=manager)
    metadata = obj.metadata
    metadata.namespace = namespace if row.namespaced else ""
    default(obj)
    writes.new_metadata(backend, metadata)
    strategy = backend.strategies.of(row)
    metadata.managed_fields = ownership.created(row, obj, context, strategy)
    status = getattr(obj, "status", None)
    try:
        strategy.prepare_create(obj, context)
        if status is not None:
            obj.status = status
        await writes.reserve(backend, strategy, obj, None, context)
        rules.check_create(row, obj)
        value = backend.objects.value_of(row, obj)
        write = backend.objects.create(row, metadata.namespace, metadata.name, value)
        entry = await (companions.together(backend, context, obj, None, write) if strategy.accompanied else write)
    except BaseException:
        context.finish(happened=False)
        raise
    context.finish(happened=True)
    return backend.objects.read(row, entry)
