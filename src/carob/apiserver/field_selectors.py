"""Which fields of which kind a field selector may name, and how their values are read from an object's bytes.

Pure. Every kind can be selected by `metadata.name` and `metadata.namespace`; the rest is upstream's list. A value is text:
booleans are `true` and `false`, numbers are decimal, what is absent is empty.

Source: apimachinery field label conversions and the `ToSelectableFields` of upstream's registry.
"""

from __future__ import annotations

from functools import cache
from operator import attrgetter
from sys import intern
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import msgspec

from carob.api.selectors import FieldSelector, SelectorError, parse_fields
from carob.api.status import bad_request

if TYPE_CHECKING:
    from collections.abc import Callable

    from carob.api.resources import Resource

_REGARDING = ("kind", "namespace", "name", "uid", "apiVersion", "resourceVersion", "fieldPath")

# (group, plural) of the storage row -> paths beyond metadata.name and metadata.namespace
SELECTABLE: dict[tuple[str, str], tuple[str, ...]] = {
    ("", "pods"): (
        "spec.nodeName",
        "spec.restartPolicy",
        "spec.schedulerName",
        "spec.serviceAccountName",
        "spec.hostNetwork",
        "status.phase",
        "status.podIP",
        "status.podIPs",
        "status.nominatedNodeName",
    ),
    ("", "nodes"): ("spec.unschedulable",),
    ("", "namespaces"): ("status.phase",),
    ("", "secrets"): ("type",),
    ("", "services"): ("spec.clusterIP", "spec.type"),
    ("", "replicationcontrollers"): ("status.replicas",),
    ("", "events"): (
        *(f"involvedObject.{name}" for name in _REGARDING),
        "reason",
        "reportingComponent",
        "source",
        "type",
    ),
    ("apps", "replicasets"): ("status.replicas",),
    ("batch", "jobs"): ("status.successful",),
    ("certificates.k8s.io", "certificatesigningrequests"): ("spec.signerName",),
    ("certificates.k8s.io", "clustertrustbundles"): ("spec.signerName",),
    ("resource.k8s.io", "resourceslices"): ("spec.nodeName", "spec.driver"),
}

# events.k8s.io names the same fields otherwise
_RENAMED = {
    **{f"regarding.{name}": f"involvedObject.{name}" for name in _REGARDING},
    "reportingController": "reportingComponent",
}

# Kinds whose refusal is worded "field label not supported": they have a conversion of their own upstream.
_OWN_WORDS = {plural for group, plural in SELECTABLE if group in ("", "certificates.k8s.io")} | {"replicasets"}


class Index(NamedTuple):
    """What the cache keeps of an object besides its bytes: `fields` are in the order of `selectable(row)`."""

    labels: dict[str, str]
    fields: tuple[str, ...]


class Indexed(Protocol):
    """An object of the cache as selectors see it."""

    namespace: str
    name: str
    labels: dict[str, str]
    fields: tuple[str, ...]


def selectable(row: Resource) -> tuple[str, ...]:
    """The paths that selectors of a storage row may name, besides metadata's two."""
    return SELECTABLE.get((row.group, row.plural), ())


class _Labels(msgspec.Struct, gc=False):
    labels: dict[str, str] | None = None


class _Ip(msgspec.Struct, gc=False):
    ip: str = ""


@cache
def indexer(row: Resource) -> Callable[[bytes], Index]:
    """A function from an object's stored bytes to its index values; it decodes only what it keeps."""
    paths = selectable(row)
    decode = msgspec.json.Decoder(_struct_of(paths)).decode
    if not paths:
        return lambda value: Index(decode(value).metadata.labels or _NO_LABELS, ())
    # a second, unused path makes attrgetter answer with a tuple in every case
    read = attrgetter(*(_JSON_PATH.get(path, path) for path in paths), "metadata")
    fixes = [(position, _FIXES[path]) for position, path in enumerate(paths) if path in _FIXES]
    source = paths.index("source") if "source" in paths else -1

    def index(value: bytes) -> Index:
        found = decode(value)
        values = list(read(found))
        values.pop()
        for position, fix in fixes:
            values[position] = fix(values[position])
        if source >= 0 and not values[source]:
            values[source] = found.reportingComponent
        return Index(found.metadata.labels or _NO_LABELS, tuple([intern(text) for text in values]))

    return index


