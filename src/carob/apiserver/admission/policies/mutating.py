"""MutatingAdmissionPolicy: who matches is changed by what the policy's expressions give.

Policies are asked one after the other, each sees what those before it did; then everybody who changes objects is called once
more, so that built-in defaults meet what is new, and of the policies those that say so (`reinvocationPolicy`).

Source: apiserver `pkg/admission/plugin/policy/mutating/dispatcher.go`, `policy/generic/policy_dispatcher.go`.
Differs: policies and bindings are asked in the order of their names, where upstream's order is by chance.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from carob.api.status import ApiError, bad_request
from carob.apiserver.admission.policies import index
from carob.apiserver.admission.refusals import refused
from carob.apiserver.types import Operation, Reinvocation

if TYPE_CHECKING:
    from carob.api.resources import Resource, ResourceTable
    from carob.apiserver.admission.policies.evaluation import View
    from carob.apiserver.authz.authorizer import Authorizer
    from carob.apiserver.types import Attributes, Reader

NAME = "MutatingAdmissionPolicy"
APPLY, IF_NEEDED, INVALID = "ApplyConfiguration", "IfNeeded", "Invalid"
# what a policy cannot give an object
_OF_THE_SERVER = (
    *("uid", "creation_timestamp", "deletion_timestamp", "deletion_grace_period_seconds", "generation"),
    *("resource_version", "self_link", "managed_fields"),
)


class Fault(NamedTuple):
    """Why a policy could not do what it is for. `reason` empty: as any refusal's."""

    message: str
    reason: str = ""


class Invocation(NamedTuple):
    """A policy with one binding and one parameter, about one write."""

    hook: index.Hook
    binding: str
    row: Resource
    params: Any
    key: tuple[str, ...]

    def fault(self, message: str) -> list[Fault]:
        """What is said of it, unless the policy is to be left out then."""
        if not self.hook.compiled.fails:
            return []
        policy = self.hook.policy.metadata.name
        return [Fault(f"policy '{policy}' with binding '{self.binding}' denied request: {message}", INVALID)]


class Programs:
    """A policy, compiled."""

    def __init__(self, policy: Any) -> None:
        from carob.apiserver.admission.policies.evaluation import Compiled, Conditions

        spec = policy.spec
        self.fails = spec.failure_policy != "Ignore"
        self.variables = {one.name: Compiled(one.expression) for one in spec.variables}
        self.conditions = Conditions(spec.match_conditions, self.fails)
        self.mutations: list[tuple[bool, Compiled]] = []
        """Each with whether it is a configuration to be applied."""
        for one in spec.mutations:
            patch = one.apply_configuration if one.patch_type == APPLY else one.json_patch
            if patch is not None:
                self.mutations.append((one.patch_type == APPLY, Compiled(patch.expression)))


class MutatingPolicies:
    """The plugin."""

    name = NAME
    phases = ("admit",)

    def __init__(self, reader: Reader, authorizer: Authorizer, table: ResourceTable) -> None:
        self._reader = reader
        self._authorizer = authorizer
        self._table = table
        self._index = index.PolicyIndex(
            reader,
            table,
            index.row_of(table, "mutatingadmissionpolicies"),
            index.row_of(table, "mutatingadmissionpolicybindings"),
            Programs,
        )

    def admit(self, attributes: Attributes) -> None:
        """Let every policy that is about the write change its object."""
        if self._index.empty or attributes.obj is None:
            return
        hooks = self._index.about(attributes)
        if hooks:
            self._ask(attributes, hooks)

    def validate(self, attributes: Attributes) -> None:
        """Nothing: policies have done what they do."""

    def _ask(self, attributes: Attributes, hooks: list[index.Hook]) -> None:
        from carob.apiserver.admission.policies.evaluation import View
        from carob.apiserver.admission.policies.matching import Scope

        scope = Scope(attributes, self._table)
        view = View(scope, self._reader, self._authorizer, unborn=True)
        invocations: list[Invocation] = []
        faults: list[Fault] = []
        for hook in hooks:
            try:
                invocations += self._invocations(hook, view)
            except _Misconfigured as error:
                faults += error.faults
        if invocations:
            faults += _Round(attributes, view).run(invocations)
        if faults:
            raise _refusal(attributes, faults)

    def _invocations(self, hook: index.Hook, view: View) -> list[Invocation]:
        from carob.apiserver.admission.policies.matching import matched

        try:
            row = matched(hook.policy.spec.match_constraints, view.scope, self._reader)
        except ApiError as error:
            raise _Misconfigured(hook, "", error.message) from None
        if row is None:
            return []
        out: list[Invocation] = []
        for binding in hook.bindings:
            out += self._bound(hook, binding, row, view)
        return out

    def _bound(self, hook: index.Hook, binding: Any, row: Resource, view: View) -> list[Invocation]:
        from carob.apiserver.admission.policies import params
        from carob.apiserver.admission.policies.evaluation import params_tree
        from carob.apiserver.admission.policies.matching import matched

        name, spec = binding.metadata.name, binding.spec
        try:
            narrowed = spec.match_resources
            if narrowed is not None and matched(narrowed, view.scope, self._reader) is None:
                return []
            found = params.collect(
                hook.policy.spec.param_kind, spec.param_ref, view.scope.namespace, self._reader, self._table
            )
        except (ApiError, ValueError) as error:
            message = error.message if isinstance(error, ApiError) else str(error)
            raise _Misconfigured(hook, name, message) from None
        out: list[Invocation] = []
        for one in found:
            place = (one.metadata.namespace, one.metadata.name) if one is not None else ()
            key = (hook.policy.metadata.name, name, *place)
            out.append(Invocation(hook, name, row, params_tree(one), key))
        return out


