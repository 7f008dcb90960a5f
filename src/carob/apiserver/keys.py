"""Where objects lie in the store: the one place that knows the form of a key.

`/registry/<group>/<plural>/<namespace>/<name>`, without the namespace for cluster-scoped kinds; the core group is called
`core`. Kinds that several groups or versions serve (events, HorizontalPodAutoscaler) lie in the store once, in the form
of their storage row.

Pure.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from carob.api.resources import Resource, ResourceTable

ROOT = "/registry/"
CLAIMS = f"{ROOT}ranges/"
"""Where servers that share a store keep claims; no object's key begins so."""

# Rows that share the objects of another row: (group, plural) -> (group, version) of the stored form.
# Source: upstream keeps events in core/v1 and autoscalers in autoscaling/v2, whichever door they came in by.
_STORED_AS = {
    ("events.k8s.io", "events"): ("", "v1"),
    ("autoscaling", "horizontalpodautoscalers"): ("autoscaling", "v2"),
}
_SHARED = frozenset(plural for _, plural in _STORED_AS)


def storage_row(table: ResourceTable, resource: Resource) -> Resource:
    """The row in whose form the objects of `resource` are kept; usually itself."""
    if resource.plural not in _SHARED:
        return resource
    stored = _STORED_AS.get((resource.group, resource.plural))
    if stored is None:
        return resource
    return table.by_plural(*stored, resource.plural) or resource


def prefix(resource: Resource, namespace: str = "") -> str:
    """What the keys of a collection begin with. Shape: `resource` is a storage row."""
    start = f"{ROOT}{resource.group or 'core'}/{resource.plural}/"
    return f"{start}{namespace}/" if namespace else start


def key(resource: Resource, namespace: str, name: str) -> str:
    """The key of one object. Shape: `resource` is a storage row."""
    return prefix(resource, namespace if resource.namespaced else "") + name


def split(path: str) -> tuple[str, str, str, str] | None:
    """Group, plural, namespace and name of a key; None for keys that are no object's."""
    parts = path.removeprefix(ROOT).split("/")
    if len(parts) not in (3, 4):
        return None
    group = "" if parts[0] == "core" else parts[0]
    namespace = parts[2] if len(parts) == 4 else ""
    return group, parts[1], namespace, parts[-1]
