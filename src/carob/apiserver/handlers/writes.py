"""What all writes share: options of the query, metadata of new and updated objects, the chain of checks.

Source: apiserver `registry/rest/{create,update,meta}.go`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from carob.api.status import ApiError, bad_request, conflict
from carob.apiserver.list_options import check_timeout, options_invalid
from carob.apiserver.registry.strategy import WriteContext
from carob.apiserver.shared_claims import SharedClaims
from carob.apiserver.types import Attributes, Operation
from carob.base.clock import rfc3339
from carob.base.ids import generate_name, new_uid

if TYPE_CHECKING:
    from carob.api.resources import Resource
    from carob.api.user import UserInfo
    from carob.apiserver.handlers.backend import Backend
    from carob.apiserver.registry.strategy import Strategy
    from carob.apiserver.types import RequestInfo
    from carob.apiserver.watch_cache import Entry

MAX_FIELD_MANAGER = 128
# Another server may give out the same address or port at the same moment; then another one is chosen, or the request
# for that very one is judged again.
RESERVE_TRIES = 8
_FIELD_VALIDATION = ("", "Ignore", "Warn", "Strict")


def check_options(info: RequestInfo, kind: str) -> bool:
    """Check the query of a write; the answer is whether it is a dry run. Raises: ApiError 400, 422.

    Shape: `kind` is CreateOptions, UpdateOptions or PatchOptions, as refusals name it.
    """
    if not info.query:
        return False
    causes = []
    dry_run = [value for value in info.query.get("dryRun", []) if value]
    if any(value != "All" for value in dry_run):
        shown = ",".join(f'"{value}"' for value in dry_run)
        causes.append(("FieldValueNotSupported", f'Unsupported value: [{shown}]: supported values: "All"', "dryRun"))
    manager = info.first("fieldManager")
    if len(manager.encode()) > MAX_FIELD_MANAGER:
        why = f"Too long: may not be more than {MAX_FIELD_MANAGER} bytes"
        causes.append(("FieldValueTooLong", why, "fieldManager"))
    elif not manager.isprintable():
        why = f'Invalid value: "{manager}": should only contain printable characters'
        causes.append(("FieldValueInvalid", why, "fieldManager"))
    validation = info.first("fieldValidation")
    if validation not in _FIELD_VALIDATION:
        shown = ", ".join(f'"{value}"' for value in _FIELD_VALIDATION)
        why = f'Unsupported value: "{validation}": supported values: {shown}'
        causes.append(("FieldValueNotSupported", why, "fieldValidation"))
    if causes:
        raise options_invalid(kind, causes)
    check_timeout(info.first("timeout"))
    return bool(dry_run)


def context_of(
    backend: Backend,
    row: Resource,
    namespace: str,
    user: UserInfo,
    dry_run: bool,
    subresource: str = "",
    manager: str = "",
) -> WriteContext:
    """The context of one write."""
    objects = backend.objects
    shared = objects.store.shared
    return WriteContext(
        row,
        namespace,
        user,
        backend.clock,
        backend.randomness,
        objects,
        dry_run=dry_run,
        subresource=subresource,
        manager=manager,
        gates=backend.gates,
        shared=shared,
        give_back=shared_claims(backend, backend.strategies.of(row)).give_back if shared else None,
    )


def shared_claims(backend: Backend, strategy: Strategy) -> SharedClaims:
    """The claims of a kind's objects in a store that others write too."""
    return SharedClaims(backend, lambda claim: strategy.uses(claim, backend.objects))


async def reserve(backend: Backend, strategy: Strategy, new: Any, old: Any | None, context: WriteContext) -> None:
    """Claim what only one object may have; in the store too where other servers write to it. Raises: ApiError."""
    for _ in range(RESERVE_TRIES):
        strategy.reserve(new, old, context)
        if not context.shared or context.dry_run or not context.claimed:
            return
        claims = shared_claims(backend, strategy)
        mine, complete = await claims.take(context.claimed)
        context.claimed[:] = mine
        if complete:
            return
        for claim in mine:
            await claims.give_back_now(claim)
        context.claimed.clear()
        for call in context.unpick:
            call()
        context.finish(happened=False)
    raise conflict(context.row, new.metadata.name)


