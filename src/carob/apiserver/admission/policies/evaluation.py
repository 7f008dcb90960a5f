"""A write as expressions see it, and the programs of one policy run over it.

Imported with the first policy that is about a write: it brings the expression language along.

Source: apiserver `pkg/admission/plugin/cel/{activation,condition,composition}.go`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from carob.api import codec
from carob.api.cel.evaluation import OutOfBudget, Program, Run
from carob.api.cel.syntax import ParseError
from carob.api.cel.values import CelError, Fields
from carob.apiserver.admission.policies import authorizing
from carob.apiserver.admission.refusals import NAMESPACES
from carob.apiserver.authz.questions import Question
from carob.apiserver.conversion import convert_object
from carob.apiserver.types import Operation

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from carob.api.resources import Resource
    from carob.apiserver.admission.policies.matching import Scope
    from carob.apiserver.authz.authorizer import Authorizer
    from carob.apiserver.types import Attributes, Reader

# Source: `k8s.io/apiserver/pkg/apis/cel/config.go`
CALL_LIMIT = 1_000_000
BUDGET = 10_000_000
CONDITIONS_BUDGET = BUDGET // 4

Tree = dict[str, Any]

_OUT_OF_BUDGET = "validation failed due to running out of cost budget, no further validation rules will be run"
_NAMESPACE_METADATA = (
    *("name", "generateName", "namespace", "uid", "resourceVersion", "generation", "creationTimestamp"),
    *("deletionTimestamp", "deletionGracePeriodSeconds", "labels", "annotations", "finalizers"),
)
_OF_THE_SERVER = ("uid", "creationTimestamp")
_OPTIONS = {
    Operation.CREATE: "CreateOptions",
    Operation.UPDATE: "UpdateOptions",
    Operation.DELETE: "DeleteOptions",
}


class BudgetSpent(Exception):
    """The expressions of a policy cost more than they may together; the words are upstream's."""


