"""How functions of expressions are kept: by their name and by the types that they are called with.

Pure. A function called with types that it has no answer for says so in upstream's words; a cost is what upstream charges.
Source: cel-go `common/decls/decls.go`; costs: `interpreter/runtimecost.go`, `k8s.io/apiserver/pkg/cel/library/cost.go`.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from carob.api.cel.values import CelError, Foreign, type_of

if TYPE_CHECKING:
    from collections.abc import Callable

    Implementation = Callable[..., Any]
    Cost = Callable[[tuple[Any, ...]], int]

ANY = object
"""Stands for every type in a declaration."""
TRAVERSAL = 0.1
MAX_SIZE = 1_000_000
"""Of a list that is put together, and of a text: upstream's lists share their parts, ours do not, and a cost of one must not
buy all memory."""
REGEX = 0.25


class Function:
    """All overloads of one name. Shape: `exact` by the classes of the arguments, `general` where some may be any."""

    __slots__ = ("cost", "exact", "general", "name", "result_cost")

    def __init__(self, name: str) -> None:
        self.name = name
        self.exact: dict[tuple[type[Any], ...], Implementation] = {}
        self.general: list[tuple[tuple[type[Any], ...], Implementation]] = []
        self.cost: Cost | None = None
        """By the arguments, and charged before the call; None: always one."""
        self.result_cost: Callable[[Any], int] | None = None
        """By what came of the call, instead."""

    def call(self, arguments: tuple[Any, ...]) -> Any:
        """The answer. Raises: CelError."""
        kinds = tuple([one.__class__ for one in arguments])
        found = self.exact.get(kinds)
        if found is None:
            found = self._found(kinds, arguments)
        try:
            return found(*arguments)
        except CelError:
            raise
        except (ValueError, OverflowError) as error:
            raise CelError(str(error)) from None

    def _found(self, kinds: tuple[type[Any], ...], arguments: tuple[Any, ...]) -> Implementation:
        for wanted, run in self.general:
            if len(wanted) == len(kinds) and all(w is ANY or w is k for w, k in zip(wanted, kinds, strict=True)):
                return run
        first = arguments[0] if arguments else None
        if isinstance(first, Foreign):
            own = first.methods.get(self.name)
            if own is not None:
                return own
        raise no_overload(self.name, arguments)


FUNCTIONS: dict[str, Function] = {}


def function(name: str, *overloads: tuple[tuple[type[Any], ...], Implementation], cost: Cost | None = None) -> Function:
    """Add overloads to a function. Shape: each is the types of its arguments, a member's own first, and what it does."""
    found = FUNCTIONS.setdefault(name, Function(name))
    for kinds, run in overloads:
        if ANY in kinds:
            found.general.append((kinds, run))
        else:
            found.exact[kinds] = run
    if cost is not None:
        found.cost = cost
    return found


def costs(names: str, cost: Cost) -> None:
    """Say what functions cost, by their names."""
    for name in names.split():
        FUNCTIONS.setdefault(name, Function(name)).cost = cost


def result_costs(names: str, cost: Callable[[Any], int]) -> None:
    """Say what functions cost that make something large of something small."""
    for name in names.split():
        FUNCTIONS.setdefault(name, Function(name)).result_cost = cost


def no_overload(name: str, arguments: tuple[Any, ...]) -> CelError:
    """What is said of a call with wrong types."""
    return CelError(f"no such overload: {name}({', '.join(map(type_of, arguments))})")


def size(value: Any) -> int:
    """How large a value is for those who reckon with it; one where it has no size."""
    return len(value) if value.__class__ in (str, list, dict, bytes) else 1


def bounded(count: int, what: str) -> None:
    """Refuse what would become too large before it is made. Raises: CelError."""
    if count > MAX_SIZE:
        raise CelError(f"{what} is too large: {count}, limit {MAX_SIZE}")


def traversed(count: int, times: float = 1) -> int:
    """What walking through a text once costs, or several times."""
    return math.ceil(count * TRAVERSAL * times)


def works(convert: Callable[..., Any]) -> Callable[..., bool]:
    """Whether a conversion has an answer."""

    def check(*arguments: Any) -> bool:
        try:
            convert(*arguments)
        except ValueError:
            return False
        return True

    return check
