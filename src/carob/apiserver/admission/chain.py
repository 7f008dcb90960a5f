"""The chain of admission plugins: every `admit` in order, then, on the final object, every `validate`.

The plugins need the reader of the engine that calls them, so the chain is made empty and filled once both exist.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from carob.apiserver.types import AdmissionPlugin, Attributes


class AdmissionChain:
    """All plugins as one `Admission`."""

    def __init__(self, plugins: Iterable[AdmissionPlugin] = ()) -> None:
        self._plugins = tuple(plugins)

    def use(self, plugins: Iterable[AdmissionPlugin]) -> None:
        """Put these plugins in, in this order."""
        self._plugins = tuple(plugins)

    def admit(self, attributes: Attributes) -> None:
        """Let every plugin change the object. Raises: ApiError of the first that refuses."""
        for plugin in self._plugins:
            plugin.admit(attributes)

    def validate(self, attributes: Attributes) -> None:
        """Let every plugin judge the final object. Raises: ApiError of the first that refuses."""
        for plugin in self._plugins:
            plugin.validate(attributes)