_NO_LABELS: dict[str, str] = {}


def _boolean(value: bool) -> str:
    return "true" if value else "false"


def _addresses(value: list[_Ip]) -> str:
    return ",".join(one.ip for one in value)


# fields that are not text, with their default and how they become text
_TYPES: dict[str, tuple[Any, Any]] = {
    "spec.hostNetwork": (bool, False),
    "spec.unschedulable": (bool, False),
    "status.replicas": (int, 0),
    "status.successful": (int, 0),
    "status.podIPs": (list[_Ip], ()),
}
_FIXES: dict[str, Callable[[Any], str]] = {
    "spec.hostNetwork": _boolean,
    "spec.unschedulable": _boolean,
    "status.replicas": str,
    "status.successful": str,
    "status.podIPs": _addresses,
    "spec.nodeName": lambda value: value or "",
}
# JSON differs from the selector's name
_JSON_PATH = {"status.successful": "status.succeeded", "source": "source.component"}


def _struct_of(paths: tuple[str, ...]) -> type[Any]:
    """A Struct with only the leaves that the paths name; what is absent has its zero value."""
    tree: dict[str, Any] = {}
    for path in paths:
        *parents, leaf = _JSON_PATH.get(path, path).split(".")
        at = tree
        for parent in parents:
            at = at.setdefault(parent, {})
        at[leaf] = path
    if "source" in paths:
        tree["reportingComponent"] = "reportingComponent"
    return _made("Index", tree, [("metadata", _Labels)])


def _made(name: str, tree: dict[str, Any], fixed: list[tuple[str, Any]]) -> type[Any]:
    fields: list[Any] = list(fixed)
    for key, below in tree.items():
        if isinstance(below, dict):
            struct = _made(f"{name}_{key}", below, [])
            fields.append((key, struct, msgspec.field(default_factory=struct)))
        elif below == "status.podIPs":
            fields.append((key, list[_Ip], msgspec.field(default_factory=list)))
        else:
            kind, default = _TYPES.get(below, (str | None, ""))
            fields.append((key, kind, default))
    return msgspec.defstruct(name, fields, gc=False)


def parse(resource: Resource, stored: Resource, text: str) -> FieldSelector:
    """The field selector of a query, its paths renamed to those of the stored form.

    Raises: ApiError 400 for what cannot be parsed or names a field that this kind cannot be selected by.
    """
    try:
        selector = parse_fields(text)
    except SelectorError as error:
        raise bad_request(str(error)) from None
    known = selectable(stored)
    terms = []
    for path, equal, value in selector.terms:
        renamed = _RENAMED.get(path, path) if resource is not stored else path
        if renamed not in known and renamed not in ("metadata.name", "metadata.namespace"):
            raise bad_request(_refusal(resource, path))
        terms.append((renamed, equal, value))
    return FieldSelector(tuple(terms))


def _refusal(resource: Resource, path: str) -> str:
    if resource.plural in _OWN_WORDS:
        return f"field label not supported: {path}"
    if (resource.group, resource.plural) == ("batch", "jobs"):
        return f'field label "{path}" not supported for Job'
    known = '"metadata.name", "metadata.namespace"'
    return f'"{path}" is not a known field selector: only {known}'


def matcher(row: Resource, selector: FieldSelector) -> Callable[[Indexed], bool] | None:
    """A test of one cached object; None when everything passes."""
    if selector.empty:
        return None
    paths = selectable(row)
    tests: list[tuple[int, bool, str]] = []
    for path, equal, value in selector.terms:
        position = {"metadata.name": -1, "metadata.namespace": -2}.get(path)
        tests.append((paths.index(path) if position is None else position, equal, value))

    def matches(entry: Indexed) -> bool:
        for position, equal, value in tests:
            held = entry.fields[position] if position >= 0 else (entry.name if position == -1 else entry.namespace)
            if (held == value) is not equal:
                return False
        return True

    return matches
