"""managedFields of a write: whose they are, from the request to the object that is stored.

A create is the hot path: most Pods look like the one before, so the field set of a spec is found by the spec's bytes.
An update looks only at the fields that differ. An apply works on trees (`carob.api.apply`).

Source: apiserver `handlers/{create,update,patch}.go`, apimachinery `managedfields/fieldmanager.go`.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import orjson
from msgspec.structs import replace

from carob.api import codec
from carob.api.apply import field_sets, forms, owners, trees, updating
from carob.api.scalars import NOTHING
from carob.api.status import invalid
from carob.api.types.meta_v1 import ObjectMeta
from carob.api.validation import field
from carob.apiserver.conversion import convert_object

if TYPE_CHECKING:
    from carob.api.apply.field_sets import FieldSet
    from carob.api.apply.owners import Owner
    from carob.api.resources import Resource
    from carob.api.scalars import ManagedFields
    from carob.apiserver.objects import Objects
    from carob.apiserver.registry.strategy import Strategy, WriteContext
    from carob.apiserver.types import RequestInfo
    from carob.transport.http import Request

SERVER_MANAGER = "kube-apiserver"

# Field sets that are remembered by the bytes they were made of: those of the parts of new objects.
MAX_REMEMBERED = 512
MAX_REMEMBERED_BYTES = 8192
MOST_REMEMBERED_NAMES = 64

MAX_SUBRESOURCE = 256

_HEADER = ("kind", "api_version", "metadata")
# metadata that somebody can own; the rest is the server's
_METADATA = ("generate_name", "labels", "annotations", "owner_references", "finalizers")

# Subresources that write a part of the object, and which.
_PARTS = {
    "status": ("status",),
    "approval": ("status",),
    "finalize": ("spec",),
    "resize": ("spec",),
    "ephemeralcontainers": ("spec",),
    "scale": ("spec",),
}


def manager_of(info: RequestInfo, request: Request) -> str:
    """Who writes: the parameter `fieldManager`, else what the User-Agent begins with."""
    manager = info.first("fieldManager") if info.query else ""
    return manager or _of_agent(request.headers.get("user-agent", ""))


@lru_cache(maxsize=256)
def _of_agent(agent: str) -> str:
    printable = "".join(c for c in agent.partition("/")[0] if c.isprintable())
    return printable.encode()[: owners.MAX_MANAGER].decode(errors="ignore")


_ignored: dict[tuple[str, str, str, str], FieldSet] = {}


def ignored_by(row: Resource, subresource: str, strategy: Strategy) -> FieldSet:
    """What a write through a subresource cannot set, so that nobody comes to own it by trying.

    Source: `GetResetFields` of upstream's strategies.
    """
    key = (row.group, row.version, row.plural, subresource)
    found = _ignored.get(key)
    if found is None:
        found = _ignored[key] = _ignored_by(row, subresource, strategy)
    return found


def _ignored_by(row: Resource, subresource: str, strategy: Strategy) -> FieldSet:
    if not subresource:
        if row.plural == "certificatesigningrequests":
            return {"f:spec": {}, "f:status": {}}
        return {"f:status": {}} if strategy.has_status else {}
    written = _PARTS.get(subresource, ())
    _, names = _names_of(row.struct)
    out: FieldSet = {f"f:{name}": {} for name in names if name not in written}
    if row.plural == "pods":
        out["f:metadata"] = {"f:deletionTimestamp": {}, "f:ownerReferences": {}}
    elif strategy.status_keeps_labels:
        out["f:metadata"] = {"f:labels": {}}
    return out


_names: dict[type[Any], tuple[tuple[str, ...], tuple[str, ...]]] = {}


def _names_of(struct: type[Any]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The fields of a kind beside its header: attributes, and the names that they have in JSON."""
    found = _names.get(struct)
    if found is not None:
        return found
    pairs = zip(struct.__struct_fields__, struct.__struct_encode_fields__, strict=True)
    kept = [(attribute, name) for attribute, name in pairs if attribute not in _HEADER]
    found = _names[struct] = tuple(attribute for attribute, _ in kept), tuple(name for _, name in kept)
    return found


# -- a new object --------------------------------------------------------------------------------------------------


