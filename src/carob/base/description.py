"""Classes that are their annotated fields, for what every command of the command line loads.

A dataclass would be the usual word: `dataclasses` alone takes a command 15 ms to import, msgspec 25.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Self, TypeVar, dataclass_transform

    T = TypeVar("T")
else:

    def dataclass_transform(**_: object) -> Callable[[type], type]:
        return lambda cls: cls


class _Fresh:
    """The default of a field that every object has of its own."""

    def __init__(self, make: Callable[[], Any]) -> None:
        self.make = make


def fresh(*, factory: Callable[[], T]) -> T:
    """The default of a field: what `factory` makes, for each object anew."""
    return _Fresh(factory)  # type: ignore[return-value]


@dataclass_transform(field_specifiers=(fresh,))
class Description:
    """An object's fields are the annotations of its class, in order; given by place or by name, else their defaults."""

    _defaults: dict[str, Any]  # only of the class

    def __init_subclass__(cls) -> None:
        cls._defaults = {name: vars(cls).get(name, ...) for name in cls.__annotations__}

    def __init__(self, *values: Any, **named: Any) -> None:
        """Raises: TypeError for a field that is unknown, given twice, or missing."""
        mine = self.__dict__
        for name, value in zip(self._defaults, values, strict=False):
            if name in named:
                raise TypeError(f"{type(self).__name__}: {name} is given twice")
            mine[name] = value
        if len(values) > len(self._defaults) or not named.keys() <= self._defaults.keys():
            raise TypeError(f"{type(self).__name__} has no such fields: {values[len(self._defaults) :]}, {[*named]}")
        mine.update(named)
        for name, default in self._defaults.items():
            if name not in mine:
                if default is ...:
                    raise TypeError(f"{type(self).__name__}: {name} is missing")
                mine[name] = default.make() if isinstance(default, _Fresh) else default

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self.__dict__ == other.__dict__

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in self.__dict__.items())})"

    @classmethod
    def known(cls, tree: dict[str, Any]) -> Self:
        """From a tree that may say more than we know. Raises: TypeError when something is missing."""
        return cls(**{name: value for name, value in tree.items() if name in cls._defaults})

    def tree(self) -> dict[str, Any]:
        """The fields by their names, in order, down to the last; what they hold is not copied."""
        return {name: _tree(getattr(self, name)) for name in self._defaults}


def _tree(value: Any) -> Any:
    if isinstance(value, Description):
        return value.tree()
    return [_tree(one) for one in value] if isinstance(value, list) else value
