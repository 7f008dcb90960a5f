"""Objects that come and go with another one: the IPAddress of a Service's address.

They are made in the same turn of the loop as what they belong to, so a store of our own commits both at once, and go
after it. On a shared store one may be seen before the other, as upstream; what a server leaves half done is mended by
the controllers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec import Struct

from carob.api.status import ApiError
from carob.apiserver.handlers import ownership, writes
from carob.apiserver.registry.strategy import Companion
from carob.base.log import get_logger
from carob.base.tasks import Begun, begin

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from carob.apiserver.handlers.backend import Backend
    from carob.apiserver.registry.strategy import WriteContext
    from carob.apiserver.watch_cache import Entry

_log = get_logger("apiserver.companions")


async def together(
    backend: Backend, context: WriteContext, new: Any | None, old: Any | None, write: Coroutine[Any, Any, Entry]
) -> Entry:
    """Carry out a write (`new` None: a deletion, `old` None: a creation) and that of its companions.

    Raises: ApiError of the write; then the companions are as before. Failures of companions are logged alone.
    """
    companions = backend.strategies.of(context.row).companions(new, old)
    come = [_Begun(one, _begin(backend, context, one)) for one in companions if one.obj is not None]
    try:
        entry = await write
    except BaseException:
        for one in reversed(come):
            if await _settled(one):
                await _settled(_Begun(one.companion, _begin(backend, context, one.companion._replace(obj=None))))
        raise
    # what goes waits until it is known that what it belongs to has gone
    left = [_Begun(one, _begin(backend, context, one)) for one in companions if one.obj is None]
    for one in (*come, *left):
        await _settled(one)
    return entry


async def gone(backend: Backend, context: WriteContext, obj: Any, entry: Entry) -> Entry:
    """Remove what `entry` shows, which is `obj`, and what came with it. Raises: ApiError."""
    write = backend.objects.delete(context.row, entry)
    if backend.strategies.of(context.row).accompanied:
        return await together(backend, context, None, obj, write)
    return await write


class _Begun(Struct):
    companion: Companion
    outcome: Entry | Begun[Entry | None] | ApiError | None


def _begin(backend: Backend, context: WriteContext, one: Companion) -> Entry | Begun[Entry | None] | ApiError | None:
    try:
        return begin(_write(backend, context, one))
    except ApiError as error:
        return error


async def _settled(one: _Begun) -> bool:
    """Wait for a companion's write; whether it has happened."""
    outcome: Any = one.outcome
    try:
        if isinstance(outcome, Begun):
            outcome = await outcome
        if isinstance(outcome, ApiError):
            raise outcome
    except ApiError as error:
        _log.warning("%s %s: %s", one.companion.row.plural, one.companion.name, error.message)
        return False
    return outcome is not None


async def _write(backend: Backend, context: WriteContext, one: Companion) -> Entry | None:
    """Create a companion, or remove it if it is there and still belongs to what it came with."""
    objects, row = backend.objects, one.row
    if one.obj is None:
        entry = objects.cache(row).get("", one.name)
        if entry is None or not one.mine(objects.read(row, entry)):
            return None
        return await objects.delete(row, entry)
    own = writes.context_of(backend, row, "", context.user, dry_run=False, manager=ownership.SERVER_MANAGER)
    writes.new_metadata(backend, one.obj.metadata)
    one.obj.metadata.managed_fields = ownership.created(row, one.obj, own, backend.strategies.of(row))
    # its strategy made it: nobody's input is in it that was not checked with the object itself
    return await objects.create(row, "", one.name, objects.value_of(row, one.obj))