def created(row: Resource, obj: Any, context: WriteContext, strategy: Strategy) -> ManagedFields:
    """The managedFields of a new object, which may have brought some along."""
    given = obj.metadata.managed_fields
    if given is not NOTHING:
        present = _given(row, obj.metadata, NOTHING)
        if present:
            form = forms.form_of(row.struct)
            changed, removed = trees.changes(forms.empty_of(row.struct), tree_of(obj), form)
            ignored = ignored_by(row, "", strategy)
            changed = field_sets.difference_recursive(changed, ignored)
            removed = field_sets.difference_recursive(removed, ignored)
            changes = updating.Changes(row.api_version, changed, removed, lambda _: None)
            return owners.encoded(updating.updated(present, changes, context.manager, "", context.now))
    bare = row.struct()
    ignored = ignored_by(row, "", strategy)
    for attribute, name in zip(*_names_of(row.struct), strict=True):
        if f"f:{name}" not in ignored:
            setattr(bare, attribute, getattr(obj, attribute))
    data = codec.encode(bare)
    if len(data) <= MAX_REMEMBERED_BYTES:
        before, after = _remembered(row, data)
    else:
        before, after = _sets_of(row.struct, data)
    metadata = _metadata_set(obj.metadata)
    fields = b",".join([part for part in (before, metadata, after) if part])
    if not fields:
        return NOTHING
    manager = context.manager or owners.UNKNOWN
    data = b"{%b}" % fields
    return owners.encoded((owners.Owner(manager, owners.UPDATE, row.api_version, time=context.now, data=data),))


def asked(obj: Any, manager: str, now: str, subresource: str = "") -> ManagedFields:
    """The managedFields of what is asked and answered but never kept: reviews and tokens."""
    before, after = _sets_of(type(obj), codec.encode(replace(obj, metadata=ObjectMeta())))
    fields = b",".join([part for part in (before, _metadata_set(obj.metadata), after) if part])
    if not fields:
        return NOTHING
    data = b"{%b}" % fields
    owner = owners.Owner(manager or owners.UNKNOWN, owners.UPDATE, obj.api_version, subresource, now, data=data)
    return owners.encoded((owner,))


def explicitly_empty(row: Resource, obj: Any) -> tuple[Any, str] | None:
    """Where a new object says that a list is empty which Go writes as null: the list is owned all the same.

    Shape: the Struct and the attribute, to be put back to an empty list while ownership is reckoned.
    """
    path = _NULL_LISTS.get((row.group, row.plural))
    if path is None:
        return None
    *parents, attribute = path
    for parent in parents:
        obj = getattr(obj, parent)
    return (obj, attribute) if getattr(obj, attribute) == [] else None


_NULL_LISTS = {
    ("rbac.authorization.k8s.io", "roles"): ("rules",),
    ("rbac.authorization.k8s.io", "clusterroles"): ("rules",),
    ("resource.k8s.io", "resourceclaims"): ("spec", "devices", "requests"),
    ("resource.k8s.io", "resourceclaimtemplates"): ("spec", "spec", "devices", "requests"),
    ("storage.k8s.io", "csinodes"): ("spec", "drivers"),
}


def _sets_of(struct: type[Any], data: bytes) -> tuple[bytes, bytes]:
    """The field sets of a new object without its metadata: of the fields before `metadata` and of those behind."""
    changed, _ = trees.changes(forms.empty_of(struct), orjson.loads(data), forms.form_of(struct))
    sides: tuple[list[bytes], list[bytes]] = ([], [])
    for key in sorted(changed):
        if key not in ("f:kind", "f:apiVersion", "f:metadata"):
            sides[key > "f:metadata"].append(b'"%b":%b' % (key.encode(), field_sets.dumped(changed[key])))
    return b",".join(sides[0]), b",".join(sides[1])


@lru_cache(maxsize=MAX_REMEMBERED)
def _remembered(row: Resource, data: bytes) -> tuple[bytes, bytes]:
    return _sets_of(row.struct, data)


def _metadata_set(metadata: Any) -> bytes:
    references = metadata.owner_references
    labels, annotations, finalizers = metadata.labels, metadata.annotations, metadata.finalizers
    generated = bool(metadata.generate_name)
    if not (generated or labels or annotations or references or finalizers):
        return b""
    many = len(labels) + len(annotations) + len(finalizers) + len(references) > MOST_REMEMBERED_NAMES
    part = _metadata_part.__wrapped__ if many else _metadata_part
    return part(generated, tuple(labels), tuple(annotations), tuple(finalizers), tuple([one.uid for one in references]))


@lru_cache(maxsize=MAX_REMEMBERED)
def _metadata_part(generated: bool, *named: tuple[str, ...]) -> bytes:
    """The field set of new metadata, by its labels, annotations, finalizers and the uids of its owners."""
    labels, annotations, finalizers, uids = named
    tree: dict[str, Any] = {"generateName": "x"} if generated else {}
    for name, value in (
        ("labels", dict.fromkeys(labels, "x")),
        ("annotations", dict.fromkeys(annotations, "x")),
        ("finalizers", list(finalizers)),
        ("ownerReferences", [{"uid": uid} for uid in uids]),
    ):
        if value:
            tree[name] = value
    changed, _ = trees.changes({}, tree, forms.form_of(ObjectMeta))
    return b'"f:metadata":%b' % field_sets.dumped(changed)


