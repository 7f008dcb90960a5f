"""What a resource may do differently from the common case: a `Strategy`, and what one write knows (`WriteContext`).

The common case lives here: `status` belongs to the status subresource, everything else to the object itself, and a
change of the spec raises `metadata.generation` where the kind has one. A resource that differs has a small file beside
this one. Strategies hold no state of objects; allocators do, and are given to them.

May touch: the object being written, and through the context the clock, randomness and present state.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from msgspec import Struct, field

from carob.apiserver.registry.warnings import WARNINGS
from carob.base.clock import rfc3339

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from carob.api.resources import Resource
    from carob.api.types.meta_v1 import DeleteOptions
    from carob.api.user import UserInfo
    from carob.apiserver.registry.allocation import Claim
    from carob.apiserver.types import Reader
    from carob.base.clock import Clock
    from carob.base.ids import Randomness

BACKGROUND, FOREGROUND, ORPHAN = "Background", "Foreground", "Orphan"


class WriteContext(Struct):
    """One write on its way. Warnings become `Warning: 299` headers; `undo` runs when the write does not happen."""

    row: Resource
    namespace: str
    user: UserInfo
    clock: Clock
    randomness: Randomness
    reader: Reader
    dry_run: bool = False
    subresource: str = ""
    manager: str = ""
    """Who owns what this write changes; empty until the request has said so."""
    gates: frozenset[str] = frozenset()
    """Feature gates that are open."""
    owned: bool = False
    """True where the object's managedFields are settled already, as an apply leaves them."""
    warnings: list[str] = field(default_factory=list)
    undo: list[Callable[[], None]] = field(default_factory=list)
    done: list[Callable[[], None]] = field(default_factory=list)
    """Runs when the write has happened: what an old state held is given back only then."""
    shared: bool = False
    """Whether other servers write to the same store: then claims must be kept there too."""
    claimed: list[Claim] = field(default_factory=list)
    released: list[Claim] = field(default_factory=list)
    unpick: list[Callable[[], None]] = field(default_factory=list)
    """Takes back what was chosen freely, so that something else can be chosen."""
    give_back: Callable[[list[Claim]], None] | None = None
    """Gives claims back in the store; None where none were taken there."""

    @property
    def now(self) -> str:
        """The present time as objects carry it."""
        return rfc3339(self.clock.now())

    def finish(self, happened: bool) -> None:
        """Settle what was reserved on the way."""
        for call in self.done if happened and not self.dry_run else self.undo:
            call()
        if self.give_back is not None and not self.dry_run:
            self.give_back(self.released if happened else self.claimed)
        for kept in (self.undo, self.done, self.claimed, self.released, self.unpick):
            kept.clear()


class Companion(NamedTuple):
    """An object of the whole cluster that comes (`obj`) or goes (None) with another one."""

    row: Resource
    name: str
    obj: Any | None
    mine: Callable[[Any], bool]
    """Whether an object of that name is the one that came along."""


class Strategy:
    """The common case. Subclasses override what differs; every method may change only `obj` or `new`."""

    generation = False
    """True where the kind counts changes of its spec in `metadata.generation`."""
    create_on_update = False
    """True where a PUT to a name that is free creates the object."""
    unconditional_update = True
    """False where a PUT without a resourceVersion is refused."""
    returns_deleted = False
    """True where a DELETE answers with the object and not with a Status."""
    propagation = BACKGROUND
    """What a DELETE without a policy does to dependents."""
    accompanied = False
    """True where other objects come and go with an object (`companions`)."""
    status_keeps_labels = False
    """True where the status subresource leaves labels alone."""

    def __init__(self, row: Resource) -> None:
        self.row = row
        self.has_status = row.subresource("status") is not None
        self._warn = WARNINGS.get((row.group, row.plural))

    def prepare_create(self, obj: Any, context: WriteContext) -> None:
        """Bring a new object into its first state: no status from the client, generation 1."""
        if self.has_status and hasattr(obj, "status"):
            obj.status = type(obj.status)() if obj.status is not None else None
        if self.generation:
            obj.metadata.generation = 1

    def prepare_update(self, new: Any, old: Any, context: WriteContext) -> None:
        """Keep what a write of the object itself may not change."""
        if self.has_status and hasattr(new, "status"):
            new.status = old.status
        if self.generation:
            changed = self.spec_changed(new, old)
            new.metadata.generation = old.metadata.generation + (1 if changed else 0)

    def prepare_status(self, new: Any, old: Any, context: WriteContext) -> None:
        """Keep everything but the status (and the metadata that a status may touch)."""
        for name in new.__struct_fields__:
            if name not in ("kind", "api_version", "metadata", "status"):
                setattr(new, name, getattr(old, name))
        new.metadata.generation = old.metadata.generation
        if self.status_keeps_labels:
            new.metadata.labels = old.metadata.labels

    def reserve(self, new: Any, old: Any | None, context: WriteContext) -> None:
        """Claim what only one object may have; what is wrong otherwise is left to validation, which follows.

        Raises: ApiError.
        """

    def uses(self, claim: Claim, reader: Reader) -> bool:
        """Whether the holder of a claim is there and has the value."""
        return False

    def companions(self, new: Any | None, old: Any | None) -> Sequence[Companion]:
        """What is to be written together with an object (`new` None: its deletion, `old` None: its creation)."""
        return ()

    def spec_changed(self, new: Any, old: Any) -> bool:
        """Whether an update asks for something else than before."""
        for name in new.__struct_fields__:
            if name not in ("kind", "api_version", "metadata", "status") and getattr(new, name) != getattr(old, name):
                return True
        return False

    def grace_period(self, obj: Any, options: DeleteOptions) -> int | None:
        """Seconds that an object lives on after DELETE; None where the kind knows no grace."""
        return None

    def mark_deleted(self, obj: Any, options: DeleteOptions, context: WriteContext) -> bool:
        """Change an object whose deletion begins (a Namespace's phase); True if that changed it."""
        return False

    def complete(self, obj: Any) -> bool:
        """Whether nothing of the kind's own (a Namespace's spec.finalizers) holds a deletion back."""
        return True

    def prepare_delete(self, obj: Any, context: WriteContext) -> None:
        """Look at an object that is about to go: give back what it held in `context.done`."""

    def warnings(self, obj: Any, old: Any | None) -> list[str]:
        """What to tell the client of an accepted write."""
        return self._warn(obj) if self._warn is not None else []

    def delete_warnings(self, options: DeleteOptions) -> list[str]:
        """What to tell the client of a deletion."""
        return []
