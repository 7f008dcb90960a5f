"""Expressions that run: a tree becomes functions of one run, which counts what upstream would charge.

Pure. A program is made once and run often. Errors are values as upstream has them: `&&` and `||` look past one of their sides'
if the other decides.
Source: cel-go `interpreter/{interpretable,attributes,runtimecost}.go`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from carob.api.cel import addresses as _addresses  # noqa: F401 - each of these brings its functions along
from carob.api.cel import formats as _formats  # noqa: F401
from carob.api.cel import lists as _lists  # noqa: F401
from carob.api.cel import macros, syntax
from carob.api.cel import optionals as _optionals  # noqa: F401
from carob.api.cel import quantities as _quantities  # noqa: F401
from carob.api.cel import texts as _texts  # noqa: F401
from carob.api.cel.library import FUNCTIONS, Function, no_overload
from carob.api.cel.operators import has_item, item, shown
from carob.api.cel.values import NONE, CelError, Fields, Maybe, ObjectValue, TypeName, type_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Step = Callable[["Run"], Any]

LIST_COST, MAP_COST, MESSAGE_COST = 10, 30, 40
_TYPES = frozenset(
    [
        "null_type",
        "bool",
        "int",
        "uint",
        "double",
        "string",
        "bytes",
        "list",
        "map",
        "type",
        "optional_type",
        "net.IP",
        "net.CIDR",
        "google.protobuf.Timestamp",
        "google.protobuf.Duration",
        "kubernetes.Quantity",
        "kubernetes.Semver",
        "kubernetes.URL",
    ]
)
_DOTTED = frozenset({"authorizer.requestResource"})


class OutOfBudget(Exception):
    """A run costs more than it may."""


class Run:
    """One run of one program. Shape: `variables` by their names; `cost` grows; `limit` None: as much as it takes."""

    __slots__ = ("cost", "limit", "local", "variables")

    def __init__(self, variables: Mapping[str, Any], limit: int | None = None) -> None:
        self.variables = variables
        self.limit = limit
        self.local: dict[str, Any] = {}
        self.cost = 0

    def check(self) -> None:
        """Raises: OutOfBudget."""
        if self.limit is not None and self.cost > self.limit:
            raise OutOfBudget("operation cancelled: actual cost limit exceeded")


class Program:
    """An expression, ready to run."""

    def __init__(self, text: str) -> None:
        """Raises: ParseError."""
        self.text = text
        try:
            self._step = compiled(syntax.parse(text), frozenset())
        except RecursionError:
            raise syntax.ParseError("expression is nested too deeply") from None

    def run(self, run: Run) -> Any:
        """The value. Raises: CelError, OutOfBudget."""
        try:
            value = self._step(run)
        except RecursionError:
            raise CelError("expression is nested too deeply") from None
        run.check()
        if value.__class__ is CelError:
            raise value
        return value


def compiled(node: syntax.Node, scope: frozenset[str]) -> Step:
    """What computes a part of an expression; `scope` are the names that comprehensions around it have given."""
    make: Any = _MAKERS[node.__class__]
    return make(node, scope)  # type: ignore[no-any-return]


def _constant(node: syntax.Constant, scope: frozenset[str]) -> Step:
    value = node.value
    return lambda run: value


def path_of(node: syntax.Node) -> str:
    """`a.b.c` where the node is a name or one behind another; else nothing."""
    parts: list[str] = []
    while isinstance(node, syntax.Select) and not node.test:
        parts.append(node.field)
        node = node.operand
    if not isinstance(node, syntax.Name):
        return ""
    return ".".join([node.name.removeprefix("."), *reversed(parts)])


def _name(node: syntax.Name, scope: frozenset[str]) -> Step:
    name = node.name
    if name in scope:
        return _local(name)
    return _variable(name.removeprefix("."))


def _local(name: str) -> Step:
    def step(run: Run) -> Any:
        run.cost += 1
        value = run.local[name]
        if value.__class__ is CelError:
            raise value
        return value

    return step


def _variable(name: str) -> Step:
    kind = TypeName(name) if name in _TYPES else None

    def step(run: Run) -> Any:
        run.cost += 1
        try:
            return run.variables[name]
        except KeyError:
            if kind is not None:
                return kind
            raise CelError(f"no such attribute(s): {name}") from None

    return step


def select(value: Any, name: str) -> Any:
    """`value.name`. Raises: CelError."""
    if value.__class__ is dict:
        try:
            return value[name]
        except KeyError:
            raise CelError(f"no such key: {name}") from None
    if isinstance(value, Fields):
        return value.field(name)
    if value.__class__ is Maybe:
        return Maybe(select(value.value, name)) if value.present and has(value.value, name) else NONE
    raise CelError(f"no such key: {name}")


def has(value: Any, name: str) -> bool:
    """`has(value.name)`."""
    if value.__class__ is dict:
        return name in value
    if isinstance(value, Fields):
        return value.has(name)
    return value.__class__ is Maybe and value.present and has(value.value, name)


def _select(node: syntax.Select, scope: frozenset[str]) -> Step:
    name = node.field
    path = path_of(node)
    if path in _DOTTED or path in _TYPES:
        return _variable(path)
    operand = compiled(node.operand, scope)
    if node.test:
        # asking whether there is something costs nothing
        def tested(run: Run) -> Any:
            return has(operand(run), name)

        return tested

    def step(run: Run) -> Any:
        run.cost += 1
        value = operand(run)
        if value.__class__ is dict and name in value:
            return value[name]
        return select(value, name)

    return step


def _list(node: syntax.ListOf, scope: frozenset[str]) -> Step:
    steps = [compiled(one, scope) for one in node.items]
    optional = node.optional

    def step(run: Run) -> Any:
        run.cost += LIST_COST
        if not optional:
            return [one(run) for one in steps]
        out = []
        for i, one in enumerate(steps):
            value = one(run)
            if i not in optional:
                out.append(value)
            elif _maybe(value).present:
                out.append(value.value)
        return out

    return step


def _maybe(value: Any) -> Maybe:
    if value.__class__ is not Maybe:
        raise CelError(f"cannot initialize optional entry from non-optional value {shown(value)}")
    return value


def _map(node: syntax.MapOf, scope: frozenset[str]) -> Step:
    entries = [(compiled(one.key, scope), compiled(one.value, scope), one.optional) for one in node.entries]

    def step(run: Run) -> Any:
        run.cost += MAP_COST
        out: dict[Any, Any] = {}
        for key, value, optional in entries:
            name = key(run)
            if name.__class__ in (list, dict, float, type(None)):
                raise CelError(f"unsupported key type: {type_of(name)}")
            if name in out:
                raise CelError(f"Failed with repeated key: {shown(name)}")
            found = value(run)
            if not optional:
                out[name] = found
            elif _maybe(found).present:
                out[name] = found.value
        return out

    return step


def _message(node: syntax.Message, scope: frozenset[str]) -> Step:
    name = node.name.removeprefix(".")
    entries = [(one.key, compiled(one.value, scope), one.optional) for one in node.entries]

    def step(run: Run) -> Any:
        run.cost += MESSAGE_COST
        if name not in ("Object", "JSONPatch") and not name.startswith("Object."):
            raise CelError(f"unknown type: {name}")
        out: dict[str, Any] = {}
        for key, value, optional in entries:
            found = value(run)
            if not optional:
                out[key] = found
            elif _maybe(found).present:
                out[key] = found.value
        return ObjectValue(name, out)

    return step


# -- calls ---------------------------------------------------------------------------------------------------------


def _call(node: syntax.Call, scope: frozenset[str]) -> Step:
    special = _SPECIAL.get(node.function)
    if special is not None:
        return special(node, scope)
    macro = macros.expanded(node)
    if macro is not None:
        return _comprehension(macro, scope)
    name, target = node.function, node.target
    if target is not None:
        path = path_of(target)
        whole = f"{path}.{name}"
        if path and path.partition(".")[0] not in scope and whole in FUNCTIONS:
            name, target = whole, None
    if name in _LAZY and target is not None and len(node.arguments) == 1:
        return _or(compiled(target, scope), compiled(node.arguments[0], scope), unwrap=name == "orValue")
    steps = [compiled(one, scope) for one in ([target] if target is not None else []) + node.arguments]
    return _called(FUNCTIONS.setdefault(name, Function(name)), steps)


def _called(function: Function, steps: list[Step]) -> Step:
    call, cost, result_cost = function.call, function.cost, function.result_cost
    if cost is None and result_cost is None:
        if len(steps) == 2:
            one, other = steps

            def pair(run: Run) -> Any:
                run.cost += 1
                return call((one(run), other(run)))

            return pair

        def step(run: Run) -> Any:
            run.cost += 1
            return call(tuple([one(run) for one in steps]))

        return step

    def counted(run: Run) -> Any:
        arguments = tuple([one(run) for one in steps])
        if cost is not None:
            run.cost += cost(arguments)
            run.check()  # before: the work may be as large as the cost
            return call(arguments)
        value = call(arguments)
        run.cost += result_cost(value) if result_cost is not None else 1
        run.check()
        return value

    return counted


def _flag(value: Any) -> bool:
    if value is True or value is False:
        return value
    raise CelError("no such overload")


def _decided(node: syntax.Call, scope: frozenset[str], decisive: bool) -> Step:
    """`&&` and `||`: one side that decides is enough, whatever the other one says."""
    one, other = (compiled(argument, scope) for argument in node.arguments)

    def step(run: Run) -> bool:
        try:
            first = _flag(one(run))
        except CelError:
            if _flag(other(run)) is decisive:
                return decisive
            raise
        if first is decisive:
            return decisive
        return _flag(other(run))

    return step


def _conditional(node: syntax.Call, scope: frozenset[str]) -> Step:
    condition, yes, no = (compiled(argument, scope) for argument in node.arguments)

    def step(run: Run) -> Any:
        return yes(run) if _flag(condition(run)) else no(run)

    return step


def _index(node: syntax.Call, scope: frozenset[str]) -> Step:
    container, index = (compiled(argument, scope) for argument in node.arguments)

    def step(run: Run) -> Any:
        run.cost += 1
        return item(container(run), index(run))

    return step


def _optional(node: syntax.Call, scope: frozenset[str]) -> Step:
    """`a.?b` and `a[?b]`."""
    container, index = (compiled(argument, scope) for argument in node.arguments)

    def step(run: Run) -> Any:
        run.cost += 1
        value, key = container(run), index(run)
        if value.__class__ is Maybe:
            if not value.present:
                return NONE
            value = value.value
        if value.__class__ not in (dict, list) and not isinstance(value, Fields):
            return NONE
        return Maybe(item(value, key)) if has_item(value, key) else NONE

    return step


def _not_false(node: syntax.Call, scope: frozenset[str]) -> Step:
    operand = compiled(node.arguments[0], scope)

    def step(run: Run) -> bool:
        run.cost += 1
        try:
            return operand(run) is not False
        except CelError:
            return True

    return step


def _or(target: Step, other: Step, *, unwrap: bool) -> Step:
    """`optional.or(optional)` and `optional.orValue(value)`."""

    def step(run: Run) -> Any:
        run.cost += 1
        value = target(run)
        if value.__class__ is not Maybe:
            raise no_overload("orValue" if unwrap else "or", (value,))
        if not value.present:
            return other(run)
        return value.value if unwrap else value

    return step


_LAZY = frozenset({"or", "orValue"})
_SPECIAL: dict[str, Callable[[syntax.Call, frozenset[str]], Step]] = {
    "_&&_": lambda node, scope: _decided(node, scope, decisive=False),
    "_||_": lambda node, scope: _decided(node, scope, decisive=True),
    "_?_:_": _conditional,
    "_[_]": _index,
    "_?._": _optional,
    "_[?_]": _optional,
    "@not_strictly_false": _not_false,
}


# -- comprehensions ------------------------------------------------------------------------------------------------


def items_of(value: Any) -> list[Any]:
    """What a comprehension goes through. Raises: CelError."""
    if value.__class__ is list:
        return value
    if value.__class__ is dict:
        return list(value)
    raise CelError(f"got '{type_of(value)}', expected iterable type")


class _Kept:
    """Names that a comprehension gives, put back as they were when it ends."""

    __slots__ = ("_names", "_run", "_saved")

    def __init__(self, run: Run, names: tuple[str, ...]) -> None:
        self._run = run
        self._names = names

    def __enter__(self) -> dict[str, Any]:
        local = self._run.local
        self._saved = [(name, local[name]) for name in self._names if name in local]
        return local

    def __exit__(self, *_: object) -> None:
        local = self._run.local
        for name in self._names:
            local.pop(name, None)
        local.update(self._saved)


def _fold(node: syntax.Fold, scope: frozenset[str]) -> Step:
    variable, accumulator = node.variable, node.accumulator
    source, initial = compiled(node.source, scope), compiled(node.initial, scope)
    inner = scope | {variable, accumulator}
    condition = compiled(node.condition, inner)
    always = isinstance(node.condition, syntax.Constant) and node.condition.value is True
    change = _appending(node, inner) or compiled(node.step, inner)
    result = compiled(node.result, scope | {accumulator})
    names = (variable, accumulator)

    def step(run: Run) -> Any:
        values = items_of(source(run))
        try:
            first = initial(run)
        except CelError as error:
            first = CelError(*error.args)  # who does not look at it does not meet it
        with _Kept(run, names) as local:
            local[accumulator] = first
            for one in values:
                local[variable] = one
                if not condition(run):
                    break
                try:
                    local[accumulator] = change(run)
                except CelError as error:
                    if always:
                        raise
                    local[accumulator] = CelError(*error.args)
                run.check()
            return result(run)

    return step


def _appending(node: syntax.Fold, scope: frozenset[str]) -> Step | None:
    """The step of `map` and `filter`, whose list nobody else has: it grows in place."""
    step, predicate = node.step, None
    if isinstance(step, syntax.Call) and step.function == "_?_:_":
        predicate, step, last = step.arguments
        if not isinstance(last, syntax.Name) or last.name != node.accumulator:
            return None
    if not isinstance(step, syntax.Call) or step.function != "_+_" or not isinstance(node.initial, syntax.ListOf):
        return None
    left, right = step.arguments
    if not (isinstance(left, syntax.Name) and left.name == node.accumulator):
        return None
    if not isinstance(right, syntax.ListOf) or len(right.items) != 1 or right.optional:
        return None
    value, name = compiled(right.items[0], scope), node.accumulator
    wanted = compiled(predicate, scope) if predicate is not None else None

    def grow(run: Run) -> Any:
        grown = run.local[name]
        run.cost += 1
        if wanted is None or _flag(wanted(run)):
            run.cost += LIST_COST + 1
            grown.append(value(run))
        return grown

    return grow


def _comprehension(macro: macros.Macro, scope: frozenset[str]) -> Step:
    """A macro that the library does not know."""
    source = compiled(macro.source, scope)
    names = macro.variables
    inner = scope | set(names)
    steps = [compiled(one, inner) for one in macro.parts]
    work = macros.WORK[macro.name]

    def step(run: Run) -> Any:
        value = source(run)
        pairs = value.items() if value.__class__ is dict else enumerate(items_of(value))
        with _Kept(run, names) as local:

            def each() -> Any:
                for key, one in list(pairs):
                    run.cost += 2
                    if len(names) == 2:
                        local[names[0]], local[names[1]] = key, one
                    else:
                        local[names[0]] = key if value.__class__ is dict else one
                    run.check()
                    yield key, [lambda part=part: part(run) for part in steps]

            return work(each())

    return step


_MAKERS = {
    syntax.Constant: _constant,
    syntax.Name: _name,
    syntax.Select: _select,
    syntax.Call: _call,
    syntax.ListOf: _list,
    syntax.MapOf: _map,
    syntax.Message: _message,
    syntax.Fold: _fold,
}