# -- an update -----------------------------------------------------------------------------------------------------


def updated(objects: Objects, context: WriteContext, new: Any, old: Any, strategy: Strategy) -> ManagedFields:
    """The managedFields after an update or a patch.

    Raises: ApiError 422 for a client's own entries with names that are too long.
    """
    row, subresource = context.row, context.subresource
    kept: ManagedFields = old.metadata.managed_fields
    given: ManagedFields = new.metadata.managed_fields
    if given is not NOTHING and given != kept and not subresource:
        if owners.is_reset(given):
            return NOTHING
        present = _given(row, new.metadata, kept)
        ours = owners.encoded(present)
    elif kept is NOTHING:
        return NOTHING  # who is nobody's stays nobody's until somebody applies
    else:
        present, ours = None, kept
    changes = _changes(objects, row, new, old, ignored_by(row, subresource, strategy))
    if not changes:
        return ours
    if present is None:
        present = usable(kept)
        if not present:
            return NOTHING
    time = None if subresource == "scale" else context.now
    return owners.encoded(updating.updated(present, changes, context.manager, subresource, time))


def _changes(objects: Objects, row: Resource, new: Any, old: Any, ignored: FieldSet) -> updating.Changes:
    """What an update changed: only fields that differ become trees."""
    struct = row.struct
    before, after = struct(), struct()
    for attribute, name in zip(*_names_of(struct), strict=True):
        one, other = getattr(old, attribute), getattr(new, attribute)
        if one is not other and f"f:{name}" not in ignored and one != other:
            setattr(before, attribute, one)
            setattr(after, attribute, other)
    for attribute in _METADATA:
        one, other = getattr(old.metadata, attribute), getattr(new.metadata, attribute)
        if one != other:
            setattr(before.metadata, attribute, one)
            setattr(after.metadata, attribute, other)
    changed: FieldSet = {}
    removed: FieldSet = {}
    if before != after:
        changed, removed = trees.changes(codec.to_tree(before), codec.to_tree(after), forms.form_of(struct))
        changed = field_sets.difference_recursive(changed, ignored)
        removed = field_sets.difference_recursive(removed, ignored)

    def elsewhere(version: str) -> tuple[FieldSet, FieldSet] | None:
        other = row_at(objects, row, version)
        if other is None:
            return None
        pair = [tree_of(convert_object(one, row, other)) for one in (old, new)]
        found = trees.changes(pair[0], pair[1], forms.form_of(other.struct))
        return field_sets.difference_recursive(found[0], ignored), field_sets.difference_recursive(found[1], ignored)

    return updating.Changes(row.api_version, changed, removed, elsewhere)


def tree_of(obj: Any) -> dict[str, Any]:
    """An object's tree without its managedFields."""
    metadata = obj.metadata
    if metadata.managed_fields is not NOTHING:
        obj = replace(obj, metadata=replace(metadata, managed_fields=NOTHING))
    tree: dict[str, Any] = codec.to_tree(obj)
    return tree


def row_at(objects: Objects, row: Resource, api_version: str) -> Resource | None:
    """The row that serves the same objects in another version."""
    if api_version == row.api_version:
        return row
    stored = objects.stored_row(row)
    return next(
        (one for one in objects.table if one.api_version == api_version and objects.stored_row(one) is stored), None
    )


# -- what is there already -----------------------------------------------------------------------------------------


def usable(data: ManagedFields) -> list[Owner]:
    """The owners that an object's managedFields name."""
    try:
        return owners.decoded(data)
    except ValueError:
        return []


def _given(row: Resource, metadata: ObjectMeta, kept: ManagedFields) -> list[Owner]:
    """The owners that a client sent, or, where it sent none that can be understood, those that are there.

    Raises: ApiError 422.
    """
    try:
        # in our own form: a client may have put keys in another order, which is no change
        found = [owner.checked() for owner in owners.decoded(metadata.managed_fields)]
    except ValueError:
        found = []
    causes = []
    for number, owner in enumerate(found):
        place = f"metadata.managedFields[{number}]"
        if len(owner.manager.encode("utf-8", "replace")) > owners.MAX_MANAGER:
            causes.append(field.too_long(f"{place}.manager", owners.MAX_MANAGER))
        if len(owner.subresource.encode("utf-8", "replace")) > MAX_SUBRESOURCE:
            causes.append(field.too_long(f"{place}.subresource", MAX_SUBRESOURCE))
    if causes:
        raise invalid(row, metadata.name, causes)
    return found or usable(kept)
