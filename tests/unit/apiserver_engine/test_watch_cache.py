"""The cache of bytes: order of keys, pages, tails, the ring of recent changes."""

from __future__ import annotations

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from carob.api.resources import TABLE
from carob.apiserver import keys
from carob.apiserver.watch_cache import CHANGE_BYTES, Change, Entry, Recent, ResourceCache, Ring, head_of

_pods = TABLE.by_plural("", "v1", "pods")
assert _pods is not None
PODS = _pods
_nodes = TABLE.by_plural("", "v1", "nodes")
assert _nodes is not None
NODES = _nodes
_events = TABLE.by_plural("", "v1", "events")
assert _events is not None
EVENTS = _events
EVENT = b'{"kind":"Event","apiVersion":"v1","metadata":{"name":"p","namespace":"d"}}'


def value(name: str, namespace: str = "d", **more: object) -> bytes:
    tree = {"kind": "Pod", "apiVersion": "v1", "metadata": {"name": name, "namespace": namespace}, **more}
    return orjson.dumps(tree)


def filled(*names: tuple[str, str]) -> ResourceCache:
    cache = ResourceCache(PODS, 0, Recent())
    for revision, (namespace, name) in enumerate(names, 1):
        cache.apply(namespace, name, value(name, namespace), revision)
    return cache


def test_an_entry_is_the_objects_json_with_its_revision_behind_the_head() -> None:
    cache = filled(("d", "p"))
    entry = cache.get("d", "p")
    assert entry is not None
    tree = orjson.loads(head_of(PODS) + entry.tail)
    assert tree["metadata"] == {"resourceVersion": "1", "name": "p", "namespace": "d"}
    later = entry.at(77)
    assert orjson.loads(head_of(PODS) + later.tail)["metadata"]["resourceVersion"] == "77"
    assert entry.revision == 1


def test_bytes_of_another_form_are_refused() -> None:
    with pytest.raises(ValueError, match="stored in a form"):
        ResourceCache(PODS, 0, Recent()).apply("d", "p", b'{"apiVersion":"v1","kind":"Pod","metadata":{"name":"p"}}', 1)


TRICKY = [
    "",
    "%",
    "%b %d %% %s",
    'a":"2026-01-01T00:00:00Z"',
    '\\":\\"10.42.0.1\\"',
    "kube-api-access-xxxxx",
    "x://%b",
    "é",
    '"',
]


def pod(number: int, tricky: str = "") -> bytes:
    """A Pod of many: what differs is what differs between the Pods of a ReplicaSet."""
    address, at, uid = (
        f"10.42.0.{number}",
        f"2026-01-01T00:00:{number:02}Z",
        f"0000000{number}-0000-4000-8000-000000000000",
    )
    fields: dict[str, object] = {"f:status": {"f:podIPs": {f'k:{{"ip":"{address}"}}': {"f:ip": {}}}}}
    metadata = {
        "name": f"p{number}",
        "namespace": "d",
        "uid": uid,
        "creationTimestamp": at,
        "annotations": {"a": tricky},
        "labels": {"app": "a"},
        "managedFields": [{"manager": "m", "time": at, "fieldsV1": fields}],
    }
    spec = {"volumes": [{"name": f"kube-api-access-{number:05}"}], "nodeName": f"node-{number}", "hostname": tricky}
    status = {"podIP": address, "containerStatuses": [{"containerID": f"carob://{uid}", "ready": True}]}
    return value(f"p{number}", metadata=metadata, spec=spec, status=status)