def match_namespace(row: Resource, metadata: Any, namespace: str) -> None:
    """Put the request's namespace into the object, or find that it has another one. Raises: ApiError 400."""
    if not row.namespaced:
        if metadata.namespace:
            metadata.namespace = ""
        return
    if not metadata.namespace:
        metadata.namespace = namespace
    elif metadata.namespace != namespace:
        raise bad_request("the namespace of the provided object does not match the namespace sent on the request")


def new_metadata(backend: Backend, metadata: Any) -> None:
    """What the server alone writes into a new object's metadata."""
    if not metadata.name and metadata.generate_name:
        metadata.name = generate_name(metadata.generate_name, backend.randomness)
    metadata.uid = new_uid(backend.randomness)
    metadata.creation_timestamp = rfc3339(backend.clock.now())
    metadata.deletion_timestamp = metadata.deletion_grace_period_seconds = None
    metadata.self_link = ""
    metadata.generation = 0


def keep_metadata(new: Any, old: Any) -> None:
    """What an update may leave out and what it may not say; managedFields are `ownership`'s."""
    new.uid = new.uid or old.uid
    new.resource_version = old.resource_version
    new.creation_timestamp = old.creation_timestamp
    if old.deletion_timestamp is not None or new.deletion_timestamp is None:
        new.deletion_timestamp = old.deletion_timestamp
    if old.deletion_grace_period_seconds is not None and new.deletion_grace_period_seconds is None:
        new.deletion_grace_period_seconds = old.deletion_grace_period_seconds
    if not new.generate_name:
        new.generate_name = old.generate_name
    new.generation = old.generation
    new.self_link = ""


def attributes_of(
    operation: Operation,
    info: RequestInfo,
    user: UserInfo,
    context: WriteContext,
    obj: Any,
    old: Any = None,
    options: Any = None,
) -> Attributes:
    """The write as admission sees it; its warnings are the context's."""
    assert info.resource is not None
    return Attributes(
        operation,
        info.resource,
        info.namespace,
        info.name,
        user,
        obj,
        old,
        info.subresource,
        context.dry_run,
        options,
        context.warnings,
        annotations=info.trail.annotations if info.trail is not None else None,
        query=info.query,
    )


def parse_resource_version(text: str) -> int:
    """The revision that an update names; 0 for none. Raises: ApiError 400."""
    if not text:
        return 0
    if not (text.isascii() and text.isdigit()) or len(text) > 19:
        # upstream answers 500 here; a client's mistake is a 400
        raise ApiError(400, "BadRequest", f'strconv.ParseUint: parsing "{text}": invalid syntax')
    return int(text)


def check_version(row: Resource, strategy: Strategy, metadata: Any, entry: Entry) -> bool:
    """Compare the resourceVersion of an update with what is there; True if the client named one.

    Raises: ApiError 409 for another one, 422 where one is needed.
    """
    revision = parse_resource_version(metadata.resource_version)
    if revision:
        if revision != entry.revision:
            raise conflict(row, entry.name)
        return True
    if not strategy.unconditional_update:
        why = "Invalid value: 0: must be specified for an update"
        details: dict[str, Any] = {"name": entry.name}
        if row.group:
            details["group"] = row.group
        details["kind"] = row.plural
        details["causes"] = [{"reason": "FieldValueInvalid", "message": why, "field": "metadata.resourceVersion"}]
        message = f'{row.group_resource} "{entry.name}" is invalid: metadata.resourceVersion: {why}'
        raise ApiError(422, "Invalid", message, details)
    return False


def check_uid(row: Resource, uid: str, old_uid: str, name: str, namespace: str) -> None:
    """Refuse an update that means an earlier object of the same name. Raises: ApiError 409."""
    if uid and uid != old_uid:
        place = f"{row.plural}/{namespace}" if namespace else row.plural
        raise conflict(
            row,
            name,
            f"StorageError: invalid object, Code: 4, Key: /registry/{place}/{name}, ResourceVersion: 0, "
            f"AdditionalErrorMsg: Precondition failed: UID in precondition: {uid}, UID in object meta: {old_uid}",
        )
