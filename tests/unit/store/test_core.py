"""Who may write, and what a revision becomes."""

from __future__ import annotations

import pytest

from carob.store.core import FIRST_REVISION, Change, Core, Row, Verdict
from carob.store.pace import FIRST_STAY, WINDOW, Pace
from carob.store.types import Compacted, Event, FutureRevision, Revision
from carob.store.watches import Watches


def write(core: Core, key: str, value: bytes | None) -> Row:
    entry = core.entry(key)
    assert core.stage(key, entry[0] if entry else None) is Verdict.STAGED
    (row,) = core.assign([(key, value)])
    core.commit([row])
    return row


def test_a_key_under_way_makes_the_next_writer_wait_until_it_is_decided() -> None:
    core = Core()
    assert core.stage("/a", None) is Verdict.STAGED
    assert core.stage("/a", None) is Verdict.WAIT
    assert core.stage("/a", Revision(1)) is Verdict.WAIT
    rows = core.assign([("/a", b"1")])
    assert core.stage("/a", None) is Verdict.WAIT
    core.commit(rows)
    assert core.stage("/a", None) is Verdict.EXISTS
    assert core.stage("/a", Revision(7)) is Verdict.MISMATCH
    assert core.stage("/b", Revision(7)) is Verdict.MISSING


def test_a_failed_transaction_leaves_no_trace() -> None:
    core = Core()
    first = write(core, "/a", b"1")
    for key, expected in (("/a", first.revision), ("/b", None)):
        assert core.stage(key, expected) is Verdict.STAGED
    rows = core.assign([("/a", None), ("/b", b"1")])
    assert [row.revision for row in rows] == [first.revision + 1, first.revision + 2]
    core.fail(["/a", "/b"])
    assert (core.revision, core.entry("/a"), core.entry("/b")) == (first.revision, (first.revision,) * 2, None)
    assert write(core, "/b", b"2").revision == first.revision + 1


def test_rows_tell_where_they_come_from() -> None:
    core = Core()
    created = write(core, "/a", b"1")
    updated = write(core, "/a", b"2")
    deleted = write(core, "/a", None)
    first = Revision(FIRST_REVISION + 1)
    assert created == Row(first, "/a", first, Revision(0), b"1")
    assert updated == Row(Revision(first + 1), "/a", first, first, b"2")
    assert deleted == Row(Revision(first + 2), "/a", first, Revision(first + 1), None)
    assert len(core) == 0


def test_the_past_is_the_present_with_the_changes_since_taken_back() -> None:
    core = Core([(key, Revision(9), Revision(5)) for key in ("/k/a", "/k/b", "/k/d", "/x")], Revision(12))
    past = {
        "/k/b": Change("/k/b", Revision(7), Revision(6)),
        "/k/c": Change("/k/c", Revision(8), Revision(8)),
        "/k/d": Change("/k/d", Revision(0), Revision(9)),
        "/w": Change("/w", Revision(3), Revision(3)),
    }
    found, total = core.range("/k/", "", 2, past)
    assert (found, total) == ([("/k/a", (9, 5)), ("/k/b", (7, 6))], 3)
    assert core.range("/k/", "/k/b", 0, past) == ([("/k/c", (8, 8))], 1)


def test_which_revisions_can_be_read() -> None:
    core = Core(revision=Revision(20), compacted=Revision(10))
    assert [core.at(Revision(n)) for n in (0, 10, 20)] == [20, 10, 20]
    for too_old in (1, 9):
        with pytest.raises(Compacted):
            core.at(Revision(too_old))
    with pytest.raises(FutureRevision):
        core.at(Revision(21))
    core.check_after(Revision(9))
    with pytest.raises(Compacted):
        core.check_after(Revision(8))
    with pytest.raises(FutureRevision):
        core.check_after(Revision(21))


def event(key: str) -> Event:
    return Event(Revision(2), key, b"", None, Revision(2))


def test_a_watcher_that_raises_is_kept_from_the_others() -> None:
    watches, heard = Watches(), list[Event]()
    fault = RuntimeError("a bug")

    def broken(_: object) -> None:
        raise fault

    watches.add("/a", broken)
    watches.add("/a", heard.extend)
    assert watches.publish([event("/a/1")]) == [fault]
    assert heard == [event("/a/1")]


def test_a_key_shorter_than_a_prefix_is_told_once() -> None:
    watches, heard = Watches(), list[Event]()
    watches.add("/a", heard.extend)
    watches.add("/a/b", heard.extend)
    watches.publish([event("/a")])
    assert heard == [event("/a")]


def test_the_pace_follows_the_disk_and_comes_back_carefully() -> None:
    pace = Pace(0.0001)
    observed = []
    for cost, commits in ((5, WINDOW), (0.1, FIRST_STAY), (5, WINDOW), (0.1, 2 * FIRST_STAY)):
        for _ in range(commits - 1):
            pace.observe(cost / 1000)
        before = pace.inline
        pace.observe(cost / 1000)
        observed.append((before, pace.inline))
    assert observed == [(True, False), (False, True), (True, False), (False, True)]


def test_one_slow_commit_changes_nothing() -> None:
    pace = Pace(0.0001)
    for n in range(100):
        pace.observe(0.02 if n % 10 == 0 else 0.0001)
    assert pace.inline
    assert not Pace(0.004).inline
