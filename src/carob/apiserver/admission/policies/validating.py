"""ValidatingAdmissionPolicy: who matches is judged by the policy's expressions; a binding says what a failure does.

Source: apiserver `pkg/admission/plugin/policy/validating/{dispatcher,validator}.go`.
Differs: policies and bindings are asked in the order of their names, where upstream's order is by chance.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from carob.api.status import ApiError
from carob.apiserver.admission.policies import index
from carob.apiserver.admission.refusals import refused

if TYPE_CHECKING:
    from carob.api.resources import Resource, ResourceTable
    from carob.api.user import UserInfo
    from carob.apiserver.admission.policies.evaluation import Compiled, Session, View
    from carob.apiserver.authz.authorizer import Authorizer
    from carob.apiserver.dispatch import Answer, Answerer
    from carob.apiserver.types import Attributes, Reader, RequestInfo
    from carob.transport.http import Request

NAME = "ValidatingAdmissionPolicy"
DENY, WARN, AUDIT = "Deny", "Warn", "Audit"
MAX_MESSAGE_BYTES = 5 * 1024
MAX_ANNOTATION_BYTES = 10 * 1024
_FAILURE = "validation.policy.admission.k8s.io/validation_failure"
_CODES = {"Forbidden": 403, "Unauthorized": 401, "RequestEntityTooLarge": 413, "Invalid": 422}


class Decision(NamedTuple):
    """What one expression says against a request."""

    place: int
    message: str
    reason: str = ""


class Denial(NamedTuple):
    """A decision that refuses, and whose it is."""

    policy: str
    binding: str
    message: str
    reason: str


class Programs:
    """A policy, compiled."""

    def __init__(self, policy: Any) -> None:
        from carob.apiserver.admission.policies.evaluation import Compiled, Conditions

        spec = policy.spec
        self.fails = spec.failure_policy != "Ignore"
        self.variables = {one.name: Compiled(one.expression) for one in spec.variables}
        self.conditions = Conditions(spec.match_conditions, self.fails)
        self.validations = [
            (one, Compiled(one.expression), Compiled(one.message_expression) if one.message_expression else None)
            for one in spec.validations
        ]
        self.annotations = [(one.key, Compiled(one.value_expression)) for one in spec.audit_annotations]

    def judge(self, view: View, row: Resource, params: Any, annotations: dict[str, list[str]]) -> list[Decision]:
        """What there is against a request; what the audit log is to hear goes into `annotations`."""
        from carob.apiserver.admission.policies.evaluation import BUDGET, BudgetSpent, Session

        around = view.variables(row, params)
        holds = self.conditions.hold(self.variables, around)
        if isinstance(holds, str):
            return self._failed(0, holds)
        if not holds:
            return []
        session = Session(self.variables, around, BUDGET)
        try:
            results = [session.evaluate(expression) for _, expression, _ in self.validations]
        except BudgetSpent as error:
            return self._failed(0, str(error))
        nobody = view.variables(row, params, authorized=False)
        messages = Session(self.variables, nobody, session.budget)
        texts, spent = self._texts(messages)
        decisions: list[Decision] = []
        for place, ((validation, expression, _), result) in enumerate(zip(self.validations, results, strict=True)):
            if result.error:
                decisions += self._failed(place, result.error)
            elif spent:
                decisions += self._failed(place, f"failed messageExpression: {spent}")
            elif result.value is not True:
                text = texts[place] or validation.message.strip() or f"failed expression: {expression.text.strip()}"
                decisions.append(Decision(place, text, validation.reason or "Invalid"))
        try:
            if self.annotations:
                decisions += self._annotate(Session(self.variables, nobody, BUDGET), annotations)
        except BudgetSpent as error:
            return self._failed(0, str(error))
        return decisions

    def _failed(self, place: int, message: str) -> list[Decision]:
        return [Decision(place, message)] if self.fails else []

    def _texts(self, session: Session) -> tuple[list[str], str]:
        """Messages that expressions make, empty where there is none that will do; and why there is no budget left for them."""
        from carob.apiserver.admission.policies.evaluation import BudgetSpent

        texts: list[str] = []
        for _, _, message in self.validations:
            try:
                value = session.evaluate(message).value if message is not None else None
            except BudgetSpent as error:
                return [], str(error)
            text = value.strip() if isinstance(value, str) else ""
            if "\n" in text or len(text.encode("utf-8", "replace")) > MAX_MESSAGE_BYTES:
                text = ""
            texts.append(text)
        return texts, ""

    def _annotate(self, session: Session, annotations: dict[str, list[str]]) -> list[Decision]:
        failed: list[Decision] = []
        for key, expression in self.annotations:
            result = session.evaluate(expression)
            if result.error:
                failed += self._failed(0, result.error)
                continue
            value = result.value
            if value is None:
                continue
            if not isinstance(value, str):
                failed.append(Decision(0, _no_annotation(expression, value)))
                continue
            text = value.strip()[:MAX_ANNOTATION_BYTES]
            kept = annotations.setdefault(key, [])
            if text and text not in kept:
                kept.append(text)
        return failed


def _no_annotation(expression: Compiled, value: Any) -> str:
    from carob.api.cel.values import type_of

    return (
        f"valueExpression '{expression.text}' resulted in unsupported return type: {type_of(value)}. "
        "Return type must be either string or null."
    )


class ValidatingPolicies:
    """The plugin."""

    name = NAME
    phases = ("validate",)

    def __init__(self, reader: Reader, authorizer: Authorizer, table: ResourceTable) -> None:
        self._reader = reader
        self._authorizer = authorizer
        self._table = table
        self._index = index.PolicyIndex(
            reader,
            table,
            index.row_of(table, "validatingadmissionpolicies"),
            index.row_of(table, "validatingadmissionpolicybindings"),
            Programs,
        )

    def admit(self, attributes: Attributes) -> None:
        """Nothing: policies judge the final object."""

    def validate(self, attributes: Attributes) -> None:
        """Ask every policy that is about the write."""
        if self._index.empty:
            return
        hooks = self._index.about(attributes)
        if hooks:
            self._ask(attributes, hooks)

    def judged(self, answerer: Answerer) -> Answerer:
        """An answerer of connections (`exec`, `proxy` …), behind the policies that are about CONNECT."""

        def answer(info: RequestInfo, request: Request, user: UserInfo) -> Answer:
            if not self._index.empty:
                from carob.apiserver.admission.policies.connecting import attributes_of

                self.validate(attributes_of(info, user))
            return answerer(info, request, user)

        return answer

    def _ask(self, attributes: Attributes, hooks: list[index.Hook]) -> None:
        from carob.apiserver.admission.policies.evaluation import View
        from carob.apiserver.admission.policies.matching import Scope

        scope = Scope(attributes, self._table)
        view = View(scope, self._reader, self._authorizer)
        denials: list[Denial] = []
        for hook in hooks:
            denials += _Asked(hook, view, self._reader, self._table).denials()
        if denials:
            raise _refusal(attributes, denials[0])


class _Asked:
    """One policy, asked about one write."""

    def __init__(self, hook: index.Hook, view: View, reader: Reader, table: ResourceTable) -> None:
        self._hook = hook
        self._view = view
        self._reader = reader
        self._table = table
        self._policy = hook.policy.metadata.name
        self._fails = hook.policy.spec.failure_policy != "Ignore"

    def denials(self) -> list[Denial]:
        """What it refuses; warnings and what the audit log is to hear are told on the way."""
        from carob.apiserver.admission.policies.matching import matched

        spec, scope = self._hook.policy.spec, self._view.scope
        try:
            row = matched(spec.match_constraints, scope, self._reader)
        except ApiError as error:
            return self._misconfigured("", error.message)
        if row is None:
            return []
        annotations: dict[str, list[str]] = {}
        out: list[Denial] = []
        for binding in self._hook.bindings:
            out += self._bound(binding, row, annotations)
        self._publish(annotations)
        return out

    def _misconfigured(self, binding: str, message: str) -> list[Denial]:
        if not self._fails:
            return []
        what = "binding" if binding else "policy"
        return [Denial(self._policy, binding, f"failed to configure {what}: {message}", "")]

    def _bound(self, binding: Any, row: Resource, annotations: dict[str, list[str]]) -> list[Denial]:
        from carob.apiserver.admission.policies import params
        from carob.apiserver.admission.policies.evaluation import params_tree
        from carob.apiserver.admission.policies.matching import matched

        name, spec = binding.metadata.name, binding.spec
        try:
            narrowed = spec.match_resources
            if narrowed is not None and matched(narrowed, self._view.scope, self._reader) is None:
                return []
            found = params.collect(
                self._hook.policy.spec.param_kind,
                spec.param_ref,
                self._view.scope.namespace,
                self._reader,
                self._table,
            )
        except (ApiError, ValueError) as error:
            return self._misconfigured(name, error.message if isinstance(error, ApiError) else str(error))
        out: list[Denial] = []
        for param in found:
            for decision in self._hook.compiled.judge(self._view, row, params_tree(param), annotations):
                out += self._acted(binding, decision)
        return out

    def _acted(self, binding: Any, decision: Decision) -> list[Denial]:
        attributes, name = self._view.attributes, binding.metadata.name
        actions = binding.spec.validation_actions
        if AUDIT in actions and attributes.annotations is not None:
            attributes.annotations.setdefault(_FAILURE, _told(binding, decision))
        if WARN in actions:
            attributes.warnings.append(
                f"Validation failed for ValidatingAdmissionPolicy '{self._policy}' with binding '{name}': "
                f"{decision.message}"
            )
        return [Denial(self._policy, name, decision.message, decision.reason)] if DENY in actions else []

    def _publish(self, annotations: dict[str, list[str]]) -> None:
        told = self._view.attributes.annotations
        if told is not None:
            for key, values in annotations.items():
                if values:
                    told.setdefault(f"{self._policy}/{key}", ", ".join(values))


def _told(binding: Any, decision: Decision) -> str:
    """A failure as the audit log has it: JSON as Go writes it."""
    import orjson

    value = {
        "message": decision.message,
        "policy": binding.spec.policy_name,
        "binding": binding.metadata.name,
        "expressionIndex": decision.place,
        "validationActions": list(binding.spec.validation_actions),
    }
    text = orjson.dumps([value]).decode()
    for character, code in (("&", "\\u0026"), ("<", "\\u003c"), (">", "\\u003e")):
        text = text.replace(character, code)
    return text


def _refusal(attributes: Attributes, denial: Denial) -> ApiError:
    bound = f" with binding '{denial.binding}'" if denial.binding else ""
    message = f"ValidatingAdmissionPolicy '{denial.policy}'{bound} denied request: {denial.message}"
    error = refused(attributes, message)
    error.reason = denial.reason or "Invalid"
    error.code = _CODES.get(error.reason, 422)
    error.details["causes"] = [{"message": message}]
    return error
