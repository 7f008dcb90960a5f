"""Which objects a list or a watch is about: namespace, labels and fields as one test."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from carob.api.selectors import SelectorError, parse_labels
from carob.api.status import bad_request
from carob.apiserver import field_selectors

if TYPE_CHECKING:
    from collections.abc import Callable

    from carob.api.resources import Resource
    from carob.api.selectors import FieldSelector, LabelSelector
    from carob.apiserver.watch_cache import Entry


class Selection(Struct, frozen=True):
    """A compiled selection. `matches` is None when everything of the namespace is meant."""

    namespace: str
    labels: LabelSelector
    fields: FieldSelector
    matches: Callable[[Entry], bool] | None

    @property
    def key(self) -> tuple[object, ...]:
        """Equal for equal selections."""
        return (self.namespace, self.labels, self.fields)

    @property
    def name(self) -> str | None:
        """The one name that is selected, or None."""
        return self.fields.exact("metadata.name") if self.fields.terms else None

    def exact(self, row: Resource) -> tuple[int, str] | None:
        """A field that must have one value: its position among the selectable fields (-1: the name), and the value."""
        for position, path in enumerate(field_selectors.selectable(row)):
            value = self.fields.exact(path)
            if value is not None:
                return position, value
        name = self.name
        return None if name is None else (-1, name)


def select(row: Resource, stored: Resource, namespace: str, labels_text: str, fields_text: str) -> Selection:
    """The selection of a query. Raises: ApiError 400."""
    try:
        labels = parse_labels(labels_text)
    except SelectorError as error:
        raise bad_request(str(error)) from None
    fields = field_selectors.parse(row, stored, fields_text)
    by_fields = field_selectors.matcher(stored, fields)
    if labels.empty:
        return Selection(namespace, labels, fields, by_fields)
    of_labels = labels.matches
    if by_fields is None:
        return Selection(namespace, labels, fields, lambda entry: of_labels(entry.labels))
    return Selection(namespace, labels, fields, lambda entry: by_fields(entry) and of_labels(entry.labels))