class _Misconfigured(Exception):
    def __init__(self, hook: index.Hook, binding: str, message: str) -> None:
        super().__init__(message)
        policy = hook.policy.metadata.name
        if binding:
            text = f"policy '{policy}' with binding '{binding}' denied request: failed to configure binding: {message}"
        else:
            text = f'policy "{policy}" denied request: failed to configure policy: {message}'
        self.faults = [Fault(text)] if hook.policy.spec.failure_policy != "Ignore" else []


class _Round:
    """All invocations about one write, in turn."""

    def __init__(self, attributes: Attributes, view: View) -> None:
        self._attributes = attributes
        self._view = view
        if attributes.reinvocation is None:
            attributes.reinvocation = Reinvocation()
        self._again: Reinvocation = attributes.reinvocation

    def run(self, invocations: list[Invocation]) -> list[Fault]:
        """Change the object; what went wrong on the way."""
        again = self._again
        if again.running and self._state() != again.output:
            again.require()  # the built-in plugins have changed it since
        faults: list[Fault] = []
        for one in invocations:
            faults += self._invoke(one)
        again.output = self._state()
        return faults

    def _state(self) -> bytes:
        from carob.api import codec

        return codec.encode(self._attributes.obj)

    def _invoke(self, one: Invocation) -> list[Fault]:
        programs: Programs = one.hook.compiled
        around = self._view.variables(one.row, one.params)
        holds = programs.conditions.hold(programs.variables, around)
        if isinstance(holds, str):
            return one.fault(holds)
        if not holds or (self._again.running and one.key not in self._again.again):
            return []
        before, faults = self._state(), []
        for applies, expression in programs.mutations:
            problem = self._mutate(one, expression, applies=applies)
            if problem:
                faults += one.fault(problem)
        if self._state() != before:
            self._again.require()
            self._again.wanted = True
        if one.hook.policy.spec.reinvocation_policy == IF_NEEDED:
            self._again.invoked.add(one.key)
        return faults

    def _mutate(self, one: Invocation, expression: Any, *, applies: bool) -> str:
        """Carry out one mutation. Returns what is wrong with it, empty if nothing is."""
        from carob.apiserver.admission.policies import patching
        from carob.apiserver.admission.policies.evaluation import BUDGET, BudgetSpent, Session

        around = self._view.variables(one.row, one.params)
        try:
            result = Session(one.hook.compiled.variables, around, BUDGET).evaluate(expression)
        except BudgetSpent as error:
            return str(error)
        if result.error:
            return result.error
        live = {**around["object"], "metadata": dict(around["object"].get("metadata", {}))}
        live["metadata"].pop("managedFields", None)
        struct = self._view.struct(one.row)
        try:
            tree = patching.applied(result.value, live, struct) if applies else patching.patched(result.value, live)
            self._take(patching.decoded(tree, struct), one.row)
        except patching.PatchError as error:
            return str(error)
        return ""

    def _take(self, changed: Any, row: Resource) -> None:
        """Make the object what the changed one is, in place: others have it in their hands."""
        from carob.api.defaulting import default

        attributes, view = self._attributes, self._view
        obj = attributes.obj
        if attributes.subresource == "scale":
            obj.spec.replicas = changed.spec.replicas
        else:
            new = view.own_version(changed, row)
            new.kind, new.api_version = obj.kind, obj.api_version
            if hasattr(new, "metadata"):
                _keep(new.metadata, obj.metadata, attributes)
            default(new)
            for name in obj.__struct_fields__:
                setattr(obj, name, getattr(new, name))
        attributes.changed_fields.append(NAME)
        view.forget_object()


def _keep(new: Any, old: Any, attributes: Attributes) -> None:
    for name in _OF_THE_SERVER:
        setattr(new, name, getattr(old, name))
    if attributes.operation is Operation.CREATE and new.namespace != old.namespace:
        raise bad_request("the namespace of the provided object does not match the namespace sent on the request")


def _refusal(attributes: Attributes, faults: list[Fault]) -> ApiError:
    """The first one's words, and everybody's causes; the code stays the one of a refusal, as upstream leaves it."""
    error = refused(attributes, "")
    error.message = faults[0].message
    error.reason = faults[0].reason or error.reason
    error.details["causes"] = [{"message": one.message} for one in faults]
    return error
