"""The few objects of one resource in each namespace, kept by namespace until they change.

Most namespaces have no LimitRange and no ResourceQuota; asking about them must cost one dictionary lookup a write.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from carob.api.resources import Resource
    from carob.apiserver.types import Reader

T = TypeVar("T")


class NamespacedCache(Generic[T]):
    """Objects of a resource by namespace, sorted by name."""

    LIMIT = 4096

    def __init__(self, reader: Reader, resource: Resource) -> None:
        self._reader = reader
        self._resource = resource
        self._known: dict[str, list[T]] = {}
        reader.on_change(resource, self._changed)

    def _changed(self, namespace: str, name: str) -> None:
        self._known.pop(namespace, None)

    def of(self, namespace: str) -> list[T]:
        """The objects of a namespace; not to be changed."""
        found = self._known.get(namespace)
        if found is None:
            if len(self._known) >= self.LIMIT:
                self._known.clear()
            objects = self._reader.list(self._resource, namespace) if namespace else []
            # the reader lists in the order of names
            found = self._known[namespace] = list(objects)
        return found