@pytest.mark.parametrize("tricky", TRICKY)
def test_packing_changes_no_byte(tricky: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("carob.apiserver.watch_cache.RECENT_CHANGES", 1)
    cache = ResourceCache(PODS, 0, Recent())
    for number in (1, 2, 3):
        cache.apply("d", f"p{number}", pod(number, tricky), number)
    for number, entry in enumerate(cache.entries(), 1):
        for one in (entry, entry.at(number + 10**9)):
            assert one.tail == cache.tail(pod(number, tricky), one.revision)
            assert one.size == len(one.tail)
    first, second, fresh = cache.entries()
    assert first._rest is second._rest
    assert first.labels is second.labels
    assert fresh._values is None


@given(st.dictionaries(st.text(), st.recursive(st.text() | st.booleans(), st.lists, max_leaves=5), max_size=5))
def test_any_object_can_be_packed(tree: dict[str, object]) -> None:
    cache = ResourceCache(PODS, 0, Recent())
    stored = value("p", spec={"free": tree})  # fields that selectors read have their types in every stored object
    cache.load("d", "p", stored, 7)
    assert not cache.pack_loaded(10)
    entry = cache.get("d", "p")
    assert entry is not None
    assert entry._values is not None
    assert entry.tail == cache.tail(stored, 7)


def test_what_was_loaded_is_packed_in_parts() -> None:
    cache = ResourceCache(PODS, 0, Recent())
    for number in range(1, 6):
        cache.load("d", f"p{number}", pod(number), number)
    cache.apply("d", "p5", None, 6)
    assert cache.pack_loaded(2)
    assert cache.pack_loaded(2)
    assert not cache.pack_loaded(2)
    assert len({id(entry._rest) for entry in cache.entries()}) == 1


def test_events_and_large_objects_lie_as_they_were_stored() -> None:
    rows = [(PODS, value("p", spec={"hostname": "x" * (17 << 10)})), (EVENTS, EVENT)]
    for row, stored in rows:
        cache = ResourceCache(row, 0, Recent())
        cache.load("d", "p", stored, 1)
        cache.pack_loaded(1)
        entry = cache.get("d", "p")
        assert entry is not None
        assert entry._values is None


NAMES = st.text("abc-.", min_size=1, max_size=4)


@settings(max_examples=40)
@given(st.lists(st.tuples(NAMES, NAMES), unique=True, max_size=30), st.data())
def test_entries_come_in_the_order_of_their_keys(places: list[tuple[str, str]], data: st.DataObject) -> None:
    cache = filled(*places)
    gone = data.draw(st.lists(st.sampled_from(places), unique=True)) if places else []
    for number, (namespace, name) in enumerate(gone):
        cache.apply(namespace, name, None, 1000 + number)
    left = [place for place in places if place not in gone]
    in_order = sorted(left, key=lambda place: keys.key(PODS, *place))
    assert [(e.namespace, e.name) for e in cache.entries()] == in_order
    assert cache.count() == len(left)


@settings(max_examples=40)
@given(st.lists(st.tuples(NAMES, NAMES), unique=True, max_size=20), st.integers(1, 5))
def test_pages_join_to_the_whole(places: list[tuple[str, str]], limit: int) -> None:
    cache = filled(*places)
    seen: list[Entry] = []
    start = ""
    while True:
        found, last, remaining = cache.page("", start, limit, None)
        seen += found
        assert remaining == len(places) - len(seen)
        if last is None:
            break
        start = f"{last.namespace}/{last.name}\0"
    assert seen == cache.entries()


@settings(max_examples=150)
@given(
    st.lists(st.tuples(NAMES, NAMES), unique=True, max_size=20),
    st.lists(st.tuples(st.booleans(), NAMES, NAMES), max_size=30),
    st.integers(1, 5),
    st.booleans(),
)
def test_pages_show_the_state_that_their_list_began_with(
    places: list[tuple[str, str]], writes: list[tuple[bool, str, str]], limit: int, one_namespace: bool
) -> None:
    """Writes come before every page: those that make, change, and remove."""
    cache = filled(*places)
    begun = len(places)
    namespace = places[0][0] if one_namespace and places else ""
    whole = cache.entries(namespace)
    seen: list[Entry] = []
    start = ""
    nothing = True, "", ""
    todo = iter([*writes, *((False, *place) for place in places)])
    revision = begun
    while True:
        for removes, in_namespace, name in (next(todo, nothing), next(todo, nothing)):
            revision += 1
            cache.apply(in_namespace, name, None if removes else value(name, in_namespace), revision)
        page = cache.page_as_of(begun, namespace, start, limit, None)
        assert page is not None
        found, last, remaining = page
        seen += found
        assert remaining == len(whole) - len(seen)
        if last is None:
            break
        start = f"{last.name}\0" if namespace else f"{last.namespace}/{last.name}\0"
    assert seen == whole


def test_what_recent_changes_do_not_reach_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("carob.apiserver.watch_cache.RECENT_CHANGES", 2)
    cache = filled(("d", "a"), ("d", "b"), ("d", "c"), ("d", "e"))
    assert cache.page_as_of(1, "", "", 9, None) is None
    page = cache.page_as_of(2, "", "", 9, None)
    assert page is not None
    assert [entry.name for entry in page[0]] == ["a", "b"]


def test_a_change_knows_the_state_before() -> None:
    cache = filled(("d", "p"))
    first = cache.get("d", "p")
    changed = cache.apply("d", "p", value("p", spec={"nodeName": "n"}), 2)
    assert changed is not None
    assert (changed.old, changed.deleted, changed.new.fields[0]) == (first, False, "n")
    deleted = cache.apply("d", "p", None, 3)
    assert deleted is not None
    assert (deleted.deleted, deleted.new.revision, deleted.old) == (True, 3, changed.new)
    assert cache.apply("d", "p", None, 4) is None
    assert cache.get("d", "p") is None


def test_cluster_scoped_objects_have_no_namespace() -> None:
    cache = ResourceCache(NODES, 0, Recent())
    cache.apply("", "n", b'{"kind":"Node","apiVersion":"v1","metadata":{"name":"n"}}', 1)
    assert [entry.name for entry in cache.entries()] == ["n"]


def change(revision: int, size: int = 10) -> Change:
    return Change(revision, None, Entry("d", f"p{revision}", b"x" * size, revision, {}, ()), deleted=False)


def test_the_ring_is_complete_behind_its_floor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("carob.apiserver.watch_cache.RECENT_CHANGES", 3)
    ring = Ring(10, Recent())
    for revision in (12, 15, 16, 20, 21):
        ring.add(change(revision))
    assert ring.floor == 15
    assert ring.after(11) is None
    assert ring.after(14) is None
    assert [c.revision for c in ring.after(15) or []] == [16, 20, 21]
    assert [c.revision for c in ring.after(19) or []] == [20, 21]
    assert ring.after(21) == []


def test_the_ring_keeps_few_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("carob.apiserver.watch_cache.RECENT_BYTES", 100 + CHANGE_BYTES)
    ring = Ring(0, Recent())
    for revision in range(1, 6):
        ring.add(change(revision, 60))
    assert ring.floor == 4


def test_the_rings_of_all_resources_share_their_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("carob.apiserver.watch_cache.RECENT_CHANGES", 4)
    recent = Recent()
    quiet, busy = Ring(0, recent), Ring(0, recent)
    quiet.add(change(1))
    for revision in range(2, 5):
        busy.add(change(revision))
    assert (quiet.floor, busy.floor) == (0, 0)
    busy.add(change(5))
    assert (quiet.floor, busy.floor) == (1, 0)
    assert quiet.after(1) == []
    busy.add(change(6))
    assert busy.floor == 2
