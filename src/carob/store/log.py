"""The seam inside the embedded store: a log of rows that can be appended to, read by revision, and swept.

`sqlite.py` keeps it on disk, `memory.py` in a dict. Everything here is synchronous and blocking. `append`, `sweep` and
`work_exclusive` are never called at the same time; they may be called from another thread than the reading verbs, which
all belong to the event loop. All of them raise StoreError where the log cannot do its work.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from carob.store.core import Change, Core, Row
    from carob.store.types import Event, Revision


class Log(Protocol):
    """Rows by revision."""

    def load(self) -> Core:
        """The state that the log ends in."""
        ...

    def append(self, rows: Sequence[Row]) -> list[bytes | None]:
        """Write the rows as one transaction, durable on return; for each the value before. On StoreError nothing
        was written."""
        ...

    @property
    def sync_seconds(self) -> float:
        """What making a transaction durable costs at the moment."""
        ...

    def values(self, revisions: Sequence[Revision]) -> dict[Revision, bytes]:
        """The values that these writes left; what was compacted is missing."""
        ...

    def changes(self, prefix: str, after: Revision, until: Revision) -> Iterable[Change]:
        """The writes of a prefix with `after < revision <= until`, oldest first, without their values."""
        ...

    def events(self, prefix: str, after: Revision, until: Revision) -> list[Event]:
        """The same writes as events, each with the value before as far as it was not compacted."""
        ...

    def begin_compaction(self, revision: Revision) -> None:
        """Remember that history before `revision` is gone, before any row is."""
        ...

    def sweep(self, row_limit: int) -> bool:
        """Remove rows that the compaction made superfluous, looking at `row_limit` revisions; False: none is left."""
        ...

    @property
    def needs_work(self) -> bool:
        """True when the log wants its upkeep (a checkpoint): `work_aside`, then `work_exclusive`."""
        ...

    @property
    def overdue(self) -> bool:
        """True when the upkeep has fallen so far behind that writers should wait for its end."""
        ...

    def work_aside(self) -> None:
        """The long part of the upkeep, in any thread, beside everything else."""
        ...

    def work_exclusive(self) -> None:
        """The short part of the upkeep, never beside `append` or `sweep`."""
        ...

    def close(self) -> None:
        """Let go of files; idempotent."""
        ...
