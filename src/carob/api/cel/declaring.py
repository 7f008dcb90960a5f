"""How a library says what it has: functions with overloads, and the types of its values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cel_expr_python import cel  # type: ignore[import-untyped]

if TYPE_CHECKING:
    from collections.abc import Callable

Kind = cel.Type
QUANTITY = Kind.Map(Kind.INT, Kind.STRING)
SEMVER = Kind.Map(Kind.BOOL, Kind.STRING)
IP = Kind.Map(Kind.UINT, Kind.STRING)
CIDR = Kind.Map(Kind.UINT, Kind.BYTES)
URL = Kind.Map(Kind.UINT, Kind.List(Kind.STRING))
FORMAT = Kind.Map(Kind.UINT, Kind.INT)


def function(name: str, *overloads: tuple[Any, list[Any], Any], member: bool = True) -> Any:
    """A function. Shape: an overload is its answer's type, its parameters' and the implementation (None: another one's)."""
    return cel.FunctionDecl(name, overloads_of(name, *overloads, member=member))


def overloads_of(name: str, *overloads: tuple[Any, list[Any], Any], member: bool) -> list[Any]:
    """See `function`, which may have some that are called as members and some that are not."""
    made, kind = [], "member" if member else "global"
    for i, (answer, parameters, run) in enumerate(overloads):
        more = {} if run is None else {"impl": run}
        made.append(cel.Overload(f"carob_{name}_{kind}_{i}", answer, parameters, member, **more))
    return made


def works(convert: Callable[..., Any]) -> Callable[..., bool]:
    """Whether a conversion has an answer."""

    def check(*arguments: Any) -> bool:
        try:
            convert(*arguments)
        except ValueError:
            return False
        return True

    return check
