"""The chain of admission plugins: every `admit` in order, then, on the final object, every `validate`.

The plugins need the reader of the engine that calls them, so the chain is made empty and filled once both exist.

A plugin may say with `handles` which resources (pairs of group and plural name) it is about, and with `phases` which of
the two calls it needs; the chain of each resource then has only those who have something to say about it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from carob.api.status import ApiError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from carob.apiserver.types import AdmissionPlugin, Attributes

    Calls = tuple[Callable[[Attributes], None], ...]

ADMIT = "admit"
VALIDATE = "validate"


class AdmissionChain:
    """All plugins as one `Admission`."""

    def __init__(self, plugins: Iterable[AdmissionPlugin] = ()) -> None:
        self._plugins = tuple(plugins)
        self._calls: dict[tuple[str, str], tuple[Calls, Calls]] = {}

    def use(self, plugins: Iterable[AdmissionPlugin]) -> None:
        """Put these plugins in, in this order."""
        self._plugins = tuple(plugins)
        self._calls.clear()

    def admit(self, attributes: Attributes) -> None:
        """Let the plugins change the object; all of them once more if one asks for it. Raises: ApiError of who refuses."""
        calls = self._of(attributes)[0]
        for call in calls:
            call(attributes)
        again = attributes.reinvocation
        if again is not None and again.wanted:
            again.running = True
            for call in calls:
                call(attributes)

    def validate(self, attributes: Attributes) -> None:
        """Let the plugins judge the final object. Raises: ApiError of the first that refuses."""
        try:
            for call in self._of(attributes)[1]:
                call(attributes)
        except ApiError as error:
            error.warnings = attributes.warnings
            raise

    def _of(self, attributes: Attributes) -> tuple[Calls, Calls]:
        place = (attributes.resource.group, attributes.resource.plural)
        found = self._calls.get(place)
        if found is None:
            mine = [plugin for plugin in self._plugins if place in getattr(plugin, "handles", (place,))]
            admits = tuple(one.admit for one in mine if ADMIT in getattr(one, "phases", (ADMIT, VALIDATE)))
            validates = tuple(one.validate for one in mine if VALIDATE in getattr(one, "phases", (ADMIT, VALIDATE)))
            found = self._calls[place] = admits, validates
        return found