class Compiled:
    """An expression, or why it is none."""

    __slots__ = ("problem", "program", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self.problem = ""
        self.program: Program | None = None
        try:
            self.program = Program(text)
        except ParseError as error:
            self.problem = f"compilation failed: {error}"


class Result:
    """What an expression gave: a value, or an error in upstream's words."""

    __slots__ = ("error", "value")

    def __init__(self, value: Any = None, error: str = "") -> None:
        self.value = value
        self.error = error


class Around(dict[str, Any]):
    """What expressions may speak of, by its name; each is made when the first expression asks for it."""

    def __init__(self, makers: dict[str, Callable[[], Any]]) -> None:
        super().__init__()
        self.makers = makers

    def __missing__(self, name: str) -> Any:
        made = self[name] = self.makers[name]()
        return made


class Variables(Fields):
    """`variables.x`: each is worked out once, when somebody asks for it."""

    __slots__ = ("_around", "_known", "_programs", "cost")
    type_name = "kubernetes.variables"

    def __init__(self, programs: dict[str, Compiled], around: Around) -> None:
        self._programs = programs
        self._around = around
        self._known: dict[str, Any] = {}
        self.cost = 0

    def has(self, name: str) -> bool:
        return name in self._programs

    def field(self, name: str) -> Any:
        if name not in self._known:
            self._known[name] = self._worked_out(name)
        found = self._known[name]
        if isinstance(found, CelError):
            raise CelError(*found.args)
        return found

    def _worked_out(self, name: str) -> Any:
        compiled = self._programs.get(name)
        if compiled is None:
            return CelError(f"no such key: {name}")
        if compiled.program is None:
            return CelError(f'composited variable "{name}" fails to compile: {compiled.problem}')
        run = Run(self._around, CALL_LIMIT)
        try:
            return compiled.program.run(run)
        except (CelError, OutOfBudget) as error:
            return CelError(f'composited variable "{name}" fails to evaluate: {error}')
        finally:
            self.cost += run.cost


class View:
    """One write, made ready for expressions step by step as they are asked for."""

    def __init__(self, scope: Scope, reader: Reader, authorizer: Authorizer, *, unborn: bool = False) -> None:
        """`unborn`: a new object is shown without what the server alone gives it, as it is before others may change it."""
        self._unborn = unborn and scope.attributes.operation is Operation.CREATE
        self.scope = scope
        self.attributes: Attributes = scope.attributes
        self._reader = reader
        self._answers = authorizing.Answers(authorizer)
        self._trees: dict[tuple[bool, str], Any] = {}
        self._namespace: Any = None
        self._requests: dict[str, Tree] = {}

    def forget_object(self) -> None:
        """The object has changed: read it anew."""
        self._trees = {key: tree for key, tree in self._trees.items() if key[0]}

    def tree(self, *, old: bool, row: Resource) -> Any:
        """The object, or the one before it, as JSON in the version of a row."""
        key = (old, row.api_version)
        if key not in self._trees:
            self._trees[key] = self._read(self.attributes.old if old else self.attributes.obj, row)
        return self._trees[key]

    def _read(self, obj: Any, row: Resource) -> Any:
        if obj is None or isinstance(obj, dict):
            return obj
        if self.attributes.subresource == "scale":
            from carob.apiserver.handlers.scale import scale_of

            obj = scale_of(obj)
        elif row is not self.scope.row:
            obj = convert_object(obj, self.scope.row, row)
        tree = orjson.loads(codec.encode(obj))
        if self._unborn:
            metadata = tree.get("metadata", {})
            for name in _OF_THE_SERVER:
                metadata.pop(name, None)
        return tree

    def struct(self, row: Resource) -> type[Any]:
        """The type of what `tree` shows."""
        if self.attributes.subresource == "scale":
            from carob.api.types import autoscaling_v1

            return autoscaling_v1.Scale
        return type(self.attributes.obj) if row is self.scope.row else row.struct

    def own_version(self, obj: Any, row: Resource) -> Any:
        """An object in the version of a row as the write has it."""
        return obj if row is self.scope.row else convert_object(obj, row, self.scope.row)

    @property
    def namespace(self) -> Any:
        """`namespaceObject`: nothing for what lies in none."""
        if self.scope.of_namespaces or not self.scope.namespace:
            return None
        if self._namespace is None:
            found = self._reader.get(NAMESPACES, "", self.scope.namespace)
            if found is None:
                return None
            tree = orjson.loads(codec.encode(found))
            metadata = tree.get("metadata", {})
            kept = {key: metadata[key] for key in _NAMESPACE_METADATA if key in metadata}
            self._namespace = {"metadata": kept, "spec": tree.get("spec", {}), "status": tree.get("status", {})}
        return self._namespace

    def variables(self, row: Resource, params: Any, *, authorized: bool = True) -> Around:
        """What expressions may speak of, without a policy's own variables. `row` is as what the write is meant."""
        makers: dict[str, Callable[[], Any]] = {
            "object": lambda: self.tree(old=False, row=row),
            "oldObject": lambda: self.tree(old=True, row=row),
            "request": lambda: self.request(row),
            "namespaceObject": lambda: self.namespace,
            "params": lambda: params,
        }
        if authorized:
            makers["authorizer"] = self._authorizer
            makers["authorizer.requestResource"] = self._request_resource
        return Around(makers)

    def _authorizer(self) -> authorizing.AuthorizerValue:
        return authorizing.AuthorizerValue(self._answers, self.attributes.user, Question(""))

    def _request_resource(self) -> authorizing.ResourceCheck:
        row, scope = self.scope.row, self.scope
        question = Question("", row.group, row.plural, self.attributes.subresource, scope.namespace, scope.name)
        return authorizing.ResourceCheck(self._answers, self.attributes.user, question)

    def request(self, row: Resource) -> Tree:
        """`request`, with the fields that are not empty."""
        if row.api_version not in self._requests:
            self._requests[row.api_version] = self._request(row)
        return self._requests[row.api_version]

    def _request(self, row: Resource) -> Tree:
        attributes, own = self.attributes, self.scope.row
        user = attributes.user
        info = {"username": user.name, "uid": user.uid, "groups": list(user.groups)}
        out: Tree = {
            "uid": "",
            "kind": _kind(row, attributes.subresource),
            "resource": {"group": row.group, "version": row.version, "resource": row.plural},
            "requestKind": _kind(own, attributes.subresource),
            "requestResource": {"group": own.group, "version": own.version, "resource": own.plural},
            "operation": attributes.operation.value,
            "userInfo": {key: value for key, value in info.items() if value},
            "dryRun": attributes.dry_run,
            "options": self._options(),
        }
        if user.extra:
            out["userInfo"]["extra"] = {key: list(value) for key, value in user.extra.items()}
        more = {
            "subResource": attributes.subresource,
            "requestSubResource": attributes.subresource,
            "name": self.scope.name,
            "namespace": self.scope.namespace,
        }
        return out | {key: value for key, value in more.items() if value}

    def _options(self) -> Any:
        attributes = self.attributes
        kind = _OPTIONS.get(attributes.operation)
        if kind is None:
            return None
        out: Tree = {"kind": kind, "apiVersion": "meta.k8s.io/v1"}
        if attributes.options is not None:
            out |= {key: one for key, one in orjson.loads(codec.encode(attributes.options)).items() if key not in out}
        for name in ("fieldManager", "fieldValidation"):
            values = (attributes.query or {}).get(name)
            if values and values[0]:
                out[name] = values[0]
        if attributes.dry_run:
            out["dryRun"] = ["All"]
        return out


def _kind(row: Resource, subresource: str) -> Tree:
    found = row.subresource(subresource) if subresource else None
    if found is None or not found.kind:
        return {"group": row.group, "version": row.version, "kind": row.kind}
    group = row.group if found.group is None else found.group
    return {"group": group, "version": found.version or row.version, "kind": found.kind}


def params_tree(params: Any) -> Any:
    """A parameter as JSON."""
    return None if params is None else orjson.loads(codec.encode(params))


class Session:
    """The expressions of one policy over one write and one parameter; they share variables and a budget."""

    def __init__(self, variables: dict[str, Compiled], around: Around, budget: int) -> None:
        self.around = Around(around.makers)
        self.own = Variables(variables, self.around)
        self.around["variables"] = self.own
        self.budget = budget

    def evaluate(self, compiled: Compiled) -> Result:
        """Run one of them. Raises: BudgetSpent."""
        if compiled.program is None:
            return Result(error=f"compilation error: {compiled.problem}")
        run = Run(self.around, CALL_LIMIT)
        result = Result()
        try:
            result.value = compiled.program.run(run)
        except (CelError, OutOfBudget) as error:
            result.error = f"expression '{compiled.text}' resulted in error: {error}"
        self.budget -= run.cost + self.own.cost
        self.own.cost = 0
        if self.budget < 0:
            raise BudgetSpent(_OUT_OF_BUDGET)
        return result


class Conditions:
    """`matchConditions`: all must hold for the policy to be asked."""

    def __init__(self, conditions: Sequence[Any], fails: bool) -> None:
        """`fails`: whether an error refuses the request, or lets the policy be left out."""
        self._compiled = [Compiled(one.expression.strip()) for one in conditions]
        self._fails = fails

    def hold(self, variables: dict[str, Compiled], around: Around) -> bool | str:
        """Whether they do; a text says why nobody knows."""
        if not self._compiled:
            return True
        session = Session(variables, around, CONDITIONS_BUDGET)
        errors: list[str] = []
        try:
            for one in self._compiled:
                result = session.evaluate(one)
                if result.error:
                    errors.append(result.error)
                elif result.value is False:
                    return False
        except BudgetSpent as error:
            return str(error) if self._fails else False
        if not errors:
            return True
        if not self._fails:
            return False
        return errors[0] if len(errors) == 1 else "[" + ", ".join(dict.fromkeys(errors)) + "]"
