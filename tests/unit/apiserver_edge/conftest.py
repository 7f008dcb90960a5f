"""A reader over objects in memory, and short ways to make RBAC objects and Pods from trees."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from carob.api import codec
from carob.api.resources import TABLE, Resource

if TYPE_CHECKING:
    from collections.abc import Callable


class MemoryReader:
    """A `Reader` whose objects a test puts in; it tells of each change at once."""

    def __init__(self) -> None:
        self._objects: dict[tuple[str, str], dict[tuple[str, str], Any]] = {}
        self._callbacks: dict[tuple[str, str], list[Callable[[str, str], None]]] = {}

    def _key(self, resource: Resource) -> tuple[str, str]:
        return resource.group, resource.plural

    def get(self, resource: Resource, namespace: str, name: str) -> Any | None:
        return self._objects.get(self._key(resource), {}).get((namespace, name))

    def list(self, resource: Resource, namespace: str = "") -> list[Any]:
        found = self._objects.get(self._key(resource), {})
        return [obj for (where, _), obj in found.items() if not namespace or where == namespace]

    def on_change(self, resource: Resource, callback: Callable[[str, str], None]) -> None:
        self._callbacks.setdefault(self._key(resource), []).append(callback)

    def put(self, tree: dict[str, Any]) -> Any:
        """Create or replace an object; a UID is made of its name."""
        resource = TABLE.by_kind(tree["apiVersion"], tree["kind"])
        assert resource is not None
        metadata = {"uid": f"uid-of-{tree['metadata']['name']}"} | tree["metadata"]
        obj = codec.from_tree(resource.struct, tree | {"metadata": metadata})
        key = obj.metadata.namespace, obj.metadata.name
        self._objects.setdefault(self._key(resource), {})[key] = obj
        self._tell(resource, *key)
        return obj

    def delete(self, resource: Resource, namespace: str, name: str) -> None:
        """Remove an object."""
        del self._objects[self._key(resource)][namespace, name]
        self._tell(resource, namespace, name)

    def _tell(self, resource: Resource, namespace: str, name: str) -> None:
        for callback in self._callbacks.get(self._key(resource), ()):
            callback(namespace, name)


@pytest.fixture
def reader() -> MemoryReader:
    return MemoryReader()
